"""PostgreSQL, shared by any number of server processes."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    Engine,
    Select,
    Table,
    bindparam,
    cast,
    column,
    create_engine,
    event,
    extract,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .base import Database
from .errors import UNUSABLE, StoreError, driver_message
from .idle_connections import watch_idle
from .statements import StatementRunner

__all__ = ["PostgreSQL"]

T = TypeVar("T")

_URL_FORMAT = "XWRAP_DATABASE_URL must be like postgresql+psycopg://user:password@host/database"
#: Seconds to wait for a lock that spans all processes.
_LOCK_SECONDS = 2
#: Connections of one process to PostgreSQL, which allows 100 of all processes by default; and those that hold locks.
_CONNECTIONS, _LOCKS = 16, 8
#: Of those for calls so few are enough for a process; and how many are left to commands and backups.
_FEWEST_CONNECTIONS, _LEFT = 8, 7
_ALLOWED = text(
    "SELECT least((SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user),"
    " (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()),"
    " current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true)::int, 0)) AS allowed"
).columns(column("allowed"))
_LOCK_ID = bindparam("lock_id", type_=BigInteger)
#: PostgreSQL 14 ends a session that is silent for too long while it holds a lock: its process stands still.
_WITH_TIMEOUT = (
    "SELECT {}(:lock_id), CASE WHEN current_setting('server_version_num')::int >= 140000"
    " THEN set_config('idle_session_timeout', :timeout, false) END"
)
_LOCK, _UNLOCK = (
    text(_WITH_TIMEOUT.format(name)).columns(column("done"), column("timeout"))
    for name in ("pg_advisory_lock", "pg_advisory_unlock")
)
_TRY_LOCK = select(func.pg_try_advisory_lock(_LOCK_ID))
_FSYNC = select(func.current_setting("fsync"))
_SESSION_ID = select(func.pg_backend_pid())
#: The `server_id` of every process that lives: each holds the advisory lock with this id (PostgreSQL documentation,
#: "pg_locks").
_LIVE_SERVERS = text(
    "SELECT (classid::bigint << 32) | objid::bigint AS server_id FROM pg_locks WHERE locktype = 'advisory'"
    " AND objsubid = 1 AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
).columns(column("server_id", BigInteger))
#: What a process holds that stands still, or whose machine is gone, is free again after some seconds: the rows of its
#: transaction, and on PostgreSQL 13 its locks (documentation, "Client Connection Defaults", "Connection Settings").
_SESSION_SETTINGS = {
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    # What the code and libpq's form of bytes rely on; a data base, a role or postgresql.conf may have it otherwise
    # (there, and "Version and Platform Compatibility"). A number is read with the digits with which it was written.
    "default_transaction_isolation": "read committed",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
}
#: A statement that waits for a row fails after so long, and its write begins again. When a process stands still while
#: others of its statements wait, each of them would get the row after the one before, and keep it for the ten seconds
#: above. So this is less than half of those: first it may wait to be the next one, and then for the row.
_ROW_TIMEOUT = "3s"
#: Seconds for which a write begins again, at least: longer than a process that stands still keeps a row.
_ROW_PATIENCE = 20.0
#: Where an administrator has set it to off, a crash of PostgreSQL takes back the last commits, also of orders that were
#: sent. Its other values keep them (documentation, "Write Ahead Log", synchronous_commit).
_KEEP_COMMITS = (
    "set_config('synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on'), false)"
)
#: What the pool keeps of a connection: its PostgreSQL was seen to have our newest commits.
_CHECKED = "checked"
#: Held by the one process that creates or migrates the tables.
_SCHEMA_LOCK = 0x787772617031
#: PostgreSQL documentation, appendix A "Error Codes": lock_not_available; data_corrupted and index_corrupted.
_LOCK_NOT_AVAILABLE, _DAMAGE = "55P03", {"XX001", "XX002"}
#: There: invalid_sql_statement_name, of a prepared statement that the session does not have.
_NOT_PREPARED = "26000"


class PostgreSQL(Database):
    """A data base for any number of server processes.

    A lock that outlives a transaction belongs to a session, so its holder keeps a connection from a small pool for
    locks; a connection pooler in between must not change the session.
    """

    is_shared = True
    current_time = cast(extract("epoch", func.clock_timestamp()), Double)

    def __init__(self, url: str, call_seconds: float, *, read_only: bool = False) -> None:
        """`read_only`: every write fails."""
        try:
            parts = make_url(url)
        except ArgumentError:
            raise StoreError(_URL_FORMAT) from None
        if parts.drivername not in {"postgresql", "postgresql+psycopg"}:
            raise StoreError(_URL_FORMAT)
        parts = parts.set(drivername="postgresql+psycopg")
        self.name = f"{parts.database or ''} at {parts.host or parts.query.get('host') or 'the local PostgreSQL'}"
        try:
            more = {"default_transaction_read_only": "on"} if read_only else {}
            more["lock_timeout"] = _ROW_TIMEOUT
            self._engine_of: Callable[[int], Engine] = lambda size: _create_engine(parts, size, 10, **more)
            self.engine = self._engine_of(_CONNECTIONS)
            self._locks = _create_engine(parts, _LOCKS + 1, _LOCK_SECONDS, lock_timeout=f"{_LOCK_SECONDS}s")
        except ModuleNotFoundError:
            raise StoreError("this needs psycopg; in a clone of bitmm: pip install '.[server,postgres]'") from None
        super().__init__()
        if self.engine.dialect.loaded_dbapi.Pipeline.is_supported():  # libpq 14
            from .pipeline import PipelinedRunner  # needs psycopg

            self.runner = PipelinedRunner
            # libpq takes values by their numbers.
            dialect: Any = type(self.engine.dialect)
            self.dialect = dialect(paramstyle="numeric_dollar")
        #: A lock is held during a request to an exchange, and no call sends one after `call_seconds`. So a session that
        #: is silent for longer belongs to a process that stands still, and that sends nothing when it goes on.
        self._timeout_seconds = call_seconds + 1.0
        #: Holds the lock on `server_id`, which shows that this process lives and ends with it.
        self._presence: StatementRunner | None = None
        #: When it was last used, which makes that of PostgreSQL's time-out begin anew.
        self._heard = 0.0
        self._presence_lock = threading.Lock()

    @contextmanager
    def _checkout(self) -> Iterator[StatementRunner]:
        with super()._checkout() as runner:
            if self.check_commits is not None and _CHECKED not in runner.info:
                with self._begin(runner):
                    self.check_commits()
                runner.info[_CHECKED] = True
            yield runner

    def write(self, work: Callable[[StatementRunner], T]) -> T:
        write = super().write
        return write(work) if self.is_writing else _until_rows_are_free(lambda: write(work))

    def write_one(self, work: Callable[[StatementRunner], T]) -> T:
        if self.is_writing:
            return super().write_one(work)

        def write() -> T:
            self._show_life()
            with self._checkout() as runner:
                return work(runner)

        return _until_rows_are_free(write)

    def _show_life(self) -> None:
        if self._presence is not None and time.monotonic() > self._heard + self._timeout_seconds:
            # This process stood still. The others take it for dead, and would ask what became of a new order at once.
            self.heartbeat()

    @contextmanager
    def _transaction(self) -> Iterator[StatementRunner]:
        self._show_life()
        with self._checkout() as runner:
            with self._begin(runner):
                yield runner
            self._after_commit(runner)

    def heartbeat(self) -> None:
        with self._presence_lock:
            if self._presence is not None:
                try:
                    self._presence.value(_LIVE_SERVERS)
                except UNUSABLE:
                    self._presence.close()
                    self._presence = None
            if self._presence is None:
                self._presence = self._take_presence_lock()
            self._heard = time.monotonic()

    def _take_presence_lock(self) -> StatementRunner:
        """Return the connection that shows to others that this process lives."""
        runner = self.connect(self._locks)
        try:
            self._lock(runner, self.server_id)
        except BaseException:
            runner.close()
            raise
        return runner

    def is_dead(self, server: ColumnElement[int | None]) -> ColumnElement[bool]:
        return server.not_in(_LIVE_SERVERS)

    def lock_rows(self, runner: StatementRunner, statement: Select[Any], values: Mapping[str, Any]) -> None:
        runner.later(statement, values)

    @contextmanager
    def advisory_lock(self, lock_id: int, seconds: float) -> Iterator[None]:
        end = time.monotonic() + seconds
        try:
            runner = self.connect(self._locks)
        except PoolTimeoutError:
            raise TimeoutError("too many calls of this server wait for other servers") from None
        with closing(runner):
            while not self._try_lock(runner, lock_id):
                if time.monotonic() >= end:
                    raise TimeoutError("another server process holds this exchange key")
            try:
                yield
            finally:
                _unlock(runner, lock_id)

    def _try_lock(self, runner: StatementRunner, lock_id: int) -> bool:
        """Wait for a lock as long as `lock_timeout` allows, and return whether it was taken."""
        try:
            self._lock(runner, lock_id)
        except OperationalError as error:
            if not _is_lock_timeout(error):
                raise
            return False
        return True

    def _lock(self, runner: StatementRunner, lock_id: int) -> None:
        runner.value(_LOCK, {"lock_id": lock_id, "timeout": f"{round(self._timeout_seconds * 1000)}ms"})

    def check(self) -> None:
        try:
            with closing(self.connect(self._locks)) as one, closing(self.connect(self._locks)) as other:
                is_shared = _is_one_session(one, other)
        except (DatabaseError, PoolTimeoutError) as error:
            raise StoreError(f"the data base {self.name} cannot be used: {driver_message(error)}") from None
        if is_shared:
            raise StoreError(
                f"a connection pooler in front of the data base {self.name} gives one session to several connections; "
                "set it to session mode (pool_mode = session), or connect without it"
            )

    def outlives_power_failure(self) -> bool:
        with self.reading() as runner:
            return bool(runner.value(_FSYNC) == "on")

    def share_connections(self, processes: int) -> None:
        with closing(self.connect(self._locks)) as runner:
            allowed: int = runner.value(_ALLOWED)
        of_each = (allowed - _LEFT) // processes - _LOCKS - 1
        if of_each < _FEWEST_CONNECTIONS:
            needed = processes * (_FEWEST_CONNECTIONS + _LOCKS + 1) + _LEFT
            raise StoreError(
                f"{processes} workers need {needed} connections to PostgreSQL, which allows {allowed} here; take fewer "
                f"workers, or raise max_connections in postgresql.conf by {needed - allowed} (or the limit of the role)"
            )
        if of_each < _CONNECTIONS:
            self.engine.dispose()
            self.engine = self._engine_of(of_each)

    def _lock_schema(self, connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")
        # However long another process migrates.
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))

    def close(self) -> None:
        if self._presence:
            # Others must see at once that we are gone; PostgreSQL takes a while to notice a closed connection.
            _unlock(self._presence, self.server_id)
            self._presence.invalidate()
            self._presence.close()
        self._locks.dispose()
        super().close()

    @staticmethod
    def insert(table: Table) -> Any:
        # Here, because a start on SQLite loads this module, and has no use for the dialect.
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)

    def is_damage(self, error: Exception) -> bool:
        return getattr(error, "sqlstate", None) in _DAMAGE

    def describe_error(self, error: DatabaseError) -> str:
        return f"the data base {self.name} cannot be used: {driver_message(error)}"


def _until_rows_are_free(write: Callable[[], T]) -> T:
    """Return what `write` returns; it is run again as long as it waited in vain for a row, and wrote nothing."""
    end = time.monotonic() + _ROW_PATIENCE
    while True:
        try:
            return write()
        except OperationalError as error:
            if not _is_lock_timeout(error) or time.monotonic() >= end:
                raise


def _is_lock_timeout(error: OperationalError) -> bool:
    return getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def _is_one_session(one: StatementRunner, other: StatementRunner) -> bool:
    """Return whether a pooler in transaction mode is in between.

    It gives each transaction the session that is free: then the lock of one connection is also that of another, or a
    connection changes its session. Several times, because it may have several sessions.
    """
    lock_id = secrets.randbits(62)
    mine = one.value(_SESSION_ID)
    one.value(_TRY_LOCK, {"lock_id": lock_id})
    try:
        return any(other.value(_TRY_LOCK, {"lock_id": lock_id}) or one.value(_SESSION_ID) != mine for _ in range(5))
    except DatabaseError as error:
        if getattr(error.orig, "sqlstate", None) != _NOT_PREPARED:
            raise
        return True
    finally:
        _unlock(one, lock_id)


def _create_engine(url: URL, connections: int, wait: float, **settings: str) -> Engine:
    """Return a pool whose connections are given up when PostgreSQL is silent for 10 s; see `idle_connections`, too.

    `wait`: seconds to wait for a free connection. `settings`: more of PostgreSQL's, for these sessions.
    """
    engine = create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=wait,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={
            "application_name": "xwrap",
            "client_encoding": "utf8",
            "connect_timeout": 5,
            "tcp_user_timeout": 10_000,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            # `PreparedSession` prepares statements, and psycopg need not.
            "prepare_threshold": None,
        },
    )
    watch_idle(engine)
    event.listen(engine, "connect", partial(_configure_session, {**_SESSION_SETTINGS, **settings}))
    return engine


def _configure_session(settings: Mapping[str, str], connection: Any, _record: object) -> None:
    connection.autocommit = True  # psycopg must not begin transactions by itself
    # Not as an option of the connection: poolers refuse those, or leave them out.
    calls = ", ".join([_KEEP_COMMITS, *(f"set_config('{name}', '{value}', false)" for name, value in settings.items())])
    # A pooler may give us a session in which another connection has prepared statements, that nobody will use again.
    answer = connection.execute(f"SELECT current_setting('server_encoding'), {calls}; DEALLOCATE ALL")
    if (encoding := answer.fetchone()[0]) != "UTF8":
        name = connection.info.dbname
        connection.close()
        raise StoreError(
            f"the data base {name} has the encoding {encoding}, which does not keep every text; make one with UTF8: "
            f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0"
        )


def _unlock(runner: StatementRunner, lock_id: int) -> None:
    """Release a lock; where that fails, end the session, whose locks end with it."""
    try:
        runner.value(_UNLOCK, {"lock_id": lock_id, "timeout": "0"})
    except DatabaseError:
        runner.invalidate()
