"""What an exchange answered a while ago: for exchanges that forbid to ask more often, and for what hardly changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class _Kept:
    answer: Any = None
    until: float = float("-inf")
    asking: threading.Lock = field(default_factory=threading.Lock)


class TTLCache:
    """Answers of one exchange, each kept for a time, with one question in flight per key.

    A failure is not kept. Everybody who asks gets the same object. `clock` gives seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._all: dict[Hashable, _Kept] = {}

    def get_or_fetch(self, key: Hashable, fetch: Callable[[], Any], *, seconds: float) -> Any:
        """The answer for `key`; from `fetch`, to be kept for `seconds`, when there is none or it is too old."""
        with self._lock:
            now = self._clock()
            for old in [name for name, kept in self._all.items() if kept.until <= now and not kept.asking.locked()]:
                del self._all[old]
            kept = self._all.setdefault(key, _Kept())
        with kept.asking:
            if kept.until <= self._clock():
                kept.answer = fetch()
                kept.until = self._clock() + seconds
            return kept.answer

    def invalidate(self, key: Hashable) -> None:
        """Ask anew the next time."""
        with self._lock:
            self._all.pop(key, None)
