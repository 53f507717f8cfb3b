"""SQLite: a file, for one server process."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, ColumnElement, Connection, Double, Engine, Select, Table, create_engine, event, func
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool, PoolProxiedConnection

from .base import Database
from .compiled import CompiledStatement
from .errors import DamagedError, ForeignFileError, StoreError
from .files import open_private
from .sqlite_file import WatchedFile, connect_unchanged, find_damage, waiting_pages
from .statements import Statement, StatementRunner

__all__ = ["SQLite"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: Milliseconds to wait for another program that has the file locked.
_BUSY_TIMEOUT_MS = 10_000
#: A commit brings the log into the file when that has so many pages (SQLite's default, wal_autocheckpoint). A server
#: writes at least each 10 seconds (`Store.heartbeat`); one that has not for so long has ended.
_MOST_WAITING_PAGES, _CHECKPOINT_SECONDS = 1000, 30.0


class _PendingWrite:
    """A write that waits for its transaction, and then what became of it."""

    def __init__(self, work: Callable[[StatementRunner], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False


class _SQLiteRunner(StatementRunner):
    """A connection that runs nothing any more in a transaction which SQLite has undone by itself.

    It does so after some errors, as that of a full disk (its documentation, "Transaction", section 3). Each statement
    that followed would be committed alone.
    """

    def __init__(self, database: Database, connection: PoolProxiedConnection) -> None:
        super().__init__(database, connection)
        self._driver: Any = connection.dbapi_connection
        self._is_begun = False

    @contextmanager
    def transaction(self, begin: str = "BEGIN") -> Iterator[None]:
        with super().transaction(begin):
            self._is_begun = True
            try:
                yield
                self._check_begun()
            finally:
                self._is_begun = False

    def command(self, text: str) -> None:
        self._check_begun()
        super().command(text)

    def change_each(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> None:
        self._check_begun()
        super().change_each(statement, rows)

    def _execute(self, compiled: CompiledStatement, values: Mapping[str, Any]) -> None:
        self._check_begun()
        super()._execute(compiled, values)

    def _check_begun(self) -> None:
        if self._is_begun and not self._driver.in_transaction:
            raise StoreError("SQLite undid what this call wrote, because of an error before")


class SQLite(Database):
    """A file, for one server process.

    All writes go through one connection, whose cache is therefore always good. Those that wait for it are committed
    together: bringing a commit to the disk costs more than all the rest.
    """

    is_shared = False
    runner = _SQLiteRunner
    current_time = (func.julianday("now", type_=Double) - 2440587.5) * 86400.0

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """`read_only`: neither the file nor its folder is changed; every write fails."""
        self.path = path
        self.name = str(path)
        # The connection for writes is used by many threads, one after the other.
        how: dict[str, Any] = {"connect_args": {"check_same_thread": False}}
        if read_only:
            how = {"creator": partial(connect_unchanged, path)}
        self.engine = create_engine(
            URL.create("sqlite", database=str(path)),
            paramstyle="named",
            poolclass=NullPool,
            hide_parameters=True,
            **how,
        )
        super().__init__()
        #: Connections for reads that are free; the last one used is used next.
        self._readers: list[StatementRunner] = []
        self._write_lock = threading.Lock()
        self._write_runner: StatementRunner | None = None
        self._pending: deque[_PendingWrite] = deque()
        self._watched: WatchedFile | None = None
        self._report: Callable[[str], None] = lambda _line: None
        #: Why no intent is taken any more.
        self._failure: str | None = None
        if not read_only:
            event.listen(self.engine, "connect", _configure_connection)

    @contextmanager
    def _checkout(self) -> Iterator[StatementRunner]:
        # A pool that asks its locks takes longer than the reading itself (measured 2026-11-26).
        try:
            runner = self._readers.pop()
        except IndexError:
            runner = self.connect(self.engine)
        try:
            yield runner
        except BaseException:
            # It may be in the middle of a statement, or broken.
            runner.close()
            raise
        self._readers.append(runner)

    def write(self, work: Callable[[StatementRunner], T]) -> T:
        """Write as `Database.write` does, in one commit with the other writes that wait."""
        if self._thread.runner is not None:
            return super().write(work)
        write = _PendingWrite(work)
        self._pending.append(write)
        with self._write_lock:
            # The thread that had the lock before may have committed this write with its own.
            if not write.done:
                self._commit_pending()
        if write.error is not None:
            raise write.error
        result: T = write.result
        return result

    def _commit_pending(self) -> None:
        """Commit all writes that wait in one transaction; when one of them fails, each in a transaction of its own."""
        writes = [self._pending.popleft() for _ in range(len(self._pending))]
        batches = deque([writes])
        while batches:
            batch = batches.popleft()
            try:
                self._before_write()
                with self._begin(self._open_write_runner(), "BEGIN IMMEDIATE") as runner:
                    for write in batch:
                        write.result = write.work(runner)
            except BaseException as error:
                if len(batch) == 1:
                    batch[0].error = error
                else:
                    batches.extend([write] for write in batch)
            else:
                try:
                    self._after_commit(runner)
                except Exception as error:
                    for write in batch:
                        write.error = error
        for write in writes:
            write.done = True

    @contextmanager
    def _transaction(self) -> Iterator[StatementRunner]:
        with self._write_lock:
            self._before_write()
            with self._begin(self._open_write_runner(), "BEGIN IMMEDIATE") as runner:
                yield runner
            self._after_commit(runner)

    def watch(self, report: Callable[[str], None]) -> None:
        with self._write_lock:
            self._open_write_runner()  # SQLite removes the log when no connection is open
            self._watched, self._report = WatchedFile(self.path), report

    def _before_write(self) -> None:
        """Look at the file when another program wrote it: it may have been overwritten by a copy."""
        if self._watched is None or not self._watched.was_written() or self._watched.problem() is not None:
            return
        try:
            damage = find_damage(self.path, self.state_file.intents() if self.state_file else ())
        except sqlite3.OperationalError as error:
            _log.warning("the data base file %s cannot be checked now: %s", self.path, error)
            return
        if damage:
            self._fail(f"the data base file {self.path} was overwritten while in use ({damage})")
        self._watched.note_write()

    def _after_commit(self, runner: StatementRunner) -> None:
        if self._watched is not None:
            self._watched.note_write()
            if runner.intents:
                self.check_file()
        super()._after_commit(runner)

    def check_file(self) -> None:
        if self._watched is not None and self._failure is None and (problem := self._watched.problem()):
            self._fail(problem)
        if self._failure is not None:
            raise ForeignFileError(self._failure)

    def _fail(self, problem: str) -> None:
        if self._failure is None:
            self._failure = f"{problem}; put the right one in its place, and start the server again"
            _log.critical("%s", self._failure)
            self._report(self._failure)

    def connect(self, engine: Engine) -> StatementRunner:
        runner = super().connect(engine)
        try:
            self.check_file()
        except BaseException:
            runner.close()
            raise
        return runner

    def _open_write_runner(self) -> StatementRunner:
        """Return the connection for writes, for the one thread that holds `_write_lock`."""
        if self._write_runner is None:
            self._write_runner = self.connect(self.engine)
        return self._write_runner

    def heartbeat(self) -> None:
        """Look whether the file is still the one that was opened; no other process serves from it."""
        with self._write_lock:
            self._before_write()
            self.check_file()

    def is_dead(self, server: ColumnElement[int | None]) -> ColumnElement[bool]:
        return server.is_distinct_from(self.server_id)

    def lock_rows(self, runner: StatementRunner, statement: Select[Any], values: Mapping[str, Any]) -> None:
        """Do nothing: a write has the whole file locked."""

    def advisory_lock(self, lock_id: int, seconds: float) -> AbstractContextManager[None]:
        return nullcontext()

    def let_others_write(self, *, is_served: bool) -> None:
        """Let the server bring the log into the file, when it is long; where there is none, do that here.

        A server that finds its file written by another program examines all of it before its next write.
        """
        with self._write_lock:
            self._open_write_runner().command("PRAGMA wal_autocheckpoint = 0")
        deadline = time.monotonic() + _CHECKPOINT_SECONDS
        while waiting_pages(self.path) >= _MOST_WAITING_PAGES:
            if not is_served or time.monotonic() > deadline:
                with self._write_lock:
                    self._open_write_runner().command("PRAGMA wal_checkpoint(PASSIVE)")
                return
            time.sleep(0.05)

    def _lock_schema(self, connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def close(self) -> None:
        with self._write_lock:
            if self._write_runner:
                self._write_runner.close()
            # A call that was left behind opens it again, to keep its outcome.
            self._write_runner = None
            while self._readers:
                self._readers.pop().close()
            if self._watched is not None:
                self._watched.note_close()
        super().close()

    def revision(self) -> str | None:
        # SQLite would make the file, for all to read.
        return super().revision() if self.path.exists() else None

    def prepare(self) -> None:
        os.close(open_private(self.path))
        super().prepare()

    def check(self) -> None:
        try:
            damage = find_damage(self.path) if self.path.exists() else None
        except sqlite3.OperationalError as error:
            raise StoreError(f"the data base {self.name} cannot be read: {error}") from None
        if damage:
            raise DamagedError(self.describe_damage(damage))

    def describe_error(self, error: DatabaseError) -> str:
        if isinstance(error, OperationalError):
            return f"the data base {self.name} cannot be written: {error.orig}"
        return self.describe_damage(str(error.orig))

    @staticmethod
    def insert(table: Table) -> Any:
        return sqlite.insert(table)

    def is_damage(self, error: Exception) -> bool:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

    def describe_damage(self, words: str) -> str:
        return f"{super().describe_damage(words)}: xwrap restore FILE"


def _configure_connection(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 must not begin transactions by itself
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _switch_to_wal(cursor: sqlite3.Cursor) -> None:
    """Switch a new file to the write-ahead log.

    Of many programs that try at once SQLite lets one, and does not wait for the others' turn (seen 2026-11-26).
    """
    deadline = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
