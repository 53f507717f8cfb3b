"""How the data base is opened, read and written: SQLite for one process, PostgreSQL for any number of them.

Reads run without a transaction. Writes are short transactions, on the disk when they return. None is open while an
exchange thinks.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Double,
    Engine,
    Table,
    cast,
    create_engine,
    event,
    extract,
    func,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from . import tables as t
from .settings import SetupError

__all__ = ["UNUSABLE", "Database", "StoreError", "open_database", "words"]

#: How long a lock that spans all processes is waited for.
_LOCK_SECONDS = 2
#: Connections of one process to PostgreSQL, which allows 100 of all processes by default; and those that hold locks.
_CONNECTIONS, _LOCKS = 16, 8
#: Only one process at a time makes or moves on the tables.
_SCHEMA_LOCK = 0x787772617031
_LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL documentation, appendix A "Error Codes"


class StoreError(SetupError):
    """The data base cannot be used."""


#: What a data base raises that cannot be used now.
UNUSABLE = (OperationalError, InterfaceError, PoolTimeoutError)


def words(error: Exception) -> str:
    """What the data base says of an error, in one line without the statement and its values."""
    return str(getattr(error, "orig", error)).strip().partition("\n")[0]


def open_database(where: Path | str) -> Database:
    """The SQLite file at a path, or the PostgreSQL data base of a URL. Raises StoreError for a URL of another kind."""
    return _SQLite(where) if isinstance(where, Path) else _PostgreSQL(where)


class Database(ABC):
    """One data base. `name` is fit to be shown."""

    name: str
    engine: Engine
    #: Its clock, in SQL: seconds since 1970.
    moment: ColumnElement[float]

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection]:
        """A connection for reads, without a transaction."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Connection]:
        """A connection in a transaction, committed at the end of the block, rolled back when it raises."""

    @abstractmethod
    def alone(self, number: int) -> AbstractContextManager[None]:
        """One process at a time, for each number of 64 bits, also over a call to an exchange. Raises TimeoutError."""

    @abstractmethod
    def hold(self, connection: Connection, number: int) -> None:
        """In a transaction: one process at a time, for each number, until it ends."""

    @abstractmethod
    def lock_row(self, connection: Connection, table: Table, id: int) -> None:
        """In a transaction: no other one gets past this call for the same row until it ends."""

    @abstractmethod
    def complaint(self, error: DatabaseError) -> str:
        """What is wrong with the data base, in one line that says what to do."""

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()

    def prepare(self) -> None:
        """Make the tables, or bring them to this version. Raises StoreError for a newer or damaged data base."""
        try:
            with self.reading() as connection:
                revision = _revision(connection)
            if revision != t.REVISION:
                with self.writing() as connection:
                    self.hold(connection, _SCHEMA_LOCK)
                    self._migrate(connection)
        except DatabaseError as error:
            raise StoreError(self.complaint(error)) from None

    def _migrate(self, connection: Connection) -> None:
        """Alembic is imported when there is something to do: it costs 60 ms."""
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        revision = _revision(connection)
        if revision is not None and revision not in known:
            raise StoreError(f"the data base {self.name} was made by a newer version of bitmm; update bitmm")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


class _SQLite(Database):
    """A file, for one server process. Writes are one at a time in this process (SQLite's own waiting is unfair: with
    one lock in front the slowest order waits 21 ms instead of 180) and begin IMMEDIATE, so that they wait instead of
    failing.
    """

    moment = (func.julianday("now", type_=Double) - 2440587.5) * 86400.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self.engine = create_engine(
            URL.create("sqlite", database=str(path)), pool_size=32, max_overflow=256, hide_parameters=True
        )
        self._writer = threading.Lock()
        event.listen(self.engine, "connect", _prepare)
        event.listen(self.engine, "begin", _begin)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            yield connection.execution_options(xwrap_reads=True)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with self._writer, self.engine.begin() as connection:
            yield connection

    def alone(self, number: int) -> AbstractContextManager[None]:
        return nullcontext()

    def hold(self, connection: Connection, number: int) -> None:
        """A transaction here holds the whole file."""

    def lock_row(self, connection: Connection, table: Table, id: int) -> None:
        """A transaction here holds the whole file."""

    def prepare(self) -> None:
        self.path.touch(mode=0o600)
        super().prepare()

    def complaint(self, error: DatabaseError) -> str:
        if isinstance(error, OperationalError):
            return f"the data base {self.name} cannot be written: {error.orig}"
        return f"the data base {self.name} is damaged ({error.orig}); restore it from your backup"


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 must not begin transactions by itself; `_begin` does
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 10000")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    if not connection.get_execution_options().get("xwrap_reads"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class _PostgreSQL(Database):
    """Shared by any number of processes. Reads autocommit. A lock that outlives a transaction belongs to a session, so
    its holder keeps a connection of a small pool of its own; a pooler between must not change sessions under it.
    """

    moment = cast(extract("epoch", func.clock_timestamp()), Double)

    def __init__(self, url: str) -> None:
        try:
            parts = make_url(url)
        except ArgumentError:
            raise StoreError(_URL) from None
        if parts.drivername not in {"postgresql", "postgresql+psycopg"}:
            raise StoreError(_URL)
        parts = parts.set(drivername="postgresql+psycopg")
        self.name = f"{parts.database or ''} at {parts.host or parts.query.get('host') or 'the local PostgreSQL'}"
        try:
            self.engine = _connects(parts, _CONNECTIONS, 10)
            self._locks = _connects(parts, _LOCKS, _LOCK_SECONDS, options=f"-c lock_timeout={_LOCK_SECONDS}s")
        except ModuleNotFoundError:
            raise StoreError("this needs psycopg; in a clone of bitmm: pip install '.[server,postgres]'") from None
        self._reads = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._locks = self._locks.execution_options(isolation_level="AUTOCOMMIT")

    def reading(self) -> AbstractContextManager[Connection]:
        return self._reads.connect()

    def writing(self) -> AbstractContextManager[Connection]:
        return self.engine.begin()

    @contextmanager
    def alone(self, number: int) -> Iterator[None]:
        try:
            connection = self._locks.connect()
        except PoolTimeoutError:
            raise TimeoutError from None
        with connection:
            try:
                connection.execute(select(func.pg_advisory_lock(number)))
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                    raise TimeoutError from None
                raise
            try:
                yield
            finally:
                _unlock(connection, number)

    def hold(self, connection: Connection, number: int) -> None:
        connection.execute(select(func.pg_advisory_xact_lock(number)))

    def lock_row(self, connection: Connection, table: Table, id: int) -> None:
        # Rows that refer to this one can be added meanwhile.
        connection.execute(select(table.c.id).where(table.c.id == id).with_for_update(key_share=True))

    def close(self) -> None:
        self._locks.dispose()
        super().close()

    def complaint(self, error: DatabaseError) -> str:
        return f"the data base {self.name} cannot be used: {words(error)}"


_URL = "XWRAP_DATABASE_URL must be like postgresql+psycopg://user:password@host/database"


def _connects(url: URL, connections: int, wait: float, **options: str) -> Engine:
    """A connection that broke meanwhile is noticed before it is used; a silent server is given up after 10 s."""
    return create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=wait,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": 5, "tcp_user_timeout": 10_000, "application_name": "xwrap", **options},
    )


def _unlock(connection: Connection, number: int) -> None:
    """A session that cannot be told to unlock is ended; its locks end with it."""
    try:
        connection.execute(select(func.pg_advisory_unlock(number)))
    except DatabaseError:
        connection.invalidate()
