"""The data base of one server: it is opened here, and each kind of thing that it keeps has an attribute."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from . import tables as t
from .accounts import AccountStore
from .base import Database
from .counters import CounterStore
from .history import HistoryStore
from .journal import OrderJournal, WithdrawalJournal
from .paper_ledger import PaperLedger
from .postgresql import PostgreSQL
from .registrations import RegistrationStore
from .sqlite import SQLite

__all__ = ["Store"]

T = TypeVar("T")

_CHECK_VALUE, _ADD_CHECK_VALUE = select(t.vault_check.c.sealed), insert(t.vault_check)


def open_database(where: Path | str) -> Database:
    """Open the SQLite file at a path, or the PostgreSQL data base of a URL. Raises StoreError for any other URL."""
    return SQLite(where) if isinstance(where, Path) else PostgreSQL(where)


class Store:
    """The data base of one server."""

    def __init__(self, where: Path | str) -> None:
        """Open a SQLite file by its path, or PostgreSQL by its URL. Raises StoreError for any other URL."""
        self.where = where
        self._database = open_database(where)
        self.accounts = AccountStore(self._database)
        self.registrations = RegistrationStore(self._database)
        self.counters = CounterStore(self._database)
        self.history = HistoryStore(self._database)
        self.orders = OrderJournal(self._database)
        self.withdrawals = WithdrawalJournal(self._database)

    def history_gap(self) -> datetime | None:
        """Return the time since which orders and sends may be missing in the journals; None: they are complete.

        The journals of a data base that was restored from a copy lack what was placed after the copy was made: a key
        that they do not know may have been executed.
        """
        gap = self.history.gap()
        return None if gap is None else gap.since

    @property
    def server_id(self) -> int:
        """Return what tells this server process from the others on this data base."""
        return self._database.server_id

    @property
    def is_shared(self) -> bool:
        """Return whether other server processes may use this data base now."""
        return self._database.is_shared

    def heartbeat(self) -> None:
        """Show the other servers on this data base that this one lives. Call it every few seconds."""
        self._database.heartbeat()

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def atomic(self, work: Callable[[], T]) -> T:
        """Return what `work` returns. All that it writes is committed together, or nothing when it raises.

        It may be undone and run once more.
        """
        return self._database.write(lambda _runner: work())

    def prepare(self) -> None:
        """Create the tables, or migrate them to this version. Raises StoreError for a newer or damaged data base."""
        self._database.prepare()

    def check_value(self, make: Callable[[], bytes] | None = None) -> bytes | None:
        """Return the vault's check value. When there is none yet, keep and return what `make` gives."""
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
        """Return the ledger of one registration at the paper exchange."""
        return PaperLedger(self._database, registration)
