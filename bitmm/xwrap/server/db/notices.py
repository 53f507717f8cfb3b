"""The notices that wait for the administrator's receiver: a queue, oldest first.

A notice is committed together with what it reports, and removed when it was taken. Only the oldest one is sent, by one
server process at a time: it claims the notice for some seconds, by the clock of the data base. Those of a registration
are in the order in which they happened, because each write of an order's row waits for the one before.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Table, bindparam, delete, func, insert, select, update

from ...exchanges.models import ORDER_FIELDS, WITHDRAWAL_FIELDS
from . import tables as t
from .base import Database
from .records import DAY_SECONDS, Registration, now
from .row_json import row_to_json
from .statements import Statement, StatementRunner

__all__ = ["MOST_NOTICES", "OLDEST_NOTICE_SECONDS", "Backlog", "Notice", "NoticeStore", "OutcomeNotices"]

#: What waits is kept so long, and no more than so many; the oldest go first.
OLDEST_NOTICE_SECONDS, MOST_NOTICES = 30 * DAY_SECONDS, 100_000

_N, _R = t.notices.c, t.registrations.c
_PLACE = select(t.accounts.c.name.label("account"), _R.id.label("registration"), _R.exchange, _R.label)
_OF_REGISTRATION = _PLACE.join(t.accounts, _R.account_id == t.accounts.c.id).where(_R.id == bindparam("registration"))
_OF_ACCOUNT = select(t.accounts.c.name.label("account")).where(t.accounts.c.id == bindparam("account"))
_OLDEST_ID = select(func.min(_N.id)).scalar_subquery()
_OLDEST = select(t.notices).where(_N.id == _OLDEST_ID)
_REMOVE = delete(t.notices).where(_N.id == bindparam("row"))
_ADD = insert(t.notices)
_COUNT = select(func.count()).select_from(t.notices)
_TOO_OLD = delete(t.notices).where(_N.created < bindparam("until"))
_FIRST_TOO_MANY = select(_N.id).order_by(_N.id.desc()).limit(1).offset(MOST_NOTICES)
_TOO_MANY = delete(t.notices).where(_N.id <= bindparam("last"))
_KEY = update(t.registrations).where(_R.id == bindparam("row"))
_REFUSED = _KEY.where(_R.key_refused.is_(None), _R.sealed_apisecret == bindparam("sealed"), _R.deleted.is_(None))
_ACCEPTED = _KEY.where(_R.key_refused.is_not(None))


class Notice(NamedTuple):
    """A notice that was claimed: its `id` for the receiver, what is sent, how often it was tried, until when it is
    claimed.
    """

    row: int
    id: str
    body: str
    tries: int
    due: float


class Backlog(NamedTuple):
    """What waits: how many, since when the oldest, how often that was tried, and why it was not taken."""

    waiting: int
    since: str | None = None
    tries: int = 0
    error: str | None = None


class NoticeStore:
    """The notices of one data base. `wanted`: there is a receiver; else nothing is written."""

    def __init__(self, database: Database, *, wanted: bool) -> None:
        self.wanted = wanted
        self._database = database
        clock = database.current_time
        values = {"due": clock + bindparam("seconds"), "tries": _N.tries + 1}
        claim = update(t.notices).where(_N.id == _OLDEST_ID, _N.due <= clock).values(values)
        self._claim = claim.returning(_N.id, _N.notice, _N.body, _N.tries, _N.due)
        self._is_due = select(_N.id).where(_N.id == _OLDEST_ID, _N.due <= clock)
        self._postpone = (
            update(t.notices)
            .where(_N.id == bindparam("row"), _N.due == bindparam("seen"))
            .values(due=clock + bindparam("seconds"))
        )

    def add(
        self,
        kind: str,
        details: Mapping[str, Any],
        *,
        registration: int | None = None,
        account: int | None = None,
    ) -> None:
        """Add a notice about a registration, or else an account; within the write of what it reports.

        `kind` is a dotted noun, as "order.filled"; `details` are what it has besides, and hold no secret.
        """
        if not self.wanted:
            return

        def work(runner: StatementRunner) -> None:
            place: dict[str, Any] = {"account": None, "registration": None, "exchange": None, "label": None}
            if registration is not None:
                place = runner.first(_OF_REGISTRATION, {"registration": registration}) or place
            elif account is not None:
                place |= runner.first(_OF_ACCOUNT, {"account": account}) or {}
            id, time = secrets.token_hex(16), now()
            body = {"id": id, "kind": kind, "time": time, **place, **details}
            text = json.dumps(body, ensure_ascii=True, separators=(",", ":"))
            runner.later(_ADD, {"notice": id, "body": text, "created": time})

        self._database.join(work)

    def key_refused(self, registration: Registration) -> None:
        """Write that the exchange refuses the key of a registration, with a notice; once, until it is accepted."""
        values = {"row": registration.id, "sealed": registration.sealed_apisecret, "key_refused": now()}

        def work(runner: StatementRunner) -> None:
            if runner.change(_REFUSED, values):
                self.add("key.refused", {}, registration=registration.id)

        self._database.write(work)

    def key_accepted(self, registration: Registration) -> None:
        """Write that the exchange accepts the key of a registration again."""
        values = {"row": registration.id, "key_refused": None}
        self._database.write_one(lambda runner: runner.change(_ACCEPTED, values))

    def claim(self, seconds: float) -> Notice | None:
        """Return the oldest notice, for this process alone for so many seconds.

        None: there is none, another process has it, or it is not due.
        """
        with self._database.reading() as runner:
            if runner.first(self._is_due) is None:
                return None
        return self._database.write(lambda runner: self._next(runner, seconds))

    def taken(self, notice: Notice, seconds: float) -> Notice | None:
        """Remove a notice that was taken, and return the next one as `claim` does, in one commit."""

        def work(runner: StatementRunner) -> Notice | None:
            runner.change(_REMOVE, {"row": notice.row})
            return self._next(runner, seconds)

        return self._database.write(work)

    def _next(self, runner: StatementRunner, seconds: float) -> Notice | None:
        row = runner.first(self._claim, {"seconds": seconds})
        return None if row is None else Notice(*row.values())

    def postpone(self, notice: Notice, seconds: float, error: str | None) -> None:
        """Let a notice that was claimed be tried again after so many seconds. `error`: why it was not taken."""
        values = {"row": notice.row, "seen": notice.due, "seconds": seconds, "error": error}
        self._database.write_one(lambda runner: runner.change(self._postpone, values))

    def drop_old(self) -> int:
        """Remove what waits for too long, and the oldest when too many wait; return how many."""
        until = now(OLDEST_NOTICE_SECONDS)
        with self._database.reading() as runner:
            oldest, last = runner.first(_OLDEST), runner.value(_FIRST_TOO_MANY)
        if oldest is None or (oldest["created"] >= until and last is None):
            return 0

        def work(runner: StatementRunner) -> int:
            return runner.change(_TOO_OLD, {"until": until}) + runner.change(_TOO_MANY, {"last": last or 0})

        return self._database.write(work)

    def backlog(self) -> Backlog:
        """Return what waits."""
        with self._database.reading() as runner:
            count, oldest = runner.value(_COUNT), runner.first(_OLDEST)
        return Backlog(count) if oldest is None else Backlog(count, *(oldest[n] for n in ("created", "tries", "error")))


class _Journal(NamedTuple):
    """What notices call a row of a journal, its public fields, and the statuses that are reported."""

    noun: str
    fields: tuple[str, ...]
    reported: frozenset[str]


_JOURNALS = {
    "orders": _Journal("order", ORDER_FIELDS, frozenset({"filled", "partly_filled", "canceled", "closed", "unknown"})),
    "withdrawals": _Journal("send", WITHDRAWAL_FIELDS, frozenset({"done", "failed", "unknown"})),
}


class OutcomeNotices:
    """The notices about the rows of one journal."""

    def __init__(self, notices: NoticeStore, table: Table) -> None:
        self._notices = notices
        self._journal = _JOURNALS[table.name]
        of_row = table.c.id == bindparam("row")
        # Another process that changes the row waits for this one, or this one for it.
        self._select_status = select(table.c.status).where(of_row).with_for_update()
        self._select = select(table).where(of_row)

    def change(self, runner: StatementRunner, statement: Statement, values: Mapping[str, Any]) -> int:
        """Run an update of a row, add the notices of what it makes known, and return how many rows it met."""
        if not self._notices.wanted or not values.keys() >= {"row", "status"}:
            return runner.change(statement, values)
        place = {"row": values["row"]}
        before = runner.value(self._select_status, place)
        count = runner.change(statement, values)
        if count and before != values["status"]:
            self._add(runner.rows(self._select, place)[0], before)
        return count

    def write(self, runner: StatementRunner, statement: Statement, values: Mapping[str, Any]) -> None:
        """Run an update of a row, as `change` does, of which is certain that it meets the row."""
        if self._notices.wanted:
            self.change(runner, statement, values)
        else:
            runner.later(statement, values)

    def _add(self, row: Mapping[str, Any], before: str) -> None:
        """Add the notices of a row whose status was another one before."""
        noun, fields, reported = self._journal
        kinds = ["reconciled"] if before == "unknown" else []
        kinds += [row["status"]] if row["status"] in reported else []
        for kind in kinds:
            details = {noun: row_to_json(row, fields)}
            self._notices.add(f"{noun}.{kind}", details, registration=row["registration_id"])
