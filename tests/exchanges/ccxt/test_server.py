"""Orders through the server at exchanges of ccxt: what it says of them is true, also where an exchange tells little."""

from __future__ import annotations

from contextlib import ExitStack
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap.client import InvalidRequest, XWrap
from bitmm.xwrap.exchanges import orders
from bitmm.xwrap.exchanges.base import RateLimit
from bitmm.xwrap.exchanges.ccxt import exchange_class
from bitmm.xwrap.exchanges.ccxt import orders as ccxt_orders
from bitmm.xwrap.exchanges.ccxt.adapter import CcxtExchange

pytest.importorskip("ccxt", reason="ccxt is not installed")

LIMIT = {"currency": "EUR", "asset": "BTC", "amount": "0.1"}


@pytest.fixture
def owner(serving, monkeypatch):
    """A function: a function that calls the server with the keys of a registration at a local exchange."""

    def connect(venue):
        id = f"ccxt:{venue.name}"
        monkeypatch.setattr(exchange_class(id), "per_address", RateLimit(1000, 1000))
        server = stack.enter_context(serving(exchanges=(id,), exchange_urls={id: venue.url}))
        auth = server.account()
        url = f"{server.url}/exchanges/{server.registration(auth, id, apikey=venue.key, apisecret=venue.secret)}"

        def call(method, path, **form):
            return requests.request(method, f"{url}/{path}", data=form or None, auth=auth, timeout=30).json()

        return call

    with ExitStack() as stack:
        yield connect


def test_where_the_exchange_can_be_asked_a_refusal_for_funds_is_definite_in_the_same_call(owner, kraken):
    call = owner(kraken)
    refused = call("POST", "sell", **LIMIT | {"amount": "1000"})
    assert (refused["code"], refused["may_have_executed"]) == ("insufficient_funds", False)
    assert not kraken.ledger()


@pytest.mark.parametrize("price", [{}, {"price": "60000"}], ids=["market", "limit"])
def test_an_order_that_is_delivered_twice_is_found_in_the_same_call(owner, kraken, price):
    call = owner(kraken)
    kraken.fault("delivered_twice", path="AddOrder")
    placed = call("POST", "sell", **LIMIT, **price)
    (row,) = kraken.ledger()
    assert placed["exchange_order_id"] == row["order_id"]
    assert placed["status"] == ("open" if price else "filled")


def test_where_it_cannot_be_asked_it_stays_unknown(owner, paymium):
    call = owner(paymium)
    paymium.fault("delivered_twice", path="/user/orders")
    placed = call("POST", "sell", **LIMIT, price="30")
    assert placed["status"] == "unknown"
    assert len(paymium.ledger()) == 1


def test_a_cancel_is_reported_and_a_filled_order_has_its_amounts_at_paymium(owner, paymium):
    call = owner(paymium)
    placed = call("POST", "sell", **LIMIT, price="30")
    assert call("DELETE", f"orders/{placed['id']}")["status"] == "canceled"
    sold = call("POST", "sell", **LIMIT, price="20")
    state = call("GET", f"orders/{sold['id']}")
    assert (state["status"], state["filled"], state["spent"]) == ("filled", "0.1", "2.0100")
    refused = call("POST", "sell", **LIMIT | {"amount": "1000"})
    assert (refused["code"], refused["may_have_executed"]) == ("exchange_refused", False)


def test_a_cancel_is_reported_where_only_open_orders_are_told(owner, coincheck, monkeypatch):
    call = owner(coincheck)
    yen = LIMIT | {"currency": "JPY"}
    placed = call("POST", "sell", **yen, price="7000000")
    assert [row["id"] for row in call("GET", "orders/?status=open")] == [placed["id"]]
    assert call("DELETE", f"orders/{placed['id']}")["status"] == "canceled"
    placed = call("POST", "sell", **yen, price="7000000")
    coincheck.cancel(coincheck.orders[placed["exchange_order_id"]])
    monkeypatch.setattr(orders, "LISTED_SECONDS", 0)
    closed = call("GET", f"orders/{placed['id']}")
    assert (closed.get("status"), closed.get("filled")) == ("closed", None), closed
    assert closed["reason"].startswith("no longer open at Coincheck")
    sold = call("POST", "sell", **yen, price="6000000")
    assert call("GET", f"orders/{sold['id']}")["filled"] == "0.1"


def test_where_one_market_is_listed_at_a_time_those_of_our_own_open_orders_are(owner, coincheck, monkeypatch):
    monkeypatch.setattr(exchange_class("ccxt:coincheck"), "lists_one_market", True)
    call, yen = owner(coincheck), LIMIT | {"currency": "JPY"}
    other = coincheck.place(coincheck.account, "BTC/JPY", "sell", amount=Decimal("0.2"), price=Decimal(8000000))
    assert call("GET", "orders?status=open") == []
    placed = call("POST", "sell", **yen, price="7000000")
    listed = call("GET", "orders?status=open")
    assert {(row["id"], row["exchange_order_id"]) for row in listed} == {
        (placed["id"], placed["exchange_order_id"]),
        (None, other.id),
    }


def test_a_passphrase_is_registered_and_without_one_the_form_is_told(serving, monkeypatch):
    monkeypatch.setattr(CcxtExchange, "funds", lambda _exchange: {})  # there is no local KuCoin that would try the key
    with serving(exchanges=("ccxt:kucoin",)) as server:
        auth, xwrap = server.account(), XWrap(server.url)
        (row,) = xwrap.list_exchanges()
        assert [(field["name"], field["secret"]) for field in row["form"]] == [
            *(("apikey", False), ("apisecret", True), ("passphrase", True))
        ]
        with pytest.raises(InvalidRequest, match="its form is apikey, apisecret, passphrase"):
            xwrap.create_backend(*auth, "ccxt:kucoin", "", "a-key", "a-secret")
        backend = xwrap.create_backend(*auth, "ccxt:kucoin", "", "a-key", "a-secret", passphrase="open sesame")
        assert backend.exchange == "ccxt:kucoin"
        assert "open sesame" not in repr(backend.info)


def test_a_market_buy_that_is_sent_as_its_cost_keeps_the_amount_that_was_asked_for(owner, kraken, monkeypatch):
    monkeypatch.setattr(ccxt_orders, "BUYS_BY_COST", {"kraken"})
    monkeypatch.setattr(
        exchange_class("ccxt:kraken"), "_cost_in_book", lambda exchange, order, *_: exchange.rate("EUR", "BTC").buy
    )
    call = owner(kraken)
    placed = call("POST", "buy", **LIMIT | {"amount": "1.01"})
    (made,) = kraken.orders.values()
    assert (placed["status"], placed["amount"], Decimal(placed["filled"])) == ("filled", "1.01", made.filled)
    assert made.filled != Decimal("1.01")
    assert placed["reason"].startswith("sent as a market buy for ")
    assert call("GET", f"orders/{placed['id']}") == placed
