"""What is asked about markets: order books, tickers, candles, trades and fees, by HTTP and by the client."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import ClassVar

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.client import InvalidRequest, XWrap
from bitmm.xwrap.exchanges.models import Candle, Fees, OrderBook, Ticker, Trade
from tests.support.stub import Stub
from tests.support.threads import in_threads

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
D = Decimal
BOOK = OrderBook(
    tuple((D(100 - step), D("0.50")) for step in range(1, 31)),
    tuple((D(100 + step), D("1E-7")) for step in range(30)),
    NOON,
)
PAIR = {"currency": "USD", "asset": "BTC"}


class Market(Stub):
    """An exchange that answers with records of this test, and counts what it is asked."""

    id = "market"
    calls: ClassVar[list[tuple]] = []
    #: Holds up order books for callers who are not logged in; `held_up` counts those that wait.
    public_gate: ClassVar[threading.Event] = threading.Event()
    held_up: ClassVar[threading.Semaphore] = threading.Semaphore(0)

    def order_book(self, currency, asset, depth):
        self.calls.append(("order_book", currency, asset, depth))
        if not self.context.registration:
            self.held_up.release()
            assert self.public_gate.wait(60)
        return OrderBook(BOOK.bids[:depth], BOOK.asks[:depth], BOOK.time)

    def ticker(self, currency, asset):
        self.calls.append(("ticker", currency, asset))
        return Ticker(D("99.50"), None, D(90), D("1E+3"), D(99), D(100), NOON)

    def candle_intervals(self):
        return ("1h",)

    def candles(self, currency, asset, interval, since, limit):
        self.calls.append(("candles", currency, asset, interval, since, limit))
        return [Candle(NOON, D(1), D(3), D("0.5"), D(2), D(0))]

    def trades(self, currency, asset, limit):
        self.calls.append(("trades", currency, asset, limit))
        return [Trade(None, None, D("0.10"), D(100), NOON)]

    def fees(self, currency, asset):
        self.calls.append(("fees", self.context.registration))
        return Fees(D("0.0016"), D("0.0026"), "account")


@pytest.fixture
def serving_market(serving, monkeypatch):
    monkeypatch.setitem(exchanges.EXCHANGES, "market", "tests.server.views.test_markets:Market")
    monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
    monkeypatch.setattr(Market, "calls", [])
    monkeypatch.setattr(Market, "public_gate", threading.Event())
    Market.public_gate.set()
    with serving(exchanges=("market", "stub", "paper")) as server:
        yield server


def backend_at(server, exchange="market", auth=None):
    auth = auth or server.account()
    return XWrap(server.url).create_backend(*auth, exchange, "", "", "")


def test_each_is_told_with_all_its_digits(serving_market):
    backend = backend_at(serving_market)
    assert backend.order_book("usd", "btc", depth=2) == {
        "bids": [(D(99), D("0.50")), (D(98), D("0.50"))],
        "asks": [(D(100), D("0.0000001")), (D(101), D("0.0000001"))],
        "time": "2026-11-27T12:00:00Z",
    }
    assert backend.ticker("USD", "BTC") == {
        "last": D("99.50"),
        "high": None,
        "low": D(90),
        "volume": D(1000),
        "bid": D(99),
        "ask": D(100),
        "time": "2026-11-27T12:00:00Z",
    }
    assert backend.candles("USD", "BTC") == [
        {"time": "2026-11-27T12:00:00Z", "open": D(1), "high": D(3), "low": D("0.5"), "close": D(2), "volume": D(0)}
    ]
    assert backend.trades("USD", "BTC") == [
        {"id": None, "side": None, "amount": D("0.10"), "price": D(100), "time": "2026-11-27T12:00:00Z"}
    ]
    assert backend.fees("USD", "BTC") == {"maker": D("0.0016"), "taker": D("0.0026"), "source": "account"}


def test_a_size_that_is_not_given_is_the_documented_one(serving_market):
    backend = backend_at(serving_market)
    assert len(backend.order_book("USD", "BTC")["bids"]) == 20
    backend.candles("USD", "BTC")
    backend.trades("USD", "BTC")
    assert Market.calls == [
        ("order_book", "USD", "BTC", 20),
        ("candles", "USD", "BTC", "1h", None, 100),
        ("trades", "USD", "BTC", 50),
    ]


def test_a_time_is_taken_as_a_datetime_and_as_text(serving_market):
    backend = backend_at(serving_market)
    backend.candles("USD", "BTC", "1h", since=NOON, limit=7)
    backend.candles("USD", "BTC", "1h", since="2026-11-27T13:00:00+01:00", limit=8)
    assert [call[4:] for call in Market.calls] == [(NOON, 7), (NOON, 8)]


def test_many_callers_at_a_time_cost_one_question_and_fees_are_each_accounts_own(serving_market):
    first, second = backend_at(serving_market), backend_at(serving_market)
    in_threads(16, lambda number: (first, second)[number % 2].order_book("USD", "BTC", depth=number + 1))
    assert Market.calls == [("order_book", "USD", "BTC", 20)]
    Market.calls.clear()
    in_threads(8, lambda number: (first, second)[number % 2].fees("USD", "BTC"))
    assert sorted(Market.calls) == [("fees", first.id), ("fees", second.id)]


def test_an_order_book_needs_no_account(serving_market):
    xwrap = XWrap(serving_market.url)
    assert xwrap.order_book("market", "USD", "BTC", depth=1)["asks"] == [(D(100), D("0.0000001"))]
    with pytest.raises(InvalidRequest) as caught:
        xwrap.order_book("nowhere", "USD", "BTC")
    assert caught.value.code == "unknown_exchange"


def test_one_that_is_asked_for_without_an_account_holds_up_nobody_who_has_one(serving_market):
    backend, xwrap = backend_at(serving_market), XWrap(serving_market.url)
    Market.public_gate.clear()
    waiting = threading.Thread(target=xwrap.order_book, args=("market", "USD", "BTC"))
    waiting.start()
    try:
        assert Market.held_up.acquire(timeout=60)
        assert len(backend.order_book("USD", "BTC")["bids"]) == 20
    finally:
        Market.public_gate.set()
        waiting.join()
    assert Market.calls == [("order_book", "USD", "BTC", 20)] * 2


def test_a_datetime_without_a_zone_is_refused_by_the_client(serving_market):
    with pytest.raises(InvalidRequest, match="without a zone"):
        backend_at(serving_market).candles("USD", "BTC", since=NOON.replace(tzinfo=None))
    assert Market.calls == []


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("order_book", {"depth": "0"}, "depth"),
        ("order_book", {"depth": "1001"}, "depth"),
        ("order_book", {"depth": "x"}, "depth"),
        ("candles", {"limit": "1000000000"}, "limit"),
        ("candles", {"since": "yesterday"}, "since"),
        ("candles", {"since": (datetime.now(UTC) + timedelta(days=1)).isoformat()}, "since"),
        ("candles", {"interval": "an hour"}, "interval"),
        ("trades", {"limit": "0"}, "limit"),
        ("ticker", {"depth": "1"}, "depth"),
        ("fees", {"currency": ""}, "currency"),
    ],
)
def test_a_bad_question_is_422_and_names_its_field(serving_market, path, query, field):
    backend = backend_at(serving_market)
    answer = requests.get(
        f"{serving_market.url}/exchanges/{backend.id}/{path}",
        PAIR | query,
        auth=(backend.username, backend.password),
        timeout=30,
    )
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert Market.calls == []


@pytest.mark.parametrize("call", ["order_book", "ticker", "candles", "trades", "fees"])
def test_an_exchange_that_has_no_such_call_says_so(serving_market, call):
    backend = backend_at(serving_market, "stub")
    with pytest.raises(InvalidRequest) as caught:
        getattr(backend, call)("USD", "BTC")
    assert caught.value.code == "unsupported"


def test_an_interval_that_the_exchange_lacks_is_refused_with_those_that_it_has(serving_market):
    with pytest.raises(InvalidRequest, match=r"1m, 5m, 15m, 1h, 4h, 1d") as caught:
        backend_at(serving_market, "paper").candles("USD", "BTC", "2h")
    assert caught.value.code == "unknown_interval"


def test_the_candles_of_paper_are_made_of_its_recorded_minutes(serving_market):
    backend = backend_at(serving_market, "paper")
    since = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    (hour,) = backend.candles("USD", "BTC", "1h", since=since, limit=1)
    minutes = backend.candles("USD", "BTC", "1m", since=since, limit=60)
    assert len(minutes) == 60
    assert (hour["open"], hour["close"]) == (minutes[0]["open"], minutes[-1]["close"])
    assert hour["high"] == max(minute["high"] for minute in minutes)
    assert hour["low"] == min(minute["low"] for minute in minutes)
    assert backend.candles("USD", "BTC", "1h", since=since, limit=1000)[-1]["time"] >= hour["time"]
