"""The audit: who did what, when and from where, in rows that hold one another.

Each row has the hash of the one before, and a table of one row has that of the newest: a row that was changed, removed
or put in between is found by `verify`. Who may write the data base can still write the whole chain anew; a hash that
was kept elsewhere shows that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson
from sqlalchemy import bindparam, insert, select, update

from . import tables as t
from .base import Database
from .records import Caller, now
from .statements import StatementRunner

__all__ = ["AuditStore", "Verified"]

#: What the hash of a row is made of, in this order.
_HASHED = ("time", "account_id", "who", "address", "what", "subject", "details", "previous")
_HEAD = select(t.audit_head.c.hash).where(t.audit_head.c.id == bindparam("id"))
_LOCK_HEAD = _HEAD.with_for_update()
_SET_HEAD = update(t.audit_head).where(t.audit_head.c.id == bindparam("row"))
_ADD = insert(t.audit_log)
_L = t.audit_log.c
_NEWEST_ID = select(_L.id).order_by(_L.id.desc()).limit(1).scalar_subquery()
#: The head and the newest row, as they were at one moment.
_END = (
    select(t.audit_head.c.hash.label("head"), _L.id, _L.hash)
    .outerjoin(t.audit_log, _L.id == _NEWEST_ID)
    .where(t.audit_head.c.id == bindparam("id"))
)
_SINCE = _L.time >= bindparam("since")
_AFTER = select(t.audit_log).where(_L.id > bindparam("after"), _SINCE).order_by(_L.id).limit(500)
_OF_ACCOUNT = (
    select(*(_L[name] for name in ("id", "time", "who", "address", "what", "subject", "details")))
    .where(_L.account_id == bindparam("account"), _L.id < bindparam("before"), _SINCE)
    .order_by(_L.id.desc())
    .limit(bindparam("limit"))
)
_sorted_json = json.JSONEncoder(sort_keys=True).encode
_hashed_json = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
#: Characters of one text in a row. A name that a caller sent may be longer.
_LONGEST = 1000


class Verified(NamedTuple):
    """How many rows there are, the hash of the newest, and what is wrong with them."""

    rows: int
    hash: str
    problems: list[str]


class AuditStore:
    """The audit of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        who: Caller | str,
        what: str,
        subject: str,
        details: Mapping[str, str] | None = None,
        *,
        account_id: int | None = None,
        address: str = "",
    ) -> None:
        """Add a row; within a write it is committed with that, and must be its last statement.

        `who`: a caller, or else "administrator" (of this machine), "server" or "unknown": then `account_id` says whose
        account it is about, and `address` from where. `what` is a dotted noun, as "key.replace"; `subject` what it was
        done to; `details` are never secret.
        """
        row = {
            "account_id": who.account.id if isinstance(who, Caller) else account_id,
            "who": _clean(who.name if isinstance(who, Caller) else who),
            "address": _clean(who.address if isinstance(who, Caller) else address),
            "what": what,
            "subject": _clean(subject),
            "details": _sorted_json({name: _clean(text) for name, text in (details or {}).items()}),
        }
        self._database.join(lambda runner: self._append(runner, row))

    def of_account(
        self, account_id: int, *, since: str = "", limit: int = 50, before: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the rows about an account, newest first: at most `limit`, with ids below `before`.

        `since`: a time as the data base keeps it.
        """
        values = {"account": account_id, "since": since, "limit": limit, "before": before or 2**63 - 1}
        with self._database.reading() as runner:
            rows = runner.rows(_OF_ACCOUNT, values)
        for row in rows:
            row["details"] = orjson.loads(row["details"])
        return rows

    def rows(self, since: str = "") -> Iterator[dict[str, Any]]:
        """Give every row, oldest first, from the time `since` on, as the data base has it."""
        after = 0
        while True:
            with self._database.reading() as runner:
                page = runner.rows(_AFTER, {"after": after, "since": since})
            if not page:
                return
            yield from page
            after = page[-1]["id"]

    def verify(self) -> Verified:
        """Return whether every row is as it was written, also while rows are added."""
        with self._database.reading() as runner:
            head = runner.value(_HEAD, {"id": 1})
        problems: list[str] = []
        last: dict[str, Any] = {"id": 0, "hash": ""}
        count, head_id = 0, 0 if head == "" else None
        for row in self.rows():
            if _hash(row) != row["hash"]:
                problems.append(f"row {row['id']} was changed")
            elif row["previous"] != last["hash"]:
                changed = f"row {last['id']} was changed, or rows" if last["id"] else "rows"
                problems.append(f"{changed} between {last['id']} and {row['id']} were removed, put in or swapped")
            if row["hash"] == head:
                head_id = row["id"]
            count, last = count + 1, row
        problem = self._end_problem(last["id"], head_id)
        return Verified(count, last["hash"], problems + ([problem] if problem else []))

    def _end_problem(self, last: int, head_id: int | None) -> str | None:
        """Return what is wrong with the newest rows. `head_id`: the row that the head named before they were read."""
        with self._database.reading() as runner:
            end = runner.first(_END, {"id": 1})
        if end is None:
            return "the record of the newest row was removed"
        if end["head"] == (end["hash"] or ""):
            return None
        if end["id"] is None:
            return "all rows were removed"
        if head_id is None:
            return f"the newest rows, after {last}, were removed or changed"
        return f"the rows after {head_id} were put in past the server"

    def _append(self, runner: StatementRunner, row: Mapping[str, Any]) -> None:
        # Until this transaction ends every other writer of the audit waits here.
        previous = runner.value(_LOCK_HEAD, {"id": 1})
        entry = {**row, "time": now(), "previous": previous}
        hash = _hash(entry)
        runner.later(_ADD, {**entry, "hash": hash})
        runner.later(_SET_HEAD, {"row": 1, "hash": hash})


def _clean(text: str) -> str:
    """Return a text as both data bases take it: PostgreSQL has no NUL, and UTF-8 no half of a surrogate pair."""
    shown = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def _hash(entry: Mapping[str, Any]) -> str:
    text = _hashed_json([entry[name] for name in _HASHED])
    return hashlib.sha256(text.encode()).hexdigest()
