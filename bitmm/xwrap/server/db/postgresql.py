"""PostgreSQL, shared by any number of server processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
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
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .base import Database, StatementRunner
from .errors import UNUSABLE, StoreError, driver_message

__all__ = ["PostgreSQL"]

_URL_FORMAT = "XWRAP_DATABASE_URL must be like postgresql+psycopg://user:password@host/database"
#: Seconds to wait for a lock that spans all processes.
_LOCK_SECONDS = 2
#: Connections of one process to PostgreSQL, which allows 100 of all processes by default; and those that hold locks.
_CONNECTIONS, _LOCKS = 16, 8
_LOCK_ID = bindparam("lock_id", type_=BigInteger)
_LOCK, _UNLOCK = select(func.pg_advisory_lock(_LOCK_ID)), select(func.pg_advisory_unlock(_LOCK_ID))
#: The `server_id` of every process that lives: each holds the advisory lock with this id (PostgreSQL documentation,
#: "pg_locks").
_LIVE_SERVERS = text(
    "SELECT (classid::bigint << 32) | objid::bigint AS server_id FROM pg_locks WHERE locktype = 'advisory'"
    " AND objsubid = 1 AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
).columns(column("server_id", BigInteger))
#: Held by the one process that creates or migrates the tables.
_SCHEMA_LOCK = 0x787772617031
#: PostgreSQL documentation, appendix A "Error Codes": lock_not_available; data_corrupted and index_corrupted.
_LOCK_NOT_AVAILABLE, _DAMAGE = "55P03", {"XX001", "XX002"}


class PostgreSQL(Database):
    """A data base for any number of server processes.

    A lock that outlives a transaction belongs to a session, so its holder keeps a connection from a small pool for
    locks; a connection pooler in between must not change the session.
    """

    is_shared = True
    current_time = cast(extract("epoch", func.clock_timestamp()), Double)

    def __init__(self, url: str) -> None:
        try:
            parts = make_url(url)
        except ArgumentError:
            raise StoreError(_URL_FORMAT) from None
        if parts.drivername not in {"postgresql", "postgresql+psycopg"}:
            raise StoreError(_URL_FORMAT)
        parts = parts.set(drivername="postgresql+psycopg")
        self.name = f"{parts.database or ''} at {parts.host or parts.query.get('host') or 'the local PostgreSQL'}"
        try:
            self.engine = _create_engine(parts, _CONNECTIONS, 10)
            self._locks = _create_engine(parts, _LOCKS + 1, _LOCK_SECONDS, options=f"-c lock_timeout={_LOCK_SECONDS}s")
        except ModuleNotFoundError:
            raise StoreError("this needs psycopg; in a clone of bitmm: pip install '.[server,postgres]'") from None
        super().__init__()
        #: Holds the lock on `server_id`, which shows that this process lives and ends with it.
        self._presence: StatementRunner | None = None

    @contextmanager
    def _transaction(self) -> Iterator[StatementRunner]:
        with self._checkout() as runner:
            with self._begin(runner):
                yield runner
            self._after_commit(runner)

    def heartbeat(self) -> None:
        if self._presence:
            try:
                self._presence.value(_LIVE_SERVERS)
            except UNUSABLE:
                self._presence.close()
                self._presence = None
            else:
                return
        runner = self.connect(self._locks)
        try:
            runner.value(_LOCK, {"lock_id": self.server_id})
        except BaseException:
            runner.close()
            raise
        self._presence = runner

    def is_dead(self, server: ColumnElement[int | None]) -> ColumnElement[bool]:
        return server.not_in(_LIVE_SERVERS)

    def lock_rows(self, runner: StatementRunner, statement: Select[Any], values: Mapping[str, Any]) -> None:
        runner.value(statement, values)

    @contextmanager
    def advisory_lock(self, lock_id: int) -> Iterator[None]:
        try:
            runner = self.connect(self._locks)
        except PoolTimeoutError:
            raise TimeoutError from None
        with closing(runner):
            try:
                runner.value(_LOCK, {"lock_id": lock_id})
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                    raise TimeoutError from None
                raise
            try:
                yield
            finally:
                _unlock(runner, lock_id)

    def _lock_schema(self, connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")
        connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))

    def close(self) -> None:
        if self._presence:
            # Others must see at once that we are gone; PostgreSQL takes a while to notice a closed connection.
            _unlock(self._presence, self.server_id)
            self._presence.invalidate()
            self._presence.close()
        self._locks.dispose()
        super().close()

    def is_damage(self, error: Exception) -> bool:
        return getattr(error, "sqlstate", None) in _DAMAGE

    def describe_error(self, error: DatabaseError) -> str:
        return f"the data base {self.name} cannot be used: {driver_message(error)}"


def _create_engine(url: URL, connections: int, wait: float, **options: str) -> Engine:
    """Return a pool whose connections are tested before they are used, and given up when PostgreSQL is silent for 10 s.

    `wait`: seconds to wait for a free connection. `options`: more of psycopg's.
    """
    engine = create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=wait,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": 5, "tcp_user_timeout": 10_000, "application_name": "xwrap", **options},
    )
    event.listen(engine, "connect", _configure_session)
    return engine


def _configure_session(connection: Any, _record: object) -> None:
    connection.autocommit = True  # psycopg must not begin transactions by itself


def _unlock(runner: StatementRunner, lock_id: int) -> None:
    """Release a lock; where that fails, end the session, whose locks end with it."""
    try:
        runner.value(_UNLOCK, {"lock_id": lock_id})
    except DatabaseError:
        runner.invalidate()
