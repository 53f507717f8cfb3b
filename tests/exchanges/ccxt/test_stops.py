"""Orders with a stop at the exchanges of ccxt that hold them: what leaves, what is believed, and how one is found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bitmm.xwrap.errors import OutcomeUnknown
from bitmm.xwrap.exchanges.ccxt import exchange_class
from bitmm.xwrap.exchanges.ccxt.placing import STOPS
from bitmm.xwrap.exchanges.errors import Refused, Unknown
from bitmm.xwrap.exchanges.models import NewOrder, OrderRef
from tests.exchanges.ccxt.client_id_cases import CASES, OURS
from tests.exchanges.ccxt.stub import connected
from tests.exchanges.ccxt.support import connected as connected_to
from tests.exchanges.ccxt.support import listed, order
from tests.exchanges.ccxt.test_requests import KEYS, Line

library = pytest.importorskip("ccxt", reason="ccxt is not installed")

D = Decimal
AT_BINANCE = ("binance", "binanceus")
#: What leaves for Binance beside the market, the side, the amount and our id ("New order").
MARKET, LIMIT = {"type": "STOP_LOSS"}, {"type": "STOP_LOSS_LIMIT", "price": "24900", "timeInForce": "GTC"}


def stop_order(name, price=None, stop="25000.5"):
    return NewOrder(
        *("sell", CASES[name].currency, "BTC", OURS),
        amount=D("0.1"),
        price=None if price is None else D(price),
        stop=D(stop),
    )


def ref_of(name, price=None, stop="25000.5", id=None):
    placed = stop_order(name, price, stop)
    known = {"amount": placed.amount, "price": placed.price, "stop": placed.stop}
    return OrderRef("sell", placed.currency, "BTC", OURS, id, created=datetime.now(UTC), **known)


def shown(price=None, **changes):
    """The order as "Query order" of Binance has it: `stopPrice` only where it has one."""
    row = {"symbol": "BTCUSDT", "orderId": 77, "clientOrderId": OURS, "price": price or "0.00000000", "side": "SELL"}
    row |= {"origQty": "0.10000000", "executedQty": "0", "cummulativeQuoteQty": "0", "status": "NEW"}
    row |= {"timeInForce": "GTC", "type": "STOP_LOSS" if price is None else "STOP_LOSS_LIMIT"}
    return row | {"stopPrice": "25000.50000000", "time": 1795756288000} | changes


def test_the_exchanges_that_hold_stops_are_those_whose_documents_were_read_and_whose_features_say_so():
    kinds = {id: exchange_class(f"ccxt:{id}") for id in library.exchanges if getattr(library, id)().has["spot"]}
    assert {id for id, kind in kinds.items() if kind.order_conditions} == STOPS
    for id in STOPS:
        features = getattr(library, id)().features["spot"]
        assert features["createOrder"]["stopLossPrice"] is True
        assert not features["fetchOrder"]["trigger"], "it would be read and found in a list of its own"


@pytest.mark.parametrize("price", [None, "24900"])
@pytest.mark.parametrize("name", AT_BINANCE)
def test_a_stop_leaves_as_a_stop_loss_and_is_read_once(name, price):
    answer = {"symbol": "BTCUSDT", "orderId": 77, "clientOrderId": OURS, "transactTime": 1795756288000}
    exchange, stub = connected(name, (200, answer), (200, shown(price)))
    placed = stop_order(name, price)
    exchange.check_kind(placed)
    state = exchange.place(placed)
    assert (state.status, state.stop, state.price, state.filled) == ("open", D("25000.5"), placed.price, 0)
    method, path, fields = stub.calls[0]
    assert (method, path) == ("POST", "/api/v3/order")
    terms = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.1", "stopPrice": "25000.5", "newClientOrderId": OURS}
    assert fields == {
        **terms,
        **(MARKET if price is None else LIMIT),
        "newOrderRespType": "FULL",
        "recvWindow": "10000",
    }
    assert [call[0] for call in stub.calls] == ["POST", "GET"]


@pytest.mark.parametrize("changes", [{"stopPrice": None, "type": "MARKET"}, {"stopPrice": "25001"}], ids=str)
def test_an_order_without_the_stop_that_was_asked_for_is_not_believed(changes):
    row = {name: value for name, value in shown(**changes).items() if value is not None}
    exchange, _ = connected("binance", (200, row), (200, row), (200, row))
    with pytest.raises(Unknown, match="another stop"):
        exchange.place(stop_order("binance"))
    with pytest.raises(Refused) as caught:
        exchange.find(ref_of("binance"))
    assert not caught.value.may_have_executed


@pytest.mark.parametrize("price", [None, "24900"])
def test_a_stop_whose_answer_was_lost_is_found_by_our_id(price):
    lost = OutcomeUnknown("the answer was lost", code="outcome_unknown")
    exchange, _ = connected("binance", lost, (200, shown(price)))
    with pytest.raises(Unknown):
        exchange.place(stop_order("binance", price))
    state = exchange.find(ref_of("binance", price))
    assert (state.exchange_order_id, state.status, state.stop) == ("77", "open", D("25000.5"))


def test_a_stop_that_has_begun_and_was_filled_is_that(kraken, transport):
    exchange = connected_to(kraken, transport)
    placed = replace(order("sell", currency="EUR"), stop=D(25000))
    state = exchange.place(placed)
    assert (state.status, state.stop) == ("open", 25000)
    kraken.set_best_prices("BTC/EUR", D("24990.1"), D("24990.0"))
    ref = OrderRef("sell", "EUR", "BTC", placed.client_id, created=datetime.now(UTC), amount=D("0.1"), stop=D(25000))
    found = exchange.find(ref)
    assert (found.status, found.filled, found.average, found.stop) == ("filled", D("0.1"), 24990, 25000)
    read = exchange.order(replace(ref, exchange_order_id=state.exchange_order_id))
    assert (read.status, read.fee) == ("filled", found.fee)


def test_a_stop_that_ccxt_would_round_is_refused(kraken, transport):
    with pytest.raises(Refused) as caught:
        connected_to(kraken, transport).place(replace(order("sell", currency="EUR"), stop=D("25000.05")))
    assert (caught.value.code, caught.value.details["field"]) == ("price_step", "stop")
    assert kraken.ledger() == []


def test_elsewhere_a_stop_is_refused_unsent():
    line = Line({})
    for id in ("backpack", "bitstamp", "okx", "coinbase"):
        exchange = listed(exchange_class(f"ccxt:{id}"), "http://127.0.0.1:6", amount="0.001", price="0.01")(line, KEYS)
        placed = replace(order("sell", currency="USD"), stop=D(25000))
        for refuse in (exchange.place, exchange.check_kind):
            with pytest.raises(Refused, match="this server holds none itself") as caught:
                refuse(placed)
            assert caught.value.code == "unsupported"
    assert line.sent == []
