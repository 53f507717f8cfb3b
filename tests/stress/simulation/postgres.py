"""A real PostgreSQL below simulated servers: its sessions belong to processes, and its waits are virtual.

psycopg waits for the network in one place, `Connection.wait`. There a task lets others run before each statement, and
after each commit, so that transactions of two servers interleave statement by statement. Where PostgreSQL itself makes
a statement wait for a lock of another session (it is asked: pg_blocking_pids), the task waits on the virtual clock
until the lock is free. PostgreSQL's time-outs are real seconds, too long to come here; they are read from the sessions
and kept on the virtual clock: lock_timeout, idle_session_timeout, idle_in_transaction_session_timeout.

What this leaves out: a statement takes no time while it runs; the sessions of a killed process are gone at once, also
one that waits for a lock; and the pools of connections are so large that no task waits for one.
"""

from __future__ import annotations

import select
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import psycopg
from psycopg import errors
from psycopg.pq import PipelineStatus, TransactionStatus
from sqlalchemy import Double, bindparam, make_url

from . import parts
from .scheduler import WALL_START, Ended, Process, Scheduler, Waiter

__all__ = ["PostgresServer", "Sessions"]

#: Seconds on the virtual clock that a statement takes at the most, before it is run: one of them is drawn.
_LONGEST_STATEMENT = (*(0.002,) * 9, 0.3)
#: Real seconds after which PostgreSQL is asked whether a statement waits for a lock.
_SILENCE = 0.004
#: Virtual seconds between two looks at the sessions that are silent.
_LOOKS = 1.0
#: PostgreSQL's messages (psycopg's `Wait` and `Ready`).
_READ, _WRITE = 1, 2
_BLOCKED = "SELECT pid FROM unnest(%s::int[]) AS pid WHERE cardinality(pg_blocking_pids(pid)) > 0"
_TERMINATE = "SELECT pg_terminate_backend(pid, 10000) FROM unnest(%s::int[]) AS pid"
_VIRTUAL_TIME = "virtual_time"


class PostgresServer:
    """The data bases of a worker, on a PostgreSQL that runs."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self.control = psycopg.connect(_plain(self._url), autocommit=True)

    def create(self, template: str | None = None) -> str:
        """Return the URL of a new data base, empty or a copy of the one at the URL `template`."""
        name = f"xwrap_{uuid.uuid4().hex}"
        copied = f" TEMPLATE {make_url(template).database} STRATEGY file_copy" if template else ""
        self.control.execute(f"CREATE DATABASE {name}{copied}".encode())
        return self._url.set(database=name).render_as_string(hide_password=False)

    def sessions(self, scheduler: Scheduler, rng: Random, log: Callable[[str], None]) -> Sessions:
        """Return the sessions of a seed."""
        return Sessions(self.control, scheduler, rng, log)

    def drop(self, url: str) -> None:
        self.control.execute(f"DROP DATABASE IF EXISTS {make_url(url).database} WITH (FORCE)".encode())


def _plain(url: Any) -> str:
    return str(url.set(drivername="postgresql").render_as_string(hide_password=False))


@dataclass(eq=False)
class _Session:
    """A connection of a simulated process."""

    connection: psycopg.Connection[Any]
    process: Process
    pid: int
    #: Seconds after which a statement that waits for a lock fails; 0: never.
    lock_seconds: float
    #: Seconds of silence within a transaction after which PostgreSQL ends it.
    transaction_seconds: float
    #: When its last statement ended.
    used: float
    #: It waits for a lock.
    waiter: Waiter | None = None


class Sessions:
    """The sessions of one seed's servers, and what they wait for."""

    def __init__(
        self, control: psycopg.Connection[Any], scheduler: Scheduler, rng: Random, log: Callable[[str], None]
    ) -> None:
        self._control = control
        self._scheduler, self._rng, self._log = scheduler, rng, log
        self._sessions: dict[psycopg.Connection[Any], _Session] = {}
        _current[:] = [self]
        scheduler.at(_LOOKS, self._look)

    def adopt(self, connection: psycopg.Connection[Any]) -> None:
        """Let a connection be one of the process that runs, if that is a server's."""
        task = self._scheduler.current
        if task is None or not task.process.name.startswith("server") or connection in self._sessions:
            return
        lock_seconds = _setting(connection, "lock_timeout")
        connection.pgconn.exec_(b"SET lock_timeout = 0")
        transaction_seconds = _setting(connection, "idle_in_transaction_session_timeout")
        of = connection, task.process, connection.info.backend_pid
        self._sessions[connection] = _Session(*of, lock_seconds, transaction_seconds, self._scheduler.now)

    def end(self, process: Process | None) -> None:
        """End the sessions of a process, or of all; what their transactions did is undone, their locks are free."""
        ended = [one for one in self._sessions.values() if process is None or one.process is process]
        self._terminate(ended)
        if process is not None and not process.alive:
            for session in ended:
                del self._sessions[session.connection]
                session.connection.close()

    def wait(self, connection: psycopg.Connection[Any], generator: Any) -> Any:
        """Stand in for `Connection.wait`: return what the generator of a statement returns."""
        session, task = self._sessions.get(connection), self._scheduler.current
        if session is None:
            return _drive(connection, generator, lambda: None)
        if not session.process.alive:
            raise Ended
        if task is None or task.process is not session.process:
            raise AssertionError(f"a connection of {session.process.name} is used from elsewhere")
        self._scheduler.sleep(self._rng.random() * self._rng.choice(_LONGEST_STATEMENT))
        try:
            result = _drive(connection, generator, lambda: self._wait_while_blocked(session))
        except errors.QueryCanceled as error:
            raise errors.LockNotAvailable("canceling statement due to lock timeout") from error
        finally:
            session.used = self._scheduler.now
            self._release()
        if connection.info.transaction_status is TransactionStatus.IDLE:
            self._scheduler.sleep(self._rng.random() * self._rng.choice(_LONGEST_STATEMENT))
        return result

    def _wait_while_blocked(self, session: _Session) -> None:
        """Return at once when PostgreSQL is still working, and when a statement has waited for the lock it wants."""
        if not self._blocked([session]):
            return
        session.waiter = self._scheduler.waiter()
        try:
            if not self._scheduler.wait(session.lock_seconds or None):
                session.connection.pgconn.get_cancel().cancel()
        finally:
            session.waiter = None

    def _blocked(self, sessions: list[_Session]) -> set[int]:
        return {pid for (pid,) in self._control.execute(_BLOCKED, [[session.pid for session in sessions]])}

    def _release(self) -> None:
        """Wake the tasks whose statements have their locks now; each is done when this returns, or waits again."""
        waiting = [session for session in self._sessions.values() if session.waiter is not None]
        while waiting:
            blocked = self._blocked(waiting)
            for session in waiting:
                if session.pid not in blocked and _is_readable(session.connection, _SILENCE):
                    assert session.waiter is not None
                    self._scheduler.wake(session.waiter)
                    session.waiter = None
            waiting = [one for one in waiting if one.waiter is not None and one.pid not in blocked]

    def _terminate(self, sessions: list[_Session]) -> None:
        if sessions:
            self._control.execute(_TERMINATE, [[session.pid for session in sessions]])
            for session in sessions:
                session.used = float("inf")
            self._release()

    def _look(self) -> None:
        """End the sessions that were silent for longer than they allow: their process stands still."""
        over = [session for session in self._sessions.values() if self._is_silent_for_too_long(session)]
        for session in over:
            self._log(f"PostgreSQL ends a session of {session.process.name}, which is silent")
        self._terminate(over)
        self._scheduler.at(_LOOKS, self._look)

    def _is_silent_for_too_long(self, session: _Session) -> bool:
        silent = self._scheduler.now - session.used
        connection, allowed = session.connection, 0.0
        if silent < _LOOKS or connection.closed:
            return False
        match connection.info.transaction_status:
            case TransactionStatus.IDLE if connection.info.pipeline_status is PipelineStatus.OFF:
                allowed = _setting(connection, "idle_session_timeout")
            case TransactionStatus.INTRANS:
                # Not ACTIVE: in a pipeline PostgreSQL counts no time before it has answered (measured 2026-11-28).
                allowed = session.transaction_seconds
        return 0 < allowed < silent


def _setting(connection: psycopg.Connection[Any], name: str) -> float:
    """Return one of PostgreSQL's time-outs in this session, in seconds."""
    query = f"SELECT extract(epoch FROM current_setting('{name}')::interval)"
    value = connection.pgconn.exec_(query.encode()).get_value(0, 0)
    return 0.0 if value is None else float(value)


def _is_readable(connection: psycopg.Connection[Any], seconds: float) -> bool:
    return bool(select.select([connection.fileno()], [], [], seconds)[0])


def _drive(connection: psycopg.Connection[Any], generator: Any, on_silence: Callable[[], None]) -> Any:
    """Return what a generator of psycopg returns; `on_silence` is called while PostgreSQL does not answer."""
    try:
        wanted = next(generator)
        while True:
            sockets = [connection.fileno()]
            readable, writable, _ = select.select(
                sockets if wanted & _READ else [], sockets if wanted & _WRITE else [], [], _SILENCE
            )
            if not (readable or writable):
                on_silence()
            ready = (_READ if readable else 0) | (_WRITE if writable else 0)
            wanted = generator.send(ready) if ready else wanted
    except StopIteration as end:
        return end.value
    finally:
        generator.close()


class _Constants(Mapping[str, Any]):
    """The constants of a compiled statement, with the virtual time in place of PostgreSQL's."""

    def __init__(self, constants: Mapping[str, Any]) -> None:
        self._constants = constants

    def __getitem__(self, name: str) -> Any:
        return time_now() if name == _VIRTUAL_TIME else self._constants[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._constants)

    def __len__(self) -> int:
        return len(self._constants)


#: The sessions of the seed that runs.
_current: list[Sessions] = []


def time_now() -> float:
    """Return PostgreSQL's clock, which no fault touches."""
    [sessions] = _current
    return WALL_START + sessions._scheduler.now


def install() -> None:
    """Let the servers of this process use PostgreSQL on the virtual clock."""

    def wait(self: Any, generator: Any, *_args: Any, **_options: Any) -> Any:
        return _current[0].wait(self, generator) if _current else _drive(self, generator, lambda: None)

    psycopg.Connection.wait = wait  # type: ignore[method-assign, assignment]

    show = sys.unraisablehook

    def show_unless_ended(unraisable: Any) -> None:
        """Say nothing of a pipeline of a killed process, which is left when it is thrown away."""
        if not isinstance(unraisable.exc_value, Ended):
            show(unraisable)

    sys.unraisablehook = show_unless_ended

    compile_statement = parts.base.compile_statement

    def compile_with_virtual_time(*args: Any) -> Any:
        compiled = compile_statement(*args)
        if _VIRTUAL_TIME in compiled.constants:
            compiled = compiled._replace(constants=_Constants(compiled.constants))
        return compiled

    parts.base.compile_statement = compile_with_virtual_time
    parts.postgresql.PostgreSQL.current_time = bindparam(_VIRTUAL_TIME, 0.0, type_=Double)

    begin = parts.statements.StatementRunner.__init__

    def begin_adopted(self: Any, database: Any, connection: Any) -> None:
        begin(self, database, connection)
        if _current and isinstance(connection.driver_connection, psycopg.Connection):
            _current[0].adopt(connection.driver_connection)

    parts.statements.StatementRunner.__init__ = begin_adopted
    parts.postgresql._CONNECTIONS = parts.postgresql._LOCKS = 64
