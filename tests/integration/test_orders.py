"""The client's whole order API against the real server and the paper exchange."""

from __future__ import annotations

from decimal import Decimal

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.errors import APIError, InsufficientFunds, InvalidRequest, NotFound


@pytest.fixture
def backend(server):
    return XWrap(server.url).create_backend(*server.account(), "paper", "", "", "")


def test_a_limit_order_from_its_placing_to_its_end(backend):
    order = backend.buy("USD", "BTC", Decimal("0.1"), price=Decimal(20000))
    assert (order["status"], order["type"], order["price"]) == ("open", "limit", Decimal(20000))
    assert backend.funds()["USD"]["held"] == Decimal("2005.20")
    assert backend.orders("open") == [order]
    assert backend.order(order["id"])["status"] == "open"
    canceled = backend.cancel(order["id"])
    assert canceled["status"] == "canceled"
    assert backend.cancel(order["id"]) == canceled
    assert backend.orders("open") == []
    assert backend.orders("closed") == [canceled]


def test_cancel_all_counts_what_it_canceled(backend):
    for price in (1000, 2000, 3000):
        backend.buy("USD", "BTC", "0.1", price=price)
    assert backend.cancel_all() == 3
    assert backend.orders("open") == []


def test_a_buy_by_cost_spends_no_more(backend):
    order = backend.buy("USD", "BTC", cost=100)
    assert order["cost"] == 100
    assert Decimal("99.9") < order["spent"] <= 100
    assert backend.fills("USD", "BTC")[0]["amount"] == order["filled"]


def test_a_dry_run_sends_nothing_and_refuses_what_the_order_would(backend):
    tried = backend.sell("USD", "BTC", 1, dry_run=True)
    assert (tried["id"], tried["amount"]) == (None, Decimal(1))
    with pytest.raises(InsufficientFunds):
        backend.sell("USD", "BTC", 2, dry_run=True)
    assert backend.orders() == []


@pytest.mark.parametrize("given", [{}, {"amount": 1, "cost": 1}])
def test_an_order_has_an_amount_or_a_cost(backend, given):
    with pytest.raises(InvalidRequest, match="amount or a cost"):
        backend.buy("USD", "BTC", **given)


@pytest.mark.parametrize("name", ["price", "cost"])
def test_a_float_is_refused_by_its_name(backend, name):
    with pytest.raises(InvalidRequest, match=f"{name} is the float"):
        backend.buy("USD", "BTC", **({"amount": "1"} if name == "price" else {}), **{name: 0.1})


def test_orders_come_page_by_page(backend):
    ids = [backend.buy("USD", "BTC", "0.001")["id"] for _ in range(3)]
    assert [order["id"] for order in backend.orders(limit=2)] == ids[:0:-1]
    assert [order["id"] for order in backend.orders(limit=2, before=ids[1])] == ids[:1]


def test_what_is_not_there_is_not_found(backend):
    for call in (backend.order, backend.cancel):
        with pytest.raises(NotFound):
            call(999999)


def test_sends_deposits_and_addresses(backend):
    assert backend.send_to_address("BTC", "0.25", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx") is True
    (sent,) = backend.withdrawals()
    assert (sent["amount"], sent["address"], sent["status"]) == (
        Decimal("0.25"),
        "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
        "done",
    )
    address = backend.deposit_address()
    assert address == {"asset": "BTC", "address": backend.get_address(), "tag": None, "network": None}
    with pytest.raises(APIError) as caught:
        backend.deposits()
    assert caught.value.code == "unsupported"


def test_a_tag_is_never_dropped(backend):
    with pytest.raises(APIError, match="no tags"):
        backend.send_to_address("BTC", "0.25", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", tag="7")
    assert backend.balance()["BTC"] == 1


def test_the_rules_of_a_market_are_exact(backend):
    (market,) = backend.markets()
    assert (market["asset"], market["amount_step"]) == ("BTC", Decimal("1E-8"))


def test_the_same_key_is_the_same_order_and_other_parameters_are_refused(backend):
    first = backend.buy("USD", "BTC", "0.01", price=100, key="mine")
    assert backend.buy("USD", "BTC", "0.01", price=100, key="mine") == first
    with pytest.raises(InvalidRequest) as caught:
        backend.buy("USD", "BTC", "0.01", price=101, key="mine")
    assert caught.value.code == "key_reused"
