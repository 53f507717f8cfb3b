"""What each account has used of its quotas."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Column, Select, bindparam, delete, func, insert, or_, select, update

from . import tables as t
from .base import Database, StatementRunner
from .records import DAY_SECONDS, now

__all__ = ["Placed", "UsageStore"]

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
_SUM_PLACED = select(func.sum(_P.begun).label("begun"), func.min(_P.hour).label("oldest")).where(
    _P.account_id == bindparam("account"), _P.hour >= bindparam("since")
)
_ADD_PLACED = (
    update(t.placed)
    .where(_P.account_id == bindparam("account"), _P.hour == bindparam("of_hour"))
    .values(begun=_P.begun + 1)
)
_NEW_HOUR = insert(t.placed)
_REMOVE_HOURS = delete(t.placed).where(_P.account_id == bindparam("account"), _P.hour < bindparam("since"))


class Placed(NamedTuple):
    """How many orders and sends count now, and the oldest hour that they were begun in, as `tables.placed` has it."""

    begun: int
    oldest: str | None


class UsageStore:
    """The counts of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
            [row] = runner.rows(_SUM_PLACED, {"account": account, "since": _oldest_hour()})
        return Placed(int(row["begun"] or 0), row["oldest"])

    def add_placed(self, account: int, created: str) -> None:
        """Count a row of a journal that was begun at this time; within that write, with the account locked before."""
        hour = _hour(created)

        def work(runner: StatementRunner) -> None:
            if not runner.change(_ADD_PLACED, {"account": account, "of_hour": hour}):
                runner.change(_REMOVE_HOURS, {"account": account, "since": _oldest_hour()})
                runner.change(_NEW_HOUR, {"account_id": account, "hour": hour, "begun": 1})

        self._database.write(work)


def _hour(time: str) -> str:
    """Return the hour of a time, both as the data base has them."""
    return time[:13]


def _oldest_hour() -> str:
    """Return the oldest hour that has a moment of the last 24 hours."""
    return _hour(now(DAY_SECONDS))
