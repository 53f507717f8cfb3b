"""What an account was worth on each day, in each currency that it asked for."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from ...money import exact, plain
from . import page_tables
from . import tables as t
from .base import Database
from .records import DAY_SECONDS, now
from .statements import StatementRunner

__all__ = ["Worth", "WorthStore"]

#: A row of today is written anew when it is so old, or lacked a registration.
_AGAIN_SECONDS = 600.0
#: An account that asked for a currency in the last so many days is valued in it each day.
_ASKED_DAYS = 30
#: Further currencies of an account are not kept.
_MOST_CURRENCIES = 20

_W = page_tables.worth.c
_THIS = (_W.account_id == bindparam("account"), _W.day == bindparam("of_day"), _W.currency == bindparam("in_currency"))
_ADD = insert(page_tables.worth)
_UPDATE = update(page_tables.worth).where(*_THIS)
_ONE = select(_W.complete, _W.updated).where(*_THIS)
_DAYS = (
    select(_W.day, _W.total, _W.complete)
    .where(_W.account_id == bindparam("account"), _W.currency == bindparam("in_currency"))
    .order_by(_W.day.desc())
    .limit(bindparam("most"))
)
_CURRENCIES = (
    select(_W.currency, func.max(_W.updated).label("updated"))
    .where(_W.account_id == bindparam("account"))
    .group_by(_W.currency)
)
_DUE = (
    select(t.accounts.c.name, _W.currency)
    .join(t.accounts, t.accounts.c.id == _W.account_id)
    .where(t.accounts.c.active)
    .group_by(t.accounts.c.name, _W.currency)
    .having(func.max(_W.asked) >= bindparam("asked_since"), func.max(_W.day) < bindparam("today"))
)


class Worth(NamedTuple):
    """What an account was worth on a day (UTC); not `complete`: without an exchange that did not answer."""

    day: str
    total: Decimal
    complete: bool


class WorthStore:
    """The days of one data base."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, account: int, currency: str, total: Decimal, *, complete: bool, asked: bool) -> None:
        """Write what an account is worth now as the row of today; `asked`: its owner wanted to know.

        A total that lacks an exchange does not replace one that lacks none. An account has 20 currencies at most;
        further ones are not kept.
        """
        day, time = now()[:10], now()
        key = {"account": account, "of_day": day, "in_currency": currency}
        columns = {"total": plain(total), "complete": complete, "updated": time}

        def work(runner: StatementRunner) -> None:
            row = runner.first(_ONE, key)
            if row is None:
                values = {"account_id": account, "day": day, "currency": currency, **columns}
                runner.change(_ADD, {**values, "asked": day if asked else ""})
            elif complete or not row["complete"]:
                runner.change(_UPDATE, {**key, **columns, **({"asked": day} if asked else {})})

        with self._database.reading() as runner:
            row = runner.first(_ONE, key)
        if row is None and currency not in (known := self.currencies(account)) and len(known) >= _MOST_CURRENCIES:
            return
        if row is None or not row["complete"] or row["updated"] < now(_AGAIN_SECONDS):
            # Another process may have added the row of today at the same moment.
            with suppress(IntegrityError):
                self._database.write(work)

    def days(self, account: int, currency: str, most: int) -> list[Worth]:
        """Return the last days of an account that have a row, at most so many, the oldest first."""
        values = {"account": account, "in_currency": currency, "most": most}
        with self._database.reading() as runner:
            rows = runner.rows(_DAYS, values)
        return [Worth(row["day"], exact(row["total"]), row["complete"]) for row in reversed(rows)]

    def currencies(self, account: int) -> list[str]:
        """Return the currencies in which an account was valued, the newest first."""
        with self._database.reading() as runner:
            rows = runner.rows(_CURRENCIES, {"account": account})
        return [row["currency"] for row in sorted(rows, key=lambda row: row["updated"], reverse=True)]

    def due(self) -> list[tuple[str, str]]:
        """Return the names of accounts with the currencies that they asked for lately and that have no row today."""
        values = {"asked_since": now(_ASKED_DAYS * DAY_SECONDS)[:10], "today": now()[:10]}
        with self._database.reading() as runner:
            return [(row["name"], row["currency"]) for row in runner.rows(_DUE, values)]
