"""The candles of the local exchanges: one for every interval, with prices that any reader can work out."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .venue import Pair

#: Every local market began at this time: 2020-01-01.
FIRST = 1_577_836_800


class Candle(NamedTuple):
    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


def candle_starts(step: int, first: int, last: int) -> range:
    """When the candles of `step` seconds begin, from second `first` to second `last` since 1970, oldest first."""
    start = max(first, FIRST)
    return range(start + -start % step, last + 1, step)


def candles(pair: Pair, starts: range) -> list[Candle]:
    """The candles that begin at `starts`, each when the one before it ends."""
    bid, ask = pair.bids[0][0], pair.asks[0][0]
    return [
        Candle(time, bid, ask, bid, *((ask, Decimal("1.5")) if time // starts.step % 2 else (bid, Decimal("0.25"))))
        for time in starts
    ]
