"""Lists of ids in statements: of a fixed length each, a power of two, so that few statements are compiled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from sqlalchemy import BigInteger, ColumnElement, bindparam

__all__ = ["id_values", "is_one_of", "many_id_values"]

#: So many ids are in one statement at most: SQLite takes 32,766 values.
_MOST_IDS = 1024


def is_one_of(column: ColumnElement[int], size: int) -> ColumnElement[bool]:
    """Return in SQL whether a column is one of so many ids, which are the values of `id_values`."""
    return column.in_([bindparam(f"id_{place}", type_=BigInteger) for place in range(size)])


def id_values(ids: Iterable[int]) -> dict[str, int]:
    """Return the ids, each once, as the values of a statement with a place for each; 0, which none has, fills it up."""
    values = sorted(set(ids))
    if values:
        values += [0] * ((1 << (len(values) - 1).bit_length()) - len(values))
    return {f"id_{place}": id for place, id in enumerate(values)}


def many_id_values(ids: Iterable[int]) -> Iterator[dict[str, int]]:
    """Give the `id_values` of one statement after the other, for ids that may be too many for one."""
    rest = iter(sorted(set(ids)))
    while some := id_values(islice(rest, _MOST_IDS)):
        yield some
