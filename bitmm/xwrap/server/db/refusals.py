"""Old rows of orders and sends that were refused: they are removed, so that refusals do not fill the data base."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Delete, Select, Table, bindparam, delete, select

from . import tables as t
from .base import Database
from .records import now
from .state_file import KEPT_INTENTS, REFUSED_SECONDS
from .statements import StatementRunner

__all__ = ["RefusalStore"]

#: Rows that are removed in one write, which lets no other write pass for some milliseconds.
_TOGETHER = 500
#: The words with which `xwrap orders settle` and `xwrap sends settle` name a row in the audit, and those of a migrated
#: one.
_SUBJECTS = {"orders": ("order", "orders"), "withdrawals": ("send", "withdrawals")}
_DECISIONS = select(t.audit_log.c.subject).where(t.DECISIONS)


class _Statements(NamedTuple):
    """What is asked of one journal: the oldest of the rows that stay as the newest, old refusals, and to remove one."""

    first_kept: Select[Any]
    old: Select[Any]
    remove: Delete


def _statements(journal: Table) -> _Statements:
    c = journal.c
    # Also by the time of creation: that is what state files have.
    is_old = (t.REFUSED, c.updated < bindparam("until"), c.created < bindparam("until"))
    return _Statements(
        select(c.id).order_by(c.id.desc()).limit(1).offset(KEPT_INTENTS - 1),
        select(c.id)
        .where(*is_old, c.id < bindparam("first_kept"))
        .order_by(c.updated)
        .limit(bindparam("most"))
        .offset(bindparam("passed_over")),
        # One that was begun anew since it was found is not old any more.
        delete(journal).where(c.id == bindparam("row"), *is_old),
    )


class RefusalStore:
    """The refused rows of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statements = {journal.name: _statements(journal) for journal in t.JOURNALS}

    def remove_old(self, is_stopping: Callable[[], bool] = lambda: False) -> int:
        """Remove what was refused 30 days ago, until it is gone or the server `is_stopping`; return how many rows.

        The newest rows stay: state files name them, and no later row may get the id of one that is gone. A row that the
        administrator settled stays, too: he decided that it was refused, and nobody proved it.
        """
        return sum(self._remove_from(journal.name, is_stopping) for journal in t.JOURNALS)

    def _remove_from(self, journal: str, is_stopping: Callable[[], bool]) -> int:
        statements, kept, until = self._statements[journal], self._kept_ids(journal), now(REFUSED_SECONDS)
        removed = passed_over = 0
        found = _TOGETHER
        while found == _TOGETHER and not is_stopping():
            ids = self._find_old(statements, until, passed_over)
            gone = [{"row": id, "until": until} for id in ids if id not in kept]
            if gone:
                self._database.write(partial(_remove, statements.remove, gone))
            found = len(ids)
            removed, passed_over = removed + len(gone), passed_over + found - len(gone)
        return removed

    def _find_old(self, statements: _Statements, until: str, passed_over: int) -> list[int]:
        with self._database.reading() as runner:
            first_kept = runner.value(statements.first_kept)
            if first_kept is None:
                return []
            values = {"until": until, "first_kept": first_kept, "passed_over": passed_over, "most": _TOGETHER}
            return [row["id"] for row in runner.rows(statements.old, values)]

    def _kept_ids(self, journal: str) -> set[int]:
        """Return the ids of the rows whose outcome the administrator decided."""
        with self._database.reading() as runner:
            subjects = [row["subject"].split() for row in runner.rows(_DECISIONS)]
        return {int(id) for noun, id, *_ in subjects if noun in _SUBJECTS[journal]}


def _remove(statement: Delete, rows: list[dict[str, Any]], runner: StatementRunner) -> None:
    runner.change_each(statement, rows)
