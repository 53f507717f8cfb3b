"""An order on paper is one commit: its intent, what was executed and its outcome are there together, or none of it."""

from __future__ import annotations

import sqlite3
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
import requests
from sqlalchemy.exc import OperationalError

from bitmm.xwrap.server.db.base import Database
from bitmm.xwrap.server.db.state_file import StateFile
from bitmm.xwrap.server.db.statements import StatementRunner
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.logged import logged
from tests.support.threads import until

ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.1"}
TOO_MUCH = ORDER | {"amount": "1000000"}
FAILED = OperationalError("", None, Exception("the connection is gone"))
#: The tables of the paper exchange to which an order that is executed adds rows.
PAPER_TABLES = ("paper_orders", "paper_fills", "paper_entries")


class Bench:
    """A registration on paper, and the calls of its owner."""

    def __init__(self, server, exchange="paper", **form):
        self.server = server
        self.auth = server.account()
        self.id = server.registration(self.auth, exchange, **form)

    def buy(self, form=ORDER, key="k1"):
        url, headers = f"{self.server.url}/exchanges/{self.id}/buy", {"Idempotency-Key": key}
        return requests.post(url, data=form, headers=headers, auth=self.auth, timeout=60)

    def by_key(self, key="k1"):
        url = f"{self.server.url}/exchanges/{self.id}/orders/"
        return requests.get(url, params={"key": key}, auth=self.auth, timeout=30)

    def counts(self, *tables):
        return [self.server.sql(f"SELECT count(*) FROM {table}")[0][0] for table in tables]


@pytest.fixture
def bench(serving):
    with serving() as server:
        yield Bench(server)


@pytest.fixture
def end_of_commit(monkeypatch):
    """Let the one commit that comes next and names an intent fail: before it is made, or after it was."""

    def fail(when):
        begin, failed = Database._begin, []

        @contextmanager
        def failing(self, runner, *commands):
            with begin(self, runner, *commands):
                yield runner
                is_named = bool(runner.intents) and not failed
                if is_named:
                    failed.append(1)
                    if when == "before":
                        raise FAILED
            if is_named:
                raise FAILED

        monkeypatch.setattr(Database, "_begin", failing)

    return fail


def test_an_order_whose_commit_came_through_without_an_answer_is_told_as_what_it_is(bench, end_of_commit):
    end_of_commit("after")
    answer = bench.buy()
    assert (answer.status_code, answer.json()["status"]) == (200, "filled")
    assert bench.counts("orders", "paper_orders") == [1, 1]
    assert bench.buy().content == answer.content


def test_an_order_whose_commit_failed_is_no_failure_before_that_is_certain_and_its_key_places_it(bench, end_of_commit):
    end_of_commit("before")
    answer = bench.buy()
    assert (answer.status_code, answer.json()["may_have_executed"]) == (500, True)
    assert bench.by_key().json()["code"] == "no_such_key"
    assert bench.counts("orders", *PAPER_TABLES, "placed", "audit_log WHERE what = 'order.buy'") == [0, 0, 0, 0, 0, 0]
    assert bench.buy().json()["status"] == "filled"
    assert bench.counts("orders", "paper_orders") == [1, 1]


def test_an_order_that_the_state_file_does_not_name_is_there_and_its_key_says_so(bench, monkeypatch):
    with monkeypatch.context() as patch:

        def fail(_self, _intents):
            raise OSError("no space")

        patch.setattr(StateFile, "add", fail)
        answer = bench.buy()
        assert (answer.status_code, answer.json()["may_have_executed"]) == (500, True)
    assert bench.by_key().json()["status"] == "filled"
    assert bench.buy().json()["status"] == "filled"
    assert bench.counts("paper_orders") == [1]


def test_a_data_base_that_fails_before_the_commit_is_said_to_have_executed_nothing(bench, monkeypatch):
    insert = StatementRunner.insert

    def fail(self, table, values):
        if table.name == "paper_orders":
            raise FAILED
        return insert(self, table, values)

    with monkeypatch.context() as patch:
        patch.setattr(StatementRunner, "insert", fail)
        answer = bench.buy()
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert bench.counts("orders", *PAPER_TABLES, "placed") == [0, 0, 0, 0, 0]
    assert bench.buy().json()["status"] == "filled"


def test_what_is_refused_is_a_row_with_its_reason_and_leaves_no_trace_in_the_ledger(bench):
    refused = bench.buy(TOO_MUCH)
    assert (refused.status_code, refused.json()["code"]) == (422, "insufficient_funds")
    assert bench.server.sql("SELECT status, reason IS NOT NULL FROM orders") == [("rejected", True)]
    assert bench.counts(*PAPER_TABLES, "placed", "audit_log WHERE what = 'order.buy'") == [0, 0, 0, 1, 1]
    assert bench.buy(TOO_MUCH).content == refused.content


def test_64_calls_with_one_key_at_the_same_time_are_one_order(bench):
    start = threading.Barrier(64)

    def buy(_number):
        start.wait()
        return bench.buy()

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(buy, range(64)))
    done = [answer for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} <= {200, 503}  # busy: nothing was sent
    assert done
    assert len({answer.content for answer in done}) == 1
    assert len([answer for answer in done if "Idempotent-Replayed" not in answer.headers]) == 1
    assert bench.counts("orders", "paper_orders", "paper_fills") == [1, 1, 1]


def test_orders_that_are_committed_together_count_one_by_one_for_a_quota(serving):
    """One that is refused makes the others of its commit run once more."""
    with serving(order_quota=5) as server:
        bench = Bench(server)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda number: bench.buy(key=f"k{number}"), range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 3
        assert bench.counts("orders", "paper_orders", "paper_fills") == [5, 5, 5]
        assert server.sql("SELECT sum(begun) FROM placed") == [(5,)]


def test_the_log_never_says_of_an_order_on_paper_that_it_was_not_sent_yet(bench):
    with logged() as log:
        bench.buy()
    lines = [entry["message"] for entry in log.entries]
    assert [line for line in lines if "is filled" in line]
    assert not [line for line in lines if "not sent yet" in line]


def commits(file):
    """Return how many commits the write-ahead log of a SQLite file has: the frames that name the size of the file."""
    log = file.with_name(f"{file.name}-wal").read_bytes()
    size, salt = struct.unpack(">I", log[8:12])[0], log[16:24]
    frames = [log[start : start + 24] for start in range(32, len(log), 24 + size)]
    return sum(frame[8:16] == salt and frame[4:8] != bytes(4) for frame in frames)


def commits_of(file, call):
    """Return how many commits a call makes; one that is made beside it, by the clock, does not come every time."""
    found = []
    for _ in range(3):
        before = commits(file)
        call()
        found.append(commits(file) - before)
    return min(found)


@pytest.fixture
def emptied():
    """Empty the write-ahead log of a file, so that no frame of before is left in it."""

    def empty(file):
        def is_empty():
            with closing(sqlite3.connect(file)) as connection:
                return connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0

        until(is_empty)

    return empty


def test_an_order_on_paper_is_one_commit_and_one_at_an_exchange_has_its_intent_before(serving, emptied, tmp_path):
    with (
        KrakenVenue() as venue,
        serving(
            database_url=tmp_path / "xwrap.sqlite3",
            data=tmp_path,
            exchanges=("paper", "kraken"),
            exchange_urls={"kraken": venue.url},
        ) as server,
    ):
        paper, kraken = Bench(server), Bench(server, "kraken", apikey=venue.key, apisecret=venue.secret)
        numbers = iter(range(100))
        euros = {"currency": "EUR", "asset": "BTC", "amount": "0.01"}
        paper.buy(key="first")
        kraken.buy(euros, key="first")
        file = tmp_path / "xwrap.sqlite3"
        emptied(file)
        paper.buy(key="second")
        assert commits_of(file, lambda: paper.buy(key=f"p{next(numbers)}")) == 1
        assert commits_of(file, lambda: paper.buy(TOO_MUCH, key=f"p{next(numbers)}")) == 1
        # The intent, the nonce of the request, the outcome; a market order is read with one more request, which is
        # counted.
        assert commits_of(file, lambda: kraken.buy(euros | {"price": "100"}, key=f"k{next(numbers)}")) == 3
        assert commits_of(file, lambda: kraken.buy(euros, key=f"k{next(numbers)}")) == 5
