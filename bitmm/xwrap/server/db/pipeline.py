"""Statements of a transaction on PostgreSQL, sent without a round trip for each.

libpq has a pipeline mode for that (PostgreSQL documentation, "Pipeline Mode", since version 14): statements are sent
together when the answer of the last one is needed. What needs no answer, BEGIN, savepoints and `StatementRunner.later`,
so costs no round trip, and COMMIT none beside that of what came last.

Nothing is sent before: while PostgreSQL waits for the rest of a pipeline, the time-out that ends the transaction of a
process which stands still does not count (seen with 17, 2026-11-28).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from sqlalchemy.exc import DBAPIError

from .compiled import CompiledStatement
from .errors import StoreError
from .prepared import PreparedSession, Result
from .statements import Statement, StatementRunner

__all__ = ["PipelinedRunner"]

#: What is raised where a transaction cannot even be undone: its connection is gone, and with it the transaction.
_GONE = (DBAPIError, StoreError)


class PipelinedRunner(StatementRunner):
    """A connection that sends the statements of a transaction in as few pieces as it can, and others one by one.

    The error of a statement whose answer nobody needs is raised by the next one that is answered, or by the commit.
    """

    _session: PreparedSession
    _in_transaction = False

    def _new_cursor(self) -> None:
        # What is prepared belongs to the connection, which others had before.
        if (session := self.info.get("session")) is None:
            driver: Any = self._connection.dbapi_connection
            session = self.info["session"] = PreparedSession(driver)
        self._session = session

    @contextmanager
    def transaction(self, begin: str = "BEGIN") -> Iterator[None]:
        with self._in_use():
            self._in_transaction = True
            self._session.add_command(begin)
            try:
                yield
                self._session.add_command("COMMIT")
                self._run_all()
            except BaseException:
                self._undo()
                raise
            finally:
                self._in_transaction = False

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        try:
            self._session.begin()
        except self._database.error as error:
            raise self._failed("", error) from error
        try:
            yield
        finally:
            self._session.finish()

    def _undo(self) -> None:
        self._session.clear()
        with suppress(*_GONE):
            if self._session.in_transaction:
                self._session.add_command("ROLLBACK")
                self._run_all()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        self._session.add_command("SAVEPOINT nested")
        try:
            yield
        except BaseException:
            with suppress(*_GONE):
                # A statement before that failed would have PostgreSQL skip these.
                self._run_all()
            with suppress(*_GONE):
                # Going back to a savepoint does not end it, and the next one outward has the same name.
                self._session.add_command("ROLLBACK TO nested")
                self._session.add_command("RELEASE nested")
                self._run_all()
            raise
        self._session.add_command("RELEASE nested")

    def later(self, statement: Statement, values: Mapping[str, Any]) -> None:
        if self._in_transaction:
            self._add(self._database.compiled(statement, values), values)
        else:
            super().later(statement, values)

    def change_each(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            self.later(statement, row)

    def rows_of_each(self, *asked: tuple[Statement, Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
        if not self._in_transaction:
            return super().rows_of_each(*asked)
        sent = []
        for statement, values in asked:
            compiled = self._database.compiled(statement, values)
            sent.append((compiled, self._add(compiled, values)))
        answers = self._run_all()
        return [compiled.rows(answers[place].fetchall()) for compiled, place in sent]

    def command(self, text: str) -> None:
        with nullcontext() if self._in_transaction else self._in_use():
            self._session.add_command(text)
            self._run_all()

    def _execute(self, compiled: CompiledStatement, values: Mapping[str, Any]) -> None:
        with nullcontext() if self._in_transaction else self._in_use():
            self._add(compiled, values)
            self._cursor = self._run_all()[-1]

    def _add(self, compiled: CompiledStatement, values: Mapping[str, Any]) -> int:
        """Keep a statement, and return the place of its answer among those of the next `_run_all`."""
        try:
            return self._session.add(compiled, values)
        except self._database.error as error:
            raise self._failed(compiled.text, error) from error

    def _run_all(self) -> list[Result]:
        """Send what is kept, and return the answers, in one round trip."""
        try:
            return self._session.run()
        except self._database.error as error:
            raise self._failed(self._session.failed, error) from error
