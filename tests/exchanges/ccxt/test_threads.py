"""Many threads and many registrations in the bridge to ccxt."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.cache import TTLCache
from bitmm.xwrap.exchanges.ccxt import exchange_class, instance
from tests.exchanges.ccxt.support import calls, connected, order

pytest.importorskip("ccxt", reason="ccxt is not installed")


def nonces(venue):
    return [int(request.form["nonce"]) for request in venue.requests if "private" in request.path]


def test_threads_on_one_key_send_rising_nonces_one_at_a_time(kraken, transport):
    cache = TTLCache()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: connected(kraken, transport, cache=cache).funds(), range(80)))
    sent = nonces(kraken)
    assert len(sent) == 80
    assert sent == sorted(set(sent)), "as they arrived"
    assert kraken.account.nonce == sent[-1], "the venue refuses any other"


def test_the_nonces_of_the_registration_are_used_where_there_are_some(kraken, paymium, transport):
    counter = iter(range(2**60, 2**60 + 100))
    for venue in (kraken, paymium):
        exchange = connected(venue, transport, nonce=lambda: next(counter))
        for _ in range(3):
            exchange.funds()
    assert nonces(kraken) == [2**60, 2**60 + 1, 2**60 + 2]
    assert paymium.nonces == [2**60 + 3, 2**60 + 4, 2**60 + 5]


def test_a_clock_is_no_counter(backpack, transport):
    """Backpack refuses timestamps that are not now."""
    assert connected(backpack, transport, nonce=lambda: 2**60).funds()


def test_what_ccxt_only_calculates_takes_no_turn(backpack, transport):
    """A throttled call costs a part of the exchange's limit."""
    taken = []

    @contextmanager
    def throttle(call, *, signed):
        taken.append((call, signed))
        yield

    exchange = connected(backpack, transport, throttle=throttle)
    exchange.place(order("sell", price="35000"))
    exchange.rate("USDC", "BTC")
    reads = [("fetch_ticker", False), ("fetch_order_book", False)]
    assert taken == [("load_markets", False), ("create_order", True), *reads]


def test_one_registration_that_waits_does_not_hold_up_another(kraken, transport):
    other = kraken.add_account("the-key-of-somebody-else", kraken.secret)
    stuck, free = connected(kraken, transport), connected(kraken, transport, registration=2)
    keys = Credentials(apikey=other.key, apisecret=kraken.secret)
    free = exchange_class("ccxt:kraken")(ExchangeContext(transport, keys, 2, url=kraken.url))
    stuck.funds(), free.funds()
    kraken.fault("slow", path="BalanceEx", seconds=4)
    before = len(kraken.requests)
    waiting = threading.Thread(target=stuck.funds)
    waiting.start()
    while len(kraken.requests) == before:
        waiting.join(0.01)
    assert free.funds()
    assert waiting.is_alive()
    kraken._stopping.set()
    waiting.join()


def test_markets_are_read_once_whoever_asks(kraken, transport):
    cache = TTLCache()
    exchanges = [connected(kraken, transport, registration=number, cache=cache) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        listed = list(pool.map(lambda exchange: len(exchange.markets()), exchanges))
        rates = list(pool.map(lambda exchange: exchange.rate("EUR", "BTC").buy, exchanges))
    assert (set(listed), set(rates)) == ({len(kraken.pairs)}, {Decimal("27850.1")})
    assert calls(kraken)["AssetPairs"] == 1


def test_ccxt_objects_are_bounded(kraken, transport, monkeypatch):
    monkeypatch.setattr(instance, "_INSTANCES", OrderedDict())
    monkeypatch.setattr(instance, "_MAX_INSTANCES", 3)
    cache = TTLCache()
    first = connected(kraken, transport, registration=1, cache=cache)
    for registration in range(2, 9):
        connected(kraken, transport, registration=registration, cache=cache)
    assert len(instance._INSTANCES) == 3
    assert first.funds(), "who has one keeps it"


def test_what_became_of_a_ccxt_object_reaches_no_other_server_at_the_same_address(backpack, transport):
    one, other = (connected(backpack, transport, cache=TTLCache()) for _ in range(2))
    assert one.funds()
    one._instance.ccxt.urls = {"api": {"public": "http://127.0.0.2", "private": "http://127.0.0.2"}}
    assert other.funds()


def test_registrations_share_the_markets_and_what_never_changes_and_nothing_of_their_own(kraken, transport):
    cache = TTLCache()
    first, second = (connected(kraken, transport, registration=number, cache=cache) for number in (1, 2))
    for exchange in (first, second):
        assert exchange.rate("EUR", "BTC")
        assert exchange.place(order(price="1000", currency="EUR")).status == "open"
    one, other = first._instance.ccxt, second._instance.ccxt
    assert one is not other
    shared = ("markets", "markets_by_id", "currencies", "symbols", "api", "exceptions", "httpExceptions")
    assert [name for name in shared if getattr(one, name) is not getattr(other, name)] == []
    own = ("options", "headers", "urls", "session")
    assert [name for name in own if getattr(one, name) is getattr(other, name) is not None] == []
