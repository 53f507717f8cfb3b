"""Other rates: waited for without threads, asked for once for all who wait, and named by cursors that stay good."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.client import XWrap
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.models import Rate
from bitmm.xwrap.server import market_reads, rate_changes
from bitmm.xwrap.server.rate_changes import RateChanges
from tests.support import historic
from tests.support.stub import Stub


def wait_until(condition):
    historic.wait_until(condition)
    assert condition()


class One(Stub):
    id = "one"


class Two(Stub):
    id = "two"


class Market:
    """Two exchanges, whose prices a test sets, and a server that asks them; `asked`: the pairs of each question."""

    def __init__(self):
        self.prices = {"one": Decimal(10), "two": Decimal(20)}
        self.asked = {"one": [], "two": []}
        self.spread = Decimal(1)

    def rate(self, id, *pair):
        self.asked[id].append(pair)
        price = self.prices[id]
        if isinstance(price, threading.Event):
            assert price.wait(30)
            price = Decimal(30)
        if isinstance(price, Exception):
            raise price
        return Rate(price + self.spread, price, datetime.now(UTC))

    def start(self, server, changes):
        self.server, self.changes, self.url = server, changes, f"{server.url}/exchange_rates/"
        return self

    @property
    def waiters(self):
        return [waiter for watch in self.changes._watches.values() for waiter in watch.waiters]

    def ask(self, after="", wait=0, **query):
        given = {"from": "USD", "to": "BTC", "after": after, "wait": wait, **query}
        answer = requests.get(self.url, given, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()


def prices(answer):
    return {row["exchange"]: row["sell"] for row in answer["rates"]}


@contextmanager
def serving_two(serving, market, **settings):
    """A server that asks the market's exchanges, and what it knows of the calls that wait."""
    made, init = [], RateChanges.__init__

    def noted(changes, *given):
        made.append(changes)
        init(changes, *given)

    with pytest.MonkeyPatch.context() as patch:
        for kind in (One, Two):
            patch.setitem(exchanges.EXCHANGES, kind.id, f"tests.server.views.test_rate_changes:{kind.__name__}")
            patch.setattr(kind, "act", staticmethod(lambda *pair, id=kind.id: market.rate(id, *pair)))
        patch.setattr(RateChanges, "__init__", noted)
        patch.setattr(rate_changes, "_PAUSE", 0.02)
        patch.setattr(rate_changes, "_PAUSE_AFTER_FAILURE", 0.02)
        with serving(exchanges=("one", "two"), rate_cache_seconds=0.02, **settings) as server:
            yield market.start(server, made[0])


@pytest.fixture
def market(serving):
    with serving_two(serving, Market()) as market:
        yield market


def test_without_a_cursor_all_rates_come_at_once_and_with_it_no_old_one(market):
    first = market.ask(wait=30)
    assert prices(first) == {"one": "10", "two": "20"}
    assert market.ask(first["cursor"]) == {"rates": [], "cursor": first["cursor"]}
    market.prices["two"] = Decimal(21)
    wait_until(lambda: prices(market.ask(first["cursor"])) == {"two": "21"})


def test_a_rate_changes_with_either_of_its_prices_and_not_with_its_time(market):
    cursor = market.ask()["cursor"]
    rounds = len(market.asked["one"])
    wait_until(lambda: market.ask(cursor)["rates"] == [] and len(market.asked["one"]) > rounds)
    market.spread = Decimal("1.5")
    wait_until(lambda: prices(market.ask(cursor)) == {"one": "10", "two": "20"})


def test_a_call_waits_until_a_rate_changes_and_all_who_wait_are_one_question(market):
    cursor = market.ask()["cursor"]
    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(market.ask, cursor, 30) for _ in range(10)]
        wait_until(lambda: len(market.waiters) == 10)
        asked = len(market.asked["one"])
        rounds = len(market.asked["two"])
        wait_until(lambda: len(market.asked["two"]) >= rounds + 5)
        # Once for each time that the other one was asked, not once for each caller.
        assert len(market.asked["one"]) - asked < 20
        market.prices["one"] = Decimal(11)
        assert [prices(call.result()) for call in waiting] == [{"one": "11"}] * 10


def test_a_cursor_is_understood_after_a_restart(serving, market):
    market.prices["one"] = Decimal(9)
    cursor = market.ask()["cursor"]
    again = Market()
    again.prices = {"one": Decimal(9), "two": Decimal("20.5")}
    with serving_two(serving, again):
        assert prices(again.ask(cursor, wait=30)) == {"two": "20.5"}


def test_the_client_is_given_each_change_once_over_a_failing_exchange_and_other_calls(market):
    rates = XWrap(market.server.url).follow_rates("USD", "BTC")
    assert {(row["exchange"], row["sell"]) for row in (next(rates), next(rates))} == {("one", 10), ("two", 20)}
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(next, rates)
        wait_until(lambda: market.waiters)
        market.prices["one"] = Refused("down", code="exchange_unavailable", retryable=True)
        wait_until(lambda: "one" not in market.changes._watches["USD", "BTC"].rows)
        market.prices["one"] = Decimal(10)
        wait_until(lambda: "one" in market.changes._watches["USD", "BTC"].rows)
        assert not found.done()
        market.prices["two"] = Decimal("20.000000001")
        assert (found.result()["exchange"], found.result()["sell"]) == ("two", Decimal("20.000000001"))


def test_an_exchange_that_hangs_holds_up_no_other_one(serving):
    market = Market()
    with serving_two(serving, market, rate_seconds=0.5):
        market.ask()
        hanging = market.prices["one"] = threading.Event()
        try:
            cursor = market.ask()["cursor"]
            with ThreadPoolExecutor(1) as pool:
                call = pool.submit(market.ask, cursor, 30)
                wait_until(lambda: market.waiters)
                market.prices["two"] = Decimal(22)
                assert prices(call.result())["two"] == "22"
        finally:
            hanging.set()


def test_an_exchange_without_the_market_is_not_asked_again_and_again(market):
    market.prices["one"] = Refused("nobody trades that", code="unknown_market")
    cursor = market.ask()["cursor"]
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(market.ask, cursor, 30)
        wait_until(lambda: market.waiters)
        rounds = len(market.asked["two"])
        asked = len(market.asked["one"])
        wait_until(lambda: len(market.asked["two"]) >= rounds + 10)
        assert len(market.asked["one"]) <= asked + 1
        market.prices["two"] = Decimal(21)
        assert prices(call.result()) == {"two": "21"}


def test_a_pair_that_no_exchange_has_is_refused_and_not_waited_for(market):
    market.prices = dict.fromkeys(market.prices, Refused("nobody trades that", code="unknown_market"))
    answer = requests.get(market.url, {"from": "USD", "to": "XYZ", "after": "", "wait": "30"}, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_market")
    assert not market.changes._watches


def test_a_call_that_waits_in_vain_is_answered_and_then_nothing_is_asked_any_more(market, monkeypatch):
    monkeypatch.setattr(rate_changes, "_LINGER", 0.05)
    cursor = market.ask()["cursor"]
    assert market.ask(cursor, wait=1) == {"rates": [], "cursor": cursor}
    wait_until(lambda: not market.changes._watches)
    assert not market.changes._of_holder


def test_a_caller_that_goes_away_waits_no_longer(market):
    session = requests.Session()
    given = {"from": "USD", "to": "BTC", "after": market.ask()["cursor"], "wait": "30"}
    with pytest.raises(requests.ReadTimeout):
        session.get(market.url, params=given, timeout=0.2)
    session.close()
    wait_until(lambda: not market.waiters)


@pytest.mark.parametrize("bound", ["_most", "_most_of_holder", "_SOURCES_OF_HOLDER"])
def test_calls_that_wait_are_bounded_and_the_next_one_comes_back_later(market, monkeypatch, bound):
    monkeypatch.setattr(rate_changes if bound.isupper() else market.changes, bound, 1)
    cursor, other = market.ask()["cursor"], {"from": "EUR", "to": "BTC", "wait": "30"}
    other["after"] = market.ask(**{"from": "EUR"})["cursor"]
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(market.ask, cursor, 30)
        wait_until(lambda: market.waiters)
        refused = requests.get(market.url, other, timeout=30)
        assert (refused.status_code, refused.json()["code"], refused.headers["Retry-After"]) == (
            503,
            "server_busy",
            "1",
        )
        market.prices["one"] = Decimal(11)
        assert prices(first.result()) == {"one": "11"}


@pytest.mark.parametrize(
    "query",
    [
        {"after": "a b"},
        {"after": "ä"},
        {"after": "a" * 4097},
        {"after": "", "wait": "31"},
        {"after": "", "wait": "-1"},
        {"after": "", "amount": "1"},
        {"after": "", "side": "buy"},
        {"wait": "5"},
    ],
)
def test_a_bad_question_for_changes_is_422(server, query):
    given = {"from": "USD", "to": "BTC", **query}
    assert requests.get(f"{server.url}/exchange_rates/", given, timeout=30).status_code == 422


class Owner:
    """An account with a registration at the first of the two exchanges."""

    def __init__(self, market):
        self.market, self.auth = market, market.server.account()
        self.backend = XWrap(market.server.url).create_backend(*self.auth, "one", "", "", "")
        self.url = f"{market.server.url}/exchanges/{self.backend.id}/exchange_rate"

    def ask(self, after="", wait=0, auth=None):
        given = {"from": "USD", "to": "BTC", "after": after, "wait": wait}
        return requests.get(self.url, given, auth=auth or self.auth, timeout=60)


@pytest.fixture
def owner(market, monkeypatch):
    monkeypatch.setitem(market_reads._SECONDS, "rate of now", 0.0)
    return Owner(market)


def test_the_rate_of_a_registration_is_waited_for_and_its_exchange_alone_is_asked(owner, market):
    rates = owner.backend.follow_rate("usd", "btc")
    assert (first := next(rates)) == {**first, "exchange": "one", "buy": 11, "sell": 10}
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(next, rates)
        wait_until(lambda: market.waiters)
        market.prices["one"] = Decimal("10.25")
        assert found.result()["sell"] == Decimal("10.25")
    assert not market.asked["two"]


def test_a_registration_whose_exchange_fails_is_told_so(owner, market):
    cursor = owner.ask().json()["cursor"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(owner.ask, cursor, 1)
        wait_until(lambda: market.waiters)
        market.prices["one"] = Refused("down", code="exchange_unavailable", retryable=True)
        assert waiting.result().json() == {"rates": [], "cursor": ""}
    assert (owner.ask("", 30).status_code, owner.ask("", 30).json()["code"]) == (503, "exchange_unavailable")


@pytest.mark.parametrize("ended", ["revoked", "deleted"])
def test_what_was_revoked_while_a_call_waited_for_a_rate_is_not_told(owner, market, ended):
    login = market.server.credential(owner.auth[0], "read")
    cursor = owner.ask().json()["cursor"]
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(owner.ask, cursor, 30, login)
        wait_until(lambda: market.waiters)
        if ended == "revoked":
            url = f"{market.server.url}/credentials/bot1"
            assert requests.delete(url, auth=owner.auth, timeout=30).ok
        else:
            owner.backend.delete(force=True)
        market.prices["one"] = Decimal(11)
        assert call.result().status_code == {"revoked": 401, "deleted": 404}[ended]


def test_many_registrations_are_one_question_in_two_seconds(market):
    owners = [Owner(market) for _ in range(3)]
    asked = len(market.asked["one"])
    assert len({str(owner.ask().json()["rates"][0]["time"]) for owner in owners}) == 1
    assert len(market.asked["one"]) == asked + 1


def test_a_server_that_stops_answers_the_calls_that_wait(serving):
    market = Market()
    with ThreadPoolExecutor(1) as pool:
        with serving_two(serving, market):
            cursor = market.ask()["cursor"]
            call = pool.submit(market.ask, cursor, 30)
            wait_until(lambda: market.waiters)
        assert call.result() == {"rates": [], "cursor": cursor}
