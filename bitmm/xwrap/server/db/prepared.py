"""Statements of one session of PostgreSQL: each is prepared once, and many are sent in one piece.

PostgreSQL takes 2.5 times as long to parse and plan the statements of an order as to execute them (17, measured
2026-11-28), and a prepared one is parsed once and as a rule planned five times. psycopg's own pipeline writes each
statement to the socket by itself, which wakes the session at PostgreSQL each time; so this uses what psycopg offers of
libpq (its documentation, "pq - libpq wrapper module"; PostgreSQL documentation, "Pipeline Mode").
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ExecStatus, TransactionStatus

from .compiled import CompiledStatement

__all__ = ["PreparedSession", "Result"]

#: A session keeps so many prepared statements, which take some 20 KiB each there; others are prepared each time.
_MOST_PREPARED = 400
#: PostgreSQL documentation, appendix A: a plan does not fit the tables any more (feature_not_supported), or somebody
#: has removed the prepared statement (invalid_sql_statement_name). A new session has neither.
_STALE = {"0A000", "26000"}


class _Sent(NamedTuple):
    """A statement with its values as PostgreSQL takes them."""

    text: str
    values: Sequence[Any]


class Result:
    """What PostgreSQL answered to a statement, as a cursor has it."""

    def __init__(self, transformer: Any, result: Any) -> None:
        self._transformer, self._result = transformer, result

    @property
    def rowcount(self) -> int:
        """Return how many rows the statement met."""
        return int(self._result.command_tuples or 0)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return every row."""
        self._transformer.set_pgresult(self._result)
        rows: list[tuple[Any, ...]] = self._transformer.load_rows(0, self._result.ntuples, tuple)
        return rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the first row; None when there is none."""
        return next(iter(self.fetchall()), None)


class PreparedSession:
    """A connection of psycopg on which statements are sent with `add` and `run`, between `begin` and `finish`.

    Raises psycopg's errors.
    """

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection, self._libpq = connection, connection.pgconn
        self._transformer: Any = Transformer(connection)
        #: The names of prepared statements, by their texts.
        self._names: dict[str, bytes] = {}
        #: A pooler that is refused (`PostgreSQL.check`) may give us a session in which another one has prepared some.
        self._prefix, self._numbers = secrets.token_hex(4), count()
        #: What `run` sends.
        self._sent: list[_Sent] = []
        #: All that was sent is answered, so that what comes next is the answer of what is sent next.
        self._is_answered = True
        #: The text of the statement that failed last.
        self.failed = ""

    @property
    def in_transaction(self) -> bool:
        """Return whether a transaction is open, or it is not known."""
        return self._libpq.transaction_status != TransactionStatus.IDLE

    def begin(self) -> None:
        """Begin to use the connection."""
        self._sent.clear()
        self._libpq.enter_pipeline_mode()

    def finish(self) -> None:
        """Let the connection be used in other ways."""
        if not self._connection.closed:
            self._libpq.exit_pipeline_mode()

    def add(self, compiled: CompiledStatement, values: Mapping[str, Any]) -> int:
        """Keep a statement for the next `run`, and return the place of its answer among those."""
        given = {**compiled.constants, **values}
        ordered = [given[name] for name in compiled.order]
        self.failed = compiled.text
        return self._add(compiled.text, self._transformer.dump_sequence(ordered, [PyFormat.TEXT] * len(ordered)))

    def add_command(self, text: str) -> int:
        """Keep a command, as `add` does."""
        return self._add(text, [])

    def _add(self, text: str, values: Sequence[Any]) -> int:
        self._sent.append(_Sent(text, values))
        return len(self._sent) - 1

    def clear(self) -> None:
        """Keep nothing for the next `run`."""
        self._sent.clear()

    def run(self) -> list[Result]:
        """Send what was kept, and return the answers, in one round trip. Nothing is sent before.

        PostgreSQL skips what comes after a statement that fails, and that one's error is raised here.
        """
        sent, self._sent = self._sent, []
        self.failed = sent[0].text if sent else ""
        self._is_answered = False
        try:
            added = [self._send(one) for one in sent]
            self._libpq.pipeline_sync()
            results = self._connection.wait(self._receive(sent, added))
        except BaseException as error:
            if not self._is_answered or getattr(error, "sqlstate", None) in _STALE:
                self._connection.close()
            raise
        return [Result(self._transformer, result) for result in results]

    def _send(self, one: _Sent) -> bool:
        """Give libpq a statement, and return whether it is prepared now."""
        name = self._names.get(one.text)
        if is_new := name is None:
            name = b"" if len(self._names) >= _MOST_PREPARED else f"{self._prefix}_{next(self._numbers)}".encode()
            self._libpq.send_prepare(name, one.text.encode())
            if name:
                self._names[one.text] = name
        self._libpq.send_query_prepared(name, one.values)
        return is_new

    def _receive(self, sent: Sequence[_Sent], added: Sequence[bool]) -> Generator[Any, Any, list[Any]]:
        """Send what libpq was given, and return the answers of PostgreSQL, as `Connection.wait` takes it."""
        results, failure = [], None
        yield from send(self._libpq)
        for one, is_new in zip(sent, added, strict=True):
            for is_preparing in (True, False) if is_new else (False,):
                [result] = yield from fetch_many(self._libpq)
                is_done = result.status in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}
                if is_preparing and not is_done:
                    self._names.pop(one.text, None)
                if failure is None and not is_done:
                    self.failed = one.text
                    failure = error_from_result(result, encoding=self._connection.info.encoding)
                if not is_preparing:
                    results.append(result)
        yield from fetch_many(self._libpq)  # that of the end
        self._is_answered = True
        if failure is not None:
            raise failure
        return results
