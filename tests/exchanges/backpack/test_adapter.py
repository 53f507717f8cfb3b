"""Backpack's adapter, over real HTTP against the local Backpack: the contract, and what is Backpack's own."""

from __future__ import annotations

import itertools
import time
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.backpack import Backpack, BackpackAPI
from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.cache import TTLCache
from bitmm.xwrap.exchanges.errors import Busy, ExchangeError, NotListedYet, Refused, Unknown
from bitmm.xwrap.exchanges.models import Funds, NewOrder, NewWithdrawal, OrderRef
from bitmm.xwrap.money import total
from bitmm.xwrap.testing.exchange_contract import ExchangeContract
from bitmm.xwrap.testing.exchanges import venue as core
from bitmm.xwrap.testing.exchanges.backpack import BackpackVenue, keys
from bitmm.xwrap.transport import Request, Transport
from tests.support.exchanges import change_answers, connect, trade_in_a_harsh_decimal_context

EXCHANGE, VENUE = Backpack, BackpackVenue


class TestTheContract(ExchangeContract):
    takes = frozenset({"market", "limit", "cost", "sell_cost"})
    conditions = frozenset({"post_only", "GTC", "IOC", "FOK"})
    currency = "USDC"
    far_price = Decimal(35000)  # Backpack takes no price more than 25 % above the market
    send_to = "bc1qxdsh4sdd29h6ldehz0se5c61asq8cgwyjf2y3z"

    def _unplaced(self):
        """Backpack's history lags, so an order is only said to be missing when it was missed a while ago."""
        ref = super()._unplaced()
        return replace(ref, missed_since=ref.created - timedelta(minutes=1))


def new(side="buy", **fields) -> NewOrder:
    return NewOrder(side, "USDC", "BTC", uuid.uuid4().hex, **fields)


def ref_of(order: NewOrder, exchange_order_id: str | None = None, *, age: float = 60) -> OrderRef:
    """What the server knows of an order that it journalled `age` seconds ago."""
    created = datetime.now(UTC) - timedelta(seconds=age)
    return OrderRef(order.side, order.currency, order.asset, order.client_id, exchange_order_id, created, order.amount)


def missed(ref: OrderRef, seconds: float = 40) -> OrderRef:
    """The reference of an order that was missed for the first time so many seconds ago."""
    return replace(ref, missed_since=datetime.now(UTC) - timedelta(seconds=seconds))


def calls(venue) -> list[str]:
    return [f"{request.method} {request.path.partition('/v1/')[2]}" for request in venue.requests]


def test_a_new_order_costs_at_most_one_question_before_it_and_none_the_next_time(venue, transport):
    cache = TTLCache()
    for expected in (
        ["GET markets", "POST order", "GET history/fills"],
        ["POST order", "GET history/fills"],
    ):
        venue.requests.clear()
        connect(Backpack, venue, transport, cache=cache).place(new(amount=Decimal("0.1")))
        assert calls(venue) == expected


def test_a_market_order_tells_filled_mean_price_and_the_fee_of_all_its_fills(exchange):
    """1.5 BTC take 1 at 30010 and 0.5 at 30040; a buyer pays the fee in the asset, a seller in the currency."""
    bought = exchange.place(new(amount=Decimal("1.5")))
    assert (bought.status, bought.filled, bought.spent) == ("filled", Decimal("1.5"), Decimal(45030))
    assert bought.average == Decimal(30020)
    assert (bought.fee, bought.fee_currency) == (Decimal("0.0015"), "BTC")
    sold = exchange.place(new("sell", amount=Decimal("1.5")))
    assert (sold.average, sold.fee, sold.fee_currency) == (Decimal(29990), Decimal("44.985"), "USDC")


def test_the_client_id_is_the_last_eight_digits_of_ours_as_a_number(venue, exchange):
    order = NewOrder("buy", "USDC", "BTC", "0123456789abcdef0123456789abcdef", amount=Decimal("0.1"))
    exchange.place(order)
    assert [row["client_id"] for row in venue.ledger()] == [str(0x89ABCDEF)]


def test_fees_that_lag_are_waited_for_and_not_told_when_they_do_not_come(venue, exchange):
    venue.history_lag = 0.3
    assert exchange.place(new(amount=Decimal("0.1"))).fee == Decimal("0.0001")
    venue.history_lag = 3600
    state = exchange.place(new(amount=Decimal("0.1")))
    assert (state.status, state.filled, state.fee, state.fee_currency) == ("filled", Decimal("0.1"), None, None)


def test_an_order_that_may_just_have_been_placed_is_never_said_to_be_missing(venue, exchange):
    venue.history_lag = 3600
    order = new(amount=Decimal("0.1"))
    placed = exchange.place(order)
    for fresh in (ref_of(order, age=1), ref_of(order, age=60), ref_of(order, placed.exchange_order_id, age=1)):
        with pytest.raises(NotListedYet, match="lags") as caught:
            exchange.find(fresh) if fresh.exchange_order_id is None else exchange.order(fresh)
        assert caught.value.retryable
    with pytest.raises(NotListedYet, match="lags"):
        exchange.find(missed(ref_of(order), 20))
    assert exchange.find(missed(ref_of(order))) is None
    venue.history_lag = 0
    assert exchange.find(ref_of(order, age=1)).exchange_order_id == placed.exchange_order_id


def test_a_limit_order_that_was_filled_a_moment_ago_is_never_said_to_be_missing(venue, exchange):
    order = new("sell", amount=Decimal("0.1"), price=Decimal(35000))
    exchange.place(order)
    old = replace(ref_of(order), price=order.price)
    venue.history_lag = 3600
    venue.set_best_prices("BTC/USDC", Decimal(35001), Decimal(35000))
    assert not venue.open
    with pytest.raises(Refused, match="lags"):
        exchange.find(old)
    venue.history_lag = 0
    assert exchange.find(old).status == "filled"
    never = replace(old, client_id=uuid.uuid4().hex)
    with pytest.raises(Refused, match="lags"):
        exchange.find(never)
    with pytest.raises(NotListedYet, match="lags"):
        exchange.find(missed(never, 20))
    assert exchange.find(missed(never)) is None


def test_many_orders_are_found_with_one_question_for_each_and_one_history_for_a_market(venue, exchange):
    over = [new(amount=Decimal("0.1")) for _ in range(3)]
    waiting = [new(amount=Decimal("0.1"), price=Decimal(29000)) for _ in range(2)]
    elsewhere = NewOrder("buy", "USDC", "ETH", uuid.uuid4().hex, amount=Decimal("0.1"))
    orders = [over[0], waiting[0], elsewhere, over[1], waiting[1], over[2]]
    placed = [exchange.place(order).exchange_order_id for order in orders]
    refs = [ref_of(order) for order in orders]
    alone = [exchange.find(ref) for ref in refs]
    venue.requests.clear()
    found = exchange.find_many(refs)
    assert found == alone
    assert [state.exchange_order_id for state in found] == placed
    counts = Counter(calls(venue))
    assert counts == {"GET order": 6, "GET history/orders": 2, "GET history/fills": 4}


def test_of_many_orders_each_one_that_is_missing_is_judged_by_itself(venue, exchange):
    filled, waiting, never = (new(amount=Decimal("0.1"), price=price) for price in (None, Decimal(29000), None))
    for order in (filled, waiting):
        exchange.place(order)
    lagging, found, missing = exchange.find_many([ref_of(never), ref_of(filled), missed(ref_of(never))])
    assert isinstance(lagging, NotListedYet)
    assert (found.status, missing) == ("filled", None)
    venue.history_lag = 3600
    lagging, found, missing = exchange.find_many([ref_of(filled), ref_of(waiting), missed(ref_of(filled), 20)])
    assert [type(lagging), type(missing)] == [NotListedYet] * 2
    assert found.status == "open"


def test_what_cannot_be_read_of_one_order_hides_no_other(exchange, monkeypatch):
    orders = [new(amount=Decimal("0.1"), price=Decimal(29000)) for _ in range(3)]
    for order in orders:
        exchange.place(order)
    ask = exchange.api.order

    def fail(symbol, *, client_id):
        if client_id == int(orders[1].client_id[-8:], 16):
            raise Busy("slow down", retry_after=1)
        return ask(symbol, client_id=client_id)

    monkeypatch.setattr(exchange.api, "order", fail)
    first, second, third = exchange.find_many([ref_of(order) for order in orders])
    assert (first.status, type(second), third.status) == ("open", Busy, "open")


def test_an_order_that_is_filled_while_many_are_looked_for_is_found(venue, exchange, monkeypatch):
    """The history is read after the questions what is open: it is in one of them."""
    order = new("sell", amount=Decimal("0.1"), price=Decimal(35000))
    exchange.place(order)
    ask = exchange.api.order

    def filled_then_asked(symbol, **ids):
        venue.set_best_prices("BTC/USDC", Decimal(35001), Decimal(35000))
        return ask(symbol, **ids)

    monkeypatch.setattr(exchange.api, "order", filled_then_asked)
    found, missing = exchange.find_many([missed(ref_of(order)), missed(ref_of(new(amount=Decimal("0.1"))))])
    assert (found.status, missing) == ("filled", None)


@pytest.mark.parametrize("history", [None, {}])
def test_a_history_that_is_none_says_nothing_of_many_orders(exchange, monkeypatch, history):
    monkeypatch.setattr(exchange.api, "order_history", lambda *_, **__: history)
    with pytest.raises(Refused, match="cannot be understood"):
        exchange.find_many([missed(ref_of(new(amount=Decimal("0.1")), age=3600))])


def test_a_send_is_never_said_to_be_missing_before_the_history_had_time_to_show_it(exchange):
    now = datetime.now(UTC)
    with pytest.raises(Refused, match="lags"):
        exchange.find_withdrawal(uuid.uuid4().hex, now - timedelta(seconds=60), now - timedelta(seconds=20))
    assert exchange.find_withdrawal(uuid.uuid4().hex, now - timedelta(seconds=60), now - timedelta(seconds=40)) is None


@pytest.mark.parametrize("history", [None, {}, {"code": "x"}, [None], ["x"], [{"clientId": None}, 7]])
def test_a_history_that_is_none_says_nothing_of_a_send(exchange, monkeypatch, history):
    monkeypatch.setattr(exchange.api, "withdrawals", lambda **_: history)
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(Refused, match="cannot be understood"):
        exchange.find_withdrawal(uuid.uuid4().hex, long_ago, long_ago)


@pytest.mark.parametrize("history", [None, {}])
def test_a_history_that_is_none_says_nothing_of_an_order(exchange, monkeypatch, history):
    monkeypatch.setattr(exchange.api, "order_history", lambda *_, **__: history)
    with pytest.raises(Refused, match="cannot be understood"):
        exchange.find(ref_of(new(amount=Decimal("0.1")), age=3600))


def test_another_order_with_the_same_client_number_is_not_taken_for_ours(venue, exchange):
    ours = new(amount=Decimal("0.1"))
    alike = uuid.uuid4().hex[:24] + ours.client_id[-8:]
    exchange.place(NewOrder("sell", "USDC", "BTC", alike, amount=Decimal("0.1"), price=Decimal(35000)))
    exchange.place(NewOrder("buy", "USDC", "BTC", alike, amount=Decimal("0.2")))
    exchange.place(NewOrder("buy", "USDC", "ETH", alike, amount=Decimal("0.1")))
    assert exchange.find(missed(ref_of(ours))) is None
    long_ago = OrderRef("buy", "USDC", "BTC", ours.client_id, created=datetime.now(UTC) - timedelta(hours=1))
    assert exchange.find(missed(long_ago)) is None
    placed = exchange.place(ours)
    assert exchange.find(ref_of(ours)).exchange_order_id == placed.exchange_order_id


def test_an_order_is_found_behind_a_thousand_newer_ones(venue, exchange):
    order = new(amount=Decimal("0.1"))
    placed = exchange.place(order)
    for _ in range(1200):
        venue.place(venue.account, "BTC/USDC", "sell", amount=Decimal("0.001"), price=Decimal(35000)).details = {
            **venue.orders[placed.exchange_order_id].details,
            "clientId": None,
        }
    assert exchange.find(ref_of(order)).exchange_order_id == placed.exchange_order_id
    assert calls(venue).count("GET history/orders") == 2


def test_a_cancellation_that_is_only_accepted_is_no_failure(venue, exchange):
    venue.accepts_cancels = True
    order = new("sell", amount=Decimal("0.1"), price=Decimal(35000))
    ref = ref_of(order, exchange.place(order).exchange_order_id)
    exchange.cancel(ref)
    assert exchange.order(ref).status == "canceled"
    for _ in range(2):
        exchange.place(new("sell", amount=Decimal("0.1"), price=Decimal(35000)))
    assert exchange.cancel_all() == 2
    assert exchange.open_orders() == []


def test_an_order_without_a_known_id_is_canceled_by_ours(exchange):
    order = new("sell", amount=Decimal("0.1"), price=Decimal(35000))
    exchange.place(order)
    exchange.cancel(ref_of(order))
    assert exchange.find(ref_of(order)).status == "canceled"


def test_cancel_all_goes_through_all_markets_and_is_unknown_when_it_stops_half_way(venue, exchange):
    for asset, price in (("BTC", 35000), ("ETH", 2400), ("BTC", 35001)):
        order = NewOrder("sell", "USDC", asset, uuid.uuid4().hex, amount=Decimal("0.1"), price=Decimal(price))
        exchange.place(order)
    assert exchange.cancel_all() == 3
    for asset, price in (("BTC", 35000), ("ETH", 2400)):
        order = NewOrder("sell", "USDC", asset, uuid.uuid4().hex, amount=Decimal("0.1"), price=Decimal(price))
        exchange.place(order)
    refuse_second(venue)
    with pytest.raises(Unknown, match="1 orders were canceled"):
        exchange.cancel_all()
    assert [state.asset for state in exchange.open_orders()] == ["ETH"]


def refuse_second(venue) -> None:
    """The second cancel-all from now on meets a rate limit."""
    honest, count = venue.cancel_all, itertools.count()

    def once(account, parameters):
        return honest(account, parameters) if next(count) == 0 else venue.fault_reply("rate_limit", None)

    replaced = ("DELETE", "/api/v1/orders")
    for number, (method, pattern, _) in enumerate(venue._routes):
        if method == replaced[0] and pattern.fullmatch(replaced[1]):
            venue._routes[number] = (method, pattern, venue.private("orderCancelAll", "trade", once))


def test_a_market_order_that_is_answered_before_it_is_filled_is_read_until_it_is(venue, exchange):
    venue.history_lag = 0.3
    change_answers(
        venue,
        "POST",
        "/api/v1/order",
        lambda row: {**row, "status": "New", "executedQuantity": "0", "executedQuoteQuantity": "0"},
    )
    state = exchange.place(new(amount=Decimal("0.1")))
    assert (state.status, state.filled, state.fee) == ("filled", Decimal("0.1"), Decimal("0.0001"))
    assert len(venue.ledger()) == 1


def test_an_order_whose_fee_cannot_be_read_stands(venue, exchange):
    venue.fault("html", path="history/fills")
    state = exchange.place(new(amount=Decimal("0.1")))
    assert (state.status, state.fee) == ("filled", None)


@pytest.mark.parametrize(
    ("fields", "code", "nearest"),
    [
        ({"amount": Decimal("0.123456")}, "amount_step", "0.12346"),
        ({"amount": Decimal("0.00001")}, "amount_min", "0.0001"),
        ({"amount": Decimal("0.1"), "price": Decimal("30000.01")}, "price_step", "30000.0"),
    ],
)
def test_an_order_that_breaks_a_rule_is_refused_unsent_with_the_nearest_allowed_value(
    venue, exchange, fields, code, nearest
):
    with pytest.raises(Refused) as caught:
        exchange.place(new(**fields))
    assert caught.value.code == caught.value.details["rule"] == code
    assert caught.value.details["nearest"] == nearest
    assert calls(venue) == ["GET markets"]


def test_limit_orders_with_a_cost_and_orders_without_or_with_both_are_refused_unsent(venue, exchange):
    for order in (
        new(cost=Decimal(100), price=Decimal(30000)),
        new("sell", cost=Decimal(100), price=Decimal(30000)),
        new(),
        new(amount=Decimal(1), cost=Decimal(1)),
    ):
        with pytest.raises(Refused):
            exchange.place(order)
    assert calls(venue) == ["GET markets"]


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (new(amount=Decimal(1), price=Decimal(40000)), "invalid_price"),
        (new(amount=Decimal(1), price=Decimal(20000)), "invalid_price"),
    ],
)
def test_what_backpack_refuses_has_our_code_and_its_words(venue, exchange, order, code):
    with pytest.raises(Refused) as caught:
        exchange.place(order)
    assert caught.value.code == code
    assert not venue.ledger()


def test_a_refusal_for_funds_is_unknown_until_the_history_had_time_to_show_the_order(venue, exchange):
    """Backpack has no nonce, so the answer could be that to a second delivery, after the first sold all there was."""
    order = new("sell", amount=Decimal(200))
    with pytest.raises(Unknown) as caught:
        exchange.place(order)
    assert caught.value.refusal.code == "insufficient_funds"
    with pytest.raises(NotListedYet):
        exchange.find(ref_of(order, age=0))
    assert exchange.find(missed(ref_of(order))) is None
    assert not venue.ledger()


def test_the_best_prices_do_not_depend_on_the_order_of_the_book(venue, exchange):
    venue.pairs["BTC/USDC"].bids.reverse()
    venue.pairs["BTC/USDC"].asks.reverse()
    rate = exchange.rate("USDC", "BTC")
    assert (rate.buy, rate.sell) == (Decimal("30010.0"), Decimal("30000.0"))


def test_an_empty_side_of_the_book_is_no_price(venue, exchange):
    venue.pairs["BTC/USDC"].bids.clear()
    with pytest.raises(Refused) as caught:
        exchange.rate("USDC", "BTC")
    assert caught.value.code == "exchange_unavailable"


def test_only_open_spot_markets_are_listed_and_others_are_refused_with_what_is_offered(venue, exchange):
    steps = [(market.asset, market.price_step) for market in exchange.markets()]
    assert steps == [("BTC", Decimal("0.1")), ("SOL", Decimal("0.01")), ("ETH", Decimal("0.01"))]
    with pytest.raises(Refused, match="BTC is traded there in USDC") as caught:
        exchange.place(NewOrder("buy", "EUR", "BTC", uuid.uuid4().hex, amount=Decimal(1)))
    assert caught.value.code == "unknown_market"
    assert calls(venue) == ["GET markets"]


def test_the_programs_decimal_context_changes_nothing(exchange):
    order, too_fine = new(amount=Decimal("0.12345")), new(amount=Decimal("12345.1234567891"))
    got = trade_in_a_harsh_decimal_context(exchange, "USDC", order, too_fine)
    assert (got.state.filled, got.state.average) == (Decimal("0.12345"), Decimal(30010))
    assert got.funds["BTC"].available == Decimal("100.12333")
    assert total(fill.amount for fill in got.fills) == Decimal("0.12345")
    assert (got.rate.buy, got.markets[0].price_step) == (Decimal(30010), Decimal("0.1"))
    assert got.refusal.details["nearest"] == "12345.12346"


def test_an_asset_on_several_chains_needs_the_name_of_one(venue, exchange):
    with pytest.raises(Refused, match="Solana, Ethereum") as caught:
        exchange.deposit_address("USDC")
    assert caught.value.code == "network_required"
    solana = exchange.deposit_address("USDC", "solana")
    assert solana.network == "Solana"
    assert solana.address == exchange.deposit_address("SOL").address
    venue.deposit("USDC", Decimal("12.34"), network="Solana")
    (row,) = exchange.deposits("USDC")
    assert (row.amount, row.status, row.address) == (Decimal("12.34"), "done", solana.address)


def test_refused_withdrawals_have_our_codes(venue, exchange):
    venue.two_factor = "123456"
    for amount, tag, network, code in (
        ("0.1", "7", None, "invalid_request"),
        ("0.1", None, "Solana", "network_required"),
        ("0.1", None, None, "permission_denied"),
    ):
        with pytest.raises(Refused) as caught:
            exchange.withdraw(NewWithdrawal("BTC", Decimal(amount), "somewhere", uuid.uuid4().hex, tag, network))
        assert caught.value.code == code
    made = exchange.api.withdraw("somewhere", "BTC", "Bitcoin", "0.1", two_factor_token="123456", client_id="mine")
    assert [row["id"] for row in exchange.api.withdrawals(client_id="mine")] == [made["id"]]
    assert len(venue.ledger()) == 1


def test_a_withdrawal_carries_our_id_in_full(venue, exchange):
    client_id = uuid.uuid4().hex
    made = exchange.withdraw(NewWithdrawal("USDC", Decimal("12.5"), "somewhere", client_id, network="Ethereum"))
    assert (made.fee, made.network, made.status) == (Decimal(3), "Ethereum", "pending")
    assert venue.withdrawals[made.id].client_id == made.client_id == client_id
    assert [row.client_id for row in exchange.withdrawals("USDC")] == [client_id]


LIES = [
    {"id": "1"},
    {"symbol": "ETH_USDC"},
    {"symbol": "BTC_USDC_PERP"},
    {"side": "Bid"},
    {"executedQuantity": "x"},
    {"executedQuantity": "-1"},
    {"createdAt": "yesterday"},
    {"status": []},
    {"id": -7},
    {"id": True},
]


@pytest.mark.parametrize("lie", LIES)
def test_an_order_told_with_another_id_pair_side_or_shape_is_not_believed(venue, exchange, lie):
    order = new("sell", amount=Decimal("0.1"), price=Decimal(35000))
    placed = exchange.place(order)
    change_answers(venue, "GET", "/api/v1/order", lambda row: {**row, **lie})
    with pytest.raises(Refused) as caught:
        exchange.order(ref_of(order, placed.exchange_order_id))
    assert caught.value.code == "exchange_unavailable"


@pytest.mark.parametrize("lie", [*LIES[1:], {"clientId": 7}, {"clientId": None}])
def test_the_answer_to_an_order_that_tells_another_one_is_unknown(venue, exchange, lie):
    change_answers(venue, "POST", "/api/v1/order", lambda row: {**row, **lie})
    with pytest.raises(Unknown):
        exchange.place(new("sell", amount=Decimal("0.1")))
    assert len(venue.ledger()) == 1


@pytest.mark.parametrize("lie", [{"symbol": "ETH"}, {"quantity": "0.2"}, {"toAddress": "elsewhere"}, {"id": None}])
def test_the_answer_to_a_withdrawal_that_tells_another_one_is_unknown(venue, exchange, lie):
    change_answers(venue, "POST", "/wapi/v1/capital/withdrawals", lambda row: {**row, **lie})
    with pytest.raises(Unknown):
        exchange.withdraw(NewWithdrawal("BTC", Decimal("0.1"), "somewhere", uuid.uuid4().hex))
    assert len(venue.ledger()) == 1


def test_the_answer_to_a_withdrawal_may_spell_the_address_in_another_case(venue, exchange):
    address = "0xAb5801a7D398351b8bE11C439e05C5B3259aeC9B"
    change_answers(venue, "POST", "/wapi/v1/capital/withdrawals", lambda row: {**row, "toAddress": address.lower()})
    made = exchange.withdraw(NewWithdrawal("BTC", Decimal("0.1"), address, uuid.uuid4().hex))
    assert made.address == address.lower()


def test_a_cancellation_that_tells_another_order_is_unknown(venue, exchange):
    order = new("sell", amount=Decimal("0.1"), price=Decimal(35000))
    placed = exchange.place(order)
    change_answers(venue, "DELETE", "/api/v1/order", lambda row: {**row, "id": "1"})
    with pytest.raises(Unknown):
        exchange.cancel(ref_of(order, placed.exchange_order_id))


def test_a_fee_of_some_of_the_fills_only_is_not_told(venue, exchange):
    change_answers(venue, "GET", "/wapi/v1/history/fills", lambda rows: rows[:1])
    state = exchange.place(new(amount=Decimal("1.5")))
    assert (state.filled, state.fee) == (Decimal("1.5"), None)


def test_what_is_staked_is_owned_and_not_available(venue, exchange):
    change_answers(venue, "GET", "/api/v1/capital", lambda rows: {**rows, "SOL": {**rows["SOL"], "staked": "2.5"}})
    assert exchange.funds()["SOL"] == Funds(Decimal("102.5"), Decimal(100), Decimal(0), earning=Decimal("2.5"))


def test_nothing_is_available_or_held_below_zero(venue, exchange):
    odd = {"available": "-1", "locked": "-0.5", "staked": "0"}
    change_answers(venue, "GET", "/api/v1/capital", lambda rows: {**rows, "BTC": odd})
    assert exchange.funds()["BTC"] == Funds(Decimal("-1.5"), Decimal(0), Decimal(0), Decimal(0))


def test_what_is_lent_is_owned_and_not_available(venue, exchange):
    venue.lent = {"BTC": Decimal("2.5"), "PYTH": Decimal(7)}
    funds = exchange.funds()
    assert funds["BTC"] == Funds(Decimal("102.5"), Decimal(100), Decimal(0), earning=Decimal("2.5"))
    assert funds["PYTH"] == Funds(Decimal(7), Decimal(0), Decimal(0), earning=Decimal(7))
    assert exchange.balance()["PYTH"] == 7


def test_an_order_that_expires_at_once_has_its_reason(venue, exchange):
    venue.history_lag = 0.3
    state = exchange.place(new("sell", amount=Decimal(9)))
    assert (state.status, state.filled, state.reason) == ("partly_filled", Decimal(8), "InsufficientLiquidity")
    venue.history_lag = 3600
    assert exchange.place(new("sell", amount=Decimal(9))).reason is None


def test_an_order_that_was_canceled_untouched_is_told_without_what_is_optional(venue, exchange):
    venue.leaves_out = True
    order = new("sell", amount=Decimal("0.1"), price=Decimal(35000))
    ref = ref_of(order, exchange.place(order).exchange_order_id)
    exchange.cancel(ref)
    assert (exchange.order(ref).status, exchange.order(ref).filled) == ("canceled", None)
    assert exchange.find(ref_of(order)).status == "canceled"


def test_a_body_that_cannot_be_parsed_is_refused(venue, exchange):
    venue.unparsed = 1
    with pytest.raises(Refused, match="Expected input type") as caught:
        exchange.place(new(amount=Decimal("0.1")))
    assert (caught.value.code, caught.value.retryable) == ("invalid_request", False)
    assert exchange.place(new(amount=Decimal("0.1"))).status == "filled"
    assert len(venue.ledger()) == 1


#: fault -> what it is to an order or a send, our code, and how many were executed
FAULTS = {
    "executed_but_timeout": (Unknown, "outcome_unknown", 1),
    "refused": (Refused, "exchange_unavailable", 0),
    "reset_before": (Unknown, "outcome_unknown", 0),
    "reset_after": (Unknown, "outcome_unknown", 1),
    "slow": (Unknown, "outcome_unknown", 1),
    "drip": (Unknown, "outcome_unknown", 1),
    "cut": (Unknown, "outcome_unknown", 1),
    "html": (Unknown, "outcome_unknown", 0),
    "html_after": (Unknown, "outcome_unknown", 1),
    "rate_limit": (Busy, "rate_limited", 0),
    "nonce": (Unknown, "outcome_unknown", 0),
    "maintenance": (Refused, "exchange_unavailable", 0),
}


def test_every_fault_that_a_venue_has_is_tried():
    assert set(FAULTS) | {"delivered_twice", "swapped"} == set(core.FAULTS)


@pytest.mark.parametrize("kind", FAULTS)
def test_an_order_under_a_fault_is_refused_or_unknown_as_the_ledger_says(venue, kind):
    failure, code, executed = FAULTS[kind]
    transport = Transport(timeout=0.5)
    exchange = connect(Backpack, venue, transport)
    exchange.markets()
    order = new(amount=Decimal("0.1"))
    venue.fault(kind, path="/api/v1/order")
    with pytest.raises(ExchangeError) as caught:
        exchange.place(order)
    assert (type(caught.value), caught.value.code) == (failure, code)
    venue.heal()
    assert len(venue.ledger()) == executed
    assert (exchange.find(missed(ref_of(order))) is not None) is bool(executed)
    transport.close()


@pytest.mark.parametrize("kind", FAULTS)
def test_a_withdrawal_under_a_fault_is_refused_or_unknown_as_the_ledger_says(venue, kind):
    failure, code, executed = FAULTS[kind]
    transport = Transport(timeout=0.5)
    exchange = connect(Backpack, venue, transport)
    exchange.deposit_address("BTC")
    venue.fault(kind, path="/capital/withdrawals")
    client_id = uuid.uuid4().hex
    with pytest.raises(ExchangeError) as caught:
        exchange.withdraw(NewWithdrawal("BTC", Decimal("0.1"), "somewhere", client_id))
    assert (type(caught.value), caught.value.code) == (failure, code)
    venue.heal()
    assert len(venue.ledger()) == executed
    assert len(exchange.api.withdrawals(client_id=client_id)) == executed
    transport.close()


def send(venue, transport, *, seconds=0.0, window=5000, params=None, text=None, sign=None, **headers):
    """One order, signed truly but for what is changed: headers (gone, when None), the body, or what is signed."""
    api = BackpackAPI(
        venue.key, venue.secret, url=venue.url, transport=transport, clock=lambda: time.time() + seconds, window=window
    )
    order = {"symbol": "BTC_USDC", "side": "Bid", "orderType": "Market", "quantity": "0.1", **(params or {})}
    request = api.signed("POST", "api/v1/order", sign or "orderExecute", order)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    given = {name: value for name, value in {**request.headers, **named}.items() if value is not None}
    answer = transport.send(Request("POST", request.url, given, request.body if text is None else text.encode()))
    try:
        return answer.status, answer.json()["code"]
    except ValueError:
        return answer.status, answer.body.decode()
    except KeyError:
        return answer.status, "executed"


STRANGER = keys(bytes(range(32)))


@pytest.mark.parametrize(
    ("wrong", "status", "code"),
    [
        ({"X_API_Key": None}, 401, "UNAUTHORIZED"),
        ({"X_Signature": None}, 401, "UNAUTHORIZED"),
        ({"X_Timestamp": None}, 401, "UNAUTHORIZED"),
        ({"X_API_Key": STRANGER[0]}, 401, "UNAUTHORIZED"),
        ({"X_Signature": "A" * 86 + "=="}, 400, "INVALID_SIGNATURE"),
        ({"X_Signature": "not base64"}, 400, "INVALID_SIGNATURE"),
        ({"sign": "orderCancel"}, 400, "INVALID_SIGNATURE"),
        ({"X_Window": "60000"}, 400, "INVALID_SIGNATURE"),
        ({"X_Window": "60001"}, 400, "INVALID_CLIENT_REQUEST"),
        ({"X_Window": "0"}, 400, "INVALID_CLIENT_REQUEST"),
        ({"X_Timestamp": "yesterday"}, 400, "INVALID_CLIENT_REQUEST"),
        ({"seconds": -5.1}, 400, "INVALID_CLIENT_REQUEST"),
        ({"seconds": 5.5}, 400, "INVALID_CLIENT_REQUEST"),
        ({"params": {"quoteQuantity": "5"}}, 400, "INVALID_CLIENT_REQUEST"),
        ({"params": {"quantity": None}}, 400, "INVALID_CLIENT_REQUEST"),
        ({"params": {"price": "30000"}}, 400, "INVALID_CLIENT_REQUEST"),
        ({"params": {"orderType": "Limit"}}, 400, "INVALID_CLIENT_REQUEST"),
        ({"params": {"quantity": "0.123456"}}, 400, "INVALID_QUANTITY"),
        ({"params": {"quantity": "0.00001"}}, 400, "INVALID_QUANTITY"),
        ({"params": {"quantity": "0"}}, 400, "INVALID_QUANTITY"),
        ({"params": {"orderType": "Limit", "price": "30000.01"}}, 400, "INVALID_PRICE"),
        ({"params": {"triggerPrice": "1"}}, 400, "INVALID_CLIENT_REQUEST"),
    ],
)
def test_the_venue_refuses_a_request_with_something_wrong(venue, transport, wrong, status, code):
    assert send(venue, transport, **wrong) == (status, code)
    assert not venue.ledger()


@pytest.mark.parametrize(
    "wrong",
    [
        {"params": {"symbol": "NOSUCH"}},
        {"params": {"side": "Buy"}},
        {"params": {"quantity": 1}},
        {"params": {"quantity": "1e-1"}},
        {"params": {"clientId": "7"}},
        {"params": {"clientId": 2**32}},
        {"params": {"timeInForce": ""}},
        {"text": '{"symbol": "BTC'},
        {"Content_Type": "text/plain"},
    ],
)
def test_what_the_venue_cannot_parse_is_refused_in_plain_text(venue, transport, wrong):
    status, words = send(venue, transport, **wrong)
    assert status == 400
    assert words.startswith("Bad Request parse request payload error")
    assert not venue.ledger()


def test_the_venue_takes_what_is_right_and_windows_up_to_a_minute(venue, transport):
    assert send(venue, transport) == (200, "executed")
    assert send(venue, transport, seconds=-59, window=60_000) == (200, "executed")
    assert send(venue, transport, params={"postOnly": False, "clientId": 0, "timeInForce": "IOC"})[0] == 200
    assert len(venue.ledger()) == 3


def test_the_venue_shows_an_open_order_by_exactly_one_id(venue, exchange):
    order = new("sell", amount=Decimal("0.1"), price=Decimal(35000))
    placed = exchange.place(order)
    number = int(order.client_id[-8:], 16)
    assert exchange.api.order("BTC_USDC", client_id=number)["id"] == placed.exchange_order_id
    for ids in ({}, {"order_id": placed.exchange_order_id, "client_id": number}):
        with pytest.raises(Refused) as caught:
            exchange.api.order("BTC_USDC", **ids)
        assert caught.value.code == "invalid_request"


def test_the_venue_wants_the_right_for_each_call(venue, exchange):
    venue.account.permissions = {"read"}
    assert exchange.funds()
    for call in (
        lambda: exchange.place(new(amount=Decimal("0.1"))),
        lambda: exchange.withdraw(NewWithdrawal("BTC", Decimal("0.1"), "somewhere", uuid.uuid4().hex)),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.code == "permission_denied"


def test_a_key_that_the_exchange_does_not_know_is_refused_by_it(venue, transport):
    key, secret = STRANGER
    wrong = Backpack(ExchangeContext(transport, Credentials(apikey=key, apisecret=secret), 1, venue.url))
    with pytest.raises(Refused, match="Unauthorized") as caught:
        wrong.funds()
    assert caught.value.code == "exchange_key_refused"


def test_a_secret_that_does_not_decode_or_belong_to_the_key_is_refused_at_once(venue, transport):
    for secret in ("not base64", STRANGER[1]):
        with pytest.raises(Refused) as caught:
            Backpack(ExchangeContext(transport, Credentials(apikey=venue.key, apisecret=secret), 1, venue.url))
        assert caught.value.code == "invalid_request"
    assert not venue.requests


def test_one_odd_open_order_hides_no_other_and_does_not_vanish(venue, exchange):
    placed = [exchange.place(new("sell", amount=Decimal("0.1"), price=Decimal(35000))) for _ in range(2)]
    change_answers(venue, "GET", "/api/v1/orders", lambda rows: [{**rows[0], "side": "Both"}, *rows[1:]])
    states = exchange.open_orders()
    assert {state.exchange_order_id for state in states} == {state.exchange_order_id for state in placed}
    assert [(state.status, state.side) for state in states] == [("open", None), ("open", "sell")]
    change_answers(venue, "GET", "/api/v1/orders", lambda rows: [{**rows[0], "id": None}, *rows[1:]])
    with pytest.raises(Refused, match="cannot be understood"):
        exchange.open_orders()


def asked(venue) -> list[tuple[str, dict[str, str]]]:
    """Each call since the start but the one for the markets, with its parameters."""
    return [
        (request.path.removeprefix("/api/v1/"), request.args)
        for request in venue.requests
        if request.path != "/api/v1/markets"
    ]


def test_what_is_asked_of_a_market(venue, exchange):
    for depth in (1, 5, 6, 20, 101, 501, 1000):
        exchange.order_book("USDC", "BTC", depth)
    assert [query["limit"] for _, query in asked(venue)] == ["5", "5", "10", "20", "500", "1000", "1000"]
    venue.requests.clear()
    exchange.ticker("USDC", "BTC")
    exchange.trades("USDC", "BTC", 7)
    exchange.fees("USDC", "BTC")
    assert asked(venue) == [
        ("ticker", {"symbol": "BTC_USDC"}),
        ("trades", {"symbol": "BTC_USDC", "limit": "7"}),
        ("account", {}),
    ]


def test_a_day_without_trades_has_a_ticker_that_tells_nothing(venue, exchange, monkeypatch):
    monkeypatch.setattr(exchange.api, "ticker", lambda symbol: None)
    day = exchange.ticker("USDC", "BTC")
    assert (day.last, day.high, day.low, day.volume, day.bid, day.ask) == (None,) * 6


def test_candles_are_asked_for_between_two_seconds(venue, exchange):
    since = datetime(2024, 2, 28, 23, 30, tzinfo=UTC)
    candles = exchange.candles("USDC", "BTC", "1h", since, 3)
    assert [candle.time for candle in candles] == [datetime(2024, 2, 29, hour, tzinfo=UTC) for hour in (0, 1, 2)]
    query = {"symbol": "BTC_USDC", "interval": "1h", "startTime": "1709163000", "endTime": str(1709163000 + 3 * 3600)}
    assert asked(venue) == [("klines", query)]
    venue.requests.clear()
    exchange.candles("USDC", "BTC", "1M", since, 3)
    assert asked(venue)[0][1]["interval"] == "1month"


def test_intervals_without_a_trade_have_no_candle_and_later_ones_are_looked_for(venue, exchange):
    venue.untraded = {f"2024-02-29 {hour:02}:00:00" for hour in range(12)}
    since = datetime(2024, 2, 29, tzinfo=UTC)
    candles = exchange.candles("USDC", "BTC", "1h", since, 2)
    assert [candle.time.hour for candle in candles] == [12, 13]
    starts = [(query["startTime"], int(query["endTime"]) - int(query["startTime"])) for _, query in asked(venue)]
    assert starts == [("1709164800", 2 * 3600), ("1709164800", 1000 * 3600)]


def test_candles_up_to_now_are_asked_for_once(venue, exchange):
    since = datetime.now(UTC) - timedelta(hours=3)
    assert len(exchange.candles("USDC", "BTC", "1h", since, 100)) == 3
    assert len(asked(venue)) == 1


def test_fees_are_fractions_of_what_backpack_tells_in_basis_points(exchange):
    fees = exchange.fees("USDC", "BTC")
    assert (fees.maker, fees.taker, fees.source) == (Decimal("0.001"), Decimal("0.001"), "account")


@pytest.mark.parametrize(
    "path",
    [
        "depth?symbol=BTC_USDC&limit=7",
        "trades?symbol=BTC_USDC&limit=0",
        "trades?symbol=BTC_USDC&limit=1001",
        "trades?symbol=BTC_USDC&limit=all",
        "klines?symbol=BTC_USDC&interval=7m&startTime=1709163000",
        "klines?symbol=BTC_USDC&interval=1M&startTime=1709163000",
        "klines?symbol=BTC_USDC&interval=1h",
        "klines?symbol=BTC_USDC&interval=1h&startTime=yesterday",
        "klines?symbol=NOSUCH_USDC&interval=1h&startTime=1709163000",
    ],
)
def test_the_local_backpack_refuses_parameters_that_backpack_does_not_have(venue, path):
    path, _, query = path.partition("?")
    answer = venue.answer(core.Request("GET", f"/api/v1/{path}", query, {}, b""))
    assert answer.status == 400, answer


def test_a_sell_for_a_cost_names_the_quote_quantity_alone(exchange, venue):
    order = new("sell", cost=Decimal("100.50"))
    state = exchange.place(order)
    sent = next(request.json() for request in venue.requests if request.path == "/api/v1/order")
    wanted = {"symbol": sent["symbol"], "side": "Ask", "orderType": "Market", "quoteQuantity": "100.50"}
    assert sent == {**wanted, "clientId": int(order.client_id[-8:], 16)}
    executed = venue.orders[state.exchange_order_id]
    assert (state.status, state.filled, state.spent) == ("filled", executed.filled, executed.spent)
