"""A connection on which the driver itself runs statements: SQLAlchemy's own takes ten times as long as SQLite does.

An order has a dozen of them (measured 2026-11-26).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from typing import Any, Protocol

from sqlalchemy import Engine, Insert, Table, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection

from .compiled import CompiledStatement, Statement
from .errors import StoreError
from .state_file import IntentRef

__all__ = ["Statement", "StatementRunner"]

#: The values of a statement that has none.
_NONE: Mapping[str, Any] = {}


class Owner(Protocol):
    """What a runner needs of its data base; `base.Database` has it."""

    engine: Engine
    #: The base of what its driver raises.
    error: type[Any]

    def compiled(self, statement: Statement, values: Mapping[str, Any]) -> CompiledStatement:
        """Return a statement as the driver takes it."""

    def translated(self, error: Exception, text: str | None = None) -> Exception:
        """Return what is raised for an error of the driver at the statement `text`."""


class StatementRunner:
    """A connection on which the driver itself runs statements of SQLAlchemy Core; the module's docstring says why.

    A row is a dict. Raises SQLAlchemy's exceptions.
    """

    def __init__(self, database: Owner, connection: PoolProxiedConnection) -> None:
        self._database = database
        self._connection = connection
        #: Has the answer of the last statement.
        self._cursor: Any = self._new_cursor()
        #: The intents of the transaction that is open.
        self.intents: list[IntentRef] = []
        #: An order is changed in it.
        self.changes_orders = False

    def _new_cursor(self) -> Any:
        return self._connection.cursor()

    def rows(self, statement: Statement, values: Mapping[str, Any] = _NONE) -> list[dict[str, Any]]:
        """Return every row."""
        return self._run(statement, values).rows(self._cursor.fetchall())

    def rows_of_each(self, *asked: tuple[Statement, Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
        """Return the rows of each of these statements with its values, of which none needs another's answer."""
        return [self.rows(statement, values) for statement, values in asked]

    def first(self, statement: Statement, values: Mapping[str, Any] = _NONE) -> dict[str, Any] | None:
        """Return the first row; None when there is none."""
        return next(iter(self.rows(statement, values)), None)

    def value(self, statement: Statement, values: Mapping[str, Any] = _NONE) -> Any:
        """Return the first column of the first row; None when there is no row."""
        self._run(statement, values)
        row = self._cursor.fetchone()
        return None if row is None else row[0]

    def change(self, statement: Statement, values: Mapping[str, Any]) -> int:
        """Write, and return how many rows it met."""
        self._run(statement, values)
        return int(self._cursor.rowcount)

    def later(self, statement: Statement, values: Mapping[str, Any]) -> None:
        """Run a statement whose answer nobody needs, before the next one. What it raises may be raised by a later one
        of its transaction, or by the commit.
        """
        self._run(statement, values)

    def change_each(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write once for each of `rows`, which all have the same names. It raises as `later`."""
        if not rows:
            return
        compiled = self._database.compiled(statement, rows[0])
        try:
            self._cursor.executemany(compiled.text, [{**compiled.constants, **row} for row in rows])
        except self._database.error as error:
            raise self._failed(compiled.text, error) from error

    def insert(self, table: Table, values: Mapping[str, Any]) -> int:
        """Add a row and return its id."""
        self._run(_insert_returning_id(table), values)
        [(id,)] = self._cursor.fetchall()
        return int(id)

    def command(self, text: str) -> None:
        """Run a command of the data base's own."""
        try:
            self._cursor.execute(text)
        except self._database.error as error:
            raise self._failed(text, error) from error

    def transaction(self, begin: str = "BEGIN") -> AbstractContextManager[None]:
        """Commit what the block writes when it ends; undo it when it raises."""
        return self._within(begin, "COMMIT", ("ROLLBACK",))

    def savepoint(self) -> AbstractContextManager[None]:
        """Make the block a part of the transaction that is undone alone when it raises."""
        # Going back to a savepoint does not end it, and the next one outward has the same name.
        return self._within("SAVEPOINT nested", "RELEASE nested", ("ROLLBACK TO nested", "RELEASE nested"))

    @contextmanager
    def _within(self, begin: str, end: str, undo: Sequence[str]) -> Iterator[None]:
        self.command(begin)
        try:
            yield
            self.command(end)
        except BaseException:
            # SQLite may have rolled back by itself, and a connection may be gone.
            with suppress(DBAPIError, StoreError):
                for command in undo:
                    self.command(command)
            raise

    @property
    def info(self) -> dict[Any, Any]:
        """Return what is noted of the connection itself, as long as it is open."""
        return self._connection.info

    def invalidate(self) -> None:
        """Close the connection itself, and with it its session: it does not go back into the pool."""
        if self._connection.is_valid:
            self._connection.invalidate()

    def close(self) -> None:
        """Give the connection back to the pool."""
        self._connection.close()

    def _run(self, statement: Statement, values: Mapping[str, Any]) -> CompiledStatement:
        compiled = self._database.compiled(statement, values)
        self._execute(compiled, values)
        return compiled

    def _execute(self, compiled: CompiledStatement, values: Mapping[str, Any]) -> None:
        """Run a statement, whose answer is that of the cursor then."""
        try:
            self._cursor.execute(compiled.text, {**compiled.constants, **values})
        except self._database.error as error:
            raise self._failed(compiled.text, error) from error

    def _failed(self, text: str, error: Any) -> Exception:
        """Return the exception for the driver's. A broken connection does not go back into the pool."""
        # SQLAlchemy cannot ask a connection that was given up: its ROLLBACK has failed, too.
        if self._connection.is_valid and self._database.engine.dialect.is_disconnect(
            error, self._connection, self._cursor
        ):
            self.invalidate()
        return self._database.translated(error, text)


@cache
def _insert_returning_id(table: Table) -> Insert:
    return insert(table).returning(table.c.id)
