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

from .base import UNUSABLE, Database, StatementRunner, StoreError, driver_message

__all__ = ["PostgreSQL"]


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


class PostgreSQL(Database):
    """Shared by any number of processes. A lock that outlives a transaction belongs to a session, so its holder keeps a
    connection of a small pool of its own; a pooler between must not change sessions under it.
    """

    current_time = cast(extract("epoch", func.clock_timestamp()), Double)

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
        self._presence: StatementRunner | None = None

    @contextmanager
    def _transaction(self) -> Iterator[StatementRunner]:
        with self._lent() as runner, runner.transaction(), self._joined(runner):
            yield runner

    def heartbeat(self) -> None:
        if self._presence:
            try:
                self._presence.value(_ALIVE)
            except UNUSABLE:
                self._presence.close()
                self._presence = None
            else:
                return
        runner = self.lend(self._locks)
        try:
            runner.value(_LOCK, {"number": self.server})
        except BaseException:
            runner.close()
            raise
        self._presence = runner

    def is_dead(self, server: ColumnElement[int | None]) -> ColumnElement[bool]:
        return server.not_in(_ALIVE)

    def lock(self, runner: StatementRunner, statement: Select[Any], values: Mapping[str, Any]) -> None:
        runner.value(statement, values)

    @contextmanager
    def advisory_lock(self, number: int) -> Iterator[None]:
        try:
            runner = self.lend(self._locks)
        except PoolTimeoutError:
            raise TimeoutError from None
        with closing(runner):
            try:
                runner.value(_LOCK, {"number": number})
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                    raise TimeoutError from None
                raise
            try:
                yield
            finally:
                _unlock(runner, number)

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

    def describe_error(self, error: DatabaseError) -> str:
        return f"the data base {self.name} cannot be used: {driver_message(error)}"


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


def _unlock(runner: StatementRunner, number: int) -> None:
    """A session that cannot be told to unlock is ended; its locks end with it."""
    try:
        runner.value(_UNLOCK, {"number": number})
    except DatabaseError:
        runner.end()
