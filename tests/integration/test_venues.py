"""One order, all the way: the client, the server, and each exchange's own protocol over HTTP."""

from __future__ import annotations

import time
from decimal import Decimal
from importlib import import_module

import pytest
import requests

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.errors import APIError, OutcomeUnknown

#: id of the exchange, the venue's module, a pair that it trades, an amount.
VENUES = [
    ("kraken", "kraken", ("EUR", "BTC"), "0.01"),
    ("bitstamp", "bitstamp", ("USD", "BTC"), "0.01"),
    ("backpack", "backpack", ("USDC", "SOL"), "0.5"),
]


class Trader:
    """A backend at one exchange, and the local exchange behind it."""

    def __init__(self, venue, server, exchange, pair, amount):
        self.venue, self.pair, self.amount = venue, pair, Decimal(amount)
        self.server, self.auth = server, server.account()
        self.xw = XWrap(server.url)
        self.backend = self.xw.create_backend(*self.auth, exchange, "1234", venue.key, venue.secret, allow_send=True)

    def ledger(self):
        return requests.get(f"{self.venue.url}/_venue/ledger", timeout=10).json()

    def requests(self):
        return requests.get(f"{self.venue.url}/_venue/requests", timeout=10).json()

    def asked_until_known(self, key):
        """The order of this key, once the reconciler has found out."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                return self.backend.buy(*self.pair, self.amount, key=key)
            except OutcomeUnknown:
                requests.get(f"{self.venue.url}/_venue/ledger", timeout=10)
        raise AssertionError("the outcome stays unknown")

    def fault(self, **fault):
        requests.post(f"{self.venue.url}/_venue/fault", json=fault, timeout=10).raise_for_status()


@pytest.fixture(params=VENUES, ids=[venue[0] for venue in VENUES])
def trader(request, serving):
    exchange, module, pair, amount = request.param
    with (
        import_module(f"bitmm.xwrap.testing.exchanges.{module}").VENUE() as venue,
        serving(
            exchanges=(exchange,), exchange_urls={exchange: venue.url}, exchange_seconds=1.0, reconcile_seconds=0.2
        ) as server,
    ):
        yield Trader(venue, server, exchange, pair, amount)


def test_a_market_order_is_executed_once_and_tells_what_it_cost(trader):
    before = trader.backend.balance()
    order = trader.backend.buy(*trader.pair, trader.amount)
    assert order["status"] == "filled"
    assert order["filled"] == trader.amount
    assert order["average"] > 0
    assert order["fee"] is not None
    (row,) = trader.ledger()
    assert (row["kind"], row["side"], Decimal(row["amount"])) == ("order", "buy", trader.amount)
    assert str(row["order_id"]) == order["exchange_order_id"]
    currency, asset = trader.pair
    after = trader.backend.balance()
    assert after[currency] == before[currency] - order["spent"] - order["fee"]
    assert after[asset] == before.get(asset, Decimal(0)) + trader.amount


def test_an_order_costs_at_most_one_request_before_it(trader):
    trader.backend.buy(*trader.pair, trader.amount)
    start = len(trader.requests())
    trader.backend.buy(*trader.pair, trader.amount)
    made = trader.requests()[start:]
    placing = next(number for number, request in enumerate(made) if is_order(request))
    assert placing <= 1, made


def test_what_an_exchange_lists_is_asked_once_for_all_who_use_a_server(trader):
    markets = trader.backend.markets()
    keys = (trader.venue.key, trader.venue.secret)
    other = trader.xw.create_backend(
        *trader.server.account(), trader.backend.exchange, "another", *keys, allow_send=True
    )
    start = len(trader.requests())
    assert other.markets() == markets
    assert trader.requests()[start:] == []


def is_order(request):
    return request["method"] == "POST" and any(
        word in request["target"] for word in ("AddOrder", "/buy/", "/api/v1/order")
    )


def test_an_order_whose_answer_is_lost_is_unknown_and_then_found(trader):
    trader.fault(kind="executed_but_timeout", times=1, path=order_path(trader))
    with pytest.raises(OutcomeUnknown) as caught:
        trader.backend.buy(*trader.pair, trader.amount)
    key = caught.value.key
    assert caught.value.may_have_executed
    order = trader.asked_until_known(key)
    assert order["status"] == "filled"
    assert len(trader.ledger()) == 1


def order_path(trader):
    return {"kraken": "AddOrder", "bitstamp": "buy", "backpack": "order"}[trader.backend.exchange]


def test_a_refused_order_is_not_in_the_ledger(trader):
    """Backpack has no nonce: its refusal for funds could be the answer to a second delivery of the order."""
    with pytest.raises(APIError) as caught:
        trader.backend.sell(*trader.pair, trader.amount * 10**6)
    assert caught.value.may_have_executed is (trader.backend.exchange == "backpack")
    assert trader.ledger() == []


def test_rates_of_all_come_from_it(trader):
    (rate,) = trader.xw.exchange_rates(*trader.pair)
    assert rate["exchange"] == trader.backend.exchange
    assert rate["buy"] >= rate["sell"] > 0
