"""Calls that wait for an exchange hold up nobody else."""

from __future__ import annotations

import threading

import pytest
import requests

from bitmm.xwrap import exchanges

from .stub import Stub


@pytest.fixture
def slow(monkeypatch):
    """The stub exchange, whose balance hangs until the test is over."""
    monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.server.stub:Stub")
    monkeypatch.setattr(Stub, "gate", threading.Event())
    monkeypatch.setattr(Stub, "waiting", threading.Semaphore(0))
    return Stub


def waiting_calls(server, auth, id, count):
    """Start `count` calls that hang in the exchange; the threads and their answers."""
    answers = []

    def call():
        answers.append(requests.get(f"{server.url}/exchanges/{id}/balance", auth=auth, timeout=60))

    threads = [threading.Thread(target=call) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, answers


def test_200_calls_waiting_for_an_exchange_do_not_hold_up_the_others(serving, slow):
    with serving(exchanges=("stub", "paper")) as server:
        auth = server.account()
        stuck, paper = server.registration(auth, "stub"), server.registration(auth, "paper")
        threads, answers = waiting_calls(server, auth, stuck, 200)
        try:
            for _ in range(200):
                assert slow.waiting.acquire(timeout=60)
            for path in ("/list_exchanges/", "/exchanges/", f"/exchanges/{stuck}", f"/exchanges/{paper}/balance"):
                assert requests.get(server.url + path, auth=auth, timeout=10).status_code == 200
            order = {"currency": "USD", "asset": "BTC", "amount": "0.1"}
            assert requests.post(f"{server.url}/exchanges/{paper}/buy", data=order, auth=auth, timeout=10).ok
            assert answers == [], "the slow calls are still waiting"
        finally:
            slow.gate.set()
            for thread in threads:
                thread.join()
    assert [answer.status_code for answer in answers] == [200] * 200


@pytest.mark.parametrize("limit", ["exchange_threads", "outbound_threads"])
def test_when_all_threads_wait_the_next_call_is_503_before_anything_is_sent(serving, slow, limit):
    with serving(exchanges=("stub",), queue_seconds=0.2, **{limit: 3}) as server:
        auth = server.account()
        id = server.registration(auth, "stub")
        threads, answers = waiting_calls(server, auth, id, 3)
        try:
            for _ in range(3):
                assert slow.waiting.acquire(timeout=60)
            form = {"currency": "USD", "asset": "BTC", "amount": "0.1"}
            slow.placed.clear()
            full = requests.post(f"{server.url}/exchanges/{id}/buy", data=form, auth=auth, timeout=30)
            assert full.status_code == 503
            assert full.headers["Retry-After"] == "1"
            assert full.json()["retryable"] is True
            assert full.json()["may_have_executed"] is False
            assert slow.placed == []
        finally:
            slow.gate.set()
            for thread in threads:
                thread.join()
    assert [answer.status_code for answer in answers] == [200] * 3


def test_a_stopping_server_answers_what_is_in_flight(serving, slow):
    with serving(exchanges=("stub",)) as server:
        auth = server.account()
        threads, answers = waiting_calls(server, auth, server.registration(auth, "stub"), 20)
        for _ in range(20):
            assert slow.waiting.acquire(timeout=60)
        threading.Timer(0.5, slow.gate.set).start()  # well after the stop has begun
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 20
