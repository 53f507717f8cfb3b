"""Nonces of the exchange keys, and counters of calls, one row for each request queue."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, suppress

from sqlalchemy import BigInteger, Double, bindparam, case, insert, select, update
from sqlalchemy.exc import IntegrityError

from . import tables as t
from .base import Database

__all__ = ["CounterStore"]

_ADD = insert(t.counters)
_THIS_QUEUE = t.counters.c.lane == bindparam("queue")
_LAST_NONCE, _AT_LEAST = t.counters.c.nonce, bindparam("at_least", type_=BigInteger)
_LAST = select(_LAST_NONCE).where(_THIS_QUEUE)
_NEXT_NONCE = (
    update(t.counters)
    .where(_THIS_QUEUE)
    .values(nonce=case((_AT_LEAST > _LAST_NONCE, _AT_LEAST), else_=_LAST_NONCE + 1))
    .returning(_LAST_NONCE)
)


class CounterStore:
    """The last nonce of each request queue, and how full its counter of calls was at a time of the data base's clock.

    A counter falls by `refill` a second, down to 0. A clock that is set back lowers no nonce, and a counter falls on
    from the new time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        now, updated, stored = database.current_time, t.counters.c.moment, t.counters.c.level
        cost, capacity, target, refill = (
            bindparam(name, type_=Double) for name in ("cost", "capacity", "target", "refill")
        )
        fallen = case((now > updated, now - updated), else_=0.0) * refill
        level = case((stored > fallen, stored - fallen), else_=0.0)
        this = update(t.counters).where(_THIS_QUEUE)
        self._level = select(level.label("level"), (updated > now).label("set_back")).where(_THIS_QUEUE)
        self._follow_clock = this.where(updated > now).values(moment=now)
        self._acquire = this.where(level + cost <= capacity).values(level=level + cost, moment=now)
        self._raise_to = this.values(level=case((level > target, level), else_=target), moment=now)

    def next_nonce(self, queue: str, at_least: int) -> int:
        """Return a number above every earlier one of this queue, and not below `at_least`.

        It is one statement, so no number is given twice.
        """
        nonce: int | None = None
        values = {"queue": queue, "at_least": at_least}
        while nonce is None:
            nonce = self._database.write_one(lambda runner: runner.value(_NEXT_NONCE, values))
            if nonce is None:
                self._add(queue)
        return nonce

    def last_nonce(self, queue: str) -> int:
        """Return the last nonce of this queue; 0 when it has given none."""
        with self._database.reading() as runner:
            return runner.value(_LAST, {"queue": queue}) or 0

    def acquire(self, queue: str, cost: float, capacity: float, refill: float) -> float:
        """Raise the queue's counter by `cost` and return 0, or return the seconds until `capacity` allows it."""
        values = {"queue": queue, "cost": cost, "capacity": capacity, "refill": refill}
        while True:
            if cost and self._database.write_one(lambda runner: runner.change(self._acquire, values)):
                return 0.0
            wait = self.wait_time(queue, cost, capacity, refill)
            if wait or not cost:
                return wait

    def wait_time(self, queue: str, cost: float, capacity: float, refill: float) -> float:
        """Return the seconds until the queue's counter could be raised by `cost` without passing `capacity`."""
        with self._database.reading() as runner:
            row = runner.first(self._level, {"queue": queue, "refill": refill})
        if row is None:
            self._add(queue)
            return max(0.0, (cost - capacity) / refill)
        level: float = row["level"]
        if row["set_back"]:  # the clock was
            self._database.write_one(lambda runner: runner.change(self._follow_clock, {"queue": queue}))
        return max(0.0, (level + cost - capacity) / refill)

    def raise_to(self, queue: str, level: float, refill: float) -> None:
        """Raise the queue's counter to `level`, where it is lower."""
        values = {"queue": queue, "target": level, "refill": refill}
        self._database.write_one(lambda runner: runner.change(self._raise_to, values))

    def lock(self, queue: str, seconds: float) -> AbstractContextManager[None]:
        """Keep every other process out of this queue, also during a request to the exchange.

        Raises TimeoutError, which says what was waited for, when that takes longer than so many seconds.
        """
        lock_id = int.from_bytes(hashlib.sha256(queue.encode()).digest()[:8], "big", signed=True)
        return self._database.advisory_lock(lock_id, seconds)

    def _add(self, queue: str) -> None:
        """Add the row of a queue; another process may do so at the same time."""
        values = {"lane": queue, "nonce": 0, "level": 0.0, "moment": 0.0}
        with suppress(IntegrityError):
            self._database.write_one(lambda runner: runner.change(_ADD, values))
