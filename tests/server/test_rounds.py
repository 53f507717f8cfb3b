"""Rounds of work in threads of their own."""

from __future__ import annotations

import sqlite3
import threading

import pytest
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


@pytest.fixture
def asked():
    """Rounds of a look that finds nothing by itself, with an occasional piece for each of some exchanges."""
    gate, done = threading.Event(), []

    def hang():
        done.append("silent")
        assert gate.wait(60)

    work = {name: lambda name=name: done.append(name) for name in ("kraken", "bitstamp")} | {"silent": hang}
    rounds = Rounds("test", {"look": lambda: None}, lambda: 60.0, work)
    rounds.gate, rounds.done = gate, done
    yield rounds
    gate.set()
    rounds.stop()


def threads_of(rounds):
    return {thread.name for thread in threading.enumerate() if thread.name.startswith(f"xwrap-{rounds.name}-")}


def test_what_has_nothing_to_do_has_no_thread(asked):
    asked.start()
    asked.begin([])
    assert threads_of(asked) == {"xwrap-test-look"}
    assert asked.done == []


def test_a_piece_that_does_not_end_delays_no_other_and_has_one_thread(asked):
    for _ in range(3):
        asked.begin(["silent", "kraken", "an exchange that is not offered"])
        until(lambda: threads_of(asked) == {"xwrap-test-silent"})
    assert sorted(asked.done) == ["kraken"] * 3 + ["silent"]
    assert asked.counts["kraken"].rounds == 3
    assert asked.counts["bitstamp"].rounds == 0


def test_a_piece_that_has_nothing_to_do_any_more_has_one_more_round_to_see_that(asked):
    for found in (["kraken"], [], []):
        asked.begin(found)
        until(lambda: not threads_of(asked))
    assert asked.done == ["kraken", "kraken"]


def test_where_the_system_gives_no_thread_a_round_is_done_all_the_same(asked, monkeypatch, caplog):
    def start(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    asked.begin(["kraken", "bitstamp"])
    assert asked.done == ["bitstamp", "kraken"]
    assert "has no thread of its own" in caplog.text
    monkeypatch.undo()


def test_nothing_is_begun_once_the_rounds_are_to_end(asked):
    asked.stop()
    asked.begin(["kraken"])
    assert asked.done == []
