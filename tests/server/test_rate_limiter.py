"""Nonces that only rise, calls in their order, and never more of them than an exchange allows."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import pytest

from bitmm.xwrap.exchanges.base import Exchange, RateLimit
from bitmm.xwrap.exchanges.errors import Busy
from bitmm.xwrap.exchanges.http import unproved
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.server import rate_limiter
from bitmm.xwrap.server.db.errors import StoreError
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.exchange_limits import UNCOUNTED, ExchangeLimits
from bitmm.xwrap.server.rate_limiter import KeyHolder, Priority, RateLimiter, RequestSlot, queue_name
from tests.support.databases import sql

CANCEL, RECONCILE, ORDER, READ, ANONYMOUS = Priority


@pytest.fixture
def where(tmp_path, database):
    return database(tmp_path, tables=True)


@pytest.fixture
def store(where):
    store = Store(where)
    store.prepare()
    yield store
    store.close()


@pytest.fixture
def limiter(store):
    return RateLimiter(store.counters, 2.0)


class Kept(Exchange):
    """Counts calls by key and by address, and insists on their order."""

    id, ordered = "kept", True
    per_key, per_address = RateLimit(8, 0.01, {"free": 0, "dear": 2}), RateLimit(2, 0.01)


class ByAddress(Exchange):
    id, per_address = "by-address", RateLimit(2, 0.01)


class Unlimited(Exchange):
    id = "unlimited"


def slot(limiter, kind=Kept, key="k", priority=READ, account=1, **more):
    holder = KeyHolder(key, account, is_proven=more.pop("is_proven", True))
    return RequestSlot(limiter, ExchangeLimits.of(kind), holder, priority, **more)


def go(limiter, kind=Kept, key="k", priority=READ, call="x", signed=True, account=1):
    with slot(limiter, kind, key, priority, account).acquire(call, signed=signed):
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


def test_nonces_of_many_threads_never_repeat_and_each_thread_sees_them_rise(limiter):
    seen = [[] for _ in range(8)]

    def take(mine):
        for _ in range(100):
            mine.append(slot(limiter, key="a").nonce())

    threads = [threading.Thread(target=take, args=(mine,)) for mine in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [number for mine in seen for number in mine]
    assert len(set(everything)) == 800
    assert all(mine == sorted(mine) for mine in seen)


def test_a_clock_that_was_set_back_and_a_restart_lower_no_nonce(limiter, where, monkeypatch):
    before = slot(limiter, key="a").nonce()
    monkeypatch.setattr(rate_limiter.time, "time_ns", lambda: (before - 3600 * 10**6) * 1000)
    again = Store(where)
    assert [slot(RateLimiter(again.counters, 2.0), key="a").nonce() for _ in range(2)] == [before + 1, before + 2]
    again.close()


def test_a_nonce_is_the_time_in_microseconds_where_that_is_higher(limiter, monkeypatch):
    slot(limiter, key="a").nonce()
    monkeypatch.setattr(rate_limiter.time, "time_ns", lambda: 4_000_000_000_000_000_000)
    assert slot(limiter, key="a").nonce() == 4_000_000_000_000_000


def test_a_queue_belongs_to_a_key_at_an_exchange_and_its_name_does_not_show_it():
    assert queue_name("kraken", "key") == queue_name("kraken", "key")
    assert len({queue_name("kraken", "key"), queue_name("kraken", "other"), queue_name("mtgox", "key")}) == 3
    assert "key" not in queue_name("kraken", "key")


def test_one_call_of_an_ordered_queue_at_a_time_and_other_queues_do_not_wait(store):
    limiter = RateLimiter(store.counters, 0.1)
    with slot(limiter, Kept, "k", READ).acquire("x", signed=True):
        with thread(lambda: refused(limiter)):
            pass
        go(limiter, key="other")
        go(limiter, kind=Unlimited)
    go(limiter)


def test_calls_of_an_exchange_without_order_go_side_by_side(limiter):
    with (
        slot(limiter, ByAddress, "k", ORDER).acquire("x", signed=True),
        slot(limiter, ByAddress, "k", ORDER).acquire("x", signed=True),
    ):
        pass


def test_a_call_that_fails_frees_its_queue(limiter):
    with pytest.raises(ZeroDivisionError), slot(limiter, Kept, "k", READ).acquire("x", signed=True):
        raise ZeroDivisionError
    go(limiter)


def test_cancels_go_before_the_reconciler_then_orders_and_then_reads(limiter):
    went = []
    queue = limiter.queue(queue_name("kept", "k"), Kept.per_key, ordered=True)

    def enqueue(priority, name):
        def work():
            with slot(limiter, Kept, "k", priority).acquire("free", signed=True):
                went.append(name)

        running = threading.Thread(target=work)
        running.start()
        threads.append(running)
        until(lambda: len(queue._waiting) == len(threads))

    threads = []
    with slot(limiter, Kept, "k", READ).acquire("x", signed=True):
        for name in ("read 1", "read 2", "order 1", "order 2", "reconcile", "cancel"):
            enqueue(Priority[name.split()[0].upper()], name)
    for running in threads:
        running.join()
    assert went == ["cancel", "reconcile", "order 1", "order 2", "read 1", "read 2"]


def test_each_question_of_the_reconciler_lets_an_order_go_before_the_next(limiter):
    """Or a list of many pages would stop all orders of its key, longer than they wait."""
    went = []

    def work(priority, number):
        with slot(limiter, Kept, "k", priority).acquire("free", signed=True):
            went.append(f"{priority.name.lower()} {number}")

    queue = limiter.queue(queue_name("kept", "k"), Kept.per_key, ordered=True)
    calls = [(priority, number) for priority in (RECONCILE, ORDER, READ) for number in (1, 2, 3)]
    threads = [threading.Thread(target=work, args=call) for call in calls]
    with slot(limiter, Kept, "k", READ).acquire("x", signed=True):
        for waiting, thread in enumerate(threads, 1):
            thread.start()
            until(lambda waiting=waiting: len(queue._waiting) == waiting)
    for thread in threads:
        thread.join()
    mixed = [f"{name} {number}" for number in (1, 2, 3) for name in ("reconcile", "order")]
    assert went == [*mixed, "read 1", "read 2", "read 3"]


def test_reads_leave_a_quarter_of_the_counter_to_orders_and_cancels(limiter):
    for _ in range(6):
        go(limiter, priority=READ)
    assert refused(limiter, priority=READ) == pytest.approx(100, abs=10)
    go(limiter, priority=ORDER)
    go(limiter, priority=CANCEL)
    assert refused(limiter, priority=CANCEL) == pytest.approx(100, abs=10)


class Polled(Kept):
    per_key = RateLimit(8, 0.01, {"free": 0}, frozenset({"poll"}))


def test_polling_an_order_leaves_what_reads_leave_also_while_it_is_placed(limiter):
    for _ in range(6):
        go(limiter, kind=Polled, priority=ORDER, call="poll")
    refused(limiter, kind=Polled, priority=ORDER, call="poll")
    go(limiter, kind=Polled, priority=ORDER, call="free")
    go(limiter, kind=Polled, priority=ORDER)
    go(limiter, kind=Polled, priority=CANCEL)


def test_after_reads_and_polls_the_reconciler_can_ask_kraken_at_once_about_every_order_of_a_key(limiter):
    for call, priority in (("QueryOrders", ORDER), ("BalanceEx", READ)):
        with suppress(Busy):
            for _ in range(50):
                go(limiter, kind=Kraken, priority=priority, call=call)
        refused(limiter, kind=Kraken, priority=priority, call=call)
    for call in ("GetApiKeyInfo", "OpenOrders", "ClosedOrders"):
        before = time.monotonic()
        go(limiter, kind=Kraken, priority=RECONCILE, call=call)
        assert time.monotonic() - before < 1.5, f"{call} waited for the counter"


def test_the_reconciler_waits_for_the_counter_where_others_are_refused(limiter):
    for _ in range(8):
        go(limiter, kind=Slow, priority=CANCEL)
    # A second's refill is 0.6: the next call has to wait for longer than the 0.2 s of this limiter.
    impatient = RateLimiter(limiter.counters, 0.2)
    refused(impatient, kind=Slow, priority=ORDER)
    go(impatient, kind=Slow, priority=RECONCILE)


def test_the_reconciler_is_let_into_a_full_queue(limiter, monkeypatch):
    monkeypatch.setattr(rate_limiter, "_MAX_WAITING", 1)
    queue = limiter.queue(queue_name("kept", "k"), Kept.per_key, ordered=True)
    with ExitStack() as threads, slot(limiter, Kept, "k", READ).acquire("x", signed=True):
        for waiting, priority in enumerate((READ, RECONCILE), 1):
            threads.enter_context(thread(partial(go, limiter, priority=priority)))
            until(lambda waiting=waiting: len(queue._waiting) == waiting)
        refused(limiter, priority=ORDER)


def test_calls_have_their_own_costs(limiter):
    for _ in range(4):
        go(limiter, priority=ORDER, call="dear")
    refused(limiter, priority=ORDER)
    for _ in range(20):
        go(limiter, priority=ORDER, call="free")


def test_a_call_that_would_wait_too_long_is_refused_at_once(store):
    limiter = RateLimiter(store.counters, 60.0)
    for _ in range(6):
        go(limiter)
    before = time.monotonic()
    refused(limiter)
    assert time.monotonic() - before < 10


class Quick(Exchange):
    id, per_key = "quick", RateLimit(4, 20.0, {"free": 0})


def test_a_call_waits_until_the_counter_has_fallen(limiter):
    before = time.monotonic()
    for _ in range(13):
        go(limiter, kind=Quick)
    assert time.monotonic() - before >= 10 / 20 * 0.98


def test_signed_calls_are_counted_by_key_and_public_ones_by_address(limiter):
    for key in ("k", ""):
        go(limiter, key=key, signed=False)
    refused(limiter, key="another", signed=False)
    for key in ("k", "l"):
        for _ in range(6):
            go(limiter, key=key)
        refused(limiter, key=key)


def test_where_an_exchange_counts_by_address_alone_all_calls_count_there(limiter):
    go(limiter, kind=ByAddress, signed=False)
    go(limiter, kind=ByAddress, key="k")
    refused(limiter, kind=ByAddress, key="l")


def test_where_no_limit_is_known_nothing_is_counted(limiter):
    for _ in range(50):
        go(limiter, kind=Unlimited)


def test_a_restart_and_another_process_count_on(limiter, where):
    for _ in range(4):
        go(limiter)
    another = Store(where)
    others = RateLimiter(another.counters, 2.0)
    for _ in range(2):
        go(others)
    refused(others)
    refused(limiter)
    another.close()


def test_many_processes_together_send_no_more_than_is_allowed(where, store):
    stores = [Store(where) for _ in range(4)]
    went = []

    def work(mine):
        limiter = RateLimiter(mine.counters, 2.0)
        for _ in range(4):
            try:
                go(limiter, kind=Kept, priority=ORDER)
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


def test_a_clock_that_was_set_back_stops_no_counter(limiter, where):
    for _ in range(3):
        go(limiter, kind=Quick)
    sql(where, "UPDATE lanes SET moment = moment + 3600")
    go(limiter, kind=Quick)


def test_a_call_that_costs_nothing_does_not_wait_for_those_that_do(limiter):
    queue = limiter.queue(queue_name("kept", "k"), Slow.per_key, ordered=True)
    for _ in range(6):
        go(limiter, kind=Slow)
    with thread(lambda: go(limiter, kind=Slow)):
        until(lambda: len(queue._waiting) == 1)
        before = time.monotonic()
        for priority in Priority:
            go(limiter, kind=Slow, priority=priority, call="free")
        assert len(queue._waiting) == 1, f"the read still waits after {time.monotonic() - before} s"


class Slow(Kept):
    per_key = RateLimit(8, 0.6, {"free": 0})


@pytest.mark.parametrize("wrapped", [False, True], ids=["refused", "perhaps executed before"])
def test_when_the_exchange_is_busy_nobody_sends_before_it_said_so(store, wrapped):
    limiter = RateLimiter(store.counters, 0.2)
    busy = Busy("slow down", retry_after=0.5)
    told = unproved(busy) if wrapped else busy
    with pytest.raises(type(told)), slot(limiter, Quick, "k", READ).acquire("x", signed=True):
        raise told
    said = time.monotonic()
    for priority in (CANCEL, ORDER, READ):
        assert 0 < refused(limiter, kind=Quick, priority=priority, call="free") <= 0.6
    until(lambda: not store.counters.wait_time(queue_name("quick", "k"), 0, 4, 20.0))
    assert time.monotonic() - said >= 0.3
    go(limiter, kind=Quick, priority=CANCEL, call="free")


def test_an_exchange_without_a_known_limit_is_left_alone_as_long_as_it_says(limiter):
    with pytest.raises(Busy), slot(limiter, Unlimited, "k", READ).acquire("x", signed=True):
        raise Busy("slow down", retry_after=30)
    assert refused(limiter, kind=Unlimited, priority=CANCEL) == pytest.approx(30, abs=5)


def test_an_exchange_cannot_stop_a_queue_for_ever(limiter):
    with pytest.raises(Busy), slot(limiter, Unlimited, "k", READ).acquire("x", signed=True):
        raise Busy("slow down", retry_after=1e9)
    assert 600 < refused(limiter, kind=Unlimited) <= 900, "a lockout of Kraken's takes 15 minutes"


def test_a_refusal_of_ours_raises_no_counter(limiter):
    for _ in range(6):
        go(limiter)
    for _ in range(3):
        refused(limiter)
    go(limiter, priority=ORDER)


class Both(Exchange):
    id, per_address = "both", RateLimit(20, 2, {"public": 3})
    per_key = RateLimit(8, 1, {"dear": 2}, frozenset({"poll"}))


class KeyOnly(Exchange):
    id, per_key = "key-only", RateLimit(8, 1, {"dear": 2})


OWN = RateLimit(3, 0.5)


@pytest.mark.parametrize(
    ("kind", "own", "per_key", "per_address"),
    [
        (Both, {}, Both.per_key, Both.per_address),
        (Both, {"other": OWN}, Both.per_key, Both.per_address),
        (Both, {"both": OWN}, RateLimit(3, 0.5, {"dear": 2}, frozenset({"poll"})), Both.per_address),
        (Both, {"both": None}, None, None),
        (KeyOnly, {"key-only": OWN}, RateLimit(3, 0.5, {"dear": 2}), OWN),
        (ByAddress, {"by-address": OWN}, OWN, OWN),
        (ByAddress, {"by-address": None}, None, None),
        (Unlimited, {"unlimited": OWN}, OWN, OWN),
        (Unlimited, {}, None, None),
    ],
)
def test_the_administrators_limit_is_the_keys_or_where_only_addresses_are_counted_theirs(
    kind, own, per_key, per_address
):
    limits = ExchangeLimits.of(kind, own)
    assert (limits.per_key, limits.per_address) == (per_key or UNCOUNTED, per_address or UNCOUNTED)


def test_a_cancel_goes_next_while_a_thousand_reads_want_the_same_key(store):
    limiter = RateLimiter(store.counters, 60.0)
    queue = limiter.queue(queue_name("kept", "k"), Kept.per_key, ordered=True)
    most = rate_limiter._MAX_WAITING
    stop, went, turned_away = threading.Event(), [], []

    def read():
        while not stop.is_set():
            try:
                with slot(limiter).acquire("free", signed=True):
                    went.append("read")
            except Busy:
                turned_away.append(1)
                stop.wait(0.2)

    def cancel():
        with slot(limiter, priority=CANCEL).acquire("free", signed=True):
            went.append("cancel")

    threads = [threading.Thread(target=read) for _ in range(1000)]
    for running in threads:
        running.start()
    try:
        for _ in range(5):
            with ExitStack() as canceling, slot(limiter, priority=CANCEL).acquire("free", signed=True):
                until(lambda: len(queue._waiting) == most)
                canceling.enter_context(thread(cancel))
                until(lambda: len(queue._waiting) == most + 1)
                before = len(went)
            assert went[before] == "cancel"
    finally:
        stop.set()
        for running in threads:
            running.join()
    assert turned_away
    assert went.count("read") > went.count("cancel") == 5


def waiting_behind_one(limiter, calls, queue, went):
    """Let calls of (account, name) wait in their order while the queue is in use; `went` gets their names."""
    threads = []
    with slot(limiter).acquire("free", signed=True):
        for account, name in calls:

            def work(account=account, name=name):
                with slot(limiter, account=account).acquire("free", signed=True):
                    went.append(name)

            threads.append(threading.Thread(target=work))
            threads[-1].start()
            until(lambda: len(queue._waiting) == len(threads))
    for running in threads:
        running.join()


def test_accounts_take_turns_with_a_key_that_both_have_and_each_keeps_its_order(limiter):
    queue, went = limiter.queue(queue_name("kept", "k"), Kept.per_key, ordered=True), []
    calls = [(1, f"one {number}") for number in range(4)] + [(2, f"two {number}") for number in range(3)]
    waiting_behind_one(limiter, calls, queue, went)
    assert went == ["one 0", "two 0", "one 1", "two 1", "one 2", "two 2", "one 3"]


def test_an_account_that_has_filled_a_queue_leaves_room_to_another(limiter, monkeypatch):
    monkeypatch.setattr(rate_limiter, "_MAX_WAITING", 2)
    queue = limiter.queue(queue_name("kept", "k"), Kept.per_key, ordered=True)
    with ExitStack() as threads, slot(limiter).acquire("free", signed=True):
        for waiting in (1, 2):
            threads.enter_context(thread(partial(go, limiter, call="free")))
            until(lambda waiting=waiting: len(queue._waiting) == waiting)
        refused(limiter, call="free")
        threads.enter_context(thread(partial(go, limiter, call="free", account=2)))
        until(lambda: len(queue._waiting) == 3)


def test_a_key_that_is_not_proven_has_a_queue_and_a_counter_of_its_account(limiter):
    for _ in range(8):
        refused_there = pytest.raises(ZeroDivisionError)
        with refused_there, slot(limiter, priority=CANCEL, account=2, is_proven=False).acquire("x", signed=True):
            go(limiter, call="free")  # its owner's call does not wait for this one
            raised = pytest.raises(ZeroDivisionError)
            with raised, slot(limiter, account=3, is_proven=False).acquire("free", signed=True):
                raise ZeroDivisionError
            raise ZeroDivisionError
    with pytest.raises(Busy), slot(limiter, priority=CANCEL, account=2, is_proven=False).acquire("x", signed=True):
        pass
    go(limiter)


def test_what_the_exchange_took_before_a_key_was_proven_counts_for_the_key(limiter):
    """It has counted it, too: else it would refuse a call which would have to wait here."""
    for _ in range(3):
        with slot(limiter, priority=CANCEL, account=2, is_proven=False).acquire("x", signed=True):
            pass
    for _ in range(5):
        go(limiter, priority=CANCEL)
    refused(limiter, priority=CANCEL)


def test_accounts_without_a_key_have_queues_of_their_own():
    assert len({KeyHolder("", account, is_proven=True).queue for account in (0, 1, 2)}) == 3
    assert len({KeyHolder("k", account, is_proven=True).queue for account in (0, 1, 2)}) == 1
    assert len({KeyHolder("k", account, is_proven=False).queue for account in (1, 2)}) == 2


def test_a_key_is_proven_by_a_signed_call_that_was_taken_and_by_no_other(limiter):
    proofs = []
    unproven = partial(slot, limiter, is_proven=False, on_accepted=lambda: proofs.append(1))
    with unproven().acquire("free", signed=False):
        pass
    with suppress(ZeroDivisionError), unproven().acquire("free", signed=True):
        raise ZeroDivisionError
    with slot(limiter, on_accepted=lambda: proofs.append(2)).acquire("free", signed=True):
        pass
    assert proofs == []
    with unproven().acquire("free", signed=True):
        pass
    assert proofs == [1]


def test_what_the_exchange_took_is_no_failure_where_its_proof_cannot_be_written(limiter):
    def fail():
        raise StoreError("the disk is full")

    with slot(limiter, is_proven=False, on_accepted=fail).acquire("free", signed=True):
        pass


def test_nonces_never_go_back_when_a_key_is_proven(limiter, monkeypatch):
    now = 2_000_000_000_000_000_000
    monkeypatch.setattr(rate_limiter.time, "time_ns", lambda: now)
    shared = [slot(limiter).nonce() for _ in range(2)]
    now -= 10**15  # the clock is set back
    own = slot(limiter, account=2, is_proven=False)
    with own.acquire("free", signed=True):
        before = own.nonce()
    assert shared == sorted(shared)
    assert before > shared[-1]
    assert slot(limiter, account=2).nonce() > before


def test_calls_without_a_login_have_a_small_budget_and_leave_the_rest_to_the_others(limiter):
    class Wide(Exchange):
        id, per_address = "wide", RateLimit(40, 0.01)

    for _ in range(10):
        go(limiter, Wide, priority=ANONYMOUS, signed=False, account=0)
    refused(limiter, Wide, priority=ANONYMOUS, signed=False, account=0)
    for _ in range(20):
        go(limiter, Wide, signed=False)
    for _ in range(10):
        go(limiter, Wide, priority=ORDER, signed=False)


@pytest.mark.parametrize(
    ("limit", "budget"),
    [
        (RateLimit(385, 15), RateLimit(96, 3.75)),
        (RateLimit(5, 1), RateLimit(3, 0.5)),
        (RateLimit(5, 0.1), RateLimit(3, 0.1)),
        (None, RateLimit(20, 2)),
    ],
)
def test_the_budget_without_a_login_is_a_quarter_of_the_addresss_and_lets_a_first_call_through(limit, budget):
    kind = type("Some", (Exchange,), {"id": "some", "per_address": limit})
    assert ExchangeLimits.of(kind).anonymous == budget
