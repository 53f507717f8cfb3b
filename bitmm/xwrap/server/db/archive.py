"""Old orders that are moved from the journal to archives, and what stays of them: see `archive_tables`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from time import monotonic
from typing import Any

from sqlalchemy import Select, bindparam, delete, func, insert, literal, select, update
from sqlalchemy.sql.dml import ReturningDelete

from . import archive_tables as a
from . import tables as t
from .base import Database
from .id_lists import id_values, is_one_of
from .records import now
from .state_file import KEPT_INTENTS
from .statements import StatementRunner

__all__ = ["ARCHIVED_COLUMNS", "FINAL", "ArchiveStore", "ChangedError", "key_digest"]

#: The statuses of orders that are archived: those that are over. What was refused leaves the journal by itself; see
#: `refusals`.
FINAL = ("filled", "partly_filled", "canceled", "closed")
_O = t.orders.c
_IS_OLD = (
    _O.status.in_([literal(status) for status in FINAL]),
    _O.created < bindparam("until"),
    _O.updated < bindparam("until"),
)
#: What an archive has of an order: whose it is and where, and every column of its row.
_COLUMNS = (
    t.accounts.c.name.label("account"),
    t.registrations.c.exchange.label("exchange"),
    t.registrations.c.label.label("registration"),
    *t.orders.c,
)
ARCHIVED_COLUMNS = tuple(column.name for column in _COLUMNS)
_OLD = (
    select(*_COLUMNS)
    .join_from(t.orders, t.registrations)
    .join(t.accounts)
    .where(*_IS_OLD, _O.id >= bindparam("lowest"), _O.id < bindparam("below"))
    .order_by(_O.id.desc())
    .limit(bindparam("most"))
)
#: So many ids are looked at together: PostgreSQL would read all old rows for each batch, if it did not know an end.
_IDS_TOGETHER = 10_000
_COUNT = select(
    func.count().label("rows"), func.min(_O.created).label("oldest"), func.max(_O.created).label("newest")
).where(*_IS_OLD, _O.id < bindparam("below"))
_FIRST_KEPT = select(_O.id).order_by(_O.id.desc()).limit(1).offset(KEPT_INTENTS - 1)
_NEAREST = select(_O.id, _O.created).where(_O.id <= bindparam("at_most")).order_by(_O.id.desc()).limit(1)
_LOWEST = select(func.min(_O.id))
_ARCHIVE = select(a.archives).where(a.archives.c.name == bindparam("name"))
_UNFINISHED = select(a.archives.c.name).where(a.archives.c.finished.is_(None)).order_by(a.archives.c.id)
_FINISH = update(a.archives).where(a.archives.c.name == bindparam("archive"))
_ADD_KEYS = insert(a.archived_keys)

Row = dict[str, Any]


class ChangedError(Exception):
    """A row is no longer as it was when it was read."""


def key_digest(key: str) -> bytes:
    """Return what `archived_keys` has of an idempotency key."""
    return hashlib.sha256(key.encode()).digest()[:16]


@cache
def _referring(size: int) -> Select[Any]:
    return select(_O.id, _O.replaces).where(t.IS_REPLACEMENT, is_one_of(_O.replaces, size))


@cache
def _removal(size: int) -> ReturningDelete[Any, Any]:
    return delete(t.orders).where(is_one_of(_O.id, size)).returning(_O.id, _O.status, _O.updated)


class ArchiveStore:
    """The old orders of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, until: str) -> Row:
        """Return how many orders ended before `until`, as `rows`, and when the `oldest` and the `newest` were placed.

        Some of them may stay: those whose place another order takes that stays.
        """
        with self._database.reading() as runner:
            return runner.rows(_COUNT, {"until": until, "below": self.first_later(until)})[0]

    def first_later(self, until: str) -> int:
        """Return the id below which `old` finds orders that were placed before `until`.

        The newest rows of the journal stay in any case: state files name them, and no later row may get the id of one
        that is gone.
        """
        with self._database.reading() as runner:
            first_kept, low = runner.value(_FIRST_KEPT), runner.value(_LOWEST)
            if first_kept is None:
                return 0
            # Ids grow with the time: of a journal of millions of rows only the old ones are read.
            high = int(first_kept)
            while low < high:
                middle = (low + high) // 2
                nearest = runner.first(_NEAREST, {"at_most": middle})
                if nearest is None or nearest["created"] < until:
                    low = middle + 1
                else:
                    high = nearest["id"]
        return int(high)

    def old(self, until: str, below: int, most: int) -> tuple[list[Row], int]:
        """Return orders with ids below this that ended before `until`, and below which id to go on; 0: there are none.

        The newest come first, so that an order is found after the one that takes its place, which it may only follow.
        """
        lowest = below - _IDS_TOGETHER
        with self._database.reading() as runner:
            rows = runner.rows(_OLD, {"until": until, "lowest": lowest, "below": below, "most": most})
            if len(rows) == most:
                next_below = rows[-1]["id"]
            else:
                nearest = runner.first(_NEAREST, {"at_most": lowest - 1})
                next_below = 0 if nearest is None else nearest["id"] + 1
            if not rows:
                return [], next_below
            ids = id_values(row["id"] for row in rows)
            referring = runner.rows(_referring(len(ids)), ids)
        by_replaced: dict[int, set[int]] = {}
        for row in referring:
            by_replaced.setdefault(row["replaces"], set()).add(row["id"])
        going: dict[int, Row] = {}
        for row in rows:
            if by_replaced.get(row["id"], set()) <= going.keys():
                going[row["id"]] = row
        return list(going.values()), next_below

    def begin(self, name: str) -> int:
        """Return the id of an archive, which is added unless there is one of this name."""

        def work(runner: StatementRunner) -> int:
            known = runner.first(_ARCHIVE, {"name": name})
            return known["id"] if known else runner.insert(a.archives, {"name": name, "began": now()})

        return self._database.write(work)

    def finish(self, archive: str) -> None:
        """Write that the archive of this name is complete."""
        values = {"archive": archive, "finished": now()}
        self._database.write(lambda runner: runner.change(_FINISH, values))

    def unfinished(self) -> list[str]:
        """Return the names of the archives whose command runs, or was broken off."""
        with self._database.reading() as runner:
            return [row["name"] for row in runner.rows(_UNFINISHED)]

    def remove(self, archive: int, rows: Sequence[Mapping[str, Any]]) -> float:
        """Remove orders from the journal that an archive has on the disk, and keep their keys, in one transaction.

        Return for how many seconds that held up other writes. Raises ChangedError, and removes none, when one of them
        is no longer as it is in `rows`.
        """
        seen = {row["id"]: (row["status"], row["updated"]) for row in rows}
        kept = [
            {
                "order_id": row["id"],
                "registration_id": row["registration_id"],
                "digest": key_digest(row["key"]),
                "status": row["status"],
                "created": row["created"],
                "archive_id": archive,
            }
            for row in rows
        ]
        with self._database.writing() as runner:
            began, ids = monotonic(), id_values(seen)
            gone = runner.rows(_removal(len(ids)), ids)
            if {row["id"]: (row["status"], row["updated"]) for row in gone} != seen:
                raise ChangedError
            runner.change_each(_ADD_KEYS, kept)
        return monotonic() - began

    def let_others_write(self, *, is_served: bool) -> None:
        """Wait as long as other programs should write first; see `Database.let_others_write`."""
        self._database.let_others_write(is_served=is_served)
