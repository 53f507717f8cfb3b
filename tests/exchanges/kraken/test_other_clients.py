"""Clients that nobody here wrote trade on the local Kraken: krakenex and ccxt, where they are installed.

In an environment of its own: `pip install krakenex ccxt pytest requests`, then run pytest on this file.
"""

from __future__ import annotations

import itertools
import time
from inspect import signature

import pytest

from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue

WRONG = "d3JvbmcgYnV0IGJhc2U2NA=="


VENUE = KrakenVenue


def nonces():
    """Rising milliseconds: both clients take the clock's, and two calls in one millisecond collide."""
    counter = itertools.count(time.time_ns() // 1_000_000)
    return lambda: next(counter)


@pytest.fixture
def krakenex(venue):
    module = pytest.importorskip("krakenex", reason="krakenex is not installed")

    def client(secret=venue.secret):
        api = module.API(venue.key, secret)
        api.uri = venue.url
        api._nonce = nonces()
        clients.append(api)
        return api

    clients = []
    yield client
    for api in clients:
        api.close()


@pytest.fixture
def ccxt(venue):
    module = pytest.importorskip("ccxt", reason="ccxt is not installed")

    def client(secret=venue.secret):
        urls = {"api": {"public": venue.url, "private": venue.url}}
        api = module.kraken({"apiKey": venue.key, "secret": secret, "enableRateLimit": False, "urls": urls})
        api.nonce = nonces()
        clients.append(api)
        return api

    clients = []
    yield client
    for api in clients:
        api.session.close()


def test_krakenex_trades(venue, krakenex):
    api = krakenex()

    def private(name, /, **data):
        answer = api.query_private(name, data)
        assert answer["error"] == []
        return answer["result"]

    ticker = api.query_public("Ticker", {"pair": "XBTEUR"})["result"]["XXBTZEUR"]
    assert (ticker["a"][0], ticker["b"][0]) == ("27850.10000", "27850.00000")
    assert private("BalanceEx")["ZEUR"] == {"balance": "1000000.0000", "hold_trade": "0.0000"}
    [bought] = private("AddOrder", pair="XBTEUR", type="buy", ordertype="market", volume="0.01000000")["txid"]
    [sold] = private("AddOrder", pair="XBTEUR", type="sell", ordertype="limit", volume="0.01", price="99999.0")["txid"]
    result = private("QueryOrders", txid=bought, trades="true")[bought]
    assert (result["status"], result["vol_exec"], result["cost"], result["fee"]) == (
        *("closed", "0.01000000", "278.50100", "0.72410"),
    )
    assert list(private("OpenOrders")["open"]) == [sold]
    assert private("CancelOrder", txid=sold) == {"count": 1}
    assert private("OpenOrders")["open"] == {}
    method = private("DepositMethods", asset="XBT")[0]["method"]
    [address] = private("DepositAddresses", asset="XBT", method=method)
    assert address["address"] == venue.address(venue.account, "BTC", network="Bitcoin")
    assert [row["order_id"] for row in venue.ledger()] == [bought, sold]


def test_krakenex_with_a_wrong_secret_is_refused(venue, krakenex):
    api = krakenex(WRONG)
    order = {"pair": "XBTEUR", "type": "buy", "ordertype": "market", "volume": "0.01"}
    for method, data in (("Balance", {}), ("AddOrder", order)):
        assert api.query_private(method, data) == {"error": ["EAPI:Invalid signature"]}
    assert not venue.ledger()


def test_ccxt_trades(venue, ccxt):
    api = ccxt()
    ticker = api.fetch_ticker("BTC/EUR")
    assert (ticker["ask"], ticker["bid"]) == (27850.1, 27850.0)
    assert api.fetch_balance()["EUR"] == {"free": 1_000_000.0, "used": 0.0, "total": 1_000_000.0}
    bought = api.create_order("BTC/EUR", "market", "buy", 0.01)["id"]
    sold = api.create_order("BTC/EUR", "limit", "sell", 0.01, 99999.0)["id"]
    result = api.fetch_order(bought, "BTC/EUR")
    assert (result["status"], result["filled"], result["cost"], result["average"]) == (
        *("closed", 0.01, 278.501, 27850.1),
    )
    assert result["fee"]["cost"] == "0.72410"
    assert result["fee"]["currency"] == "EUR"
    assert [order["id"] for order in api.fetch_open_orders("BTC/EUR")] == [sold]
    api.cancel_order(sold, "BTC/EUR")
    assert api.fetch_open_orders("BTC/EUR") == []
    by_cost = api.create_market_buy_order_with_cost("BTC/EUR", 100)["id"]
    assert api.fetch_order(by_cost, "BTC/EUR")["info"]["cost"] == "100.00000"
    address = api.fetch_deposit_address("BTC")["address"]
    assert address == venue.address(venue.account, "BTC", network="Bitcoin")
    assert [row["order_id"] for row in venue.ledger()] == [bought, sold, by_cost]


def test_ccxt_with_a_wrong_secret_is_refused(venue, ccxt):
    import ccxt as module

    api = ccxt(WRONG)
    for act in (api.fetch_balance, lambda: api.create_order("BTC/EUR", "market", "buy", 0.01)):
        with pytest.raises(module.ExchangeError, match="EAPI:Invalid signature"):
            act()
    assert not venue.ledger()


# What the root README says of either alone.

BUY = {"pair": "XBTEUR", "type": "buy", "ordertype": "market", "volume": "0.01"}


@pytest.mark.parametrize("name", ["krakenex", "ccxt"])
def test_either_alone_raises_the_same_for_an_order_that_was_executed_and_one_that_was_not(venue, request, name):
    api = request.getfixturevalue(name)()

    def buy():
        if name == "ccxt":
            return api.create_order("BTC/EUR", "market", "buy", 0.01)
        return api.query_private("AddOrder", dict(BUY))

    if name == "ccxt":
        api.load_markets()
    errors = []
    for fault in ("reset_before", "reset_after"):
        venue.fault(fault, path="AddOrder")
        with pytest.raises(Exception) as caught:
            buy()
        errors.append(type(caught.value))
    assert errors[0] is errors[1]
    assert len(venue.ledger()) == 1
    buy()
    assert len(venue.ledger()) == 2


def test_nonces_of_either_alone_collide_within_a_millisecond():
    krakenex, ccxt = (pytest.importorskip(name, reason=f"{name} is not installed") for name in ("krakenex", "ccxt"))
    for nonce in (krakenex.API()._nonce, ccxt.kraken().nonce):
        assert len({nonce() for _ in range(10_000)}) < 10_000


def test_ccxt_reads_amounts_as_floats_and_has_no_test_network_of_kraken_and_krakenex_waits_for_ever():
    krakenex, ccxt = (pytest.importorskip(name, reason=f"{name} is not installed") for name in ("krakenex", "ccxt"))
    assert ccxt.kraken().number is float
    assert "test" in ccxt.binance().urls
    assert not ccxt.kraken().urls.get("test")
    assert signature(krakenex.API.query_private).parameters["timeout"].default is None
