"""A long list that comes in pages, newest first, and may grow at its front meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from ..errors import Refused, Unsupported

__all__ = ["read_pages"]

_T = TypeVar("_T")

#: The most pages that are read for one list.
MOST_PAGES = 400


def read_pages(ask: Callable[[int], tuple[Mapping[str, _T], int | None]], blocks: list[dict[str, _T]]) -> dict[str, _T]:
    """Return all rows of a list by their ids, without those that came to its front since the first page was read.

    `ask` returns the page that begins at an offset, and how many rows the list has; None when that is not said, and the
    list ends with an empty page then. Raises what `ask` raises, Refused for a list without an end, and Unsupported for
    one that has fewer rows than the first page said.

    `blocks`: what earlier calls have read before they failed, and when this one fails, what it has read, too. A block
    is a part of the list without a gap; between two of them there may be rows that were never read. Of a block no rows
    are read again but those at its edges.
    """
    #: From the first page to the last row that was read.
    rows: dict[str, _T] = {}
    blocks.insert(0, rows)
    offset, expected = 0, None
    for _ in range(MOST_PAGES):
        page, count = ask(offset)
        expected = count if expected is None else expected
        rows.update(page)
        # Where the list has grown meanwhile, the next page begins with rows of this one, and none is left out.
        offset += len(page)
        for block in blocks[1:]:
            if not block.keys().isdisjoint(page):
                rows.update(block)
                offset = max(offset, len(rows))
        blocks[1:] = [block for block in blocks[1:] if not block.keys() <= rows.keys()]
        if not page or (count is not None and offset >= count):
            if expected is not None and len(rows) < expected:
                raise Unsupported(f"a list of {expected} rows of which {expected - len(rows)} are not shown")
            return rows
    raise Refused("the list is too long to read", code="exchange_unavailable")
