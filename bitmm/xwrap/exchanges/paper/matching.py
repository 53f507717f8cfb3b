"""What an order on paper costs: the market's rules, the quote of a minute, and what an execution moves.

Every rounding is against the user.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache
from typing import NamedTuple

from ...money import EXACT, ROUNDED
from ..errors import Refused
from ..models import Market, NewOrder, Side

__all__ = [
    "ASSET",
    "CURRENCY",
    "FEE",
    "MARKET",
    "MONEY",
    "Execution",
    "Quote",
    "amount_to_trade",
    "execute",
    "quote_around",
]

CURRENCY, ASSET = "USD", "BTC"
CENT, SATOSHI = Decimal("0.01"), Decimal("0.00000001")
#: Half the distance between ask and bid, as a part of the price.
HALF_SPREAD = Decimal("0.0002")
#: The part of the value of an order that is taken as its fee.
FEE = Decimal("0.0026")
#: The rules of amounts of the currency itself, in the form of a market.
MONEY = Market(ASSET, CURRENCY, amount_step=CENT, amount_min=CENT)
MARKET = Market(CURRENCY, ASSET, price_step=CENT, amount_step=SATOSHI, amount_min=SATOSHI, maker_fee=FEE, taker_fee=FEE)


class Quote(NamedTuple):
    """What one unit of the asset costs (`ask`), and what it brings (`bid`), in one minute."""

    ask: Decimal
    bid: Decimal

    def price(self, side: Side) -> Decimal:
        """Return the price at which a market order is executed."""
        return self.ask if side == "buy" else self.bid

    def reaches(self, side: Side, limit: Decimal) -> bool:
        """Return whether an order with this limit can be executed."""
        return self.ask <= limit if side == "buy" else self.bid >= limit

    def reaches_stop(self, side: Side, stop: Decimal) -> bool:
        """Return whether an order with this stop begins: a buy, as the ask has risen to it; a sell, as the bid fell."""
        return self.ask >= stop if side == "buy" else self.bid <= stop


@lru_cache(maxsize=10_000)
def quote_around(close: Decimal) -> Quote:
    """Return the quote around a recorded price."""
    spread = EXACT.multiply(close, HALF_SPREAD)
    ask, bid = EXACT.add(close, spread), EXACT.subtract(close, spread)
    return Quote(_to_cents(ask, ROUND_CEILING), _to_cents(bid, ROUND_FLOOR))


@dataclass(frozen=True, slots=True)
class Execution:
    """What an order moves when it is executed; `needed` is what must be there for it, in what it gives."""

    price: Decimal
    spent: Decimal
    fee: Decimal
    needed: Decimal


def execute(side: Side, amount: Decimal, price: Decimal) -> Execution:
    """Return what an order for `amount` of the asset moves at `price`."""
    value = EXACT.multiply(amount, price)
    spent = _to_cents(value, ROUND_CEILING if side == "buy" else ROUND_FLOOR)
    fee = _to_cents(EXACT.multiply(value, FEE), ROUND_CEILING)
    return Execution(price, spent, fee, EXACT.add(spent, fee) if side == "buy" else amount)


def amount_to_trade(order: NewOrder, price: Decimal) -> Decimal:
    """Return the amount of an order, which is what its cost buys at `price` where it has none.

    Raises Refused when it has neither.
    """
    if order.cost is not None:
        return ROUNDED.divide(order.cost, price).quantize(SATOSHI, ROUND_FLOOR, ROUNDED)
    if order.amount is None:
        raise Refused("an order needs an amount or a cost", code="invalid_amount", details={"field": "amount"})
    return order.amount


def _to_cents(amount: Decimal, rounding: str) -> Decimal:
    return amount.quantize(CENT, rounding, ROUNDED)
