"""Which statements of the data base a test has run."""

from __future__ import annotations

import threading

from bitmm.xwrap.server.db.statements import _NONE, StatementRunner


def statements_of_this_thread(monkeypatch):
    """Return a list that gets each statement of the data base that this thread runs from now on."""
    statements, run, this = [], StatementRunner._run, threading.get_ident()

    def note(runner, statement, values):
        if threading.get_ident() == this:
            statements.append(statement)
        return run(runner, statement, values)

    monkeypatch.setattr(StatementRunner, "_run", note)
    return statements


def rows_read_by_this_thread(monkeypatch):
    """Return a list that gets how many rows each statement returns that this thread runs from now on."""
    counts, read, this = [], StatementRunner.rows, threading.get_ident()

    def note(runner, statement, values=_NONE):
        found = read(runner, statement, values)
        if threading.get_ident() == this:
            counts.append(len(found))
        return found

    monkeypatch.setattr(StatementRunner, "rows", note)
    return counts
