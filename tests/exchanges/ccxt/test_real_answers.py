"""Answers that users of other libraries saw, and others of the same kinds, through the bridge to ccxt.

The kinds are those of `python -m tests.answer_kinds`. Sources are named where an answer was published.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

import pytest

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.ccxt import exchange_class
from bitmm.xwrap.exchanges.ccxt.parsing import spot_markets
from bitmm.xwrap.exchanges.ccxt.rows import is_odd
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.models import Funds, OrderRef
from tests.exchanges.ccxt.support import order
from tests.support.canned import Canned

library = pytest.importorskip("ccxt", reason="ccxt is not installed")

D = Decimal
CLIENT = "0000000000000000000000000000002a"
#: Each has an instance of its own: ccxt's objects remember.
REGISTRATIONS = count(1)


def kind(letter: str):
    return pytest.mark.answer_kind(letter, exchange="ccxt")


def made(id: str, answers: dict, **more: str):
    """The exchange `id` of ccxt, which gets these answers by "METHOD path"."""
    keys = Credentials("", "a-key", "c2VjcmV0", {"passphrase": "a-phrase", **more})
    transport = Canned(answers)
    return exchange_class(f"ccxt:{id}")(ExchangeContext(transport, keys, next(REGISTRATIONS), "http://127.0.0.1:9"))


def pair(name: str, wsname: str, base: str, quote: str, **fields) -> dict:
    return {
        name: {
            "altname": name,
            "wsname": wsname,
            "aclass_base": "currency",
            "base": base,
            "aclass_quote": "currency",
            "quote": quote,
            "pair_decimals": 1,
            "cost_decimals": 5,
            "lot_decimals": 8,
            "lot_multiplier": 1,
            "ordermin": "0.0001",
            "costmin": "0.5",
            "tick_size": "0.1",
            "status": "online",
            "fees": [[0, 0.4]],
            "fees_maker": [[0, 0.25]],
            **fields,
        }
    }


def kraken(**private):
    """Kraken, with BTC/USD, and MATIC/USD where open orders can be canceled only."""
    pairs = pair("XXBTZUSD", "XBT/USD", "XXBT", "ZUSD") | pair(
        "MATICUSD", "MATIC/USD", "MATIC", "ZUSD", status="cancel_only"
    )
    assets = {name: {"aclass": "currency", "altname": alt, "decimals": 10} for name, alt in ASSETS.items()}
    public = {"AssetPairs": pairs, "Assets": assets}
    answers = {f"GET /0/public/{name}": {"error": [], "result": result} for name, result in public.items()}
    for name, result in private.items():
        bare = isinstance(result, dict) and "error" not in result
        answers[f"POST /0/private/{name}"] = {"error": [], "result": result} if bare else result
    return made("kraken", answers)


ASSETS = {"XXBT": "XBT", "ZUSD": "USD", "MATIC": "MATIC", "XETH": "ETH"}


def kraken_order(pair: str = "XBTUSD", **fields) -> dict:
    descr = {"pair": pair, "type": "sell", "ordertype": "limit", "price": "30000.0", "price2": "0", "leverage": "none"}
    return {
        "refid": None,
        "userref": 0,
        "status": "open",
        "opentm": D("1700000000.5"),
        "descr": descr,
        "vol": "0.50000000",
        "vol_exec": "0.25000000",
        "cost": "7500.0",
        "fee": "7.5",
        "price": "30000.0",
        "misc": "",
        "oflags": "fciq",
        **fields,
    }


def ref(asset: str = "BTC", id: str = "OAAAAA-AAAAA-AAAAAA", **fields) -> OrderRef:
    return OrderRef("sell", "USD", asset, CLIENT, id, created=datetime.now(UTC) - timedelta(hours=1), **fields)


# A: one odd row hides no other.


@kind("A")
@kind("I")
def test_what_is_owned_may_be_below_zero_and_hides_nothing_else():
    """ccxt/ccxt#4615, ccxt/ccxt#26381."""
    funds = kraken(BalanceEx={"ZUSD": {"balance": "-0.0003", "hold_trade": "0"}, "XXBT": {"balance": "0.5"}}).funds()
    assert funds["USD"] == Funds(D("-0.0003"), D(0), D(0))
    assert funds["BTC"].total == D("0.5")


@kind("A")
@pytest.mark.parametrize("odd", [{"balance": None}, {"balance": "many"}, {}], ids=str)
def test_an_odd_balance_hides_no_other(odd, caplog):
    with caplog.at_level(logging.WARNING):
        funds = kraken(BalanceEx={"XETH": odd, "XXBT": {"balance": "0.5", "hold_trade": "0.1"}}).funds()
    assert funds == {"BTC": Funds(D("0.5"), D("0.4"), D("0.1"))}
    assert "Kraken (ccxt): a row is left out" in caplog.text
    assert "many" not in caplog.text.replace("InvalidOperation", "")


def kraken_trade(**fields) -> dict:
    return {
        "ordertxid": "OAAAAA-AAAAA-AAAAAA",
        "pair": "XXBTZUSD",
        "time": D("1700000000.5"),
        "type": "sell",
        "ordertype": "limit",
        "price": "30000.0",
        "cost": "7500.0",
        "fee": "7.5",
        "vol": "0.25",
        **fields,
    }


@kind("A")
@pytest.mark.parametrize(
    "odd", [{"type": "swap"}, {"time": None}, {"price": None}, {"vol": "x"}, {"type": None}], ids=str
)
def test_an_odd_fill_hides_no_other(odd):
    exchange = kraken(TradesHistory={"trades": {"TA": kraken_trade(**odd), "TB": kraken_trade()}, "count": 2})
    assert [(fill.id, fill.amount, fill.fee_currency) for fill in exchange.fills("USD", "BTC")] == [
        ("TB", D("0.25"), "USD")
    ]


@kind("A")
def test_when_no_fill_can_be_read_it_is_not_what_was_asked_for():
    with pytest.raises(Refused, match="cannot be understood") as caught:
        kraken(TradesHistory={"trades": {"TA": kraken_trade(vol="x")}, "count": 1}).fills("USD", "BTC")
    assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)


TRANSFER = {
    "method": "Bitcoin",
    "aclass": "currency",
    "asset": "XXBT",
    "refid": "R1",
    "txid": "T1",
    "info": "1Example",
    "amount": "0.1",
    "fee": "0.0001",
    "time": 1700000000,
    "status": "Success",
}


@kind("A")
@pytest.mark.parametrize("odd", [{"refid": None, "txid": None}, {"amount": "x"}, {"asset": None}], ids=str)
def test_an_odd_transfer_hides_no_other(odd):
    rows = [{**TRANSFER, **odd}, {**TRANSFER, "refid": "R2"}]
    exchange = kraken(DepositStatus={"error": [], "result": rows}, WithdrawStatus={"error": [], "result": rows})
    # It does not vanish: a send that is not listed may be sent again.
    assert [(row.id, row.status) for row in exchange.withdrawals()] == [("R2", "done"), ("", "unknown")]
    assert [(row.id, row.status) for row in exchange.deposits()] == [("R2", "done")]


@kind("A")
@pytest.mark.parametrize("odd", [{"descr": None}, {"vol": "x"}, {"cost": "-1"}], ids=str)
def test_an_odd_open_order_is_told_with_its_id_and_hides_no_other(odd):
    exchange = kraken(
        OpenOrders={"open": {"OODDDD-AAAAA-AAAAAA": kraken_order(**odd), "OAAAAA-AAAAA-AAAAAA": kraken_order()}}
    )
    states = {state.exchange_order_id: state for state in exchange.open_orders()}
    assert states["OAAAAA-AAAAA-AAAAAA"].amount == D("0.5")
    assert states["OODDDD-AAAAA-AAAAAA"].status == "open"
    assert len(states) == 2


@kind("A")
@pytest.mark.parametrize(
    "rows",
    [{"7": None, "8": {"status": "open"}}, [{"orderId": 7, "odd": None}, {"id": "8", "status": "open"}]],
    ids=["by id", "listed"],
)
def test_ccxt_keeps_the_id_of_an_order_that_it_cannot_read(rows):
    ccxt = exchange_class("ccxt:kraken").kind({"markets": {}})
    assert {row["id"]: is_odd(row) for row in ccxt.parse_orders(rows)} == {"8": False, "7": True}
    for nameless in (None, {"odd": None}):
        with pytest.raises((TypeError, ValueError)):
            ccxt.parse_orders([nameless, {"id": "8", "status": "open"}])


@kind("A")
def test_an_odd_order_is_not_taken_for_one_that_is_not_there():
    """Where absence would prove something, what cannot be read is no answer."""
    odd = {"OODDDD-AAAAA-AAAAAA": {"userref": 1}}
    empty = {"error": [], "result": {"open": {}, "closed": {}, "count": 0}}
    exchange = kraken(OpenOrders={"open": odd}, ClosedOrders=empty)
    with pytest.raises(Refused, match="cannot be understood"):
        exchange.find(ref(id=None))
    with pytest.raises(Refused, match="cannot be understood"):
        kraken(QueryOrders={"OAAAAA-AAAAA-AAAAAA": kraken_order(vol_exec="x")}).order(ref())


@kind("A")
def test_an_odd_market_hides_no_other():
    ccxt = exchange_class("ccxt:bitstamp").kind()
    good = ccxt.safe_market_structure() | {"symbol": "BTC/USD", "base": "BTC", "quote": "USD", "spot": True}
    odd = [
        good | {"symbol": "ETH/USD", "base": "ETH", "precision": None},
        good | {"limits": {}, "symbol": "A/USD", "base": "A"},
    ]
    ccxt.markets = {row["symbol"]: row for row in [*odd, good | {"precision": {"amount": "0.001"}}]}
    assert list(spot_markets(ccxt)) == [("USD", "BTC")]


# B: what is absent because there is nothing.


@kind("B")
@pytest.mark.parametrize("result", [{}, None], ids=str)
def test_an_account_that_owns_nothing_owns_nothing(result):
    """rotki/rotki#946: Kraken leaves `result` out."""
    answer = {"error": []} if result is None else {"error": [], "result": result}
    exchange = kraken(BalanceEx=answer, TradesHistory=answer, DepositStatus=answer, WithdrawStatus=answer)
    assert exchange.funds() == exchange.balance() == {}
    assert exchange.fills("USD", "BTC") == exchange.deposits() == exchange.withdrawals() == []


# C: orders of a market that takes no new ones.


@kind("C")
def test_an_order_of_a_market_that_takes_no_new_ones_is_read_and_canceled():
    answer = {"OAAAAA-AAAAA-AAAAAA": kraken_order("MATICUSD", status="canceled", vol="100", vol_exec="10", cost="9")}
    exchange = kraken(
        QueryOrders=answer,
        CancelOrder={"count": 1},
        TradesHistory={"trades": {"TA": kraken_trade(pair="MATICUSD", vol="10", cost="9", price="0.9")}, "count": 1},
    )
    state = exchange.order(ref("MATIC"))
    assert (state.status, state.asset, state.filled, state.spent) == ("partly_filled", "MATIC", D(10), D(9))
    assert [fill.amount for fill in exchange.fills("USD", "MATIC")] == [D(10)]
    exchange.cancel(ref("MATIC"))


@kind("C")
def test_a_market_that_takes_no_new_orders_is_not_listed_and_takes_none():
    exchange = kraken()
    assert [market.asset for market in exchange.markets()] == ["BTC"]
    with pytest.raises(Refused, match="takes no new orders for MATIC/USD") as caught:
        exchange.place(replace(order("sell", amount="20", price="1", currency="USD"), asset="MATIC"))
    assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)
    assert not [call for call in exchange.context.transport.calls if call.startswith("POST")]


@kind("C")
def test_an_order_of_a_market_that_is_no_longer_listed_is_read():
    state = kraken(
        QueryOrders={"OAAAAA-AAAAA-AAAAAA": kraken_order("LUNAUSD", status="canceled", vol_exec="0", cost="0")}
    ).order(ref("LUNA"))
    assert (state.status, state.filled) == ("canceled", D(0))
