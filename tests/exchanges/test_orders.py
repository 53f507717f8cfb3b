"""What the adapters share of orders: finding one again, canceling, waiting for its fills."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges import orders
from bitmm.xwrap.exchanges.errors import Busy, Refused, Unknown
from bitmm.xwrap.exchanges.models import NewOrder, OrderRef, OrderState
from bitmm.xwrap.exchanges.orders import (
    accepted_order,
    cancel_each,
    cancel_errors,
    check_same_order,
    find_open,
    listed_order,
    poll_fills,
)

REF = OrderRef("buy", "USD", "BTC", "0" * 32, "X1")
STATE = OrderState("X1", "open", side="buy", currency="USD", asset="BTC", client_id="0" * 32)


@pytest.mark.parametrize(
    ("state", "ref"),
    [
        (STATE, REF),
        (STATE, replace(REF, exchange_order_id=None)),
        (replace(STATE, client_id=None), REF),
    ],
)
def test_an_order_is_the_same_by_its_market_and_by_the_ids_that_both_know(state, ref):
    check_same_order(state, ref)


@pytest.mark.parametrize(
    "change",
    [
        {"side": "sell"},
        {"side": None},
        {"currency": "EUR"},
        {"asset": "ETH"},
        {"exchange_order_id": "X2"},
        {"client_id": "1" * 32},
    ],
    ids=str,
)
def test_another_order_is_not_believed(change):
    with pytest.raises(ValueError, match="another order"):
        check_same_order(replace(STATE, **change), REF)


def test_an_order_is_found_among_the_open_ones_by_its_id():
    other = replace(STATE, exchange_order_id="X2", side="sell")
    assert find_open([other, STATE], REF) is STATE
    assert find_open([other], REF) is None
    with pytest.raises(ValueError, match="another order"):
        find_open([other], replace(REF, exchange_order_id="X2"))


def test_an_order_that_an_exchange_does_not_find_for_canceling_is_not_open():
    with pytest.raises(Refused) as caught, cancel_errors():
        raise Refused("unknown order", code="order_not_found")
    assert (str(caught.value), caught.value.code) == ("unknown order", "order_not_open")
    with pytest.raises(Busy), cancel_errors():
        raise Busy("slow down", retry_after=1)


def test_orders_that_are_over_meanwhile_do_not_count_as_canceled():
    seen = []

    def cancel(state):
        seen.append(state.exchange_order_id)
        if state.exchange_order_id == "X2":
            raise Refused("it is over", code="order_not_open")

    states = [replace(STATE, exchange_order_id=f"X{number}") for number in (1, 2, 3)]
    assert cancel_each(states, cancel) == 2
    assert seen == ["X1", "X2", "X3"]


def test_a_refusal_of_another_kind_ends_the_canceling():
    def cancel(state):
        raise Busy("slow down", retry_after=1)

    with pytest.raises(Busy):
        cancel_each([STATE, STATE], cancel)


@pytest.mark.parametrize("failure", [Busy("slow down", retry_after=1), Unknown("no answer")])
def test_canceling_that_stops_half_way_is_no_certain_refusal(failure):
    failures = iter([None, failure])

    def cancel(state):
        if error := next(failures):
            raise error

    with pytest.raises(Unknown, match="1 orders were canceled, then"):
        cancel_each([STATE, STATE, STATE], cancel)


def test_a_row_that_cannot_be_understood_stays_in_its_list_with_what_is_known():
    assert listed_order("Demo", "X1", lambda: STATE) is STATE

    def odd():
        raise KeyError("side")

    listed = listed_order("Demo", "X1", odd, client_id=lambda: "ours")
    assert (listed.exchange_order_id, listed.status, listed.client_id, listed.side) == ("X1", "open", "ours", None)
    assert listed.reason == "Demo lists it in a way that cannot be understood"
    assert listed_order("Demo", "X1", odd, status="unknown", client_id=odd).client_id is None


def test_fills_are_waited_for_only_by_who_is_patient(monkeypatch):
    pauses, answers = [], iter([None, None, None, "all", None])
    monkeypatch.setattr(orders.time, "sleep", pauses.append)
    assert poll_fills(lambda: next(answers), patient=True) == "all"
    assert pauses == [0.0, 0.2, 0.4, 0.8]
    assert poll_fills(lambda: next(answers), patient=False) is None
    assert poll_fills(lambda: None, patient=True) is None
    assert len(pauses) == 9


def test_an_accepted_order_is_open_and_nothing_is_invented():
    created = datetime(2026, 1, 1, tzinfo=UTC)
    order = NewOrder("buy", "USD", "BTC", "0" * 32, amount=Decimal("0.1"), price=Decimal(10))
    assert accepted_order(order, "X1", created) == replace(
        STATE, amount=Decimal("0.1"), price=Decimal(10), created=created
    )
