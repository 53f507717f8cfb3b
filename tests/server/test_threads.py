"""Calls that wait for an exchange hold up nobody else, and neither the server's end."""

from __future__ import annotations

import contextlib
import errno
import inspect
import os
import socket
import subprocess
import sys
import threading

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap._api import LOOKUP_SHARE
from bitmm.xwrap.client import XWrap
from bitmm.xwrap.exchanges.models import OrderState
from bitmm.xwrap.server.deadman import DeadMansSwitch
from bitmm.xwrap.server.follower import Follower
from bitmm.xwrap.server.login_failures import LoginFailures
from bitmm.xwrap.server.old_refusals import OldRefusals
from bitmm.xwrap.server.reconciliation import LEASE, Reconciler
from bitmm.xwrap.server.runner import run_in_background
from bitmm.xwrap.server.settings import Settings, SetupError
from bitmm.xwrap.server.threads import ThreadPools, Workers, start_thread
from tests.support.stub import Stub
from tests.support.threads import until


@pytest.fixture
def slow(monkeypatch):
    """The stub exchange, whose balance hangs until the test is over."""
    monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
    monkeypatch.setattr(Stub, "gate", threading.Event())
    monkeypatch.setattr(Stub, "waiting", threading.Semaphore(0))
    return Stub


def test_an_exchange_is_given_up_before_the_server_and_the_server_before_its_client(tmp_path):
    """So the client hears what became of its order, and nothing is on its way when the reconciler asks."""
    settings = Settings.read({}, data=tmp_path)
    whole = inspect.signature(XWrap).parameters["timeout"].default
    waits = 3 * settings.queue_seconds  # for a thread, for a place in the exchange's share, for one in the key's queue
    assert settings.exchange_seconds < settings.call_seconds
    assert waits + settings.call_seconds < whole * (1 - LOOKUP_SHARE)
    assert settings.call_seconds < settings.reconcile_grace_seconds
    assert waits + settings.call_seconds < LEASE


def test_all_threads_are_there_before_the_first_call(tmp_path):
    settings = Settings.read({}, data=tmp_path, outbound_threads=5, urgent_threads=3, database_threads=2)
    before = set(threading.enumerate())
    pools = ThreadPools(settings)
    of_passwords = os.cpu_count()
    try:
        assert len(set(threading.enumerate()) - before) == 10 + of_passwords
    finally:
        pools.close()


def test_calls_one_after_the_other_run_in_one_thread():
    """Its connection to the data base is warm."""
    workers = Workers(5)
    try:
        assert len({workers.submit(threading.get_ident).result(10) for _ in range(20)}) == 1
    finally:
        workers.shutdown()


def test_work_that_finds_no_thread_free_is_done_by_the_next_one_that_is():
    workers = Workers(2)
    gate = threading.Event()
    try:
        stuck = [workers.submit(gate.wait) for _ in range(2)]
        waiting = [workers.submit(lambda number=number: number) for number in range(5)]
        waiting[3].cancel()
        assert not any(future.done() for future in (*stuck, *waiting[:3]))
        gate.set()
        assert [waiting[number].result(10) for number in (0, 1, 2, 4)] == [0, 1, 2, 4]
    finally:
        gate.set()
        workers.shutdown()


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), KeyboardInterrupt()])
def test_what_work_raises_is_its_callers_and_the_thread_goes_on(error):
    def fail():
        raise error

    workers = Workers(1)
    try:
        with pytest.raises(type(error)):
            workers.submit(fail).result(10)
        assert workers.submit(int, "7", base=8).result(10) == 7
    finally:
        workers.shutdown()


def test_free_threads_have_ended_when_they_are_shut_down():
    """What is left of a server that has stopped are the calls that hang."""
    before = set(threading.enumerate())
    gate = threading.Event()
    workers = Workers(20)
    stuck = workers.submit(gate.wait)
    assert workers.submit(int).result(10) == 0
    until(stuck.running)
    workers.shutdown()
    assert len(set(threading.enumerate()) - before) == 1
    gate.set()
    workers.shutdown()


def test_threads_that_are_shut_down_end_and_take_no_more_work():
    before = set(threading.enumerate())
    workers = Workers(3)
    gate = threading.Event()
    running = [workers.submit(gate.wait) for _ in range(3)]
    until(lambda: all(future.running() for future in running))
    waiting = workers.submit(gate.wait)
    workers.shutdown()
    assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="has stopped"):
        workers.submit(int)
    gate.set()
    assert all(future.result(10) for future in running)
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
@pytest.mark.parametrize("started", [0, 7])
def test_a_server_that_gets_too_few_threads_says_so_and_leaves_none_behind(tmp_path, monkeypatch, started, error):
    left, start = iter(range(started)), threading.Thread.start

    def start_some(thread):
        if next(left, None) is None:
            raise error
        start(thread)

    before = set(threading.enumerate())
    monkeypatch.setattr(threading.Thread, "start", start_some)
    with pytest.raises(SetupError, match="ulimit -u") as caught:
        ThreadPools(Settings.read({}, data=tmp_path))
    assert "\n" not in str(caught.value)
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before
    with pytest.raises(SetupError, match="ulimit -u"):
        start_thread(threading.Thread())


def test_nothing_connects_before_all_has_started(tmp_path, monkeypatch):
    """What waited in the backlog of a server that then does not start would be lost with an unknown outcome."""
    bound = []
    bind = socket.socket.bind
    monkeypatch.setattr(socket.socket, "bind", lambda self, address: (bind(self, address), bound.append(self))[0])
    refused = []

    def start(_reconciler):
        for listener in bound:
            with contextlib.closing(socket.socket()) as caller:
                refused.append(caller.connect_ex(listener.getsockname()))
        raise SetupError("no thread")

    monkeypatch.setattr(Reconciler, "start", start)
    with pytest.raises(SetupError), run_in_background(Settings.read({}, data=tmp_path, port=0)):
        pass
    assert refused == [errno.ECONNREFUSED]


@pytest.mark.parametrize("part", [Reconciler, Follower, DeadMansSwitch, OldRefusals, LoginFailures])
def test_a_server_that_cannot_start_leaves_no_thread_behind(tmp_path, monkeypatch, part):
    """Threads that wait for work would keep its process from ending."""
    before = set(threading.enumerate())

    def start(_part):
        raise SetupError("no thread")

    monkeypatch.setattr(part, "start", start)
    with pytest.raises(SetupError, match="no thread"), run_in_background(Settings.read({}, data=tmp_path, port=0)):
        pass
    until(lambda: set(threading.enumerate()) <= before)


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


def in_threads_at(server, method, path, auth, count):
    """Start `count` calls; the threads and their answers."""
    answers = []

    def call():
        answers.append(requests.request(method, server.url + path, auth=auth, timeout=60))

    threads = [threading.Thread(target=call) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, answers


def test_cancels_that_hang_hold_up_no_cancel_of_another_account(serving, slow, monkeypatch):
    """The account gets a share of the threads; its other cancels wait without one, and are then refused."""
    monkeypatch.setattr(slow, "cancel_all", lambda stub: len(stub.funds()), raising=False)
    with serving(exchanges=("stub", "paper"), urgent_threads=10, queue_seconds=0.3) as server:
        ann, bob = server.account(), server.account()
        hanging, paper, other = (
            server.registration(ann, "stub"),
            server.registration(bob, "paper"),
            server.registration(bob, "stub"),
        )
        threads, answers = in_threads_at(server, "DELETE", f"/exchanges/{hanging}/orders/", ann, 20)
        try:
            for _ in range(7):
                assert slow.waiting.acquire(timeout=60)
            until(lambda: len(answers) == 13)
            assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(503, "server_busy")}
            assert not slow.waiting.acquire(blocking=False)
            for _ in range(20):
                call = requests.delete(f"{server.url}/exchanges/{paper}/orders/", auth=bob, timeout=10)
                assert (call.status_code, call.json()) == (200, {"canceled": 0})
            order = requests.delete(f"{server.url}/exchanges/{other}/orders/1", auth=bob, timeout=10)
            assert order.status_code == 503, "the share of the exchange that hangs"
        finally:
            slow.gate.set()
            for thread in threads:
                thread.join()


def test_an_account_that_waits_for_an_exchange_leaves_threads_to_the_others(serving, slow):
    with serving(exchanges=("stub",), outbound_threads=10, queue_seconds=0.3) as server:
        ann, bob = server.account(), server.account()
        hanging, other = server.registration(ann, "stub"), server.registration(bob, "stub")
        threads, answers = waiting_calls(server, ann, hanging, 20)
        try:
            for _ in range(7):
                assert slow.waiting.acquire(timeout=60)
            until(lambda: len(answers) == 13)
            address = requests.get(f"{server.url}/exchanges/{other}/deposit_address?asset=BTC", auth=bob, timeout=10)
            assert address.status_code == 200
        finally:
            slow.gate.set()
            for thread in threads:
                thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [503] * 13


def test_eight_accounts_whose_calls_hang_leave_a_thread_to_a_ninth(serving, slow):
    """They take all that they get, one after the other; what is beyond that is refused."""
    with serving(exchanges=("stub",), outbound_threads=32, exchange_threads=32, queue_seconds=0.1) as server:
        honest, hostile = server.account(), [server.account() for _ in range(8)]
        other = server.registration(honest, "stub")
        ids = [server.registration(auth, "stub") for auth in hostile]
        started, hung = [], 0
        try:
            for auth, id, share in zip(hostile, ids, [20, 4] + [1] * 6, strict=True):
                threads, answers = waiting_calls(server, auth, id, share + 2)
                started += threads
                for _ in range(share):
                    assert slow.waiting.acquire(timeout=60)
                until(lambda answers=answers: len(answers) == 2)
                hung += share
            assert hung == 30
            for _ in range(5):
                path = f"{server.url}/exchanges/{other}/deposit_address?asset=BTC"
                assert requests.get(path, auth=honest, timeout=10).status_code == 200
        finally:
            slow.gate.set()
            for thread in started:
                thread.join()


def test_a_balance_of_many_registrations_that_hang_leaves_threads_and_names_those_not_asked(serving, slow):
    with serving(exchanges=("stub", "paper"), outbound_threads=10, queue_seconds=0.3) as server:
        ann, bob = server.account(), server.account()
        for number in range(20):
            server.registration(ann, "stub", apikey=f"the key {number}")
        server.registration(ann, "paper")
        other = server.registration(bob, "stub")
        threads, answers = in_threads_at(server, "GET", "/balance", ann, 1)
        try:
            for _ in range(7):
                assert slow.waiting.acquire(timeout=60)
            address = requests.get(f"{server.url}/exchanges/{other}/deposit_address?asset=BTC", auth=bob, timeout=10)
            assert address.status_code == 200
        finally:
            slow.gate.set()
            for thread in threads:
                thread.join()
    rows = answers[0].json()
    assert answers[0].status_code == 200
    assert len(rows) == 21
    assert rows[-1]["balance"]["BTC"] == "1"
    assert {row.get("error", "")[:23] for row in rows} <= {"", "too many calls at once;"}


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


def test_a_repeat_is_answered_when_all_threads_wait_for_the_exchange(serving, slow, monkeypatch):
    """It would be wrong to say of its key that nothing was sent."""
    monkeypatch.setattr(slow, "act", staticmethod(lambda _order: OrderState("X1", "filled")))
    with serving(exchanges=("stub",), queue_seconds=0.2, exchange_threads=3) as server:
        auth = server.account()
        id = server.registration(auth, "stub")
        call = {"url": f"{server.url}/exchanges/{id}/buy", "auth": auth, "timeout": 30}
        call |= {"data": {"currency": "USD", "asset": "BTC", "amount": "0.1"}, "headers": {"Idempotency-Key": "k1"}}
        first = requests.post(**call)
        threads, _ = waiting_calls(server, auth, id, 3)
        try:
            for _ in range(3):
                assert slow.waiting.acquire(timeout=60)
            repeat = requests.post(**call)
        finally:
            slow.gate.set()
            for thread in threads:
                thread.join()
    assert first.status_code == repeat.status_code == 200
    assert first.content == repeat.content


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


HANGING = """
import sys, threading, pathlib
from bitmm.xwrap import exchanges
from bitmm.xwrap.server import runner
from bitmm.xwrap.server.settings import Settings
from tests.support.stub import Stub

exchanges.EXCHANGES["stub"] = "tests.support.stub:Stub"
hang = threading.Event()
Stub.act = staticmethod(lambda order: (print("hangs", flush=True), hang.wait(60)))
data, url = pathlib.Path(sys.argv[1]), sys.argv[2] or None
settings = Settings.read({}, data=data, database_url=url, port=0, exchanges=("stub",), stop_seconds=1.0)
runner.run(settings, lambda line: print(line, flush=True))
"""


def test_a_stopping_server_leaves_what_hangs_in_the_journal_and_ends_in_time(serving, slow, tmp_path):
    with serving(data=tmp_path, exchanges=("stub",)) as server:
        auth = server.account()
        path, url = f"/exchanges/{server.registration(auth, 'stub')}/buy", server.database
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HANGING, str(tmp_path), url if isinstance(url, str) else ""]
    form, key = {"currency": "USD", "asset": "BTC", "amount": "0.1"}, {"Idempotency-Key": "k1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ) as child:
        try:
            here = next(line for line in child.stdout if "serves at" in line).split()[-1]
            order = threading.Thread(target=_lost_order, args=(here + path, form, key, auth))
            order.start()
            assert next(line for line in child.stdout if "hangs" in line)
            child.terminate()
            assert child.wait(timeout=10) == 0
            order.join()
        finally:
            child.kill()
    with serving(data=tmp_path, exchanges=("stub",)) as server:
        repeat = requests.post(server.url + path, data=form, headers=key, auth=auth, timeout=30)
    assert (repeat.status_code, repeat.json()["status"]) == (202, "unknown")


def _lost_order(url, form, key, auth):
    with contextlib.suppress(requests.ConnectionError):
        requests.post(url, data=form, headers=key, auth=auth, timeout=60)
