"""What an order would cost, or bring, by an order book and the fees; nothing is asked here."""

from __future__ import annotations

from decimal import Decimal

from ..money import EXACT, mean, plain
from .conditions import ends_at_once, would_take
from .errors import Refused
from .fillings import Filling, fill_amount, fill_cost
from .models import Estimate, Fees, Level, NewOrder, OrderBook

__all__ = ["estimate_from_book", "estimate_of_stop"]

_ZERO = Decimal(0)


def estimate_from_book(
    name: str, order: NewOrder, book: OrderBook, fees: Fees | None, *, buy_fee_in_asset: bool = False
) -> Estimate:
    """Return what `order` costs at the exchange called `name` if it is executed now; what rests, at its limit.

    Raises Refused `book_exhausted` when the book lists less than a market order wants, and `would_take` for a post-only
    order that would be executed. The fee counts the currency, or
    with `buy_fee_in_asset` for a buy the asset; of an order that rests it is the maker's.
    """
    levels = book.asks if order.side == "buy" else book.bids
    if order.price is not None:
        levels = tuple(level for level in levels if _reaches(order, level[0]))
    if order.post_only and levels:
        raise would_take(name)
    taken, rest = _filling(name, order, levels), _ZERO
    if order.price is not None and order.amount is not None:
        rest = EXACT.subtract(order.amount, taken.amount)
    if rest and order.time_in_force == "FOK":
        levels, taken = (), fill_amount((), rest)
    if ends_at_once(order):
        rest = _ZERO
    resting = EXACT.multiply(rest, order.price or _ZERO)
    spent = EXACT.add(taken.spent, resting) if order.cost is None else order.cost
    if buy_fee_in_asset and order.side == "buy":
        fee_currency, charged = order.asset, (taken.amount, rest)
    else:
        fee_currency, charged = order.currency, (EXACT.subtract(spent, resting), resting)
    return Estimate(
        price=levels[0][0] if levels else order.price,
        spent=spent,
        fee=None if fees is None else _fee(fees, *charged),
        fee_currency=None if fees is None else fee_currency,
        average=mean(EXACT.add(taken.spent, resting), EXACT.add(taken.amount, rest)),
        slippage=_slippage(order, taken, levels),
        amount=None if order.cost is None else taken.amount,
    )


def estimate_of_stop(order: NewOrder, fees: Fees | None, *, buy_fee_in_asset: bool = False) -> Estimate:
    """Return what an order with a stop costs if it is filled at its limit, or else at its stop.

    That may be better for the limit, and worse for a market order, which takes what is offered then. The fee is the
    taker's; what it counts is as for `estimate_from_book`.
    """
    price, amount = order.price or order.stop or _ZERO, order.amount or _ZERO
    spent = EXACT.multiply(amount, price)
    in_asset = buy_fee_in_asset and order.side == "buy"
    return Estimate(
        price=price,
        spent=spent,
        fee=None if fees is None else EXACT.multiply(amount if in_asset else spent, fees.taker),
        fee_currency=None if fees is None else (order.asset if in_asset else order.currency),
        average=price,
    )


def _filling(name: str, order: NewOrder, levels: tuple[Level, ...]) -> Filling:
    """Return what the order gets of the levels at once."""
    if order.cost is not None:
        filling, wanted = fill_cost(levels, order.cost), order.cost
        listed, unit = sum((EXACT.multiply(*level) for level in levels), _ZERO), order.currency
    else:
        wanted = order.amount or _ZERO
        filling = fill_amount(levels, wanted)
        listed, unit = filling.amount, order.asset
    if order.price is None and listed < wanted:
        raise Refused(
            f"the order book of {name} lists only {plain(listed)} {unit} of the {plain(wanted)} that are wanted; give a"
            " price, or order less",
            code="book_exhausted",
            details={"field": "amount" if order.cost is None else "cost"},
        )
    return filling


def _reaches(order: NewOrder, price: Decimal) -> bool:
    limit = order.price or _ZERO
    return price <= limit if order.side == "buy" else price >= limit


def _fee(fees: Fees, taken: Decimal, resting: Decimal) -> Decimal:
    return EXACT.add(EXACT.multiply(taken, fees.taker), EXACT.multiply(resting, fees.maker))


def _slippage(order: NewOrder, taken: Filling, levels: tuple[Level, ...]) -> Decimal | None:
    """Return by what part of the best price the mean one of what is executed at once is worse; None: nothing is."""
    average = taken.average
    if average is None:
        return None
    best = levels[0][0]
    worse = EXACT.subtract(average, best) if order.side == "buy" else EXACT.subtract(best, average)
    return mean(worse, best)
