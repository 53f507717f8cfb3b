"""The audit: who did what, when and from where, in rows that hold one another.

Each row has the hash of the one before, and a table of one row has that of the newest: a row that was changed, removed
or put in between is found by `verify`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, select, update

from . import tables as t
from .base import Database, StatementRunner
from .records import Caller, now

__all__ = ["AuditStore"]

#: What the hash of a row is made of, in this order.
_HASHED = ("time", "account_id", "who", "address", "what", "subject", "details", "previous")
_HEAD = select(t.audit_head.c.hash).where(t.audit_head.c.id == bindparam("id"))
_LOCK_HEAD = _HEAD.with_for_update()
_SET_HEAD = update(t.audit_head).where(t.audit_head.c.id == bindparam("row"))


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
            "time": now(),
            "account_id": who.account.id if isinstance(who, Caller) else account_id,
            "who": who.name if isinstance(who, Caller) else who,
            "address": who.address if isinstance(who, Caller) else address,
            "what": what,
            "subject": subject,
            "details": json.dumps(dict(details or {}), sort_keys=True),
        }
        self._database.write(lambda runner: self._append(runner, row))

    def _append(self, runner: StatementRunner, row: Mapping[str, Any]) -> None:
        # Until this transaction ends every other writer of the audit waits here.
        self._database.lock_rows(runner, _LOCK_HEAD, {"id": 1})
        entry = {**row, "previous": runner.value(_HEAD, {"id": 1})}
        hash = _hash(entry)
        runner.insert(t.audit_log, {**entry, "hash": hash})
        runner.change(_SET_HEAD, {"row": 1, "hash": hash})


def _hash(entry: Mapping[str, Any]) -> str:
    text = json.dumps([entry[name] for name in _HASHED], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
