"""Nonces that only rise, calls in their order, and never more of them than an exchange allows."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest

from bitmm.xwrap.exchanges.base import Exchange, RateLimit
from bitmm.xwrap.exchanges.errors import Busy
from bitmm.xwrap.server import rate_limiter as lanes_module
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.rate_limiter import Lanes, Rank, lane_name
from tests.support.databases import sql

CANCEL, ORDER, READ = Rank


@pytest.fixture
def where(tmp_path, database):
    return database(tmp_path)


@pytest.fixture
def store(where):
    store = Store(where)
    store.prepare()
    yield store
    store.close()


@pytest.fixture
def lanes(store):
    return Lanes(store.lanes, 2.0)


class Kept(Exchange):
    """Counts calls by key and by address, and insists on their order."""

    id, ordered = "kept", True
    per_key, per_address = RateLimit(8, 0.01, {"free": 0, "dear": 2}), RateLimit(2, 0.01)


class ByAddress(Exchange):
    id, per_address = "by-address", RateLimit(2, 0.01)


class Unlimited(Exchange):
    id = "unlimited"


def go(lanes, kind=Kept, key="k", rank=READ, call="x", signed=True):
    with lanes.passage(kind, key, rank).turn(call, signed=signed):
        pass


def refused(*args, **kwargs):
    with pytest.raises(Busy) as caught:
        go(*args, **kwargs)
    assert caught.value.code == "rate_limited"
    return caught.value.retry_after


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def thread(work):
    running = threading.Thread(target=work)
    running.start()
    yield
    running.join()


# --- nonces -----------------------------------------------------------------------------------------------------------


def test_nonces_of_many_threads_never_repeat_and_each_thread_sees_them_rise(lanes):
    seen = [[] for _ in range(8)]

    def take(mine):
        for _ in range(100):
            mine.append(lanes.nonce("a"))

    threads = [threading.Thread(target=take, args=(mine,)) for mine in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [number for mine in seen for number in mine]
    assert len(set(everything)) == 800
    assert all(mine == sorted(mine) for mine in seen)


def test_a_clock_that_was_set_back_and_a_restart_lower_no_nonce(lanes, where, monkeypatch):
    before = lanes.nonce("a")
    monkeypatch.setattr(lanes_module.time, "time_ns", lambda: (before - 3600 * 10**6) * 1000)
    again = Store(where)
    assert [Lanes(again.lanes, 2.0).nonce("a") for _ in range(2)] == [before + 1, before + 2]
    again.close()


def test_a_nonce_is_the_time_in_microseconds_where_that_is_higher(lanes, monkeypatch):
    lanes.nonce("a")
    monkeypatch.setattr(lanes_module.time, "time_ns", lambda: 4_000_000_000_000_000_000)
    assert lanes.nonce("a") == 4_000_000_000_000_000


def test_a_lane_belongs_to_a_key_at_an_exchange_and_does_not_show_it():
    assert lane_name("kraken", "key") == lane_name("kraken", "key")
    assert len({lane_name("kraken", "key"), lane_name("kraken", "other"), lane_name("mtgox", "key")}) == 3
    assert "key" not in lane_name("kraken", "key")


# --- order ------------------------------------------------------------------------------------------------------------


def test_one_call_of_an_ordered_lane_at_a_time_and_other_lanes_do_not_wait(store):
    lanes = Lanes(store.lanes, 0.1)
    with lanes.passage(Kept, "k", READ).turn("x", signed=True):
        with thread(lambda: refused(lanes)):
            pass
        go(lanes, key="other")
        go(lanes, kind=Unlimited)
    go(lanes)


def test_calls_of_an_exchange_without_order_go_side_by_side(lanes):
    with (
        lanes.passage(ByAddress, "k", ORDER).turn("x", signed=True),
        lanes.passage(ByAddress, "k", ORDER).turn("x", signed=True),
    ):
        pass


def test_a_call_that_fails_frees_its_lane(lanes):
    with pytest.raises(ZeroDivisionError), lanes.passage(Kept, "k", READ).turn("x", signed=True):
        raise ZeroDivisionError
    go(lanes)


def test_cancels_go_before_orders_and_orders_before_reads(lanes):
    went = []
    lane = lanes.lane(lane_name("kept", "k"), Kept.per_key, ordered=True)

    def queue(rank, name):
        def work():
            with lanes.passage(Kept, "k", rank).turn("free", signed=True):
                went.append(name)

        running = threading.Thread(target=work)
        running.start()
        threads.append(running)
        until(lambda: len(lane._waiting) == len(threads))

    threads = []
    with lanes.passage(Kept, "k", READ).turn("x", signed=True):
        for name in ("read 1", "read 2", "order 1", "order 2", "cancel"):
            queue(Rank[name.split()[0].upper()], name)
    for running in threads:
        running.join()
    assert went == ["cancel", "order 1", "order 2", "read 1", "read 2"]


# --- counters ---------------------------------------------------------------------------------------------------------


def test_reads_leave_a_quarter_of_the_counter_to_orders_and_cancels(lanes):
    for _ in range(6):
        go(lanes, rank=READ)
    assert refused(lanes, rank=READ) == pytest.approx(100, abs=10)
    go(lanes, rank=ORDER)
    go(lanes, rank=CANCEL)
    assert refused(lanes, rank=CANCEL) == pytest.approx(100, abs=10)


def test_calls_have_their_own_costs(lanes):
    for _ in range(4):
        go(lanes, rank=ORDER, call="dear")
    refused(lanes, rank=ORDER)
    for _ in range(20):
        go(lanes, rank=ORDER, call="free")


def test_a_call_that_would_wait_too_long_is_refused_at_once(store):
    lanes = Lanes(store.lanes, 60.0)
    for _ in range(6):
        go(lanes)
    before = time.monotonic()
    refused(lanes)
    assert time.monotonic() - before < 10


class Quick(Exchange):
    id, per_key = "quick", RateLimit(4, 20.0, {"free": 0})


def test_a_call_waits_until_the_counter_has_fallen(lanes):
    before = time.monotonic()
    for _ in range(13):
        go(lanes, kind=Quick)
    assert time.monotonic() - before >= 10 / 20 * 0.98


def test_signed_calls_are_counted_by_key_and_public_ones_by_address(lanes):
    for key in ("k", ""):
        go(lanes, key=key, signed=False)
    refused(lanes, key="another", signed=False)
    for key in ("k", "l"):
        for _ in range(6):
            go(lanes, key=key)
        refused(lanes, key=key)


def test_where_an_exchange_counts_by_address_alone_all_calls_count_there(lanes):
    go(lanes, kind=ByAddress, signed=False)
    go(lanes, kind=ByAddress, key="k")
    refused(lanes, kind=ByAddress, key="l")


def test_where_no_limit_is_known_nothing_is_counted(lanes):
    for _ in range(50):
        go(lanes, kind=Unlimited)


def test_a_restart_and_another_process_count_on(lanes, where):
    for _ in range(4):
        go(lanes)
    another = Store(where)
    others = Lanes(another.lanes, 2.0)
    for _ in range(2):
        go(others)
    refused(others)
    refused(lanes)
    another.close()


def test_many_processes_together_send_no_more_than_is_allowed(where, store):
    stores = [Store(where) for _ in range(4)]
    went = []

    def work(mine):
        lanes = Lanes(mine.lanes, 2.0)
        for _ in range(4):
            try:
                go(lanes, kind=Kept, rank=ORDER)
            except Busy:
                pass
            else:
                went.append(1)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in stores]
    for running in threads:
        running.start()
    for running in threads:
        running.join()
    assert len(went) == 8
    for mine in stores:
        mine.close()


def test_a_clock_that_was_set_back_stops_no_counter(lanes, where):
    for _ in range(3):
        go(lanes, kind=Quick)
    sql(where, "UPDATE lanes SET moment = moment + 3600")
    go(lanes, kind=Quick)


def test_a_call_that_costs_nothing_does_not_wait_for_those_that_do(lanes):
    lane = lanes.lane(lane_name("kept", "k"), Slow.per_key, ordered=True)
    for _ in range(6):
        go(lanes, kind=Slow)
    with thread(lambda: go(lanes, kind=Slow)):
        until(lambda: len(lane._waiting) == 1)
        before = time.monotonic()
        for rank in Rank:
            go(lanes, kind=Slow, rank=rank, call="free")
        assert len(lane._waiting) == 1, f"the read still waits after {time.monotonic() - before} s"


class Slow(Kept):
    per_key = RateLimit(8, 0.6, {"free": 0})


# --- what the exchange says -------------------------------------------------------------------------------------------


def test_when_the_exchange_is_busy_nobody_sends_before_it_said_so(store):
    lanes = Lanes(store.lanes, 0.2)
    with pytest.raises(Busy), lanes.passage(Quick, "k", READ).turn("x", signed=True):
        raise Busy("slow down", retry_after=0.5)
    said = time.monotonic()
    for rank in Rank:
        assert 0 < refused(lanes, kind=Quick, rank=rank, call="free") <= 0.6
    until(lambda: not store.lanes.pause(lane_name("quick", "k"), 0, 4, 20.0))
    assert time.monotonic() - said >= 0.3
    go(lanes, kind=Quick, rank=CANCEL, call="free")


def test_an_exchange_without_a_known_limit_is_left_alone_as_long_as_it_says(lanes):
    with pytest.raises(Busy), lanes.passage(Unlimited, "k", READ).turn("x", signed=True):
        raise Busy("slow down", retry_after=30)
    assert refused(lanes, kind=Unlimited, rank=CANCEL) == pytest.approx(30, abs=5)


def test_an_exchange_cannot_shut_a_lane_for_ever(lanes):
    with pytest.raises(Busy), lanes.passage(Unlimited, "k", READ).turn("x", signed=True):
        raise Busy("slow down", retry_after=1e9)
    assert refused(lanes, kind=Unlimited) <= 600


def test_a_refusal_of_ours_widens_nothing(lanes):
    for _ in range(6):
        go(lanes)
    for _ in range(3):
        refused(lanes)
    go(lanes, rank=ORDER)


# --- a queue that ends ------------------------------------------------------------------------------------------------


def test_a_cancel_goes_next_while_a_thousand_reads_want_the_same_key(lanes):
    stop, sent, turned_away = threading.Event(), [], []

    def read():
        while not stop.is_set():
            try:
                with lanes.passage(Kept, "k", READ).turn("free", signed=True):
                    sent.append(1)
                    time.sleep(0.01)
            except Busy:
                turned_away.append(1)
                stop.wait(0.2)

    threads = [threading.Thread(target=read) for _ in range(1000)]
    lane = lanes.lane(lane_name("kept", "k"), Kept.per_key, ordered=True)
    for running in threads:
        running.start()
    waits = []
    try:
        until(lambda: len(lane._waiting) == lanes_module._PLACES)
        for _ in range(5):
            before = time.monotonic()
            go(lanes, rank=CANCEL, call="free")
            waits.append(time.monotonic() - before)
    finally:
        stop.set()
        for running in threads:
            running.join()
    assert max(waits) < 1
    assert turned_away
    assert len(sent) > len(waits), "reads went too"
