"""The bridge to ccxt, over real HTTP: against the local Kraken and the local Backpack.

ccxt is no dependency of the tests: `pip install '.[test,ccxt]'`, then run pytest on this folder.
"""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.ccxt import adapter, exchange_class
from bitmm.xwrap.exchanges.ccxt.session import SessionAdapter
from bitmm.xwrap.exchanges.errors import Refused, Unknown
from bitmm.xwrap.exchanges.models import NewOrder
from bitmm.xwrap.testing.exchanges import venue as core
from bitmm.xwrap.testing.exchanges.venue import Reply
from tests.exchanges.ccxt.support import connected, order, ref_of, send

library = pytest.importorskip("ccxt", reason="ccxt is not installed")


def resting(exchange):
    for asset, price in (("BTC", 35000), ("ETH", 2300), ("ETH", 2400)):
        exchange.place(NewOrder("sell", "USDC", asset, uuid.uuid4().hex, amount=Decimal("0.1"), price=Decimal(price)))


def test_all_markets_are_canceled_and_counted(backpack, transport):
    exchange = connected(backpack, transport)
    resting(exchange)
    assert exchange.cancel_all() == 3
    assert not backpack.open


def test_a_cancellation_that_breaks_off_half_way_is_unknown(backpack, transport):
    exchange = connected(backpack, transport)
    resting(exchange)

    def half(account, given):
        return backpack.cancel_all(account, given) if given["symbol"] == "BTC_USDC" else Reply.json({"code": "X"}, 400)

    call = backpack.private("orderCancelAll", "trade", half)
    backpack._routes.insert(0, ("DELETE", core._pattern("/api/v1/orders"), call))
    with pytest.raises(Unknown, match="some orders were canceled"):
        exchange.cancel_all()
    assert len(backpack.open) == 2


def test_an_order_without_an_id_is_canceled_by_ours(kraken, transport):
    exchange, placed = connected(kraken, transport), order("sell", price="60000", currency="EUR")
    exchange.place(placed)
    exchange.cancel(ref_of(placed, None))
    assert not kraken.open
    with pytest.raises(Refused) as caught:
        exchange.cancel(ref_of(order(currency="EUR"), None))
    assert caught.value.code == "order_not_open"


@pytest.mark.parametrize("id", ["bybit", "okx"])
def test_a_market_buys_amount_is_never_taken_for_its_cost(transport, id):
    """By default a market buy of 100 DOGE is one for 100 USDT in Bybit's accounts of the old kind."""

    def told(ccxt):
        places = (ccxt.options, ccxt.options.get("createOrder") or {})
        return {place[name] for place in places for name in ("createMarketBuyOrderRequiresPrice",) if name in place}

    exchange = exchange_class(f"ccxt:{id}")(
        ExchangeContext(transport, Credentials("", "key", "secret", {"password": "phrase"}), 1)
    )
    assert (told(getattr(library, id)()), told(exchange._instance.ccxt)) == ({False}, {True})


def test_an_asset_on_several_networks_needs_the_name_of_one(backpack, transport):
    exchange = connected(backpack, transport)
    for act in (lambda: exchange.deposit_address("USDC"), lambda: exchange.deposit_address("USDC", "Tron")):
        with pytest.raises(Refused, match="SOL, ERC20") as caught:
            act()
        assert caught.value.code == "network_required"
    assert exchange.deposit_address("USDC", "solana").address == exchange.deposit_address("SOL").address
    assert exchange.deposit_address("USDC", "Ethereum").address != exchange.deposit_address("SOL").address


def test_a_network_that_ccxt_does_not_list_is_refused_before_it_takes_another(kraken, transport):
    with pytest.raises(Refused) as caught:
        connected(kraken, transport).deposit_address("BTC", "Lightning")
    assert caught.value.code == "network_required"


def test_a_tag_is_never_dropped(backpack, transport):
    """ccxt sends a tag to Backpack as the client's id of the withdrawal, and other classes may not send it at all."""
    with pytest.raises(Refused) as caught:
        connected(backpack, transport).withdraw(send(tag="4711"))
    assert caught.value.code == "invalid_request"
    line = SessionAdapter("backpack", "Backpack", backpack.url)
    line.start_call(transport, mutates=True, must_contain=["47 11"])
    with pytest.raises(Refused, match="without '47 11'"):
        line.request("POST", f"{backpack.url}/api/v1/order", data=b'{"address": "x"}')
    assert not [request for request in backpack.requests if request.method == "POST"]
    line.request("POST", f"{backpack.url}/api/v1/order", data="tag=47+11")
    assert [request.body for request in backpack.requests if request.method == "POST"] == [b"tag=47+11"]


def test_a_tag_goes_where_the_release_wants_it(backpack, transport, monkeypatch):
    monkeypatch.setattr(adapter, "_NO_TAGS", set())
    made = connected(backpack, transport).withdraw(send(tag="4711"))
    assert made.tag == "4711"
    assert backpack.withdrawals[made.id].client_id == "4711"
