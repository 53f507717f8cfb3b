"""Orders in a market that its exchange closed for new ones, and an account that it locked out: all the way."""

from __future__ import annotations

from decimal import Decimal

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.errors import InvalidRequest, RateLimited, Unavailable
from bitmm.xwrap.exchanges import base
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue


@pytest.fixture
def venue():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture
def backend(serving, venue, monkeypatch):
    # What an exchange lists is asked for each time, as it would be after an hour.
    monkeypatch.setattr(base, "_LISTING_SECONDS", 0.0)
    limits = {"kraken": None}
    with serving(exchanges=("kraken",), exchange_urls={"kraken": venue.url}, exchange_limits=limits) as server:
        keys = venue.key, venue.secret
        yield XWrap(server.url).create_backend(*server.account(), "kraken", "", *keys, allow_send=True)


@pytest.mark.answer_kind("C", exchange="kraken")
@pytest.mark.parametrize("status", ["cancel_only", "delisted"])
def test_orders_and_executions_of_a_closed_market_are_read_and_canceled(backend, venue, status):
    partly = backend.buy("EUR", "BTC", 3, price="27850.1")
    resting = backend.sell("EUR", "BTC", "0.1", price=60000)
    before = backend.fills("EUR", "BTC")
    venue.pair_status["XXBTZEUR"] = status

    assert backend.order(partly["id"])["filled"] == 1
    assert [order["id"] for order in backend.orders("open")] == [resting["id"], partly["id"]]
    assert backend.fills("EUR", "BTC") == before
    assert [fill["amount"] for fill in before] == [Decimal(1)]

    canceled = backend.cancel(partly["id"])
    assert (canceled["status"], canceled["filled"], canceled["reason"]) == ("partly_filled", 1, "User requested")
    assert (canceled["fee_currency"], canceled["spent"]) == ("EUR", Decimal("27850.1"))
    assert [order["id"] for order in backend.orders("open")] == [resting["id"]]
    assert backend.cancel_all() == 1
    assert backend.order(resting["id"])["status"] == "canceled"
    assert backend.orders("open") == []
    assert len(backend.orders("closed")) == 2

    assert {(market["currency"], market["asset"]) for market in backend.markets()} == {("USD", "BTC"), ("BTC", "ETH")}
    refusals = {
        "cancel_only": (Unavailable, "Kraken takes no new orders for BTC/EUR now; try again later"),
        "delisted": (InvalidRequest, "Kraken has no market BTC/EUR; BTC is traded there in USD"),
    }
    refusal, words = refusals[status]
    with pytest.raises(refusal, match=f"^{words}$"):
        backend.buy("EUR", "BTC", 1, price=20000)
    assert len(venue.ledger()) == 2


def test_an_order_by_somebody_else_in_a_closed_market_is_listed(backend, venue):
    form = {"pair": "XBTEUR", "type": "sell", "ordertype": "limit", "volume": "0.1", "price": "60000"}
    [txid] = venue.private_AddOrder(venue.account, form)["txid"]
    for status, names in (("cancel_only", ("EUR", "BTC")), ("delisted", (None, None))):
        venue.pair_status["XXBTZEUR"] = status
        [order] = backend.orders("open")
        assert (order["exchange_order_id"], order["currency"], order["asset"]) == (txid, *names)


@pytest.mark.answer_kind("G", exchange="kraken")
def test_nothing_is_sent_while_an_account_is_locked_out(backend, venue):
    backend.balance()
    venue.locked_until = venue.clock() + 900
    venue.requests.clear()
    for act in (backend.balance, backend.funds, lambda: backend.orders("open"), backend.cancel_all):
        with pytest.raises(RateLimited) as caught:
            act()
        assert caught.value.retry_after >= 60
    private = [request.path for request in venue.requests if "/private/" in request.path]
    assert private == ["/0/private/BalanceEx"]
