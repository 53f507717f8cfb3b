"""Kraken's AddOrderBatch, over real HTTP against the local Kraken ("Add Order Batch": 2 to 15 orders of one pair)."""

from __future__ import annotations

import json
import uuid
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.errors import Busy, Refused, Unknown
from bitmm.xwrap.exchanges.kraken import Kraken, KrakenAPI
from bitmm.xwrap.exchanges.models import NewOrder, OrderRef, OrderState
from bitmm.xwrap.testing.exchanges import kraken as local_exchange
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue

EXCHANGE, VENUE = Kraken, KrakenVenue
SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="


def new(side="sell", amount="0.01", price="60000", *, currency="EUR", asset="BTC", **more):
    price = None if price is None else Decimal(price)
    return NewOrder(side, currency, asset, uuid.uuid4().hex, amount=Decimal(amount), price=price, **more)


def ref(order):
    return OrderRef(order.side, order.currency, order.asset, order.client_id, created=datetime.now(UTC))


def calls(venue):
    """The methods that were asked for but the lists that are kept, in order; forgets them."""
    made = [request.path.rpartition("/")[2] for request in venue.requests]
    venue.requests.clear()
    return [method for method in made if method not in ("AssetPairs", "Assets")]


def summary(outcomes):
    return [outcome.status if isinstance(outcome, OrderState) else outcome.code for outcome in outcomes]


def test_the_request_is_signed_by_the_rule_of_the_document():
    """API-Sign was computed with openssl from "Spot REST Authentication", apart from this code."""
    orders = [
        {
            "type": "buy",
            "ordertype": "limit",
            "volume": Decimal("1.25"),
            "price": 37500,
            "timeinforce": None,
            "cl_ord_id": "6d1b345e-2821-40e2-ad83-4ecb18a06876",
        },
        {"type": "sell", "ordertype": "limit", "volume": "1.2", "price": "42000"},
    ]
    api = KrakenAPI("key", SECRET)
    request = api.signed("AddOrderBatch", {"pair": "XBTUSD", "orders": orders}, nonce=1616492376594)
    assert request.url == "https://api.kraken.com/0/private/AddOrderBatch"
    assert request.headers["Content-Type"] == "application/json"
    assert request.body == (
        b'{"nonce": "1616492376594", "pair": "XBTUSD", "orders": [{"type": "buy", "ordertype": "limit", "volume":'
        b' "1.25", "price": "37500", "cl_ord_id": "6d1b345e-2821-40e2-ad83-4ecb18a06876"}, {"type": "sell",'
        b' "ordertype": "limit", "volume": "1.2", "price": "42000"}]}'
    )
    assert request.headers["API-Sign"] == (
        "4si5lE6nJgX1+zbduE4940GhQuhD+4VdthR636Hx4GYdel1dIAkblaCkC/EMd/4HjrviJ8V1RKqDn8wLsbJv9A=="
    )


def test_orders_of_one_pair_are_one_request_each_with_its_own_id_and_conditions(exchange, venue):
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    orders = [
        new(),
        new("buy", price="20000", post_only=True),
        new(time_in_force="GTD", expires=until),
        new("buy", price=None),
    ]
    outcomes = exchange.place_many(orders)
    assert summary(outcomes) == ["open", "open", "open", "filled"]
    body = json.loads(next(r.body for r in venue.requests if r.path.endswith("AddOrderBatch")))
    assert calls(venue) == ["AddOrderBatch", "QueryOrders"], "and one question for those that may be over"
    assert (sorted(body), body["pair"]) == (["nonce", "orders", "pair"], "XXBTZEUR")
    assert [row["cl_ord_id"] for row in body["orders"]] == [order.client_id for order in orders]
    assert body["orders"][1] == {
        "type": "buy",
        "ordertype": "limit",
        "volume": "0.01",
        "price": "20000",
        "oflags": "fciq,post",
        "cl_ord_id": orders[1].client_id,
    }
    assert (body["orders"][2]["timeinforce"], body["orders"][2]["expiretm"]) == ("GTD", str(int(until.timestamp())))
    assert (outcomes[3].filled, outcomes[3].fee_currency) == (Decimal("0.01"), "EUR")


def test_an_order_is_believed_to_have_its_stop_when_it_is_seen(exchange, venue, monkeypatch):
    stop = new(price=None, stop=Decimal(20000))
    [placed, _] = exchange.place_many([stop, new()])
    assert (placed.status, placed.stop) == ("open", 20000)
    assert calls(venue) == ["AddOrderBatch", "QueryOrders"]
    read = exchange.read_orders
    monkeypatch.setattr(
        exchange, "read_orders", lambda refs: {id: replace(state, stop=None) for id, state in read(refs).items()}
    )
    outcomes = exchange.place_many([new(price=None, stop=Decimal(20000)), new()])
    assert summary(outcomes) == ["outcome_unknown", "open"]


def test_pairs_have_requests_of_their_own_of_15_orders_at_most_and_one_order_is_placed_alone(exchange, venue):
    orders = [new(price=str(60000 + number)) for number in range(17)]
    orders.insert(3, new("buy", "0.5", "0.02", currency="BTC", asset="ETH"))
    outcomes = exchange.place_many(orders)
    assert summary(outcomes) == ["open"] * 18
    assert calls(venue) == ["AddOrderBatch", "AddOrderBatch", "AddOrder"]
    assert [outcome.client_id for outcome in outcomes] == [order.client_id for order in orders]
    assert len(venue.ledger()) == 18


def test_what_breaks_a_rule_of_its_market_is_refused_unsent_and_alone(exchange, venue):
    outcomes = exchange.place_many([new(), new(amount="0.00000001"), new(asset="NOSUCH"), new(time_in_force="FOK")])
    assert summary(outcomes) == ["open", "amount_min", "unknown_market", "unsupported"]
    assert calls(venue) == ["AddOrder"]


def test_funds_refuse_an_order_alone(exchange, venue):
    outcomes = exchange.place_many([new(), new(amount="1000000"), new()])
    assert summary(outcomes) == ["open", "insufficient_funds", "open"]
    assert (type(outcomes[1]), outcomes[1].reason) == (Refused, "EOrder:Insufficient funds")
    venue.nonce_window = 1000
    exchange.context.cache.invalidate(f"nonce window of {venue.key}")
    outcomes = exchange.place_many([new(), new(amount="1000000")])
    assert (type(outcomes[1]), outcomes[1].refusal.code) == (Unknown, "insufficient_funds")


def test_a_post_only_order_that_would_take_is_refused_by_name(exchange):
    assert summary(exchange.place_many([new(price="100", post_only=True), new()])) == ["would_take", "open"]


def test_when_kraken_refuses_all_for_one_the_others_are_placed_one_by_one(exchange, venue):
    """Its clock is ahead, so the order is over for it; by ours it is not."""
    venue.clock = lambda: datetime.now(UTC).timestamp() + 120
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=60)
    outcomes = exchange.place_many([new(), new(time_in_force="GTD", expires=soon), new()])
    assert summary(outcomes) == ["open", "invalid_request", "open"]
    assert calls(venue) == ["AddOrderBatch", "AddOrder", "AddOrder", "AddOrder"]
    assert len(venue.ledger()) == 2


def test_a_key_that_may_not_cancel_places_one_by_one(exchange, venue):
    """ "Add Order Batch" needs the right to cancel, too."""
    venue.account.permissions -= {"close-trades"}
    assert summary(exchange.place_many([new(), new()])) == ["open", "open"]
    assert calls(venue) == ["AddOrderBatch", "AddOrder", "AddOrder"]


def test_where_the_counter_of_the_key_is_full_they_are_placed_one_by_one(exchange, venue):
    """ "Spot REST Rate Limits": every call counts but AddOrder and CancelOrder, and so does this one."""

    @contextmanager
    def throttle(call, *, signed):
        if call == "AddOrderBatch":
            raise Busy("the counter is full", retry_after=3)
        yield

    full = exchange.with_context(replace(exchange.context, throttle=throttle))
    assert summary(full.place_many([new(), new()])) == ["open", "open"]
    assert calls(venue) == ["AddOrder", "AddOrder"]
    venue.fault("rate_limit", path="AddOrderBatch")
    assert summary(exchange.place_many([new(), new()])) == ["open", "open"]
    assert calls(venue) == ["AddOrderBatch", "AddOrder", "AddOrder"]


@pytest.mark.parametrize(
    ("kind", "types"),
    [
        ("reset_before", [Unknown] * 2),
        ("reset_after", [Unknown] * 2),
        ("cut", [Unknown] * 2),
        ("html", [Unknown] * 2),
        ("html_after", [Unknown] * 2),
        ("nonce", [Unknown] * 2),
        ("delivered_twice", [Unknown] * 2),
        ("maintenance", [Unknown] * 2),
    ],
)
def test_under_a_fault_each_is_refused_or_unknown_as_the_ledger_says(exchange, venue, kind, types):
    orders = [new(), new()]
    venue.fault(kind, path="AddOrderBatch")
    outcomes = exchange.place_many(orders)
    assert [type(outcome) for outcome in outcomes] == types
    executed = len(venue.ledger())
    assert executed == (2 if kind in ("reset_after", "cut", "html_after", "delivered_twice") else 0)
    if executed:
        assert all(outcome.may_have_executed for outcome in outcomes)
    assert calls(venue).count("AddOrder") == 0, "nothing is sent again"
    found = [exchange.find(ref(order)) for order in orders]
    assert [state is not None for state in found] == [executed == 2] * 2


def change_rows(venue, change):
    """Let the answers to AddOrderBatch have what `change` makes of their rows."""
    handler = venue.private_AddOrderBatch
    venue.private_AddOrderBatch = lambda *given: {"orders": change(handler(*given)["orders"])}


@pytest.mark.parametrize(
    "odd",
    [
        *({}, None, "O5OR23-ADFAD-Y2G61C", {"txid": 7}, {"txid": ""}, {"txid": ["O5OR23-ADFAD-Y2G61C"]}),
        *({"error": None}, {"error": "EService:Internal error"}),
    ],
)
def test_an_order_whose_row_tells_no_outcome_is_unknown_alone(exchange, venue, odd):
    change_rows(venue, lambda rows: [odd, *rows[1:]])
    assert summary(exchange.place_many([new(), new()])) == ["outcome_unknown", "open"]


@pytest.mark.parametrize("change", [lambda rows: rows[:1], lambda rows: rows * 2, lambda _: {}, lambda _: None])
def test_an_answer_with_more_or_fewer_rows_tells_nothing(exchange, venue, change):
    change_rows(venue, change)
    assert summary(exchange.place_many([new(), new()])) == ["outcome_unknown"] * 2


def test_the_recorded_answer_has_an_order_in_each_row(exchange, venue):
    venue.private_AddOrderBatch = lambda *_: local_exchange.recorded("Trading", "PlaceMultipleOrders")
    outcomes = exchange.place_many([new("buy", "0.803", "28300"), new("sell", "0.105", "36000")])
    assert [state.exchange_order_id for state in outcomes] == ["O5OR23-ADFAD-Y2G61C", "9K6KFS-5H3PL-XBRC7A"]


@pytest.mark.parametrize("orders", [[], [{}], [{}] * 16, {}, ["order"] * 2, [{"pair": "XBTEUR"}] * 2])
def test_the_local_kraken_takes_2_to_15_orders_without_a_pair_of_their_own(venue, orders):
    with KrakenAPI(venue.key, venue.secret, url=venue.url) as api, pytest.raises(Refused) as caught:
        api.private("AddOrderBatch", {"pair": "XBTEUR", "orders": orders})
    assert caught.value.reason.startswith("EGeneral:Invalid arguments")
    assert venue.ledger() == []


def test_the_local_kraken_checks_orders_and_places_none_when_it_is_told_to(venue):
    order = {"type": "buy", "ordertype": "limit", "volume": "0.01", "price": "20000"}
    with KrakenAPI(venue.key, venue.secret, url=venue.url) as api:
        answer = api.private("AddOrderBatch", {"pair": "XBTEUR", "orders": [order] * 2, "validate": True})
    assert [sorted(row) for row in answer["orders"]] == [["descr"], ["descr"]]
    assert venue.ledger() == []
