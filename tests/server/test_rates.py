"""The rates of all exchanges at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.exchanges.errors import Busy, Refused, Unsupported
from bitmm.xwrap.exchanges.models import Rate
from bitmm.xwrap.exchanges.rules import traded_instead
from tests.support.stub import Stub

TEN = tuple(f"stub{number}" for number in range(10))
RATE = Rate(Decimal("10.5"), Decimal(10), datetime.now(UTC))


@pytest.fixture
def ask(serving, monkeypatch):
    """`ask(act, **settings)` starts a server with ten exchanges whose rate is `act()`; gives a call for their rates."""
    for id in TEN:
        monkeypatch.setitem(exchanges.EXCHANGES, id, "tests.support.stub:Stub")
    servers = []

    def start(act, **settings):
        monkeypatch.setattr(Stub, "act", staticmethod(lambda *_pair: act()))
        context = serving(exchanges=settings.pop("exchanges", TEN), **settings)
        server = context.__enter__()
        servers.append(context)
        return lambda: requests.get(f"{server.url}/exchange_rates/?from=EUR&to=BTC", timeout=30)

    yield start
    for context in servers:
        context.__exit__(None, None, None)


def test_all_are_asked_at_the_same_time(ask):
    together = threading.Barrier(10, timeout=20)

    def act():
        together.wait()
        return RATE

    answer = ask(act, rate_seconds=30.0)()
    assert [row["exchange"] for row in answer.json()] == list(TEN)
    assert {(row["buy"], row["sell"]) for row in answer.json()} == {("10.5", "10")}


def test_who_does_not_answer_in_time_is_left_out(ask):
    gate, turn = threading.Event(), iter(range(100))

    def act():
        if next(turn) == 0:
            assert gate.wait(30)
        return RATE

    try:
        assert len(ask(act, rate_seconds=1.0)().json()) == 9
    finally:
        gate.set()


def test_who_fails_is_left_out_and_asked_again_the_next_time(ask):
    calls = iter(range(100))

    def act():
        if next(calls) < 10:
            raise Refused("down", code="exchange_unavailable", retryable=True)
        return RATE

    call = ask(act)
    assert call().json() == []
    assert len(call().json()) == 10


def test_an_answer_is_kept_for_a_while_and_then_fetched_anew(ask):
    calls = []

    def act():
        calls.append(1)
        return RATE

    call = ask(act, exchanges=("stub0",))
    for _ in range(5):
        call()
    assert len(calls) == 1
    call = ask(act, exchanges=("stub0",), rate_cache_seconds=0.0)
    call()
    call()
    assert len(calls) == 3


def test_many_callers_at_once_are_one_question(ask):
    calls, gate = [], threading.Event()

    def act():
        calls.append(1)
        assert gate.wait(30)
        return RATE

    call = ask(act, exchanges=("stub0",), rate_seconds=30.0)
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(call) for _ in range(20)]
        gate.set()
        assert all(answer.result().json()[0]["buy"] == "10.5" for answer in answers)
    assert len(calls) == 1


REFUSED = Refused("nobody trades that", code="unknown_market")


def test_a_pair_that_no_exchange_has_is_refused_with_what_is_traded_instead(serving):
    with serving(exchanges=("paper", "hub", "mtgox")) as server:
        for currency, asset, words in [
            ("eur", "btc", "no exchange here has a market BTC/EUR; BTC is traded here in USD"),
            ("USD", "eth", "no exchange here has a market ETH/USD; ETH is not traded here; in USD there are BTC"),
            ("EUR", "ETH", "no exchange here has a market ETH/EUR; ETH is not traded here; there are BTC/USD"),
        ]:
            answer = requests.get(f"{server.url}/exchange_rates/", params={"from": currency, "to": asset}, timeout=30)
            assert (answer.status_code, answer.json()["code"]) == (422, "unknown_market")
            assert answer.json()["detail"] == words


def test_what_is_traded_instead_is_listed_in_a_few_words():
    many = [("USD", f"A{number:03}") for number in range(500)]
    words = traded_instead("USD", "XYZ", many, "here")
    assert words.startswith("XYZ is not traded here; in USD there are A000, A001, ")
    assert words.endswith(" and 480 more")
    assert len(words) < 200


@pytest.mark.parametrize(
    ("others", "status"),
    [
        (Refused("no address", code="exchange_url_missing", retryable=True), 422),
        (Unsupported("no call for 'rate'"), 422),
        (Refused("no such asset", code="unknown_asset"), 422),
        (Refused("down", code="exchange_unavailable", retryable=True), 200),
        (Busy("too many calls", retry_after=1), 200),
        (ValueError("a bug"), 200),
    ],
    ids=str,
)
def test_an_exchange_that_fails_may_have_the_market(ask, others, status):
    answers = iter([REFUSED] + [others] * 9)

    def act():
        raise next(answers)

    answer = ask(act)()
    assert answer.status_code == status
    assert answer.json() == [] if status == 200 else answer.json()["code"] == "unknown_market"


def test_where_no_exchange_can_be_asked_for_rates_it_is_said_why(serving):
    with serving(exchanges=("hub",)) as server:
        answer = requests.get(f"{server.url}/exchange_rates/?from=USD&to=BTC", timeout=30)
    assert answer.json()["code"] == "exchange_url_missing"
    assert "XWRAP_EXCHANGE_URL_HUB" in answer.json()["detail"]


def test_an_exchange_that_is_late_may_have_the_market(ask):
    gate, turn = threading.Event(), iter(range(100))

    def act():
        if next(turn) == 0:
            assert gate.wait(30)
        raise REFUSED

    try:
        answer = ask(act, rate_seconds=1.0)()
        assert (answer.status_code, answer.json()) == (200, [])
    finally:
        gate.set()


@pytest.mark.parametrize(("currency", "asset"), [("usd", "btc"), ("USD", "XBT"), ("Usd", "xbt")])
def test_names_are_taken_in_any_case_and_spelling(server, currency, asset):
    answer = requests.get(f"{server.url}/exchange_rates/", params={"from": currency, "to": asset}, timeout=30)
    assert [row["exchange"] for row in answer.json()] == ["paper"]


def test_a_pair_that_nobody_trades_is_refused_in_their_words(ask):
    def act():
        raise REFUSED

    answer = ask(act)()
    assert (answer.status_code, answer.json()["detail"]) == (422, "nobody trades that")
