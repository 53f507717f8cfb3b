"""An order through the server whose answer was lost: its exchange of ccxt is asked, and it is never placed twice.

Three ways of looking up: Binance is asked for one order by our id, Kraken for two lists that filter by it, Coinbase for
lists in which the ids are compared.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
import requests

from bitmm.xwrap.exchanges.base import RateLimit
from bitmm.xwrap.exchanges.ccxt import exchange_class
from tests.exchanges.ccxt.stub import listing_of
from tests.exchanges.ccxt.venues import BinanceVenue, CoinbaseVenue

pytest.importorskip("ccxt", reason="ccxt is not installed")

CURRENCIES = {"binance": "USDT", "coinbase": "USD", "kraken": "EUR"}
PLACING = {"binance": "POST /api/v3/order", "coinbase": "POST /api/v3/brokerage/orders", "kraken": "AddOrder"}


@pytest.fixture(params=CURRENCIES)
def venue(request, monkeypatch):
    if request.param == "kraken":
        yield request.getfixturevalue("kraken")
        return
    kind = exchange_class(f"ccxt:{request.param}")
    listing = listing_of(request.param)
    monkeypatch.setattr(kind, "_markets", lambda self: listing)
    with {"binance": BinanceVenue, "coinbase": CoinbaseVenue}[request.param]() as venue:
        yield venue


@pytest.fixture
def call(serving, venue, monkeypatch):
    """A function that calls the server with the keys of a registration at the local exchange."""
    id = f"ccxt:{venue.name}"
    monkeypatch.setattr(exchange_class(id), "per_address", RateLimit(1000, 1000))
    with ExitStack() as stack:
        server = stack.enter_context(serving(exchanges=(id,), exchange_urls={id: venue.url}))
        auth = server.account()
        url = f"{server.url}/exchanges/{server.registration(auth, id, apikey=venue.key, apisecret=venue.secret)}"

        def call(method, path, key=None, **form):
            headers = {"Idempotency-Key": key} if key else {}
            return requests.request(
                method, f"{url}/{path}", data=form or None, auth=auth, headers=headers, timeout=30
            ).json()

        yield call


def settled(call, id):
    """The order as soon as the server knows what became of it."""
    deadline = time.monotonic() + 20
    while (order := call("GET", f"orders/{id}"))["status"] == "unknown" and time.monotonic() < deadline:
        time.sleep(0.05)
    return order


@pytest.mark.parametrize("price", [{}, {"price": "60000"}], ids=["market", "limit"])
def test_an_order_whose_answer_was_lost_is_found_open_or_over_and_not_placed_again(call, venue, price):
    form = {"currency": CURRENCIES[venue.name], "asset": "BTC", "amount": "0.1", **price}
    venue.fault("reset_after", path=PLACING[venue.name])
    lost = call("POST", "sell", key="a key", **form)
    assert (lost.get("status") or lost["code"]) in {"unknown", "outcome_unknown"}, lost
    order = settled(call, lost["id"])
    (made,) = venue.ledger()
    assert (order["exchange_order_id"], order["key"]) == (made["order_id"], "a key")
    assert order["status"] == ("open" if price else "filled")
    assert call("POST", "sell", key="a key", **form)["id"] == order["id"]
    assert len(venue.ledger()) == 1


@pytest.mark.parametrize("venue", ["binance", "coinbase"], indirect=True)
def test_an_order_that_did_not_arrive_is_not_called_refused_while_it_may_arrive(call, venue):
    form = {"currency": CURRENCIES[venue.name], "asset": "BTC", "amount": "0.1", "price": "60000"}
    venue.fault("reset_before", path=PLACING[venue.name])
    lost = call("POST", "sell", key="a key", **form)
    looked_up = len(venue.requests) + {"binance": 1, "coinbase": 2}[venue.name]
    deadline = time.monotonic() + 20
    while len(venue.requests) < looked_up and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(venue.requests) >= looked_up
    assert call("GET", f"orders/{lost['id']}")["status"] == "unknown"
    assert not venue.ledger()


@pytest.mark.parametrize("venue", ["coinbase"], indirect=True)
def test_where_a_known_id_is_answered_with_its_order_two_deliveries_are_one_order(call, venue):
    venue.fault("delivered_twice", path=PLACING["coinbase"])
    placed = call("POST", "sell", currency="USD", asset="BTC", amount="0.1", price="60000")
    (made,) = venue.ledger()
    assert (placed["status"], placed["exchange_order_id"]) == ("open", made["order_id"])
