"""Answers that users of other libraries saw at Backpack, or that its OpenAPI text allows: each with the right value.

The kinds are those of `python -m tests.answer_kinds`. Sources are named where an answer was published.
"""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.backpack import Backpack
from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.errors import Busy, NotListedYet, Refused, Unknown
from bitmm.xwrap.exchanges.models import Funds, NewOrder, NewWithdrawal, OrderRef
from tests.support.canned import Canned, Turns, http_date, text

KEY, SECRET = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=", base64.b64encode(bytes(range(32))).decode()
CLIENT = "0000000000000000000000000000002a"
MARKET = {
    "symbol": "SOL_USDC",
    "baseSymbol": "SOL",
    "quoteSymbol": "USDC",
    "marketType": "SPOT",
    "filters": {"price": {"tickSize": "0.01"}, "quantity": {"minQuantity": "0.01", "stepSize": "0.01"}},
    "orderBookState": "Open",
}
SOLANA = {"blockchain": "Solana", "depositEnabled": True, "withdrawEnabled": True}
ASSETS = [{"symbol": "SOL", "tokens": [SOLANA]}, {"symbol": "ETH", "tokens": [{**SOLANA, "blockchain": "Ethereum"}]}]
PATHS = {
    "markets": "GET /api/v1/markets",
    "assets": "GET /api/v1/assets",
    "depth": "GET /api/v1/depth",
    "place": "POST /api/v1/order",
    "order": "GET /api/v1/order",
    "orders": "GET /api/v1/orders",
    "cancel": "DELETE /api/v1/order",
    "cancel_all": "DELETE /api/v1/orders",
    "capital": "GET /api/v1/capital",
    "collateral": "GET /api/v1/capital/collateral",
    "history": "GET /wapi/v1/history/orders",
    "fills": "GET /wapi/v1/history/fills",
    "address": "GET /wapi/v1/capital/deposit/address",
    "deposits": "GET /wapi/v1/capital/deposits",
    "withdrawals": "GET /wapi/v1/capital/withdrawals",
    "withdraw": "POST /wapi/v1/capital/withdrawals",
}
LIMIT = NewOrder("buy", "USDC", "SOL", CLIENT, amount=Decimal(1), price=Decimal(150))
REF = OrderRef("buy", "USDC", "SOL", CLIENT, "111234567", amount=Decimal(1))
NOT_FOUND = text(404, '{"code":"RESOURCE_NOT_FOUND","message":"not found"}')


def backpack(**answers: object) -> Backpack:
    """The adapter, which gets `answers` by the names of PATHS; else what is not found, and lists of nothing."""
    given = {"markets": [MARKET], "assets": ASSETS, "order": NOT_FOUND, "fills": [], "collateral": {"collateral": []}}
    canned = Canned({PATHS[name]: answer for name, answer in (given | answers).items()})
    return Backpack(ExchangeContext(canned, Credentials(apikey=KEY, apisecret=SECRET), 1, "http://127.0.0.1"))


def kind(letter: str):
    return pytest.mark.answer_kind(letter, exchange="backpack")


def without(row: dict, name: str, *, absent: bool) -> dict:
    """The row with null for a field, or without it."""
    return {key: value for key, value in row.items() if key != name} if absent else {**row, name: None}


both_ways = pytest.mark.parametrize("absent", [True, False], ids=["absent", "null"])

LIVE = {
    "id": "111234567",
    "clientId": 42,
    "createdAt": 1772359200123,
    "executedQuantity": "0.4",
    "executedQuoteQuantity": "60",
    "orderType": "Limit",
    "postOnly": False,
    "price": "150.00",
    "quantity": "1.00",
    "reduceOnly": None,
    "relatedOrderId": None,
    "selfTradePrevention": "RejectTaker",
    "side": "Bid",
    "status": "PartiallyFilled",
    "symbol": "SOL_USDC",
    "timeInForce": "GTC",
}
#: Of a history row nothing else is required (schema "Order").
HISTORY = {
    "id": "111234567",
    "createdAt": "2026-03-01T10:00:00.123",
    "orderType": "Limit",
    "selfTradePrevention": "RejectTaker",
    "status": "Cancelled",
    "side": "Bid",
    "symbol": "SOL_USDC",
    "timeInForce": "GTC",
}
FILL = {
    "fee": "0.06",
    "feeSymbol": "USDC",
    "isMaker": True,
    "orderId": "111234567",
    "price": "150",
    "quantity": "0.4",
    "side": "Bid",
    "symbol": "SOL_USDC",
    "timestamp": "2026-03-01T10:00:00.123",
    "tradeId": 7,
}
DEPOSIT = {
    "createdAt": "2026-03-01T10:00:00.123",
    "id": 6695353,
    "quantity": "120",
    "source": "solana",
    "status": "confirmed",
    "symbol": "USDC",
    "toAddress": "So1Example",
    "transactionHash": "aa",
    "platformMemo": None,
}
WITHDRAWAL = {
    "blockchain": "Solana",
    "clientId": CLIENT,
    "createdAt": "2026-03-01T10:00:00.123",
    "fee": "0.01",
    "id": 5479929,
    "isInternal": False,
    "quantity": "1",
    "status": "confirmed",
    "symbol": "SOL",
    "toAddress": "So1Example",
    "transactionHash": "bb",
}
BALANCE = {"available": "1.5", "locked": "0.5", "staked": "0"}


# A: one odd row hides no other.


@kind("A")
@pytest.mark.parametrize("odd", [None, [], "2", {"available": "x", "locked": "0", "staked": "0"}, {}])
def test_an_odd_balance_hides_no_other(odd, caplog):
    with caplog.at_level(logging.WARNING):
        funds = backpack(capital={"POINTS": odd, "SOL": BALANCE}).funds()
    assert funds == {"SOL": Funds(Decimal("2.0"), Decimal("1.5"), Decimal("0.5"), Decimal(0))}
    assert len(caplog.records) == 1


@kind("A")
@pytest.mark.parametrize("odd", [{**MARKET, "filters": None}, {**MARKET, "baseSymbol": None}, None, {}])
def test_an_odd_market_hides_no_other(odd):
    assert [market.asset for market in backpack(markets=[odd, MARKET]).markets()] == ["SOL"]


@kind("A")
def test_an_odd_fill_deposit_or_withdrawal_hides_no_other():
    exchange = backpack(
        fills=[{**FILL, "symbol": "SOL_USDC_PERP"}, FILL, {**FILL, "side": "Both"}, None],
        deposits=[{**DEPOSIT, "symbol": None}, DEPOSIT, {**DEPOSIT, "quantity": None}],
        withdrawals=[{**WITHDRAWAL, "id": None}, WITHDRAWAL, []],
    )
    assert [fill.id for fill in exchange.fills("USDC", "SOL")] == ["7"]
    assert [deposit.id for deposit in exchange.deposits()] == ["6695353"]
    # What is not listed may be sent again.
    assert [(one.id, one.asset, one.status) for one in exchange.withdrawals("SOL")] == [
        ("", "SOL", "unknown"),
        ("5479929", "SOL", "done"),
        ("", "SOL", "unknown"),
    ]


@kind("A")
def test_an_odd_open_order_is_told_with_its_id():
    told = backpack(orders=[{**LIVE, "id": "8", "symbol": None}, LIVE]).open_orders()
    assert [(one.exchange_order_id, one.status, one.asset) for one in told] == [
        ("8", "open", None),
        ("111234567", "open", "SOL"),
    ]


@kind("A")
def test_an_odd_fill_does_not_hide_its_order():
    row = {**HISTORY, "status": "Filled", "quantity": "0.4", "executedQuantity": "0.4", "executedQuoteQuantity": "60"}
    for fills in ([{**FILL, "quantity": None}], None, {}, text(404, "not found"), text(403, '{"code":"FORBIDDEN"}')):
        state = backpack(history=[row], fills=fills).order(REF)
        assert (state.status, state.filled, state.average, state.fee) == ("filled", Decimal("0.4"), 150, None)
    with pytest.raises(Refused):
        backpack(history=[row], fills=text(503, "busy")).order(REF)


@kind("A")
def test_an_odd_chain_hides_no_other():
    assets = [{"symbol": "SOL", "tokens": [{**SOLANA, "blockchain": None}, SOLANA]}, {"symbol": None}]
    assert backpack(assets=assets, address={"address": "So1Example"}).deposit_address("SOL").network == "Solana"


# B: nothing may be told by null or an empty object.


@kind("B")
@pytest.mark.parametrize("nothing", [None, {}, [], text(204, "")], ids=["null", "{}", "[]", "HTTP 204"])
def test_lists_of_nothing_are_empty(nothing):
    names = ("capital", "collateral", "orders", "fills", "deposits")
    exchange = backpack(**dict.fromkeys(names, nothing))
    assert exchange.funds() == exchange.balance() == {}
    assert exchange.open_orders() == exchange.fills("USDC", "SOL") == []
    assert exchange.deposits() == backpack(withdrawals=[]).withdrawals() == []


@kind("B")
@pytest.mark.parametrize("nothing", [None, {}, text(204, "")], ids=["null", "{}", "HTTP 204"])
def test_no_list_at_all_proves_nothing(nothing):
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    for question in (
        lambda: backpack(history=nothing).order(REF),
        lambda: backpack(history=nothing).find(replace(REF, created=long_ago, missed_since=long_ago)),
        lambda: backpack(withdrawals=nothing).find_withdrawal(CLIENT, long_ago, long_ago),
        lambda: backpack(withdrawals=nothing).withdrawals(),
        lambda: backpack(orders=nothing).cancel_all(),
    ):
        with pytest.raises(Refused, match="cannot be understood"):
            question()


# C: a market that takes no new orders.


@kind("C")
@pytest.mark.parametrize("state", ["Closed", "CancelOnly"])
def test_orders_and_fills_of_a_market_that_is_shut_are_told_and_canceled(state):
    exchange = backpack(markets=[{**MARKET, "orderBookState": state}], orders=[LIVE], fills=[FILL], cancel=LIVE)
    assert exchange.open_orders()[0].filled == Decimal("0.4")
    assert exchange.fills("USDC", "SOL")[0].amount == Decimal("0.4")
    exchange.cancel(REF)
    assert backpack(markets=[{**MARKET, "orderBookState": state}], history=[HISTORY]).order(REF).status == "canceled"
    assert exchange.markets() == []


@kind("C")
def test_a_market_that_is_shut_now_is_not_called_unknown_and_is_asked_about_again():
    shut = {**MARKET, "orderBookState": "CancelOnly"}
    exchange = backpack(markets=Turns([[shut], [MARKET]]), place=LIVE)
    with pytest.raises(Refused, match="takes no new orders for SOL/USDC now") as caught:
        exchange.place(LIMIT)
    assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)
    assert exchange.place(LIMIT).status == "open"


@pytest.mark.parametrize("state", ["LimitOnly", "PostOnly", None, "SomethingNew"])
def test_a_market_that_takes_some_orders_is_open(state):
    assert len(backpack(markets=[{**MARKET, "orderBookState": state}]).markets()) == 1


# D: a fee in the currency that it was paid in.


@kind("D")
@pytest.mark.parametrize("symbol", ["USDC", "SOL", "BP"])
def test_a_fee_counts_what_its_fill_says(symbol):
    fill = {**FILL, "feeSymbol": symbol, "fee": "-0.01"}
    state = backpack(order=LIVE, fills=[fill]).order(REF)
    assert (state.fee, state.fee_currency) == (Decimal("-0.01"), symbol)
    (told,) = backpack(fills=[fill]).fills("USDC", "SOL")
    assert (told.fee, told.fee_currency) == (Decimal("-0.01"), symbol)


@kind("D")
def test_fees_in_several_currencies_or_of_which_one_is_not_told_are_not_added_up():
    half = {**FILL, "quantity": "0.2"}
    for other in ({**half, "feeSymbol": "SOL"}, {**half, "fee": None}, {**half, "feeSymbol": None}):
        state = backpack(order=LIVE, fills=[half, other]).order(REF)
        assert (state.fee, state.fee_currency) == (None, None)
    state = backpack(order=LIVE, fills=[without(FILL, "feeSymbol", absent=True)]).order(REF)
    assert (state.fee, state.fee_currency) == (None, None)


# E: an address that must not be used.


@kind("E")
def test_no_address_is_handed_out_while_deposits_are_switched_off():
    off = [{"symbol": "SOL", "tokens": [{**SOLANA, "depositEnabled": False}]}]
    for network in (None, "solana"):
        exchange = backpack(assets=Turns([off, ASSETS]), address={"address": "So1Example"})
        with pytest.raises(Refused, match="takes no deposits of SOL by Solana now") as caught:
            exchange.deposit_address("SOL", network)
        assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)
        assert exchange.deposit_address("SOL", network).address == "So1Example"


@kind("E")
def test_of_two_chains_the_one_that_is_on_is_taken():
    tokens = [{**SOLANA, "depositEnabled": False}, {**SOLANA, "blockchain": "Ethereum"}]
    exchange = backpack(assets=[{"symbol": "USDC", "tokens": tokens}], address={"address": "0xExample"})
    assert exchange.deposit_address("USDC").network == "Ethereum"
    with pytest.raises(Refused, match="by Solana now"):
        exchange.deposit_address("USDC", "Solana")
    with pytest.raises(Refused, match="Ethereum") as caught:
        exchange.deposit_address("USDC", "Bitcoin")
    assert caught.value.code == "network_required"


@kind("E")
@pytest.mark.parametrize("answer", [{"address": None}, {"address": " "}, {}, None, []])
def test_an_answer_without_an_address_hands_out_none(answer):
    with pytest.raises(Refused, match="cannot be understood"):
        backpack(address=answer).deposit_address("SOL")


def test_a_tag_in_an_addresss_text_is_told_apart():
    assert backpack(address={"address": "rN7n?dt=123"}).deposit_address("SOL").tag == "123"
    exchange = backpack(deposits=[{**DEPOSIT, "toAddress": "rN7n?dt=123"}, {**DEPOSIT, "platformMemo": "7"}])
    assert [(one.address, one.tag) for one in exchange.deposits()] == [("rN7n", "123"), ("So1Example", "7")]


# F: Retry-After.


@kind("F")
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (lambda: http_date(90), (80, 90)),
        (lambda: "2.5", (3, 3)),
        (lambda: "7", (7, 7)),
        (lambda: "soon", (1, 1)),
    ],
)
@pytest.mark.parametrize("body", ["Too many requests", '{"code":"TOO_MANY_REQUESTS","message":"slow down"}', ""])
def test_retry_after_is_obeyed_as_seconds_fractions_and_dates(header, seconds, body):
    answer = text(429, body, **{"Retry-After": header()})
    with pytest.raises(Busy) as read:
        backpack(capital=answer).funds()
    with pytest.raises(Busy) as placed:
        backpack(place=answer).place(LIMIT)
    assert (read.value.may_have_executed, placed.value.may_have_executed) == (False, True)
    for busy in (read.value, placed.value):
        assert seconds[0] <= busy.retry_after <= seconds[1]


@kind("F")
@pytest.mark.parametrize(
    "body", ["<html>maintenance</html>", '{"code": "MAINTENANCE", "message": "x"}', '{"code": "SERVER_ERROR"}']
)
def test_how_long_an_exchange_is_not_there_is_told(body):
    """RFC 9110, 15.6.4."""
    with pytest.raises(Refused) as caught:
        backpack(capital=text(503, body, **{"Retry-After": "120"})).funds()
    assert (caught.value.code, caught.value.retry_after) == ("exchange_unavailable", 120)


# G: a passing refusal.


@kind("G")
@pytest.mark.parametrize(
    "words", ["Request has expired", "Request timestamp is outside of its window", "Invalid timestamp"]
)
def test_a_request_that_came_too_late_may_be_sent_again(words):
    """catsats/backpack_exchange#4. Nothing is said of an earlier delivery, which may have come in time."""
    check_that_it_came_too_late(text(400, json.dumps({"code": "INVALID_CLIENT_REQUEST", "message": words})))


@kind("G")
@pytest.mark.parametrize(
    "body", ["Request has expired", '{"code": "UNAUTHORIZED", "message": "Request has expired"}'], ids=["text", "json"]
)
def test_a_login_that_came_too_late_is_no_refused_key(body):
    """catsats/backpack_exchange#16: HTTP 401, in plain text, and the key is good."""
    check_that_it_came_too_late(text(401, body, **{"Content-Type": "text/plain"}))


@kind("G")
@pytest.mark.parametrize("body", ["API key has expired", '{"code": "UNAUTHORIZED", "message": "API key has expired"}'])
def test_a_key_that_expired_is_a_refused_key(body):
    for call in (
        lambda: backpack(capital=text(401, body)).funds(),
        lambda: backpack(place=text(401, body)).place(LIMIT),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert (caught.value.code, caught.value.retryable) == ("exchange_key_refused", False)


def check_that_it_came_too_late(answer):
    """A read is refused for now, and of what may have executed nothing is said."""
    with pytest.raises(Refused) as read:
        backpack(capital=answer).funds()
    assert (read.value.code, read.value.retryable) == ("invalid_nonce", True)
    for move in (
        lambda: backpack(place=answer).place(LIMIT),
        lambda: backpack(cancel=answer).cancel(REF),
        lambda: backpack(withdraw=answer).withdraw(NewWithdrawal("SOL", Decimal(1), "So1Example", CLIENT)),
    ):
        with pytest.raises(Unknown) as moved:
            move()
        assert (moved.value.refusal.code, moved.value.refusal.retryable) == ("invalid_nonce", True)


@kind("G")
def test_other_words_of_an_invalid_request_stay_invalid():
    words = "Must specify both `triggerPrice` and `triggerQuantity` or neither"
    with pytest.raises(Unknown) as caught:
        backpack(place=text(400, json.dumps({"code": "INVALID_CLIENT_REQUEST", "message": words}))).place(LIMIT)
    assert (caught.value.refusal.code, caught.value.refusal.retryable) == ("invalid_request", False)


@kind("G")
@pytest.mark.parametrize("code", ["MAINTENANCE", "TRADING_PAUSED", "TOO_EARLY"])
def test_a_refusal_that_passes_is_retryable(code):
    with pytest.raises(Refused) as caught:
        backpack(capital=text(503, json.dumps({"code": code, "message": "later"}))).funds()
    assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)


# H: what certainly failed.


@kind("H")
@pytest.mark.parametrize(
    ("status", "words", "code"),
    [
        (
            400,
            'parse request payload error: Expected input type "OrderExecutePayload", found something else',
            "invalid_request",
        ),
        (400, "Bad Request parse request payload error: parse JSON error", "invalid_request"),
        (
            400,
            'failed to parse parameter `symbol`: failed to parse "MarketSymbol": Invalid market symbol',
            "unknown_market",
        ),
        (400, "failed to parse path `id`: invalid digit found in string", "invalid_request"),
        (400, "error parsing the body: missing field `side` at line 1 column 20", "invalid_request"),
        (400, "Failed to deserialize the JSON body into the target type", "invalid_request"),
        (400, "unknown field `colour`, expected one of `symbol`, `side`", "invalid_request"),
        (400, 'invalid value: string "Bidd", expected a side at line 1 column 9', "invalid_request"),
        (400, "duplicate field `price`", "invalid_request"),
        (401, "authorization error", "exchange_key_refused"),
    ],
)
def test_a_refusal_in_plain_text_is_certain(status, words, code):
    """backpack-exchange/bpx-api-client#49, and the wordings of poem-openapi."""
    answer = text(status, words, **{"Content-Type": "text/plain"})
    for call in (lambda: backpack(place=answer).place(LIMIT), lambda: backpack(orders=answer).open_orders()):
        with pytest.raises(Refused) as caught:
            call()
        assert (caught.value.code, caught.value.retryable) == (code, False)


@kind("H")
@pytest.mark.parametrize(
    "answer",
    [
        text(400, "<html>the proxy failed to parse the request</html>"),
        text(502, "failed to parse the upstream's answer"),
        text(400, '{"error": "failed to parse"}'),
        text(400, "Bad Request"),
        text(400, ""),
        text(404, "not found"),
        text(401, "<html>who are you</html>"),
        text(503, "<html>Maintenance</html>"),
        text(500, '{"code": 500, "message": "x"}'),
        text(400, '["INVALID_PRICE"]'),
        text(400, '"INVALID_PRICE"'),
    ],
)
def test_an_answer_that_is_not_the_exchanges_own_refusal_is_no_proof(answer):
    with pytest.raises(Unknown) as caught:
        backpack(place=answer).place(LIMIT)
    assert caught.value.refusal is None


# I: funds that contradict themselves, or lie elsewhere.


@kind("I")
@pytest.mark.parametrize(
    ("row", "funds"),
    [
        (("-1", "0", "0"), ("-1", "0", "0")),
        (("-0.2", "1.2", "0"), ("1.0", "0", "1.2")),
        (("1", "-0.5", "0"), ("0.5", "0.5", "0")),
        ((1, Decimal("0.5"), None), ("1.5", "1", "0.5")),
        (("1", None, None), ("1", "1", "0")),
    ],
)
def test_available_is_never_below_zero_nor_more_than_what_is_owned(row, funds):
    given = dict(zip(("available", "locked", "staked"), row, strict=True))
    assert backpack(capital={"WEIRD": given}).funds() == {"WEIRD": Funds(*map(Decimal, funds), Decimal(0))}


LENT = {"symbol": "USDC", "lendQuantity": "100", "availableQuantity": "0", "totalQuantity": "110"}


@kind("I")
def test_what_is_lent_is_owned():
    """With "autoLend" an account lends what is free; it is in the margin account alone (hummingbot/hummingbot#8323)."""
    usdc = {"available": "0", "locked": "10", "staked": "0"}
    rows = [LENT, {**LENT, "symbol": "SOL", "lendQuantity": "0"}, {"symbol": "BTC", "lendQuantity": None}, None]
    exchange = backpack(capital={"USDC": usdc, "SOL": BALANCE}, collateral={"collateral": rows})
    assert exchange.funds() == {
        "USDC": Funds(Decimal(110), Decimal(0), Decimal(10), earning=Decimal(100)),
        "SOL": Funds(Decimal("2.0"), Decimal("1.5"), Decimal("0.5"), Decimal(0)),
    }
    assert backpack(capital={}, collateral={"collateral": [LENT]}).balance() == {"USDC": Decimal(100)}


@kind("I")
@pytest.mark.parametrize(
    "answer", [text(404, "no such page"), NOT_FOUND, text(403, '{"code":"FORBIDDEN","message":"x"}')]
)
def test_where_nothing_is_told_of_loans_there_are_none(answer):
    assert backpack(capital={"SOL": BALANCE}, collateral=answer).balance() == {"SOL": Decimal("2.0")}


@kind("I")
@pytest.mark.parametrize(
    "answer", [text(503, "<html>"), text(429, ""), text(500, '{"code":"SERVER_ERROR","message":"x"}')]
)
def test_while_loans_cannot_be_read_no_smaller_sum_is_told(answer):
    with pytest.raises(Refused) as caught:
        backpack(capital={"SOL": BALANCE}, collateral=answer).funds()
    assert caught.value.retryable


# J: what is optional.


@kind("J")
@pytest.mark.parametrize(("word", "status"), [("Cancelled", "canceled"), ("Expired", "canceled"), ("Filled", "filled")])
def test_an_order_of_the_history_needs_only_what_the_documentation_requires(word, status):
    state = backpack(history=[{**HISTORY, "status": word}]).order(REF)
    assert (state.status, state.side, state.asset) == (status, "buy", "SOL")
    assert (state.amount, state.price, state.filled, state.spent, state.average) == (None,) * 5
    words = "Backpack does not say how much of it was filled before"
    assert state.reason == (words if status == "canceled" else None)


FULL = {**LIVE, **HISTORY, "status": "Cancelled", "expiryReason": "SelfTradePrevention", "clientId": 42}


@kind("J")
@pytest.mark.parametrize(
    "name",
    [
        "executedQuantity",
        "executedQuoteQuantity",
        "quantity",
        "price",
        "clientId",
        "expiryReason",
        "postOnly",
        "createdAt",
    ],
)
@both_ways
def test_each_optional_field_of_an_order_may_be_left_out(name, absent):
    state = backpack(history=[without(FULL, name, absent=absent)]).order(REF)
    assert (state.status, state.side) == ("partly_filled", "buy")
    assert state.filled == (None if name == "executedQuantity" else Decimal("0.4"))
    assert state.spent == (None if name == "executedQuoteQuantity" else 60)
    assert state.average == (None if name.startswith("executed") else 150)


@kind("J")
def test_of_a_filled_order_its_quantity_was_filled():
    row = {**HISTORY, "status": "Filled", "quantity": "0.4", "executedQuoteQuantity": "60"}
    assert backpack(history=[row], fills=[FILL]).order(REF).fee == Decimal("0.06")
    market = {**LIVE, "orderType": "Market", "status": "Filled", "executedQuantity": None}
    state = backpack(place=market, fills=[]).place(replace(LIMIT, price=None))
    assert (state.status, state.filled) == ("filled", Decimal("1.00"))


@kind("J")
@pytest.mark.parametrize("name", ["tradeId", "clientId", "isMaker", "fee", "feeSymbol", "systemOrderType", "orderId"])
@both_ways
def test_a_fill_may_leave_out_what_is_optional(name, absent):
    (fill,) = backpack(fills=[without(FILL, name, absent=absent)]).fills("USDC", "SOL")
    assert (fill.amount, fill.price, fill.side) == (Decimal("0.4"), 150, "buy")
    assert fill.id == ("111234567-2026-03-01T10:00:00.123" if name == "tradeId" else "7")


@kind("J")
@pytest.mark.parametrize("name", ["toAddress", "transactionHash", "platformMemo", "source", "createdAt", "status"])
@both_ways
def test_a_deposit_may_leave_out_what_is_optional(name, absent):
    (deposit,) = backpack(deposits=[without(DEPOSIT, name, absent=absent)]).deposits()
    assert (deposit.id, deposit.amount) == ("6695353", 120)
    assert deposit.status == ("pending" if name == "status" else "done")


@kind("J")
@pytest.mark.parametrize(
    "name", ["blockchain", "clientId", "createdAt", "fee", "quantity", "status", "toAddress", "transactionHash"]
)
@both_ways
def test_a_withdrawal_may_leave_out_all_but_its_id_and_its_asset(name, absent):
    (withdrawal,) = backpack(withdrawals=[without(WITHDRAWAL, name, absent=absent)]).withdrawals()
    assert (withdrawal.id, withdrawal.asset) == ("5479929", "SOL")
    assert withdrawal.status == ("unknown" if name == "status" else "done")


@kind("J")
@pytest.mark.parametrize("name", ["minQuantity", "stepSize", "maxQuantity"])
@both_ways
def test_a_market_may_leave_out_a_filter(name, absent):
    quantity = without(MARKET["filters"]["quantity"], name, absent=absent)
    (market,) = backpack(markets=[{**MARKET, "filters": {**MARKET["filters"], "quantity": quantity}}]).markets()
    assert market.price_step == Decimal("0.01")


@kind("J")
@both_ways
def test_a_market_of_2024_names_no_type_and_a_future_is_no_spot_market(absent):
    old = without(MARKET, "marketType", absent=absent)
    markets = backpack(markets=[old, {**old, "symbol": "ETH_USDC_PERP", "baseSymbol": "ETH"}]).markets()
    assert [market.asset for market in markets] == ["SOL"]


@kind("J")
def test_an_id_may_be_a_number():
    row = {**LIVE, "id": 111234567}
    assert backpack(order=row, fills=[{**FILL, "orderId": 111234567}]).order(REF).fee == Decimal("0.06")
    assert backpack(orders=[row]).open_orders()[0].exchange_order_id == "111234567"
    assert backpack(place=row).place(LIMIT).exchange_order_id == "111234567"
    assert backpack(history=[{**HISTORY, "id": 111234567}]).order(REF).status == "canceled"
    backpack(cancel=row).cancel(REF)


# What is looked for, in rows that leave something out.

AGES_AGO = datetime(2026, 3, 1, 10, tzinfo=UTC)
SOUGHT = replace(REF, exchange_order_id=None, created=AGES_AGO, missed_since=AGES_AGO)


def test_an_order_of_the_history_without_a_quantity_is_found_by_its_client_id():
    assert backpack(history=[{**HISTORY, "clientId": 42}]).find(SOUGHT).status == "canceled"
    assert backpack(history=[{**HISTORY, "clientId": "42", "quantity": None}]).find(SOUGHT).status == "canceled"
    assert backpack(history=[{**HISTORY, "clientId": 42, "quantity": "2"}]).find(SOUGHT) is None
    assert backpack(history=[{**HISTORY, "clientId": None}]).find(SOUGHT) is None


def test_an_order_that_does_not_tell_its_client_id_and_is_like_ours_proves_nothing():
    with pytest.raises(Refused, match="does not tell its client id"):
        backpack(history=[HISTORY]).find(SOUGHT)
    for other in ({"side": "Ask"}, {"quantity": "2"}, {"createdAt": "2026-03-01T11:00:00"}):
        assert backpack(history=[{**HISTORY, **other}]).find(SOUGHT) is None
    with pytest.raises(NotListedYet):
        backpack(history=[]).find(replace(SOUGHT, missed_since=None))


def test_a_withdrawal_that_does_not_tell_its_client_id_proves_nothing():
    row = without(WITHDRAWAL, "clientId", absent=True)
    with pytest.raises(Refused, match="does not tell its client id"):
        backpack(withdrawals=[row]).find_withdrawal(CLIENT, AGES_AGO, AGES_AGO)
    later = AGES_AGO + timedelta(hours=1)
    assert backpack(withdrawals=[row]).find_withdrawal(CLIENT, later, later) is None
    assert backpack(withdrawals=[{**row, "clientId": None}]).find_withdrawal(CLIENT, AGES_AGO, AGES_AGO) is None
    assert backpack(withdrawals=[WITHDRAWAL]).find_withdrawal(CLIENT, AGES_AGO, AGES_AGO).status == "done"


# Words for how far something is.


def test_an_order_that_was_taken_stands_whatever_the_word_for_its_status():
    assert backpack(place={**LIVE, "status": "Queued"}).place(LIMIT).status == "open"
    market = {**LIVE, "orderType": "Market", "status": "Queued"}
    assert (
        backpack(place=market, order={**market, "status": "Waiting"}).place(replace(LIMIT, price=None)).status == "open"
    )


@pytest.mark.parametrize("word", ["FillOrKill", "ImmediateOrCancel", "PostOnlyTaker", "UserPermissions", "Unknown"])
def test_why_an_order_expired_is_its_reason(word):
    row = {**HISTORY, "status": "Expired", "expiryReason": word, "executedQuantity": "0", "executedQuoteQuantity": "0"}
    state = backpack(history=[row]).order(REF)
    assert (state.status, state.reason) == ("canceled", word)
    assert backpack(history=[{**row, "status": "TriggerFailed"}]).order(REF).status == "rejected"
    assert backpack(history=[{**row, "status": "Paused"}]).order(REF).status == "unknown"


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("confirmed", "done"),
        ("pending", "pending"),
        ("ownershipVerificationRequired", "pending"),
        ("recipientInformationRequired", "pending"),
        ("recipientInformationProvided", "pending"),
        ("somethingNew", "unknown"),
    ],
)
def test_the_word_of_a_withdrawal_says_how_far_it_is(word, status):
    row = {**WITHDRAWAL, "status": word}
    assert [one.status for one in backpack(withdrawals=[row]).withdrawals()] == [status]
    # It was taken, so it is no longer unknown whether it was.
    made = backpack(withdraw=row).withdraw(NewWithdrawal("SOL", Decimal(1), "So1Example", CLIENT))
    assert made.status == ("pending" if status == "unknown" else status)


def test_a_send_to_an_address_with_a_checksum_is_answered_without_it_and_base58_has_case():
    checksummed = "0x0aD42B8E602c2D3D475AE52d678cF63d84Ab2749"
    row = {**WITHDRAWAL, "symbol": "ETH", "toAddress": checksummed.lower()}
    made = backpack(withdraw=row).withdraw(NewWithdrawal("ETH", Decimal(1), checksummed, CLIENT))
    assert made.status == "done"
    with pytest.raises(Unknown, match="another withdrawal"):
        backpack(withdraw=WITHDRAWAL).withdraw(NewWithdrawal("SOL", Decimal(1), "so1example", CLIENT))


@pytest.mark.parametrize(
    "time",
    [
        "2026-03-01T10:00:00Z",
        "2026-03-01T10:00:00",
        "2026-03-01 12:00:00+02:00",
        1772359200,
        1772359200000,
        "1772359200000000",
    ],
)
def test_a_time_is_a_text_or_a_number(time):
    book = {"asks": [["101", "1"]], "bids": [[100, "1", "more"]], "timestamp": time}
    exchange = backpack(
        depth=book,
        history=[{**FULL, "createdAt": time}],
        fills=[{**FILL, "timestamp": time}],
        deposits=[{**DEPOSIT, "createdAt": time}],
        withdrawals=[{**WITHDRAWAL, "createdAt": time}],
        orders=[{**LIVE, "createdAt": time}],
    )
    assert exchange.rate("USDC", "SOL").time == AGES_AGO
    assert exchange.order(REF).created == exchange.open_orders()[0].created == AGES_AGO
    assert exchange.fills("USDC", "SOL")[0].time == exchange.deposits()[0].time == AGES_AGO
    assert exchange.withdrawals()[0].created == AGES_AGO


def test_a_book_without_its_time_has_that_of_its_answer_and_an_empty_side_is_no_price():
    book = {"asks": [["101", "1"]], "bids": [["100", "1"]]}
    before = datetime.now(UTC)
    assert before <= backpack(depth=book).rate("USDC", "SOL").time <= datetime.now(UTC)
    for empty in ([], None):
        with pytest.raises(Refused, match="no buyer or no seller"):
            backpack(depth={**book, "asks": empty}).rate("USDC", "SOL")
