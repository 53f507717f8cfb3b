"""Answers of the real Kraken that users of other libraries met, and others of the same kinds, to their right values.

The kinds are those of `python -m tests.answer_kinds`. Each answer is played over real HTTP.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.errors import Busy, Refused, Unknown, Unsupported
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.exchanges.kraken.names import assets_from_rows, pairs_from_rows
from bitmm.xwrap.exchanges.models import DepositAddress, Funds, NewOrder, NewWithdrawal, OrderRef
from bitmm.xwrap.testing.exchanges.venue import Reply, Venue
from bitmm.xwrap.transport import Transport
from tests.support.canned import http_date

D = Decimal
TXID, TRADE = "OTESTA-AAAAA-BBBBBB", "TTESTA-AAAAA-BBBBBB"
OURS = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"
WALLET = "bc1qxdsh4sdd29h6ldehz0se5c61asq8cgwyjf2y3z"


class _Absent:
    """A field that is not in a row. Its name is the same in every process, as the names of tests must be."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()


def asset(altname):
    return {"aclass": "currency", "altname": altname, "decimals": 8, "display_decimals": 5}


def pair(wsname, base, quote, /, **changes):
    row = {"altname": wsname.replace("/", ""), "wsname": wsname, "base": base, "quote": quote, "status": "online"}
    row |= {"pair_decimals": 1, "lot_decimals": 8, "ordermin": "0.00005", "costmin": "0.5", "tick_size": "0.1"}
    return without_absent(row | changes)


def without_absent(row):
    return {name: value for name, value in row.items() if value is not ABSENT}


ASSETS = {"XXBT": asset("XBT"), "ZUSD": asset("USD"), "ZEUR": asset("EUR"), "XETH": asset("ETH"), "XXRP": asset("XRP")}
ASSETS |= {"MATIC": asset("MATIC"), "XXDG": asset("XDG")}
PAIRS = {
    "XXBTZUSD": pair("XBT/USD", "XXBT", "ZUSD"),
    "XXBTZEUR": pair("XBT/EUR", "XXBT", "ZEUR"),
    "MATICUSD": pair("MATIC/USD", "MATIC", "ZUSD", status="cancel_only"),
}


def order(description=(), **changes):
    """An object of QueryOrders and its like."""
    descr = {"pair": "XBTUSD", "type": "sell", "ordertype": "limit", "price": "30000.0", "price2": "0"}
    descr |= {"leverage": "none", "order": "", "close": ""}
    row = {"refid": None, "userref": 0, "status": "open", "opentm": 1700000000.5, "starttm": 0, "expiretm": 0}
    row |= {"vol": "0.50000000", "vol_exec": "0.25000000", "cost": "7500.0", "fee": "7.5", "price": "30000.0"}
    row |= {"stopprice": "0.00000", "limitprice": "0.00000", "misc": "", "oflags": "fciq"}
    return without_absent({**row, "descr": without_absent(descr | dict(description)), **changes})


def trade(**changes):
    row = {"ordertxid": TXID, "pair": "XXBTZUSD", "time": 1700000000.5, "type": "buy", "ordertype": "limit"}
    row |= {"price": "30000.0", "cost": "300.0", "fee": "0.78", "vol": "0.01000000", "margin": "0.00000", "misc": ""}
    return without_absent(row | changes)


def transfer(**changes):
    row = {"method": "Bitcoin", "aclass": "currency", "asset": "XXBT", "refid": "FTQ-1", "txid": "ab" * 32}
    row |= {"info": WALLET, "amount": "0.5", "fee": "0.0002", "time": 1700000000, "status": "Success"}
    return without_absent(row | changes)


class Answers(Venue):
    """Gives each method its answers one after the other, the last one for ever: a Reply, or what becomes the result."""

    def __init__(self, answers):
        everything = {"Assets": ASSETS, "AssetPairs": PAIRS, **answers}
        self.left = {name: list(given) if type(given) is tuple else [given] for name, given in everything.items()}
        super().__init__()

    def routes(self):
        return {}

    def handle(self, request):
        left = self.left[request.path.split("/", 3)[3]]
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Reply):
            return answer
        return Reply.json({"error": []} if answer is ABSENT else {"error": [], "result": answer})


@pytest.fixture
def played():
    """A function: the exchange that gives these answers."""
    venues, transport = [], Transport(timeout=5)

    def play(**answers):
        venues.append(Answers(answers).__enter__())
        keys = Credentials(apikey="key", apisecret="c2VjcmV0")
        exchange = Kraken(ExchangeContext(transport, keys, url=venues[-1].url))
        exchange.played = venues[-1]
        return exchange

    yield play
    transport.close()
    for venue in venues:
        venue.stop()
        assert not venue.bugs


def calls(exchange):
    """The methods that were asked for, with their forms."""
    return [(request.path.split("/", 3)[3], request.form) for request in exchange.played.requests]


def refusal(*words, status=200, **headers):
    return Reply.json({"error": list(words)}, status, **headers)


def ref(currency="USD", name="BTC", side="sell", **more):
    return OrderRef(side, currency, name, OURS, TXID, **more)


def buy(**changes):
    return NewOrder("buy", "USD", "BTC", OURS, **{"amount": D("0.001"), "price": D(50000), **changes})


def kind(letter):
    return pytest.mark.answer_kind(letter, exchange="kraken")


# A: one odd row hides no other


@kind("A")
@pytest.mark.parametrize(
    "odd",
    [{"balance": None}, {"balance": "lots"}, {}, None, "1.0", []],
    ids=str,
)
def test_an_odd_balance_is_not_told_and_hides_no_other(played, odd):
    rows = {"ZEUR": odd, "ZUSD": {"balance": "-0.0003", "hold_trade": "0.0000"}, "XXBT": {"balance": 0.5}}
    exchange = played(BalanceEx=rows)
    assert exchange.balance() == {"USD": D("-0.0003"), "BTC": D("0.5")}
    # Not "0 available": nothing is known of it.
    assert exchange.funds()["EUR"] == Funds(None, None, None)


@kind("A")
@pytest.mark.parametrize(
    "odd",
    [
        None,
        "XBTGBP",
        {},
        pair("XBT/GBP", "XXBT", "ZGBP", altname=None),
        pair("XBT/GBP", "XXBT", "ZGBP", wsname=None, base=None),
        pair("XBT/GBP", "XXBT", "ZGBP", wsname="XBT/GBP/USD", quote=7),
    ],
    ids=str,
)
def test_an_odd_pair_or_asset_is_left_out_and_the_others_are_traded(played, odd):
    exchange = played(
        AssetPairs={"XXBTZGBP": odd, **PAIRS},
        Assets={"ZGBP": odd if not isinstance(odd, dict) else {}, **ASSETS},
        AddOrder={"txid": [TXID]},
        BalanceEx={"XXBT": {"balance": "1"}},
    )
    assert [(market.currency, market.asset) for market in exchange.markets()] == [("USD", "BTC"), ("EUR", "BTC")]
    assert exchange.place(buy()).exchange_order_id == TXID
    assert exchange.balance() == {"BTC": D(1)}


@kind("A")
@pytest.mark.parametrize("odd", [{"pair_decimals": "many", "tick_size": None}, {"ordermin": "-1"}, {"costmin": "?"}])
def test_a_pair_with_odd_rules_takes_no_orders_and_its_orders_are_read(played, odd):
    exchange = played(AssetPairs={**PAIRS, "XXBTZUSD": PAIRS["XXBTZUSD"] | odd}, QueryOrders={TXID: order()})
    with pytest.raises(Refused) as caught:
        exchange.place(buy())
    assert caught.value.code == "unknown_market"
    assert exchange.order(ref()).filled == D("0.25")


@kind("A")
@pytest.mark.parametrize("odd", [None, {}, trade(vol=None), trade(type="swap"), trade(pair=None), trade(time="now")])
def test_an_odd_execution_hides_no_other(played, odd):
    rows = {"TODD": odd, TRADE: trade(), "TETH": trade(pair="XETHZUSD")}
    fills = played(TradesHistory={"trades": rows, "count": 3}).fills("USD", "BTC")
    assert [(fill.id, fill.amount, fill.fee, fill.fee_currency) for fill in fills] == [
        (TRADE, D("0.01"), D("0.78"), "USD")
    ]


@kind("A")
@pytest.mark.parametrize(
    "odd", [None, {}, transfer(refid=None), transfer(asset=None), transfer(refid="FTQ-3", amount=[])]
)
@pytest.mark.parametrize("verb", ["deposits", "withdrawals"])
def test_an_odd_transfer_hides_no_other(played, verb, odd):
    rows = [transfer(time=1700000001), odd, transfer(refid="FTQ-2", time=1700000002)]
    listed = {row.id: row for row in getattr(played(DepositStatus=rows, WithdrawStatus=rows), verb)()}
    assert list(listed)[:2] == ["FTQ-2", "FTQ-1"]
    assert listed["FTQ-2"].amount == D("0.5")
    # A send that is missing may be sent again, so an odd one does not vanish.
    assert len(listed) == (3 if verb == "withdrawals" else 2)


@kind("A")
@pytest.mark.parametrize("odd", [None, {}, order(status="frozen"), order(vol="?"), order({"type": "swap"})], ids=str)
def test_an_odd_open_order_is_told_by_its_id_and_hides_no_other(played, odd):
    rows = {"OODD00-AAAAA-BBBBBB": odd, TXID: order()}
    odd_state, state = played(OpenOrders={"open": rows}).open_orders()
    assert (odd_state.exchange_order_id, odd_state.status, odd_state.side) == ("OODD00-AAAAA-BBBBBB", "open", None)
    assert (state.exchange_order_id, state.status, state.filled) == (TXID, "open", D("0.25"))


@kind("A")
def test_an_odd_row_about_deposit_addresses_hides_no_other(played):
    rows = [None, {"address": None}, {"address": "1First", "expiretm": "soon"}, {"address": "1Second"}]
    exchange = played(DepositMethods=[{}, None, {"method": "Bitcoin"}], DepositAddresses=rows)
    assert exchange.deposit_address("BTC") == DepositAddress("BTC", "1Second", None, "Bitcoin")


@kind("A")
@pytest.mark.parametrize(
    "odd",
    [
        None,
        {},
        {"address": WALLET},
        {"address": WALLET, "method": 7, "key": "odd", "verified": True},
        {"address": WALLET, "method": "Bitcoin", "key": "odd", "verified": "perhaps"},
        {"address": WALLET, "method": "Bitcoin", "key": None, "verified": True},
    ],
    ids=str,
)
def test_an_odd_row_of_the_address_book_is_no_row_to_send_by_and_hides_no_other(played, odd):
    good = {"address": WALLET, "asset": "XBT", "method": "Bitcoin", "key": "wallet", "verified": True}
    exchange = played(WithdrawAddresses=[odd, good], Withdraw={"refid": "FTQ-1"})
    assert exchange.withdraw(NewWithdrawal("BTC", D("0.1"), WALLET, OURS)).id == "FTQ-1"
    assert calls(exchange)[-1][1]["key"] == "wallet"
    with pytest.raises(Refused) as caught:
        played(WithdrawAddresses=[odd]).withdraw(NewWithdrawal("BTC", D("0.1"), WALLET, OURS))
    assert caught.value.code == "address_not_registered"


@kind("A")
def test_what_is_in_no_row_as_it_should_be_is_not_taken_for_nothing(played):
    odd = played(
        BalanceEx={"XXBT": None, "ZUSD": {}},
        TradesHistory={"trades": {TRADE: None}, "count": 1},
        DepositStatus=[7],
        WithdrawStatus=["?"],
    )
    for verb, arguments in {"funds": (), "fills": ("USD", "BTC"), "deposits": (), "withdrawals": ()}.items():
        with pytest.raises(Refused) as caught:
            getattr(odd, verb)(*arguments)
        assert caught.value.code == "exchange_unavailable", verb


ODD_VALUES = [None, ABSENT, True, 7, -1, "x", "", "-1", "NaN", "1e999", [], {}, [7], {"x": 7}]
GOOD_ROWS = {
    "BalanceEx": {"ZUSD": {"balance": "2", "hold_trade": "1", "credit": "0"}, "XXBT": {"balance": "1"}},
    "OpenOrders": {"OGOOD0-AAAAA-BBBBBB": order(cl_ord_id=OURS), TXID: order(trades=[TRADE], limitprice="1")},
    "TradesHistory": {"TGOOD": trade(), TRADE: trade()},
    "DepositStatus": [transfer(refid="GOOD"), transfer(network="n", **{"status-prop": "onhold"})],
    "WithdrawStatus": [transfer(refid="GOOD"), transfer(network="n", **{"status-prop": "onhold"})],
}


def spoiled(row):
    """The row with each of its fields, and of those in it, odd in every way."""
    yield from ODD_VALUES
    for name, value in row.items():
        for odd in [*ODD_VALUES, *(spoiled(value) if isinstance(value, dict) else ())]:
            yield without_absent({**row, name: odd})


@kind("A")
@kind("J")
@pytest.mark.parametrize("method", GOOD_ROWS)
def test_a_row_that_is_odd_in_any_way_changes_no_other(played, method):
    good = GOOD_ROWS[method]
    odd_key, key, wrap, verb, arguments = {
        "BalanceEx": ("XXBT", "USD", lambda rows: rows, "funds", ()),
        "OpenOrders": (TXID, "OGOOD0-AAAAA-BBBBBB", lambda rows: {"open": rows}, "open_orders", ()),
        "TradesHistory": (TRADE, "TGOOD", lambda rows: {"trades": rows, "count": 2}, "fills", ("USD", "BTC")),
        "DepositStatus": (1, "GOOD", lambda rows: rows, "deposits", ()),
        "WithdrawStatus": (1, "GOOD", lambda rows: rows, "withdrawals", ()),
    }[method]

    def good_row():
        answer = getattr(exchange, verb)(*arguments)
        if isinstance(answer, dict):
            return answer[key]
        [row] = [row for row in answer if key in (getattr(row, "id", ""), getattr(row, "exchange_order_id", ""))]
        return row

    exchange = played(**{method: wrap(good)})
    expected, tried = good_row(), 0
    for row in spoiled(good[odd_key]):
        rows = good.copy()
        rows[odd_key] = row
        if row is not ABSENT:
            exchange.played.left[method] = [wrap(rows)]
            assert good_row() == expected, row
            tried += 1
    assert tried >= 2 * len(ODD_VALUES) - 1


def test_an_order_that_is_odd_in_any_way_is_read_or_refused(played):
    exchange = played(QueryOrders={TXID: order()})
    for row in spoiled(order(cl_ord_id=OURS, trades=[TRADE], reason="User requested", closetm=1700000001.5)):
        exchange.played.left["QueryOrders"] = [without_absent({TXID: row})]
        # Never anything else than a read that failed.
        with suppress(Refused):
            state = exchange.order(ref())
            assert (state.exchange_order_id, state.side, state.asset) == (TXID, "sell", "BTC"), row
            assert state.status in ("open", "filled", "partly_filled", "canceled"), row


@kind("J")
def test_a_pair_or_an_asset_that_is_odd_in_any_way_changes_no_other():
    for row in spoiled(PAIRS["XXBTZEUR"] | {"execution_venue": "international"}):
        pairs = without_absent({**PAIRS, "XXBTZEUR": row})
        assert pairs_from_rows(pairs).open_ones()["USD", "BTC"].key == "XXBTZUSD", row
    for row in spoiled(ASSETS["XETH"]):
        assert assets_from_rows(without_absent({**ASSETS, "XETH": row}))["XXBT"] == "BTC", row


# B: no result is nothing, where nothing is proved by it


NOTHING = [ABSENT, None, {}, []]


@kind("B")
@pytest.mark.parametrize("nothing", NOTHING, ids=["absent", "null", "{}", "[]"])
def test_a_list_that_is_left_out_is_empty(played, nothing):
    exchange = played(**dict.fromkeys(("BalanceEx", "OpenOrders", "TradesHistory", "DepositStatus"), nothing))
    assert (exchange.funds(), exchange.balance()) == ({}, {})
    assert exchange.open_orders() == exchange.fills("USD", "BTC") == exchange.deposits() == []


@kind("B")
@pytest.mark.parametrize(
    "rows", [{"open": None, "trades": None}, {"open": [], "trades": [], "count": 0}, {"count": "0"}]
)
def test_rows_that_are_left_out_are_none(played, rows):
    exchange = played(OpenOrders=rows, TradesHistory=rows)
    assert exchange.open_orders() == exchange.fills("USD", "BTC") == []


@kind("B")
@pytest.mark.parametrize("nothing", NOTHING, ids=["absent", "null", "{}", "[]"])
def test_an_answer_that_leaves_out_its_result_proves_nothing(played, nothing):
    exchange = played(OpenOrders=nothing, ClosedOrders=nothing, QueryOrders=nothing, Time={"unixtime": 1700000000})
    for act in (
        lambda: exchange.find(ref()),
        lambda: exchange.order(ref()),
        lambda: exchange.orders_since(datetime.now(UTC)),
    ):
        with pytest.raises(Refused) as caught:
            act()
        assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)
    assert exchange.read_orders([ref()]) == {}


@kind("B")
@pytest.mark.parametrize("nothing", [ABSENT, None, {}], ids=["absent", "null", "{}"])
def test_that_nothing_was_sent_is_told_by_an_empty_list_alone(played, nothing):
    """The server sends again what is certainly not listed."""
    with pytest.raises(Refused):
        played(WithdrawStatus=nothing).withdrawals()
    assert played(WithdrawStatus=[]).withdrawals() == []


@kind("B")
@pytest.mark.parametrize("nothing", [ABSENT, None, []], ids=["absent", "null", "[]"])
def test_an_account_without_an_address_gets_one(played, nothing):
    exchange = played(DepositMethods=[{"method": "Bitcoin"}], DepositAddresses=(nothing, [{"address": "1New"}]))
    assert exchange.deposit_address("BTC").address == "1New"
    assert [form.get("new") for _, form in calls(exchange)[-2:]] == [None, "true"]


@kind("B")
@pytest.mark.parametrize("method", ["AddOrder", "Withdraw", "CancelOrder", "CancelAll"])
@pytest.mark.parametrize("nothing", [ABSENT, None, {}], ids=["absent", "null", "{}"])
def test_what_executes_is_unknown_without_its_result(played, method, nothing):
    book = [{"address": WALLET, "method": "Bitcoin", "key": "wallet", "verified": True}]
    exchange = played(**{method: nothing}, WithdrawAddresses=book)
    act = {
        "AddOrder": lambda: exchange.place(buy()),
        "Withdraw": lambda: exchange.withdraw(NewWithdrawal("BTC", D("0.1"), WALLET, OURS)),
        "CancelOrder": lambda: exchange.cancel(ref()),
        "CancelAll": exchange.cancel_all,
    }[method]
    with pytest.raises(Unknown):
        act()


# C: markets that take no new orders


@kind("C")
@pytest.mark.parametrize("status", ["cancel_only", "delisted", "maintenance", "work_in_progress"])
def test_a_market_that_takes_no_orders_is_read_and_not_offered(played, status):
    rows = {TXID: order({"pair": "MATICUSD", "type": "buy"}, status="canceled", vol_exec="10", cost="9", fee="0.0234")}
    exchange = played(
        AssetPairs={**PAIRS, "MATICUSD": PAIRS["MATICUSD"] | {"status": status}},
        QueryOrders=rows,
        OpenOrders={"open": rows},
        TradesHistory={"trades": {TRADE: trade(pair="MATICUSD"), "TALT": trade(pair="MATICUSD", time=1)}, "count": 2},
        Ticker={"MATICUSD": {"a": ["0.9", "1", "1"], "b": ["0.8", "1", "1"]}},
        CancelOrder={"count": 1},
    )
    state = exchange.order(ref("USD", "MATIC", "buy"))
    assert (state.status, state.filled, state.spent, state.fee) == ("partly_filled", D(10), D(9), D("0.0234"))
    assert (state.asset, state.fee_currency) == ("MATIC", "USD")
    assert exchange.read_orders([ref("USD", "MATIC", "buy")]) == {TXID: state}
    assert exchange.open_orders() == [state]
    assert [fill.id for fill in exchange.fills("USD", "MATIC")] == [TRADE, "TALT"]
    assert exchange.rate("USD", "MATIC").buy == D("0.9")
    exchange.cancel(ref("USD", "MATIC", "buy"))
    assert ("USD", "MATIC") not in {(market.currency, market.asset) for market in exchange.markets()}
    with pytest.raises(Refused) as caught:
        exchange.place(NewOrder("buy", "USD", "MATIC", OURS, amount=D(100), price=D("0.9")))
    is_over = status == "delisted"
    assert caught.value.code == ("unknown_market" if is_over else "exchange_unavailable")
    assert caught.value.retryable is not is_over


@kind("G")
def test_a_market_that_is_closed_now_is_asked_about_again(played):
    closed, opened = ({"MATICUSD": PAIRS["MATICUSD"] | {"status": status}} for status in ("maintenance", "online"))
    exchange = played(AssetPairs=(closed, opened), AddOrder={"txid": [TXID]})
    new = NewOrder("buy", "USD", "MATIC", OURS, amount=D(100), price=D("0.9"))
    with pytest.raises(Refused, match="takes no new orders for MATIC/USD now"):
        exchange.place(new)
    assert exchange.place(new).status == "open"


@kind("C")
@pytest.mark.parametrize("name", ["XXBTZUSD", "XBTUSD", "XBT/USD"])
def test_a_pair_is_known_by_each_of_its_names(played, name):
    exchange = played(
        QueryOrders={TXID: order({"pair": name})}, TradesHistory={"trades": {TRADE: trade(pair=name)}, "count": 1}
    )
    assert (exchange.order(ref()).asset, len(exchange.fills("USD", "BTC"))) == ("BTC", 1)


@kind("C")
@pytest.mark.parametrize("name", ["MATICUSD", "MATICZUSD"])
def test_an_order_and_the_executions_of_a_pair_that_is_not_listed_any_more_are_read(played, name):
    rows = {TXID: order({"pair": name}, status="canceled")}
    exchange = played(
        AssetPairs={"XXBTZUSD": PAIRS["XXBTZUSD"]},
        QueryOrders=rows,
        ClosedOrders={"closed": rows, "count": 1},
        OpenOrders={"open": rows},
        TradesHistory={"trades": {TRADE: trade(pair=name), "TBTC": trade()}, "count": 2},
    )
    state = exchange.order(ref("USD", "MATIC"))
    assert (state.currency, state.asset, state.filled, state.fee_currency) == ("USD", "MATIC", D("0.25"), "USD")
    [listed] = exchange.open_orders()
    assert (listed.exchange_order_id, listed.currency, listed.asset, listed.filled) == (TXID, None, None, D("0.25"))
    assert [(fill.id, fill.asset) for fill in exchange.fills("USD", "MATIC")] == [(TRADE, "MATIC")]
    with pytest.raises(Refused) as caught:
        exchange.fills("USD", "DOGE")
    assert caught.value.code == "unknown_market"


@kind("C")
def test_executions_in_assets_that_are_listed_nowhere_are_read_by_their_usual_names(played):
    exchange = played(TradesHistory={"trades": {TRADE: trade(pair="ICNXBT"), "TBTC": trade()}, "count": 2})
    assert [fill.id for fill in exchange.fills("BTC", "ICN")] == [TRADE]


@kind("C")
def test_the_pair_of_a_partner_does_not_take_kraken_s_place(played):
    """Both have one `wsname`; the execution venue tells them apart."""
    partner = pair("XBT/USD", "XXBT", "ZUSD", altname="XBTUSD:BTNL", execution_venue="bitnomial_exchange", ordermin="9")
    own = PAIRS["XXBTZUSD"] | {"execution_venue": "international"}
    for rows in ({"XBTUSD:BTNL": partner, "XXBTZUSD": own}, {"XXBTZUSD": own, "XBTUSD:BTNL": partner}):
        exchange = played(
            AssetPairs=rows,
            AddOrder={"txid": [TXID]},
            QueryOrders={TXID: order({"pair": "XBTUSD:BTNL"})},
            TradesHistory={"trades": {"T1": trade(pair="XBTUSD:BTNL"), "T2": trade()}, "count": 2},
        )
        assert [market.amount_min for market in exchange.markets()] == [D("0.00005")]
        exchange.place(buy())
        assert calls(exchange)[-1][1]["pair"] == "XXBTZUSD"
        assert exchange.order(ref()).asset == "BTC"
        assert {fill.id for fill in exchange.fills("USD", "BTC")} == {"T1", "T2"}
        closed = {**rows, "XXBTZUSD": own | {"status": "cancel_only"}}
        assert played(AssetPairs=closed).markets() == []
    assert len(played(AssetPairs={"XBTUSD:BTNL": partner}).markets()) == 1, "alone, it is the market"


@kind("C")
def test_a_renamed_pair_is_traded_by_its_new_name_and_read_by_both(played):
    old = pair("XBT/USD", "XXBT", "ZUSD", altname="XBTUSD.old", status="cancel_only")
    exchange = played(
        AssetPairs={"XXBTZUSD.old": old, **PAIRS},
        QueryOrders={TXID: order({"pair": "XBTUSD.old"})},
        AddOrder={"txid": [TXID]},
    )
    assert exchange.order(ref()).asset == "BTC"
    exchange.place(buy())
    assert calls(exchange)[-1][1]["pair"] == "XXBTZUSD"


@kind("C")
def test_orders_and_executions_of_a_dark_pool_are_read_and_it_takes_none(played):
    """Their rows had no `wsname`."""
    dark = pair("XBT/GBP", "XXBT", "ZGBP", altname="XBTGBP.d", wsname=ABSENT)
    exchange = played(
        AssetPairs={"XXBTZUSD.d": PAIRS["XXBTZUSD"] | {"altname": "XBTUSD.d"}, "XXBTZGBP.d": dark, **PAIRS},
        Assets=ASSETS,
        TradesHistory={"trades": {TRADE: trade(pair="XXBTZUSD.d")}, "count": 1},
        OpenOrders={"open": {TXID: order({"pair": "XBTGBP.d"})}},
    )
    assert [fill.id for fill in exchange.fills("USD", "BTC")] == [TRADE]
    assert exchange.open_orders()[0].asset == "BTC"
    assert len(exchange.markets()) == 2


@kind("J")
@pytest.mark.parametrize(
    ("altname", "base", "quote", "names"),
    [
        ("XBTGBP", "XXBT", "ZGBP", ("GBP", "BTC")),
        ("XDGGBP", "XXDG", "ZGBP", ("GBP", "DOGE")),
        ("ZETAGBP", "ZETA", "ZGBP", ("GBP", "ZETA")),
        ("ADAXBT", "ADA", "XXBT", ("BTC", "ADA")),
    ],
)
@pytest.mark.parametrize("wsname", [ABSENT, None, ""], ids=str)
def test_a_pair_without_a_wsname_has_the_names_of_its_altname(played, wsname, altname, base, quote, names):
    """ "Get Tradable Asset Pairs": `wsname` is there if available."""
    row = pair("XBT/GBP", base, quote, altname=altname, wsname=wsname)
    key = base + quote
    exchange = played(
        AssetPairs={key: row},
        Assets=ASSETS,
        Ticker={key: {"a": ["101.0"], "b": ["100.0"]}},
        OpenOrders={"open": {TXID: order({"pair": altname})}},
    )
    [state] = exchange.open_orders()
    assert (state.currency, state.asset) == names
    assert exchange.rate(*names).buy == 101


# D: what a fee counts


@kind("D")
@pytest.mark.parametrize("flags", ["fcib", "fciq", "fcib,post", "nompp", "", None, ABSENT, "fciq,viqc"], ids=str)
def test_the_fee_of_an_order_counts_the_currency_whatever_its_flags_prefer(played, flags):
    [state] = played(OpenOrders={"open": {TXID: order(oflags=flags)}}).open_orders()
    assert (state.fee, state.fee_currency) == (D("7.5"), "USD")


@kind("D")
def test_the_fee_of_an_execution_counts_the_currency(played):
    [fill] = played(TradesHistory={"trades": {TRADE: trade(type="sell")}, "count": 1}).fills("USD", "BTC")
    assert (fill.fee, fill.fee_currency) == (D("0.78"), "USD")


# E: addresses that expired


#: The first second of 2100: the names of tests must not depend on the time.
FUTURE = 4_102_444_800


@kind("E")
@pytest.mark.parametrize("status", ["withdrawal_only", "funding_temporarily_disabled", "enabled", "deposit_only", None])
def test_no_address_is_handed_out_while_deposits_are_switched_off(played, status):
    """ "Get Asset Info": the addresses are still there, and what arrives is not booked."""
    exchange = played(
        Assets={**ASSETS, "XXBT": {**ASSETS["XXBT"], "status": status}},
        DepositMethods=[{"method": "Bitcoin"}],
        DepositAddresses=[{"address": "1Good", "expiretm": "0"}],
    )
    if status not in {"withdrawal_only", "funding_temporarily_disabled"}:
        assert exchange.deposit_address("BTC").address == "1Good"
        return
    with pytest.raises(Refused, match="takes no deposits of BTC now") as caught:
        exchange.deposit_address("BTC")
    assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)


@kind("E")
@pytest.mark.parametrize("past", ["1500000000", 1500000000, 1500000000.5], ids=repr)
@pytest.mark.parametrize("usable", ["0", 0, None, ABSENT, "", FUTURE, str(FUTURE)], ids=repr)
def test_an_address_that_expired_is_not_handed_out(played, past, usable):
    rows = [{"address": "1Old", "expiretm": past}, without_absent({"address": "1Good", "expiretm": usable})]
    exchange = played(DepositMethods=[{"method": "Bitcoin"}], DepositAddresses=rows)
    assert exchange.deposit_address("BTC").address == "1Good"
    assert [form.get("new") for name, form in calls(exchange) if name == "DepositAddresses"] == [None]


@kind("E")
def test_a_new_address_is_asked_for_when_all_expired(played):
    old = {"address": "1Old", "expiretm": "1500000000"}
    exchange = played(
        DepositMethods=[{"method": "Bitcoin"}], DepositAddresses=([old], [old, {"address": "1New", "expiretm": "0"}])
    )
    assert exchange.deposit_address("BTC").address == "1New"
    stuck = played(DepositMethods=[{"method": "Bitcoin"}], DepositAddresses=[old])
    with pytest.raises(Refused, match="no address for BTC") as caught:
        stuck.deposit_address("BTC")
    assert caught.value.code == "exchange_unavailable"


# F: Retry-After


@kind("F")
def test_a_limit_of_the_front_is_obeyed_as_seconds_fraction_and_date(played):
    for header, least, most in (
        ("17", 17, 17),
        ("17.2", 18, 18),
        (http_date(90), 80, 91),
        ("soon", 1, 60),
    ):
        limited = Reply.text("error code: 1015", 429, "text/html", Retry_After=header)
        in_words = refusal("EAPI:Rate limit exceeded", status=429, Retry_After=header)
        for answer in (limited, in_words):
            with pytest.raises(Busy) as caught:
                played(BalanceEx=answer).balance()
            assert least <= caught.value.retry_after <= most, header
        # What counts requests in front of Kraken may have counted an earlier delivery of this order.
        with pytest.raises(Busy) as caught:
            played(AddOrder=limited).place(buy())
        assert least <= caught.value.retry_after <= most, header
        assert caught.value.may_have_executed


@kind("F")
def test_how_long_an_exchange_is_not_there_is_told(played):
    """RFC 9110, 15.6.4: HTTP 503 says it in Retry-After; an order may have been executed all the same."""
    page = Reply.text("<html>maintenance</html>", 503, "text/html", Retry_After="120")
    for answer in (page, refusal("EService:Unavailable", status=503, Retry_After="119.5")):
        with pytest.raises(Refused) as caught:
            played(BalanceEx=answer).balance()
        assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)
        assert caught.value.retry_after == 120
        with pytest.raises(Unknown):
            played(AddOrder=answer).place(buy())
    with pytest.raises(Refused) as caught:
        played(BalanceEx=Reply.text("bad gateway", 502, "text/html", Retry_After="120")).balance()
    assert caught.value.retry_after is None


# G: what passes


@kind("G")
@pytest.mark.parametrize(
    ("words", "least"),
    [
        ("EGeneral:Temporary lockout", 60),
        ("EGeneral:Temporary lockout:try again later", 60),
        ("EAuth:Too many requests", 1),
        ("EFunding:Too many requests", 1),
        ("EFunding:Rate limit exceeded", 1),
        ("EAPI:Rate limit exceeded", 1),
        ("EService: Throttled: NOW", 60),
    ],
)
def test_what_passes_is_a_rate_limit(played, words, least):
    words = words.replace("NOW", str(int(time.time()) + 100))
    with pytest.raises(Busy) as caught:
        played(BalanceEx=refusal(words)).balance()
    assert (caught.value.code, caught.value.retryable) == ("rate_limited", True)
    assert least <= caught.value.retry_after <= 900


@kind("G")
@pytest.mark.parametrize(
    "words", ["EFunding:Temporarily disabled", "EFunding:Funding unavailable", "ETrade:Temporary restriction"]
)
def test_what_is_refused_for_now_may_be_tried_again(played, words):
    with pytest.raises(Refused) as caught:
        played(AddOrder=refusal(words)).place(buy())
    assert (caught.value.code, caught.value.retryable, str(caught.value)) == ("exchange_unavailable", True, words)


@kind("G")
@pytest.mark.parametrize("mode", ["cancel_only", "post_only", "limit_only", "reduce_only"])
def test_a_market_in_a_special_mode_may_be_tried_again(played, mode):
    with pytest.raises(Refused) as caught:
        played(AddOrder=refusal(f"EService:Market in {mode} mode")).place(buy())
    assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)


# H: what certainly was refused


@kind("H")
@pytest.mark.parametrize("status", [200, 400, 403, 503])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("EOrder:Insufficient funds", "insufficient_funds"),
        ("EGeneral:Invalid arguments:Index unavailable", "invalid_request"),
        ("EOrder:Trading agreement required", "exchange_refused"),
        ("EGeneral:Permission denied", "permission_denied"),
    ],
)
def test_a_refusal_in_krakens_words_is_certain_whatever_the_status(played, status, words, code):
    exchange = played(AddOrder=refusal(words, status=status), GetApiKeyInfo={"nonce_window": "0"})
    with pytest.raises(Refused) as caught:
        exchange.place(buy())
    assert (caught.value.code, str(caught.value)) == (code, words)


# I: funds that contradict themselves


@kind("I")
@pytest.mark.parametrize(
    ("row", "available", "held"),
    [
        ({"hold_trade": "-0.0000000001"}, D(1), D(0)),
        ({"hold_trade": "lots"}, None, None),
        ({"hold_trade": "0.5", "credit": "much"}, None, None),
        ({"hold_trade": "0.5", "credit": "2", "credit_used": "-1"}, D("2.5"), D("0.5")),
    ],
    ids=str,
)
def test_what_is_held_hides_not_what_is_owned(played, row, available, held):
    assert played(BalanceEx={"XXBT": {"balance": "1", **row}}).funds() == {"BTC": Funds(D(1), available, held, D(0))}


@kind("I")
def test_rewards_count_to_what_is_available_of_their_asset(played):
    rows = {
        "XXBT": {"balance": "0.0000000000", "hold_trade": "0.0100000000"},
        "XBT.F": {"balance": "0.0350000000", "hold_trade": "0.0000000000"},
        "ETH.F": {"balance": "2"},
        "USD.F": {"balance": "1.5", "hold_trade": "0.5"},
        "ZUSD": {"balance": "10", "hold_trade": "4"},
        "XXDG": {"balance": "0", "hold_trade": "5"},
        "S": {"balance": "6"},
    }
    assert played(BalanceEx=rows).funds() == {
        "BTC": Funds(D("0.035"), D("0.025"), D("0.01"), D(0)),
        "ETH": Funds(D(2), D(2), D(0), D(0)),
        "USD": Funds(D("11.5"), D(7), D("4.5"), D(0)),
        "DOGE": Funds(D(0), D(0), D(5), D(0)),
        "S": Funds(D(6), D(6), D(0), D(0)),
    }


@kind("I")
def test_what_is_staked_or_on_hold_is_told_apart_and_no_order_can_spend_it(played):
    """The extensions of "Get Account Balance"; nothing of them is added to the line of the asset."""
    rows = {
        "XETH": {"balance": "1"},
        "ETH.S": {"balance": "3", "hold_trade": "0"},
        "DOT.P": {"balance": "2"},
        "USDT.M": {"balance": "7"},
        "NEW.B": {"balance": "5", "hold_trade": "lots"},
        "XXBT.HOLD": {"balance": "4"},
        "AAPLx.T": {"balance": "8"},
    }
    exchange = played(BalanceEx=rows)
    assert exchange.funds() == {
        "ETH": Funds(D(1), D(1), D(0), D(0)),
        "ETH.S": Funds(D(3), D(0), D(0), D(3)),
        "DOT.P": Funds(D(2), D(0), D(0), D(2)),
        "USDT.M": Funds(D(7), D(0), D(0), D(7)),
        "NEW.B": Funds(D(5), D(0), D(0), D(5)),
        "BTC.HOLD": Funds(D(4), D(0), D(4), D(0)),
        "AAPLx.T": Funds(D(8), D(8), D(0), D(0)),
    }
    assert exchange.balance()["ETH"] == 1


@kind("I")
def test_an_odd_line_of_rewards_makes_its_asset_unknown_not_smaller(played):
    rows = {"XXBT": {"balance": "1"}, "XBT.F": {"balance": None}, "ZUSD": {"balance": "-1", "credit": "5"}}
    assert played(BalanceEx=rows).funds() == {"BTC": Funds(None, None, None), "USD": Funds(D(-1), D(4), D(0), D(0))}


# J: fields that may be left out


OPTIONAL = ["vol", "vol_exec", "cost", "fee", "price", "oflags", "opentm", "reason", "misc", "closetm", "cl_ord_id"]


@kind("J")
@pytest.mark.parametrize("value", [None, ABSENT], ids=["null", "absent"])
def test_an_order_may_leave_out_what_it_does_not_need(played, value):
    row = order(
        {"price": value, "price2": value, "leverage": value}, status="canceled", **dict.fromkeys(OPTIONAL, value)
    )
    state = played(QueryOrders={TXID: row}).order(ref())
    assert (state.status, state.side, state.currency, state.asset) == ("canceled", "sell", "USD", "BTC")
    for name in ("amount", "price", "filled", "average", "spent", "fee", "client_id", "created", "reason"):
        assert getattr(state, name) is None, name
    market = played(QueryOrders={TXID: order({"ordertype": value})}).order(ref())
    assert (market.price, market.filled) == (None, D("0.25"))


@kind("J")
@pytest.mark.parametrize("value", [None, ABSENT], ids=["null", "absent"])
def test_a_transfer_and_an_execution_may_leave_out_what_they_do_not_need(played, value):
    row = transfer(**dict.fromkeys(["method", "txid", "info", "fee", "time", "network", "status-prop"], value))
    exchange = played(
        DepositStatus=[row, transfer(refid="FTQ-2", method="A network of tomorrow")],
        WithdrawStatus=[row, transfer(refid="FTQ-2", method="A network of tomorrow")],
        TradesHistory={"trades": {TRADE: trade(fee=value, ordertxid=value, misc=value)}, "count": 1},
    )
    for verb in ("deposits", "withdrawals"):
        timed, bare = getattr(exchange, verb)()
        assert (timed.id, timed.network) == ("FTQ-2", "A network of tomorrow")
        assert (bare.id, bare.amount, bare.status) == ("FTQ-1", D("0.5"), "done")
        assert (bare.address, bare.network, bare.txid) == (None, None, None)
    [fill] = exchange.fills("USD", "BTC")
    assert (fill.exchange_order_id, fill.fee, fill.amount) == (None, None, D("0.01"))


@kind("J")
@pytest.mark.parametrize("value", [None, ABSENT], ids=["null", "absent"])
def test_a_pair_may_leave_out_its_rules_and_a_balance_its_holds(played, value):
    bare = pair("XBT/USD", "XXBT", "ZUSD", **dict.fromkeys(["tick_size", "ordermin", "costmin", "status"], value))
    barest = {name: row for name, row in bare.items() if name not in ("pair_decimals", "lot_decimals")}
    balance = without_absent({"balance": "1", "hold_trade": value, "credit": value, "credit_used": value})
    for row, step in ((bare, D("0.1")), (barest, None)):
        exchange = played(AssetPairs={"XXBTZUSD": row}, BalanceEx={"XXBT": balance})
        [market] = exchange.markets()
        assert (market.price_step, market.amount_min, market.cost_min) == (step, None, None)
        assert exchange.funds() == {"BTC": Funds(D(1), D(1), D(0), D(0))}


@kind("J")
@pytest.mark.parametrize("value", [None, ABSENT], ids=["null", "absent"])
def test_a_row_of_the_address_book_may_leave_out_what_kraken_checks_itself(played, value):
    row = without_absent({"address": WALLET, "key": "wallet", "method": value, "verified": value, "tag": value})
    exchange = played(WithdrawAddresses=[row], Withdraw={"refid": "FTQ-1"})
    made = exchange.withdraw(NewWithdrawal("BTC", D("0.1"), WALLET, OURS))
    assert (made.id, made.network) == ("FTQ-1", None)
    with pytest.raises(Refused):
        exchange.withdraw(NewWithdrawal("BTC", D("0.1"), WALLET, OURS, network="Bitcoin Lightning"))


@kind("J")
def test_a_list_of_closed_orders_that_does_not_say_how_long_it_is_is_read_to_its_end(played):
    first = {f"O{number:05}-AAAAA-BBBBBB": order(status="closed") for number in range(50)}
    last = {"OLASTO-AAAAA-BBBBBB": order(status="canceled", cl_ord_id=OURS)}
    exchange = played(
        Time={"unixtime": 1700000000},
        OpenOrders={"open": {}},
        ClosedOrders=({"closed": first}, {"closed": last}, {"closed": {}}),
        TradesHistory={"trades": {TRADE: trade()}},
    )
    states = {state.exchange_order_id: state for state in exchange.orders_since(datetime.now(UTC))}
    assert len(states) == 51
    assert states["OLASTO-AAAAA-BBBBBB"].client_id == OURS
    assert [fill.id for fill in exchange.fills("USD", "BTC")] == [TRADE]


@kind("J")
def test_numbers_may_be_numbers_and_texts(played):
    row = order({"price": 30000.5}, vol=1, vol_exec=0.25, cost=7500, fee=7.5, opentm="1700000000.5", expiretm="0")
    exchange = played(
        OpenOrders={"open": {TXID: row}},
        BalanceEx={"XXBT": {"balance": 1.5, "hold_trade": 0}},
        TradesHistory={"trades": {TRADE: trade(vol=1, price=2.5, fee=0, time="1700000000")}, "count": "1"},
        WithdrawStatus=[transfer(amount=0.5, fee=0, time="1700000000")],
        Ticker={"XXBTZUSD": {"a": [30000.5, 1, 1], "b": [30000, 1, 1]}},
    )
    [state] = exchange.open_orders()
    assert (state.amount, state.price, state.filled, state.average) == (D(1), D("30000.5"), D("0.25"), D(30000))
    assert exchange.balance() == {"BTC": D("1.5")}
    assert [(fill.amount, fill.price) for fill in exchange.fills("USD", "BTC")] == [(D(1), D("2.5"))]
    assert exchange.withdrawals()[0].amount == D("0.5")
    assert exchange.rate("USD", "BTC").buy == D("30000.5")


# What else Kraken tells


@pytest.mark.parametrize(
    ("description", "price", "stop"),
    [
        ({"ordertype": "stop-loss-limit", "price": "25000.0", "price2": "24900.0"}, D(24900), D(25000)),
        ({"ordertype": "take-profit-limit", "price": "35000.0", "price2": "35100.0"}, D(35100), None),
        ({"ordertype": "stop-loss-limit", "price": "25000.0", "price2": "-1.0000%"}, None, D(25000)),
        ({"ordertype": "stop-loss-limit", "price": "25000.0", "price2": "#10.0"}, None, D(25000)),
        ({"ordertype": "stop-loss", "price": "-5.0000%"}, None, None),
        ({"ordertype": "trailing-stop-limit", "price": "+1.0000%", "price2": "-5.0"}, None, None),
        ({"ordertype": "trailing-stop", "price": "+1.0000%"}, None, None),
        ({"ordertype": "stop-loss", "price": "25000.0"}, None, D(25000)),
        ({"ordertype": "take-profit", "price": "35000.0"}, None, None),
        ({"ordertype": "iceberg"}, D(30000), None),
        ({"ordertype": "market", "price": "0"}, None, None),
        ({"ordertype": "settle-position", "price": "0"}, None, None),
    ],
    ids=str,
)
def test_the_price_of_an_order_is_its_limit_and_a_stop_is_told_beside_it(played, description, price, stop):
    state = played(QueryOrders={TXID: order(description)}).order(ref())
    assert (state.price, state.stop) == (price, stop)


@pytest.mark.parametrize(
    ("row", "status", "reason"),
    [
        ({"status": "canceled", "reason": "User requested"}, "partly_filled", "User requested"),
        ({"status": "canceled", "reason": "Insufficient funds", "vol_exec": "0"}, "canceled", "Insufficient funds"),
        ({"status": "expired", "reason": "Order expired", "vol_exec": "0"}, "canceled", "Order expired"),
        ({"status": "expired", "reason": None}, "partly_filled", "expired"),
        ({"status": "closed", "reason": None}, "filled", None),
        ({"status": "open", "reason": "No reason"}, "open", None),
        ({"status": "pending", "vol_exec": "0"}, "open", None),
    ],
)
def test_an_order_that_is_over_says_why(played, row, status, reason):
    state = played(QueryOrders={TXID: order(**row)}).order(ref())
    assert (state.status, state.reason) == (status, reason)


@pytest.mark.parametrize(
    ("prop", "status", "expected"),
    [
        ("canceled", "Pending", "failed"),
        ("return", "Success", "failed"),
        ("canceled", "Failure", "failed"),
        ("cancel-pending", "Pending", "pending"),
        ("cancel-denied", "Success", "done"),
        ("onhold", "Initial", "pending"),
        (None, "Settled", "pending"),
    ],
)
def test_a_transfer_that_was_turned_back_failed_whatever_its_status_says(played, prop, status, expected):
    rows = [transfer(status=status, **{"status-prop": prop})]
    exchange = played(DepositStatus=rows, WithdrawStatus=rows)
    assert [row.status for row in exchange.deposits() + exchange.withdrawals()] == [expected, expected]


def test_a_status_of_tomorrow_decides_nothing_about_a_send(played):
    for status in ("Partial", "Reviewed", None, ABSENT):
        assert played(WithdrawStatus=[transfer(status=status)]).withdrawals()[0].status == "unknown"


@pytest.mark.parametrize("tag", ["1361101127", 1361101127])
def test_a_tag_may_be_a_number(played, tag):
    rows = [{"address": "rLH", "expiretm": "0", "tag": tag}]
    exchange = played(DepositMethods=[{"method": "Ripple XRP"}], DepositAddresses=rows)
    assert exchange.deposit_address("XRP").tag == "1361101127"
    book = [{"address": "rLH", "method": "Ripple XRP", "key": "k", "verified": True, "memo": tag, "tag": None}]
    exchange = played(WithdrawAddresses=book, Withdraw={"refid": "FTQ-1"})
    send = NewWithdrawal("XRP", D(50), "rLH", OURS, tag="1361101127")
    assert exchange.withdraw(send).tag == "1361101127"


def test_the_tag_zero_is_a_tag(played):
    for tag in (0, "0"):
        rows = [{"address": "rLH", "tag": tag}]
        exchange = played(DepositMethods=[{"method": "Ripple XRP"}], DepositAddresses=rows)
        assert exchange.deposit_address("XRP").tag == "0"


@pytest.mark.parametrize(
    ("counts", "filled", "average"),
    [
        ({"vol_exec": "50.00000000", "cost": "49.99998", "price": "30000.0"}, None, D(30000)),
        ({"vol_exec": "50.00000000", "cost": "50.00000", "price": "0.9999"}, None, D("0.9999")),
        ({"vol_exec": "0.00166667", "cost": "50.00010", "price": "30000.0"}, D("0.00166667"), D("30000")),
        ({"vol_exec": "50.00500000", "cost": "50.00000", "price": "0.9999"}, D("50.005"), D("0.9999")),
        ({"vol_exec": "50.00000000", "cost": "50.00000", "price": "1.0000"}, D(50), D(1)),
        ({"vol_exec": "0.00000000", "cost": "0.00000", "price": "0.00000"}, D(0), None),
        ({"vol_exec": "50.00000000", "cost": "50.00000", "price": None}, None, None),
    ],
)
def test_the_volume_of_an_order_by_cost_is_not_taken_for_an_amount_of_the_asset(played, counts, filled, average):
    """With `viqc` it counts the currency, say Kraken's older documents, and clients have seen it count the asset."""
    row = order({"ordertype": "market", "price": "0", "type": "buy"}, status="closed", vol="50", oflags="fciq,viqc")
    state = played(QueryOrders={TXID: row | counts}).order(ref(side="buy"))
    assert (state.status, state.amount, state.filled, state.spent) == ("filled", None, filled, D(counts["cost"]))
    assert average is None if state.average is None else abs(state.average - average) <= average / 10**4


def test_an_order_by_cost_that_was_canceled_after_a_part_is_partly_filled(played):
    row = order(status="canceled", oflags="fciq,viqc", vol="50", vol_exec="20", cost="20.00000", price="30000.0")
    state = played(QueryOrders={TXID: row}).order(ref())
    assert (state.status, state.filled, state.spent) == ("partly_filled", None, D(20))


BY_COST = order({"ordertype": "market"}, status="closed", vol="50", vol_exec="50.00000000", cost="49.99998")
BY_COST |= {"price": "30000.0", "oflags": "fciq,viqc", "trades": [f"T{number:05}" for number in range(25)]}
#: Of the asset 0.001 in all, for 49.99998.
TRADES = {id: trade(vol="0.00004000", cost="2.00000") for id in BY_COST["trades"]} | {
    "T00024": trade(vol="0.00004", cost="1.99998")
}


@pytest.mark.parametrize("verb", ["order", "read_orders", "find"])
def test_the_amount_of_an_order_by_cost_is_what_its_trades_add_up_to(played, verb):
    exchange = played(
        QueryOrders={TXID: BY_COST},
        OpenOrders={"open": {}},
        ClosedOrders={"closed": {TXID: BY_COST | {"cl_ord_id": OURS}}, "count": 1},
        QueryTrades=(dict(list(TRADES.items())[:20]), dict(list(TRADES.items())[20:])),
    )
    state = exchange.read_orders([ref()])[TXID] if verb == "read_orders" else getattr(exchange, verb)(ref())
    assert (state.filled, state.spent, state.average) == (D("0.001"), D("49.99998"), D("49999.98"))
    assert [form["txid"].count("T") for name, form in calls(exchange) if name == "QueryTrades"] == [20, 5]


@pytest.mark.parametrize(
    "answer",
    [
        ABSENT,
        {},
        dict.fromkeys(TRADES),
        {**TRADES, "T00003": trade(vol="0.00004", cost="7")},
        {**TRADES, "T00003": trade(vol=None)},
        {id: trade(vol="0", cost="2") for id in TRADES},
        refusal("EGeneral:Permission denied"),
        Reply.text("<html>", 502, "text/html"),
    ],
    ids=lambda answer: str(answer)[:40],
)
def test_without_all_of_its_trades_the_amount_of_an_order_by_cost_stays_unknown(played, answer):
    state = played(QueryOrders={TXID: BY_COST}, QueryTrades=answer).order(ref())
    assert (state.status, state.filled, state.spent, state.average) == ("filled", None, D("49.99998"), D(30000))


def test_the_trades_of_an_order_are_not_asked_for_in_vain_nor_while_the_key_is_busy(played):
    for row in (BY_COST | {"status": "open"}, BY_COST | {"trades": None}, order(status="closed", trades=["T1"])):
        exchange = played(QueryOrders={TXID: row}, QueryTrades=TRADES)
        exchange.order(ref())
        assert "QueryTrades" not in [name for name, _ in calls(exchange)]
    busy = played(QueryOrders={TXID: BY_COST}, QueryTrades=refusal("EAPI:Rate limit exceeded"))
    with pytest.raises(Busy):
        busy.order(ref())
    assert busy.read_orders([ref()]) == {}, "it is read the next time"


def test_a_cancel_that_is_pending_was_taken(played):
    played(CancelOrder={"count": 0, "pending": True}).cancel(ref())
    played(CancelOrder={"pending": True}).cancel(ref())
    with pytest.raises(Refused) as caught:
        played(CancelOrder={"count": 0}).cancel(ref())
    assert caught.value.code == "order_not_open"


def test_a_right_of_tomorrow_hides_none_of_today(played):
    info = {"permissions": ["query-funds", None, {"name": "modify-trades"}, "fly", "withdraw-funds"]}
    assert played(GetApiKeyInfo=info).permissions() == {"read", "send"}


@pytest.mark.parametrize("iban", [None, "", " ", 123, ["AA88 N84G WOAK NMOI"]])
def test_an_account_that_is_not_named_is_not_told(played, iban):
    info = {"permissions": []} | ({} if iban is None else {"iban": iban})
    with pytest.raises(Unsupported):
        played(GetApiKeyInfo=info).account_id()
    assert played(GetApiKeyInfo={"iban": "AA88 N84G WOAK NMOI"}).account_id() == "AA88 N84G WOAK NMOI"


def test_an_asset_without_deposit_methods_has_no_address(played):
    with pytest.raises(Refused, match="takes no deposits of BTC now") as caught:
        played(DepositMethods=[]).deposit_address("BTC")
    assert caught.value.code == "unknown_asset"


@pytest.mark.parametrize(("ask", "bid"), [("0", "100"), ("101", "0.0"), ("100", "101")])
def test_a_market_without_a_buyer_or_a_seller_is_named_and_may_have_one_later(played, ask, bid):
    with pytest.raises(Refused, match="Kraken has no buyer or no seller for BTC/USD now; try again later") as caught:
        played(AssetPairs=PAIRS, Assets=ASSETS, Ticker={"XXBTZUSD": {"a": [ask], "b": [bid]}}).rate("USD", "BTC")
    assert (caught.value.code, caught.value.retryable) == ("exchange_unavailable", True)
