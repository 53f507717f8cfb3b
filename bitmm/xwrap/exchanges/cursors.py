"""Cursors: where in a long list of an exchange a reader is, as a text that means something to its adapter alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from .errors import Refused
from .models import HistoryPage

__all__ = ["bad_cursor", "numbers_of", "page_by_offset"]

_T = TypeVar("_T")

_NUMBERS = re.compile(r"[0-9]{1,15}(:[0-9]{1,15})*", re.ASCII)


def numbers_of(name: str, cursor: str, count: int) -> list[int]:
    """Return the `count` whole numbers of a cursor like "1764237600:50" of the exchange called `name`."""
    if not _NUMBERS.fullmatch(cursor) or cursor.count(":") != count - 1:
        raise bad_cursor(name)
    return [int(number) for number in cursor.split(":")]


def bad_cursor(name: str) -> Refused:
    """Return the refusal of a cursor that the exchange called `name` did not give."""
    words = f"this is no cursor of {name}; pass the 'next' of the page before, or none for the first page"
    return Refused(words, code="invalid_request", details={"field": "cursor"})


def page_by_offset(
    name: str, cursor: str | None, size: int, read: Callable[[int], tuple[list[_T], int]]
) -> HistoryPage[_T]:
    """Return the page of a list that is asked for by how many rows to skip, newest first, at most `size` at once.

    `read` returns those rows of the exchange's page at an offset that are wanted, and how many it had in all. Rows that
    come meanwhile move all others back: some of these come again then, and none is left out.
    """
    offset = 0 if cursor is None else numbers_of(name, cursor, 1)[0]
    rows, count = read(offset)
    return HistoryPage(rows, str(offset + count) if count >= size else None)
