"""Answers that users of other libraries saw, and others of the same kinds, through the bridge to ccxt.

The kinds are those of `python -m tests.answer_kinds`. Sources are named where an answer was published.
"""

from __future__ import annotations

import base64
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.ccxt import error_codes, exchange_class
from bitmm.xwrap.exchanges.ccxt.parsing import funds_from_rows, order_from_row, spot_markets
from bitmm.xwrap.exchanges.ccxt.rows import is_odd
from bitmm.xwrap.exchanges.errors import Busy, Refused, Unknown
from bitmm.xwrap.exchanges.models import Funds, OrderRef
from bitmm.xwrap.transport import Response
from tests.exchanges.ccxt.support import connected, listed, order, ref_of
from tests.support.canned import Canned, Turns, http_date, text
from tests.support.exchanges import change_answers

library = pytest.importorskip("ccxt", reason="ccxt is not installed")

D = Decimal
CLIENT = "0000000000000000000000000000002a"
SECRET = base64.b64encode(b"s" * 32).decode()


def kind(letter: str):
    return pytest.mark.answer_kind(letter, exchange="ccxt")


def made(id: str, answers: dict, **more: str):
    """The exchange `id` of ccxt, which gets these answers by "METHOD path"."""
    keys = Credentials("", "a-key", SECRET, {"passphrase": "a-phrase", **more})
    transport = Canned(answers)
    return exchange_class(f"ccxt:{id}")(ExchangeContext(transport, keys, 1, "http://127.0.0.1:9"))


def pair(name: str, wsname: str, base: str, quote: str, **fields) -> dict:
    return {
        name: {
            "altname": wsname.replace("/", ""),
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


BACKPACK_MARKETS = [
    {
        "symbol": "BTC_USDC",
        "baseSymbol": "BTC",
        "quoteSymbol": "USDC",
        "marketType": "SPOT",
        "filters": {"price": {"tickSize": "0.1"}, "quantity": {"minQuantity": "0.0001", "stepSize": "0.00001"}},
        "orderBookState": "Open",
    }
]
BACKPACK_ASSETS = [{"symbol": "BTC", "tokens": []}, {"symbol": "USDC", "tokens": []}, {"symbol": "ODD", "tokens": 7}]


@kind("A")
def test_an_odd_market_or_currency_of_an_answer_hides_no_other():
    public = {
        "GET /api/v1/markets": [{"symbol": "X_Y"}, *BACKPACK_MARKETS, None],
        "GET /api/v1/assets": BACKPACK_ASSETS,
    }
    public["GET /api/v1/securities"] = []
    assert [market.asset for market in made("backpack", public).markets()] == ["BTC"]
    pairs = pair("XXBTZUSD", "XBT/USD", "XXBT", "ZUSD")
    odd = {"null": None, "nameless": {"base": "XETH", "quote": "ZUSD"}, "empty": {}}
    answers = {
        "AssetPairs": pairs | odd,
        "Assets": {name: {"altname": alt, "decimals": 10} for name, alt in ASSETS.items()},
    }
    exchange = made("kraken", {f"GET /0/public/{name}": {"error": [], "result": row} for name, row in answers.items()})
    assert [market.asset for market in exchange.markets()] == ["BTC"]


BITSTAMP_MARKET = {
    "name": "BTC/USD",
    "market_symbol": "btcusd",
    "base_currency": "BTC",
    "base_decimals": 8,
    "counter_currency": "USD",
    "counter_decimals": 0,
    "minimum_order_value": "10",
    "trading": "Enabled",
    "description": "Bitcoin / U.S. dollar",
    "market_type": "SPOT",
}


@kind("A")
@pytest.mark.parametrize("odd", [{}, {"name": "XRP/USD", "base_currency": "XRP", "description": None}, None], ids=str)
def test_an_odd_market_hides_no_currency_where_ccxt_reads_the_currencies_of_the_markets(odd):
    odd = {**BITSTAMP_MARKET, **odd} if odd else odd
    answers = {"GET /api/v2/markets/": [odd, BITSTAMP_MARKET]}
    answers["POST /api/v2/account_balances/"] = [{"currency": "btc", "total": "1", "available": "1", "reserved": "0"}]
    assert made("bitstamp", answers).balance() == {"BTC": D(1)}


BINANCE_INFO = {
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "status": "TRADING",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "isSpotTradingAllowed": True,
            "orderTypes": ["LIMIT", "MARKET"],
            "filters": [{"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"}],
            "permissionSets": [["SPOT"]],
        }
    ]
}


@kind("A")
@pytest.mark.parametrize(
    ("id", "path", "markets"),
    [
        ("binance", "/api/v3/exchangeInfo", BINANCE_INFO),
        ("mexc", "/api/v3/exchangeInfo", {"symbols": [BINANCE_INFO["symbols"][0] | {"status": "1"}]}),
        (
            "gate",
            "/api/v4/spot/currency_pairs",
            [{"id": "BTC_USDT", "base": "BTC", "quote": "USDT", "precision": 1, "trade_status": "tradable"}],
        ),
    ],
)
def test_futures_that_are_down_or_forbidden_hide_no_spot_market(id, path, markets):
    """The futures of Binance have a host of their own; it may be forbidden in a country where spot may be traded."""
    exchange = made(
        id, {f"GET {path}": markets, "GET /api/v4/spot/currencies": [], "GET /api/v4/margin/currency_pairs": []}
    )
    assert [(market.currency, market.asset) for market in exchange.markets()] == [("USDT", "BTC")]


# B: what is absent because there is nothing.


@kind("B")
@pytest.mark.parametrize("result", [None, {}, {"open": None, "closed": None}], ids=str)
def test_a_list_that_is_absent_does_not_prove_that_an_order_is_not_there(result):
    answer = {"error": []} if result is None else {"error": [], "result": result}
    with pytest.raises(Refused, match="cannot be understood"):
        kraken(OpenOrders=answer, ClosedOrders=answer).find(ref(id=None))
    empty = {"open": {}, "closed": {}, "count": 0}
    assert kraken(OpenOrders=empty, ClosedOrders=empty).find(ref(id=None)) is None


@kind("B")
@pytest.mark.parametrize("result", [{}, None], ids=str)
def test_an_account_that_owns_nothing_owns_nothing(result):
    """rotki/rotki#946: Kraken leaves `result` out."""
    answer = {"error": []} if result is None else {"error": [], "result": result}
    exchange = kraken(BalanceEx=answer, TradesHistory=answer, DepositStatus=answer, OpenOrders=answer)
    assert exchange.funds() == exchange.balance() == {}
    assert exchange.fills("USD", "BTC") == exchange.deposits() == exchange.open_orders() == []


@kind("B")
def test_what_may_be_sent_again_or_stay_open_is_not_gone_because_a_list_is_absent():
    """A send that is not listed may be sent again, and nobody looks after orders that were said to be canceled."""
    for absent in ({"error": []}, {"error": [], "result": None}, {"error": [], "result": {"open": None}}):
        exchange = kraken(WithdrawStatus=absent, OpenOrders=absent)
        for call in (exchange.withdrawals, exchange.cancel_all):
            with pytest.raises(Refused, match="cannot be understood"):
                call()
    exchange = kraken(WithdrawStatus=[], OpenOrders={"open": {}})
    assert (exchange.withdrawals(), exchange.cancel_all()) == ([], 0)


@kind("B")
def test_an_open_order_is_not_called_closed_because_a_list_is_absent(coincheck, transport):
    exchange, asked = connected(coincheck, transport), order("sell", price="7000000", currency="JPY")
    id = exchange.place(asked).exchange_order_id
    known = replace(ref_of(asked, id), created=datetime.now(UTC) - timedelta(hours=1))
    change_answers(coincheck, "GET", "/api/exchange/orders/opens", lambda row: {"success": True})
    with pytest.raises(Refused, match="cannot be understood"):
        exchange.order(known)
    assert exchange.open_orders() == [], "what is shown may be nothing"
    change_answers(coincheck, "GET", "/api/exchange/orders/opens", lambda row: {"success": True, "orders": []})
    assert exchange.order(known).status == "closed"


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


# D: a fee counts the currency that the exchange says.


@kind("D")
@pytest.mark.parametrize("flags", ["fcib", "fciq", "", None, "fcib,post"], ids=str)
def test_a_fee_of_kraken_counts_the_currency_whatever_is_preferred(flags):
    """knowm/XChange#4379, ccxt/ccxt#23384; the example of Kraken's document of QueryOrders."""
    row = kraken_order(oflags=flags)
    (listed,) = kraken(OpenOrders={"open": {"OAAAAA-AAAAA-AAAAAA": row}}).open_orders()
    assert (listed.fee, listed.fee_currency) == (D("7.5"), "USD")
    state = kraken(QueryOrders={"OAAAAA-AAAAA-AAAAAA": row}).order(ref())
    assert (state.fee, state.fee_currency) == (D("7.5"), "USD")


@kind("D")
@pytest.mark.parametrize(
    ("fees", "told"),
    [
        ([{"cost": "1", "currency": "USD"}, {"cost": "2", "currency": "USD"}], (D(3), "USD")),
        ([{"cost": "1", "currency": "USD"}, {"cost": "2", "currency": "BTC"}], (None, None)),
        ([{"cost": "1", "currency": None}], (None, None)),
        ([], (None, None)),
    ],
    ids=str,
)
def test_fees_in_several_currencies_or_in_none_are_not_told(fees, told):
    row = {"id": "1", "status": "closed", "symbol": "BTC/USD", "amount": "1", "filled": "1", "fees": fees}
    state = order_from_row(row, with_client_id=False)
    assert (state.fee, state.fee_currency) == told


def test_a_side_and_a_kind_in_capitals_are_read_and_other_words_are_not():
    """As ccxt's class for Zebpay passes them on; its orders were taken for unknown outcomes."""
    row = {"id": "8230629", "symbol": "ETH/INR", "side": "BUY", "type": "LIMIT", "amount": "1", "price": "100"}
    state = order_from_row(row, with_client_id=False)
    assert (state.side, state.price) == ("buy", D(100))
    with pytest.raises(KeyError):
        order_from_row({**row, "side": "none"}, with_client_id=False)


@kind("D")
def test_what_counts_the_currency_is_not_told_as_an_amount():
    """A market buy for a cost (`viqc`): the volume counts the currency, and what was executed may, too."""
    bought = {
        "oflags": "fciq,viqc",
        "vol": "100",
        "cost": "99.99",
        "fee": "0.4",
        "price": "30000.0",
        "status": "closed",
    }
    bought["descr"] = kraken_order()["descr"] | {"type": "buy", "ordertype": "market", "price": "0"}
    for executed, filled in (("99.99", None), ("0.003333", D("0.003333"))):
        row = kraken_order(**bought, vol_exec=executed)
        buy = replace(ref(), side="buy")
        state = kraken(QueryOrders={"OAAAAA-AAAAA-AAAAAA": row}).order(buy)
        assert (state.amount, state.filled, state.spent) == (None, filled, D("99.99"))


# E: no address is handed out that must not be used any more.


def addresses(*rows):
    return {"error": [], "result": list(rows)}


#: The first second of 2100, and one of 2017.
FUTURE, LONG_AGO = "4102444800", "1500000000"
METHODS = {"error": [], "result": [{"method": "Bitcoin", "limit": False, "gen-address": True}]}


@kind("E")
@pytest.mark.parametrize("expired", [LONG_AGO, int(LONG_AGO)], ids=["text", "number"])
@pytest.mark.parametrize("valid", ["0", 0, FUTURE, None], ids=str)
def test_an_address_that_expired_is_passed_over(expired, valid):
    rows = addresses({"address": "1Expired", "expiretm": expired}, {"address": "1Current", "expiretm": valid})
    assert kraken(DepositMethods=METHODS, DepositAddresses=rows).deposit_address("BTC").address == "1Current"


@kind("E")
def test_when_all_addresses_expired_a_new_one_is_made():
    old, new = {"address": "1Expired", "expiretm": LONG_AGO}, {"address": "1New", "expiretm": "0", "new": True}
    exchange = kraken(DepositMethods=METHODS, DepositAddresses=Turns([addresses(old), addresses(old, new)]))
    assert exchange.deposit_address("BTC").address == "1New"
    bodies = [body for body in exchange.context.transport.bodies if "method=Bitcoin" in body]
    assert ["new=true" in body for body in bodies] == [False, True]


@kind("E")
def test_an_address_of_paymium_that_expired_is_not_handed_out(paymium, transport):
    row = {"address": "1Expired", "valid_until": int(LONG_AGO), "currency": "BTC"}
    change_answers(paymium, "GET", "/api/v1/user/addresses", lambda rows: [row])
    with pytest.raises(Refused, match="no valid address for BTC"):
        connected(paymium, transport).deposit_address("BTC")
    valid = row | {"address": "1Current", "valid_until": int(FUTURE)}
    change_answers(paymium, "GET", "/api/v1/user/addresses", lambda rows: [row, valid])
    assert connected(paymium, transport).deposit_address("BTC").address == "1Current"


@kind("E")
@pytest.mark.parametrize("name", ["expires_at", "expireTime"])
def test_an_address_of_any_class_whose_row_says_that_it_expired_is_not_handed_out(backpack, transport, name):
    exchange = connected(backpack, transport)
    exchange.markets()
    told = {"currency": "BTC", "address": "1Expired", "tag": None, "network": None, "info": {name: LONG_AGO + "000"}}
    exchange._instance.ccxt.fetch_deposit_address = lambda *_: told
    with pytest.raises(Refused, match="no longer valid; make a new one"):
        exchange.deposit_address("BTC")
    told["info"] = {name: FUTURE + "000"}
    assert exchange.deposit_address("BTC").address == "1Expired"


# F: the time to wait is obeyed.


@kind("F")
@pytest.mark.parametrize(
    ("seconds", "least", "most"), [("7", 7, 7), ("7.2", 8, 8), (90, 80, 91), (9999, 600, 600), (-5, 1, 1)], ids=str
)
@pytest.mark.parametrize("id", ["kraken", "okx"])
def test_a_rate_limit_lasts_as_long_as_its_answer_says(id, seconds, least, most):
    """A number is sent as a date. OKX's class of ccxt takes HTTP 429 for an exchange that is not available."""
    header = seconds if isinstance(seconds, str) else http_date(seconds)
    slow = text(429, "error code: 1015", **{"Retry-After": header})
    exchange = kraken(BalanceEx=slow, AddOrder=slow) if id == "kraken" else offline(id, slow)
    with pytest.raises(Busy) as caught:
        exchange.funds()
    assert least <= caught.value.retry_after <= most
    with pytest.raises(Busy) as placed:
        exchange.place(order("sell", amount="1", price="20000", currency="USD"))
    assert least <= placed.value.retry_after <= most


@kind("F")
@pytest.mark.parametrize("id", ["kraken", "okx"])
def test_how_long_an_exchange_is_not_there_is_told(id):
    """RFC 9110, 15.6.4."""
    closed = text(503, "<html>maintenance</html>", **{"Retry-After": "120"})
    exchange = kraken(BalanceEx=closed, AddOrder=closed) if id == "kraken" else offline(id, closed)
    with pytest.raises(Refused) as caught:
        exchange.funds()
    assert (caught.value.code, caught.value.retry_after) == ("exchange_unavailable", 120)
    with pytest.raises(Unknown):
        exchange.place(order("sell", amount="1", price="20000", currency="USD"))


class Everything(Canned):
    """Gives one answer to all calls."""

    def __init__(self, answer):
        super().__init__({})
        self.answer = answer

    def send(self, request, *, timeout=None):
        super().send(request, timeout=timeout)
        return self.answer


def offline(id: str, answer: Response):
    """The exchange with one market, BTC/USD, which gets this answer to every call."""
    keys = Credentials("", SECRET, SECRET, {"passphrase": "a-phrase", "operatorId": "1"})
    connect = listed(exchange_class(f"ccxt:{id}"), "http://127.0.0.1:9", amount="0.001", price="0.01")
    exchange = connect(Everything(answer), keys)
    # What these ask before an order.
    exchange._instance.ccxt.options |= {
        "enableUnifiedMargin": False,
        "enableUnifiedAccount": True,
        "uta": False,
        "unifiedAccount": False,
    }
    return exchange


# G: a refusal that passes is not told as a lasting one.


#: Exchange, HTTP status, body -> our code of a refused read.
PASSING = [
    ("kraken", 200, '{"error": ["EGeneral:Temporary lockout"]}', "rate_limited"),
    ("kraken", 200, '{"error": ["EAPI:Invalid nonce"]}', "invalid_nonce"),
    ("kraken", 200, '{"error": ["EService:Unavailable"]}', "exchange_unavailable"),
    ("backpack", 400, '{"code": "INVALID_CLIENT_REQUEST", "message": "Request has expired"}', "invalid_nonce"),
    ("backpack", 503, '{"code": "MAINTENANCE", "message": "under maintenance"}', "exchange_unavailable"),
    (
        "binance",
        400,
        '{"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}',
        "invalid_nonce",
    ),
    ("binance", 418, '{"code": -1003, "msg": "Way too many requests; IP banned."}', "rate_limited"),
    ("okx", 401, '{"code": "50112", "msg": "Invalid OK_ACCESS_TIMESTAMP", "data": []}', "invalid_nonce"),
    (
        "okx",
        503,
        '{"code": "50001", "msg": "Service temporarily unavailable. Try again later", "data": []}',
        "exchange_unavailable",
    ),
    ("bitvavo", 403, '{"errorCode":304,"error":"Request was not received within acceptable window."}', "invalid_nonce"),
    (
        "gate",
        403,
        '{"label": "REQUEST_EXPIRED", "message": "gap between request Timestamp and server time exceeds 60"}',
        "invalid_nonce",
    ),
    (
        "bybit",
        200,
        '{"retCode": 10016, "retMsg": "System error. Please try again later.", "result": {}}',
        "exchange_unavailable",
    ),
    ("bybit", 200, '{"retCode": 10009, "retMsg": "IP had been banned", "result": {}}', "rate_limited"),
    ("bitget", 400, '{"code": "40015", "msg": "System is abnormal, please try again later"}', "exchange_unavailable"),
    ("gateeu", 403, '{"label": "REQUEST_EXPIRED", "message": "gap"}', "invalid_nonce"),
    (
        "binanceus",
        400,
        '{"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}',
        "invalid_nonce",
    ),
    ("weex", 400, '{"code": "-1046", "msg": "Request timestamp expired."}', "invalid_nonce"),
    (
        "xt",
        200,
        '{"rc": 1, "mc": "COMMON_002", "ma": ["System busy, please try it later"], "result": null}',
        "exchange_unavailable",
    ),
]


@kind("G")
@pytest.mark.parametrize(("id", "status", "body", "code"), PASSING, ids=lambda value: str(value)[:30])
def test_a_passing_refusal_of_a_read_may_be_repeated(id, status, body, code):
    with pytest.raises(Refused) as caught:
        offline(id, text(status, body)).funds()
    assert (caught.value.code, caught.value.retryable) == (code, True)


@kind("G")
@pytest.mark.parametrize(("id", "status", "body", "code"), PASSING, ids=lambda value: str(value)[:30])
def test_a_passing_refusal_of_an_order_is_no_proof_and_no_lasting_one(id, status, body, code):
    with pytest.raises((Busy, Unknown)) as caught:
        offline(id, text(status, body)).place(order("sell", amount="1", price="20000", currency="USD"))
    assert caught.value.may_have_executed
    refusal = caught.value.refusal
    assert refusal is None or refusal.retryable


@kind("G")
def test_classes_that_are_made_from_another_are_read_like_it():
    derived = {
        id: base.__name__
        for id in library.exchanges
        for base in getattr(library, id).__mro__[1:]
        if base.__name__
        in {"backpack", "binance", "bitvavo", "blofin", "bybit", "gate", "kraken", "lbank", "okx", "paradex"}
    }
    assert derived == error_codes._FAMILIES


LASTING = [
    ("binance", 400, '{"code": -1131, "msg": "recvWindow must be less than 60000"}', "exchange_refused"),
    (
        "binance",
        401,
        '{"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}',
        "exchange_key_refused",
    ),
    ("bybit", 200, '{"retCode": 33004, "retMsg": "Your api key has expired.", "result": {}}', "exchange_key_refused"),
    ("kraken", 200, '{"error": ["EAPI:Invalid key"]}', "exchange_key_refused"),
    ("okx", 401, '{"code": "50111", "msg": "Invalid OK_ACCESS_KEY", "data": []}', "exchange_key_refused"),
]


@kind("G")
@pytest.mark.parametrize(("id", "status", "body", "code"), LASTING, ids=lambda value: str(value)[:30])
def test_a_lasting_refusal_is_not_told_as_a_passing_one(id, status, body, code):
    with pytest.raises(Refused) as caught:
        offline(id, text(status, body)).funds()
    assert (caught.value.code, caught.value.retryable) == (code, False)


@kind("G")
@pytest.mark.parametrize(
    ("id", "status", "body", "least", "most"),
    [
        ("kraken", 200, '{"error": ["EGeneral:Temporary lockout"]}', 600, 900),
        ("bybit", 403, "access too frequent", 600, 600),
        ("binance", 418, '{"code": -1003, "msg": "Way too many requests; IP banned."}', 120, 120),
        (
            "binance",
            418,
            f'{{"code": -1003, "msg": "IP banned until {FUTURE}000. Please use the websocket"}}',
            890,
            900,
        ),
        ("binance", 429, '{"code": -1003, "msg": "Too many requests."}', 1, 1),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_lockout_holds_calls_back_for_minutes(id, status, body, least, most):
    """krakenfx/kraken-cli#34, ccxt/ccxt#3611."""
    with pytest.raises(Busy) as caught:
        offline(id, text(status, body)).funds()
    assert least <= caught.value.retry_after <= most


# H: what certainly was not executed is not told as unknown, and the other way round.


@kind("H")
@pytest.mark.parametrize(
    ("id", "body", "code"),
    [
        ("backpack", "parse JSON error: expected value at line 1 column 8", "invalid_request"),
        ("backpack", "Failed to deserialize the JSON body: missing field `side`", "invalid_request"),
        ("binance", '{"code": -1013, "msg": "Filter failure: LOT_SIZE"}', "amount_step"),
        ("binance", '{"code": -1013, "msg": "Filter failure: PRICE_FILTER"}', "price_step"),
        ("okx", '{"code": "51001", "msg": "Instrument ID does not exist", "data": []}', "unknown_market"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_refusal_that_follows_from_the_request_alone_is_proof(id, body, code):
    """backpack-exchange/bpx-api-client#49."""
    with pytest.raises(Refused) as caught:
        offline(id, text(400, body)).place(order("sell", amount="1", price="20000", currency="USD"))
    assert caught.value.code == code


@kind("H")
@pytest.mark.parametrize(
    ("id", "status", "body"),
    [
        ("backpack", 500, "parse error"),
        (
            "binance",
            400,
            '{"code": -1007, "msg": "Timeout waiting for response from backend server. Send status unknown"}',
        ),
        ("bybit", 200, '{"retCode": 170146, "retMsg": "Order creation timeout.", "result": {}}'),
        ("bitget", 400, '{"code": "40010", "msg": "Request timed out"}'),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_exchange_that_does_not_know_itself_has_not_refused(id, status, body):
    with pytest.raises(Unknown) as caught:
        offline(id, text(status, body)).place(order("sell", amount="1", price="20000", currency="USD"))
    assert caught.value.refusal is None


# I: funds that contradict themselves.


@kind("I")
def test_what_is_available_is_not_below_zero_where_more_is_held_than_owned():
    """btschwertfeger/infinity-grid#80, hummingbot/hummingbot#7052: Kraken's line XBT.F has what can be traded."""
    lines = {"XXBT": {"balance": "0.01", "hold_trade": "0.02"}, "XBT.F": {"balance": "0.035", "hold_trade": "0"}}
    funds = kraken(BalanceEx=lines).funds()
    assert funds["BTC"] == Funds(D("0.01"), D(0), D("0.02"))
    assert funds["BTC.F"].available == D("0.035")


@kind("I")
@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"total": "1", "free": "2", "used": None}, Funds(D(1), D(1), D(0))),
        ({"total": "1", "free": None, "used": "0.25"}, Funds(D(1), D("0.75"), D("0.25"))),
        ({"total": None, "free": "1", "used": "0.25"}, Funds(D("1.25"), D(1), D("0.25"))),
        ({"total": "-5", "free": "-5", "used": "0"}, Funds(D(-5), D(0), D(0))),
        ({"total": "5", "free": "6", "used": "-1"}, Funds(D(5), D(5), D(0))),
    ],
    ids=str,
)
def test_a_balance_of_any_class_is_consistent(row, told):
    assert funds_from_rows({part: {"BTC": value} for part, value in row.items()}, "BTC") == ("BTC", told)


# J: what may be left out, or null, is not required.


@kind("J")
@pytest.mark.parametrize("absent", [True, False], ids=["absent", "null"])
def test_an_order_without_its_optional_fields_is_read(absent):
    def stripped(row: dict, *needed: str) -> dict:
        return {name: value if name in needed else None for name, value in row.items() if name in needed or not absent}

    row = stripped(kraken_order(status="canceled"), "status", "descr")
    state = kraken(QueryOrders={"OAAAAA-AAAAA-AAAAAA": row}).order(ref())
    assert (state.status, state.side, state.asset, state.filled, state.fee) == ("canceled", "sell", "BTC", None, None)
    transfer = stripped(TRANSFER, "refid", "asset", "status", "amount")
    exchange = kraken(DepositStatus=addresses(transfer), WithdrawStatus=addresses(transfer))
    assert [(row.id, row.asset, row.amount, row.fee, row.txid) for row in exchange.withdrawals()] == [
        ("R1", "BTC", D("0.1"), None, None)
    ]
    assert [(row.id, row.time, row.address) for row in exchange.deposits()] == [("R1", None, None)]
    fill = stripped(kraken_trade(), "ordertxid", "pair", "time", "type", "price", "vol")
    (read,) = kraken(TradesHistory={"trades": {"TA": fill}, "count": 1}).fills("USD", "BTC")
    assert (read.amount, read.price, read.fee, read.fee_currency) == (D("0.25"), D(30000), None, None)


@kind("J")
@pytest.mark.parametrize("missing", ["absent", "null"])
def test_a_canceled_order_of_backpacks_history_is_read_without_what_was_executed(backpack, transport, missing):
    exchange, asked = connected(backpack, transport), order("sell", price="35000")
    id = exchange.place(asked).exchange_order_id
    exchange.cancel(ref_of(asked, id))
    optional = ("executedQuantity", "executedQuoteQuantity", "quantity", "price", "clientId")
    lack = dict.fromkeys(optional) if missing == "null" else {}
    change_answers(
        backpack,
        "GET",
        "/wapi/v1/history/orders",
        lambda rows: [{name: row[name] for name in row if name not in optional} | lack for row in rows],
    )
    state = exchange.order(ref_of(asked, id))
    assert (state.status, state.filled or 0) == ("canceled", 0)


@kind("J")
@pytest.mark.parametrize("cost", ["-1.00000000", "0.00000000", None])
def test_a_cost_that_is_not_told_hides_no_order(cost):
    """Binance, "Query Order": cummulativeQuoteQty is below zero where the data is not available."""
    row = {"symbol": "BTCUSDT", "orderId": 28, "clientOrderId": "", "price": "30000", "origQty": "1"}
    row |= {"executedQty": "0.5", "cummulativeQuoteQty": cost, "status": "PARTIALLY_FILLED", "type": "LIMIT"}
    row |= {"side": "BUY", "time": 1700000000000}
    path = "GET /api/v3/order"
    exchange = made("binance", {"GET /api/v3/exchangeInfo": BINANCE_INFO, path: row, "GET /api/v3/myTrades": []})
    state = exchange.order(OrderRef("buy", "USDT", "BTC", CLIENT, "28", created=datetime.now(UTC), amount=D(1)))
    assert (state.status, state.filled, state.amount) == ("open", D("0.5"), D(1))
    assert state.spent is None or state.spent >= 0
