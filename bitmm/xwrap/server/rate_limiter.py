"""Rate limits: who may send the next request to an exchange, and when.

There is one queue for each exchange key, and one for each exchange's view of our address. Everything that uses a key
goes through its queue: several registrations, many threads, any number of processes. Until the exchange has accepted a
key with its secret, the queue is the account's own: who knows no more than a key does not reach the queue of its owner.
In a queue the accounts take turns. Nonces only rise. Where an exchange insists on their order, one request at a time is
made, sent and answered. The counter of calls that the exchange keeps is kept here too: a call that it would refuse
waits, or is refused before it is sent. Cancels go first, then the questions of the reconciler, orders, and reads; after
a question an order may go, so that none waits for all pages of a long list. Nonces and counters are in the data base:
they hold for all processes, after a restart, and when a clock was set back.

Calls that need no login, of prices, have a small budget of their own, and go last.

Reads, and the polling of an order that was just placed, leave a quarter of a counter to all others. At Kraken that is
4 of 14: what it takes to find out, after a crash in the middle of busy trading, what became of all orders of a key.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from bisect import insort
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from math import ceil, inf
from weakref import WeakValueDictionary

from ..exchanges.base import RateLimit
from ..exchanges.errors import Busy
from .db.counters import CounterStore
from .db.errors import UNUSABLE, driver_message
from .exchange_limits import UNCOUNTED, ExchangeLimits

__all__ = ["KeyHolder", "Priority", "RateLimiter", "RequestSlot"]

_log = logging.getLogger(__name__)

#: How many calls of an account may wait in one queue; cancels and the reconciler, which is one thread, always may.
_MAX_WAITING = 64
#: Seconds for which the reconciler waits, which has the time: a question that is given up costs the counter more than
#: one that waits. Kraken's counter falls by the cost of the dearest one, 2, in 6 s.
_PATIENCE = 10.0
#: Seconds for which a cancel waits: a server process that stands still may have lost its locks by then, and the cancel
#: has time left to be sent within its call.
_CANCEL_PATIENCE = 10.0
#: The longest time in seconds for which the word of an exchange stops a queue.
_MAX_BACK_OFF = 900.0


class Priority(IntEnum):
    """Who goes first in a queue."""

    CANCEL = 0
    RECONCILE = 1
    ORDER = 2
    READ = 3
    #: For a caller who is not logged in.
    ANONYMOUS = 4


class RateLimiter:
    """The queues of one server. A call waits at most `seconds` in one of them, those of the reconciler longer."""

    def __init__(self, counters: CounterStore, seconds: float) -> None:
        self.counters = counters
        self._seconds = seconds
        self._queues: WeakValueDictionary[str, RequestQueue] = WeakValueDictionary()
        self._lock = threading.Lock()

    def queue(self, name: str, limit: RateLimit, *, ordered: bool) -> RequestQueue:
        """Return the queue called `name`; it is made when there is none."""
        with self._lock:
            if (queue := self._queues.get(name)) is None:
                queue = self._queues[name] = RequestQueue(name, limit, self.counters, self._seconds, ordered=ordered)
            return queue

    def count_anonymous(self, limits: ExchangeLimits) -> None:
        """Count a call for somebody who is not logged in. Raises Busy when there were too many of them."""
        name, limit = queue_name(limits.exchange, "\0anonymous"), limits.anonymous
        if pause := self.counters.acquire(name, 1, limit.capacity, limit.refill):
            raise _too_many(pause)


def queue_name(exchange: str, apikey: str = "") -> str:
    """Return the name of the queue of a key, or without one of our address; it does not show the key."""
    return hashlib.sha256(f"{exchange}\0{apikey}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Who uses an exchange: with which `key` (what the exchange knows its user by), for which `account` of ours.

    `is_proven`: the exchange accepted this key with the secret that the account gave. No account: 0.
    """

    key: str = field(default="", repr=False)
    account: int = 0
    is_proven: bool = False

    @property
    def queue(self) -> str:
        """Return what the queue of the holder is called after: the key, or until it is proven the account, too."""
        return self.key if self.account == 0 or (self.key and self.is_proven) else f"{self.key}\0of {self.account}"


class RequestSlot:
    """The place of one caller with one key: `nonce` and `acquire` are nonce and throttle of an `ExchangeContext`.

    `check` is run when the wait of a call is over, right before its request is made; it raises Refused for one that may
    not be sent any more. `on_accepted` is called when the exchange took a signed call of a key that is not proven.
    """

    def __init__(
        self,
        limiter: RateLimiter,
        limits: ExchangeLimits,
        holder: KeyHolder,
        priority: Priority,
        check: Callable[[], None] | None = None,
        on_accepted: Callable[[], None] = lambda: None,
    ) -> None:
        self._limiter = limiter
        self._limits = limits
        self._holder = holder
        self._priority = priority
        self._check = check
        self._on_accepted = on_accepted
        #: Of the key, and of this caller: the same, once the key is proven.
        self._key_queue = queue_name(limits.exchange, holder.key)
        self._own_queue = queue_name(limits.exchange, holder.queue)
        self._last_nonce = 0

    def nonce(self) -> int:
        """Return the next nonce of the key: microseconds since 1970, or one more than the last."""
        counters, least = self._limiter.counters, time.time_ns() // 1000
        if self._own_queue != self._key_queue:
            least = max(least, counters.last_nonce(self._key_queue) + 1)
        self._last_nonce = counters.next_nonce(self._own_queue, least)
        return self._last_nonce

    def acquire(self, call: str, *, signed: bool) -> AbstractContextManager[None]:
        """Wait in the queue of the key, and count this call. Raises Busy when the wait would be too long."""
        limits = self._limits
        if self._priority is Priority.ANONYMOUS:
            self._limiter.count_anonymous(limits)
        by_key = signed and limits.queues_by_key
        limit = limits.per_key if by_key else limits.per_address
        name = self._own_queue if by_key else queue_name(limits.exchange)
        queue = self._limiter.queue(name, limit, ordered=by_key and limits.ordered)
        cost = 0 if limit is UNCOUNTED else limit.costs.get(call, 1)
        is_poll = call in limit.polls
        can_wait = self._priority >= Priority.READ or is_poll
        turn = queue.acquire(cost, self._priority, can_wait=can_wait, account=self._holder.account)
        if signed and self._holder.key and self._own_queue != self._key_queue:
            turn = self._proving(turn, cost if by_key else 0, limit)
        # A poll asks about an order that was sent.
        return turn if self._check is None or is_poll else _checked(turn, self._check)

    @contextmanager
    def _proving(self, turn: AbstractContextManager[None], cost: float, limit: RateLimit) -> Iterator[None]:
        """Around a call whose key is proven when the exchange takes it: what it refuses is raised in here.

        `cost`: what the exchange has counted for the key then.
        """
        with turn:
            yield
        try:
            if cost:
                self._limiter.counters.acquire(self._key_queue, cost, inf, limit.refill)
            if self._last_nonce:
                # The next call is made in the queue of the key, and its nonce must be higher.
                self._limiter.counters.next_nonce(self._key_queue, self._last_nonce)
            self._on_accepted()
        except UNUSABLE as error:
            # The call was made; the next one proves the key.
            _log.warning("that a key was accepted could not be written: %s", driver_message(error))


@contextmanager
def _checked(turn: AbstractContextManager[None], check: Callable[[], None]) -> Iterator[None]:
    """Wait as `turn` does, then check."""
    with turn:
        check()
        yield


@dataclass(order=True, slots=True)
class _Waiter:
    priority: Priority
    #: The calls of an account have one number after the other, so that each account has its turn.
    turn: int
    position: int
    account: int = field(compare=False)
    cost: float = field(compare=False)
    #: It leaves a quarter of the counter to those that cannot wait.
    can_wait: bool = field(compare=False)
    #: It is first, and the counter has no capacity for it.
    is_blocked: bool = field(default=False, compare=False)


class RequestQueue:
    """The queue of this process for one key, or for our address."""

    def __init__(self, name: str, limit: RateLimit, counters: CounterStore, seconds: float, *, ordered: bool) -> None:
        self._name = name
        self._limit = limit
        self._counters = counters
        self._seconds = seconds
        self._cancel_seconds = max(seconds, _CANCEL_PATIENCE)
        self._ordered = ordered
        #: One request of an ordered queue is under way.
        self._in_use = False
        self._waiting: list[_Waiter] = []
        self._positions = count()
        #: Of the last call that was let in.
        self._last_priority: Priority | None = None
        #: The turn of the last call that was let in, by priority.
        self._last_turns = dict.fromkeys(Priority, 0)
        self._changed = threading.Condition()

    @contextmanager
    def acquire(self, cost: float, priority: Priority, *, can_wait: bool, account: int = 0) -> Iterator[None]:
        """Wait, count, and let one request be sent. Raises Busy, before it is sent, when the wait would be too long.

        `can_wait`: it leaves a quarter of the counter to those that cannot. `account`: whose call it is.
        """
        self._wait(cost, priority, account, can_wait=can_wait)
        try:
            with self._exclusive(self._cancel_seconds if priority is Priority.CANCEL else self._seconds):
                try:
                    yield
                except Busy as busy:
                    self._back_off(busy.retry_after)
                    raise
        finally:
            with self._changed:
                self._in_use = False
                self._changed.notify_all()

    def _wait(self, cost: float, priority: Priority, account: int, *, can_wait: bool) -> None:
        began = time.monotonic()
        with self._changed:
            turn = self._next_turn(priority, account)
            waiter = _Waiter(priority, turn, next(self._positions), account, cost, can_wait)
            deadline = began + self._longest_wait(waiter)
            self._refuse_early(waiter)
            insort(self._waiting, waiter)
            try:
                while (pause := self._pause(waiter)) > 0:
                    left = deadline - time.monotonic()
                    if left <= 0 or left < pause < inf:
                        raise _too_many(pause)
                    self._changed.wait(min(pause, left))
                self._in_use = self._ordered
                self._last_priority = priority
                self._last_turns[priority] = max(self._last_turns[priority], turn)
            finally:
                self._waiting.remove(waiter)
                self._changed.notify_all()

    def _next_turn(self, priority: Priority, account: int) -> int:
        """Return the turn of a new call: after those of its account that wait, and not before the last one let in.

        This is start-time fair queueing (Goyal, Vin and Cheng, 1996) of calls that all count the same.
        """
        own = [each.turn for each in self._waiting if each.account == account and each.priority is priority]
        return max(self._last_turns[priority], max(own, default=-1) + 1)

    def _refuse_early(self, waiter: _Waiter) -> None:
        """Raise Busy for a call that could not go in time even if no other came after it."""
        own = sum(other.account == waiter.account for other in self._waiting)
        if waiter.priority > Priority.RECONCILE and own >= _MAX_WAITING:
            raise _too_many(1.0)
        ahead = sum(other.cost for other in self._waiting if other < waiter)
        if waiter.cost and ahead:
            pause = self._counters.wait_time(
                self._name, waiter.cost + ahead, self._capacity(waiter), self._limit.refill
            )
            if pause > self._longest_wait(waiter):
                raise _too_many(pause)

    def _pause(self, waiter: _Waiter) -> float:
        """Return the seconds that `waiter` must wait: 0 when it was counted and may go, inf until something changes.

        A call that costs nothing does not wait for those that the counter blocks.
        """
        if self._in_use:
            return inf
        key = self._sort_key(waiter)
        if any((waiter.cost or not other.is_blocked) and self._sort_key(other) < key for other in self._waiting):
            return inf
        pause = self._counters.acquire(self._name, waiter.cost, self._capacity(waiter), self._limit.refill)
        if pause and not waiter.is_blocked:
            waiter.is_blocked = True
            self._changed.notify_all()
        return pause

    def _sort_key(self, waiter: _Waiter) -> tuple[Priority, bool, int, int]:
        """Return what sorts the calls that wait.

        After a question of the reconciler an order goes first.
        """
        is_next_page = waiter.priority is self._last_priority is Priority.RECONCILE
        priority = Priority.ORDER if is_next_page else waiter.priority
        return priority, is_next_page, waiter.turn, waiter.position

    def _longest_wait(self, waiter: _Waiter) -> float:
        """Return the seconds after which a call is refused that could not go."""
        return max(self._seconds, _PATIENCE) if waiter.priority is Priority.RECONCILE else self._seconds

    def _capacity(self, waiter: _Waiter) -> float:
        """Return the highest count after this call, which may leave a quarter of the capacity to others.

        Of a counter below 4 that would be too much of it.
        """
        capacity = self._limit.capacity
        return capacity - ceil(capacity / 4) if waiter.can_wait and capacity >= 4 else capacity

    @contextmanager
    def _exclusive(self, seconds: float) -> Iterator[None]:
        """Keep other processes from sending meanwhile, where the order of nonces counts. Raises Busy."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._counters.lock(self._name, seconds) if self._ordered else nullcontext())
            except TimeoutError as error:
                raise Busy(f"{error}; nothing was sent", retry_after=1.0) from None
            yield

    def _back_off(self, seconds: float) -> None:
        """Raise the counter so far that nothing is sent for `seconds`, and that it is full after them."""
        limit = self._limit
        self._counters.raise_to(self._name, limit.capacity + min(seconds, _MAX_BACK_OFF) * limit.refill, limit.refill)


def _too_many(pause: float) -> Busy:
    if pause == inf:
        return Busy(
            "other calls to this exchange are under way or wait before this one; nothing was sent", retry_after=1.0
        )
    return Busy(
        f"too many calls for what this exchange allows; nothing was sent; try again in {ceil(pause)} seconds",
        retry_after=pause,
    )
