"""Where an order is executed best: places in the order of what is really paid or got there, and an order in parts.

Nothing is asked and nothing is ordered here: a `Place` holds what its exchange answered. Fees, depth, the rules of the
market and the money that is there count; each place that cannot execute the order says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from ..exchanges.errors import Refused
from ..exchanges.fillings import Filling, fill_amount, fill_cost, round_down
from ..exchanges.models import Level, Market, NewOrder, OrderBook, Side
from ..exchanges.rules import check
from ..money import EXACT, ROUNDED, plain, total

__all__ = ["Offer", "Place", "best_first", "offer", "split"]

_ZERO, _ONE = Decimal(0), Decimal(1)


@dataclass(frozen=True, slots=True)
class Place:
    """One registration, and what its exchange says of a market.

    `taker`: the fee of an order that is executed at once, as a fraction. It is counted in the currency; where an
    exchange takes it in the asset of a buy, that is the same part of its value. `available`: what is
    free of what the order gives, the currency of a buy and the asset of a sell; None: it is not known, or not asked.
    """

    id: int
    exchange: str
    market: Market
    book: OrderBook
    taker: Decimal
    available: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """What one place would make of an order of `amount` units of the asset.

    `spent` and `fee` count the currency, and `total` is both together: what is paid for a buy, or got for a sell.
    `reason`: why it would not be executed; the figures are then of the part that would be, or of nothing.
    """

    place: Place
    side: Side
    amount: Decimal
    average: Decimal | None
    spent: Decimal
    fee: Decimal
    total: Decimal
    reason: str | None = None

    @property
    def unit_price(self) -> Fraction:
        """What one unit costs or brings, with the fee, exactly."""
        return Fraction(self.total) / Fraction(self.amount)


def offer(place: Place, side: Side, *, amount: Decimal | None = None, cost: Decimal | None = None) -> Offer:
    """Return what `place` would make of a market order for an amount of the asset, or of a buy for a cost.

    A cost is what is spent without the fee, as in an order.
    """
    levels = _levels(place, side)
    if cost is not None:
        filling = fill_cost(levels, cost, place.market.amount_step)
        listed = total(EXACT.multiply(price, offered) for price, offered in levels)
        missing = None if listed >= cost else _too_thin(place, listed, cost, place.market.currency)
    else:
        filling = fill_amount(levels, amount or _ZERO)
        missing = None if filling.amount == amount else _too_thin(place, filling.amount, amount or _ZERO)
    fee = EXACT.multiply(filling.spent, place.taker)
    paid = EXACT.add(filling.spent, fee) if side == "buy" else EXACT.subtract(filling.spent, fee)
    reason = missing or _broken_rule(place, side, filling) or _lack_of_funds(place, side, filling, paid)
    return Offer(place, side, filling.amount, filling.average, filling.spent, fee, paid, reason)


def best_first(offers: Iterable[Offer]) -> list[Offer]:
    """Return the offers that would be executed, the best first, and behind them the others, by registration."""
    offers = list(offers)
    possible = sorted((each for each in offers if each.reason is None), key=_order)
    return possible + sorted((each for each in offers if each.reason is not None), key=lambda each: each.place.id)


def _order(each: Offer) -> tuple[Fraction, int]:
    return (each.unit_price if each.side == "buy" else -each.unit_price), each.place.id


def split(places: Sequence[Place], side: Side, amount: Decimal) -> list[Offer]:
    """Return the parts in which `amount` is executed at these places, never worse than at the best single one.

    Where no place can execute its part and the parts do not add up to `amount`, the list is empty. The parts are found
    level by level, the best price after fees first; a part that a market's rules forbid goes to the other places.
    """
    single = [
        each for each in best_first(offer(place, side, amount=amount) for place in places) if each.reason is None
    ][:1]
    parts: list[Offer] = []
    candidates = list(places)
    while candidates and not parts:
        amounts = _share_out(candidates, side, amount)
        offers = [offer(place, side, amount=part) for place, part in zip(candidates, amounts, strict=True) if part]
        refused = [each for each in offers if each.reason is not None]
        if refused:
            smallest = min(refused, key=lambda each: each.amount)
            candidates.remove(smallest.place)
        elif total(each.amount for each in offers) == amount:
            parts = offers
        else:
            break
    if single and (not parts or not _is_better(side, parts, single)):
        return single
    return sorted(parts, key=lambda part: part.place.id)


def _is_better(side: Side, parts: Iterable[Offer], others: Iterable[Offer]) -> bool:
    paid, otherwise = total(part.total for part in parts), total(part.total for part in others)
    return paid < otherwise if side == "buy" else paid > otherwise


def _share_out(places: Sequence[Place], side: Side, amount: Decimal) -> list[Decimal]:
    """Return how much of `amount` each place gets; together it is less when there is not enough."""
    sign = 1 if side == "buy" else -1
    levels = [
        (sign * Fraction(_paid_for_one(place, side, price)), index, price, offered)
        for index, place in enumerate(places)
        for price, offered in _levels(place, side)
    ]
    levels.sort()
    left, taken = amount, [_ZERO] * len(places)
    budgets = [place.available for place in places]
    for _, index, price, offered in levels:
        place, budget = places[index], budgets[index]
        price_paid = _paid_for_one(place, side, price) if side == "buy" else _ONE
        part = min(left, offered)
        if budget is not None and EXACT.multiply(part, price_paid) > budget:
            part = round_down(ROUNDED.divide(budget, price_paid), place.market.amount_step)
        if budget is not None:
            budgets[index] = EXACT.subtract(budget, EXACT.multiply(part, price_paid))
        left, taken[index] = EXACT.subtract(left, part), EXACT.add(taken[index], part)
    rounded = [round_down(part, place.market.amount_step) for place, part in zip(places, taken, strict=True)]
    return _give_rest(places, side, rounded, EXACT.subtract(amount, total(rounded)))


def _give_rest(places: Sequence[Place], side: Side, parts: list[Decimal], rest: Decimal) -> list[Decimal]:
    """Return the parts with what the steps of the markets left over, where one place can take it."""
    if not rest:
        return parts
    larger = [
        (offer(place, side, amount=EXACT.add(part, rest)), index)
        for index, (place, part) in enumerate(zip(places, parts, strict=True))
    ]
    possible = [(_order(each), index) for each, index in larger if each.reason is None]
    if possible:
        index = min(possible)[1]
        parts = [*parts[:index], EXACT.add(parts[index], rest), *parts[index + 1 :]]
    return parts


def _levels(place: Place, side: Side) -> tuple[Level, ...]:
    return place.book.asks if side == "buy" else place.book.bids


def _paid_for_one(place: Place, side: Side, price: Decimal) -> Decimal:
    """Return what one unit costs or brings at `price`, with the fee."""
    factor = EXACT.add(_ONE, place.taker) if side == "buy" else EXACT.subtract(_ONE, place.taker)
    return EXACT.multiply(price, factor)


def _too_thin(place: Place, listed: Decimal, wanted: Decimal, unit: str | None = None) -> str:
    unit = unit or place.market.asset
    return f"its order book lists only {plain(listed)} {unit} of the {plain(wanted)} that are wanted"


def _broken_rule(place: Place, side: Side, filling: Filling) -> str | None:
    order = NewOrder(side, place.market.currency, place.market.asset, "", amount=filling.amount)
    try:
        check(order, place.market)
    except Refused as error:
        return str(error)
    least = place.market.cost_min
    if least is not None and filling.spent < least:
        return f"the cost {plain(filling.spent)} is less than {plain(least)}, the least that its market takes"
    return None


def _lack_of_funds(place: Place, side: Side, filling: Filling, paid: Decimal) -> str | None:
    needed, unit = (paid, place.market.currency) if side == "buy" else (filling.amount, place.market.asset)
    if place.available is None or place.available >= needed:
        return None
    return f"there are {plain(place.available)} {unit}, and {plain(needed)} are needed"
