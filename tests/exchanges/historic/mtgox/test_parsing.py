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


def trade(**fields):
    row = {"date": 1365780003, "price_int": "7319258", "amount_int": "94043572", "tid": "7", "price_currency": "USD"}
    return {**row, "item": "BTC", "trade_type": "bid", "primary": "Y", **fields}


@pytest.mark.parametrize(
    "odd",
    [None, {}, 5, trade(tid=None), trade(date="x"), trade(price_int="1.5"), trade(amount_int=None)],
    ids=str,
)
@pytest.mark.parametrize("version", [0, 1, 2])
def test_one_odd_row_hides_no_trade_of_everybody(play, version, odd):
    rows = [trade(tid="1", date=1), odd, trade(tid="2", date=2, trade_type="")]
    found = play(version, "rades", rows).trades("USD", "BTC", 10)
    assert [(one.id, one.side) for one in found] == [("2", None), ("1", "buy")]


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_trade_in_another_currency_is_none_of_this_market(play, version):
    rows = [trade(price_currency="EUR"), trade(primary="N"), trade(tid="9", primary=None)]
    assert [one.id for one in play(version, "rades", rows).trades("USD", "BTC", 10)] == ["9"]


@pytest.mark.parametrize("absent", ["last_local", "high", "low", "vol", "buy", "sell", "now"])
def test_a_figure_that_a_ticker_lacks_is_not_known(play, absent):
    ticker = dict(xchange(2, "marketdata/polling/example-ticker-data.json"))
    whole = play(2, "ticker", ticker).ticker("USD", "BTC")
    del ticker[absent]
    found = play(2, "ticker", ticker).ticker("USD", "BTC")
    fields = {"last_local": "last", "high": "high", "low": "low", "vol": "volume", "buy": "bid", "sell": "ask"}
    for name, field in fields.items():
        assert getattr(found, field) == (None if name == absent else getattr(whole, field))


def test_the_last_price_is_never_that_of_another_currency(play):
    """Of a trade in EUR "last" is what it came to in USD, and "last_local" the last trade in USD."""
    ticker = dict(xchange(2, "marketdata/polling/example-ticker-data.json"))
    ticker["last"] = {**ticker["last"], "value_int": "9999999"}
    assert play(2, "ticker", ticker).ticker("USD", "BTC").last == D("91.46")


def test_a_ticker_whose_bid_is_above_its_ask_is_not_believed(play):
    ticker = dict(xchange(2, "marketdata/polling/example-ticker-data.json"))
    ticker["buy"], ticker["sell"] = ticker["sell"], ticker["buy"]
    with pytest.raises(Refused):
        play(2, "ticker", ticker).ticker("USD", "BTC")
