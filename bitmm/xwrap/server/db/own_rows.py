"""The rows of a journal that this process left unknown or open, so that it is the first one to ask about them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["OwnRows"]

#: More rows than a process may leave unknown or open in the seconds until it asks about them.
_MOST = 10_000


class OwnRows:
    """The last of them, each by its id and the time at which it was begun.

    `shared`: other processes may leave some, too; where none can, all rows are of this one and nothing is kept.
    """

    def __init__(self, *, shared: bool) -> None:
        self._shared = shared
        self._lock = threading.Lock()
        self._rows: OrderedDict[tuple[int, str], None] = OrderedDict()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows; the oldest ones go when there are too many."""
        if not self._shared:
            return
        with self._lock:
            self._rows.update(dict.fromkeys((row["id"], row["created"]) for row in rows))
            while len(self._rows) > _MOST:
                self._rows.popitem(last=False)

    def __contains__(self, row: Mapping[str, Any]) -> bool:
        if not self._shared:
            return True
        with self._lock:
            return (row["id"], row["created"]) in self._rows
