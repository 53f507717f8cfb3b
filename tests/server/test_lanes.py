"""Nonces that only rise, and calls in their order."""

from __future__ import annotations

import threading

import pytest

from bitmm.xwrap.server import lanes as lanes_module
from bitmm.xwrap.server.lanes import Lanes
from bitmm.xwrap.server.problems import Problem
from bitmm.xwrap.server.store import Store


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "xwrap.sqlite3")
    store.prepare()
    yield store
    store.close()


def test_nonces_of_many_threads_never_repeat_and_each_thread_sees_them_rise(store):
    nonce = Lanes(store, 2.0).nonce("a")
    seen = [[] for _ in range(8)]

    def take(mine):
        for _ in range(100):
            mine.append(nonce())

    threads = [threading.Thread(target=take, args=(mine,)) for mine in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [number for mine in seen for number in mine]
    assert len(set(everything)) == 800
    assert all(mine == sorted(mine) for mine in seen)


def test_a_clock_that_was_set_back_and_a_restart_lower_no_nonce(store, monkeypatch):
    before = Lanes(store, 2.0).nonce("a")()
    monkeypatch.setattr(lanes_module.time, "time_ns", lambda: (before - 3600 * 10**6) * 1000)
    again = Lanes(store, 2.0).nonce("a")
    assert (again(), again()) == (before + 1, before + 2)


def test_a_nonce_is_the_time_in_microseconds_where_that_is_higher(store, monkeypatch):
    nonce = Lanes(store, 2.0).nonce("a")
    nonce()
    monkeypatch.setattr(lanes_module.time, "time_ns", lambda: 4_000_000_000_000_000_000)
    assert nonce() == 4_000_000_000_000_000


def test_a_lane_belongs_to_a_key_at_an_exchange_and_does_not_show_it(store):
    lanes = Lanes(store, 2.0)
    assert lanes.name("kraken", "key") == lanes.name("kraken", "key")
    assert len({lanes.name("kraken", "key"), lanes.name("kraken", "other"), lanes.name("mtgox", "key")}) == 3
    assert "key" not in lanes.name("kraken", "key")


def test_one_call_of_a_lane_at_a_time_and_other_lanes_do_not_wait(store):
    lanes = Lanes(store, 0.1)
    with lanes.in_order("a"):
        with pytest.raises(Problem) as caught, lanes.in_order("a"):
            raise AssertionError("two calls at once")
        assert (caught.value.status, caught.value.body["may_have_executed"]) == (503, False)
        with lanes.in_order("b"):
            pass
    with lanes.in_order("a"):
        pass
