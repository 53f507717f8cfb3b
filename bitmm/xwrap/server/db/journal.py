"""The journals: every order and every send, committed before its exchange hears of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from sqlalchemy import Boolean, Select, Table, Update, bindparam, func, or_, select, update

from . import tables as t
from .attempts import UnknownAttempts
from .base import Database
from .errors import UNUSABLE
from .notices import NoticeStore, OutcomeNotices
from .own_rows import OwnRows
from .records import Intent, Registration, now
from .registrations import LABELED_COLUMNS, pop_registration
from .row_json import public_columns, public_rows
from .state_file import IntentRef
from .statements import StatementRunner

__all__ = ["Journal", "Unfinished"]

_ABOVE_EVERY_ID = 2**63 - 1
#: What a row has of an answer, unless it is rejected or may turn out to be.
_NO_ANSWER: Mapping[str, Any] = {"answer_status": None, "answer": None}

#: What the limits of a credential need of a row.
_COUNTED = ("status", "side", "asset", "amount", "filled", "spent", "limit_value")

Row = dict[str, Any]


class _Unwritten(NamedTuple):
    """What could not be written of a row: the registration, the statement, and its values."""

    registration: int
    statement: Update
    values: Mapping[str, Any]


def _no_check() -> None:
    """Let everything pass."""


def _no_record(row: Row) -> None:
    """Write nothing."""


class _Guards(NamedTuple):
    """What `begin` runs in its transaction, before and after it writes the row."""

    check: Callable[[], None]
    record: Callable[[Row], None]


class Journal:
    """Orders, or withdrawals: one row each, found by the key that the caller gave it."""

    #: What every INSERT and every UPDATE of a row says besides.
    _added: ClassVar[Mapping[str, Any]] = {}
    _written: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, table: Table, database: Database, notices: NoticeStore) -> None:
        self.name = str(table.name)
        self._table, self._database = table, database
        self._notices = OutcomeNotices(notices, table)
        c = table.c
        of_registration = select(table).where(c.registration_id == bindparam("registration"))
        self._select_by_id = of_registration.where(c.id == bindparam("id"))
        self._select_by_key = of_registration.where(c.key == bindparam("key"))
        self._select_page = (
            of_registration.where(c.id < bindparam("before")).order_by(c.id.desc()).limit(bindparam("limit"))
        )
        #: The same for rows of some statuses, whole or with some public fields alone.
        self._pages: dict[tuple[tuple[str, ...], tuple[str, ...]], Select[Any]] = {}
        is_unknown = (c.status == "unknown", t.RUNNING_OR_UNKNOWN)
        self._select_unknown = select(table, *LABELED_COLUMNS).join(t.registrations).where(*is_unknown).order_by(c.id)
        self._count_unfinished = [
            select(func.count().label("count"), func.max(c.created).label("began")).where(
                c.registration_id == bindparam("registration"), status
            )
            for status in (t.RUNNING_OR_UNKNOWN, t.OPEN)
        ]
        self._count_unknown = (
            select(t.registrations.c.exchange, func.count().label("unknown"), func.min(c.created).label("oldest"))
            .join(table)
            .where(*is_unknown)
            .group_by(t.registrations.c.exchange)
        )
        counted = [c[name] for name in _COUNTED if name in c]
        self._select_limited = select(*counted).where(
            t.LIMITED,
            c.credential_id == bindparam("credential"),
            c.created > bindparam("since"),
            c.limit_value.is_not(None),
            c.status != "rejected",
        )
        self._defaults = dict.fromkeys(c.keys()) | {"attempt": 0}
        self._defaults |= {one.name: False for one in c if isinstance(one.type, Boolean)}
        add = database.insert(table).values(**self._added).returning(c.id, *(c[name] for name in self._added))
        self._add = add.on_conflict_do_nothing(index_elements=[c.registration_id, c.key])
        self._complete = update(table).where(c.id == bindparam("row"))
        written = update(table).values(**self._written)
        self._update = written.where(c.id == bindparam("row"))
        self._update_released = self._update.where(c.released).returning(table)
        #: A row that was begun anew meanwhile has another time of creation.
        self._update_begun = self._update.where(c.created == bindparam("begun"))
        self._update_running = self._update_begun.where(c.status == "running")
        #: The same for what was refused, which is no news of a row that was found to be executed meanwhile.
        self._update_not_executed = self._update_begun.where(or_(t.RUNNING_OR_UNKNOWN, c.status == "rejected"))
        #: The same for what could not be written before, which is no news of a row that became known meanwhile.
        self._update_unfinished = self._update_begun.where(t.RUNNING_OR_UNKNOWN)
        self._update_not_begun = written.where(
            c.registration_id == bindparam("registration"),
            c.key == bindparam("of_key"),
            c.created == bindparam("begun"),
            c.status == "running",
        )
        #: What could not be written, oldest first: statements and their values.
        self._unwritten: deque[_Unwritten] = deque()
        self._update_in_flight = self._update.where(c.status == bindparam("was"))
        self._update_unknown = self._update.where(c.status == "unknown", c.updated == bindparam("seen"))
        is_abandoned = or_(database.is_dead(c.server), c.updated < bindparam("until"))
        self._select_abandoned = select(c.id, c.registration_id, c.created).where(
            c.status == "running", t.RUNNING_OR_UNKNOWN, is_abandoned
        )
        #: Those whose exchange can be asked what became of them.
        self.attempts = UnknownAttempts(table, database)
        #: Those that this process left unknown or open.
        self._own = OwnRows(shared=database.is_shared)

    def begin(
        self,
        registration: int,
        key: str,
        fingerprint: str,
        values: Mapping[str, str | None],
        client_ids: Sequence[str],
        check: Callable[[], None] = _no_check,
        record: Callable[[Row], None] = _no_record,
    ) -> Intent:
        """Commit a new row and return it, or return the row that has its key already.

        `check` is run first in the transaction that commits it; what it raises is raised here, and nothing is
        committed. `record` is run last in it, with the row.
        A released row with the same parameters is begun anew, with the next of the `client_ids`, whose last one serves
        for good. Of many calls with one key at the same time, one gets the row as new.
        """
        time, guards = now(), _Guards(check, record)
        row = {
            "registration_id": registration,
            "key": key,
            "fingerprint": fingerprint,
            "client_id": client_ids[0],
            "status": "running",
            "server": self._database.server_id,
            "created": time,
            "updated": time,
            **values,
        }
        try:
            intent: Intent | None = None
            while intent is None:
                intent = self._database.join(lambda runner: self._begin(runner, row, client_ids, guards))
        except UNUSABLE:
            if self._database.is_writing:
                raise
            # The data base may have committed it, and only its answer was lost; the exchange will not hear of it.
            place = {"registration": registration, "of_key": row["key"], "begun": time}
            outcome = {"status": "rejected", "released": True, "server": None, **_NO_ANSWER}
            self._unwritten.append(_Unwritten(registration, self._update_not_begun, place | outcome))
            raise
        return intent

    def _begin(self, runner: StatementRunner, row: Row, client_ids: Sequence[str], guards: _Guards) -> Intent | None:
        """Return the row that has the key from now on; None: it was an old refusal, and has been removed meanwhile."""
        guards.check()
        added = runner.first(self._add, row | self._number_change(runner, row["registration_id"]))
        if added is None:
            return self._begin_again(runner, row, client_ids, guards)
        begun = {**self._defaults, **row, **added}
        runner.intents.append(IntentRef.of(self.name, begun))
        guards.record(begun)
        return Intent(begun, is_new=True)

    def _begin_again(
        self, runner: StatementRunner, new: Row, client_ids: Sequence[str], guards: _Guards
    ) -> Intent | None:
        """Return the row that has the key already, or None, as `_begin` does."""
        values = {"registration": new["registration_id"], "key": new["key"]}
        row = runner.first(self._select_by_key, values)
        if row is not None and row["released"] and row["fingerprint"] == new["fingerprint"]:
            # It was certainly not executed before, so its exchange is to be asked about from now on only.
            again = {"row": row["id"], "status": "running", "released": False, **_NO_ANSWER}
            again |= {name: new.get(name) for name in ("server", "created", "updated", "credential_id", "limit_value")}
            again |= {"reason": None} if "reason" in row else {}
            again["attempt"] = min(row["attempt"] + 1, len(client_ids) - 1)
            again["client_id"] = client_ids[again["attempt"]]
            if begun := runner.first(self._update_released, again):
                runner.intents.append(IntentRef.of(self.name, begun))
                guards.record(begun)
                return Intent(begun, is_new=True)
            row = runner.first(self._select_by_key, values)
        return None if row is None else Intent(row, is_new=False)

    def finish(self, row: Mapping[str, Any], columns: Mapping[str, Any]) -> bool:
        """Commit the outcome of a row; False: the row was taken for abandoned meanwhile, and has been begun anew, or
        it is refused here and was found to be executed.

        An outcome that is known is never made unknown again. When it cannot be committed now, `commit_unwritten` does
        it later.
        """
        if columns["status"] == "unknown":
            statement = self._update_running
        else:
            statement = self._update_not_executed if columns["status"] == "rejected" else self._update_begun
        if columns["status"] in {"unknown", "open"}:
            self._own.add([row])
        # The row may have been given up, and its key released, before the exchange answered after all.
        values = {"row": row["id"], "begun": row["created"], "released": False, "server": None, **_NO_ANSWER, **columns}
        try:
            changed = self._write(row["registration_id"], statement, values)
        except UNUSABLE:
            if not self._database.is_writing:
                self._unwritten.append(_Unwritten(row["registration_id"], self._update_unfinished, values))
            raise
        return changed == 1 or columns["status"] == "unknown"

    def complete(self, row: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
        """Write the outcome of a row within the write that has begun it, and that has numbered its change."""
        if columns["status"] in {"unknown", "open"}:
            self._own.add([row])
        values = {"row": row["id"], "server": None, **columns}
        self._database.join(lambda runner: self._notices.write(runner, self._complete, values))

    def give_up(self, row: Mapping[str, Any]) -> None:
        """Let `commit_unwritten` make the outcome of a row unknown, whose call is over."""
        self._own.add([row])
        outcome = {"status": "unknown", "server": None, "updated": now()}
        values = {"row": row["id"], "begun": row["created"], **outcome}
        self._unwritten.append(_Unwritten(row["registration_id"], self._update_running, values))

    def commit_unwritten(self) -> None:
        """Commit what this process could not write before. Raises one of UNUSABLE as long as it still cannot."""
        while self._unwritten:
            unwritten = self._unwritten.popleft()
            try:
                self._write(*unwritten)
            except UNUSABLE:
                self._unwritten.appendleft(unwritten)
                raise

    def refresh(self, row: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
        """Commit what the exchange reports of a row that is open or pending; return the row as it is then.

        What another call made final meanwhile stays as it is: its exchange reported it later.
        """
        place = {"row": row["id"], "was": row["status"]}

        def work(runner: StatementRunner) -> Row | None:
            new = {**columns, "updated": now()}
            self._number_change(runner, row["registration_id"])
            changed = self._notices.change(runner, self._update_in_flight, place | new)
            return self.get(row["registration_id"], row["id"]) if changed else None

        return self._database.write(work) or self.get(row["registration_id"], row["id"]) or {**row, **columns}

    def reconcile(self, row: Mapping[str, Any], columns: Mapping[str, Any]) -> bool:
        """Commit the outcome of a row that was unknown; False: the row is no longer as it is in `row`."""
        values = {"row": row["id"], "seen": row["updated"], "updated": now(), **_NO_ANSWER, **columns}
        return self._write(row["registration_id"], self._update_unknown, values) == 1

    def _write(self, registration: int, statement: Update, values: Mapping[str, Any]) -> int:
        """Write a row of a registration, and return how many rows the statement met."""
        return self._database.write(lambda runner: self._change(runner, registration, statement, values))

    def _change(self, runner: StatementRunner, registration: int, statement: Update, values: Mapping[str, Any]) -> int:
        self._number_change(runner, registration)
        return self._notices.change(runner, statement, values)

    def _number_change(self, runner: StatementRunner, registration: int) -> Row:
        """Number a change of a row of the registration; return the values that `_add` needs of it. Here there are none.

        Every write of a row is numbered before. Within the write, which holds a lock on the registration's numbers from
        then on.
        """
        return {}

    def get(self, registration: int, id: int) -> dict[str, Any] | None:
        """Return a row of a registration."""
        with self._database.reading() as runner:
            return runner.first(self._select_by_id, {"registration": registration, "id": id})

    def by_key(self, registration: int, key: str) -> dict[str, Any] | None:
        """Return the row of a registration that has this key."""
        with self._database.reading() as runner:
            return runner.first(self._select_by_key, {"registration": registration, "key": key})

    def rows(
        self, registration: int, statuses: Sequence[str], limit: int, before: int | None, names: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """Return the rows of a registration with one of these statuses and an id below `before`, newest first.

        With `names` of public fields they are as callers get them: see `row_to_json`.
        """
        kind = (tuple(statuses), tuple(names))
        if (statement := self._pages.get(kind)) is None:
            statement = self._pages[kind] = self._page(*kind)
        values = {"registration": registration, "limit": limit, "before": before or _ABOVE_EVERY_ID}
        with self._database.reading() as runner:
            rows = runner.rows(statement, values)
        return public_rows(rows) if names else rows

    def _page(self, statuses: Sequence[str], names: Sequence[str]) -> Select[Any]:
        """Return the statement of `rows`."""
        c = self._table.c
        # "open" is written as its index has it.
        of = t.OPEN if statuses == ("open",) else or_(*(c.status == status for status in statuses))
        page = self._select_page.where(of)
        return page.with_only_columns(*public_columns(c, names)) if names else page

    def last_created(self, registration: int) -> str | None:
        """Return when the newest row of a registration was begun; None: it has none."""
        with self._database.reading() as runner:
            row = runner.first(self._select_page, {"registration": registration, "limit": 1, "before": _ABOVE_EVERY_ID})
        return None if row is None else str(row["created"])

    def unfinished(self, registration: int) -> Unfinished:
        """Return how many rows of a registration run or are unknown, how many are open, and when the last was begun."""
        values = {"registration": registration}
        with self._database.reading() as runner:
            unknown, still_open = (runner.rows(count, values)[0] for count in self._count_unfinished)
        began = max(unknown["began"] or "", still_open["began"] or "")
        return Unfinished(unknown["count"], still_open["count"], began)

    def unknown(self) -> list[tuple[Registration, dict[str, Any]]]:
        """Return every row whose outcome is unknown, with its registration, oldest first."""
        with self._database.reading() as runner:
            return [(pop_registration(row), row) for row in runner.rows(self._select_unknown)]

    def limited(self, credential: int, since: str) -> list[dict[str, Any]]:
        """Return what counts against the limits of a credential: rows after `since` that are not refused, in parts."""
        with self._database.reading() as runner:
            return runner.rows(self._select_limited, {"credential": credential, "since": since})

    def count_unknown(self) -> dict[str, int]:
        """Return the number of rows whose outcome is unknown, by exchange."""
        return {exchange: count for exchange, (count, _oldest) in self.unknown_by_exchange().items()}

    def unknown_by_exchange(self) -> dict[str, tuple[int, str]]:
        """Return the number of rows whose outcome is unknown, and when the oldest was begun, by exchange."""
        with self._database.reading() as runner:
            return {row["exchange"]: (row["unknown"], row["oldest"]) for row in runner.rows(self._count_unknown)}

    def mark_abandoned(self, until: str) -> int:
        """Make unknown what runs since before `until`, or on a server that is dead; return how many rows."""
        with self._database.reading() as runner:
            rows = runner.rows(self._select_abandoned, {"until": until})
        marked = self._database.write(lambda runner: self._mark(runner, rows)) if rows else []
        self._own.add(marked)
        return len(marked)

    def _mark(self, runner: StatementRunner, rows: Sequence[Row]) -> list[Row]:
        """Make unknown those of the rows that still run, and return them."""
        outcome = {"status": "unknown", "updated": now()}
        return [
            row
            # Two processes take the locks of `_number_change` in the same order.
            for row in sorted(rows, key=lambda row: row["registration_id"])
            if self._change(
                runner,
                row["registration_id"],
                self._update_running,
                {"row": row["id"], "begun": row["created"], **outcome},
            )
        ]

    def is_own(self, row: Mapping[str, Any]) -> bool:
        """Return whether it is for this process to ask first what becomes of a row: it left the row unknown or open.

        Where several processes share a data base, all of them would ask otherwise, and each question is counted.
        """
        return row in self._own


class Unfinished(NamedTuple):
    """How many rows of a registration are not final, and when the last of them was begun ("": there is none)."""

    unknown: int
    open: int
    began: str
