"""Nonces, and counters of calls, of the exchanges' keys and of our address."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, suppress

from sqlalchemy import Double, bindparam, case, insert, select, update
from sqlalchemy.exc import IntegrityError

from . import tables as t
from .base import Database

__all__ = ["LaneBook"]

_ADD_LANE = insert(t.lanes)
_LAST = t.lanes.c.nonce
_NEXT_NONCE = (
    update(t.lanes)
    .where(t.lanes.c.lane == bindparam("of"))
    .values(nonce=case((bindparam("at_least") > _LAST, bindparam("at_least")), else_=_LAST + 1))
    .returning(_LAST)
)


class LaneBook:
    """What is kept of each lane: its last nonce, and how full its counter was at a moment of the data base's clock.

    A clock that is set back lowers no nonce, and a counter falls on from the new time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        lane, current_time = t.lanes.c, database.current_time
        this = lane.lane == bindparam("of")
        fallen = case((current_time > lane.moment, current_time - lane.moment), else_=0.0) * bindparam(
            "refill", type_=Double
        )
        level = case((lane.level > fallen, lane.level - fallen), else_=0.0)
        cost, room, to = (bindparam(name, type_=Double) for name in ("cost", "room", "to"))
        self._level = select(level.label("level"), (lane.moment > current_time).label("set_back")).where(this)
        self._set_back = update(t.lanes).where(this, lane.moment > current_time).values(moment=current_time)
        self._raise = update(t.lanes).where(this, level + cost <= room).values(level=level + cost, moment=current_time)
        self._fill = update(t.lanes).where(this).values(level=case((level > to, level), else_=to), moment=current_time)

    def next_nonce(self, lane: str, at_least: int) -> int:
        """A number above every earlier one of this lane, and not below `at_least`; one statement, so never given
        twice.
        """
        nonce: int | None = None
        asked = {"of": lane, "at_least": at_least}
        while nonce is None:
            nonce = self._database.write(lambda runner: runner.value(_NEXT_NONCE, asked))
            if nonce is None:
                self._add(lane)
        return nonce

    def count(self, lane: str, cost: float, room: float, refill: float) -> float:
        """Raise the lane's counter by `cost` when it is `room` at most then: 0; else the seconds until it could be.

        The counter falls by `refill` a second, down to 0.
        """
        asked = {"of": lane, "cost": cost, "room": room, "refill": refill}
        while not (pause := self.pause(lane, cost, room, refill)) and cost:
            if self._database.write(lambda runner: runner.change(self._raise, asked)):
                break
        return pause

    def pause(self, lane: str, cost: float, room: float, refill: float) -> float:
        """Seconds until the lane's counter could be raised by `cost` to `room` at most."""
        with self._database.reading() as runner:
            row = runner.first(self._level, {"of": lane, "refill": refill})
        if row is None:
            self._add(lane)
            return max(0.0, (cost - room) / refill)
        level: float = row["level"]
        if row["set_back"]:  # the clock was
            self._database.write(lambda runner: runner.change(self._set_back, {"of": lane}))
        return max(0.0, (level + cost - room) / refill)

    def fill(self, lane: str, level: float, refill: float) -> None:
        """Raise the lane's counter to `level`, where it is lower."""
        values = {"of": lane, "to": level, "refill": refill}
        self._database.write(lambda runner: runner.change(self._fill, values))

    def alone(self, lane: str) -> AbstractContextManager[None]:
        """No other process is in this lane, also over a call to the exchange. Raises TimeoutError."""
        return self._database.advisory_lock(
            int.from_bytes(hashlib.sha256(lane.encode()).digest()[:8], "big", signed=True)
        )

    def _add(self, lane: str) -> None:
        """Another process may add it at the same moment."""
        values = {"lane": lane, "nonce": 0, "level": 0.0, "moment": 0.0}
        with suppress(IntegrityError):
            self._database.write(lambda runner: runner.change(_ADD_LANE, values))
