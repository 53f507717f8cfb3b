"""The data base of one server: it is opened here, and each kind of thing that it keeps has an attribute."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from .accounts import AccountStore
from .addresses import AddressStore
from .admissions import AdmissionStore
from .archive import ArchiveStore
from .audit import AuditStore
from .base import Database
from .completeness import check_connection, check_running, open_state_file
from .counters import CounterStore
from .credentials import CredentialStore
from .history import HistoryStore
from .journals import OrderJournal, WithdrawalJournal
from .notices import NoticeStore
from .paper_ledger import PaperLedger, open_markets
from .postgresql import PostgreSQL
from .refusals import RefusalStore
from .registrations import RegistrationStore
from .safety import SafetyStore
from .sealed import SealedStore
from .sessions import SessionStore
from .sqlite import SQLite
from .usage import UsageStore
from .worth import WorthStore

__all__ = ["Store"]

T = TypeVar("T")

#: Seconds between two rows that say that the data base is in use.
_HEARTBEAT_SECONDS = 10.0


def open_database(where: Path | str, call_seconds: float, *, read_only: bool) -> Database:
    """Open the SQLite file at a path, or the PostgreSQL data base of a URL. Raises StoreError for any other URL."""
    if isinstance(where, Path):
        return SQLite(where, read_only=read_only)
    return PostgreSQL(where, call_seconds, read_only=read_only)


class Store:
    """The data base of one server."""

    def __init__(
        self, where: Path | str, *, call_seconds: float = 15.0, notices: bool = False, read_only: bool = False
    ) -> None:
        """Open a SQLite file by its path, or PostgreSQL by its URL. Raises StoreError for any other URL.

        `call_seconds`: after these a call sends nothing more to its exchange. `notices`: there is a receiver of them.
        `read_only`: nothing is changed, also not in the folder of the file, and every write fails.
        """
        self.where = where
        self._database = open_database(where, call_seconds, read_only=read_only)
        self._written = -inf
        self.accounts = AccountStore(self._database)
        self.registrations = RegistrationStore(self._database)
        self.credentials = CredentialStore(self._database)
        self.addresses = AddressStore(self._database)
        self.safety = SafetyStore(self._database)
        self.sealed = SealedStore(self._database)
        self.audit = AuditStore(self._database)
        self.counters = CounterStore(self._database)
        self.history = HistoryStore(self._database)
        self.notices = NoticeStore(self._database, wanted=notices)
        self.orders = OrderJournal(self._database, self.notices)
        self.withdrawals = WithdrawalJournal(self._database, self.notices)
        self.refusals = RefusalStore(self._database)
        self.archive = ArchiveStore(self._database)
        self.usage = UsageStore(self._database)
        self.admissions = AdmissionStore(self._database)
        self.sessions = SessionStore(self._database)
        self.worth = WorthStore(self._database)

    def after_order_change(self, call: Callable[[], None]) -> None:
        """Have `call` called after each commit of this process that changed an order; it must not fail."""
        self._database.after_order_change = call

    def history_gap(self) -> datetime | None:
        """Return the time since which orders and sends may be missing in the journals; None: they are complete.

        The journals of a data base that was restored from a copy lack what was placed after the copy was made: a key
        that they do not know may have been executed.
        """
        gap = self.history.gap()
        return None if gap is None else gap.since

    @property
    def name(self) -> str:
        """Return what the data base is called, without a password."""
        return self._database.name

    @property
    def server_id(self) -> int:
        """Return what tells this server process from the others on this data base."""
        return self._database.server_id

    @property
    def is_shared(self) -> bool:
        """Return whether other server processes may use this data base now."""
        return self._database.is_shared

    def database_errors(self) -> int:
        """Return how often the data base could not be used since the start, also where that was tried once more."""
        return self._database.errors

    def open_history(self, path: Path, report: Callable[[str], None]) -> None:
        """Compare the data base with the state file at `path`, and name every intent in it from now on.

        What may be missing is written into the data base; see `history_gap`. `report` is called with a line when the
        data base file is found to be no longer the one that was opened: the server must stop. Raises StoreError.
        """
        file = self._database.state_file = open_state_file(self.history, path, shared=self._database.is_shared)
        self._database.check_commits = lambda: check_connection(self.history, path, file)
        self._database.watch(report)

    def heartbeat(self, *, at_most_every: float = _HEARTBEAT_SECONDS) -> None:
        """Show the other servers on this data base that this one lives, and write that it is in use.

        Call it every few seconds; the row is written when the last one is so many seconds old. Raises one of UNUSABLE
        when the data base cannot be written, and StoreError when its file is no longer the one that was opened.
        """
        self._database.heartbeat()
        if time.monotonic() < self._written + at_most_every:
            return
        self.history.heartbeat()
        self._written = time.monotonic()
        if (state_file := self._database.state_file) is not None:
            check_running(self.history, state_file)

    def close(self) -> None:
        """Close every connection."""
        self._database.close()
        if self._database.state_file is not None:
            self._database.state_file.close()

    def atomic(self, work: Callable[[], T]) -> T:
        """Return what `work` returns. All that it writes is committed together, or nothing when it raises.

        It may be undone and run once more.
        """
        return self._database.write(lambda _runner: work())

    def check_file(self) -> None:
        """Raise StoreError when the data base file is not the one that was opened."""
        self._database.check_file()

    def check(self) -> None:
        """Raise StoreError when a file is damaged, or a pooler in front of PostgreSQL does not keep sessions apart.

        Of a file of a gigabyte it takes a second, and after a crash four.
        """
        self._database.check()

    def share_connections(self, processes: int) -> None:
        """Open no more connections than as many processes as this may have, each. Raises StoreError for too many.

        Call it before other threads use the store.
        """
        self._database.share_connections(processes)

    def has_tables(self) -> bool:
        """Return whether the tables were created, in this version or another one."""
        return self.revision() is not None

    def engine_version(self) -> tuple[int, ...]:
        """Return the version of SQLite or PostgreSQL, as (17, 2)."""
        return self._database.engine_version()

    def outlives_power_failure(self) -> bool:
        """Return whether what was committed is there after the machine of the data base lost its power."""
        return self._database.outlives_power_failure()

    def revision(self) -> str | None:
        """Return the revision of the tables, as "0012"; None: there are no tables."""
        return self._database.revision()

    def prepare(self) -> None:
        """Create the tables, or migrate them to this version. Raises StoreError for a newer or damaged data base."""
        self._database.prepare()

    def open_paper_markets(self) -> list[dict[str, Any]]:
        """Return the markets of the paper exchange in which orders are open, by registration; see `open_markets`."""
        return open_markets(self._database)

    def paper_ledger(self, registration: int) -> PaperLedger:
        """Return the ledger of one registration at the paper exchange."""
        return PaperLedger(self._database, registration)
