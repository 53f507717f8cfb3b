"""Market orders that were answered while they were open become what they are at their exchange."""

from __future__ import annotations

import inspect
import time
from decimal import Decimal
from types import SimpleNamespace
from typing import ClassVar

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.client import Backend
from bitmm.xwrap.exchanges.base import RateLimit
from bitmm.xwrap.exchanges.errors import Busy, Refused
from bitmm.xwrap.exchanges.models import OrderState
from bitmm.xwrap.server import follower as follower_module
from bitmm.xwrap.server.db.own_rows import OwnRows
from bitmm.xwrap.server.execution import ExecutionService
from bitmm.xwrap.server.follower import Follower
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.statements import statements_of_this_thread
from tests.support.stub import Stub

ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.1"}


class Shown(Stub):
    """Shows orders by its ids; `states` is what it shows, or raises. `read` are the ids of each question."""

    id = "stub"
    states: ClassVar = {}
    read: ClassVar[list[list[str]]] = []

    def order(self, ref):
        raise Refused("one at a time", code="order_not_found")

    def read_orders(self, refs):
        self.read.append([ref.exchange_order_id for ref in refs])
        if isinstance(type(self).states, Exception):
            raise type(self).states
        return {id: state for id, state in type(self).states.items() if id in self.read[-1]}


class Bench:
    """A server with a registration at `Shown`, its follower, and the time that passes for it."""

    def __init__(self, server, follower):
        self.server, self.follower, self.seconds, self.auth = server, follower, 1000.0, server.account()
        self.id = server.registration(self.auth, "stub")
        #: The registrations whose changes somebody waits for.
        self.awaited = set()
        follower._awaited = lambda: set(self.awaited)

    def post(self, key, **more):
        url = f"{self.server.url}/exchanges/{self.id}/buy"
        headers = {"Idempotency-Key": key}
        answer = requests.post(url, data=ORDER | more, headers=headers, auth=self.auth, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()["status"]

    def pass_time(self, seconds):
        """Do a round in each second; return in which of them the exchange was asked."""
        asked = []
        for second in range(seconds):
            before = len(Shown.read)
            self.follower.follow("stub")
            asked += [second] * (len(Shown.read) - before)
            self.seconds += 1
        return asked

    def statuses(self):
        return [status for (status,) in self.server.sql("SELECT status FROM orders ORDER BY id")]


def final(number, status="filled"):
    return OrderState(f"X{number}", status, filled=Decimal("0.1"))


@pytest.fixture
def bench(serving, monkeypatch):
    monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.server.test_follower:Shown")
    numbers = iter(range(1, 1000))
    monkeypatch.setattr(Shown, "act", staticmethod(lambda _: OrderState(f"X{next(numbers)}", "open")))
    monkeypatch.setattr(Shown, "states", {})
    monkeypatch.setattr(Shown, "read", [])
    made = []
    monkeypatch.setattr(Follower, "start", lambda follower: made.append(follower))  # noqa: PLW0108 - must be bound
    monkeypatch.setattr(Follower, "stop", lambda _: None)
    with serving(exchanges=("stub",)) as server:
        bench = Bench(server, made[0])
        monkeypatch.setattr(follower_module, "time", SimpleNamespace(monotonic=lambda: bench.seconds))
        yield bench


def test_many_open_market_orders_are_read_with_one_question_and_their_keys_answer_what_they_are(bench):
    for number in range(1, 31):
        assert bench.post(f"k{number}") == "open"
    Shown.states = {f"X{number}": final(number) for number in range(1, 31)}
    bench.pass_time(2)
    assert Shown.read == [[f"X{number}" for number in range(1, 31)]]
    assert bench.statuses() == ["filled"] * 30
    assert {bench.post(f"k{number}") for number in range(1, 31)} == {"filled"}
    assert bench.pass_time(5) == [], "nothing is left to ask"
    assert bench.follower._paces == {"stub": {}}


def test_a_limit_order_rests_and_is_not_followed(bench):
    bench.post("k1", price="10")
    assert bench.pass_time(100) == []


def test_an_order_that_waits_for_its_stop_rests_and_is_read_while_somebody_waits(bench, monkeypatch):
    monkeypatch.setattr(Shown, "order_conditions", frozenset({"stop"}))
    bench.post("k1", stop="10")
    assert bench.pass_time(100) == []
    bench.awaited.add(bench.id)
    Shown.states = {"X1": final(1)}
    assert len(bench.pass_time(15)) == 1
    assert bench.statuses() == ["filled"]


def test_limit_orders_are_read_while_somebody_waits_for_their_changes(bench):
    """And often enough that he is not told minutes later."""
    bench.post("k1", price="10")
    Shown.states = {"X1": OrderState("X1", "open")}
    bench.awaited.add(bench.id)
    assert bench.pass_time(62) == [1, 3, 7, 15, 30, 45, 60]
    assert bench.statuses() == ["open"]
    Shown.states = {"X1": final(1)}
    bench.pass_time(15)
    assert bench.statuses() == ["filled"]
    bench.post("k2", price="10")
    bench.awaited.clear()
    assert bench.pass_time(100) == [], "nobody waits any more"


@pytest.fixture
def reporting(bench):
    """The same where notices report what becomes of every order."""
    bench.follower._reports = True
    return bench


def test_for_the_notices_limit_orders_are_read_and_new_ones_cost_no_more_questions(reporting):
    reporting.post("k1", price="10")
    Shown.states = {f"X{number}": OrderState(f"X{number}", "open") for number in range(1, 100)}
    assert reporting.pass_time(151) == [30, 90, 150]
    asked = []
    for number in range(2, 62):
        reporting.post(f"k{number}", price="10")
        asked += reporting.pass_time(1)
    assert len(asked) == 1, "a bot that places orders all the time has the limit of its key for itself"
    Shown.states["X1"] = final(1)
    reporting.pass_time(61)
    assert reporting.statuses()[0] == "filled"


def test_for_the_notices_a_market_order_is_still_read_at_once_and_who_waits_is_told_at_once(reporting):
    reporting.post("k1", price="10")
    Shown.states = {"X1": OrderState("X1", "open"), "X2": OrderState("X2", "open")}
    assert reporting.pass_time(35) == [30]
    reporting.post("k2")
    assert reporting.pass_time(8) == [1, 3, 7]
    Shown.states["X2"] = final(2)
    reporting.pass_time(8)
    assert reporting.statuses() == ["open", "filled"]
    reporting.pass_time(100)
    reporting.awaited.add(reporting.id)
    assert reporting.pass_time(31) == [1, 3, 7, 15, 30]
    reporting.awaited.clear()
    assert len(reporting.pass_time(300)) in {5, 6}


def test_what_stays_open_is_asked_about_less_and_less_often(bench):
    bench.post("k1")
    Shown.states = {"X1": OrderState("X1", "open")}
    asked = bench.pass_time(1200)
    assert asked == [1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111]
    assert bench.statuses() == ["open"]


def test_a_new_order_ends_a_long_pause(bench):
    bench.post("k1")
    bench.pass_time(200)
    bench.post("k2")
    assert bench.pass_time(3) == [1]
    assert Shown.read[-1] == ["X2", "X1"], "the one that was not asked about for longer comes first"


def test_the_exchange_is_left_alone_for_as_long_as_it_says(bench):
    bench.post("k1")
    Shown.states = Busy("slow down", retry_after=20)
    assert bench.pass_time(42) == [1, 21, 41]


@pytest.mark.parametrize(
    "states",
    [
        {},
        {"X1": OrderState("X1", "unknown")},
        Refused("down", code="exchange_unavailable", retryable=True),
        TypeError("a fault of the adapter"),
    ],
)
def test_an_order_that_cannot_be_read_stays_as_it_is(bench, states):
    bench.post("k1")
    Shown.states = states
    assert bench.pass_time(10) == [1, 3, 7]
    assert bench.statuses() == ["open"]


def test_an_order_that_another_server_placed_is_left_to_that_one_for_some_seconds(bench, monkeypatch):
    monkeypatch.setattr(type(bench.follower._journal._database), "is_shared", True)
    bench.post("k1")
    bench.follower._journal._own = OwnRows(shared=True)
    assert bench.pass_time(16) == []
    assert bench.pass_time(17)


def test_at_most_fifty_orders_are_read_at_once_and_each_has_its_turn(bench):
    for number in range(1, 61):
        bench.post(f"k{number}")
    bench.pass_time(4)
    assert [len(ids) for ids in Shown.read] == [50, 50]
    assert set(Shown.read[0]) | set(Shown.read[1]) == {f"X{number}" for number in range(1, 61)}


def test_one_query_finds_the_exchanges_that_have_orders_to_follow(bench, monkeypatch):
    """Without any order, with one that rests and is waited for, with a market order; and of all where notices are."""
    begun, statements = [], statements_of_this_thread(monkeypatch)
    monkeypatch.setattr(bench.follower.rounds, "begin", begun.append)

    def look():
        statements.clear()
        bench.follower.look()
        assert len(statements) == 1

    look()
    assert bench.post("k1", price="1") == "open"
    look()
    bench.awaited = {bench.id}
    look()
    bench.awaited = set()
    bench.follower._reports = True
    look()
    bench.follower._reports = False
    look()
    bench.post("k2")
    look()
    assert begun == [set(), set(), {"stub"}, {"stub"}, set(), {"stub"}]


def test_order_execution_is_not_among_the_followers_tools():
    source = inspect.getsource(follower_module)
    assert ".place(" not in source
    assert ".withdraw(" not in source
    assert ".cancel" not in source
    assert ExecutionService.__name__ not in vars(follower_module)


def test_thirty_market_buys_in_a_row_all_answer_filled_soon_afterwards(serving):
    """At the default limits of Kraken, with time passing three times faster: the counter is full after some of them."""
    with KrakenVenue() as venue:
        venue.counter_max, venue.counter_decay, venue.closing_reads = 15, 1.0, 1
        settings = {"exchange_limits": {"kraken": RateLimit(14, 1.0)}, "queue_seconds": 0.2, "reconcile_seconds": 0.3}
        with serving(exchanges=("kraken",), exchange_urls={"kraken": venue.url}, **settings) as server:
            auth = server.account()
            id = server.registration(auth, "kraken", apikey=venue.key, apisecret=venue.secret)
            backend = Backend(id, *auth, server.url)
            first = {backend.buy("EUR", "BTC", "0.001", key=f"k{number}")["status"] for number in range(30)}
            assert "open" in first, "the limit was not reached, so nothing is shown"
            deadline = time.monotonic() + 60
            while server.sql("SELECT count(*) FROM orders WHERE status <> 'filled'") != [(0,)]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert {backend.buy("EUR", "BTC", "0.001", key=f"k{number}")["status"] for number in range(30)} == {
                "filled"
            }
            assert len(venue.ledger()) == 30
