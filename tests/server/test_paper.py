"""Paper at the prices of an exchange, through the server: who looks, what waits for what, and what is asked there."""

from __future__ import annotations

import threading
import time
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap.client import Unavailable, XWrap
from bitmm.xwrap.exchanges.base import RateLimit
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.server.paper import paper_config
from bitmm.xwrap.server.settings import Settings, SettingsError
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue

FUNDS = {"EUR": Decimal(100_000), "BTC": Decimal(10)}


@pytest.fixture(scope="module")
def venue():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture(scope="module")
def live(serving, venue):
    """A server whose paper exchange trades at the prices of the local Kraken, which may be asked as often as needed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kraken, "per_address", RateLimit(1000, 1000))
        with serving(
            exchanges=("paper", "kraken"),
            exchange_urls={"kraken": venue.url},
            paper_prices="kraken",
            paper_funds=FUNDS,
            paper_look_seconds=0.2,
        ) as server:
            yield server


@pytest.fixture
def backend(live, venue):
    venue.heal()
    venue.set_best_prices("BTC/EUR", Decimal("1000.0"), Decimal("990.0"))
    backend = XWrap(live.url).create_backend(*live.account(), "paper", "", "", "")
    seen_within(backend, lambda: backend.exchange_rate("EUR", "BTC")["buy"] == 1000)
    return backend


def seen_within(backend, is_so, seconds=60):
    """Wait until something is so: prices are looked at every few seconds, and a jump is believed after some more."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if is_so():
                return
        except Unavailable:
            pass
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def test_the_list_of_exchanges_says_whose_prices_they_are(live):
    rows = {row["id"]: row for row in XWrap(live.url).list_exchanges()}
    assert "at the prices of Kraken now" in rows["paper"]["description"]
    assert {"candles", "trades", "ticker"} <= set(rows["paper"]["can"])


def test_a_resting_order_is_filled_when_nobody_asks(live, venue, backend):
    placed = backend.sell("EUR", "BTC", Decimal("0.5"), price=Decimal(1100))
    assert placed["status"] == "open"
    venue.set_best_prices("BTC/EUR", Decimal("1120.0"), Decimal("1110.0"))
    query = "SELECT status, average FROM paper_orders WHERE registration_id = :id AND side = 'sell'"
    seen_within(backend, lambda: live.sql(query, id=backend.id) == [("filled", "1100")])
    order = backend.order(placed["id"])
    assert (order["status"], order["average"], order["filled"]) == ("filled", 1100, Decimal("0.5"))
    assert backend.balance()["BTC"] == Decimal("9.5")


def test_while_the_exchange_is_away_orders_are_refused_and_what_stops_them_works(venue, backend):
    resting = backend.buy("EUR", "BTC", 1, price=900)
    venue.fault("maintenance", times=10_000)
    seen_within(backend, lambda: "pauses" in (backend.order(resting["id"])["reason"] or ""))
    for call in (
        lambda: backend.buy("EUR", "BTC", Decimal("0.1")),
        lambda: backend.buy("EUR", "BTC", Decimal("0.1"), price=1000),
        lambda: backend.amend(resting["id"], price=950),
        lambda: backend.exchange_rate("EUR", "BTC"),
    ):
        with pytest.raises(Unavailable, match="pauses") as caught:
            call()
        assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)
    # The amendment canceled nothing.
    assert [order["id"] for order in backend.orders("open")] == [resting["id"]]
    assert backend.balance() == {**FUNDS, "USD": 0}
    with pytest.raises(Unavailable, match="pauses"):
        backend.buy("EUR", "BTC", 1, dry_run=True)
    assert backend.cancel(resting["id"])["status"] == "canceled"
    venue.heal()
    seen_within(backend, lambda: backend.exchange_rate("EUR", "BTC")["buy"] == 1000)
    tried, bought = (backend.buy("EUR", "BTC", Decimal("1.5"), dry_run=dry_run) for dry_run in (True, False))
    assert {name: tried[name] for name in ("average", "spent", "fee")} == {
        name: bought[name] for name in ("average", "spent", "fee")
    }
    assert tried["remaining"] == backend.balance()["EUR"]


def test_no_transaction_is_open_while_the_exchange_thinks(live, venue, backend):
    """Others write meanwhile: the whole data base has one writer."""
    other = XWrap(live.url).create_backend(*live.account(), "paper", "", "", "")
    started = threading.Event()

    def slow(given, depth=venue.public_Depth):
        started.set()
        time.sleep(1)
        return depth(given)

    venue.public_Depth = slow
    try:
        thread = threading.Thread(target=lambda: (time.sleep(1.2), backend.buy("EUR", "BTC", Decimal("0.1"))))
        thread.start()
        assert started.wait(30)
        other.rename("written meanwhile")
        assert thread.is_alive()
        thread.join()
    finally:
        del venue.public_Depth
    assert backend.balance()["BTC"] == Decimal("10.1")


def test_the_exchange_is_asked_for_what_needs_no_key_and_nothing_else(venue, backend):
    backend.sell("EUR", "BTC", Decimal("0.1"), price=5000)
    backend.cancel_all()
    backend.fees("EUR", "BTC")
    backend.ticker("EUR", "BTC")
    backend.candles("EUR", "BTC")
    backend.trades("EUR", "BTC")
    backend.markets()
    backend.funds()
    backend.all_fills("EUR", "BTC")
    asked = {(request.method, request.path.removeprefix("/0/public/")) for request in venue.requests}
    assert asked <= {("GET", name) for name in ("AssetPairs", "Assets", "Depth", "OHLC", "Ticker", "Trades")}
    assert not [request for request in venue.requests if "API-Key" in request.headers]


@pytest.mark.parametrize(
    ("prices", "exchanges", "words"),
    [
        ("kraken", ("paper",), "XWRAP_PAPER_PRICES names 'kraken', which is not offered"),
        ("paper", ("paper",), "XWRAP_PAPER_PRICES names 'paper', which has no prices of its own"),
        ("hub", ("paper", "hub"), "which tells no order books"),
        ("krakn", ("paper", "kraken"), "did you mean kraken?"),
        ("/no/such/file.csv", ("paper", "kraken"), "exchanges that are offered are kraken"),
    ],
)
def test_prices_that_cannot_be_used_are_refused_in_one_line(tmp_path, prices, exchanges, words):
    settings = Settings.read({"XWRAP_PAPER_PRICES": prices}, data=tmp_path, port=0, exchanges=exchanges)
    with pytest.raises(SettingsError) as caught:
        paper_config(settings, None, None)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_paper_trades_at_the_prices_of_an_exchange_of_ccxt(serving, venue):
    pytest.importorskip("ccxt", reason="ccxt is not installed")
    venue.heal()
    venue.set_best_prices("BTC/EUR", Decimal("1000.0"), Decimal("990.0"))
    with serving(
        exchanges=("paper", "ccxt:kraken"),
        exchange_urls={"ccxt:kraken": venue.url},
        environ={"XWRAP_PAPER_PRICES": "ccxt:kraken", "XWRAP_PAPER_FUNDS": "eur=5000"},
    ) as server:
        backend = XWrap(server.url).create_backend(*server.account(), "paper", "", "", "")
        rate = backend.exchange_rate("EUR", "XBT")
        order = backend.buy("EUR", "XBT", 1)
        book = venue.pairs["BTC/EUR"]
        assert (order["average"], rate["buy"], rate["sell"]) == (book.asks[0][0], book.asks[0][0], book.bids[0][0])
        assert order["fee"] == order["spent"] * backend.fees("EUR", "BTC")["taker"]
        assert requests.get(f"{server.url}/exchange_rates/?from=EUR&to=BTC", timeout=30).json()[0]["id"] == "paper"
