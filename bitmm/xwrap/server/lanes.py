"""One lane per exchange key: nonces that only rise, and calls in their order where the exchange insists on it.

Whoever uses a key - several registrations, many threads, any number of programs behind this server - goes through its
lane. The last nonce is in the data base, so a restart or a clock that was set back never repeats or lowers one.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakValueDictionary

from .problems import Problem

__all__ = ["Lanes"]


class Nonces(Protocol):
    """Where the last nonce of each lane is kept."""

    def next_nonce(self, lane: str, at_least: int) -> int: ...


class _Turn:
    """Whose turn it is in one lane. An object of our own, because a lock cannot be referred to weakly."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class Lanes:
    """The lanes of one server."""

    def __init__(self, nonces: Nonces, queue_seconds: float) -> None:
        self._nonces = nonces
        self._seconds = queue_seconds
        self._turns: WeakValueDictionary[str, _Turn] = WeakValueDictionary()
        self._lock = threading.Lock()

    def name(self, exchange: str, apikey: str) -> str:
        """The lane of a key; it does not show the key."""
        return hashlib.sha256(f"{exchange}\0{apikey}".encode()).hexdigest()

    def nonce(self, lane: str) -> Callable[[], int]:
        """Gives the lane's next nonce: microseconds since 1970, or one more than the last."""
        return lambda: self._nonces.next_nonce(lane, time.time_ns() // 1000)

    @contextmanager
    def in_order(self, lane: str) -> Iterator[None]:
        """One call of the lane at a time. Raises Problem 503, before anything was sent, when the wait is too long."""
        with self._lock:
            turn = self._turns.setdefault(lane, _Turn())
        if not turn.lock.acquire(timeout=self._seconds):
            raise Problem(
                503,
                "lane_busy",
                "too many calls wait for this exchange key; nothing was sent",
                retryable=True,
                headers={"Retry-After": "1"},
            )
        try:
            yield
        finally:
            turn.lock.release()
