"""What each account has used of its quotas."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Column, Select, bindparam, delete, func, or_, select

from ...exchanges.cache import put_newest
from . import tables as t
from .base import Database
from .records import DAY_SECONDS, now
from .statements import StatementRunner

__all__ = ["SUM_PLACED", "Placed", "UsageStore", "placed_from_row", "placed_values"]

_R = t.registrations.c


def _count(account_id: Column[int], ended: Column[str]) -> Select[int]:
    """Return the count of an account's rows that did not end, or not long ago."""
    return select(func.count()).where(
        account_id == bindparam("account"), or_(ended.is_(None), ended > bindparam("since"))
    )


_COUNT_REGISTRATIONS = _count(_R.account_id, _R.deleted)
_COUNT_CREDENTIALS = _count(t.credentials.c.account_id, t.credentials.c.revoked)
_COUNT_ADDRESSES = _count(t.addresses.c.account_id, t.addresses.c.removed)
_P = t.placed.c
SUM_PLACED = select(func.sum(_P.begun).label("begun"), func.min(_P.hour).label("oldest")).where(
    _P.account_id == bindparam("account"), _P.hour >= bindparam("since")
)
_REMOVE_HOURS = delete(t.placed).where(_P.account_id == bindparam("account"), _P.hour < bindparam("since"))
#: Of so many accounts a process remembers for which hour it removed those before.
_MOST_REMEMBERED = 10_000


class Placed(NamedTuple):
    """How many orders and sends count now, and the oldest hour that they were begun in, as `tables.placed` has it."""

    begun: int
    oldest: str | None


class UsageStore:
    """The counts of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database
        add = database.insert(t.placed).values(begun=1)
        self._add_placed = add.on_conflict_do_update(
            index_elements=[_P.account_id, _P.hour], set_={"begun": _P.begun + 1}
        )
        self._cleared: OrderedDict[int, str] = OrderedDict()
        self._cleared_lock = threading.Lock()

    def registrations(self, account: int) -> int:
        """Return how many registrations an account has, with those that it deleted in the last 24 hours."""
        return self._count(_COUNT_REGISTRATIONS, account)

    def credentials(self, account: int) -> int:
        """Return how many credentials an account has, with those that were revoked in the last 24 hours."""
        return self._count(_COUNT_CREDENTIALS, account)

    def addresses(self, account: int) -> int:
        """Return how many addresses the list of an account has, with those it removed in the last 24 hours."""
        return self._count(_COUNT_ADDRESSES, account)

    def _count(self, statement: Select[int], account: int) -> int:
        with self._database.reading() as runner:
            return int(runner.value(statement, {"account": account, "since": now(DAY_SECONDS)}))

    def placed(self, account: int) -> Placed:
        """Return what an account has begun in the journals in the last 24 hours, with registrations that it deleted.

        The hour that was 24 hours ago counts as a whole, so it is never less than that.
        """
        with self._database.reading() as runner:
            [row] = runner.rows(SUM_PLACED, placed_values(account))
        return placed_from_row(row)

    def add_placed(self, account: int, created: str) -> None:
        """Count a row of a journal that was begun at this time; within that write."""
        hour = _hour(created)
        with self._cleared_lock:
            is_cleared = self._cleared.get(account) == hour
            put_newest(self._cleared, account, hour, most=_MOST_REMEMBERED)

        def work(runner: StatementRunner) -> None:
            if not is_cleared:
                runner.later(_REMOVE_HOURS, placed_values(account))
            runner.later(self._add_placed, {"account_id": account, "hour": hour})

        self._database.join(work)


def placed_values(account: int) -> dict[str, Any]:
    """Return the values of SUM_PLACED."""
    return {"account": account, "since": _hour(now(DAY_SECONDS))}


def placed_from_row(row: Mapping[str, Any]) -> Placed:
    """Return the answer of SUM_PLACED. The hour that was 24 hours ago counts as a whole, so it is never too little."""
    return Placed(int(row["begun"] or 0), row["oldest"])


def _hour(time: str) -> str:
    """Return the hour of a time, both as the data base has them."""
    return time[:13]
