"""One lane per exchange key, and one per address of ours: who may send the next request, and when.

Whoever uses a key - several registrations, many threads, any number of programs behind this server - goes through its
lane. Nonces only rise. Where an exchange insists on their order, one request at a time is made, sent and answered. The
exchange's own counter of calls is kept here too, and a call that it would refuse waits, or is refused before it is
sent; cancels go before orders, and orders before reads. Nonces and counters are in the data base: they hold for all
processes, after a restart, and when a clock was set back.
"""

from __future__ import annotations

import hashlib
import threading
import time
from bisect import insort
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from enum import IntEnum
from itertools import count
from math import inf
from typing import Protocol
from weakref import WeakValueDictionary

from ..exchanges.base import Exchange, RateLimit
from ..exchanges.errors import Busy

__all__ = ["Lanes", "Passage", "Rank"]

#: How many may wait in one lane; cancels always may.
_PLACES = 64
#: The longest that an exchange's word makes a lane wait.
_LONGEST_BAN = 600.0
#: The counter of an exchange that publishes none: calls cost nothing, and only its own Busy raises it.
_UNCOUNTED = RateLimit(0, 1)


class Rank(IntEnum):
    """Who goes first."""

    CANCEL = 0
    ORDER = 1
    READ = 2


class Meters(Protocol):
    """What the data base keeps of each lane; see `Store`."""

    def next_nonce(self, lane: str, at_least: int) -> int: ...
    def count(self, lane: str, cost: float, room: float, refill: float) -> float: ...
    def pause(self, lane: str, cost: float, room: float, refill: float) -> float: ...
    def fill(self, lane: str, level: float, refill: float) -> None: ...
    def alone(self, lane: str) -> AbstractContextManager[None]: ...


class Lanes:
    """The lanes of one server. Nobody waits longer than `seconds` in one. `limits`: the administrator's own."""

    def __init__(self, meters: Meters, seconds: float, limits: Mapping[str, RateLimit | None] | None = None) -> None:
        self._meters = meters
        self._seconds = seconds
        self._limits = limits or {}
        self._lanes: WeakValueDictionary[str, Lane] = WeakValueDictionary()
        self._lock = threading.Lock()

    def passage(self, kind: type[Exchange], apikey: str, rank: Rank) -> Passage:
        """The way of one caller with one key."""
        return Passage(self, kind, apikey, rank)

    def nonce(self, lane: str) -> int:
        """The lane's next nonce: microseconds since 1970, or one more than the last."""
        return self._meters.next_nonce(lane, time.time_ns() // 1000)

    def limit(self, kind: type[Exchange], *, by_key: bool) -> RateLimit:
        """The counter of a lane of this exchange: the one that it publishes, or the administrator's."""
        published = kind.per_key if by_key else kind.per_address
        if (own := self._limits.get(kind.id, published)) is None:
            return _UNCOUNTED
        if published is None or own is published or (kind.per_key is not None and not by_key):
            return published or own
        return replace(published, capacity=own.capacity, refill=own.refill)

    def lane(self, name: str, limit: RateLimit, *, ordered: bool) -> Lane:
        """The lane called `name`."""
        with self._lock:
            if (lane := self._lanes.get(name)) is None:
                lane = self._lanes[name] = Lane(name, limit, self._meters, self._seconds, ordered=ordered)
            return lane


def lane_name(exchange: str, apikey: str = "") -> str:
    """The lane of a key, or without one of our address; it does not show the key."""
    return hashlib.sha256(f"{exchange}\0{apikey}".encode()).hexdigest()


class Passage:
    """What an exchange's adapter is given to find its place: `nonce` and `turn` of `base.ExchangeContext`."""

    def __init__(self, lanes: Lanes, kind: type[Exchange], apikey: str, rank: Rank) -> None:
        self._lanes = lanes
        self._kind = kind
        self._apikey = apikey
        self._rank = rank

    def nonce(self) -> int:
        """The next nonce of the key."""
        return self._lanes.nonce(lane_name(self._kind.id, self._apikey))

    def turn(self, call: str, *, signed: bool) -> AbstractContextManager[None]:
        """A place in the lane that counts this call. Raises Busy when the wait would be too long."""
        kind = self._kind
        by_key = signed and (kind.ordered or kind.per_key is not None)
        limit = self._lanes.limit(kind, by_key=by_key)
        name = lane_name(kind.id, self._apikey if by_key else "")
        lane = self._lanes.lane(name, limit, ordered=by_key and kind.ordered)
        return lane.turn(0 if limit is _UNCOUNTED else limit.costs.get(call, 1), self._rank)


@dataclass(order=True, slots=True)
class _Waiter:
    rank: Rank
    number: int
    cost: float = field(compare=False)
    #: It is first, and the counter has no room for it.
    stuck: bool = field(default=False, compare=False)


class Lane:
    """The queue of this process for one lane."""

    def __init__(self, name: str, limit: RateLimit, meters: Meters, seconds: float, *, ordered: bool) -> None:
        self._name = name
        self._limit = limit
        self._meters = meters
        self._seconds = seconds
        self._ordered = ordered
        self._taken = False
        self._waiting: list[_Waiter] = []
        self._numbers = count()
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, cost: float, rank: Rank) -> Iterator[None]:
        """One request. Raises Busy, before anything was sent, when the wait would be too long."""
        self._wait(_Waiter(rank, next(self._numbers), cost))
        try:
            with self._alone():
                try:
                    yield
                except Busy as busy:
                    self._widen(busy.retry_after)
                    raise
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()

    def _wait(self, waiter: _Waiter) -> None:
        deadline = time.monotonic() + self._seconds
        with self._changed:
            self._refuse_early(waiter)
            insort(self._waiting, waiter)
            try:
                while (pause := self._pause(waiter)) > 0:
                    left = deadline - time.monotonic()
                    if left <= 0 or left < pause < inf:
                        raise _too_many(pause)
                    self._changed.wait(min(pause, left))
                self._taken = self._ordered
            finally:
                self._waiting.remove(waiter)
                self._changed.notify_all()

    def _refuse_early(self, waiter: _Waiter) -> None:
        """Raises Busy for a call that could not go in time even if nobody came after it."""
        if waiter.rank is not Rank.CANCEL and len(self._waiting) >= _PLACES:
            raise _too_many(1.0)
        ahead = sum(other.cost for other in self._waiting if other.rank <= waiter.rank)
        if waiter.cost and ahead:
            pause = self._meters.pause(self._name, waiter.cost + ahead, self._room(waiter), self._limit.refill)
            if pause > self._seconds:
                raise _too_many(pause)

    def _pause(self, waiter: _Waiter) -> float:
        """Seconds that `waiter` must wait, 0 when it was counted and may go, endless until something changes.

        A call that costs nothing does not wait for those that the counter holds up.
        """
        if self._taken:
            return inf
        for other in self._waiting:
            if other is waiter:
                break
            if waiter.cost or not other.stuck:
                return inf
        pause = self._meters.count(self._name, waiter.cost, self._room(waiter), self._limit.refill)
        if pause and not waiter.stuck:
            waiter.stuck = True
            self._changed.notify_all()
        return pause

    def _room(self, waiter: _Waiter) -> float:
        """How full the counter may be after this call: reads leave a quarter of it to orders and cancels."""
        capacity = self._limit.capacity
        return capacity - capacity // 4 if waiter.rank is Rank.READ else capacity

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Where the order counts, no other process sends meanwhile."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._meters.alone(self._name) if self._ordered else nullcontext())
            except TimeoutError:
                raise _too_many(1.0) from None
            yield

    def _widen(self, seconds: float) -> None:
        """The exchange refused: after so long its counter is still full, until then nothing is sent at all."""
        limit = self._limit
        self._meters.fill(self._name, limit.capacity + min(seconds, _LONGEST_BAN) * limit.refill, limit.refill)


def _too_many(pause: float) -> Busy:
    return Busy(
        "too many calls for what this exchange allows; nothing was sent", retry_after=1.0 if pause == inf else pause
    )
