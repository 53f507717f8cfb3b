"""Statements of a transaction on PostgreSQL, sent without a round trip for each.

libpq has a pipeline mode for that (PostgreSQL documentation, "Pipeline Mode", since version 14): statements are sent
together when the answer of the last one is needed. What needs no answer, BEGIN, savepoints and `StatementRunner.later`,
so costs no round trip, and COMMIT none beside that of what came last.

Nothing is sent before: while PostgreSQL waits for the rest of a pipeline, the time-out that ends the transaction of a
process which stands still does not count (seen with 17, 2026-11-28).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection

from .base import Database, Statement, StatementRunner
from .compiled import CompiledStatement
from .errors import StoreError

__all__ = ["PipelinedRunner"]

#: What is raised where a transaction cannot even be undone: its connection is gone, and with it the transaction.
_GONE = (DBAPIError, StoreError)


class PipelinedRunner(StatementRunner):
    """A connection that runs statements in pipeline mode within a transaction, and one by one outside of it.

    The error of a statement whose answer nobody needs is raised by the next one that is answered, or by the commit.
    """

    def __init__(self, database: Database, connection: PoolProxiedConnection) -> None:
        super().__init__(database, connection)
        self._driver: Any = connection.dbapi_connection
        #: The pipeline of the transaction that is open.
        self._pipeline: AbstractContextManager[Any] | None = None
        self._sync: Callable[[], None] = lambda: None
        self._cursors = [self._cursor]
        #: The statements whose answers were not read yet, with their values; those are for the first cursors.
        self._sent: list[tuple[str, Mapping[str, Any] | None]] = []

    @contextmanager
    def transaction(self, begin: str = "BEGIN") -> Iterator[None]:
        try:
            self._pipeline = self._driver.pipeline()
            self._sync = self._pipeline.__enter__().sync
        except self._database.error as error:
            raise self._failed(begin, error) from error
        try:
            self._send(begin)
            yield
        except BaseException:
            with suppress(*_GONE):
                self._finish("ROLLBACK")
            raise
        self._finish("COMMIT")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        self._send("SAVEPOINT nested")
        try:
            yield
        except BaseException:
            with suppress(*_GONE):
                # A statement before that failed would have PostgreSQL skip these.
                self._wait()
            with suppress(*_GONE):
                # Going back to a savepoint does not end it, and the next one outward has the same name.
                self._send("ROLLBACK TO nested")
                self._send("RELEASE nested")
            raise
        self._send("RELEASE nested")

    def later(self, statement: Statement, values: Mapping[str, Any]) -> None:
        if self._pipeline is None:
            super().later(statement, values)
        else:
            self._send_compiled(self._database.compiled(statement, values), values)

    def change_each(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._pipeline is None:
            super().change_each(statement, rows)
        else:
            for row in rows:
                self.later(statement, row)

    def rows_of_each(self, *asked: tuple[Statement, Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
        if self._pipeline is None:
            return super().rows_of_each(*asked)
        sent = []
        for statement, values in asked:
            compiled = self._database.compiled(statement, values)
            sent.append((compiled, self._send_compiled(compiled, values)))
        self._wait()
        return [compiled.rows(self._cursors[place].fetchall()) for compiled, place in sent]

    def command(self, text: str) -> None:
        if self._pipeline is None:
            super().command(text)
        else:
            self._send(text)
            self._wait()

    def _execute(self, compiled: CompiledStatement, values: Mapping[str, Any]) -> None:
        if self._pipeline is None:
            super()._execute(compiled, values)
        else:
            place = self._send_compiled(compiled, values)
            self._wait()
            self._cursor = self._cursors[place]

    def _send_compiled(self, compiled: CompiledStatement, values: Mapping[str, Any]) -> int:
        return self._send(compiled.text, {**compiled.constants, **values})

    def _send(self, text: str, values: Mapping[str, Any] | None = None) -> int:
        """Keep a statement for `_wait`, and return the place of the cursor that has its answer then."""
        self._sent.append((text, values))
        return len(self._sent) - 1

    def _wait(self) -> None:
        """Send what is kept, and wait until it is answered, in one round trip."""
        try:
            self._send_kept()
            self._sync()
        except self._database.error as error:
            raise self._pipeline_failed(error) from error
        self._sent.clear()

    def _send_kept(self) -> None:
        for place, (text, values) in enumerate(self._sent):
            if place == len(self._cursors):
                self._cursors.append(self._driver.cursor())
            self._cursors[place].execute(text, values)

    def _finish(self, command: str) -> None:
        """Send the command that ends the transaction, and leave the pipeline, in one round trip."""
        failure: Exception | None = None
        self._send(command)
        try:
            self._send_kept()
        except self._database.error as error:
            # It may be that of one which was sent before.
            failure = self._pipeline_failed(error)
        try:
            if self._pipeline is not None:
                self._pipeline.__exit__(None, None, None)
        except self._database.error as error:
            failure = failure or self._failed(self._text_of_failure(), error)
        self._pipeline = None
        self._sent.clear()
        if failure is not None:
            with suppress(*_GONE):
                # The command was skipped when it was a statement before it that failed.
                self.command("ROLLBACK")
            raise failure

    def _text_of_failure(self) -> str:
        """Return the statement whose answer was an error: PostgreSQL skips those that were sent after it."""
        sent = zip(self._cursors, self._sent, strict=False)
        return next((text for cursor, (text, _values) in sent if cursor.pgresult is None), "")

    def _pipeline_failed(self, error: Exception) -> Exception:
        """Return the exception for the driver's, after the answers were read of all that was skipped."""
        failed = self._failed(self._text_of_failure(), error)
        self._sent.clear()
        while not self._driver.closed:
            try:
                self._sync()
                break
            except self._database.error:
                # Each one that was skipped is an error of its own.
                continue
        return failed
