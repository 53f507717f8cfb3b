"""A long list that comes in pages, newest first, and may grow at its front meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from ..errors import Refused

__all__ = ["read_pages"]

_T = TypeVar("_T")

#: The most pages that are read for one list.
MOST_PAGES = 400


def read_pages(ask: Callable[[int], tuple[Mapping[str, _T], int | None]], rows: dict[str, _T]) -> None:
    """Read a whole list into `rows`, by the ids of its rows.

    `ask` returns the page that begins at an offset, and how many rows the list has; None when that is not
    said, and the list ends with an empty page then. `rows` may hold what an earlier
    call read before it failed: the newest rows of that time, without a gap. They are not read again, but for those at
    the edges. Raises what `ask` raises, and Refused for a list without an end; what was read is in `rows` then.
    """
    offset = 0
    for _ in range(MOST_PAGES):
        page, count = ask(offset)
        new = len(page.keys() - rows.keys())
        rows.update(page)
        if not page or (count is not None and offset + len(page) >= count):
            return
        if new < len(page) and (new or offset < len(rows)):
            # It has come to rows that are known, and they go on without a gap.
            offset = len(rows)
        else:
            offset += len(page)
    raise Refused("the list is too long to read", code="exchange_unavailable")
