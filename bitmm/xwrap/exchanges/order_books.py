"""Order books, made of what an exchange answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from ..money import EXACT, parse_decimal
from .models import Level, OrderBook
from .rules import no_rate

__all__ = ["order_book"]

_ZERO = Decimal(0)


def order_book(
    name: str,
    pair: tuple[str, str],
    bids: Iterable[Sequence[object]],
    asks: Iterable[Sequence[object]],
    *,
    depth: int,
    time: datetime,
) -> OrderBook:
    """Return the best `depth` levels of each side, best first, of rows that begin with a price and an amount.

    The rows may come in any order; two of one price are added up, and those without an amount are left out. Raises
    Refused when the best bid is above the best ask; `name` is the exchange's, `pair` is (currency, asset). Raises
    ValueError, or another of the PARSING_ERRORS, for a row that is none.
    """
    offered, asked = sorted(_levels(bids), reverse=True)[:depth], sorted(_levels(asks))[:depth]
    if offered and asked and offered[0][0] > asked[0][0]:
        raise no_rate(name, *pair)
    return OrderBook(tuple(offered), tuple(asked), time)


def _levels(rows: Iterable[Sequence[object]]) -> list[Level]:
    levels: dict[Decimal, Decimal] = {}
    for row in rows:
        price, amount = parse_decimal(row[0]), parse_decimal(row[1])
        if price <= 0 or amount < 0:
            raise ValueError("a level of an order book that is not above zero")
        levels[price] = EXACT.add(levels.get(price, _ZERO), amount)
    return [level for level in levels.items() if level[1]]
