"""What an exchange answered a while ago, for exchanges that forbid to ask more often and for what hardly changes; and
how the newest of many things are kept.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = ["TTLCache", "put_newest"]

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class _Entry:
    value: Any = None
    expires: float = float("-inf")
    #: Held while the value is fetched.
    fetching: threading.Lock = field(default_factory=threading.Lock)


class TTLCache:
    """Answers of one exchange, each kept for a time. At most one thread fetches the value of a key; the others wait.

    A failure is not kept. All callers get the same object. `clock` gives seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[Hashable, _Entry] = {}

    def get_or_fetch(self, key: Hashable, fetch: Callable[[], Any], *, seconds: float) -> Any:
        """Return the value of `key`; when there is none or it is old, that of `fetch()`, kept for `seconds`."""
        with self._lock:
            now = self._clock()
            expired = [
                name for name, entry in self._entries.items() if entry.expires <= now and not entry.fetching.locked()
            ]
            for name in expired:
                del self._entries[name]
            entry = self._entries.setdefault(key, _Entry())
        with entry.fetching:
            if entry.expires <= self._clock():
                entry.value = fetch()
                entry.expires = self._clock() + seconds
            return entry.value

    def invalidate(self, key: Hashable) -> None:
        """Forget the value of `key`: the next caller fetches it."""
        with self._lock:
            self._entries.pop(key, None)


def put_newest(cache: OrderedDict[K, V], key: K, value: V, *, most: int) -> None:
    """Keep a value as the newest one of at most `most`; the oldest one goes when there are more."""
    cache[key] = value
    cache.move_to_end(key)
    if len(cache) > most:
        cache.popitem(last=False)
