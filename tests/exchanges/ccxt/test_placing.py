"""Market buys of an amount at exchanges that take a cost, and orders at exchanges that list one market at a time."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from urllib.parse import parse_qs

import pytest

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.capabilities import supports
from bitmm.xwrap.exchanges.ccxt import adapter as ccxt_adapter
from bitmm.xwrap.exchanges.ccxt import exchange_class
from bitmm.xwrap.exchanges.ccxt import orders as ccxt_orders
from bitmm.xwrap.exchanges.ccxt.orders import CcxtOrders
from bitmm.xwrap.exchanges.ccxt.placing import BUYS_BY_COST, placing_call
from bitmm.xwrap.exchanges.errors import Refused, Unknown, Unsupported
from bitmm.xwrap.exchanges.orders import cost_of
from bitmm.xwrap.transport import Transport
from tests.exchanges.ccxt.support import connected, listed, order, ref_of

library = pytest.importorskip("ccxt", reason="ccxt is not installed")

D = Decimal
ASKS = [["100.1", "0.5"], [D("100.25"), D("0.25")], ["101", "2"]]


def bought(amount="0.1", cost=None):
    return order("buy", amount=amount, cost=cost, currency="JPY")


def sent_orders(venue):
    """What was sent to place orders, without what is nothing."""
    placed = [request for request in venue.requests if request.method == "POST" and request.path.endswith("/orders")]
    forms = [request.json() if request.body[:1] == b"{" else parse_qs(request.body.decode()) for request in placed]
    return [{name: value[0] if isinstance(value, list) else value for name, value in form.items()} for form in forms]


@pytest.mark.parametrize(
    ("amount", "cost"), [("0.5", "50.05"), ("0.6", "60.075"), ("0.75", "75.1125"), ("2.75", "277.1125")]
)
def test_an_amount_costs_what_its_asks_add_up_to(amount, cost):
    assert cost_of("X", D(amount), ASKS, unit="BTC") == D(cost)


@pytest.mark.parametrize("asks", [ASKS, []], ids=["too few", "none"])
def test_an_amount_that_the_book_does_not_list_has_no_cost_and_the_words_say_what_to_do(asks):
    listed_amount = "2.75" if asks else "0"
    with pytest.raises(Refused, match=f"lists only {listed_amount} BTC of the 2.76 .*; say the cost, or a price"):
        cost_of("X", D("2.76"), asks, unit="BTC")


def test_a_market_buy_is_sent_as_its_cost_and_says_so(coincheck, transport):
    state = connected(coincheck, transport).place(bought())
    (form,) = sent_orders(coincheck)
    assert (form["order_type"], D(str(form["market_buy_amount"])), form.get("amount")) == ("market_buy", 600020, None)
    assert (state.status, state.amount, state.filled) == ("open", None, None)
    assert state.reason == (
        "sent as a market buy for 600020 JPY: Coincheck (ccxt) takes no amount for one, and 0.1 BTC cost that in its"
        " order book"
    )


def test_what_is_bought_for_the_cost_may_differ_from_the_amount_and_is_read_again(kraken, transport, monkeypatch):
    monkeypatch.setattr(ccxt_orders, "BUYS_BY_COST", {"kraken"})
    exchange, asked = connected(kraken, transport), order("buy", amount="1.01", currency="EUR")
    ask = exchange.rate("EUR", "BTC").buy
    monkeypatch.setattr(type(exchange), "_cost_in_book", lambda *_: ask)
    state = exchange.place(asked)
    (made,) = kraken.orders.values()
    assert made.filled != asked.amount
    assert (state.status, state.filled, state.spent) == ("filled", made.filled, made.spent)
    read = exchange.order(ref_of(asked, state.exchange_order_id))
    assert (read.status, read.filled, read.spent) == ("filled", made.filled, made.spent)
    found = exchange.find(ref_of(asked, None))
    assert (found.status, found.filled) == ("filled", made.filled)


def test_a_cost_that_the_caller_names_is_sent_as_it_is(coincheck, transport):
    state = connected(coincheck, transport).place(bought(amount=None, cost="600010"))
    (form,) = sent_orders(coincheck)
    assert (D(str(form["market_buy_amount"])), state.reason) == (600010, None)
    assert [request.path for request in coincheck.requests if "order_books" in request.path] == []


@pytest.mark.parametrize(
    ("fault", "words"), [("few", "lists only 0.12 BTC of the 0.2"), ("html", "cannot be understood|Coincheck")]
)
def test_a_market_buy_whose_cost_is_not_known_is_refused_and_nothing_is_sent(coincheck, transport, fault, words):
    if fault == "html":
        coincheck.fault("html", path="order_books")
    with pytest.raises(Refused, match=words):
        connected(coincheck, transport).place(bought("0.2"))
    assert not coincheck.ledger()
    assert sent_orders(coincheck) == []


def test_a_market_buy_whose_answer_is_lost_is_unknown(coincheck, transport):
    coincheck.fault("reset_after", path="/exchange/orders")
    with pytest.raises(Unknown):
        connected(coincheck, transport).place(bought())


def test_a_cost_is_rounded_down_to_the_step_of_prices(coincheck, transport):
    """Never more is spent than the book says."""
    exchange = listed(exchange_class("ccxt:gate"), coincheck.url, price="0.01")(
        transport, Credentials("", "key", "secret")
    )
    exchange._instance.ccxt.fetch_order_book = lambda symbol: {"asks": [[D("3.333"), D(9)]], "bids": []}
    precision = exchange._markets().ccxt.markets["BTC/USD"]["precision"]
    asked = order("buy", amount="1.001", currency="USD")
    assert exchange._cost_in_book(asked, "BTC/USD", precision) == D("3.33")


def test_all_that_buy_by_cost_are_exchanges_of_ccxt_with_a_call_for_it():
    for id in BUYS_BY_COST:
        kind = exchange_class(f"ccxt:{id}")
        call = placing_call(id, "BTC/USD", bought(amount=None, cost="1"), {})
        assert call.needed in kind.has, id
        assert "fetchOrderBook" in kind.has, id


ONE_MARKET = [id for id in library.exchanges if getattr(library, id)().has["spot"]]
ONE_MARKET = [id for id in ONE_MARKET if exchange_class(f"ccxt:{id}").lists_one_market]


@pytest.mark.parametrize("id", ONE_MARKET)
def test_where_one_market_is_listed_at_a_time_all_orders_are_neither_listed_nor_canceled(id, transport, coincheck):
    kind = exchange_class(f"ccxt:{id}")
    assert "cancel_all" not in supports(kind)
    assert "open_orders" in supports(kind)
    exchange = listed(kind, coincheck.url, price=D("0.01"))(transport, Credentials())
    with pytest.raises(Unsupported, match="of one market only; nothing was sent"):
        exchange.open_orders()
    assert not coincheck.requests


def test_the_open_orders_of_the_markets_asked_for_are_listed(coincheck, transport, monkeypatch):
    exchange = connected(coincheck, transport)
    monkeypatch.setattr(type(exchange), "lists_one_market", True)
    made = exchange.place(order("sell", currency="JPY", price="7000000"))
    asked = []
    call = CcxtOrders._call
    monkeypatch.setattr(
        CcxtOrders, "_call", lambda me, *given, **named: asked.append(given) or call(me, *given, **named)
    )
    assert [state.exchange_order_id for state in exchange.open_orders_in([("JPY", "BTC")])] == [made.exchange_order_id]
    assert asked == [("fetch_open_orders", "BTC/JPY")]
    assert exchange.open_orders_in([]) == []


def test_a_cancel_that_needs_the_details_of_the_order_gets_them(coincheck, transport, monkeypatch):
    exchange, asked = connected(coincheck, transport), []
    exchange.open_orders()
    monkeypatch.setattr(exchange._instance.ccxt, "id", "coinone")
    monkeypatch.setattr(exchange._instance.ccxt, "cancel_order", lambda *arguments: asked.append(arguments))
    exchange.cancel(ref_of(order("sell", currency="JPY", price="7000000"), "7"))
    assert asked == [("7", "BTC/JPY", {"price": "7000000", "qty": "0.1", "is_ask": 1})]


def test_a_rate_comes_from_the_book_where_the_ticker_is_of_futures_only(coincheck, transport):
    exchange = connected(coincheck, transport)

    def fetch_ticker(symbol):
        raise library.NotSupported("fetchTicker() supports swap markets only")

    exchange._instance.ccxt.fetch_ticker = fetch_ticker
    rate = exchange.rate("JPY", "BTC")
    assert (rate.buy, rate.sell) == (6000100, 6000000)


def test_markets_behind_a_key_are_loaded_with_the_key(coincheck, transport):
    kind = exchange_class("ccxt:alpaca")
    cache = listed(kind, coincheck.url)(transport, Credentials()).context.cache
    cache.invalidate("markets")
    context = listed(kind, coincheck.url)(transport, Credentials()).context
    public, keyed = (
        kind(replace(context, credentials=keys, cache=cache)) for keys in (Credentials(), Credentials("", "K", "S"))
    )
    with pytest.raises(Refused, match="lists its markets for a key only"):
        public.markets()
    assert not coincheck.requests
    with pytest.raises(Refused):
        keyed.markets()
    assert coincheck.requests[0].headers["APCA-API-KEY-ID"] == "K"


def test_where_ccxt_rounds_no_cost_it_is_sent_as_it_is(coincheck, transport):
    """Bithumb counts significant digits, and ccxt cannot round a cost to them."""
    kind = exchange_class("ccxt:bithumb")
    exchange = listed(kind, coincheck.url, price="4", amount="4")(transport, Credentials("", "key", "secret"))
    assert kind.kind().precisionMode == 3
    assert exchange._rounded("cost", "BTC/USD", "3336.333") == "3336.333"


@pytest.mark.parametrize(
    ("odd", "fee"),
    [
        ([], "0.02"),
        (
            [{"price": "1579.5", "qty": "0.1", "commission": "0.03", "commissionAsset": "USDT", "time": 1, "id": 5}],
            "0.05",
        ),
    ],
    ids=["none has", "one has"],
)
def test_fills_in_the_row_of_an_order_that_have_neither_id_nor_time_hide_no_order(odd, fee, coincheck, transport):
    """Coins.ph tells them so when it takes an order; the sample is that of ccxt 4.5.90."""
    fills = [
        {"price": "1579.51", "qty": "0.001", "commission": "0.01", "commissionAsset": "USDT", "tradeId": None},
        {"price": "1579.52", "qty": "0.0005", "commission": "0.01", "commissionAsset": "USDT", "tradeId": None},
    ]
    row = {
        "symbol": "BTCUSD",
        "orderId": 7,
        "price": "2000",
        "origQty": "0.0015",
        "executedQty": "0.0015",
        "fills": fills + odd,
    }
    row |= {"cummulativeQuoteQty": "2.36", "status": "FILLED", "type": "LIMIT", "side": "BUY"}
    exchange = listed(exchange_class("ccxt:coinsph"), coincheck.url, price="0.01", amount="0.0001")(
        transport, Credentials("", "key", "secret")
    )
    ccxt = exchange._instance.ccxt
    ccxt.set_markets_from_exchange(exchange._markets().ccxt)
    ccxt.privatePostOpenapiV1Order = lambda params: row
    state = exchange.place(order("buy", amount="0.0015", price="2000", currency="USD"))
    assert (state.exchange_order_id, state.status, state.filled) == ("7", "filled", D("0.0015"))
    assert (state.fee, state.fee_currency) == (D(fee), "USDT")


def test_lbank_is_asked_for_its_funds_by_the_call_whose_answer_ccxt_reads(coincheck, transport):
    exchange = listed(exchange_class("ccxt:lbank"), coincheck.url)(transport, Credentials("", "key", "s" * 32))
    balances = [{"asset": "btc", "free": "10.0", "locked": "2.5"}]
    exchange._instance.ccxt.spotPrivatePostSupplementUserInfoAccount = lambda: {"data": {"balances": balances}}
    assert exchange.funds()["BTC"].total == D("12.5")


def test_no_list_of_open_orders_is_refused_for_what_it_costs_at_the_exchange():
    for id in ("aster", "binance"):
        exchange = exchange_class(f"ccxt:{id}")(ExchangeContext(Transport(), Credentials(), url="http://127.0.0.1:1"))
        options = exchange._instance.ccxt.options
        assert options["warnOnFetchOpenOrdersWithoutSymbol"] is False
        assert options["fetchOpenOrders"]["warnIfNoSymbol"] is False


@pytest.mark.parametrize("id", ["bybit", "bybitid", "hyperliquid", "okx"])
def test_funds_and_open_orders_are_those_of_the_spot_market(id):
    """The class asks for those of futures by default."""
    exchange = exchange_class(f"ccxt:{id}")(ExchangeContext(Transport(), Credentials(), url="http://127.0.0.1:1"))
    assert exchange._instance.ccxt.handle_market_type_and_params("fetchOpenOrders")[0] == "spot"


@pytest.mark.parametrize(("side", "sent"), [("buy", "6000100"), ("sell", "6000000")])
def test_a_market_order_that_is_bounded_by_a_price_is_given_the_best_one(side, sent, coincheck, transport, monkeypatch):
    exchange, asked = connected(coincheck, transport), []
    exchange.open_orders()
    monkeypatch.setattr(ccxt_adapter, "BOUNDED_BY_PRICE", {"coincheck"})
    monkeypatch.setattr(ccxt_orders, "BUYS_BY_COST", set())
    ticker = {"bid": "6000000", "ask": "6000100"}
    exchange._instance.ccxt.fetch_ticker = lambda symbol: ticker
    exchange._instance.ccxt.create_order = lambda *given: asked.append(given) or {"id": "7", "status": "closed"}
    exchange.place(order(side, currency="JPY"))
    exchange.place(order(side, currency="JPY", price="5000000"))
    assert [given[1:5] for given in asked] == [("market", side, "0.1", sent), ("limit", side, "0.1", "5000000")]


@pytest.mark.parametrize(
    ("id", "lacking"),
    [("derive", {"place"}), ("lighter", {"place", "order", "open_orders", "cancel", "cancel_all"}), ("nado", set())],
)
def test_what_a_class_cannot_do_without_more_is_not_claimed(id, lacking):
    kind = exchange_class(f"ccxt:{id}")
    assert not lacking & set(supports(kind))
    assert {"rate", "funds"} <= set(supports(kind))
    assert ("createMarketOrder" in kind.has) == (id != "nado")
