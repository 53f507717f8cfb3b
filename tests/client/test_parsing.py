"""What servers answer: amounts come with every digit, rows that failed are kept, an address is text."""

from __future__ import annotations

from decimal import Decimal

import pytest
from responses.matchers import header_matcher, query_param_matcher

from bitmm.xwrap import _market_parsing as market_parsing
from bitmm.xwrap import _parsing as parsing
from bitmm.xwrap.client import XWrap
from bitmm.xwrap.money import parse_decimal
from tests.support.marked_secrets import BASIC, PASSWORD, USER

BASE = "http://localhost:8000"
SIGNED = header_matcher({"Authorization": BASIC})


def test_rates_of_all_exchanges_come_as_decimals_with_every_digit(mock):
    body = '[{"exchange": "paper", "buy": "64251.10000000", "sell": 64251.000000000000000001, "time": "2026-11-20"}]'
    mock.get(f"{BASE}/exchange_rates/", body=body, match=[query_param_matcher({"from": "USD", "to": "BTC"})])
    [row] = XWrap().exchange_rates("USD", "BTC")
    assert row == {
        "exchange": "paper",
        "buy": Decimal("64251.10000000"),
        "sell": Decimal("64251.000000000000000001"),
        "time": "2026-11-20",
    }
    assert str(row["buy"]) == "64251.10000000"


def test_the_balance_of_an_account_keeps_the_row_that_failed(mock):
    rows = [
        {"id": 1, "exchange": "kraken", "balance": {"EUR": "1024.5531", "BTC": "0.123456789012345678"}},
        {"id": 2, "exchange": "mtgox", "balance": {}, "error": "Mt.Gox is closed"},
    ]
    mock.get(f"{BASE}/balance", json=rows, match=[SIGNED])
    assert XWrap().balance(USER, PASSWORD) == [
        {
            "id": 1,
            "exchange": "kraken",
            "balance": {"EUR": Decimal("1024.5531"), "BTC": Decimal("0.123456789012345678")},
        },
        rows[1],
    ]


@pytest.mark.parametrize(("arguments", "asset"), [({}, "BTC"), ({"asset": "ETH"}, "ETH")])
def test_an_address_is_text(mock, backend, arguments, asset):
    mock.get(f"{BASE}/exchanges/7/get_address", json="tb1qxyz", match=[SIGNED, query_param_matcher({"asset": asset})])
    assert backend.get_address(**arguments) == "tb1qxyz"


def test_the_amounts_of_a_record_are_the_fields_that_its_type_says():
    assert parsing.order.amounts == (
        "amount",
        "price",
        "cost",
        "filled",
        "average",
        "spent",
        "fee",
        "stop",
        "slippage",
        "remaining",
    )
    assert market_parsing.market.amounts == (
        "price_step",
        "amount_step",
        "amount_min",
        "cost_min",
        "maker_fee",
        "taker_fee",
    )
    assert parsing.fill.amounts == ("amount", "price", "fee")
    assert parsing.withdrawal.amounts == ("amount", "fee")
    assert parsing.deposit.amounts == ("amount",)


@pytest.mark.parametrize("amounts", [("x", "9" * 101), ("9" * 101, "x")])
def test_of_two_bad_amounts_the_error_is_always_the_first_ones(amounts):
    with pytest.raises(ValueError) as caught:
        parse_decimal(amounts[0])
    with pytest.raises(ValueError, match=f"^{caught.value}$"):
        parsing.order({"id": 41, "status": "open", **dict(zip(("amount", "fee"), amounts, strict=True))})


def test_a_record_keeps_what_is_not_known_here_and_leaves_the_document_alone():
    document = {"id": 41, "amount": "0.10", "price": None, "status": "open", "news": "0.1"}
    assert parsing.order(document) == {**document, "amount": Decimal("0.10")}
    assert document["amount"] == "0.10"


@pytest.mark.parametrize(
    ("parse", "document", "words"),
    [
        (parsing.order, [], "not an object"),
        (parsing.orders, {}, "not a list"),
        (market_parsing.market, {"currency": "USD"}, "'asset' is missing"),
        (market_parsing.order_book, {"bids": [["1", "2", "3"]], "asks": [], "time": "T"}, "too many values"),
        (market_parsing.order_book, {"bids": [], "asks": [["1", None]], "time": "T"}, "not a decimal"),
        (market_parsing.order_book, {"bids": [], "asks": []}, "'time' is missing"),
        (
            market_parsing.candles,
            [{"time": "T", "open": None, **dict.fromkeys(("high", "low", "close", "volume"), "1")}],
            "an amount is missing",
        ),
        (market_parsing.trades, [{"id": "1", "side": None, "amount": "1", "price": "1"}], "'time' is missing"),
        (market_parsing.fees, {"maker": "0.1", "taker": None, "source": "account"}, "an amount is missing"),
        (parsing.fill, {"amount": "x", "price": "1"}, "not a decimal"),
        (parsing.funds, {"BTC": {"total": "1", "available": "1"}}, "'held' is missing"),
        (parsing.funds, {"BTC": ["1"]}, "it is not an object"),
        (parsing.rate, {"buy": None, "sell": "1"}, "not a decimal"),
        (parsing.canceled, {"canceled": True}, "not a whole number"),
        (parsing.registration, {"id": "1", "exchange": "paper"}, "not a whole number"),
        (parsing.address, "", "not an address"),
        (parsing.accepted, False, "not an object"),
    ],
)
def test_what_is_not_asked_for_is_a_value_error(parse, document, words):
    with pytest.raises(ValueError, match=words):
        parse(document)
