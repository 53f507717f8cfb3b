"""An open order gets another price or amount: by an order that takes its place, and never beside it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import APIError, InvalidRequest, NotFound, OutcomeUnknown
from bitmm.xwrap.exchanges.errors import Refused, Unknown
from bitmm.xwrap.exchanges.kraken.adapter import Kraken
from bitmm.xwrap.exchanges.paper import Paper
from bitmm.xwrap.server.db.journals import OrderJournal
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.threads import in_threads

END = datetime.now(UTC).replace(microsecond=0) + timedelta(days=365)


@pytest.fixture
def backend(server):
    auth = server.account()
    return Backend(server.registration(auth), *auth, server.url)


@pytest.fixture
def kraken():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture
def at_kraken(serving, kraken):
    with serving(exchanges=("kraken",), exchange_urls={"kraken": kraken.url}) as server:
        auth = server.account()
        id = server.registration(auth, "kraken", apikey=kraken.key, apisecret=kraken.secret)
        yield Backend(id, *auth, server.url)


def refusal(call, *arguments, **options):
    with pytest.raises(APIError) as caught:
        call(*arguments, **options)
    return caught.value


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


def test_another_amount_counts_what_was_filled_before(at_kraken, kraken):
    # One unit is offered at this price, and the rest of the order waits.
    first = at_kraken.buy("EUR", "BTC", "1.5", price="27850.1")
    assert live(kraken) == [(Decimal("0.5"), Decimal("27850.1"))]
    for amount in ("0.9", "1"):
        error = refusal(at_kraken.amend, first["id"], amount=amount)
        assert (error.code, "BTC of it were filled already" in str(error)) == ("invalid_request", True)
    second = at_kraken.amend(first["id"], amount="1.2", price="20000")
    assert (second["amount"], second["price"], second["status"]) == (Decimal("0.2"), 20000, "open")
    over = at_kraken.order(first["id"])
    assert (over["status"], over["filled"]) == ("partly_filled", 1)
    assert live(kraken) == [(Decimal("0.2"), 20000)]
    assert at_kraken.order(second["id"])["amount"] == Decimal("0.2")
    bought = sum(order.amount - order.left for order in kraken.orders_of(kraken.account))
    assert bought == 1


def test_a_fill_while_it_is_amended_is_not_bought_twice(at_kraken, kraken, monkeypatch):
    first = at_kraken.buy("EUR", "BTC", "0.5", price="20000")
    cancel = Kraken.cancel

    def filled_before(self, ref):
        [order] = kraken.orders_of(kraken.account, status="open")
        kraken.pairs["BTC/EUR"].asks[0] = (Decimal(20000), Decimal("0.4"))
        kraken._fill(order, kraken._takes(order))
        cancel(self, ref)

    monkeypatch.setattr(Kraken, "cancel", filled_before)
    second = at_kraken.amend(first["id"], price="19000")
    assert (second["amount"], second["price"]) == (Decimal("0.1"), 19000)
    assert live(kraken) == [(Decimal("0.1"), 19000)]


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


def test_many_amendments_of_one_order_at_once_leave_one_order(at_kraken, kraken):
    first = at_kraken.buy("EUR", "BTC", "0.1", price="20000")["id"]
    results = in_threads(4, lambda number: at_kraken.amend(first, price=f"2000{number + 1}"))
    orders = [result for result in results if isinstance(result, dict)]
    assert len(orders) == 1
    assert {error.code for error in results if error not in orders} == {"order_not_open"}
    assert live(kraken) == [(Decimal("0.1"), orders[0]["price"])]


def test_an_order_whose_cancel_has_an_unknown_outcome_gets_no_successor(at_kraken, kraken, monkeypatch):
    first = at_kraken.buy("EUR", "BTC", "0.1", price="20000")["id"]

    def cancel(_self, _ref):
        raise Unknown("the answer was lost")

    monkeypatch.setattr(Kraken, "cancel", cancel)
    error = refusal(at_kraken.amend, first, price="21000", key="k1")
    assert (error.code, error.may_have_executed, error.retryable) == ("not_amended", False, False)
    assert live(kraken) == [(Decimal("0.1"), 20000)]
    monkeypatch.undo()
    assert refusal(at_kraken.amend, first, price="21000", key="k1").code == "not_amended"
    assert at_kraken.amend(first, price="21000")["status"] == "open"
    assert live(kraken) == [(Decimal("0.1"), 21000)]


def test_an_order_that_is_still_shown_as_open_gets_no_successor(at_kraken, kraken, monkeypatch):
    first = at_kraken.buy("EUR", "BTC", "0.1", price="20000")["id"]
    monkeypatch.setattr("bitmm.xwrap.exchanges.orders.time.sleep", lambda _seconds: None)
    monkeypatch.setattr(Kraken, "cancel", lambda _self, _ref: None)
    error = refusal(at_kraken.amend, first, price="21000")
    assert (error.code, "may be canceled" in str(error)) == ("not_amended", True)
    assert live(kraken) == [(Decimal("0.1"), 20000)]


def test_an_order_of_which_the_filled_amount_is_not_known_gets_no_successor(at_kraken, kraken, monkeypatch):
    first = at_kraken.buy("EUR", "BTC", "0.1", price="20000")["id"]

    def order(_self, _ref):
        raise Refused("no such order", code="order_not_found")

    monkeypatch.setattr(Kraken, "order", order)
    assert refusal(at_kraken.amend, first, price="21000").code == "not_amended"
    assert live(kraken) == []


def test_an_order_that_was_given_up_before_it_was_placed_is_not_placed(at_kraken, kraken, monkeypatch):
    first = at_kraken.buy("EUR", "BTC", "0.1", price="20000")["id"]

    def set_amount(_self, row, _amount):
        raise RuntimeError(f"order {row['id']} was given up before it was placed")

    monkeypatch.setattr(OrderJournal, "set_amount", set_amount)
    assert refusal(at_kraken.amend, first, price="21000").code == "not_amended"
    assert live(kraken) == []


def test_an_amendment_whose_outcome_is_unknown_is_found_by_its_key(at_kraken, kraken):
    first = at_kraken.buy("EUR", "BTC", "0.1", price="20000")["id"]
    kraken.fault("executed_but_timeout", path="AddOrder", seconds=30)
    with pytest.raises(OutcomeUnknown) as caught:
        at_kraken.amend(first, price="21000", key="k1")
    kraken.heal()
    assert caught.value.key == "k1"
    assert live(kraken) == [(Decimal("0.1"), 21000)]


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
