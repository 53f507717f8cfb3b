"""Bitstamp's adapter, over real HTTP against the local Bitstamp: the contract, and what is Bitstamp's own."""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.base import Credentials, ExchangeContext
from bitmm.xwrap.exchanges.bitstamp import Bitstamp, BitstampAPI
from bitmm.xwrap.exchanges.cache import TTLCache
from bitmm.xwrap.exchanges.errors import Busy, ExchangeError, Refused, Unknown, Unsupported
from bitmm.xwrap.exchanges.models import NewOrder, NewWithdrawal, OrderRef
from bitmm.xwrap.money import total
from bitmm.xwrap.testing.exchange_contract import ExchangeContract
from bitmm.xwrap.testing.exchanges import venue as core
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from bitmm.xwrap.testing.exchanges.venue import Reply
from bitmm.xwrap.transport import Request, Transport
from tests.support.exchanges import connect, trade_in_a_harsh_decimal_context

EXCHANGE, VENUE = Bitstamp, BitstampVenue


class TestTheContract(ExchangeContract):
    takes = frozenset({"market", "limit", "cost", "sell_cost"})
    conditions = frozenset({"post_only", "GTC", "IOC", "FOK", "GTD"})
    far_price = Decimal(35000)  # Bitstamp takes no price more than 20 % above the market
    send_to = "bc1qxdsh4sdd29h6ldehz0se5c61asq8cgwyjf2y3z"


def new(side="buy", **fields) -> NewOrder:
    return NewOrder(side, "EUR", "BTC", uuid.uuid4().hex, **fields)


def ref_of(order: NewOrder, exchange_order_id: str | None = None) -> OrderRef:
    ours = (order.side, order.currency, order.asset, order.client_id)
    return OrderRef(*ours, exchange_order_id, created=datetime.now(UTC))


def calls(venue) -> list[str]:
    return [request.path.removeprefix("/api/v2/") for request in venue.requests]


def test_a_new_order_costs_at_most_one_question_before_it_and_none_the_next_time(venue, transport):
    cache = TTLCache()
    for _ in range(2):
        venue.requests.clear()
        connect(Bitstamp, venue, transport, cache=cache).place(new(amount=Decimal("0.1")))
        first, *rest = calls(venue)
        assert ([first] if first != "markets/" else rest[:1]) == ["buy/market/btceur/"]
        assert rest[-1] == "order_status/"
    assert calls(venue) == ["buy/market/btceur/", "order_status/"]


def test_the_fill_price_of_a_market_order_comes_from_its_transactions(exchange):
    """1.5 BTC take two levels; the price in the answer to the order is another one, as it is at Bitstamp."""
    state = exchange.place(new(amount=Decimal("1.5")))
    spent = Decimal("30010.00") + Decimal("0.5") * Decimal("30040.01")
    assert state.average == Decimal("30020.00333333333333333333333")
    assert state.spent == Decimal("45030.01")  # booked in cents, fill by fill
    assert abs(state.spent - spent) < Decimal("0.01")
    assert (state.fee, state.fee_currency, state.status, state.filled) == (
        Decimal("180.12"),
        "EUR",
        "filled",
        Decimal("1.5"),
    )


def test_what_the_book_cannot_fill_is_partly_filled(exchange):
    state = exchange.place(new("sell", amount=Decimal(9)))
    assert (state.status, state.filled, state.amount) == ("partly_filled", Decimal(8), Decimal(9))


def test_an_order_whose_state_cannot_be_read_stands_and_is_open(venue, exchange):
    venue.fault("rate_limit", path="order_status")
    order = new(amount=Decimal("0.1"))
    state = exchange.place(order)
    assert (state.status, state.filled) == ("open", None)
    assert exchange.order(ref_of(order, state.exchange_order_id)).status == "filled"


def test_a_market_order_is_read_again_while_its_state_cannot_be_read(venue, exchange):
    venue.fault("html", path="order_status", times=2)
    assert exchange.place(new(amount=Decimal("0.1"))).status == "filled"
    assert calls(venue).count("order_status/") == 3
    assert len(venue.ledger()) == 1


def test_limit_orders_with_a_cost_and_orders_without_or_with_both_are_refused_unsent(venue, exchange):
    for order in (
        new(cost=Decimal(100), price=Decimal(30000)),
        new("sell", cost=Decimal(100), price=Decimal(30000)),
        new(),
        new(amount=Decimal(1), cost=Decimal(1)),
    ):
        with pytest.raises(Refused):
            exchange.place(order)
    assert not venue.ledger()
    assert calls(venue) == ["markets/"]


@pytest.mark.parametrize(
    ("fields", "code", "nearest"),
    [
        ({"amount": Decimal("0.123456789")}, "amount_step", "0.12345679"),
        ({"amount": Decimal("0.00001")}, "amount_min", "0.0001"),
        ({"amount": Decimal("0.1"), "price": Decimal("30000.001")}, "price_step", "30000.00"),
        ({"amount": Decimal("0.0001"), "price": Decimal(30000)}, "cost_min", "10"),
        ({"cost": Decimal("9.99")}, "cost_min", "10"),
    ],
)
def test_an_order_that_breaks_a_rule_is_refused_unsent_with_the_nearest_allowed_value(
    venue, exchange, fields, code, nearest
):
    with pytest.raises(Refused) as caught:
        exchange.place(new(**fields))
    assert caught.value.code == caught.value.details["rule"] == code
    assert caught.value.details["nearest"] == nearest
    assert calls(venue) == ["markets/"]


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (new("sell", amount=Decimal(200)), "insufficient_funds"),
        (new(cost=Decimal(2000)), "insufficient_funds"),
        (new(amount=Decimal(1), price=Decimal(40000)), "invalid_price"),
        (new(amount=Decimal(1), price=Decimal(20000)), "invalid_price"),
        (new(cost=Decimal("100.001")), "invalid_amount"),
    ],
)
def test_what_bitstamp_refuses_has_our_code_and_its_words(venue, exchange, order, code):
    venue.account.balances["EUR"] = Decimal(1000)
    with pytest.raises(Refused) as caught:
        exchange.place(order)
    assert caught.value.code == code
    assert not venue.ledger()


def test_an_order_that_bitstamp_did_not_confirm_in_time_is_unknown_and_found(venue, exchange):
    venue.placing_times_out = 1
    order = new(amount=Decimal("0.1"))
    with pytest.raises(Unknown):
        exchange.place(order)
    assert len(venue.ledger()) == 1
    assert exchange.find(ref_of(order)).status == "filled"


def test_cancel_pending_is_no_failure_and_the_order_is_canceled_then(venue, exchange):
    order = new("sell", amount=Decimal("0.1"), price=Decimal(35000))
    ref = ref_of(order, exchange.place(order).exchange_order_id)
    venue.slow_cancels = True
    exchange.cancel(ref)
    assert exchange.order(ref).status == "canceled"


def test_an_order_without_a_known_id_is_canceled_by_ours(venue, exchange):
    order = new("sell", amount=Decimal("0.1"), price=Decimal(35000))
    exchange.place(order)
    exchange.cancel(ref_of(order))
    assert exchange.find(ref_of(order)).status == "canceled"


def test_open_orders_may_be_ten_seconds_old_and_a_single_order_is_not(venue, exchange):
    venue.cache_seconds = 10
    assert exchange.open_orders() == []
    order = new("sell", amount=Decimal("0.1"), price=Decimal(35000))
    exchange.place(order)
    assert exchange.open_orders() == []
    assert exchange.find(ref_of(order)).status == "open"


def test_an_order_that_is_over_for_more_than_30_days_is_no_longer_found_and_may_have_been_there(venue, exchange):
    order = new(amount=Decimal("0.1"))
    exchange.place(order)
    now = venue.clock
    for closed in venue.orders.values():
        closed.closed = now() - 31 * 86400
    long_ago = datetime.now(UTC) - timedelta(days=31)
    ref = ref_of(order)
    for since in ({"created": long_ago}, {"created": None, "not_before": long_ago}, {"created": None}):
        with pytest.raises(Unsupported, match="may have forgotten"):
            exchange.find(dataclasses.replace(ref, **since))
    assert exchange.find(ref) is None, "one of today would be there"


def test_a_price_far_below_a_cent_is_told_with_all_its_digits(exchange):
    rate = exchange.rate("EUR", "XRP")
    assert (rate.buy, rate.sell) == (Decimal("0.50050"), Decimal("0.50000"))


def test_only_open_spot_markets_are_listed(exchange):
    assert [(market.asset, market.currency) for market in exchange.markets()] == [
        ("BTC", "EUR"),
        ("BTC", "USD"),
        ("XRP", "EUR"),
    ]


def test_a_market_that_is_not_there_is_refused_with_what_is_offered(venue, exchange):
    with pytest.raises(Refused, match="BTC is traded there in EUR, USD") as caught:
        exchange.place(NewOrder("buy", "GBP", "BTC", uuid.uuid4().hex, amount=Decimal(1)))
    assert caught.value.code == "unknown_market"
    for currency, asset in (("../..", "BTC"), ("EUR", "BTC/EUR"), ("EUR", ""), ("EÜR", "BTC")):
        with pytest.raises(Refused) as caught:
            exchange.rate(currency, asset)
        assert caught.value.code == "unknown_market"
    assert calls(venue) == ["markets/"]


def test_the_programs_decimal_context_changes_nothing(exchange):
    order, too_fine = new(amount=Decimal("0.12345678")), new(amount=Decimal("12345.1234567891"))
    got = trade_in_a_harsh_decimal_context(exchange, "EUR", order, too_fine)
    assert (got.state.filled, got.state.average) == (Decimal("0.12345678"), Decimal(30010))
    assert got.funds["BTC"].available == Decimal("100.12345678")
    assert total(fill.amount for fill in got.fills) == Decimal("0.12345678")
    assert (got.rate.buy, got.markets[0].price_step) == (Decimal(30010), Decimal("0.01"))
    assert got.refusal.details["nearest"] == "12345.12345679"


@pytest.mark.parametrize(
    ("asset", "tag", "name"), [("XRP", "89473951", "destination_tag"), ("XLM", "299576079", "memo_id")]
)
def test_tags_come_with_the_address_and_go_with_the_withdrawal(venue, exchange, asset, tag, name):
    venue.account.balances[asset] = Decimal(100)
    venue.pairs["XLM/EUR"] = dataclasses.replace(venue.pairs["XRP/EUR"], asset="XLM")
    assert exchange.deposit_address(asset).tag == tag
    made = exchange.withdraw(NewWithdrawal(asset, Decimal(25), "rDestination", uuid.uuid4().hex, tag=tag))
    assert (made.status, made.tag) == ("pending", tag)
    assert venue.withdrawals[made.id].tag == tag
    assert f"{name}={tag}" in venue.requests[-1].body.decode()
    (listed,) = exchange.withdrawals(asset)
    assert listed.tag == (tag if asset == "XRP" else None)
    assert listed.address == "rDestination"


def test_a_tag_that_cannot_be_sent_refuses_the_withdrawal(venue, exchange):
    with pytest.raises(Refused) as caught:
        exchange.withdraw(NewWithdrawal("BTC", Decimal("0.1"), "somewhere", uuid.uuid4().hex, tag="7"))
    assert caught.value.code == "invalid_request"
    assert not venue.ledger()


def test_money_is_not_sent_to_addresses_and_unknown_assets_never_become_a_path(venue, exchange):
    for asset, code in (("EUR", "unsupported"), ("NOSUCH", "unknown_asset"), ("../btc", "unknown_asset")):
        with pytest.raises(Refused) as caught:
            exchange.withdraw(NewWithdrawal(asset, Decimal(25), "somewhere", uuid.uuid4().hex))
        assert caught.value.code == code
    assert calls(venue) == ["currencies/"]


def test_refused_withdrawals_have_our_codes(venue, exchange):
    venue.allowed_addresses = {"allowed"}
    for asset, amount, address, network, code in (
        ("BTC", "0.1", "elsewhere", None, "address_not_registered"),
        ("BTC", "0.0001", "allowed", None, "invalid_amount"),
        ("BTC", "0.123456789", "allowed", None, "invalid_amount"),
        ("BTC", "1000", "allowed", None, "insufficient_funds"),
        ("BTC", "0.1", "allowed", "litecoin", "invalid_request"),
    ):
        with pytest.raises(Refused) as caught:
            exchange.withdraw(NewWithdrawal(asset, Decimal(amount), address, uuid.uuid4().hex, network=network))
        assert caught.value.code == code
    assert not venue.ledger()


def test_deposits_of_money_and_of_crypto_are_one_list_newest_first(venue, exchange):
    venue.clock = lambda: 1_800_000_000.0
    venue.deposit("BTC", Decimal("0.00000001"))
    venue.clock = lambda: 1_800_000_100.0
    venue.deposit("EUR", Decimal("12.34"))
    venue.clock = time.time
    rows = exchange.deposits()
    assert [(row.asset, row.amount, row.status) for row in rows] == [
        ("EUR", Decimal("12.34"), "done"),
        ("BTC", Decimal("0.00000001"), "done"),
    ]
    assert rows[1].address == exchange.deposit_address("BTC").address
    assert exchange.deposits("BTC") == rows[1:]
    assert exchange.deposits("EUR") == rows[:1]


@pytest.mark.parametrize("switch", ["unsigned", "forged"])
def test_a_good_answer_without_bitstamps_signature_is_unknown_for_an_order_and_a_send(venue, exchange, switch):
    exchange.markets()
    exchange.deposit_address("BTC")
    order = new(amount=Decimal("0.1"))
    setattr(venue, switch, 1)
    with pytest.raises(Unknown, match="signature"):
        exchange.place(order)
    assert exchange.find(ref_of(order)).status == "filled"
    setattr(venue, switch, 1)
    with pytest.raises(Unknown, match="signature"):
        exchange.withdraw(NewWithdrawal("BTC", Decimal("0.1"), "somewhere", uuid.uuid4().hex))
    assert [row["kind"] for row in venue.ledger()] == ["order", "withdrawal"]


@pytest.mark.parametrize("switch", ["unsigned", "forged"])
def test_a_good_answer_without_bitstamps_signature_refuses_a_read(venue, exchange, switch):
    setattr(venue, switch, 1)
    with pytest.raises(Refused, match="signature") as caught:
        exchange.funds()
    assert caught.value.code == "exchange_unavailable"
    assert exchange.funds()["BTC"].total == 100


def answering(venue, path: str, change) -> None:
    """The venue's handler of `path` answers what `change` makes of its true answer; signed as ever."""
    for number, (method, pattern, handler) in enumerate(venue._routes):
        if pattern.fullmatch(f"/api/v2/{path}/"):

            def lying(request, handler=handler, **names):
                honest = handler(request, **names)
                body = change(json.loads(honest.body, parse_float=Decimal))
                return venue.sign(request, Reply.json(body), venue.account)

            venue._routes[number] = (method, pattern, lying)


@pytest.mark.parametrize(
    "lie",
    [
        {"id": 1},
        {"market": "BTC/USD"},
        {"market": "XRP/EUR"},
        {"type": "0"},
        {"client_order_id": "f" * 32},
        {"transactions": 7},
        {"transactions": [{"btc": "0.1", "eur": "x", "price": "1", "fee": "0"}]},
        {"amount_remaining": "NaN"},
        {"amount_remaining": "-1"},
        {"datetime": "yesterday"},
        {"id": "one"},
    ],
)
def test_an_order_told_with_another_id_pair_side_or_shape_is_not_believed(venue, exchange, lie):
    order = new("sell", amount=Decimal("0.1"), price=Decimal(35000))
    placed = exchange.place(order)
    answering(venue, "order_status", lambda row: {**row, **lie})
    with pytest.raises(Refused) as caught:
        exchange.order(ref_of(order, placed.exchange_order_id))
    assert caught.value.code == "exchange_unavailable"
    if lie != {"id": 1}:
        with pytest.raises(Refused) as caught:
            exchange.find(ref_of(order))
        assert caught.value.code == "exchange_unavailable"


@pytest.mark.parametrize("lie", [{"type": "1"}, {"client_order_id": "f" * 32}, {"id": None}, {"datetime": 7}])
def test_the_answer_to_an_order_that_tells_another_one_is_unknown(venue, exchange, lie):
    answering(venue, "buy/btceur", lambda row: {**row, **lie})
    with pytest.raises(Unknown):
        exchange.place(new(amount=Decimal("0.1"), price=Decimal(30000)))
    assert len(venue.ledger()) == 1


def test_a_cancellation_that_tells_another_order_or_not_all_is_unknown(venue, exchange):
    order = new("sell", amount=Decimal("0.1"), price=Decimal(35000))
    placed = exchange.place(order)
    answering(venue, "cancel_order", lambda row: {**row, "id": 1})
    with pytest.raises(Unknown):
        exchange.cancel(ref_of(order, placed.exchange_order_id))
    answering(venue, "cancel_all_orders", lambda row: {**row, "success": False})
    with pytest.raises(Unknown):
        exchange.cancel_all()


def test_nothing_is_available_below_zero_and_crossed_prices_are_not_believed(venue, exchange):
    answering(venue, "account_balances", lambda rows: [{**row, "available": "-1.0"} for row in rows])
    assert {(funds.total > 0, funds.available) for funds in exchange.funds().values()} == {(True, 0)}
    venue.pairs["BTC/EUR"].bids[0] = (Decimal(30011), Decimal(1))
    with pytest.raises(Refused):
        exchange.rate("EUR", "BTC")


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
    exchange = connect(Bitstamp, venue, transport)
    exchange.markets()
    order = new(amount=Decimal("0.1"))
    venue.fault(kind, path="/buy/market/")
    with pytest.raises(ExchangeError) as caught:
        exchange.place(order)
    assert (type(caught.value), caught.value.code) == (failure, code)
    venue.heal()
    assert len(venue.ledger()) == executed
    found = exchange.find(ref_of(order))
    assert (found is not None) is bool(executed)
    transport.close()


@pytest.mark.parametrize("kind", FAULTS)
def test_a_withdrawal_under_a_fault_is_refused_or_unknown_as_the_ledger_says(venue, kind):
    failure, code, executed = FAULTS[kind]
    transport = Transport(timeout=0.5)
    exchange = connect(Bitstamp, venue, transport)
    exchange.deposit_address("BTC")
    venue.fault(kind, path="/btc_withdrawal/")
    with pytest.raises(ExchangeError) as caught:
        exchange.withdraw(NewWithdrawal("BTC", Decimal("0.1"), "somewhere", uuid.uuid4().hex))
    assert (type(caught.value), caught.value.code) == (failure, code)
    venue.heal()
    assert len(venue.ledger()) == executed
    transport.close()


def send(venue, transport, *, key=None, secret=None, seconds=0.0, stamped=0.0, nonce=uuid.uuid4, **changes):
    """One balance call with something wrong: a header changed (or gone, when None), or a body without its type.

    `seconds`: how far the clock is off; `stamped`: the same of the timestamp alone, after it was signed.
    """
    api = BitstampAPI(
        key or venue.key, secret or venue.secret, url=venue.url, clock=lambda: time.time() + seconds, nonce=nonce
    )
    request = api.signed("account_balances", changes.pop("form", None))
    headers = {**request.headers, **changes.pop("headers", {})}
    if stamped:
        headers["X-Auth-Timestamp"] = str(int((time.time() + stamped) * 1000))
    answer = transport.send(
        Request(
            "POST", request.url, {name: value for name, value in headers.items() if value is not None}, request.body
        )
    )
    return answer.status, answer.json()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"headers": {"X-Auth": None, "X-Auth-Nonce": None}}, "API0012"),
        ({"headers": {"X-Auth-Signature": None}}, "API0013"),
        ({"headers": {"X-Auth-Nonce": None, "X-Auth-Version": "v1"}}, "API0014"),
        ({"headers": {"X-Auth-Timestamp": None}}, "API0015"),
        ({"headers": {"X-Auth-Version": None}}, "API0016"),
        ({"headers": {"X-Auth-Version": "v1", "X-Auth": "BITSTAMP nobody"}}, "API0010"),
        ({"headers": {"X-Auth": "nobody"}}, "API0011"),
        ({"key": "nobody", "seconds": -1000}, "API0001"),
        ({"headers": {"X-Auth-Timestamp": "yesterday"}}, "API0018"),
        ({"seconds": -151, "nonce": lambda: "short"}, "API0017"),
        ({"seconds": 152}, "API0017"),
        ({"nonce": lambda: "short", "secret": "wrong"}, "API0004"),
        ({"nonce": lambda: str(uuid.uuid4()).upper()}, "API0004"),
        ({"secret": "wrong"}, "API0005"),
        ({"stamped": -7.0}, "API0005"),
        ({"headers": {"Content-Type": "application/x-www-form-urlencoded"}}, "API0020"),
        ({"form": {"a": 1}, "headers": {"Content-Type": "application/json"}}, "API0019"),
        ({"form": {"a": 1}, "headers": {"Content-Type": None}}, "API0019"),
    ],
)
def test_the_venue_refuses_a_request_with_something_wrong(venue, transport, wrong, code):
    status, document = send(venue, transport, **wrong)
    assert (status, document["status"], document["code"]) == (403, "error", code)


def test_the_venue_takes_a_nonce_once_in_300_seconds_and_signatures_in_capitals(venue, transport):
    nonce = str(uuid.uuid4())
    assert send(venue, transport, nonce=lambda: nonce)[0] == 200
    assert send(venue, transport, nonce=lambda: nonce)[1]["code"] == "API0004"
    venue.clock = lambda: time.time() + 299
    assert send(venue, transport, nonce=lambda: nonce, seconds=299)[1]["code"] == "API0004"
    venue.clock = lambda: time.time() + 301
    assert send(venue, transport, nonce=lambda: nonce, seconds=301)[0] == 200
    venue.clock = time.time
    request = BitstampAPI(venue.key, venue.secret, url=venue.url).signed("account_balances")
    capitals = request._replace(
        headers={**request.headers, "X-Auth-Signature": request.headers["X-Auth-Signature"].upper()}
    )
    assert transport.send(capitals).status == 200


def test_the_venue_wants_the_slash_at_the_end_and_the_right_for_each_call(venue, transport, exchange):
    assert transport.send(Request("GET", f"{venue.url}/api/v2/markets", {})).status == 404
    venue.account.permissions = {"balance"}
    assert exchange.funds()
    for call in (
        exchange.open_orders,
        lambda: exchange.place(new(amount=Decimal("0.1"))),
        lambda: exchange.deposit_address("BTC"),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.code == "permission_denied"


def test_a_wrong_secret_is_refused_by_the_exchange(venue, transport):
    wrong = Bitstamp(ExchangeContext(transport, Credentials(apikey=venue.key, apisecret="wrong"), 1, venue.url))
    with pytest.raises(Refused, match="Invalid signature") as caught:
        wrong.funds()
    assert caught.value.code == "exchange_key_refused"


def test_one_odd_open_order_hides_no_other_and_does_not_vanish(exchange, monkeypatch):
    placed = [exchange.place(new("sell", amount=Decimal("0.1"), price=Decimal(35000))) for _ in range(2)]
    rows = exchange.api.private("open_orders")
    monkeypatch.setattr(exchange.api, "private", lambda path: [{**rows[0], "market": "BTC"}, *rows[1:]])
    states = exchange.open_orders()
    assert {state.exchange_order_id for state in states} == {state.exchange_order_id for state in placed}
    assert [(state.status, state.side) for state in states] == [("open", None), ("open", "sell")]
    monkeypatch.setattr(exchange.api, "private", lambda path: [{**rows[0], "id": None}, *rows[1:]])
    with pytest.raises(Refused, match="cannot be understood"):
        exchange.open_orders()


def asked(venue) -> list[tuple[str, dict[str, str]]]:
    """Each call since the start but the one for the markets, with its parameters."""
    return [
        (request.path.removeprefix("/api/v2/"), request.args)
        for request in venue.requests
        if request.path != "/api/v2/markets/"
    ]


def test_what_is_asked_of_a_market(venue, exchange):
    exchange.order_book("EUR", "BTC", 20)
    exchange.ticker("EUR", "BTC")
    exchange.candles("EUR", "BTC", "4h", None, 7)
    exchange.fees("EUR", "BTC")
    assert asked(venue) == [
        ("order_book/btceur/", {"group": "1"}),
        ("ticker/btceur/", {}),
        ("ohlc/btceur/", {"step": "14400", "limit": "7"}),
        ("fees/trading/btceur/", {}),
    ]


def test_candles_since_a_time_are_asked_for_in_a_window_that_has_no_more_than_the_limit(venue, exchange):
    since = datetime(2024, 2, 28, 23, 30, tzinfo=UTC)
    candles = exchange.candles("EUR", "BTC", "1h", since, 3)
    assert [candle.time for candle in candles] == [datetime(2024, 2, 29, hour, tzinfo=UTC) for hour in (0, 1, 2)]
    query = {"step": "3600", "limit": "1000", "start": "1709163000", "end": str(1709163000 + 3_600_000 - 1)}
    assert asked(venue) == [("ohlc/btceur/", query)]
    venue.requests.clear()
    exchange.candles("EUR", "BTC", "1h", since + timedelta(microseconds=1), 3)
    assert asked(venue)[0][1]["start"] == "1709163001"


def test_the_latest_candles_are_the_last_ones_that_began(venue, exchange):
    venue.clock = lambda: datetime(2024, 2, 29, 1, 59, 59, tzinfo=UTC).timestamp()
    candles = exchange.candles("EUR", "BTC", "1h", None, 2)
    assert [
        (candle.time.hour, candle.open, candle.high, candle.low, candle.close, candle.volume) for candle in candles
    ] == [
        (0, Decimal(30000), Decimal(30010), Decimal(30000), Decimal(30000), Decimal("0.25")),
        (1, Decimal(30000), Decimal(30010), Decimal(30000), Decimal(30010), Decimal("1.5")),
    ]


def test_of_more_candles_than_were_asked_for_the_latest_stay(exchange, monkeypatch):
    """The rows are those of the comment in ccxt 4.5.90, bitstamp.py, fetch_ohlcv; in no order here."""
    names = ("timestamp", "open", "high", "low", "close", "volume")
    table = (
        ("1593961560", "9067.33", "9067.33", "9061.94", "9061.94", "0.04142833"),
        ("1593961440", "9040.87", "9064.77", "9040.87", "9064.77", "18.49436608"),
        ("1593961500", "9064.66", "9071.59", "9058.76", "9061.07", "3.48631711"),
    )
    answer = {"data": {"pair": "BTC/EUR", "ohlc": [dict(zip(names, row, strict=True)) for row in table]}}
    exchange.markets()
    monkeypatch.setattr(exchange.api, "public", lambda path, query=None: answer)
    second, third = exchange.candles("EUR", "BTC", "1m", None, 2)
    assert (second.time, third.time) == tuple(datetime(2020, 7, 5, 15, minute, tzinfo=UTC) for minute in (5, 6))
    prices = (second.open, second.high, second.low, second.close, second.volume)
    assert prices == tuple(map(Decimal, table[2][1:]))


def test_trades_of_the_day_are_asked_for_only_when_those_of_the_hour_are_too_few(venue, exchange):
    exchange.place(new(amount=Decimal("0.1")))
    for order in venue.orders.values():
        order.fills = [dataclasses.replace(fill, time=fill.time - 7200) for fill in order.fills]
    exchange.place(new("sell", amount=Decimal("0.2")))
    venue.requests.clear()
    (latest,) = exchange.trades("EUR", "BTC", 1)
    assert (latest.side, latest.amount, latest.price) == ("sell", Decimal("0.2"), Decimal(30000))
    assert asked(venue) == [("transactions/btceur/", {"time": "hour"})]
    assert [(trade.side, trade.amount) for trade in exchange.trades("EUR", "BTC", 2)] == [
        ("sell", Decimal("0.2")),
        ("buy", Decimal("0.1")),
    ]
    assert asked(venue)[1:] == [
        ("transactions/btceur/", {"time": "hour"}),
        ("transactions/btceur/", {"time": "day"}),
    ]


def test_fees_are_fractions_of_what_bitstamp_tells_in_percent(exchange):
    fees = exchange.fees("EUR", "BTC")
    assert (fees.maker, fees.taker, fees.source) == (Decimal("0.004"), Decimal("0.004"), "account")


@pytest.mark.parametrize("row", [{"market": "btcusd"}, {"market": None}, {}])
def test_fees_of_another_market_are_not_taken(exchange, monkeypatch, row):
    fees = {"fees": {"maker": "0.1", "taker": "0.2"}}
    monkeypatch.setattr(exchange.api, "private", lambda path, form=None: {**row, **fees})
    with pytest.raises(Refused) as caught:
        exchange.fees("EUR", "BTC")
    assert caught.value.code == "exchange_unavailable"


@pytest.mark.parametrize(
    "path",
    [
        "order_book/btceur/?group=3",
        "transactions/btceur/?time=week",
        "ohlc/btceur/?step=61&limit=1",
        "ohlc/btceur/?step=604800&limit=1",
        "ohlc/btceur/?limit=1",
        "ohlc/btceur/?step=60&limit=0",
        "ohlc/btceur/?step=60&limit=1001",
        "ohlc/btceur/?step=60",
        "ohlc/btceur/?step=60&limit=1&start=yesterday",
    ],
)
def test_the_local_bitstamp_refuses_parameters_that_bitstamp_does_not_have(venue, path):
    path, _, query = path.partition("?")
    answer = venue.answer(core.Request("GET", f"/api/v2/{path}", query, {}, b""))
    assert answer.status == 400, answer


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, {}),
        ({"time_in_force": "GTC"}, {}),
        ({"time_in_force": "IOC"}, {"ioc_order": "True"}),
        ({"time_in_force": "FOK"}, {"fok_order": "True"}),
        ({"post_only": True}, {"moc_order": "True"}),
        (
            {"time_in_force": "GTD", "expires": datetime(2099, 1, 1, tzinfo=UTC)},
            {"gtd_order": "True", "expire_time": "4070908800000"},
        ),
    ],
)
def test_the_conditions_of_a_limit_order_are_options_of_its_form(exchange, venue, fields, options):
    order = new("sell", amount=Decimal("0.1"), price=Decimal(33000), **fields)
    exchange.place(order)
    sent = next(request.form for request in venue.requests if request.path.endswith("/sell/btceur/"))
    assert sent == {"amount": "0.1", "price": "33000", "client_order_id": order.client_id, **options}


def test_a_post_only_order_until_a_time_is_refused_by_name(exchange, ledger):
    order = new("sell", amount=Decimal("0.1"), price=Decimal(33000), post_only=True, time_in_force="GTD")
    for refuse in (exchange.check_kind, exchange.place):
        with pytest.raises(Refused, match="no order that is both") as caught:
            refuse(replace(order, expires=datetime(2099, 1, 1, tzinfo=UTC)))
        assert caught.value.code == "unsupported"
    assert ledger() == []


def test_an_order_that_expired_says_so(exchange, venue):
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    order = new("sell", amount=Decimal("0.1"), price=Decimal(33000), time_in_force="GTD", expires=end)
    placed = exchange.place(order)
    venue.orders[placed.exchange_order_id].expires = venue.clock()
    state = exchange.order(ref_of(order, placed.exchange_order_id))
    assert (state.status, state.filled, state.reason) == ("canceled", 0, "it expired")


def test_a_sell_for_a_cost_is_an_instant_order_that_counts_the_currency(exchange, venue):
    order = new("sell", cost=Decimal("100.50"))
    state = exchange.place(order)
    sent = next(request for request in venue.requests if "/instant/" in request.path)
    assert sent.path == "/api/v2/sell/instant/btceur/"
    assert sent.form == {"amount": "100.50", "client_order_id": order.client_id, "amount_in_counter": "True"}
    executed = venue.orders[state.exchange_order_id]
    assert (state.status, state.filled, state.spent) == ("filled", executed.filled, executed.spent)


@pytest.mark.parametrize(("path", "word"), [("sell/btceur/", "True"), ("sell/instant/btceur/", "yes")])
def test_the_local_bitstamp_refuses_to_count_the_currency_where_bitstamp_does_not(exchange, venue, path, word):
    with pytest.raises(Refused, match="Not a valid choice") as caught:
        exchange.api.private(path.strip("/"), {"amount": "50", "price": "30000", "amount_in_counter": word})
    assert caught.value.code == "invalid_request"
    assert venue.ledger() == []
