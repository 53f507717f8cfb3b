"""The data base of one server, opened: every kind of thing that is kept has a part of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from . import tables as t
from .accounts import AccountStore
from .base import Database
from .counters import CounterStore
from .journal import Journal, WithdrawalJournal
from .paper_ledger import PaperLedger
from .postgresql import PostgreSQL
from .registrations import RegistrationStore
from .sqlite import SQLite

__all__ = ["Store"]

T = TypeVar("T")

_CHECK_VALUE, _ADD_CHECK_VALUE = select(t.vault_check.c.sealed), insert(t.vault_check)


def open_database(where: Path | str) -> Database:
    """The SQLite file at a path, or the PostgreSQL data base of a URL. Raises StoreError for a URL of another kind."""
    return SQLite(where) if isinstance(where, Path) else PostgreSQL(where)


class Store:
    """The data base of one server."""

    def __init__(self, where: Path | str) -> None:
        """`where`: the path of a SQLite file, or a URL of PostgreSQL. Raises StoreError for another URL."""
        self.where = where
        self._database = open_database(where)
        self.accounts = AccountStore(self._database)
        self.registrations = RegistrationStore(self._database)
        self.counters = CounterStore(self._database)
        self.orders = Journal(t.orders, self._database)
        self.withdrawals = WithdrawalJournal(self._database)

    def heartbeat(self) -> None:
        """Show other servers on this data base that this one lives; to be called again and again."""
        self._database.heartbeat()

    def close(self) -> None:
        """Give back every connection."""
        self._database.close()

    def atomic(self, work: Callable[[], T]) -> T:
        """What `work` returns; all that it writes is kept as one, or nothing when it raises.

        It may be undone and run once more.
        """
        return self._database.write(lambda _runner: work())

    def prepare(self) -> None:
        """Make the tables, or bring them to this version. Raises StoreError for a newer or damaged data base."""
        self._database.prepare()

    def check_value(self, make: Callable[[], bytes] | None = None) -> bytes | None:
        """The vault's check value; when there is none yet, what `make` gives is kept."""
        with self._database.reading() as runner:
            value: bytes | None = runner.value(_CHECK_VALUE)
        if value is None and make:
            sealed = {"id": 1, "sealed": make()}
            with suppress(IntegrityError):
                self._database.write(lambda runner: runner.change(_ADD_CHECK_VALUE, sealed))
            # Another process may have kept its own first.
            return self.check_value()
        return value

    def paper_ledger(self, registration: int) -> PaperLedger:
        """The book of one paper registration."""
        return PaperLedger(self._database, registration)
