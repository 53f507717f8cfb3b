"""Kraken's adapter, over real HTTP against the local Kraken: the contract, its own ways, every fault on the line."""

from __future__ import annotations

import dataclasses
import threading
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from urllib.parse import parse_qs

import pytest

from bitmm.xwrap.exchanges import orders
from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.cache import TTLCache
from bitmm.xwrap.exchanges.errors import Busy, ExchangeError, Refused, Unknown
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.exchanges.kraken.names import assets_from_rows, pairs_from_rows
from bitmm.xwrap.exchanges.models import Fees, NewOrder, NewWithdrawal, OrderRef
from bitmm.xwrap.exchanges.orders import poll
from bitmm.xwrap.testing.exchange_contract import ExchangeContract
from bitmm.xwrap.testing.exchanges.kraken import ASSETS, PAIRS, KrakenVenue
from bitmm.xwrap.testing.exchanges.venue import FAULTS, Reply
from bitmm.xwrap.transport import Transport
from tests.support.exchanges import connect, trade_in_a_harsh_decimal_context

WALLET = "bc1qxdsh4sdd29h6ldehz0se5c61asq8cgwyjf2y3z"
TAGGED = "rLHzPsX3oXdzU2qP17kHCH2G4csZv1rAJh"


EXCHANGE, VENUE = Kraken, KrakenVenue


@pytest.fixture
def venue(venue):
    venue.deposit("BTC", Decimal("0.5"), network="Bitcoin")
    return venue


def order(side="buy", amount="0.1", price=None, cost=None, currency="EUR", asset="BTC"):
    amount, price, cost = (None if value is None else Decimal(value) for value in (amount, price, cost))
    return NewOrder(side, currency, asset, uuid.uuid4().hex, amount=amount, price=price, cost=cost)


def send(amount="0.1", address=WALLET, asset="BTC", **more):
    return NewWithdrawal(asset, Decimal(amount), address, uuid.uuid4().hex, **more)


def ref(order, state=None):
    placed = None if state is None else state.exchange_order_id
    return OrderRef(order.side, order.currency, order.asset, order.client_id, placed, created=datetime.now(UTC))


def calls(venue):
    """The methods that were asked for, in order; forgets them."""
    made = [request.path.rpartition("/")[2] for request in venue.requests]
    venue.requests.clear()
    return made


def refused(code, act, *arguments):
    with pytest.raises(Refused) as caught:
        act(*arguments)
    assert caught.value.code == code
    return caught.value


class TestTheContract(ExchangeContract):
    conditions = frozenset({"post_only", "GTC", "IOC", "GTD", "stop"})
    send_to = WALLET


class TestTheContractOfAnotherPair(ExchangeContract):
    conditions = frozenset({"post_only", "GTC", "IOC", "GTD", "stop"})
    currency, asset = "BTC", "ETH"
    amount, cost = Decimal("0.5"), Decimal("0.01")
    send_to, send_tag = None, None

    test_a_withdrawal_is_sent_once_and_listed = None
    test_a_withdrawal_of_more_than_is_there_is_refused = None
    test_a_withdrawal_that_is_delivered_twice_is_not_called_refused = None


def test_an_order_costs_one_request_before_it_the_first_time_and_none_after(exchange, venue):
    exchange.place(order())
    assert calls(venue) == ["AssetPairs", "AddOrder", "QueryOrders"]
    exchange.place(order())
    assert calls(venue) == ["AddOrder", "QueryOrders"]
    exchange.place(order("sell", price="60000"))
    assert calls(venue) == ["AddOrder"]


def test_what_is_listed_is_shared_by_all_registrations_of_a_server(venue, transport):
    cache = TTLCache()
    exchange = connect(Kraken, venue, transport, cache=cache)
    exchange.rate("EUR", "BTC")
    exchange.funds()
    calls(venue)
    other = connect(Kraken, venue, transport, cache=cache)
    other.markets()
    other.rate("USD", "BTC")
    other.funds()
    assert calls(venue) == ["Ticker", "BalanceEx"]


LIMIT = {"type": "sell", "ordertype": "limit", "volume": "0.10", "price": "60000.0", "oflags": "fciq"}


@pytest.mark.parametrize(
    ("placed", "form"),
    [
        (order(), {"type": "buy", "ordertype": "market", "volume": "0.1", "oflags": "fciq"}),
        (order(cost="50", amount=None), {"type": "buy", "ordertype": "market", "volume": "50", "oflags": "fciq,viqc"}),
        (
            order("sell", "0.10", "60000.0"),
            {"type": "sell", "ordertype": "limit", "volume": "0.10", "price": "60000.0", "oflags": "fciq"},
        ),
        (
            replace(order("sell", "0.10", "60000.0"), post_only=True, time_in_force="GTC"),
            LIMIT | {"oflags": "fciq,post", "timeinforce": "GTC"},
        ),
        (replace(order("sell", "0.10", "60000.0"), time_in_force="IOC"), LIMIT | {"timeinforce": "IOC"}),
        (
            replace(order("sell", "0.10", "60000.0"), time_in_force="GTD", expires=datetime(2099, 1, 1, tzinfo=UTC)),
            LIMIT | {"timeinforce": "GTD", "expiretm": "4070908800"},
        ),
        (
            replace(order("sell", "0.10"), stop=Decimal("25000.0")),
            {"type": "sell", "ordertype": "stop-loss", "volume": "0.10", "price": "25000.0", "oflags": "fciq"},
        ),
        (
            replace(order("buy", "0.10", "31000.0"), stop=Decimal("30000.0"), time_in_force="GTC"),
            {"type": "buy", "ordertype": "stop-loss-limit", "volume": "0.10", "price": "30000.0", "price2": "31000.0"}
            | {"oflags": "fciq", "timeinforce": "GTC"},
        ),
    ],
)
def test_each_order_carries_our_id_and_asks_for_the_fee_in_the_currency(exchange, venue, placed, form):
    exchange.place(placed)
    sent = next(request.form for request in venue.requests if request.path.endswith("AddOrder"))
    del sent["nonce"]
    assert sent == {"pair": "XXBTZEUR", **form, "cl_ord_id": placed.client_id}


def test_nonces_come_from_the_server(venue, transport):
    numbers = iter(range(7, 100))
    exchange = connect(Kraken, venue, transport, nonce=lambda: next(numbers))
    exchange.permissions()
    exchange.permissions()
    assert [request.form["nonce"] for request in venue.requests] == ["7", "8"]


def test_a_market_order_is_read_until_it_is_closed(exchange, venue):
    venue.closing_reads = 3
    state = exchange.place(order())
    assert (state.status, state.filled, state.spent) == ("filled", Decimal("0.1"), Decimal("2785.01"))
    assert calls(venue).count("QueryOrders") == 4


@pytest.mark.parametrize("counts_currency", [False, True])
def test_a_buy_by_cost_tells_its_exact_amount_whatever_its_volume_counts(exchange, venue, counts_currency):
    venue.viqc_counts_currency = counts_currency
    state = exchange.place(order(amount=None, cost="50000"))
    executed = venue.orders[state.exchange_order_id]
    assert len(executed.fills) > 1
    assert (state.status, state.amount, state.filled, state.spent) == ("filled", None, executed.filled, executed.spent)
    assert calls(venue).count("QueryTrades") == counts_currency


@pytest.mark.parametrize(
    ("side", "price", "stop", "quote", "average"),
    [
        ("sell", None, "25000.0", ("24990.1", "24990.0"), "24990"),
        ("sell", "24900.0", "25000.0", ("24990.1", "24990.0"), "24990"),
        ("buy", None, "31000.0", ("31010.0", "31009.0"), "31010"),
        ("buy", "31500.0", "31000.0", ("31010.0", "31009.0"), "31010"),
    ],
)
def test_a_stop_begins_when_the_price_has_come_to_it(exchange, venue, side, price, stop, quote, average):
    placed = replace(order(side, "0.1", price), stop=Decimal(stop))
    state = exchange.place(placed)
    assert (state.status, state.stop, state.filled) == ("open", Decimal(stop), 0)
    venue.set_best_prices("BTC/EUR", *map(Decimal, quote))
    state = exchange.find(replace(ref(placed), stop=placed.stop))
    assert (state.status, state.filled, state.average) == ("filled", Decimal("0.1"), Decimal(average))
    assert (state.price, state.stop) == (placed.price, placed.stop)


def test_a_stop_with_a_limit_rests_when_the_price_has_passed_its_limit(exchange, venue):
    placed = replace(order("sell", "0.1", "24900.0"), stop=Decimal("25000.0"))
    exchange.place(placed)
    venue.set_best_prices("BTC/EUR", Decimal("24800.1"), Decimal("24800.0"))
    assert exchange.find(ref(placed)).status == "open"
    venue.set_best_prices("BTC/EUR", Decimal("24900.1"), Decimal("24900.0"))
    assert exchange.find(ref(placed)).status == "filled"


@pytest.mark.parametrize("ordertype", ["limit", "stop-loss-limit"])
def test_an_order_without_the_stop_that_was_asked_for_is_not_believed(exchange, venue, monkeypatch, ordertype):
    """It is a limit order, or it has another stop."""
    add, other = venue.private_AddOrder, {"ordertype": ordertype, "price": "24500.0"}
    if ordertype == "stop-loss-limit":
        other["price2"] = "24000.0"
    monkeypatch.setattr(venue, "private_AddOrder", lambda account, given: add(account, {**given, **other}))
    placed = replace(order("sell", "0.1"), stop=Decimal("25000.0"))
    with pytest.raises(Unknown, match="another stop"):
        exchange.place(placed)
    assert len(venue.ledger()) == 1
    refused("exchange_unavailable", exchange.find, replace(ref(placed), stop=placed.stop))


def test_a_stop_that_cannot_be_looked_at_is_open(exchange, venue):
    venue.fault("maintenance", path="QueryOrders")
    placed = replace(order("sell", "0.1"), stop=Decimal("25000.0"))
    state = exchange.place(placed)
    assert (state.status, state.stop) == ("open", placed.stop)


def test_a_stop_finer_than_the_prices_of_its_market_is_refused(exchange, venue):
    error = refused("price_step", exchange.place, replace(order("sell", "0.1"), stop=Decimal("25000.05")))
    assert (error.details["field"], error.details["nearest"]) == ("stop", "25000.0")
    assert venue.ledger() == []


def test_a_market_order_that_the_book_cannot_fill_ends_partly_filled(exchange):
    state = exchange.place(order("sell", "20"))
    assert (state.status, state.amount, state.filled) == ("partly_filled", Decimal(20), Decimal(8))


def test_a_limit_order_that_is_filled_in_part_stays_open_with_its_fills(exchange):
    placed = order("buy", "3", "27850.1")
    state = exchange.order(ref(placed, exchange.place(placed)))
    assert (state.status, state.filled, state.amount) == ("open", Decimal(1), Decimal(3))
    assert state.average == Decimal("27850.1")
    exchange.cancel(ref(placed, state))
    assert exchange.order(ref(placed, state)).status == "partly_filled"


def test_a_resting_order_is_filled_when_the_market_comes_to_it(exchange, venue):
    placed = order("sell", "1", "28000")
    state = exchange.place(placed)
    venue.set_best_prices("BTC/EUR", ask=Decimal(28010), bid=Decimal(28005))
    told = exchange.order(ref(placed, state))
    assert (told.status, told.average, told.fee) == ("filled", Decimal(28000), Decimal("72.8"))
    refused("order_not_open", exchange.cancel, ref(placed, state))


@pytest.mark.parametrize(
    ("placed", "code", "step", "nearest"),
    [
        (order(amount="0.100000004"), "amount_step", "0.00000001", "0.10000000"),
        (order(amount="0.100000006"), "amount_step", "0.00000001", "0.10000001"),
        (order(amount="0.000000001"), "amount_step", "0.00000001", "0.00000001"),
        (order(price="27000.14"), "price_step", "0.1", "27000.1"),
    ],
)
def test_nothing_is_rounded_and_the_nearest_allowed_value_is_told(exchange, venue, ledger, placed, code, step, nearest):
    refusal = refused(code, exchange.place, placed)
    field = code.removesuffix("_step")
    value = f"{getattr(placed, field):f}"
    assert refusal.details == {"field": field, "value": value, "rule": code, "limit": step, "nearest": nearest}
    assert nearest in str(refusal)
    assert "AddOrder" not in calls(venue)
    assert not ledger()


@pytest.mark.parametrize(
    ("placed", "code", "words"),
    [
        (order(amount="0.00001"), "amount_min", "0.00001 is less than 0.0001"),
        (order(amount="0.0001", price="1"), "cost_min", "0.0001 is less than 0.5"),
        (order(amount=None, cost="0.49"), "cost_min", "0.49 is less than 0.5"),
        (order(amount="50", price="90000"), "insufficient_funds", "EOrder:Insufficient funds"),
        (
            order(cost="1000", amount=None, side="sell"),
            "unsupported",
            "Kraken takes no sells for a cost; give the amount",
        ),
        (order(cost="1000", amount=None, price="1"), "unsupported", "a cost is for market orders only"),
        (order(amount=None), "invalid_amount", "an order has either an amount or a cost"),
        (order(asset="DOGE"), "unknown_market", "Kraken has no market DOGE/EUR; DOGE is not traded there"),
        (order(asset="ETH"), "unknown_market", "Kraken has no market ETH/EUR; ETH is traded there in BTC"),
        (order(currency="BTC", asset="EUR"), "unknown_market", "EUR: the currency is EUR, and the asset is BTC"),
    ],
)
def test_an_order_that_cannot_be_is_refused_in_plain_words(exchange, ledger, placed, code, words):
    assert words in str(refused(code, exchange.place, placed))
    assert not ledger()


def test_rules_that_changed_since_they_were_listed_are_told_in_krakens_words(exchange, venue, ledger):
    venue.pairs["BTC/EUR"].amount_min = Decimal(1)
    assert str(refused("invalid_amount", exchange.place, order())) == "EOrder:Order minimum not met"
    venue.pairs["BTC/EUR"].price_places = 0
    assert "EOrder:Invalid price" in str(refused("invalid_price", exchange.place, order("sell", "1", "60000.5")))
    assert not ledger()


def test_a_market_that_is_closed_for_orders_is_refused(exchange, venue, ledger):
    venue.status = "cancel_only"
    assert refused("exchange_unavailable", exchange.place, order()).retryable
    assert not ledger()


def test_the_same_client_id_is_not_taken_twice_while_the_order_is_open(exchange, ledger):
    placed = order("sell", price="60000")
    state = exchange.place(placed)
    with pytest.raises(Unknown) as caught:
        exchange.place(placed)
    assert caught.value.refusal.code == "invalid_request"
    assert len(ledger()) == 1
    assert exchange.find(ref(placed)).exchange_order_id == state.exchange_order_id


def test_an_order_without_an_exchange_id_can_be_canceled_by_ours(exchange):
    placed = order("sell", price="60000")
    exchange.place(placed)
    exchange.cancel(ref(placed))
    assert exchange.find(ref(placed)).status == "canceled"


def test_an_unknown_order_is_not_found(exchange):
    lost = dataclasses.replace(ref(order()), exchange_order_id="OAAAAA-BBBBB-CCCCCC")
    refused("order_not_found", exchange.order, lost)
    refused("order_not_open", exchange.cancel, lost)


def test_fills_of_another_pair_do_not_hide_those_of_this_one(exchange, venue):
    exchange.place(order())
    for _ in range(60):
        exchange.place(order(currency="USD", amount="0.001"))
    calls(venue)
    assert [fill.amount for fill in exchange.fills("EUR", "BTC")] == [Decimal("0.1")]
    assert calls(venue) == ["TradesHistory", "TradesHistory"]


def test_threads_share_one_registration(exchange, ledger):
    """Calls of one key are to be serialised by who has the key; with a lock around each none is lost or doubled."""
    lock, states = threading.Lock(), []

    def trade():
        with lock:
            states.append(exchange.place(order(amount="0.01")))

    threads = [threading.Thread(target=trade) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {state.status for state in states} == {"filled"}
    assert len(ledger()) == 8


def lying(venue, method, change):
    """Let `method` answer something else than the truth."""
    honest = getattr(venue, f"private_{method}")
    setattr(venue, f"private_{method}", lambda account, given: change(honest(account, given)))


def test_another_orders_state_is_not_believed(exchange, venue):
    one, other = order("sell", price="60000"), order("buy", price="100")
    state = exchange.place(one)
    wrong = exchange.place(other)
    lying(
        venue, "QueryOrders", lambda rows: {state.exchange_order_id: venue._view(venue.orders[wrong.exchange_order_id])}
    )
    refused("exchange_unavailable", exchange.order, ref(one, state))
    nameless = venue._view(venue.orders[wrong.exchange_order_id])
    del nameless["cl_ord_id"]
    lying(venue, "QueryOrders", lambda rows: {state.exchange_order_id: nameless})
    refused("exchange_unavailable", exchange.order, ref(one, state))
    lying(venue, "QueryOrders", lambda rows: {})
    refused("exchange_unavailable", exchange.order, ref(one, state))


@pytest.mark.parametrize("answer", [{}, {"txid": []}, {"txid": ["OA", "OB"]}, {"txid": [None]}, {"txid": 7}, [], None])
def test_an_accepted_order_without_one_id_is_unknown_and_not_sent_again(exchange, venue, ledger, answer):
    lying(venue, "AddOrder", lambda result: answer)
    with pytest.raises(Unknown):
        exchange.place(order())
    assert len(ledger()) == 1


@pytest.mark.parametrize("answer", [{}, {"refid": None}, {"refid": ""}, {"refid": 7}, [], None, "FT", 7])
def test_a_taken_send_without_an_id_is_unknown_and_not_sent_again(exchange, venue, ledger, answer):
    lying(venue, "Withdraw", lambda result: answer)
    with pytest.raises(Unknown):
        exchange.withdraw(send())
    assert len(ledger()) == 1


@pytest.mark.parametrize("answer", [{}, {"count": None}, {"count": "many"}, {"count": True}, [], None, 7])
def test_a_cancel_that_cannot_be_understood_is_unknown(exchange, venue, answer):
    placed = order("sell", price="60000")
    state = exchange.place(placed)
    for method in ("CancelOrder", "CancelAll"):
        lying(venue, method, lambda result: answer)
    with pytest.raises(Unknown):
        exchange.cancel(ref(placed, state))
    with pytest.raises(Unknown):
        exchange.cancel_all()


def test_a_cancel_that_canceled_nothing_is_refused(exchange, venue):
    lying(venue, "CancelOrder", lambda result: {"count": 0})
    placed = order("sell", price="60000")
    refused("order_not_open", exchange.cancel, ref(placed, exchange.place(placed)))


def test_an_accepted_market_order_that_cannot_be_read_is_open_and_nothing_is_invented(exchange, venue, monkeypatch):
    monkeypatch.setattr(orders, "poll", partial(poll, seconds=0.3))
    lying(venue, "QueryOrders", lambda rows: {"nonsense": True})
    state = exchange.place(order())
    assert (state.status, state.filled, state.average, state.fee) == ("open", None, None, None)
    assert state.exchange_order_id in venue.orders


def test_reading_an_accepted_market_order_stops_at_a_rate_limit(exchange, venue):
    venue.fault("rate_limit", times=9, path="QueryOrders")
    state = exchange.place(order())
    assert state.status == "open"
    assert calls(venue).count("QueryOrders") == 1


def test_orders_that_do_not_carry_our_id_are_not_taken_for_ours(exchange, venue):
    placed = order("sell", price="60000")
    exchange.place(placed)
    exchange.place(order("sell", price="61000"))
    venue._selected, honest = (lambda account, given, status: honest(account, {}, status)), venue._selected
    refused("exchange_unavailable", exchange.find, ref(placed))


@pytest.mark.parametrize(
    "row",
    [
        {"balance": "NaN"},
        {"balance": True},
        {"hold_trade": "1"},
        "1",
        None,
    ],
)
def test_balances_that_cannot_be_are_not_believed(exchange, venue, row):
    lying(venue, "BalanceEx", lambda rows: {"XXBT": row})
    refused("exchange_unavailable", exchange.funds)


def test_a_bid_above_the_ask_is_not_believed(exchange, venue):
    venue.pairs["BTC/EUR"].bids = [(Decimal(90000), Decimal(1))]
    refused("exchange_unavailable", exchange.rate, "EUR", "BTC")


def test_a_pairs_names_are_those_of_its_assets():
    names = assets_from_rows(ASSETS)
    pairs = {(names[row["quote"]], names[row["base"]]): key for key, row in PAIRS.items()}
    assert {name: pair.key for name, pair in pairs_from_rows(PAIRS).listed().items()} == pairs
    assert pairs == {("BTC", "ETH"): "XETHXXBT", ("USD", "BTC"): "XXBTZUSD", ("EUR", "BTC"): "XXBTZEUR"}


def test_the_programs_decimal_context_changes_nothing(exchange, venue):
    got = trade_in_a_harsh_decimal_context(
        exchange, "EUR", order(amount="0.12345678"), too_fine=order(amount="12345.123456789")
    )
    average = Decimal("3438.2837") / Decimal("0.12345678")
    assert (got.state.filled, got.state.average) == (Decimal("0.12345678"), average)
    assert got.funds["BTC"].available == Decimal("100.62345678")
    assert [fill.amount for fill in got.fills] == [Decimal("0.12345678")]
    assert got.rate.buy == Decimal("27850.1")
    assert (got.refusal.code, got.refusal.details["nearest"]) == ("amount_step", "12345.12345679")


def test_lines_with_a_suffix_stay_apart_but_rewards_and_credit_count_as_available(exchange, venue):
    rows = {
        "XXBT": {"balance": "1.5", "hold_trade": "0.5"},
        "XBT.F": {"balance": "2.0", "hold_trade": "0.0"},
        "ZEUR": {"balance": "10", "credit": "5", "credit_used": "2", "hold_trade": "1"},
        "EUR.HOLD": {"balance": "3"},
        "ETH2.S": {"balance": "4"},
        "XXDG": {"balance": "7"},
        "KFEE": {"balance": "99"},
    }
    lying(venue, "BalanceEx", lambda _: rows)
    funds = {name: (line.total, line.available, line.held) for name, line in exchange.funds().items()}
    assert funds == {
        "BTC": (Decimal("3.5"), Decimal("3.0"), Decimal("0.5")),
        "EUR": (Decimal(10), Decimal(12), Decimal(1)),
        "EUR.HOLD": (Decimal(3), Decimal(0), Decimal(3)),
        "ETH2.S": (Decimal(4), Decimal(0), Decimal(0)),
        "DOGE": (Decimal(7), Decimal(7), Decimal(0)),
    }


def test_the_first_address_is_made_and_then_it_stays(exchange, venue):
    first = exchange.deposit_address("XRP")
    assert first.tag
    assert first.network == "Ripple XRP"
    # The names, which are kept, and whether deposits are on now, which is not.
    assert calls(venue) == ["Assets", "Assets", "DepositMethods", "DepositAddresses", "DepositAddresses"]
    assert exchange.deposit_address("XRP") == first
    assert calls(venue) == ["Assets", "DepositMethods", "DepositAddresses"]


def test_a_network_is_never_guessed(exchange):
    assert "Tether USD (TRC20)" in str(refused("network_required", exchange.deposit_address, "USDT"))
    refused("network_required", exchange.deposit_address, "USDT", "Dogecoin")
    assert exchange.deposit_address("USDT", "Tether USD (SPL)").network == "Tether USD (SPL)"
    assert exchange.deposit_address("BTC").network == "Bitcoin"


def test_money_has_no_address(exchange):
    refused("unknown_asset", exchange.deposit_address, "EUR")


@pytest.mark.parametrize(
    "asked",
    [
        send(address="bc1qnobody"),
        send(address=WALLET.upper()),
        send(address="bc1q-not-confirmed-yet"),
        send(network="Bitcoin Lightning"),
        send(tag="7"),
        send("50", TAGGED, "XRP"),
        send("50", TAGGED, "XRP", tag="1"),
        send("50", WALLET, "XRP"),
    ],
    ids=lambda asked: f"{asked.asset} {asked.address} {asked.tag} {asked.network}",
)
def test_a_send_goes_only_where_krakens_address_book_says(exchange, venue, ledger, asked):
    assert "register it at Kraken first" in str(refused("address_not_registered", exchange.withdraw, asked))
    assert "Withdraw" not in calls(venue)
    assert not ledger()


def test_a_send_names_the_address_and_its_key_and_keeps_the_tag(exchange, venue, ledger):
    made = exchange.withdraw(send("50", TAGGED, "XRP", tag="1361101127", network="ripple xrp"))
    form = venue.requests[-1].form
    assert {name: form[name] for name in form if name != "nonce"} == {
        "asset": "XXRP",
        "key": "xrp-exchange",
        "address": TAGGED,
        "amount": "50",
    }
    assert (made.tag, made.network, made.status) == ("1361101127", "Ripple XRP", "pending")
    assert [row["order_id"] for row in ledger()] == [made.id]


def test_a_send_goes_out_in_the_spelling_of_the_address_book(exchange, venue, ledger):
    checksummed = "0xAb5801a7D398351b8bE11C439e05C5B3259aeC9B"
    venue.withdraw_addresses.append(venue.withdraw_addresses[0] | {"address": checksummed, "key": "eth"})
    exchange.withdraw(send(address=checksummed.lower()))
    assert [venue.requests[-1].form[name] for name in ("key", "address")] == ["eth", checksummed]
    assert len(ledger()) == 1


def test_an_address_on_two_networks_needs_the_network(exchange, venue, ledger):
    venue.withdraw_addresses.append(venue.withdraw_addresses[0] | {"method": "Bitcoin Lightning", "key": "ln"})
    refused("network_required", exchange.withdraw, send())
    assert exchange.withdraw(send(network="Bitcoin")).network == "Bitcoin"
    assert len(ledger()) == 1


def test_a_send_is_listed_with_how_it_went(exchange, venue):
    first, second, third = (exchange.withdraw(send()) for _ in range(3))
    venue.withdrawals[first.id].status = "done"
    venue.withdrawals[first.id].txid = "ab" * 32
    exchange.api.private("WithdrawCancel", {"asset": "XBT", "refid": second.id})
    told = {row.id: row for row in exchange.withdrawals("BTC")}
    assert [told[made.id].status for made in (first, second, third)] == ["done", "failed", "pending"]
    assert told[first.id].txid == "ab" * 32
    assert (told[first.id].amount, told[first.id].fee) == (Decimal("0.0998"), Decimal("0.0002"))
    assert exchange.withdrawals("XRP") == []


def test_deposits_tell_when_and_where(exchange, venue):
    venue.clock = lambda: 1_700_000_000.0
    made = venue.deposit("XRP", Decimal(5), network="Ripple XRP")
    [told] = exchange.deposits("XRP")
    assert (told.id, told.amount, told.status, told.network) == (made.id, Decimal(5), "done", "Ripple XRP")
    assert told.time == datetime.fromtimestamp(1_700_000_000, UTC)
    assert [row.asset for row in exchange.deposits()] == ["BTC", "XRP"], "newest first"


@pytest.mark.parametrize(
    ("rights", "permissions"),
    [
        ({"query-funds"}, {"read"}),
        ({"query-funds", "modify-trades", "close-trades"}, {"read", "trade"}),
        ({"withdraw-funds", "query-ledger"}, {"send"}),
        (set(), set()),
    ],
)
def test_permissions_are_what_the_key_may_do(exchange, venue, rights, permissions):
    venue.account.permissions = rights
    assert exchange.permissions() == permissions


def test_a_missing_right_is_permission_denied_and_nothing_is_executed(exchange, venue, ledger):
    venue.account.permissions = set()
    for act, argument in ((exchange.place, order()), (exchange.withdraw, send()), (exchange.cancel, ref(order()))):
        refused("permission_denied", act, argument)
    assert not ledger()


def test_wrong_keys_are_refused(venue, transport):
    for key, secret in ((venue.key, "AAAA"), ("another", venue.secret)):
        exchange = Kraken(ExchangeContext(transport, Credentials(apikey=key, apisecret=secret), url=venue.url))
        refused("exchange_key_refused", exchange.permissions)


def test_a_secret_that_does_not_decode_is_refused_at_once(transport):
    keys = Credentials(apikey="key", apisecret="not base64")
    refused("invalid_request", Kraken, ExchangeContext(transport, keys))


UNKNOWN, UNAVAILABLE, BUSY = "outcome_unknown", "exchange_unavailable", "rate_limited"
#: Fault -> the kind of failure, its code, and how many orders or sends really were executed.
OUTCOMES = {
    "executed_but_timeout": (Unknown, UNKNOWN, 1),
    "refused": (Refused, UNAVAILABLE, 0),
    "reset_before": (Unknown, UNKNOWN, 0),
    "reset_after": (Unknown, UNKNOWN, 1),
    "drip": (Unknown, UNKNOWN, 1),
    "cut": (Unknown, UNKNOWN, 1),
    "html": (Unknown, UNKNOWN, 0),
    "html_after": (Unknown, UNKNOWN, 1),
    "rate_limit": (Busy, BUSY, 0),
    "nonce": (Unknown, UNKNOWN, 0),
    "maintenance": (Unknown, UNKNOWN, 0),
}


def test_every_fault_of_the_venues_is_tried():
    assert set(OUTCOMES) | {"slow", "delivered_twice", "swapped"} == set(FAULTS)


@pytest.mark.parametrize("fault", OUTCOMES)
@pytest.mark.parametrize("verb", ["buy", "limit", "withdraw"])
def test_a_fault_tells_the_truth_about_what_may_have_been_executed(venue, ledger, fault, verb):
    kind, code, executed = OUTCOMES[fault]
    hasty = Transport(timeout=0.5)
    exchange = connect(Kraken, venue, hasty)
    exchange.markets(), exchange.funds()
    act, argument, path = {
        "buy": (exchange.place, order(), "AddOrder"),
        "limit": (exchange.place, order("sell", price="60000"), "AddOrder"),
        "withdraw": (exchange.withdraw, send(), "Withdraw"),
    }[verb]
    venue.fault(fault, path=path, seconds=30 if fault in ("executed_but_timeout", "refused") else 0.05)
    with pytest.raises(ExchangeError) as caught:
        act(argument)
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert len(ledger()) == executed
    assert venue.secret[:8] not in str(caught.value)
    venue.heal()
    if verb != "withdraw":
        found = exchange.find(ref(argument))
        assert (found is not None) == bool(executed), "the truth can be looked up by our id"
        assert len(ledger()) == executed
    hasty.close()


@pytest.mark.parametrize("verb", ["buy", "withdraw"])
def test_a_slow_answer_is_waited_for(venue, exchange, ledger, verb):
    act, argument = {"buy": (exchange.place, order()), "withdraw": (exchange.withdraw, send())}[verb]
    venue.fault("slow", times=9, seconds=0.05)
    assert act(argument).status in ("filled", "pending")
    assert len(ledger()) == 1


@pytest.mark.parametrize("fault", sorted(set(OUTCOMES) - {"rate_limit", "nonce"}))
def test_a_read_that_fails_is_unavailable_and_can_be_repeated(venue, fault):
    hasty = Transport(timeout=0.5)
    exchange = connect(Kraken, venue, hasty)
    exchange.funds()
    venue.fault(fault, path="BalanceEx", seconds=30 if fault in ("executed_but_timeout", "refused") else 0.05)
    refusal = refused("exchange_unavailable", exchange.funds)
    assert refusal.retryable
    assert not isinstance(refusal, Busy)
    venue.heal()
    assert exchange.funds()
    hasty.close()


def test_a_cancel_whose_answer_is_lost_is_unknown(venue, exchange):
    placed = order("sell", price="60000")
    state = exchange.place(placed)
    venue.fault("reset_after", path="CancelOrder")
    with pytest.raises(Unknown):
        exchange.cancel(ref(placed, state))
    assert exchange.find(ref(placed)).status == "canceled"


def test_the_rest_counter_makes_busy(venue, exchange):
    exchange.markets()
    venue.counter_max, venue.counter_decay = 3, 0.0
    for _ in range(3):
        exchange.permissions()
    with pytest.raises(Busy):
        exchange.permissions()


#: What is shown only: where Kraken leaves the result out, there is nothing.
LISTS = {"funds", "open_orders", "deposits", "fills", "fills_page"}


def test_an_answer_of_a_foreign_shape_is_never_a_crash(venue, exchange):
    """Every read verb, against answers that are JSON but not Kraken's."""
    exchange.markets(), exchange.funds()
    reads = {
        "rate": ("EUR", "BTC"),
        "funds": (),
        "open_orders": (),
        "deposits": (),
        "withdrawals": (),
        "permissions": (),
        "fills": ("EUR", "BTC"),
        "fills_page": ("EUR", "BTC"),
        "order": (ref(order(), exchange.place(order("sell", price="60000"))),),
        "find": (ref(order()),),
        "deposit_address": ("BTC",),
    }
    shapes = [{}, [], "text", 7, {"error": [], "result": None}, {"error": [], "result": {"open": [7], "closed": 7}}]
    shapes += [
        {"error": [], "result": value} for value in (7, "text", [7], [{}], {"XXBTZEUR": {}}, {"trades": {"T": {}}})
    ]
    for shape in shapes:
        venue.handle = lambda request, shape=shape: Reply.json(shape)
        for verb, arguments in reads.items():
            if shape == {"error": [], "result": None} and verb in LISTS:
                found = getattr(exchange, verb)(*arguments)
                assert not getattr(found, "rows", found), verb
                continue
            with pytest.raises(Refused) as caught:
                pytest.fail(f"{verb} made {getattr(exchange, verb)(*arguments)} of {shape}")
            assert caught.value.code in ("exchange_unavailable", "unknown_asset"), (verb, shape)


def test_krakens_own_timer_cancels_when_it_is_not_renewed(venue, exchange):
    now = time.time()
    venue.clock = lambda: now
    exchange.place(order("sell", price="60000"))
    exchange.deadman(60)
    exchange.place(order("sell", price="61000"))
    now += 59
    exchange.deadman(60)
    now += 59
    assert len(exchange.open_orders()) == 2
    now += 1
    assert exchange.open_orders() == []


@pytest.mark.parametrize(
    "answer",
    [
        {"currentTime": "2023-03-24T17:41:56Z", "triggerTime": "2023-03-24T17:44:56Z"},
        {"currentTime": "2023-03-24T17:41:56Z", "triggerTime": "0"},
        {"currentTime": "2023-03-24T17:41:56Z"},
        None,
    ],
)
def test_an_answer_about_another_time_is_not_believed(venue, exchange, answer):
    lying(venue, "CancelAllOrdersAfter", lambda _: answer)
    with pytest.raises(Unknown):
        exchange.deadman(60)


def test_fees_are_the_published_ones_only_where_the_key_may_not_ask_for_its_own(exchange, venue):
    venue.fee_tier = 1
    assert exchange.fees("EUR", "BTC") == Fees(Decimal("0.0014"), Decimal("0.0024"), "account")
    [call] = [request for request in venue.requests if request.path == "/0/private/TradeVolume"]
    assert parse_qs(call.body.decode())["pair"] == ["XXBTZEUR"]
    venue.account.permissions.discard("query-funds")
    assert exchange.fees("EUR", "BTC") == Fees(Decimal("0.0016"), Decimal("0.0026"), "published")
    venue.account.permissions.add("query-funds")
    venue.fault("maintenance", path="TradeVolume", times=10)
    refused("exchange_unavailable", exchange.fees, "EUR", "BTC")


def test_candles_from_before_the_last_720_are_refused_and_those_after_are_whole(exchange):
    first = exchange.candles("EUR", "BTC", "1d", None, 1000)[0].time
    for since in (first, first - timedelta(hours=23)):
        assert [candle.time for candle in exchange.candles("EUR", "BTC", "1d", since, 2)] == [
            first,
            first + timedelta(days=1),
        ]
    refusal = refused("history_unavailable", exchange.candles, "EUR", "BTC", "1d", first - timedelta(days=1), 2)
    assert f"{first:%Y-%m-%d %H:%M} UTC" in str(refusal)


def test_the_latest_trades_of_everybody_have_the_side_of_the_taker(exchange):
    exchange.place(order("buy", amount="0.1"))
    exchange.place(order("sell", amount="0.2"))
    told = exchange.trades("EUR", "BTC", 1)
    assert [(trade.side, trade.amount) for trade in told] == [("sell", Decimal("0.2"))]
