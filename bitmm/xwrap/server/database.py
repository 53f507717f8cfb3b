"""How the data base is opened, read and written: SQLite for one process, PostgreSQL for any number of them.

SQLAlchemy writes the statements and lends the connections; a `Link` runs them with the driver itself. Reads run without
a transaction. A write is a function that runs in a short transaction, and what it wrote is on the disk when it returns;
a write within it is a part of it. No transaction is open while an exchange elsewhere thinks.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    URL,
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Double,
    Engine,
    Select,
    bindparam,
    cast,
    column,
    create_engine,
    event,
    extract,
    func,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool, PoolProxiedConnection
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import SelectBase

from . import tables as t
from .settings import SetupError

__all__ = ["UNUSABLE", "Database", "Link", "StoreError", "open_database", "words"]

Statement = SelectBase | UpdateBase
T = TypeVar("T")

#: How long another program that holds the SQLite file is waited for.
_PATIENCE_MS = 10_000
#: How long a lock that spans all processes is waited for.
_LOCK_SECONDS = 2
#: Connections of one process to PostgreSQL, which allows 100 of all processes by default; and those that hold locks.
_CONNECTIONS, _LOCKS = 16, 8
#: The processes that live, as the holders of advisory locks on their numbers (PostgreSQL documentation, "pg_locks").
_ALIVE = text(
    "SELECT (classid::bigint << 32) | objid::bigint AS number FROM pg_locks WHERE locktype = 'advisory'"
    " AND objsubid = 1 AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
).columns(column("number", BigInteger))
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


#: The values of a statement that has none.
_NONE: Mapping[str, Any] = {}


class _Prepared(NamedTuple):
    """A statement as its data base takes it."""

    text: str
    #: The values that stand in the statement itself.
    own: Mapping[str, Any]
    names: Sequence[str]
    #: Which columns SQLite gives as 0 or 1 and we as bool.
    flags: Sequence[str]


class Link:
    """A connection on which the driver itself runs statements of SQLAlchemy Core, each of them written once.

    A row is a dict. Raises SQLAlchemy's exceptions. (SQLAlchemy's own `Connection` takes ten times as long for a
    statement as SQLite does, and an order has a dozen of them; measured 2026-11-26.)
    """

    def __init__(self, database: Database, connection: PoolProxiedConnection) -> None:
        self._database = database
        self._connection = connection
        self._cursor = connection.cursor()

    def rows(self, statement: Statement, values: Mapping[str, Any] = _NONE) -> list[dict[str, Any]]:
        """Every row."""
        prepared = self._run(statement, values)
        rows = [dict(zip(prepared.names, row, strict=True)) for row in self._cursor.fetchall()]
        for name in prepared.flags:
            for row in rows:
                row[name] = bool(row[name])
        return rows

    def first(self, statement: Statement, values: Mapping[str, Any] = _NONE) -> dict[str, Any] | None:
        """The first row, if there is one."""
        return next(iter(self.rows(statement, values)), None)

    def value(self, statement: Statement, values: Mapping[str, Any] = _NONE) -> Any:
        """The first column of the first row; None when there is no row."""
        self._run(statement, values)
        row = self._cursor.fetchone()
        return None if row is None else row[0]

    def change(self, statement: Statement, values: Mapping[str, Any]) -> int:
        """Write; how many rows it met."""
        self._run(statement, values)
        return self._cursor.rowcount

    def change_each(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write once for each of `rows`, which all have the same names."""
        if not rows:
            return
        prepared = self._database.prepared(statement, rows[0])
        try:
            self._cursor.executemany(prepared.text, [{**prepared.own, **row} for row in rows])
        except self._database.error as error:
            raise self._failed(prepared.text, error) from error

    def command(self, text: str) -> None:
        """Run a command of the data base's own."""
        try:
            self._cursor.execute(text)
        except self._database.error as error:
            raise self._failed(text, error) from error

    def end(self) -> None:
        """Close the connection itself, and with it its session; it is not lent again."""
        if self._connection.is_valid:
            self._connection.invalidate()

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def _run(self, statement: Statement, values: Mapping[str, Any]) -> _Prepared:
        prepared = self._database.prepared(statement, values)
        try:
            self._cursor.execute(prepared.text, {**prepared.own, **values})
        except self._database.error as error:
            raise self._failed(prepared.text, error) from error
        return prepared

    def _failed(self, text: str, error: Any) -> Exception:
        """SQLAlchemy's exception for the driver's one. A connection that broke is not lent again."""
        if self._database.engine.dialect.is_disconnect(error, self._connection, self._cursor):
            self.end()
        return _translated(error, self._database.error, text)


def _translated(error: Exception, base: type[Exception], text: str | None = None) -> Exception:
    """SQLAlchemy's exception for one of the driver's, whose own base is `base`; it shows no values."""
    translated: Exception = DBAPIError.instance(text, None, error, base, hide_parameters=True)
    return translated


class _Here(threading.local):
    """The transaction that this thread is in."""

    link: Link | None = None


class Database(ABC):
    """One data base. `name` is fit to be shown."""

    name: str
    engine: Engine
    #: Its clock, in SQL: seconds since 1970.
    moment: ColumnElement[float]

    def __init__(self) -> None:
        #: The number of this process.
        self.server = secrets.randbits(62)
        self._prepared: dict[tuple[Statement, tuple[str, ...]], _Prepared] = {}
        self._here = _Here()
        #: The base of what its driver raises.
        self.error: type[Any] = self.engine.dialect.loaded_dbapi.Error

    def reading(self) -> AbstractContextManager[Link]:
        """A connection for reads, without a transaction; within a write its own, which sees what it wrote."""
        return self._lent() if self._here.link is None else nullcontext(self._here.link)

    def _lent(self) -> AbstractContextManager[Link]:
        return closing(self.lend(self.engine))

    def lend(self, engine: Engine) -> Link:
        """A connection of this engine; whoever takes it closes it."""
        try:
            return Link(self, engine.raw_connection())
        except self.error as error:
            raise _translated(error, self.error) from error

    def write(self, work: Callable[[Link], T]) -> T:
        """What `work` returns, run in a transaction, perhaps in another thread; what it raises undoes all that it did.
        It may be undone and run once more. What was written is on the disk when this returns.

        Within the `work` of another write this is a part of that one: undone alone, and on the disk together.
        """
        if self._here.link is None:
            return self._write(work)
        with _transaction(self._here.link, "SAVEPOINT part", "RELEASE part", _UNDO_PART):
            return work(self._here.link)

    @abstractmethod
    def _write(self, work: Callable[[Link], T]) -> T:
        """The outermost one."""

    def _inside(self, work: Callable[[Link], T], link: Link) -> T:
        """Run `work` in the transaction of `link`, writes within it too."""
        self._here.link = link
        try:
            return work(link)
        finally:
            self._here.link = None

    @abstractmethod
    def appear(self) -> None:
        """Show the other processes that this one lives. To be called again and again: a connection may have broken."""

    @abstractmethod
    def departed(self, server: ColumnElement[int | None]) -> ColumnElement[bool]:
        """In SQL: whether the process with this number lives no more."""

    @abstractmethod
    def lock(self, link: Link, statement: Select[Any], values: Mapping[str, Any]) -> None:
        """In a write: no other one gets past this call for the same rows until it ends."""

    @abstractmethod
    def alone(self, number: int) -> AbstractContextManager[None]:
        """One process at a time, for each number of 64 bits, also over a call to an exchange. Raises TimeoutError."""

    @abstractmethod
    def complaint(self, error: DatabaseError) -> str:
        """What is wrong with the data base, in one line that says what to do."""

    def prepared(self, statement: Statement, values: Mapping[str, Any]) -> _Prepared:
        """The statement, written for this data base; a write is of the columns that `values` names."""
        key = (statement, tuple(values))
        if (prepared := self._prepared.get(key)) is None:
            prepared = self._prepared[key] = _prepare(statement, list(values), self.engine)
        return prepared

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()

    def prepare(self) -> None:
        """Make the tables, or bring them to this version. Raises StoreError for a newer or damaged data base."""
        try:
            with self.engine.connect() as connection:
                if _revision(connection) != t.REVISION:
                    self._hold_schema(connection)
                    self._migrate(connection)
                    connection.commit()
        except DatabaseError as error:
            raise StoreError(self.complaint(error)) from None

    @abstractmethod
    def _hold_schema(self, connection: Connection) -> None:
        """Begin a transaction; until it ends no other process makes or moves on the tables."""

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


def _prepare(statement: Statement, names: list[str], engine: Engine) -> _Prepared:
    written = statement.compile(dialect=engine.dialect, column_keys=names)
    columns = list(statement.exported_columns)
    flags = [column.name for column in columns if isinstance(column.type, Boolean)]
    own = {name: value for name, value in written.params.items() if not written.binds[name].required}
    return _Prepared(str(written), own, [column.name for column in columns], flags)


@contextmanager
def _transaction(link: Link, begin: str, commit: str = "COMMIT", undo: Sequence[str] = ("ROLLBACK",)) -> Iterator[None]:
    """From the command `begin` to `commit`; what the block raises undoes all that it wrote."""
    link.command(begin)
    try:
        yield
        link.command(commit)
    except BaseException:
        with suppress(DBAPIError):  # SQLite may have rolled back by itself, and a connection may be gone
            for command in undo:
                link.command(command)
        raise


#: Going back to a savepoint does not end it, and the next one outward has the same name.
_UNDO_PART = ("ROLLBACK TO part", "RELEASE part")


class _Write:
    """A write that waits for its transaction; what became of it."""

    def __init__(self, work: Callable[[Link], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.failure: BaseException | None = None
        self.over = False


class _SQLite(Database):
    """A file, for one server process. All writes go through one connection, whose cache is therefore always good, and
    those that wait for it meanwhile are committed together: bringing a commit to the disk costs more than all the rest.
    """

    moment = (func.julianday("now", type_=Double) - 2440587.5) * 86400.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self.engine = create_engine(
            URL.create("sqlite", database=str(path)),
            paramstyle="named",
            # The connection for writes is used by many threads, one after the other.
            connect_args={"check_same_thread": False},
            poolclass=NullPool,
            hide_parameters=True,
        )
        super().__init__()
        #: Links that nobody reads with now; the last one used is used next.
        self._readers: list[Link] = []
        self._writer = threading.Lock()
        self._link: Link | None = None
        self._writes: deque[_Write] = deque()
        event.listen(self.engine, "connect", _prepare_file)

    @contextmanager
    def _lent(self) -> Iterator[Link]:
        # A pool that asks its locks takes longer than the reading itself (measured 2026-11-26).
        try:
            link = self._readers.pop()
        except IndexError:
            link = self.lend(self.engine)
        try:
            yield link
        except BaseException:
            link.close()
            raise
        self._readers.append(link)

    def _write(self, work: Callable[[Link], T]) -> T:
        write = _Write(work)
        self._writes.append(write)
        with self._writer:
            if not write.over:
                self._commit_all()
        if write.failure is not None:
            raise write.failure
        result: T = write.result
        return result

    def _commit_all(self) -> None:
        """Commit every write that waits; when that fails, each on its own."""
        writes = [self._writes.popleft() for _ in range(len(self._writes))]
        if not self._committed(writes) and len(writes) > 1:
            for write in writes:
                self._committed([write])
        for write in writes:
            write.over = True

    def _committed(self, writes: list[_Write]) -> bool:
        """Whether these writes could be committed together; else each has the failure."""
        failure: BaseException | None = None
        try:
            self._commit(writes)
        except BaseException as error:
            failure = error
        for write in writes:
            write.failure = failure
        return failure is None

    def _commit(self, writes: list[_Write]) -> None:
        if self._link is None:
            self._link = self.lend(self.engine)
        with _transaction(self._link, "BEGIN IMMEDIATE"):
            for write in writes:
                write.result = self._inside(write.work, self._link)

    def appear(self) -> None:
        """No other process serves from this file."""

    def departed(self, server: ColumnElement[int | None]) -> ColumnElement[bool]:
        return server.is_distinct_from(self.server)

    def lock(self, link: Link, statement: Select[Any], values: Mapping[str, Any]) -> None:
        """A write here holds the whole file."""

    def alone(self, number: int) -> AbstractContextManager[None]:
        return nullcontext()

    def _hold_schema(self, connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def close(self) -> None:
        with self._writer:
            if self._link:
                self._link.close()
            # A call that was left behind opens it again, to keep its outcome.
            self._link = None
        while self._readers:
            self._readers.pop().close()
        super().close()

    def prepare(self) -> None:
        self.path.touch(mode=0o600)
        super().prepare()

    def complaint(self, error: DatabaseError) -> str:
        if isinstance(error, OperationalError):
            return f"the data base {self.name} cannot be written: {error.orig}"
        return f"the data base {self.name} is damaged ({error.orig}); restore it from your backup"


def _prepare_file(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 must not begin transactions by itself
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
    _into_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _into_wal(cursor: sqlite3.Cursor) -> None:
    """A new file is changed over by whoever comes first; SQLite lets nobody wait for that (seen 2026-11-26)."""
    deadline = time.monotonic() + _PATIENCE_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


class _PostgreSQL(Database):
    """Shared by any number of processes. A lock that outlives a transaction belongs to a session, so its holder keeps a
    connection of a small pool of its own; a pooler between must not change sessions under it.
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
            self._locks = _connects(parts, _LOCKS + 1, _LOCK_SECONDS, options=f"-c lock_timeout={_LOCK_SECONDS}s")
        except ModuleNotFoundError:
            raise StoreError("this needs psycopg; in a clone of bitmm: pip install '.[server,postgres]'") from None
        super().__init__()
        #: Holds the lock that says that this process lives; it ends with the process.
        self._presence: Link | None = None

    def _write(self, work: Callable[[Link], T]) -> T:
        with self._lent() as link, _transaction(link, "BEGIN"):
            return self._inside(work, link)

    def appear(self) -> None:
        if self._presence:
            try:
                self._presence.value(_ALIVE)
            except UNUSABLE:
                self._presence.close()
                self._presence = None
            else:
                return
        link = self.lend(self._locks)
        try:
            link.value(_LOCK, {"number": self.server})
        except BaseException:
            link.close()
            raise
        self._presence = link

    def departed(self, server: ColumnElement[int | None]) -> ColumnElement[bool]:
        return server.not_in(_ALIVE)

    def lock(self, link: Link, statement: Select[Any], values: Mapping[str, Any]) -> None:
        link.value(statement, values)

    @contextmanager
    def alone(self, number: int) -> Iterator[None]:
        try:
            link = self.lend(self._locks)
        except PoolTimeoutError:
            raise TimeoutError from None
        with closing(link):
            try:
                link.value(_LOCK, {"number": number})
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                    raise TimeoutError from None
                raise
            try:
                yield
            finally:
                _unlock(link, number)

    def _hold_schema(self, connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")
        connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))

    def close(self) -> None:
        if self._presence:
            # Others must see at once that we are gone; PostgreSQL takes a while to notice a closed connection.
            _unlock(self._presence, self.server)
            self._presence.end()
            self._presence.close()
        self._locks.dispose()
        super().close()

    def complaint(self, error: DatabaseError) -> str:
        return f"the data base {self.name} cannot be used: {words(error)}"


_URL = "XWRAP_DATABASE_URL must be like postgresql+psycopg://user:password@host/database"


_NUMBER = bindparam("number", type_=BigInteger)
_LOCK, _UNLOCK = select(func.pg_advisory_lock(_NUMBER)), select(func.pg_advisory_unlock(_NUMBER))


def _connects(url: URL, connections: int, wait: float, **options: str) -> Engine:
    """A connection that broke meanwhile is noticed before it is used; a silent server is given up after 10 s."""
    engine = create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=wait,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": 5, "tcp_user_timeout": 10_000, "application_name": "xwrap", **options},
    )
    event.listen(engine, "connect", _prepare_session)
    return engine


def _prepare_session(connection: Any, _record: object) -> None:
    connection.autocommit = True  # psycopg must not begin transactions by itself


def _unlock(link: Link, number: int) -> None:
    """A session that cannot be told to unlock is ended; its locks end with it."""
    try:
        link.value(_UNLOCK, {"number": number})
    except DatabaseError:
        link.end()
