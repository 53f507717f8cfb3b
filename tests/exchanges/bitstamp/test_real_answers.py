"""Answers that users of other libraries saw at Bitstamp, and others of the same kinds: each with the right value.

The kinds are those of `python -m tests.answer_kinds`. Sources are named where an answer was published.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.bitstamp import Bitstamp
from bitmm.xwrap.exchanges.errors import Busy, Refused, Unknown
from bitmm.xwrap.exchanges.models import DepositAddress, Funds, NewOrder, NewWithdrawal, OrderRef, OrderState
from tests.support.canned import Canned, Turns, http_date, text

CLIENT = "0000000000000000000000000000002a"
MARKET = {
    "name": "BTC/USD",
    "market_symbol": "btcusd",
    "base_currency": "BTC",
    "base_decimals": 8,
    "counter_currency": "USD",
    "counter_decimals": 0,
    "minimum_order_value": "10",
    "trading": "Enabled",
    "market_type": "SPOT",
}
CURRENCIES = [
    {"currency": "BTC", "type": "crypto", "networks": [{"network": "bitcoin", "deposit": "Enabled"}]},
    {"currency": "XRP", "type": "crypto"},
    {"currency": "USD", "type": "fiat"},
]
LIMIT = NewOrder("buy", "USD", "BTC", CLIENT, amount=Decimal(1), price=Decimal(100))
REF = OrderRef("buy", "USD", "BTC", CLIENT, "1372542846992384", amount=Decimal(1))


def bitstamp(**answers: object) -> Bitstamp:
    """The adapter, which gets `answers` by their path: `buy__btcusd` is POST /api/v2/buy/btcusd/."""
    public = {"markets": [MARKET], "currencies": CURRENCIES}
    canned = {f"GET /api/v2/{name}/": answer for name, answer in public.items()}
    for name, answer in answers.items():
        path = f"/api/v2/{name.replace('__', '/')}/"
        canned[f"{'GET' if name in public or name.startswith('ticker') else 'POST'} {path}"] = answer
    keys = Credentials(apikey="key", apisecret="secret")
    return Bitstamp(ExchangeContext(Canned(canned, secret="secret"), keys, 1, "http://127.0.0.1"))


def kind(letter: str):
    return pytest.mark.answer_kind(letter, exchange="bitstamp")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


# A: one odd row hides no other.

OLD_WITHDRAWAL = {
    "id": 3,
    "datetime": "2016-05-01 10:00:00",
    "type": 7,
    "amount": "1.00000000",
    "status": 2,
    "address": "1Example",
    "transaction_id": "",
}


@kind("A")
def test_a_withdrawal_of_a_type_that_is_not_documented_hides_no_other():
    """Types 6, 7 and 14 were seen in rows without a currency (knowm/XChange#1564)."""
    rows = [{**OLD_WITHDRAWAL, "id": 12, "type": 1}, OLD_WITHDRAWAL, {**OLD_WITHDRAWAL, "type": 6, "id": 4}]
    told = bitstamp(**{"withdrawal-requests": rows}).withdrawals()
    assert [(one.id, one.asset, one.amount, one.status) for one in told] == [
        ("12", "BTC", Decimal(1), "done"),
        # They do not vanish: a send that is not listed may be sent again.
        ("3", "", Decimal(1), "done"),
        ("4", "", Decimal(1), "done"),
    ]
    assert bitstamp(**{"withdrawal-requests": rows}).withdrawals("BTC") == told
    assert [one.id for one in bitstamp(**{"withdrawal-requests": [OLD_WITHDRAWAL]}).withdrawals()] == ["3"]


@kind("A")
def test_an_odd_withdrawal_hides_no_other_and_does_not_vanish(caplog):
    row = {**OLD_WITHDRAWAL, "currency": "BTC"}
    odd = [{**row, "id": None}, {**row, "amount": "-1"}, {**row, "datetime": "soon"}, [row], None]
    with caplog.at_level(logging.WARNING):
        told = bitstamp(**{"withdrawal-requests": [*odd, row]}).withdrawals("BTC")
    assert [one.id for one in told] == [""] * len(odd) + ["3"]
    assert len(caplog.records) == len(odd)
    assert "1Example" not in caplog.text


@kind("A")
def test_when_no_row_can_be_read_it_is_not_what_was_asked_for():
    with pytest.raises(Refused, match="cannot be understood") as caught:
        bitstamp(**{"withdrawal-requests": [{**OLD_WITHDRAWAL, "type": 1, "id": None}]}).withdrawals()
    assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)


BALANCE = {"currency": "btc", "total": "1.5", "available": "1.0", "reserved": "0.5"}


@kind("A")
@pytest.mark.parametrize(
    "odd",
    [{**BALANCE, "currency": None}, {"currency": "eth"}, {**BALANCE, "currency": "eth", "total": "x"}, None, "eth"],
)
def test_an_odd_balance_hides_no_other(odd):
    funds = bitstamp(account_balances=[odd, BALANCE]).funds()
    assert funds == {"BTC": Funds(Decimal("1.5"), Decimal("1.0"), Decimal("0.5"))}


@kind("A")
@pytest.mark.parametrize("odd", [{**MARKET, "base_decimals": None}, {**MARKET, "counter_currency": None}, None])
def test_an_odd_market_hides_no_other(odd):
    assert [market.asset for market in bitstamp(markets=[odd, MARKET]).markets()] == ["BTC"]


TRADE = {
    "id": 1296712,
    "datetime": "2023-09-02 13:17:49.123000",
    "type": "2",
    "fee": "0.06",
    "btc": "0.08650000",
    "usd": "-11.37",
    "btc_usd": Decimal("131.50"),
    "order_id": 6877187,
}


@kind("A")
@pytest.mark.parametrize("odd", [{**TRADE, "btc": "None"}, {**TRADE, "datetime": "soon"}, {**TRADE, "type": None}, []])
def test_an_odd_trade_hides_no_other(odd):
    fills = bitstamp(user_transactions__btcusd=[odd, TRADE]).fills("USD", "BTC")
    assert [(fill.id, fill.side, fill.price) for fill in fills] == [("1296712", "buy", Decimal("131.50"))]


DEPOSIT = {
    "id": 1,
    "network": "bitcoin",
    "currency": "BTC",
    "destinationAddress": "1Example",
    "txid": "aa",
    "amount": Decimal("1.23"),
    "datetime": 1759995000,
    "status": "FINALIZED",
}


@kind("A")
@pytest.mark.parametrize("odd", [{**DEPOSIT, "currency": None}, {**DEPOSIT, "amount": "much"}, "BTC"])
def test_an_odd_deposit_hides_no_other(odd):
    money = {"id": 2, "datetime": "2012-07-10 12:14:30", "type": 0, "fee": "0", "usd": "367.65", "btc": None}
    rows = [{**money, "usd": "a lot"}, money, {**money, "usd": "None"}, {**money, "type": "1"}]
    deposits = bitstamp(**{"crypto-transactions": {"deposits": [odd, DEPOSIT]}, "user_transactions": rows}).deposits()
    assert [(one.asset, one.amount, one.status) for one in deposits] == [
        ("BTC", Decimal("1.23"), "done"),
        ("USD", Decimal("367.65"), "done"),
    ]


OPEN = {
    "id": "1372542846992384",
    "datetime": "2026-10-17T14:23:01.725000Z",
    "type": "0",
    "price": "100",
    "amount": "0.4",
    "amount_at_create": "1",
    "market": "BTC/USD",
    "client_order_id": CLIENT,
}


@kind("A")
def test_an_odd_open_order_is_told_with_its_ids():
    told = bitstamp(open_orders=[{**OPEN, "market": "BTCUSD", "id": 7}, OPEN]).open_orders()
    assert [(one.exchange_order_id, one.status, one.client_id, one.filled) for one in told] == [
        ("7", "open", CLIENT, None),
        ("1372542846992384", "open", CLIENT, Decimal("0.6")),
    ]


# B: nothing may be told by null or an empty object.


@kind("B")
@pytest.mark.parametrize("nothing", [None, {}, []])
def test_lists_of_nothing_are_empty(nothing):
    answers = ("account_balances", "open_orders", "user_transactions", "crypto-transactions")
    exchange = bitstamp(**dict.fromkeys(answers, nothing), user_transactions__btcusd=nothing)
    assert exchange.funds() == {}
    assert exchange.balance() == {}
    assert exchange.open_orders() == exchange.fills("USD", "BTC") == exchange.deposits() == []
    lists = bitstamp(**{"crypto-transactions": {"deposits": nothing or None}})
    assert lists.deposits("BTC") == []


@kind("B")
@pytest.mark.parametrize("nothing", [None, {}, []])
def test_no_order_at_all_is_not_the_answer_to_a_look_up(nothing):
    with pytest.raises(Refused, match="cannot be understood"):
        bitstamp(order_status=nothing).find(REF)
    with pytest.raises(Unknown):
        bitstamp(cancel_all_orders=nothing).cancel_all()


@kind("B")
def test_that_nothing_was_sent_is_told_by_an_empty_list_alone():
    """A send that is not listed may be sent again."""
    assert bitstamp(**{"withdrawal-requests": []}).withdrawals() == []
    for nothing in (None, {}):
        with pytest.raises(Refused, match="cannot be understood"):
            bitstamp(**{"withdrawal-requests": nothing}).withdrawals()


# C: a market that takes no new orders.

CLOSED = {**MARKET, "trading": "Disabled"}
DONE = {
    "id": 1372542846992384,
    "datetime": "2021-06-17 10:00:00",
    "type": "0",
    "status": "Finished",
    "market": "BTC/USD",
    "amount_remaining": "0.00000000",
    "client_order_id": CLIENT,
    "transactions": [{"tid": 1, "price": "100.00", "btc": "1.0", "usd": "100.00", "fee": "0.50", "type": 2}],
}


@kind("C")
def test_orders_and_trades_of_a_market_that_is_closed_are_told():
    exchange = bitstamp(
        markets=[CLOSED], order_status=DONE, open_orders=[OPEN], user_transactions__btcusd=[TRADE], cancel_order=OPEN
    )
    assert exchange.order(REF).status == "filled"
    assert exchange.find(REF).filled == 1
    assert [one.asset for one in exchange.open_orders()] == ["BTC"]
    assert len(exchange.fills("USD", "BTC")) == 1
    exchange.cancel(REF)
    assert exchange.markets() == []


@kind("C")
def test_a_market_that_is_closed_now_is_not_called_unknown_and_is_asked_about_again():
    exchange = bitstamp(markets=Turns([[CLOSED], [MARKET]]), buy__btcusd={"id": "1", "type": "0"})
    with pytest.raises(Refused, match="takes no new orders for BTC/USD now") as caught:
        exchange.place(LIMIT)
    assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)
    assert exchange.place(LIMIT).status == "open"


# D: fees are paid in the currency, or are not told.


@kind("D")
def test_a_fee_counts_the_currency_also_where_that_is_an_asset():
    row = {**DONE, "market": "XRP/BTC", "transactions": [{"price": "0.1", "xrp": "2", "btc": "0.2", "fee": "0.001"}]}
    ref = OrderRef("buy", "BTC", "XRP", CLIENT, REF.exchange_order_id)
    state = bitstamp(order_status=row).order(ref)
    assert (state.spent, state.fee, state.fee_currency) == (Decimal("0.2"), Decimal("0.001"), "BTC")


@kind("D")
def test_a_fee_that_one_of_the_trades_does_not_tell_is_not_told():
    trade = DONE["transactions"][0]
    row = {**DONE, "transactions": [trade, {**trade, "fee": None}]}
    state = bitstamp(order_status=row).order(REF)
    assert (state.filled, state.fee, state.fee_currency) == (2, None, None)
    (fill,) = bitstamp(user_transactions__btcusd=[{**TRADE, "fee": None}]).fills("USD", "BTC")
    assert (fill.fee, fill.fee_currency) == (None, None)


# E: an address that must not be used.

NETWORKS = {
    "currency": "BTC",
    "type": "crypto",
    "networks": [{"network": "bitcoin", "deposit": "Disabled"}, {"network": "lightning", "deposit": "Enabled"}],
}


@kind("E")
def test_no_address_is_handed_out_while_deposits_are_switched_off():
    for row, network in (({**NETWORKS, "deposit": "Disabled"}, None), (NETWORKS, "bitcoin")):
        exchange = bitstamp(currencies=Turns([[row], CURRENCIES]), btc_address={"address": "1Example"})
        with pytest.raises(Refused, match="takes no deposits of BTC") as caught:
            exchange.deposit_address("BTC", network)
        assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)
        assert exchange.deposit_address("BTC", network).address == "1Example"


@kind("E")
def test_an_address_is_that_of_the_network_that_is_named_or_the_only_one():
    exchange = bitstamp(currencies=[NETWORKS], btc_address={"address": "1Example"})
    assert exchange.deposit_address("BTC") == DepositAddress("BTC", "1Example", None, "lightning")
    assert exchange.api.transport.bodies[-1] == "network=lightning"
    both = {**NETWORKS, "networks": [{"network": "bitcoin"}, {"network": "lightning", "withdrawal": "Enabled"}]}
    exchange = bitstamp(currencies=[both])
    for transfer in (
        lambda: exchange.deposit_address("BTC"),
        lambda: exchange.withdraw(NewWithdrawal("BTC", Decimal(1), "1Example", CLIENT)),
    ):
        with pytest.raises(Refused, match="bitcoin, lightning") as caught:
            transfer()
        assert caught.value.code == "network_required"


@kind("E")
@pytest.mark.parametrize("answer", [{"address": None}, {"address": ""}, {"address": "?dt=7"}, {}, None, ""])
def test_an_answer_without_an_address_hands_out_none(answer):
    with pytest.raises(Refused, match="cannot be understood"):
        bitstamp(xrp_address=answer).deposit_address("XRP")


@pytest.mark.parametrize(
    ("answer", "address"),
    [
        ({"address": "rN7n?dt=123"}, ("rN7n", "123")),
        ({"address": "rN7n?dt=123", "destination_tag": 123}, ("rN7n", "123")),
        ({"address": "rN7n", "destination_tag": 0}, ("rN7n", "0")),
        ({"address": "rN7n", "destination_tag": "123", "memo_id": None}, ("rN7n", "123")),
        ("rN7n?dt=123", ("rN7n", "123")),
        ("rN7n", ("rN7n", None)),
    ],
)
def test_a_tag_is_told_apart_from_the_address(answer, address):
    told = bitstamp(xrp_address=answer).deposit_address("XRP")
    assert (told.address, told.tag) == address


def test_an_address_with_two_tags_is_not_handed_out():
    with pytest.raises(Refused, match="two tags"):
        bitstamp(xrp_address={"address": "rN7n?dt=123", "destination_tag": 124}).deposit_address("XRP")


# F: Retry-After.


@kind("F")
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (lambda: http_date(90), (80, 90)),
        (lambda: "2.5", (3, 3)),
        (lambda: "7", (7, 7)),
        (lambda: "soon", (10, 10)),
    ],
)
def test_retry_after_is_obeyed_as_seconds_fractions_and_dates(header, seconds):
    with pytest.raises(Busy) as caught:
        bitstamp(account_balances=text(429, "slow down", **{"Retry-After": header()})).funds()
    assert seconds[0] <= caught.value.retry_after <= seconds[1]


@kind("F")
@pytest.mark.parametrize(
    "body", ["<html>maintenance</html>", '{"error": "Bitstamp.net is under scheduled maintenance."}', '{"error": "?"}']
)
def test_how_long_an_exchange_is_not_there_is_told(body):
    """RFC 9110, 15.6.4."""
    with pytest.raises(Refused) as caught:
        bitstamp(account_balances=text(503, body, **{"Retry-After": "120"})).funds()
    assert (caught.value.code, caught.value.retry_after) == ("exchange_unavailable", 120)


# G: a passing refusal.

#: words without a code -> our code, and whether a call that executes proves nothing by it
WORDS = [
    ("Invalid nonce", "invalid_nonce", True),
    ("Timestamp out of boundaries", "invalid_nonce", True),
    ("Request rate limit exceeded", "rate_limited", True),
    ("Request rate limit exceeded.", "rate_limited", True),
    ("Request rejected due to exceeded rate limit.", "rate_limited", True),
    ("Trading for provided market is disabled.", "exchange_unavailable", False),
    ("Insufficient balance for provided user.", "insufficient_funds", False),
    ("Provided client_order_id already exists.", "exchange_refused", True),
    ("Invalid signature", "exchange_key_refused", False),
    ("Authentication failed", "exchange_key_refused", False),
    ("API key not found", "exchange_key_refused", False),
    ("Missing key, signature and nonce parameters", "exchange_key_refused", False),
    ("IP address not allowed", "permission_denied", False),
    ("Your account is frozen", "permission_denied", False),
    ("Trading is currently unavailable for your account.", "permission_denied", False),
    ("Trading is currently unavailable. Please try again in a few minutes.", "exchange_unavailable", False),
    ("This is temporarily disabled.", "exchange_unavailable", False),
    ("You need 12 USD to open that order. You have only 3 USD available.", "insufficient_funds", False),
    ("Please update your profile with your FATCA information, before using API.", "permission_denied", False),
]
FORMATS = {
    "error": lambda words: {"error": words},
    "status and reason": lambda words: {"status": "error", "reason": words},
    "reason by field": lambda words: {"status": "error", "reason": {"__all__": [words]}},
    "error by field": lambda words: {"error": {"__all__": [words]}},
    "list": lambda words: {"error": [words]},
    "no code": lambda words: {"status": "error", "reason": words, "code": None},
}


@kind("G")
@pytest.mark.parametrize(("words", "code", "unproved"), WORDS)
@pytest.mark.parametrize("shape", FORMATS)
@pytest.mark.parametrize("status", [200, 400, 403])
def test_words_without_a_code_mean_what_the_code_means(words, code, unproved, shape, status):
    answer = text(status, json.dumps(FORMATS[shape](words)), **{"Content-Type": "application/json"})
    exchange = bitstamp(account_balances=answer, buy__btcusd=answer)
    retryable = code in ("invalid_nonce", "rate_limited", "exchange_unavailable")
    with pytest.raises(Refused) as read:
        exchange.funds()
    assert (read.value.code, read.value.retryable, isinstance(read.value, Busy)) == (
        code,
        retryable,
        code == "rate_limited",
    )
    with pytest.raises((Refused, Unknown)) as placed:
        exchange.place(LIMIT)
    assert placed.value.may_have_executed is unproved
    refusal = placed.value.refusal if unproved else placed.value
    assert (refusal.code, refusal.retryable) == (code, retryable)


@kind("G")
@pytest.mark.parametrize("body", ['"Invalid nonce"', '["Invalid nonce"]'])
def test_words_alone_are_understood_and_others_are_not_taken_for_a_refusal(body):
    with pytest.raises(Refused) as read:
        bitstamp(account_balances=text(403, body)).funds()
    assert read.value.code == "invalid_nonce"
    with pytest.raises(Unknown) as placed:
        bitstamp(buy__btcusd=text(403, body)).place(LIMIT)
    assert placed.value.refusal.code == "invalid_nonce"
    with pytest.raises(Unknown) as placed:
        bitstamp(buy__btcusd=text(400, body.replace("nonce", "day"))).place(LIMIT)
    assert placed.value.refusal is None


@kind("G")
@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_failure_that_says_it_passes_says_nothing_of_the_order(status):
    answer = text(status, '{"error": "Temporarily unavailable, please try again."}')
    with pytest.raises(Unknown) as placed:
        bitstamp(buy__btcusd=answer).place(LIMIT)
    assert placed.value.refusal is None
    with pytest.raises(Refused) as read:
        bitstamp(account_balances=answer).funds()
    assert (read.value.code, read.value.retryable) == ("exchange_unavailable", True)


def test_a_field_that_is_named_after_a_time_is_no_clock():
    reason = {"status": "error", "reason": {"since_timestamp": ["Enter a whole number."]}}
    with pytest.raises(Refused) as caught:
        bitstamp(account_balances=reason).funds()
    assert caught.value.code == "exchange_refused"


@kind("H")
def test_what_certainly_failed_is_refused_and_what_may_not_have_is_unknown():
    for answer, code in (
        (text(400, '{"error":{"__all__":["Minimum order size is 10 USD"]}}'), "invalid_amount"),
        (text(403, '{"status":"error","reason":"Invalid signature"}'), "exchange_key_refused"),
        (text(503, '{"error":"Bitstamp.net is under scheduled maintenance."}'), "exchange_unavailable"),
    ):
        with pytest.raises(Refused) as caught:
            bitstamp(buy__btcusd=answer).place(LIMIT)
        assert caught.value.code == code
    for answer in (
        text(503, "<html><h1>Maintenance</h1></html>"),
        text(403, "<html>who are you</html>"),
        text(400, '{"error": null}'),
        text(400, '{"error": ""}'),
        {"error": None},
    ):
        with pytest.raises(Unknown):
            bitstamp(buy__btcusd=answer).place(LIMIT)


def test_an_error_of_null_is_no_error():
    placed = bitstamp(buy__btcusd={"id": 7, "type": 0, "datetime": "2026-01-01 10:00:00", "error": None}).place(LIMIT)
    assert (placed.exchange_order_id, placed.status) == ("7", "open")


# I: funds that contradict themselves.


@kind("I")
@pytest.mark.parametrize(
    ("row", "funds"),
    [
        (("1.5", "-0.1", "1.6"), ("1.5", "0", "1.6")),
        (("-0.0003", "-0.0003", "0"), ("-0.0003", "0", "0")),
        (("1", "2", "0"), ("1", "1", "0")),
        ((1, Decimal("0.5"), 0.5), ("1", "0.5", "0.5")),
        ((None, "1", "0.5"), ("1.5", "1", "0.5")),
        (("1.5", None, "0.5"), ("1.5", "1.0", "0.5")),
    ],
)
def test_available_is_never_below_zero_nor_more_than_what_is_owned(row, funds):
    given = dict(zip(("total", "available", "reserved"), row, strict=True))
    told = bitstamp(account_balances=[{"currency": "weird", **given}]).funds()
    assert told == {"WEIRD": Funds(*map(Decimal, funds))}


# J: what is not always there.


@kind("J")
def test_an_order_of_2021_has_neither_market_nor_side_nor_time():
    """The answer of knowm/XChange#4125: canceled untouched."""
    row = {"status": "Canceled", "id": 1372542846992384, "amount_remaining": "0.00943030", "transactions": []}
    assert bitstamp(order_status=row).order(REF) == OrderState(
        "1372542846992384",
        "canceled",
        side="buy",
        currency="USD",
        asset="BTC",
        amount=Decimal("0.00943030"),
        filled=Decimal(0),
        spent=Decimal(0),
        fee=Decimal(0),
        fee_currency="USD",
    )


@kind("J")
def test_an_order_of_2018_does_not_tell_what_remains():
    fill = {**DONE["transactions"][0], "datetime": "2018-01-07 10:45:34.132551", "usd": "69.8947000000000000"}
    row = {
        "id": 1372542846992384,
        "client_order_id": "",
        "status": "Canceled",
        "transactions": [{**fill, "btc": "0.23"}],
    }
    state = bitstamp(order_status=row).order(REF)
    assert (state.status, state.filled, state.spent) == ("partly_filled", Decimal("0.23"), Decimal("69.8947"))
    assert (state.amount, state.created) == (Decimal(1), None)


@kind("J")
@pytest.mark.parametrize("left_out", [{}, {"transactions": None}])
@pytest.mark.parametrize(
    ("status", "remaining", "told"),
    [
        ("Finished", "0.00000000", ("filled", Decimal(1))),
        ("Canceled", "1.00000000", ("canceled", Decimal(0))),
        ("Canceled", "0.75", ("partly_filled", Decimal("0.25"))),
        ("Open", "0.75", ("open", Decimal("0.25"))),
        ("Canceled", None, ("canceled", None)),
    ],
)
def test_an_order_whose_transactions_are_left_out_tells_what_remains(left_out, status, remaining, told):
    row = {**DONE, "status": status, "amount_remaining": remaining}
    del row["transactions"]
    state = bitstamp(order_status={**row, **left_out}).order(replace(REF, amount=Decimal(1)))
    assert (state.status, state.filled) == told
    assert (state.amount, state.average, state.spent, state.fee, state.fee_currency) == (1, None, None, None, None)


@kind("J")
def test_an_answer_that_names_no_order_is_not_taken_for_the_one_that_is_looked_for():
    row = {"status": "Finished", "id": 1, "transactions": []}
    by_our_id = OrderRef("buy", "USD", "BTC", CLIENT)
    for odd in (row, {**row, "client_order_id": ""}, {**row, "client_order_id": "f" * 32}):
        with pytest.raises(Refused, match="cannot be understood"):
            bitstamp(order_status=odd).find(by_our_id)
    assert bitstamp(order_status={**row, "client_order_id": CLIENT}).find(by_our_id).status == "filled"
    with pytest.raises(Refused, match="cannot be understood"):
        bitstamp(order_status=row).order(REF)


@kind("J")
@pytest.mark.parametrize("name", ["type", "datetime", "market", "client_order_id", "amount", "price", "error"])
@pytest.mark.parametrize("absent", [True, False])
def test_the_answer_to_an_order_needs_no_more_than_an_id(name, absent):
    row = {**OPEN, name: None}
    if absent:
        del row[name]
    placed = bitstamp(buy__btcusd=row).place(LIMIT)
    assert (placed.exchange_order_id, placed.status, placed.side) == ("1372542846992384", "open", "buy")


@kind("J")
@pytest.mark.parametrize(
    "name", ["datetime", "price", "amount", "amount_at_create", "market", "client_order_id", "currency_pair"]
)
@pytest.mark.parametrize("absent", [True, False])
def test_an_open_order_may_leave_out_what_it_does_not_know(name, absent):
    row = {**OPEN, name: None}
    if absent:
        del row[name]
    (state,) = bitstamp(open_orders=[row]).open_orders()
    assert (state.exchange_order_id, state.status, state.side, state.reason) == (
        "1372542846992384",
        "open",
        "buy",
        None,
    )


@kind("J")
@pytest.mark.parametrize("name", ["network", "address", "transaction_id", "datetime", "amount", "status", "txid"])
@pytest.mark.parametrize("absent", [True, False])
def test_a_withdrawal_may_leave_out_all_but_its_id_and_its_asset(name, absent):
    row = {**OLD_WITHDRAWAL, "currency": "BTC", name: None}
    if absent:
        del row[name]
    (told,) = bitstamp(**{"withdrawal-requests": [row]}).withdrawals()
    assert (told.id, told.asset) == ("3", "BTC")
    assert told.status == ("unknown" if name == "status" else "done")


@kind("J")
@pytest.mark.parametrize("name", ["minimum_order_value", "minimum_order_amount", "market_type", "trading", "tick_size"])
@pytest.mark.parametrize("absent", [True, False])
def test_a_market_needs_its_decimals_only(name, absent):
    row = {**MARKET, "base_decimals": "8", name: None}
    if absent:
        del row[name]
    (market,) = bitstamp(markets=[row]).markets()
    assert (market.amount_step, market.price_step) == (Decimal("1E-8"), Decimal(1))


@kind("J")
def test_a_trade_without_its_price_or_its_cost_is_told():
    (fill,) = bitstamp(user_transactions__btcusd=[{**TRADE, "btc_usd": None, "usd": "-8.65"}]).fills("USD", "BTC")
    assert fill.price == 100
    small = {**TRADE, "usd": "0.00", "btc": "0.00000001", "order_id": None}
    bought, sold = bitstamp(user_transactions__btcusd=[small, {**small, "btc": "-0.00000001"}]).fills("USD", "BTC")
    assert (bought.side, sold.side, bought.exchange_order_id) == ("buy", "sell", None)


@pytest.mark.parametrize(
    "time", ["2025-10-17T14:23:01Z", "2025-10-17 14:23:01", "2025-10-17T16:23:01+02:00", 1760710981, "1760710981000"]
)
def test_a_time_is_a_text_or_a_number(time):
    moment = utc(2025, 10, 17, 14, 23, 1)
    ticker = {"ask": "101", "bid": 100, "timestamp": time}
    exchange = bitstamp(
        ticker__btcusd=ticker,
        order_status={**DONE, "datetime": time},
        open_orders=[{**OPEN, "datetime": time}],
        **{
            "user_transactions__btcusd": [{**TRADE, "datetime": time}],
            "withdrawal-requests": [{**OLD_WITHDRAWAL, "currency": "BTC", "datetime": time}],
            "crypto-transactions": {"deposits": [{**DEPOSIT, "datetime": time}]},
        },
    )
    assert exchange.rate("USD", "BTC").time == moment
    assert exchange.order(REF).created == exchange.open_orders()[0].created == moment
    assert exchange.fills("USD", "BTC")[0].time == exchange.deposits("BTC")[0].time == moment
    assert exchange.withdrawals()[0].created == moment


def test_an_order_that_expired_says_so():
    assert bitstamp(order_status={**DONE, "status": "Cancelled", "transactions": []}).order(REF).status == "canceled"
    state = bitstamp(order_status={**DONE, "status": "Expired", "transactions": []}).order(REF)
    assert (state.status, state.reason) == ("canceled", "it expired")


def test_a_market_may_be_named_as_in_a_path_and_a_perpetual_is_no_pair():
    assert bitstamp(order_status={**DONE, "market": "btcusd"}).order(REF).asset == "BTC"
    for other in ("btceur", "BTC/EUR", "BTC/USD-PERP"):
        with pytest.raises(Refused, match="cannot be understood"):
            bitstamp(order_status={**DONE, "market": other}).order(REF)
    (state,) = bitstamp(open_orders=[{**OPEN, "market": "BTC/USD-PERP"}]).open_orders()
    assert (state.exchange_order_id, state.asset, state.currency) == ("1372542846992384", None, None)


def test_a_status_that_is_not_known_is_no_outcome():
    assert bitstamp(order_status={**DONE, "status": "Expired soon"}).order(REF).status == "unknown"


def test_a_market_order_whose_status_is_not_known_stands_and_is_open():
    exchange = bitstamp(buy__market__btcusd={"id": DONE["id"], "type": "0"}, order_status={**DONE, "status": "Soon"})
    state = exchange.place(replace(LIMIT, price=None))
    assert (state.status, state.exchange_order_id, state.filled) == ("open", "1372542846992384", None)


def test_a_network_without_a_name_hides_no_asset():
    row = {**NETWORKS, "networks": [{"network": None}, *NETWORKS["networks"]]}
    assert bitstamp(currencies=[row], btc_address={"address": "1Example"}).deposit_address("BTC").network == "lightning"


def test_a_ticker_without_its_time_has_that_of_its_answer():
    before = datetime.now(UTC)
    assert before <= bitstamp(ticker__btcusd={"ask": 101, "bid": 100}).rate("USD", "BTC").time <= datetime.now(UTC)


def test_a_tag_in_a_withdrawals_or_a_deposits_address_is_told_apart():
    exchange = bitstamp(
        **{
            "withdrawal-requests": [{**OLD_WITHDRAWAL, "currency": "xrp", "address": "rN7n?dt=5"}],
            "crypto-transactions": {"deposits": [{**DEPOSIT, "currency": "XRP", "destinationAddress": "rN7n?dt=6"}]},
        }
    )
    assert [(one.asset, one.address, one.tag) for one in exchange.withdrawals()] == [("XRP", "rN7n", "5")]
    assert [(one.address, one.tag) for one in exchange.deposits("XRP")] == [("rN7n", "6")]
