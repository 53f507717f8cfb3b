"""Answers of Mt.Gox that cannot be understood are not believed, and what an answer leaves open stays open."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.errors import Refused, Unknown
from bitmm.xwrap.exchanges.models import (
    Funds,
    NewOrder,
)
from tests.support.mtgox_recordings import placed, ruby, sell, send, units, xchange

D = Decimal


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("funds", "info", {"Wallets": {"BTC": {"Balance": {"value_int": "1.5", "currency": "BTC"}}}}),
        ("funds", "info", {"Wallets": {"BTC": {"Balance": {"value_int": "1", "currency": "USD"}}}}),
        ("funds", "info", {}),
        ("permissions", "info", []),
        ("open_orders", "orders", [{"oid": "<script>alert(1)</script>"}]),
        ("deposits", "info", {"Wallets": 7}),
    ],
)
def test_an_answer_that_does_not_fit_is_not_believed(play, verb, path, body):
    with pytest.raises(Refused, match="cannot be understood") as caught:
        getattr(play(2, path, body), verb)()
    assert caught.value.code == "exchange_unavailable"


def test_orders_may_hold_more_than_there_is(play):
    wallet = {"Balance": units(5, "USD"), "Open_Orders": units(7, "USD")}
    assert play(2, "info", {"Wallets": {"USD": wallet}}).funds() == {"USD": Funds(D("0.00005"), None, D("0.00007"))}


def test_a_fee_is_told_only_when_every_trade_is_booked(play):
    half = {"amount": units(50000000, "BTC"), "price": units(1000000, "USD")}
    result = {
        "trades": [{"trade_id": "1", **half}, {"trade_id": "2", **half}],
        "total_amount": units(100000000, "BTC"),
        "total_spent": units(1000000, "USD"),
    }
    fees = [{"Type": "fee", "Trade": {"tid": tid}, "Value": units(3, "BTC")} for tid in "12"]
    play(2, "order/result", result)
    ref = replace(placed("055e81e4-fe38-4b3c-bbca-69e61724f64a"), amount=D(1))
    assert play(2, "wallet/history", {"result": fees[:1]}).order(ref).fee is None
    assert play(2, "wallet/history", {"result": fees}).order(ref).fee == D("0.00000006")
    with pytest.raises(Refused, match="not the sum of the trades"):
        play(2, "order/result", {**result, "trades": result["trades"][:1]}).order(ref)


def test_in_version_0_two_new_orders_that_are_the_same_are_of_unknown_outcome(play):
    (row,) = xchange(0, "trade/example-cancel-order-response.json")["orders"]
    wanted = NewOrder("buy", "USD", "BTC", "0" * 32, amount=D("0.92907324"), price=D("1.25"))
    play(0, "getOrders.php", {"orders": []})
    assert play(0, "buyBTC.php", {"orders": [row]}).place(wanted).exchange_order_id == row["oid"]
    for rows in ([], [row, {**row, "oid": "39b5cd7e-8452-4ace-890e-84ba236fe5cc"}]):
        with pytest.raises(Unknown, match=f"{len(rows)} new orders"):
            play(0, "buyBTC.php", {"orders": rows}).place(wanted)


def test_words_that_nobody_knows_with_a_server_error_are_of_unknown_outcome(play, player):
    exchange = play(2, "order/add", {"result": "error", "error": "Something new"}, whole=True)
    with pytest.raises(Refused) as caught:
        exchange.place(sell())
    assert caught.value.code == "exchange_refused"
    player.status = 500
    with pytest.raises(Unknown, match="Something new"):
        exchange.place(sell())


@pytest.mark.parametrize("price", [{"buy": 17, "sell": 16}, {"buy": 0, "sell": 16}, {"buy": "x", "sell": 16}, {}])
def test_a_ticker_that_cannot_be_is_not_believed(play, price):
    with pytest.raises(Refused):
        play(0, "ticker", {"ticker": price}).rate("USD", "BTC")


@pytest.mark.parametrize("answer", [None, "", 17, {}, "<script>", "a b c d e f g h"])
def test_an_order_without_a_believable_id_is_of_unknown_outcome(play, answer):
    with pytest.raises(Unknown):
        play(2, "order/add", answer).place(sell())


@pytest.mark.parametrize("answer", [None, {}, {"trx": "yes"}, {"trx": 5}])
def test_a_send_without_a_believable_transaction_is_of_unknown_outcome(play, answer):
    with pytest.raises(Unknown):
        play(2, "send_simple", answer).withdraw(send())


def test_an_open_order_that_became_another_is_not_believed(play):
    exchange = play(1, "orders", ruby("orders.json"), whole=True)
    with pytest.raises(Refused, match="another order"):
        exchange.order(placed("fda8917a-63d3-4415-b827-758408013690", "sell"))
