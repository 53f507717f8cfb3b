"""Amendments in place, at a local Kraken that checks them as the documents of "Amend Order" say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.errors import Refused, Unknown
from bitmm.xwrap.exchanges.kraken import Kraken, KrakenAPI
from bitmm.xwrap.exchanges.models import OrderRef
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.exchanges.kraken.test_batches import SECRET, new

EXCHANGE, VENUE = Kraken, KrakenVenue


def placed(exchange, order):
    """What is known of an order that was placed."""
    id = exchange.place(order).exchange_order_id
    names = ("side", "currency", "asset", "client_id", "amount", "price")
    return OrderRef(exchange_order_id=id, created=datetime.now(UTC), **{name: getattr(order, name) for name in names})


def test_the_request_is_signed_by_the_rule_of_the_document():
    """The parameters of the example in "Spot Atomic Amends"; API-Sign was computed with openssl, apart from this."""
    api = KrakenAPI("key", SECRET)
    form = {"cl_ord_id": "6d1b345e-2821-40e2-ad83-4ecb18a06876", "order_qty": Decimal("1.25"), "limit_price": "690795"}
    request = api.signed("AmendOrder", form, nonce=1695828490)
    assert request.url == "https://api.kraken.com/0/private/AmendOrder"
    assert request.body == (
        b"nonce=1695828490&cl_ord_id=6d1b345e-2821-40e2-ad83-4ecb18a06876&order_qty=1.25&limit_price=690795"
    )
    assert (
        request.headers["API-Sign"]
        == "k/NdzTOlxJXAk05RXmDbnsVObdX393wLP+MxOuAlW/xNKy+iJIoKUpTt24ZZCjRCQPNwiT6HmcKGGCe52oTfBA=="
    )


def test_an_amendment_is_one_request_with_what_it_is_to_have_in_all(exchange, venue):
    order = new("buy", price="20000", amount="0.5")
    ref = placed(exchange, order)
    venue.requests.clear()
    amended = exchange.amend(ref, replace(order, amount=Decimal("0.75"), price=Decimal("20001.5")))
    assert (amended.exchange_order_id, amended.client_id) == (ref.exchange_order_id, order.client_id)
    [request] = venue.requests
    assert request.path == "/0/private/AmendOrder"
    [row] = venue.orders_of(venue.account)
    assert (row.amount, row.price) == (Decimal("0.75"), Decimal("20001.5"))


def test_a_post_only_order_stays_one_and_is_not_amended_to_a_price_that_takes(exchange, venue):
    order = new("buy", price="20000", amount="0.5", post_only=True)
    ref = placed(exchange, order)
    with pytest.raises(Refused) as caught:
        exchange.amend(ref, replace(order, price=Decimal(30000)))
    assert caught.value.code == "would_take"
    assert [row.price for row in venue.orders_of(venue.account, status="open")] == [Decimal(20000)]


def test_an_amount_below_what_is_filled_cancels_the_rest(exchange, venue):
    order = new("buy", price="27850.1", amount="1.5")
    ref = placed(exchange, order)
    exchange.amend(ref, replace(order, amount=Decimal("0.7")))
    state = exchange.find_amendment(replace(ref, amount=Decimal("0.7")))
    assert (state.status, state.filled) == ("partly_filled", 1)


def test_an_answer_that_is_lost_leaves_the_amendment_unknown(exchange, venue):
    order = new("buy", price="20000", amount="0.5")
    ref = placed(exchange, order)
    venue.fault("reset_after", path="AmendOrder")
    with pytest.raises(Unknown):
        exchange.amend(ref, replace(order, price=Decimal(21000)))
    assert exchange.find_amendment(replace(ref, price=Decimal(21000))).price == 21000
    assert exchange.find_amendment(ref) is None
