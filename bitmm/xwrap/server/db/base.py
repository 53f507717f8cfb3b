"""How the data base is read and written, whichever engine it has.

SQLAlchemy Core describes the statements, compiles each of them once, and lends the connections. The driver itself runs
them, through a `StatementRunner`.

Reads run without a transaction. A write is a function, or a block, in a short transaction; what it wrote is on the disk
when it returns, and a write within it is a part of it. No transaction is open during a request to an exchange.
"""

from __future__ import annotations

import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import Any, ClassVar, TypeVar

from sqlalchemy import ColumnElement, Connection, Dialect, Engine, Select, Table
from sqlalchemy.exc import DatabaseError, DBAPIError

from . import schema
from .compiled import CompiledStatement, Statement, compile_statement
from .errors import UNUSABLE, DamagedError, StoreError
from .state_file import StateFile
from .statements import StatementRunner

__all__ = ["Database"]

T = TypeVar("T")


class _ThreadState(threading.local):
    """What each thread has of its own: the connection of the write that it is in."""

    runner: StatementRunner | None = None


class Database(ABC):
    """One data base. `name` is fit to be shown."""

    name: str
    engine: Engine
    #: The data base's clock, in SQL: seconds since 1970.
    current_time: ColumnElement[float]
    #: More than one server process may use it at the same time.
    is_shared: ClassVar[bool]
    runner: type[StatementRunner] = StatementRunner

    def __init__(self) -> None:
        #: Tells this server process from the others on the same data base.
        self.server_id = secrets.randbits(62)
        self._compiled: dict[tuple[Statement, tuple[str, ...]], CompiledStatement] = {}
        self.dialect: Dialect = self.engine.dialect  # of what `runner` runs
        self._thread = _ThreadState()
        #: The base of what its driver raises.
        self.error: type[Any] = self.engine.dialect.loaded_dbapi.Error
        #: How often the driver said that the data base cannot be used.
        self.errors = 0
        self._errors_lock = threading.Lock()
        #: Names the intents that were committed; only a server has one.
        self.state_file: StateFile | None = None
        #: Called after each commit that changed an order, in the thread that made it; it must not fail.
        self.after_order_change: Callable[[], None] = lambda: None
        #: Called in a transaction of each connection before its first use, where another server may answer than before.
        self.check_commits: Callable[[], None] | None = None

    def reading(self) -> AbstractContextManager[StatementRunner]:
        """Return a connection for reads, without a transaction; within a write its own, which sees what it wrote."""
        return self._checkout() if self._thread.runner is None else nullcontext(self._thread.runner)

    @property
    def is_writing(self) -> bool:
        """Return whether this thread is within a write, so that what it writes is not on the disk before that ends."""
        return self._thread.runner is not None

    def _checkout(self) -> AbstractContextManager[StatementRunner]:
        return closing(self.connect(self.engine))

    def connect(self, engine: Engine) -> StatementRunner:
        """Return a connection from the pool of `engine`; the caller closes it."""
        try:
            return self.runner(self, engine.raw_connection())
        except self.error as error:
            raise self.translated(error) from error

    def translated(self, error: Exception, text: str | None = None) -> Exception:
        """Return our exception, or SQLAlchemy's, for one of the driver's at the statement `text`."""
        if self.is_damage(error):
            ours: Exception = DamagedError(self.describe_damage(str(error).partition("\n")[0]))
        else:
            # It shows no values.
            ours = DBAPIError.instance(text, None, error, self.error, hide_parameters=True)
        if isinstance(ours, UNUSABLE):
            with self._errors_lock:
                self.errors += 1
        return ours

    @staticmethod
    @abstractmethod
    def insert(table: Table) -> Any:
        """Return an INSERT that can say what is done when the row is there already (`on_conflict_do_update`)."""

    @abstractmethod
    def is_damage(self, error: Exception) -> bool:
        """Return whether the driver says by this error that what is on the disk is damaged."""

    def describe_damage(self, words: str) -> str:
        """Return in one line that the data base is damaged, and what to do."""
        return f"the data base {self.name} is damaged ({words}); restore it from your backup"

    def write(self, work: Callable[[StatementRunner], T]) -> T:
        """Return what `work` returns, run in a transaction; what was written is on the disk then.

        What `work` raises undoes all that it did, and is raised here. It may run in another thread, and it may be
        undone and run once more. Within another write this is a part of that one: undone alone, and on the disk
        together.
        """
        with self.writing() as runner:
            return work(runner)

    def write_one(self, work: Callable[[StatementRunner], T]) -> T:
        """Write as `write` does; `work` is one statement, which PostgreSQL takes for a transaction by itself."""
        return self.write(work)

    def join(self, work: Callable[[StatementRunner], T]) -> T:
        """Write as `write` does; within another write what `work` raises must undo all of that."""
        return self.write(work) if self._thread.runner is None else work(self._thread.runner)

    @contextmanager
    def writing(self) -> Iterator[StatementRunner]:
        """Run the block as a write, at once, in this thread and once only.

        So it shares no commit with the writes of other threads. Within another write it is a part of that one, as in
        `write`.
        """
        if (outer := self._thread.runner) is None:
            with self._transaction() as runner:
                yield runner
        else:
            intents = list(outer.intents)
            try:
                with outer.savepoint():
                    yield outer
            except BaseException:
                outer.intents = intents
                raise

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[StatementRunner]:
        """Run the block in a transaction that is no part of another one."""

    @contextmanager
    def _begin(self, runner: StatementRunner, command: str = "BEGIN") -> Iterator[StatementRunner]:
        """Run the block in a transaction of `runner`, to which all reads and writes of this thread belong meanwhile."""
        runner.intents = []
        runner.changes_orders = False
        with runner.transaction(command):
            self._thread.runner = runner
            try:
                yield runner
            finally:
                self._thread.runner = None

    def _after_commit(self, runner: StatementRunner) -> None:
        """Say that orders were changed, and name the intents that were just committed in the state file.

        Raises StoreError: they must not be sent.
        """
        if runner.changes_orders:
            self.after_order_change()
        if runner.intents and self.state_file is not None:
            try:
                self.state_file.add(runner.intents)
            except OSError as error:
                raise StoreError(f"{self.state_file.path} cannot be written: {error}") from error

    @abstractmethod
    def heartbeat(self) -> None:
        """Show the other processes that this one lives. Call it every few seconds: its connection may have broken."""

    def watch(self, report: Callable[[str], None]) -> None:  # noqa: B027
        """Notice from now on that the data base file is not the one that was opened; then call `report` with a line.

        From then on no intent is taken: it would be kept in a file that the next server does not open.
        """

    def share_connections(self, processes: int) -> None:
        """Open no more connections than as many processes as this may have, each. Raises StoreError for too many.

        Call it before other threads use the data base.
        """
        raise StoreError("this data base serves one process")

    def check_file(self) -> None:  # noqa: B027
        """Raise StoreError when the data base file is not the one that was opened."""

    @abstractmethod
    def check(self) -> None:
        """Raise StoreError when a file is damaged, or a pooler in between does not keep sessions apart.

        Of a file of a gigabyte it takes a second, and after a crash four.
        """

    @abstractmethod
    def is_dead(self, server: ColumnElement[int | None]) -> ColumnElement[bool]:
        """Return in SQL whether the process with this `server_id` has ended."""

    @abstractmethod
    def lock_rows(self, runner: StatementRunner, statement: Select[Any], values: Mapping[str, Any]) -> None:
        """Within a write: until it ends, every other write waits here for the same rows."""

    @abstractmethod
    def advisory_lock(self, lock_id: int, seconds: float) -> AbstractContextManager[None]:
        """Let one process at a time into the block, for each id of 64 bits, also during a request to an exchange.

        Raises TimeoutError, which says what was waited for, when that takes longer than so many seconds.
        """

    def let_others_write(self, *, is_served: bool) -> None:  # noqa: B027
        """Wait, between many writes of a command, as long as servers have to write before the next of them.

        `is_served`: a server uses the data base.
        """

    @abstractmethod
    def describe_error(self, error: DatabaseError) -> str:
        """Return what is wrong with the data base, in one line that says what to do."""

    def compiled(self, statement: Statement, values: Mapping[str, Any]) -> CompiledStatement:
        """Return the statement compiled for this data base, once; a write is of the columns that `values` names."""
        key = (statement, tuple(values))
        if (compiled := self._compiled.get(key)) is None:
            compiled = self._compiled[key] = compile_statement(statement, list(values), self.dialect)
        return compiled

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def engine_version(self) -> tuple[int, ...]:
        """Return the version of SQLite or PostgreSQL, as (17, 2)."""
        with self.reading():
            # SQLAlchemy asks for it with the first connection.
            found = self.engine.dialect.server_version_info or ()
        return tuple(part for part in found if isinstance(part, int))

    def outlives_power_failure(self) -> bool:
        """Return whether what was committed is there after the machine of the data base lost its power."""
        return True

    def revision(self) -> str | None:
        """Return the revision of the tables, which `tables.REVISION` is in this version; None: there are no tables.

        Raises StoreError when that cannot be read.
        """
        try:
            return schema.find_revision(self.engine)
        except DatabaseError as error:
            raise StoreError(self.describe_error(error)) from None

    def prepare(self) -> None:
        """Create the tables, or migrate them to this version. Raises StoreError for a newer or damaged data base."""
        try:
            schema.create_or_migrate(self.engine, self.name, self._lock_schema)
        except DatabaseError as error:
            raise StoreError(self.describe_error(error)) from None

    @abstractmethod
    def _lock_schema(self, connection: Connection) -> None:
        """Begin a transaction; until it ends no other process creates or migrates the tables."""
