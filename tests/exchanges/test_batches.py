"""Many orders at once: what the adapters share, and what is not sent after a failure."""

from __future__ import annotations

from decimal import Decimal
from itertools import count

import pytest

from bitmm.xwrap.exchanges import batches
from bitmm.xwrap.exchanges.batches import place_each, place_in_batches, poll_outcomes, read_outcomes
from bitmm.xwrap.exchanges.errors import Busy, ExchangeError, Refused, Unknown
from bitmm.xwrap.exchanges.http import unproved
from bitmm.xwrap.exchanges.models import NewOrder, OrderState

NO_FUNDS = Refused("no funds", code="insufficient_funds")
LOST = Unknown("no answer")
BUSY = Busy("slow down", retry_after=7)


def new(asset="BTC", **fields):
    return NewOrder("buy", "EUR", asset, "0" * 32, **fields)


ORDERS = [new(str(number)) for number in range(5)]


class Exchange:
    """Places orders, and fails for the one in the middle with this error."""

    def __init__(self, error):
        self.error, self.sent = error, []

    def place(self, order):
        self.sent.append(order)
        if order.asset == "2":
            raise self.error
        return OrderState(f"X{order.asset}", "open")

    def send(self, group, orders):
        return [OrderState(f"X{order.asset}", "open") for order in orders] if group != "2" else [self.error]


def ids(outcomes):
    return [outcome.exchange_order_id if isinstance(outcome, OrderState) else outcome.code for outcome in outcomes]


@pytest.mark.parametrize("error", [NO_FUNDS, unproved(NO_FUNDS)])
def test_a_refused_order_stops_no_other(error):
    exchange = Exchange(error)
    assert ids(place_each(exchange.place, ORDERS)) == ["X0", "X1", error.code, "X3", "X4"]
    assert exchange.sent == ORDERS


@pytest.mark.parametrize("error", [LOST, BUSY, unproved(BUSY)])
def test_after_a_lost_answer_or_a_rate_limit_nothing_more_is_sent(error):
    exchange = Exchange(error)
    for outcomes in (
        place_each(exchange.place, ORDERS),
        place_in_batches(ORDERS, lambda order: order.asset, exchange.send),
    ):
        assert ids(outcomes[:2]) == ["X0", "X1"]
        assert outcomes[2] is error
        for unsent in outcomes[3:]:
            assert (unsent.may_have_executed, unsent.retryable) == (False, True)
            assert isinstance(unsent, Busy) == isinstance(error, Busy)
            assert str(unsent).startswith("not sent")
            assert unsent.retry_after == error.retry_after
    assert exchange.sent == ORDERS[:3]


def test_a_failure_that_is_none_of_an_exchange_ends_the_call():
    with pytest.raises(KeyError):
        place_each(Exchange(KeyError("a mistake")).place, ORDERS)


def test_orders_of_a_group_are_sent_together_and_answered_in_their_order():
    sent = []

    def send(group, orders):
        sent.append((group, [order.asset for order in orders]))
        return [OrderState(f"{group}{order.asset}", "open") for order in orders]

    def check(order):
        if order.asset == "7":
            raise NO_FUNDS
        return "even" if int(order.asset) % 2 == 0 else "odd"

    outcomes = place_in_batches([new(str(number)) for number in range(8)], check, send, most=3)
    assert sent == [("even", ["0", "2", "4"]), ("even", ["6"]), ("odd", ["1", "3", "5"])]
    assert ids(outcomes) == ["even0", "odd1", "even2", "odd3", "even4", "odd5", "even6", "insufficient_funds"]


@pytest.mark.parametrize("rows", [None, {}, [], ["A"], ["A", "B", "C"], "AB"])
def test_an_answer_without_a_row_for_each_order_tells_nothing(rows):
    outcomes = read_outcomes("Demo", ORDERS[:2], lambda: rows, lambda _, row: OrderState(row, "open"))
    assert [type(outcome) for outcome in outcomes] == [Unknown, Unknown]


def test_an_odd_row_hides_no_other():
    def read(_, row):
        if isinstance(row, ExchangeError):
            raise row
        return OrderState(row["id"], "open")

    rows = [{"id": "A"}, {}, NO_FUNDS, None, {"id": "E"}]
    outcomes = read_outcomes("Demo", ORDERS, lambda: rows, read)
    assert ids(outcomes) == ["A", "outcome_unknown", "insufficient_funds", "outcome_unknown", "E"]


def test_orders_that_end_soon_are_read_together_until_they_have(monkeypatch):
    monkeypatch.setattr(batches.time, "sleep", lambda _: None)
    orders = [new(amount=1), new(price=1), new(price=1, time_in_force="IOC"), new(price=1, post_only=True), new()]
    outcomes = [OrderState(f"X{number}", "open") for number in range(4)] + [NO_FUNDS]
    asked, looks = [], count()

    def read(refs):
        asked.append([ref.exchange_order_id for ref in refs])
        last = next(looks) == 2
        statuses = {"X0": "filled", "X2": "filled" if last else "open", "X3": "canceled"}
        return {id: OrderState(id, statuses[id], filled=Decimal(0)) for id in asked[-1]}

    *stand, refused, failed = poll_outcomes("Demo", orders, outcomes, read)
    assert asked == [["X0", "X2", "X3"], ["X2"], ["X2"]]
    assert [outcome.status for outcome in stand] == ["filled", "open", "filled"]
    assert (refused.code, failed) == ("would_take", NO_FUNDS)


@pytest.mark.parametrize("error", [NO_FUNDS, BUSY])
def test_orders_that_cannot_be_read_stand(error):
    def read(_):
        raise error

    outcomes = [OrderState("X0", "open"), OrderState("X1", "open")]
    assert poll_outcomes("Demo", [new(amount=1), new(price=1)], outcomes, read) == outcomes
