"""The journals: every order and every send, kept before its exchange hears of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Table, bindparam, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from . import tables as t
from .base import Database, StatementRunner
from .records import Intent, Registration, now, time_text
from .registrations import LABELED_COLUMNS, pop_registration

__all__ = ["Journal", "WithdrawalJournal"]

_ADD_AUDIT = insert(t.audit)
_SENDS = t.withdrawals.c
_OTHER_SENDS = (
    select(t.withdrawals)
    .join(t.registrations)
    .where(
        t.registrations.c.exchange == bindparam("exchange"),
        *(_SENDS[name] == bindparam(name) for name in ("asset", "address")),
        _SENDS.id != bindparam("id"),
        _SENDS.created.between(bindparam("since"), bindparam("until")),
    )
)
#: Above every id.
_TOP = 2**63 - 1


class Journal:
    """Orders, or withdrawals: one row each, found by the key that the caller gave it."""

    def __init__(self, table: Table, database: Database) -> None:
        self.name = table.name
        self._table, self._database = table, database
        c = table.c
        self._one = select(table).where(c.registration_id == bindparam("registration"), c.id == bindparam("id"))
        self._keyed = select(table).where(c.registration_id == bindparam("registration"), c.key == bindparam("key"))
        self._list = (
            select(table)
            .where(c.registration_id == bindparam("registration"), c.id < bindparam("before"))
            .order_by(c.id.desc())
            .limit(bindparam("limit"))
        )
        self._lists: dict[tuple[str, ...], Select[Any]] = {("open",): self._list.where(t.OPEN)}
        self._unknown = (
            select(table, *LABELED_COLUMNS)
            .join(t.registrations)
            .where(c.status == "unknown", t.RUNNING_OR_UNKNOWN)
            .order_by(c.id)
        )
        self._unknown_of_exchange = self._unknown.where(t.registrations.c.exchange == bindparam("exchange"))
        self._count = (
            select(t.registrations.c.exchange, func.count().label("unknown"))
            .join(table)
            .where(c.status == "unknown", t.RUNNING_OR_UNKNOWN)
            .group_by(t.registrations.c.exchange)
        )
        self._empty = dict.fromkeys(table.c.keys()) | {"released": False}
        self._change = update(table).where(c.id == bindparam("row"))
        self._rerun = self._change.where(c.released).returning(table)
        #: A row that ran anew since then has another time of creation.
        self._conclude = self._change.where(c.created == bindparam("began"))
        self._doubt = self._conclude.where(c.status == "running")
        self._reconcile = self._change.where(c.status == "unknown", c.updated == bindparam("seen"))
        lost = or_(database.is_dead(c.server), c.updated < bindparam("until"))
        self._mark_abandoned = (
            update(table).where(c.status == "running", t.RUNNING_OR_UNKNOWN, lost).values(status="unknown")
        )

    def begin(self, registration: int, key: str | None, fingerprint: str, values: Mapping[str, str | None]) -> Intent:
        """Commit an intent, or find the row that has its key already. Without a key its client id is its key, too.

        A released row with the same parameters runs anew. Of many that come at the same moment, one is new.
        """
        moment, client_id = now(), uuid.uuid4().hex
        intent = {
            "registration_id": registration,
            "key": key or client_id,
            "fingerprint": fingerprint,
            "client_id": client_id,
            "status": "running",
            "server": self._database.server_id,
            "created": moment,
            "updated": moment,
            **values,
        }
        try:
            id = self._database.write(lambda runner: runner.insert(self._table, intent))
        except IntegrityError:
            return self._database.write(lambda runner: self._again(runner, intent))
        return Intent({**self._empty, **intent, "id": id}, is_new=True)

    def _again(self, runner: StatementRunner, intent: Mapping[str, Any]) -> Intent:
        asked = {"registration": intent["registration_id"], "key": intent["key"]}
        [row] = runner.rows(self._keyed, asked)
        if row["released"] and row["fingerprint"] == intent["fingerprint"]:
            # It was certainly not executed before, so its exchange is to be asked about from now on only.
            again = {"row": row["id"], "status": "running", "released": False, "answer_status": None, "answer": None}
            again |= {name: intent[name] for name in ("server", "created", "updated")}
            if rerun := runner.first(self._rerun, again):
                return Intent(rerun, is_new=True)
            [row] = runner.rows(self._keyed, asked)
        return Intent(row, is_new=False)

    def finish(self, row: Mapping[str, Any], columns: Mapping[str, Any]) -> bool:
        """Commit what became of an intent; False: it runs anew meanwhile, for it was taken for lost.

        What an exchange said of it is never made unknown again.
        """
        statement = self._doubt if columns["status"] == "unknown" else self._conclude
        # It may have been given up, and its key released, when the exchange answers after all.
        values = {"row": row["id"], "began": row["created"], "released": False, **columns}
        met = self._database.write(lambda runner: runner.change(statement, values))
        return met == 1 or columns["status"] == "unknown"

    def change(self, id: int, columns: Mapping[str, Any]) -> None:
        """Commit what is new of an order or a send."""
        values = {"row": id, **columns}
        self._database.write(lambda runner: runner.change(self._change, values))

    def reconcile(self, row: Mapping[str, Any], columns: Mapping[str, Any], audit: str | None = None) -> bool:
        """Commit what became of a row whose outcome was unknown; False: it is no longer as it is in `row`.

        `audit`: why a person says so; it is kept.
        """
        values = {"row": row["id"], "seen": row["updated"], "updated": now(), **columns}

        def work(runner: StatementRunner) -> bool:
            reconciled = runner.change(self._reconcile, values) == 1
            if reconciled and audit is not None:
                entry = {"journal": self.name, "row": row["id"], "before": "unknown", "after": columns["status"]}
                runner.change(_ADD_AUDIT, {**entry, "what": audit, "created": now()})
            return reconciled

        return self._database.write(work)

    def get(self, registration: int, id: int) -> dict[str, Any] | None:
        """One row of a registration."""
        return self._first(self._one, {"registration": registration, "id": id})

    def by_key(self, registration: int, key: str) -> dict[str, Any] | None:
        """The row that carries `key`."""
        return self._first(self._keyed, {"registration": registration, "key": key})

    def rows(self, registration: int, statuses: Sequence[str], limit: int, before: int | None) -> list[dict[str, Any]]:
        """The rows of a registration with one of these statuses and an id below `before`, newest first."""
        query = self._lists.get(tuple(statuses))
        if query is None:
            query = self._list.where(or_(*(self._table.c.status == status for status in statuses)))
            self._lists[tuple(statuses)] = query
        with self._database.reading() as runner:
            return runner.rows(query, {"registration": registration, "limit": limit, "before": before or _TOP})

    def unknown(self, exchange: str | None = None) -> list[tuple[Registration, dict[str, Any]]]:
        """Every row (of one exchange) whose outcome is unknown, with its registration, oldest first."""
        with self._database.reading() as runner:
            rows = (
                runner.rows(self._unknown_of_exchange, {"exchange": exchange})
                if exchange
                else runner.rows(self._unknown)
            )
        return [(pop_registration(row), row) for row in rows]

    def count_unknown(self) -> dict[str, int]:
        """How many rows have an unknown outcome, by exchange."""
        with self._database.reading() as runner:
            return {row["exchange"]: row["unknown"] for row in runner.rows(self._count)}

    def mark_abandoned(self, until: str) -> int:
        """What runs since before `until`, or on a server that is no more, has an unknown outcome; how many rows."""
        values = {"until": until, "updated": now()}
        return self._database.write(lambda runner: runner.change(self._mark_abandoned, values))

    def _first(self, query: Select[Any], asked: dict[str, Any]) -> dict[str, Any] | None:
        with self._database.reading() as runner:
            return runner.first(query, asked)


class WithdrawalJournal(Journal):
    """The journal of sends."""

    def __init__(self, database: Database) -> None:
        super().__init__(t.withdrawals, database)

    def others_like(
        self, exchange: str, row: Mapping[str, Any], since: datetime, until: datetime
    ) -> list[dict[str, Any]]:
        """The sends like `row` in asset and address, and others than it, that were created in a time, whoever's they
        are: two registrations may have the same key.
        """
        asked = {"exchange": exchange, "since": time_text(since), "until": time_text(until)}
        with self._database.reading() as runner:
            return runner.rows(_OTHER_SENDS, asked | {name: row[name] for name in ("id", "asset", "address")})
