"""Backpack's "Execute orders", over real HTTP against the local Backpack: a row for each order, in their order."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.backpack import Backpack, BackpackAPI
from bitmm.xwrap.exchanges.errors import Busy, Refused, Unknown
from bitmm.xwrap.exchanges.models import NewOrder, OrderRef, OrderState
from bitmm.xwrap.testing.exchanges.backpack import BackpackVenue
from bitmm.xwrap.testing.exchanges.venue import Reply
from bitmm.xwrap.transport import Response
from tests.support.exchanges import change_answers

EXCHANGE, VENUE = Backpack, BackpackVenue
PATH = "/api/v1/orders"


def new(side="sell", amount="0.1", price="35000", *, asset="BTC", **more):
    price = None if price is None else Decimal(price)
    return NewOrder(side, "USDC", asset, uuid.uuid4().hex, amount=Decimal(amount), price=price, **more)


def ref(order):
    """What the server knows of an order that was missed a while ago."""
    ago = datetime.now(UTC) - timedelta(seconds=60)
    return OrderRef(
        *(order.side, order.currency, order.asset, order.client_id),
        created=ago,
        amount=order.amount,
        missed_since=ago,
    )


def calls(venue):
    made = [f"{request.method} {request.path.partition('/v1/')[2]}" for request in venue.requests]
    venue.requests.clear()
    return [call for call in made if call != "GET markets"]


def summary(outcomes):
    return [outcome.status if isinstance(outcome, OrderState) else outcome.code for outcome in outcomes]


def test_the_request_is_that_of_the_documents_example():
    """The signature of the documentation's batch, which ccxt computes, too."""
    sent = []

    class Line:
        def send(self, request):
            sent.append(request)
            return Response(200, {}, b"[]")

    secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    key = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
    order = {"symbol": "SOL_USDC_PERP", "side": "Bid", "orderType": "Limit"}
    batch = [{**order, "price": "141", "quantity": "12"}, {**order, "price": Decimal(140), "quantity": Decimal(11)}]
    api = BackpackAPI(key, secret, transport=Line(), clock=lambda: 1750793021.5195)
    assert api.execute_orders(batch) == []
    [request] = sent
    assert (request.method, request.url) == ("POST", "https://api.backpack.exchange/api/v1/orders")
    assert request.headers["X-Signature"] == (
        "/RiVIEmATq6bDKSR8I9tEY3qY/MRt45Y5/Wi4mKYjt3SaqoLFfOiYrYNRddqSXfrcDdY/b0n3duPew5JKrn/CA=="
    )


def test_orders_of_all_markets_are_one_request_each_with_its_own_id_and_conditions(exchange, venue):
    orders = [
        new(),
        new("buy", price="25000", post_only=True),
        new("buy", "1", "90", asset="SOL"),
        new(time_in_force="IOC"),
        new("buy", price=None),
    ]
    outcomes = exchange.place_many(orders)
    assert summary(outcomes) == ["open", "open", "open", "canceled", "filled"]
    assert [call for call in calls(venue) if call.startswith("POST")] == ["POST orders"]
    assert [row["client_id"] for row in venue.ledger()] == [str(int(order.client_id[-8:], 16)) for order in orders]
    assert outcomes[3].reason == "ImmediateOrCancel"
    assert (outcomes[4].filled, outcomes[4].fee_currency) == (Decimal("0.1"), "BTC")


def test_the_body_of_an_order_in_a_batch_is_that_of_a_single_one(exchange, venue):
    order = new("buy", "0.1", "25000", time_in_force="GTC", post_only=True)
    exchange.place(order)
    exchange.place_many([order, new()])
    single, batch = [json.loads(request.body) for request in venue.requests if request.method == "POST"]
    assert batch[0] == single
    assert sorted(single) == [
        *("clientId", "orderType", "postOnly", "price", "quantity", "side", "symbol", "timeInForce"),
    ]


def test_what_breaks_a_rule_of_its_market_is_refused_unsent_and_alone(exchange, venue):
    outcomes = exchange.place_many([new(), new(asset="NOSUCH"), new(time_in_force="GTD", expires=datetime.now(UTC))])
    assert summary(outcomes) == ["open", "unknown_market", "invalid_request"]
    assert calls(venue) == ["POST order"]


def test_what_backpack_refuses_of_one_order_stops_no_other(exchange, venue):
    outcomes = exchange.place_many([new(), new(amount="100000"), new(price="900000"), new(price="1", post_only=True)])
    assert summary(outcomes) == ["open", "outcome_unknown", "invalid_price", "invalid_price"]
    assert outcomes[1].refusal.code == "insufficient_funds", "it may be the answer to a second delivery"
    assert type(outcomes[2]) is Refused, "and a price is as wrong in each delivery"
    taking = exchange.place_many([new(price="30000", post_only=True), new()])
    assert (taking[0].refusal.code, taking[1].status) == ("would_take", "open")
    assert len(venue.ledger()) == 2


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        *((kind, Unknown) for kind in ("reset_before", "reset_after", "cut", "html", "html_after", "nonce")),
        ("rate_limit", Busy),
        ("maintenance", Refused),
    ],
)
def test_under_a_fault_each_is_refused_or_unknown_as_the_ledger_says(exchange, venue, kind, expected):
    orders = [new(), new()]
    venue.fault(kind, path="orders")
    outcomes = exchange.place_many(orders)
    assert [type(outcome) for outcome in outcomes] == [expected] * 2
    executed = len(venue.ledger())
    assert executed == (2 if kind in ("reset_after", "cut", "html_after") else 0)
    assert [outcome.may_have_executed for outcome in outcomes] == [expected is not Refused] * 2
    assert [call for call in calls(venue) if call.startswith("POST")] == ["POST orders"], "nothing is sent again"
    found = [exchange.find(ref(order)) for order in orders]
    assert [state is not None for state in found] == [executed == 2] * 2


def test_two_deliveries_are_four_orders_and_the_second_ones_are_told(exchange, venue):
    """Backpack has no nonce: the client id alone says that two are one."""
    venue.fault("delivered_twice", path="orders")
    assert summary(exchange.place_many([new(), new()])) == ["open", "open"]
    assert len(venue.ledger()) == 4


@pytest.mark.parametrize(
    "code", ["INVALID_PRICE", "INVALID_QUANTITY", "INVALID_MARKET", "TRADING_PAUSED", "ORDER_LIMIT"]
)
def test_a_refusal_of_the_whole_that_may_be_about_one_order_proves_nothing(exchange, venue, code):
    """Whether the others were executed is documented nowhere."""
    _answer(venue, Reply.json({"code": code, "message": "no"}, 400))
    outcomes = exchange.place_many([new(), new()])
    assert [(type(outcome), outcome.refusal.reason) for outcome in outcomes] == [(Unknown, "no")] * 2


@pytest.mark.parametrize(
    "reply",
    [
        Reply.json({"code": "FORBIDDEN", "message": "no"}, 403),
        Reply.json({"code": "INVALID_SIGNATURE", "message": "no"}, 400),
        Reply.text('Bad Request parse request payload error: failed to parse "u32"', 400),
    ],
)
def test_a_refusal_of_the_key_or_of_the_whole_body_is_one(exchange, venue, reply):
    _answer(venue, reply)
    assert [type(outcome) for outcome in exchange.place_many([new(), new()])] == [Refused] * 2


def _answer(venue, reply):
    for number, (method, pattern, _) in enumerate(venue._routes):
        if method == "POST" and pattern.fullmatch(PATH):
            venue._routes[number] = (method, pattern, lambda _: reply)


@pytest.mark.parametrize(
    "odd",
    [
        *(None, {}, {"operation": "Ok"}, {"operation": "Err"}, {"operation": "Err", "code": "SERVER_ERROR"}),
        {"operation": "Ok", "clientId": 7, "id": "1", "symbol": "BTC_USDC", "side": "Ask", "status": "New"},
    ],
)
def test_an_order_whose_row_tells_no_outcome_is_unknown_alone(exchange, venue, odd):
    change_answers(venue, "POST", PATH, lambda rows: [odd, *rows[1:]])
    assert summary(exchange.place_many([new(), new()])) == ["outcome_unknown", "open"]


@pytest.mark.parametrize("change", [lambda rows: rows[::-1], lambda rows: rows[:1], lambda _: {}, lambda _: None])
def test_rows_in_another_order_or_number_tell_nothing(exchange, venue, change):
    change_answers(venue, "POST", PATH, change)
    assert summary(exchange.place_many([new(), new()])) == ["outcome_unknown"] * 2


@pytest.mark.parametrize("odd", [{}, {"symbol": "BTC_USDC", "side": "Buy"}, {"symbol": "BTC_USDC", "clientId": "7"}])
def test_the_local_backpack_executes_nothing_of_a_body_that_it_cannot_parse(venue, odd):
    good = {"symbol": "BTC_USDC", "side": "Ask", "orderType": "Limit", "quantity": "0.1", "price": "35000"}
    with BackpackAPI(venue.key, venue.secret, url=venue.url) as api:
        for body in ([good, odd], good):
            with pytest.raises(Refused):
                api.private("POST", PATH, "orderExecute", body)
        assert len(api.execute_orders([good, good])) == 2
    assert len(venue.ledger()) == 2
