"""The market of the recorded prices: its rules, and the quote around a price, rounded against the user."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache
from typing import NamedTuple

from ...money import EXACT, ROUNDED
from ..models import Market

__all__ = ["ASSET", "CENT", "CURRENCY", "FEE", "MARKET", "MONEY", "SATOSHI", "Quote", "quote_around"]

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


@lru_cache(maxsize=10_000)
def quote_around(close: Decimal) -> Quote:
    """Return the quote around a recorded price."""
    spread = EXACT.multiply(close, HALF_SPREAD)
    ask, bid = EXACT.add(close, spread), EXACT.subtract(close, spread)
    return Quote(_to_cents(ask, ROUND_CEILING), _to_cents(bid, ROUND_FLOOR))


def _to_cents(amount: Decimal, rounding: str) -> Decimal:
    return amount.quantize(CENT, rounding, ROUNDED)
