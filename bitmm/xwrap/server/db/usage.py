"""What each account has used of its quotas."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Column, Select, bindparam, func, or_, select

from . import tables as t
from .base import Database
from .records import DAY_SECONDS, now

__all__ = ["UsageStore", "UsedRows"]

_R = t.registrations.c


def _count(account_id: Column[int], ended: Column[str]) -> Select[int]:
    """Return the count of an account's rows that did not end, or not long ago."""
    return select(func.count()).where(
        account_id == bindparam("account"), or_(ended.is_(None), ended > bindparam("since"))
    )


_COUNT_REGISTRATIONS = _count(_R.account_id, _R.deleted)
_COUNT_CREDENTIALS = _count(t.credentials.c.account_id, t.credentials.c.revoked)
_COUNT_ADDRESSES = _count(t.addresses.c.account_id, t.addresses.c.removed)
_OF_ACCOUNT = select(_R.id).where(_R.account_id == bindparam("account"))
_COUNT_ROWS = [
    select(func.count().label("count"), func.min(journal.c.created).label("oldest")).where(
        journal.c.registration_id.in_(_OF_ACCOUNT), journal.c.created > bindparam("since")
    )
    for journal in t.JOURNALS
]


class UsedRows(NamedTuple):
    """How many rows of the journals were begun in the last 24 hours, and when the oldest of them was (None: none)."""

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

    def rows(self, account: int) -> UsedRows:
        """Return what an account has begun in the journals, with the registrations that it deleted."""
        values = {"account": account, "since": now(DAY_SECONDS)}
        with self._database.reading() as runner:
            found = [runner.rows(count, values)[0] for count in _COUNT_ROWS]
        oldest = min((row["oldest"] for row in found if row["oldest"] is not None), default=None)
        return UsedRows(sum(row["count"] for row in found), oldest)
