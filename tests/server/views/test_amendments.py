"""An open order gets another price or amount: by an order that takes its place, and never beside it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import APIError, InvalidRequest, NotFound, OutcomeUnknown
from bitmm.xwrap.exchanges.bitstamp.adapter import Bitstamp
from bitmm.xwrap.exchanges.errors import Refused, Unknown
from bitmm.xwrap.exchanges.paper import Paper
from bitmm.xwrap.server.db.journals import OrderJournal
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.threads import in_threads, until

END = datetime.now(UTC).replace(microsecond=0) + timedelta(days=365)


@pytest.fixture
def backend(server):
    auth = server.account()
    return Backend(server.registration(auth), *auth, server.url)


@pytest.fixture(params=["bitstamp", "kraken"])
def exchange(request):
    """Bitstamp, where an order is canceled and another one placed; Kraken, where it is amended in place."""
    return request.param


@pytest.fixture
def venue(exchange):
    with {"bitstamp": BitstampVenue, "kraken": KrakenVenue}[exchange]() as started:
        yield started


@pytest.fixture
def trader(serving, exchange, venue):
    quick = {"reconcile_seconds": 0.1, "reconcile_grace_seconds": 0.3}
    with serving(exchanges=(exchange,), exchange_urls={exchange: venue.url}, **quick) as server:
        auth = server.account()
        id = server.registration(auth, exchange, apikey=venue.key, apisecret=venue.secret)
        yield Backend(id, *auth, server.url)


at_bitstamp = pytest.mark.parametrize("exchange", ["bitstamp"], indirect=True)
at_kraken = pytest.mark.parametrize("exchange", ["kraken"], indirect=True)


def refusal(call, *arguments, **options):
    with pytest.raises(APIError) as caught:
        call(*arguments, **options)
    return caught.value


def status_by_key(trader, key):
    """The status of the order with a key, "no_such_key" when nothing was executed with it."""
    try:
        return trader.order(key=key)["status"]
    except NotFound as error:
        return error.code


def live(venue):
    """The orders that are open at an exchange: what is left of them, and their prices."""
    return [(order.left, order.price) for order in venue.orders_of(venue.account, status="open")]


def test_another_price_is_an_order_in_the_place_of_the_one_before(backend):
    first = backend.buy("USD", "BTC", "0.1", price="20000", post_only=True, time_in_force="GTD", expires=END)
    second = backend.amend(first["id"], price="21000.5", key="k1")
    assert (second["status"], second["amount"], second["price"]) == ("open", Decimal("0.1"), Decimal("21000.5"))
    assert (second["replaces"], second["key"], second["post_only"]) == (first["id"], "k1", True)
    assert (second["time_in_force"], second["expires"]) == ("GTD", first["expires"])
    assert backend.order(first["id"])["status"] == "canceled"
    assert [order["id"] for order in backend.orders("open")] == [second["id"]]
    assert backend.funds()["USD"]["held"] > 2100


@at_bitstamp
def test_another_amount_counts_what_was_filled_before(trader, venue):
    # One unit is offered at this price, and the rest of the order waits.
    first = trader.buy("EUR", "BTC", "1.5", price="30010")
    assert live(venue) == [(Decimal("0.5"), 30010)]
    for amount in ("0.9", "1"):
        error = refusal(trader.amend, first["id"], amount=amount)
        assert (error.code, "BTC of it were filled already" in str(error)) == ("invalid_request", True)
    second = trader.amend(first["id"], amount="1.2", price="27000")
    assert (second["amount"], second["price"], second["status"]) == (Decimal("0.2"), 27000, "open")
    over = trader.order(first["id"])
    assert (over["status"], over["filled"]) == ("partly_filled", 1)
    assert live(venue) == [(Decimal("0.2"), 27000)]
    assert trader.order(second["id"])["amount"] == Decimal("0.2")
    bought = sum(order.amount - order.left for order in venue.orders_of(venue.account))
    assert bought == 1


@at_bitstamp
def test_a_fill_while_it_is_amended_is_not_bought_twice(trader, venue, monkeypatch):
    first = trader.buy("EUR", "BTC", "0.5", price="27000")
    cancel = Bitstamp.cancel

    def filled_before(self, ref):
        [order] = venue.orders_of(venue.account, status="open")
        venue.pairs["BTC/EUR"].asks[0] = (Decimal(27000), Decimal("0.4"))
        venue._fill(order, venue._takes(order))
        cancel(self, ref)

    monkeypatch.setattr(Bitstamp, "cancel", filled_before)
    second = trader.amend(first["id"], price="26000")
    assert (second["amount"], second["price"]) == (Decimal("0.1"), 26000)
    assert live(venue) == [(Decimal("0.1"), 26000)]


def test_a_repeat_is_the_same_order_and_other_parameters_are_refused(backend):
    first = backend.buy("USD", "BTC", "0.1", price="20000")["id"]
    second = backend.amend(first, price="21000", key="k1")
    assert backend.amend(first, price="21000", key="k1") == second
    for other in ({"price": "21001"}, {"price": "21000", "amount": "0.1"}, {"amount": "0.2"}):
        assert refusal(backend.amend, first, key="k1", **other).code == "key_reused"
    assert refusal(backend.buy, "USD", "BTC", "0.1", price="21000", key="k1").code == "key_reused"
    assert len(backend.orders("open")) == 1
    third = backend.amend(second["id"], price="22000")
    assert third["replaces"] == second["id"]
    assert backend.amend(first, price="21000", key="k1")["status"] == "canceled"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"price": "20000"}, "invalid_request"),
        ({"price": "20000", "amount": "0.1"}, "invalid_request"),
        ({"price": "20000.123"}, "price_step"),
        ({"amount": "0.00000000001"}, "amount_step"),
        ({"price": "900000"}, "would_take"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_canceled(backend, change, code):
    first = backend.buy("USD", "BTC", "0.1", price="20000", post_only=True)
    error = refusal(backend.amend, first["id"], **change)
    if code == "would_take":
        assert (error.code, "was canceled" in str(error)) == ("not_amended", True)
    else:
        assert error.code == code
        assert backend.order(first["id"])["status"] == "open"


def test_an_order_that_is_over_or_has_no_price_is_not_amended(backend):
    filled = backend.buy("USD", "BTC", "0.1")["id"]
    assert refusal(backend.amend, filled, price="20000").code == "order_not_open"
    canceled = backend.buy("USD", "BTC", "0.1", price="20000")["id"]
    backend.cancel(canceled)
    assert refusal(backend.amend, canceled, price="21000").code == "order_not_open"
    with pytest.raises(NotFound):
        backend.amend(canceled + 1000, price="21000")
    with pytest.raises(InvalidRequest):
        backend.amend(canceled)
    assert backend.orders("open") == []


def test_many_amendments_of_one_order_at_once_leave_one_order(trader, venue):
    first = trader.buy("EUR", "BTC", "0.1", price="27000")["id"]
    results = in_threads(4, lambda number: trader.amend(first, price=f"2700{number + 1}"))
    orders = [result for result in results if isinstance(result, dict)]
    assert len(orders) == 1
    assert {error.code for error in results if error not in orders} == {"order_not_open"}
    assert live(venue) == [(Decimal("0.1"), orders[0]["price"])]


@at_bitstamp
def test_an_order_whose_cancel_has_an_unknown_outcome_gets_no_successor(trader, venue, monkeypatch):
    first = trader.buy("EUR", "BTC", "0.1", price="27000")["id"]

    def cancel(_self, _ref):
        raise Unknown("the answer was lost")

    monkeypatch.setattr(Bitstamp, "cancel", cancel)
    error = refusal(trader.amend, first, price="28000", key="k1")
    assert (error.code, error.may_have_executed, error.retryable) == ("not_amended", False, False)
    assert live(venue) == [(Decimal("0.1"), 27000)]
    monkeypatch.undo()
    assert refusal(trader.amend, first, price="28000", key="k1").code == "not_amended"
    assert trader.amend(first, price="28000")["status"] == "open"
    assert live(venue) == [(Decimal("0.1"), 28000)]


@at_bitstamp
def test_an_order_that_is_still_shown_as_open_gets_no_successor(trader, venue, monkeypatch):
    first = trader.buy("EUR", "BTC", "0.1", price="27000")["id"]
    monkeypatch.setattr("bitmm.xwrap.exchanges.orders.time.sleep", lambda _seconds: None)
    monkeypatch.setattr(Bitstamp, "cancel", lambda _self, _ref: None)
    error = refusal(trader.amend, first, price="28000")
    assert (error.code, "may be canceled" in str(error)) == ("not_amended", True)
    assert live(venue) == [(Decimal("0.1"), 27000)]


@at_bitstamp
def test_an_order_of_which_the_filled_amount_is_not_known_gets_no_successor(trader, venue, monkeypatch):
    first = trader.buy("EUR", "BTC", "0.1", price="27000")["id"]

    def order(_self, _ref):
        raise Refused("no such order", code="order_not_found")

    monkeypatch.setattr(Bitstamp, "order", order)
    assert refusal(trader.amend, first, price="28000").code == "not_amended"
    assert live(venue) == []


@at_bitstamp
def test_an_order_that_was_given_up_before_it_was_placed_is_not_placed(trader, venue, monkeypatch):
    first = trader.buy("EUR", "BTC", "0.1", price="27000")["id"]

    def set_amount(_self, row, _amount):
        raise RuntimeError(f"order {row['id']} was given up before it was placed")

    monkeypatch.setattr(OrderJournal, "set_amount", set_amount)
    assert refusal(trader.amend, first, price="28000").code == "not_amended"
    assert live(venue) == []


def test_an_amendment_whose_outcome_is_unknown_is_found_by_its_key(trader, venue, exchange):
    first = trader.buy("EUR", "BTC", "0.1", price="25000")["id"]
    venue.fault("reset_after", path={"bitstamp": "/buy/", "kraken": "AmendOrder"}[exchange])
    with pytest.raises(OutcomeUnknown) as caught:
        trader.amend(first, price="26000", key="k1")
    venue.heal()
    assert caught.value.key == "k1"
    assert live(venue) == [(Decimal("0.1"), 26000)]
    until(lambda: status_by_key(trader, "k1") != "unknown")
    found = trader.order(key="k1")
    assert (found["status"], found["replaces"]) == ("open", first)
    assert trader.amend(first, price="26000", key="k1")["id"] == found["id"]
    assert trader.order(first)["status"] == "canceled"
    assert [order["id"] for order in trader.orders("open")] == [found["id"]]


@at_kraken
def test_an_order_that_is_amended_in_place_keeps_what_was_filled_and_its_id_at_the_exchange(trader, venue):
    # One unit is offered at this price, and the rest of the order waits.
    first = trader.buy("EUR", "BTC", "1.5", price="27850.1")
    second = trader.amend(first["id"], amount="1.2", price="20000")
    assert (second["amount"], second["price"], second["status"]) == (Decimal("1.2"), 20000, "open")
    assert (second["replaces"], second["exchange_order_id"]) == (first["id"], first["exchange_order_id"])
    before = trader.order(first["id"])
    assert (before["status"], before["filled"], before["spent"]) == ("canceled", 0, 0)
    assert before["reason"] == f"it was amended, and is order {second['id']} since then"
    assert trader.order(second["id"])["filled"] == 1
    assert live(venue) == [(Decimal("0.2"), 20000)]
    assert [order["id"] for order in trader.orders("open")] == [second["id"]]
    third = trader.amend(second["id"], amount="1.3")
    assert live(venue) == [(Decimal("0.3"), 20000)]
    assert trader.cancel(third["id"])["filled"] == 1
    assert [order["filled"] for order in trader.orders()] == [1, 0, 0]


@at_kraken
def test_an_amendment_in_place_that_was_lost_is_told_apart_from_the_ones_before(trader, venue):
    """Also where it gives the order what it had before: the last one counts."""
    first = trader.buy("EUR", "BTC", "0.1", price="20000")
    second = trader.amend(first["id"], price="21000")
    third = trader.amend(second["id"], price="20000")
    venue.fault("reset_before", path="AmendOrder")
    with pytest.raises(OutcomeUnknown):
        trader.amend(third["id"], price="21000", key="k1")
    venue.heal()
    # Nothing was executed, so the key may be used again; until that is known, it is unknown.
    until(lambda: status_by_key(trader, "k1") != "unknown")
    assert status_by_key(trader, "k1") == "no_such_key"
    assert live(venue) == [(Decimal("0.1"), 20000)]
    assert trader.order(third["id"])["status"] == "open"


@at_kraken
@pytest.mark.parametrize(
    ("change", "code"),
    [({"price": "30000"}, "would_take"), ({"price": "27000", "amount": "99"}, "insufficient_funds")],
)
def test_a_refused_amendment_in_place_leaves_the_order_as_it_was(trader, venue, change, code):
    first = trader.buy("EUR", "BTC", "0.1", price="20000", post_only=True)
    assert refusal(trader.amend, first["id"], **change).code == code
    assert live(venue) == [(Decimal("0.1"), 20000)]
    assert trader.order(first["id"])["status"] == "open"
    assert trader.amend(first["id"], price="21000")["post_only"] is True


@pytest.mark.parametrize("released", [True, False])
def test_paper_replaces_an_order_in_one_transaction(backend, monkeypatch, released):
    first = backend.buy("USD", "BTC", "0.1", price="20000")["id"]

    def place(_self, _order):
        raise RuntimeError("the process dies here") if released else Refused("no more orders")

    monkeypatch.setattr(Paper, "place", place)
    with pytest.raises(APIError):
        backend.amend(first, price="21000", key="k1")
    monkeypatch.undo()
    assert [order["id"] for order in backend.orders("open") if order["id"] != first] == []
