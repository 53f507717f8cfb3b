"""Bybit's orders by their own ids: open, over, and forgotten."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.models import NewOrder, OrderRef
from tests.exchanges.ccxt.client_id_cases import CASES, OURS
from tests.exchanges.ccxt.stub import connected

pytest.importorskip("ccxt", reason="ccxt is not installed")

REF = OrderRef("sell", "USDT", "BTC", OURS, "77", amount=Decimal("0.1"), price=Decimal(20000))
ASKED = {"category": "spot", "symbol": "BTCUSDT", "orderId": "77"}
CURRENT, HISTORY = ("GET", "/v5/order/realtime", ASKED), ("GET", "/v5/order/history", ASKED)
NONE = CASES["bybit"].looks[0].absent
OPEN, FILLED = (200, CASES["bybit"].looks[0].open), (200, CASES["bybit"].looks[1].filled)


def test_an_open_order_is_read_with_one_call():
    exchange, stub = connected("bybit", OPEN)
    assert exchange.order(REF).status == "open"
    assert stub.calls == [CURRENT]


@pytest.mark.parametrize("forgotten", [False, True], ids=["recent", "of the history"])
def test_an_order_that_is_over_is_read_from_the_latest_ones_or_the_history(forgotten):
    exchange, stub = connected("bybit", *[NONE][: int(forgotten)], FILLED, NONE)
    state = exchange.order(REF)
    assert (state.status, state.filled) == ("filled", Decimal("0.1"))
    assert stub.calls[:-1] == ([CURRENT, HISTORY] if forgotten else [CURRENT])
    assert stub.calls[-1][1] == "/v5/execution/list", "its fills"


def test_an_order_that_neither_list_has_is_not_found():
    exchange, stub = connected("bybit", NONE, NONE)
    with pytest.raises(Refused) as caught:
        exchange.order(REF)
    assert caught.value.code == "order_not_found"
    assert stub.calls == [CURRENT, HISTORY]


def test_another_order_is_not_believed():
    exchange, _ = connected("bybit", OPEN, OPEN)
    with pytest.raises(Refused) as caught:
        exchange.order(replace(REF, exchange_order_id="78"))
    assert caught.value.code == "order_not_found"


def test_a_market_order_is_read_until_it_is_final():
    market = {"orderType": "Market", "price": "0"}
    rows = FILLED[1]["result"]["list"]
    filled = (200, FILLED[1] | {"result": {"list": [row | market for row in rows]}})
    exchange, _ = connected("bybit", (200, CASES["bybit"].answer), filled, *[NONE] * 9)
    placed = exchange.place(NewOrder("sell", "USDT", "BTC", OURS, amount=Decimal("0.1")))
    assert (placed.status, placed.filled) == ("filled", Decimal("0.1"))
