"""The bridge to ccxt loses no digit and rounds nothing."""

from __future__ import annotations

import decimal
import json
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.base import Credentials
from bitmm.xwrap.exchanges.ccxt import classes, exchange_class
from bitmm.xwrap.exchanges.errors import Refused
from tests.exchanges.ccxt.support import connected, listed, order, ref_of

library = pytest.importorskip("ccxt", reason="ccxt is not installed")


LONG = Decimal("12345678901234567.12345678901234567891")


def test_text_amounts_of_many_digits_stay_exact(backpack, transport):
    backpack.account.balances["BTC"] = LONG
    exchange = connected(backpack, transport)
    exchange.place(order("sell", price="35000"))
    funds = exchange.funds()["BTC"]
    assert (funds.total, funds.held) == (LONG, Decimal("0.1"))
    assert str(funds.available) == "12345678901234567.02345678901234567891"


def test_the_book_is_exact_and_sorted_as_numbers(backpack, transport):
    pair = backpack.pairs["BTC/USDC"]
    pair.asks[:] = [(Decimal("10.5"), Decimal(1)), (LONG, Decimal(1)), (Decimal("9.50000000000000000001"), Decimal(1))]
    pair.bids[:] = [(Decimal("9.4"), Decimal(1)), (Decimal("9.40000000000000000001"), Decimal(2))]
    rate = connected(backpack, transport).rate("USDC", "BTC")
    assert (str(rate.buy), str(rate.sell)) == ("9.50000000000000000001", "9.40000000000000000001")


def test_the_recorded_ticker_of_paymium_is_read_exactly(paymium, transport):
    rate = connected(paymium, transport).rate("EUR", "BTC")
    assert (rate.buy, rate.sell) == (Decimal("20.4"), Decimal("20.1"))


def test_the_recorded_book_of_paymium_is_read_exactly(paymium, transport):
    for side in ("bid", "ask"):
        del paymium.recorded["Example_TickerData.json"][side]
    rate = connected(paymium, transport).rate("EUR", "BTC")
    assert (rate.buy, rate.sell) == (Decimal("24.48996"), Decimal("24.05"))


def test_json_numbers_of_many_digits_stay_exact(paymium, transport):
    paymium.user = {
        "balance_btc": LONG,
        "locked_btc": Decimal("0.00000000000000000001"),
        "balance_eur": 9007199254740993,
        "locked_eur": 0,
    }
    paymium.recorded["Example_TickerData.json"] |= {"ask": LONG, "bid": Decimal("19999.99999999999999")}
    exchange = connected(paymium, transport)
    funds = exchange.funds()
    assert str(funds["BTC"].total) == "12345678901234567.12345678901234567892"
    assert (funds["BTC"].available, str(funds["EUR"].total)) == (LONG, "9007199254740993")
    rate = exchange.rate("EUR", "BTC")
    assert (rate.buy, str(rate.sell)) == (LONG, "19999.99999999999999")


def test_fees_are_kept_and_what_was_spent_is_what_the_fills_tell(backpack, kraken, transport):
    state = connected(backpack, transport).place(order())
    assert (state.fee, state.fee_currency) == (Decimal("0.0001"), "BTC")
    assert (state.spent, state.average) == (Decimal("3001.00"), Decimal("30010.0"))
    # Kraken books 5 decimals; ccxt multiplies the mean price by the amount.
    exchange = connected(kraken, transport)
    exchange.place(order(currency="EUR"))
    state = exchange.place(order(currency="EUR", amount="0.12345678"))
    [fill] = kraken.orders[state.exchange_order_id].fills
    assert state.spent == Decimal(f"{fill.cost:.5f}")
    assert (state.fee, state.fee_currency) == (fill.fee, "EUR")


@pytest.mark.parametrize("fault", ["html", "rate_limit"])
def test_an_order_is_told_without_its_fills_when_they_cannot_be_read(kraken, transport, fault):
    exchange, placed = connected(kraken, transport), order(currency="EUR")
    exchange.markets()
    kraken.fault(fault, path="TradesHistory", times=99)
    state = exchange.place(placed)
    assert (state.status, state.filled) == ("filled", Decimal("0.1"))
    assert (state.fee, state.fee_currency) == (kraken.orders[state.exchange_order_id].fee, "EUR")
    assert exchange.order(ref_of(placed, state.exchange_order_id)) == state


def test_a_programs_decimal_context_changes_nothing_and_is_not_changed(backpack, transport):
    exchange = connected(backpack, transport)
    with decimal.localcontext(decimal.Context(prec=3, rounding=decimal.ROUND_UP, traps=[decimal.Inexact])) as context:
        state = exchange.place(order(amount="0.12345"))
        assert (context.prec, context.rounding) == (3, decimal.ROUND_UP)
        assert [signal for signal, on in context.traps.items() if on] == [decimal.Inexact]
    assert (state.filled, state.spent) == (Decimal("0.12345"), Decimal("3704.7345"))


@pytest.mark.parametrize(
    "loss",
    [
        {"number": float},
        {"on_json_response": staticmethod(json.loads)},
        {"parse_order_book_bid_ask": library.Exchange.parse_order_book_bid_ask},
    ],
    ids=lambda loss: next(iter(loss)),
)
def test_a_class_that_loses_a_digit_is_refused(loss, monkeypatch):
    monkeypatch.setattr(classes, "EXACT_OVERRIDES", classes.EXACT_OVERRIDES | loss)
    with pytest.raises(Refused, match="loses digits") as caught:
        exchange_class.__wrapped__("ccxt:kraken")
    assert caught.value.code == "inexact"


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("parse_ohlcv", lambda _self, row, _market=None: [row[0], *map(float, row[1:])]),
        ("parse_number", lambda _self, text, _default=None: None if text is None else float(text)),
    ],
)
def test_a_version_of_ccxt_whose_candles_or_fees_lose_a_digit_is_refused(name, loss, monkeypatch):
    monkeypatch.setattr(library.Exchange, name, loss)
    with pytest.raises(Refused, match="loses digits"):
        exchange_class.__wrapped__("ccxt:kraken")


@pytest.mark.parametrize(
    ("fields", "code", "nearest"),
    [
        ({"amount": "0.123457"}, "amount_step", "0.12346"),
        ({"amount": "0.079", "price": "30000.07", "side": "sell"}, "price_step", "30000.1"),
        ({"amount": "0.00001"}, "amount_min", "0.0001"),
    ],
)
def test_an_order_that_ccxt_would_change_is_refused_unsent(backpack, transport, fields, code, nearest):
    with pytest.raises(Refused) as caught:
        connected(backpack, transport).place(order(**fields))
    assert caught.value.code == code
    assert Decimal(caught.value.details["nearest"]) == Decimal(nearest)
    assert not [request for request in backpack.requests if request.method != "GET"]


def test_significant_digits_are_kept_too(transport):
    """Bitfinex takes prices of five digits; ccxt would round one of six."""
    made = listed(exchange_class("ccxt:bitfinex"), "http://127.0.0.1:9", amount=8, price=5)
    exchange = made(transport, Credentials(apikey="key", apisecret="secret"))
    with pytest.raises(Refused) as caught:
        exchange.place(order(currency="USD", price="12345.6"))
    assert (caught.value.code, caught.value.details["nearest"]) == ("price_step", "12346")
    with pytest.raises(Refused) as caught:
        exchange.place(order(currency="USD", price="12346"))
    assert caught.value.code == "exchange_unavailable", "this one went out"


@pytest.mark.parametrize(("amount", "price"), [("1234567.123456789012", "20000"), ("0.5", "20000.1234567890123")])
def test_a_number_that_a_class_sends_as_a_float_is_refused_when_it_would_lose_digits(transport, amount, price):
    """BingX's class does. Fifteen digits are sure to be kept."""
    made = listed(exchange_class("ccxt:bingx"), "http://127.0.0.1:9", amount="0.000000000001", price="0.0000000000001")
    exchange = made(transport, Credentials(apikey="key", apisecret="secret"))
    with pytest.raises(Refused, match="ccxt would send it without"):
        exchange.place(order("sell", amount=amount, price=price, currency="USD"))
    with pytest.raises(Refused) as caught:
        exchange.place(order("sell", amount="1234567.12345678", price="20000.5", currency="USD"))
    assert caught.value.code == "exchange_unavailable", "this one went out"


def test_a_market_buy_for_a_cost_is_no_order_for_so_many_units(backpack, transport):
    """ccxt says that Backpack has such a call, and would buy 100 BTC."""
    with pytest.raises(Refused) as caught:
        connected(backpack, transport).place(order(amount=None, cost="100"))
    assert caught.value.code == "unsupported"
    assert not backpack.ledger()
