"""Whether the journals are complete: the time since which orders and sends may be missing in them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from . import tables as t
from .base import Database
from .records import now, time_text
from .state_file import INTENT_COLUMNS, IntentRef
from .statements import StatementRunner

__all__ = ["HistoryGap", "HistoryStore"]

#: How long a key may be repeated whose order is missing: after this time nothing is looked up any more.
_GAP_LASTS = timedelta(days=30)
#: Taken from the last known time of a data base: an order is created up to half a minute before its intent is
#: committed, and the clock of its exchange may be wrong by as much.
_MARGIN = timedelta(seconds=60)
#: Seconds for which a gap that was read is taken for granted: another process may notice one, or accept it.
_CACHE_SECONDS = 1.0

_SELECT, _UPDATE = select(t.history), update(t.history)
_UPDATE_GAP = _UPDATE.where(t.history.c.noticed.is_not_distinct_from(bindparam("seen")))
_INTENT = {
    table.name: select(*(table.c[name] for name in INTENT_COLUMNS)).where(table.c.id == bindparam("id"))
    for table in t.JOURNALS
}
_NEWEST_ID = {table.name: select(func.max(table.c.id)) for table in t.JOURNALS}
_NEWEST = [select(table.c.updated).order_by(table.c.id.desc()).limit(1) for table in t.JOURNALS]


class HistoryGap(NamedTuple):
    """Orders and sends that were placed after `since` may be missing in the journals: it was `noticed` at this time."""

    since: datetime
    reason: str
    noticed: datetime


class HistoryStore:
    """The row of the table `history`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gap: HistoryGap | None = None
        self._valid_until = 0.0

    def row(self) -> dict[str, Any] | None:
        """Return the row; None in a data base that no server has used yet."""
        with self._database.reading() as runner:
            return runner.first(_SELECT)

    def create(self) -> dict[str, Any]:
        """Return the row, after it was added for a new installation when there is none."""
        while (row := self.row()) is None:
            with suppress(IntegrityError):  # another process added it
                self._database.write(_add)
        return row

    def heartbeat(self) -> None:
        """Write that the data base is in use now."""
        self._database.write_one(lambda runner: runner.change(_UPDATE, {"heartbeat": now()}))

    def newest_time(self) -> str | None:
        """Return when the newest rows of the journals were written; None when there are none."""
        with self._database.reading() as runner:
            return max((time for newest in _NEWEST if (time := runner.value(newest)) is not None), default=None)

    def missing(self, intents: Iterable[IntentRef]) -> list[IntentRef]:
        """Return those of the intents, oldest first, that the journals do not have.

        A row that was begun anew has a newer time than an intent whose server ended before it could name the new one.
        """
        newest = {(intent.journal, intent.id): intent for intent in intents}
        with self._database.reading() as runner:
            found = runner.rows_of_each(*((_INTENT[intent.journal], {"id": intent.id}) for intent in newest.values()))
            ids = {name: runner.value(newest_id) for name, newest_id in _NEWEST_ID.items()}
        return [
            intent
            for intent, rows in zip(newest.values(), found, strict=True)
            if not intent.is_kept_in(next(iter(rows), None), ids[intent.journal])
        ]

    def gap(self) -> HistoryGap | None:
        """Return what may be missing; None: the journals are complete, or it was accepted or is too long ago."""
        if time.monotonic() >= self._valid_until:
            self._gap = _gap(self.row())
            self._valid_until = time.monotonic() + _CACHE_SECONDS
        return self._gap

    def report_gap(self, since: datetime, reason: str) -> HistoryGap:
        """Write that what was committed after `since` may be missing, and return what may be missing in all."""
        while True:
            row = self.create()
            gap = HistoryGap(since.astimezone(UTC) - _MARGIN, reason, datetime.now(UTC))
            if (known := _gap(row)) is not None:
                reasons = known.reason if reason in known.reason else f"{known.reason}; {reason}"
                gap = HistoryGap(min(gap.since, known.since), reasons, gap.noticed)
            if self._write_gap(row, gap):
                return gap

    def accept(self) -> HistoryGap | None:
        """Write that nothing is looked up any more; return what might have been missing."""
        while (row := self.row()) is not None and (gap := _gap(row)) is not None:
            if self._write_gap(row, None):
                return gap
        return None

    def _write_gap(self, seen: dict[str, Any], gap: HistoryGap | None) -> bool:
        """Write what may be missing, and return True; False: another process wrote since the row was `seen`."""
        values = {"missing_since": None, "noticed": None, "reason": None, "seen": seen["noticed"]}
        if gap is not None:
            noticed = time_text(gap.noticed)
            values |= {"missing_since": time_text(gap.since), "noticed": noticed, "reason": gap.reason}
            # What is as new as this was not lost once more, also when the gap has been accepted.
            values["heartbeat"] = noticed
        written = self._database.write_one(lambda runner: runner.change(_UPDATE_GAP, values)) == 1
        self._valid_until = 0.0
        return written


def _add(runner: StatementRunner) -> None:
    runner.change(insert(t.history), {"id": 1, "installation": secrets.token_hex(16), "heartbeat": now()})


def _gap(row: dict[str, Any] | None) -> HistoryGap | None:
    if row is None or row["missing_since"] is None:
        return None
    noticed = datetime.fromisoformat(row["noticed"])
    if noticed + _GAP_LASTS < datetime.now(UTC):
        return None
    return HistoryGap(datetime.fromisoformat(row["missing_since"]), row["reason"], noticed)
