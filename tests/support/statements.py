"""Which statements of the data base a test has run."""

from __future__ import annotations

import threading

from bitmm.xwrap.server.db import base


def statements_of_this_thread(monkeypatch):
    """Return a list that gets each statement of the data base that this thread runs from now on."""
    statements, run, this = [], base.StatementRunner._run, threading.get_ident()

    def note(runner, statement, values):
        if threading.get_ident() == this:
            statements.append(statement)
        return run(runner, statement, values)

    monkeypatch.setattr(base.StatementRunner, "_run", note)
    return statements


def rows_read_by_this_thread(monkeypatch):
    """Return a list that gets how many rows each statement returns that this thread runs from now on."""
    counts, read, this = [], base.StatementRunner.rows, threading.get_ident()

    def note(runner, statement, values=base._NONE):
        found = read(runner, statement, values)
        if threading.get_ident() == this:
            counts.append(len(found))
        return found

    monkeypatch.setattr(base.StatementRunner, "rows", note)
    return counts
