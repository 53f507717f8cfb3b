"""Rounds of work in threads of their own."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import OperationalError

from bitmm.xwrap.server.rounds import Rounds
from tests.support.threads import until


def test_a_data_base_that_cannot_be_used_is_one_line_in_the_log_and_the_next_round_follows(caplog):
    done = []

    def work():
        done.append(1)
        if len(done) == 1:
            raise OperationalError("UPDATE secret", {}, sqlite3.OperationalError("database or disk is full"))

    rounds = Rounds("test", {"work": work}, lambda: 0.01)
    rounds.start()
    until(lambda: len(done) > 1)
    rounds.stop()
    [line] = caplog.records
    assert line.getMessage() == "a round of the test failed: database or disk is full; the next one follows"
    assert line.exc_info is None
