"""The best place for an order, against brute force: random books, fees, steps, least amounts and funds.

    python -m tests.stress.best_places --cases 10000 --seed 1

Brute force knows nothing of levels: it counts out whole units, one by one, and tries every place, and for the parts
every way to share the units out. Printed is how often a choice was worse, and how near the parts were to the best ones.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product

from bitmm.xwrap.exchanges.models import Level, Market, OrderBook, Side
from bitmm.xwrap.server.best import Place, best_first, offer, split

__all__ = ["Figures", "try_cases"]

_NOW = datetime(2026, 11, 27, tzinfo=UTC)
_UNITS = 8


@dataclass
class Figures:
    """What was found: cases, those in which something was worse, and those of the parts that could be better."""

    cases: int = 0
    possible: int = 0
    divided: int = 0
    best_is_worse: int = 0
    split_is_worse: int = 0
    split_is_wrong: int = 0
    split_is_not_the_best: int = 0
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.cases} cases, in {self.possible} of them one place could execute the order, {self.divided} in"
            f" parts: best() worse than brute force {self.best_is_worse}, split() worse than best()"
            f" {self.split_is_worse}, with wrong parts {self.split_is_wrong}, not the best parts"
            f" {self.split_is_not_the_best}"
        )


def try_cases(cases: int, seed: int) -> Figures:
    """Return the figures of so many random cases."""
    chance, figures = random.Random(seed), Figures()
    for _ in range(cases):
        places = [_place(chance, id) for id in range(1, chance.randint(1, 3) + 1)]
        side: Side = chance.choice(("buy", "sell"))
        _try_case(figures, places, side, chance.randint(1, _UNITS))
    return figures


def _try_case(figures: Figures, places: Sequence[Place], side: Side, units: int) -> None:
    amount, sign = Decimal(units), 1 if side == "buy" else -1
    ranked = [each for each in best_first(offer(place, side, amount=amount) for place in places) if each.reason is None]
    alone = [paid for place in places if (paid := _paid(place, side, units)) is not None]
    figures.cases += 1
    figures.possible += bool(alone)
    if [sign * each.total for each in ranked] != sorted(sign * paid for paid in alone):
        figures.best_is_worse += 1
        figures.examples.append(f"best: {places!r} {side} {units}")
    parts = split(places, side, amount)
    in_parts = [
        paid for shares in _shares(len(places), units) if (paid := _paid_together(places, side, shares)) is not None
    ]
    figures.divided += len(parts) > 1
    if not parts:
        figures.split_is_worse += bool(alone)
        figures.split_is_not_the_best += bool(in_parts)
        return
    counted = [_paid(part.place, side, int(part.amount)) for part in parts]
    if sum(part.amount for part in parts) != amount or counted != [part.total for part in parts]:
        figures.split_is_wrong += 1
        figures.examples.append(f"split: {places!r} {side} {units}")
    paid = sum(sign * part.total for part in parts)
    figures.split_is_worse += bool(alone) and paid > min(sign * each for each in alone)
    figures.split_is_not_the_best += paid > min(sign * each for each in in_parts)


def _place(chance: random.Random, id: int) -> Place:
    middle = chance.randint(20, 40)
    market = Market("USD", "BTC", amount_step=Decimal(1), amount_min=Decimal(chance.choice((1, 1, 2, 3))))
    bids = _side(chance, [middle - step for step in range(1, 8)])
    asks = _side(chance, [middle + step for step in range(8)])
    available = chance.choice((None, None, Decimal(chance.randint(0, 300)), Decimal(chance.randint(0, _UNITS))))
    taker = Decimal(chance.choice((0, 10, 26, 50, 100))) / 10_000
    return Place(id, "random", market, OrderBook(bids, asks, _NOW), taker, available)


def _side(chance: random.Random, prices: Sequence[int]) -> tuple[Level, ...]:
    listed = sorted(chance.sample(range(len(prices)), chance.randint(0, 4)))
    return tuple((Decimal(prices[index]), Decimal(chance.randint(1, 4))) for index in listed)


def _paid(place: Place, side: Side, units: int) -> Decimal | None:
    """Return what so many units cost or bring at one place, counted one by one; None when that is not possible."""
    levels = place.book.asks if side == "buy" else place.book.bids
    prices = [price for price, offered in levels for _ in range(int(offered))]
    if len(prices) < units or units < (place.market.amount_min or 0):
        return None
    spent = sum(prices[:units], Decimal(0))
    paid = spent + spent * place.taker if side == "buy" else spent - spent * place.taker
    needed = paid if side == "buy" else Decimal(units)
    return None if place.available is not None and place.available < needed else paid


def _paid_together(places: Sequence[Place], side: Side, shares: Sequence[int]) -> Decimal | None:
    paid = [_paid(place, side, units) for place, units in zip(places, shares, strict=True) if units]
    return None if None in paid else sum((each for each in paid if each is not None), Decimal(0))


def _shares(places: int, units: int) -> Iterator[tuple[int, ...]]:
    return (shares for shares in product(range(units + 1), repeat=places) if sum(shares) == units)


def main() -> None:
    """Print the figures; the status is 1 when something was worse or wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000, help="random cases")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers")
    options = parser.parse_args()
    figures = try_cases(options.cases, options.seed)
    print(figures)
    for example in figures.examples[:5]:
        print(example)
    raise SystemExit(bool(figures.best_is_worse or figures.split_is_worse or figures.split_is_wrong))


if __name__ == "__main__":
    main()
