"""The rates of all exchanges at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.models import Rate
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


def test_a_pair_that_nobody_trades_is_refused_in_their_words(ask):
    def act():
        raise Refused("nobody trades that", code="unknown_market")

    answer = ask(act)()
    assert (answer.status_code, answer.json()["detail"]) == (422, "nobody trades that")
