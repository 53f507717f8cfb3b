"""When an exchange is asked about what is unknown, and from when on "there is no such order" is a proof.

Every question costs calls that the exchange counts. So one is asked early, which finds what is there. The next comes
when the answer can prove something: where nonces must rise that is soon, a second after the exchange accepted a newer
one, because what arrived just before may not be listed at once; elsewhere when a request that is still on its way must
have arrived, with a few questions on the way there. What the exchange could not say then is asked less and less often.
Where several servers share a data base, the one that left a row unknown asks first, and the others only if it did not.

The data base has wall-clock times. They become times of this process's monotonic clock when a row is first seen here,
within the bounds of what can be true: a clock that is set ahead afterwards shortens no grace, and one that was set back
makes none endless.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, NamedTuple

from ..exchanges.base import Exchange
from .db.attempts import Attempt
from .db.journal import Journal
from .db.store import Store
from .lookups import LISTING_SECONDS

__all__ = ["QuestionTimes", "TimesOfRows"]

#: Seconds by which the server that left a row unknown is ahead of the others on its data base, between these two, since
#: then: with a time that began when a server first sees the row, servers that live only seconds would never ask. Each
#: of the others waits for another time, which is the same for all rows: what was left unknown together is asked about
#: with one question, and by one of them.
_HEAD_START = 5.0, 10.0
#: The next question about a row waits for this part of the time for which it has been unknown, an hour at most. What an
#: exchange could not say for days it will hardly say now.
_BACK_OFF = 1 / 20
_MAX_BACK_OFF = 3600.0

Row = Mapping[str, Any]
_parse_time = datetime.fromisoformat


@dataclass(slots=True)
class QuestionTimes:
    """The times of one row, in seconds of the monotonic clock."""

    #: The next question is due.
    ask_at: float
    #: Its request has arrived by then, if it was sent at all.
    arrived_by: float
    #: From then on its absence can be proved: at `arrived_by`, or earlier if the exchange confirms that no request can
    #: arrive any more.
    confirm_at: float
    #: The seconds between two questions of which the first one failed, at least.
    retry: float
    seen_at: float
    #: An accepted nonce proves that no older request can arrive.
    by_nonce: bool
    #: What arrived before the exchange confirmed that its request cannot arrive any more is listed from then on.
    listed_by: float = inf
    #: It is asked about alone, because a list of all orders since then could not be had.
    one_by_one: bool = False
    #: See `OrderRef.missed_since`.
    missed_since: datetime | None = None

    def is_due(self) -> bool:
        """Return whether it is time to ask about the row."""
        return time.monotonic() >= self.ask_at

    def needs_confirmation(self, asked: float) -> bool:
        """Return whether a question proves something only if the exchange confirms before that no request arrives."""
        return self.listed_by == inf and self.confirm_at <= asked < self.arrived_by

    def confirm(self, *, is_confirmed: bool) -> None:
        """Keep what the exchange said: no request of the row can arrive any more, or that is not known."""
        if is_confirmed:
            self.listed_by = time.monotonic() + LISTING_SECONDS
            self.ask_at = min(self.listed_by, self.arrived_by)
        else:
            self.confirm_at = self.arrived_by

    def is_proof(self, asked: float) -> bool:
        """Return whether the row was certainly not executed when the exchange, `asked` then, had no such thing."""
        return asked >= min(self.listed_by, self.arrived_by)

    def was_missed(self, updated: str, *, proved: bool) -> None:
        """The exchange had no such thing: the next question comes when it can prove something. See `try_again`."""
        now = time.monotonic()
        if proved:
            self.try_again(updated)
        elif self.by_nonce:
            self.ask_at = min(self.listed_by, self.arrived_by) if self.listed_by < inf else self.confirm_at
        else:
            # After 1, 3, 9, 27 s and so on: an order may arrive late, and nothing is lost by finding it before the end.
            self.ask_at = min(self.confirm_at, now + max(self.retry, 2 * (now - self.seen_at)))

    def try_again(self, updated: str) -> None:
        """The exchange did not answer, or could not say: the next question comes after a while. The row became unknown
        when it was `updated`.
        """
        self.ask_at = time.monotonic() + max(self.retry, min(_seconds_since(updated) * _BACK_OFF, _MAX_BACK_OFF))


def _seconds_since(written: str) -> float:
    """Return how long ago a time of the data base is, by the clock on the wall; less than 0 if that was set back."""
    return (datetime.now(UTC) - _parse_time(written)).total_seconds()


class _Looked(NamedTuple):
    """What was unknown at an exchange when that was read last: the `names` of the attempts, and their times."""

    names: str
    times: Mapping[Attempt, QuestionTimes]


class TimesOfRows:
    """The times of all rows that are unknown now; of no other row anything is kept.

    `grace`, `call_seconds`: see Reconciler. `retry`: see QuestionTimes.
    """

    def __init__(self, store: Store, *, grace: float, call_seconds: float, retry: float) -> None:
        self._store = store
        self._grace = grace
        self._call_seconds = call_seconds
        self._retry = retry
        self._head_start = random.uniform(*_HEAD_START)  # noqa: S311 - no secret
        #: By journal and exchange. Times belong to an attempt with its key: what one key confirmed is true of its own
        #: requests only.
        self._looked: dict[tuple[str, str], _Looked] = {}

    def places(self, journal: Journal) -> set[str]:
        """Return the exchanges at which an attempt of a journal is due, or others are unknown than were read last."""
        names = journal.attempts.names()
        looked = {exchange: looked for (name, exchange), looked in list(self._looked.items()) if name == journal.name}
        return {
            exchange
            for exchange in names.keys() | looked.keys()
            if (last := looked.get(exchange)) is None
            or last.names != names.get(exchange, "")
            or any(times.is_due() for times in last.times.values())
        }

    def of(self, journal: Journal, exchange: str, kind: type[Exchange]) -> Mapping[Attempt, QuestionTimes]:
        """Return the times of all attempts of a journal that are unknown at an exchange, of this `kind`, oldest first.

        They are read only when they are not the same as the last time.
        """
        place, names = (journal.name, exchange), journal.attempts.names().get(exchange, "")
        last = self._looked.get(place, _Looked("", {}))
        if names == last.names:
            return last.times
        known = {attempt.name: times for attempt, times in last.times.items()}
        # After the names: what changes meanwhile is seen in the next round.
        times = {
            attempt: known.get(attempt.name) or self._first_seen(journal, attempt, kind)
            for attempt in journal.attempts.at(exchange)
        }
        self._looked[place] = _Looked(names, times)
        return times

    def latest_arrival(self, row: Row, exchange: Exchange | type[Exchange]) -> datetime:
        """Return when the request of a row has arrived at the latest, if it was sent at all."""
        return self._latest_signing(row) + timedelta(seconds=self._longest_way(exchange))

    def _longest_way(self, exchange: Exchange | type[Exchange]) -> float:
        """Return for how many seconds after it was signed a request may arrive."""
        return max(self._grace, exchange.valid_seconds)

    def _latest_signing(self, row: Row) -> datetime:
        """Return when the request of a row was signed at the latest."""
        last = _parse_time(row["created"]) + timedelta(seconds=self._call_seconds)
        # While a row has a server, its call may go on: that server may live and only have lost its connection to the
        # data base. SQLite has one server at a time, and all earlier ones have ended.
        may_go_on = row["server"] is not None and (self._store.is_shared or row["server"] == self._store.server_id)
        return last if may_go_on else min(last, _parse_time(row["updated"]))

    def _rest_of_head_start(self, row: Row) -> float:
        """Return for how many seconds more another server is to ask first about a row that it left unknown."""
        return min(max(self._head_start - _seconds_since(row["updated"]), 0.0), self._head_start)

    def _first_seen(self, journal: Journal, attempt: Attempt, kind: type[Exchange]) -> QuestionTimes:
        row = attempt._asdict()
        # A send is not proved to be missing by a nonce, nor is what was signed with another key by one of this key.
        is_of_key = row["created"] > (row["key_since"] or "")
        by_nonce = kind.ordered and journal is self._store.orders and is_of_key
        now, way, call_seconds = time.monotonic(), self._longest_way(kind), self._call_seconds
        left = (self._latest_signing(row) - datetime.now(UTC)).total_seconds()
        if row["server"] == self._store.server_id:
            # It was given up by the wall clock alone, which may have been set ahead while its call goes on here.
            left = call_seconds
        signed_by = now + min(max(left, 0.0), call_seconds)
        arrived_by = now + min(max(left + way, 0.0), call_seconds + way)
        confirm_at = signed_by if by_nonce else arrived_by
        ask_at = min(confirm_at, now + LISTING_SECONDS) if by_nonce else now
        if not journal.is_own(row):
            behind = self._rest_of_head_start(row)
            confirm_at += behind
            ask_at = min(confirm_at, now + 2 * behind)
        return QuestionTimes(
            ask_at=ask_at,
            arrived_by=arrived_by,
            confirm_at=confirm_at,
            retry=self._retry,
            seen_at=now,
            by_nonce=by_nonce,
        )
