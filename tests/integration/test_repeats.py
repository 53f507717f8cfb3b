"""What a key is answered with at the local Kraken: what is known now, and the same for ever once that is final."""

from __future__ import annotations

from decimal import Decimal

import pytest
import requests

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.server.reconciliation import Reconciler
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue

ORDER = {"currency": "EUR", "asset": "BTC", "amount": "0.01"}


class Caller:
    def __init__(self, venue, server):
        self.venue, self.auth = venue, server.account()
        id = server.registration(self.auth, "kraken", apikey=venue.key, apisecret=venue.secret)
        self.url = f"{server.url}/exchanges/{id}"
        self.backend = XWrap(server.url).backend(id, *self.auth)

    def buy(self, key, **more):
        headers = {"Idempotency-Key": key}
        return requests.post(f"{self.url}/buy", data=ORDER | more, auth=self.auth, headers=headers, timeout=30)


@pytest.fixture
def caller(serving, monkeypatch):
    monkeypatch.setattr(Reconciler, "start", lambda self, **_: None)
    monkeypatch.setattr(Reconciler, "stop", lambda self: None)
    with (
        KrakenVenue() as venue,
        serving(
            exchanges=("kraken",),
            exchange_urls={"kraken": venue.url},
            exchange_limits={"kraken": None},
            exchange_seconds=1.0,
        ) as server,
    ):
        yield Caller(venue, server)


def test_a_market_order_that_could_not_be_read_at_first_is_not_open_for_ever(caller, monkeypatch):
    monkeypatch.setattr("bitmm.xwrap.exchanges.orders.poll", lambda read, **_: read())
    caller.venue.fault("html", path="QueryOrders", times=2)
    assert caller.buy("k1").json()["status"] == "open"
    assert caller.buy("k1").json()["status"] == "open"
    answer = caller.buy("k1")
    assert (answer.json()["status"], answer.json()["filled"]) == ("filled", "0.01000000")
    assert caller.buy("k1").content == answer.content
    assert len(caller.venue.ledger()) == 1


def test_a_limit_order_that_was_filled_meanwhile_is_filled_for_every_question(caller):
    assert caller.buy("k1", price="20000").json()["status"] == "open"
    caller.venue.set_best_prices("BTC/EUR", Decimal(20000), Decimal(19990))
    asked = requests.get(f"{caller.url}/orders/?key=k1", auth=caller.auth, timeout=30).json()
    assert (asked["status"], asked["filled"]) == ("filled", "0.01000000")
    assert caller.buy("k1", price="20000").json() == asked


@pytest.mark.parametrize("fault", ["html", "maintenance", "reset_before"])
def test_a_cancel_that_was_executed_is_never_called_refused(caller, fault):
    order = caller.backend.buy("EUR", "BTC", "0.01", price="20000")
    caller.venue.fault(fault, times=9, path="QueryOrders")
    canceled = caller.backend.cancel(order["id"])
    assert not caller.venue.open
    assert canceled["status"] in {"open", "canceled"}
    caller.venue.heal()
    canceled = caller.backend.order(order["id"])
    assert (canceled["status"], canceled["filled"], canceled["reason"]) == ("canceled", 0, "User requested")
