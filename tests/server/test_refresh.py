"""An order that cannot be read now hides no other, and after a cancel no failure of a read is the answer."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.exchanges.base import Exchange
from bitmm.xwrap.exchanges.errors import Busy, NotListedYet, Refused, Unknown, Unsupported
from bitmm.xwrap.exchanges.http import unproved
from bitmm.xwrap.exchanges.models import OrderState, Withdrawal
from bitmm.xwrap.exchanges.orders import find_open_or_closed
from bitmm.xwrap.server.reconciliation import Reconciler
from tests.support.sends import allow_sends
from tests.support.stub import Stub

LIMIT = {"currency": "USD", "asset": "BTC", "amount": "0.1", "price": "10"}
SEND = {"asset": "BTC", "amount": "0.1", "address": "tb1qx"}


class Shop(Stub):
    """An exchange with orders X1, X2, ...: `states` has what it reports of each, or raises."""

    states: ClassVar[dict] = {}
    refuses_cancel = None

    def order(self, ref):
        state = self.states[ref.exchange_order_id]
        if isinstance(state, Exception):
            raise state
        return state

    def open_orders(self):
        return [state for state in self.states.values() if isinstance(state, OrderState) and state.status == "open"]

    def cancel(self, ref):
        if self.refuses_cancel is not None:
            raise self.refuses_cancel

    def cancel_all(self):
        return len(self.states)


class Blind(Shop):
    """It can neither show an order nor list the open ones."""

    order = Exchange.order
    open_orders = Exchange.open_orders


class Owner:
    def __init__(self, server, exchange):
        self.auth = server.account()
        self.url = f"{server.url}/exchanges/{server.registration(self.auth, exchange)}"
        allow_sends(server.database, self.auth[0], [SEND["address"]])

    def call(self, method, path, key=None, **form):
        headers = {"Idempotency-Key": key} if key else {}
        sent = {"data": form} if method == "POST" else {"params": form}
        return requests.request(method, f"{self.url}/{path}", auth=self.auth, headers=headers, timeout=30, **sent)

    def place(self, key):
        return self.call("POST", "buy", key, **LIMIT).json()


@pytest.fixture
def owners(serving, monkeypatch):
    """The owners of a registration at each of the two."""
    for name, kind in (("shop", Shop), ("blind", Blind)):
        monkeypatch.setitem(exchanges.EXCHANGES, name, f"tests.server.test_refresh:{kind.__name__}")
        monkeypatch.setattr(kind, "id", name)
        monkeypatch.setattr(kind, "states", {})
        monkeypatch.setattr(kind, "act", staticmethod(accept(kind)))
    monkeypatch.setattr(Shop, "refuses_cancel", None)
    monkeypatch.setattr(Reconciler, "start", lambda self, **_: None)
    monkeypatch.setattr(Reconciler, "stop", lambda self: None)
    with serving(exchanges=("shop", "blind")) as server:
        yield Owner(server, "shop"), Owner(server, "blind")


def accept(kind):
    def act(_order):
        id = f"X{len(kind.states) + 1}"
        kind.states[id] = OrderState(id, "open", filled=Decimal(0))
        return kind.states[id]

    return act


FAILURES = [
    Refused("its market cannot be read", code="exchange_unavailable", retryable=True),
    Busy("slow down", retry_after=1),
    NotListedYet("it lags"),
    RuntimeError("an odd answer"),
]


def test_after_a_cancel_an_order_that_cannot_be_read_is_open_until_it_can(owners):
    owner, _ = owners
    for number, failure in enumerate(FAILURES, 1):
        order, name = owner.place(f"k{number}"), f"X{number}"
        Shop.states[name] = failure
        answer = owner.call("DELETE", f"orders/{order['id']}")
        assert (answer.status_code, answer.json()["status"]) == (200, "open")
        assert "took the cancel" in answer.json()["reason"]
        Shop.states[name] = OrderState(name, "canceled", filled=Decimal("0.05"))
        later = owner.call("GET", f"orders/{order['id']}").json()
        assert (later["status"], later["filled"], later["reason"]) == ("canceled", "0.05", None)


def test_after_a_cancel_an_order_that_is_never_shown_is_canceled_and_what_was_filled_is_not_known(owners):
    _, owner = owners
    order = owner.place("k1")
    canceled = owner.call("DELETE", f"orders/{order['id']}").json()
    assert (canceled["status"], canceled["filled"]) == ("canceled", None)
    assert canceled["reason"] == "its exchange does not say how much of it was filled before"
    assert owner.call("GET", f"orders/{order['id']}").json() == canceled


def test_an_order_that_is_gone_after_its_cancel_is_canceled(owners):
    owner, _ = owners
    order = owner.place("k1")
    Shop.states["X1"] = Refused("no such order", code="order_not_found")
    assert owner.call("DELETE", f"orders/{order['id']}").json()["status"] == "canceled"


def test_a_cancel_that_comes_too_late_says_what_is_known(owners, monkeypatch):
    """Over at an exchange that never shows it: closed. Over where it cannot be read now: the cancel was refused."""
    monkeypatch.setattr(Shop, "refuses_cancel", Refused("not open", code="order_not_open"))
    seer, blind = owners
    order = blind.place("k1")
    closed = blind.call("DELETE", f"orders/{order['id']}").json()
    assert (closed["status"], closed["filled"]) == ("closed", None)
    assert [row["status"] for row in blind.call("GET", "orders/", status="closed").json()] == ["closed"]
    assert blind.call("GET", "orders/", status="open").json() == []
    order = seer.place("k1")
    Shop.states["X1"] = FAILURES[0]
    assert seer.call("DELETE", f"orders/{order['id']}").json()["code"] == "order_not_open"
    Shop.states["X1"] = OrderState("X1", "filled", filled=Decimal("0.1"))
    assert seer.call("DELETE", f"orders/{order['id']}").json()["status"] == "filled"


def test_a_cancel_that_is_refused_as_a_second_delivery_would_be_is_answered_with_what_the_order_is(owners, monkeypatch):
    owner, _ = owners
    order = owner.place("k1")
    for refusal in (Refused("invalid nonce", code="invalid_nonce"), Busy("slow down", retry_after=3)):
        told = unproved(refusal)
        monkeypatch.setattr(Shop, "refuses_cancel", told)
        for state in (OrderState("X1", "open"), FAILURES[0]):
            Shop.states["X1"] = state
            answer = owner.call("DELETE", f"orders/{order['id']}").json()
            assert (answer["code"], answer["may_have_executed"]) == (told.code, True)
    Shop.states["X1"] = OrderState("X1", "canceled", filled=Decimal(0))
    assert owner.call("DELETE", f"orders/{order['id']}").json()["status"] == "canceled"


def test_a_cancel_whose_answer_was_lost_is_what_the_exchange_shows(owners, monkeypatch):
    owner, _ = owners
    monkeypatch.setattr(Shop, "refuses_cancel", Unknown("no answer"))
    order = owner.place("k1")
    for state in (OrderState("X1", "open", filled=Decimal(0)), FAILURES[0]):
        Shop.states["X1"] = state
        answer = owner.call("DELETE", f"orders/{order['id']}")
        assert (answer.status_code, answer.json()["code"]) == (504, "outcome_unknown")
    Shop.states["X1"] = OrderState("X1", "canceled", filled=Decimal(0))
    assert owner.call("DELETE", f"orders/{order['id']}").json()["status"] == "canceled"


def test_one_order_that_cannot_be_read_hides_no_other(owners):
    owner, _ = owners
    for key in ("k1", "k2", "k3"):
        owner.place(key)
    for failure in FAILURES:
        Shop.states["X1"] = failure
        assert {row["key"] for row in owner.call("GET", "orders/", status="open").json()} == {"k1", "k2", "k3"}
    Shop.states |= {"X1": FAILURES[0], "X2": OrderState("X2", "filled", filled=Decimal("0.1"))}
    assert {row["key"] for row in owner.call("GET", "orders/", status="open").json()} == {"k1", "k3"}
    assert owner.call("DELETE", "orders/").json() == {"canceled": 3}


def test_where_open_orders_cannot_be_listed_the_journal_lists_them(owners):
    _, owner = owners
    order = owner.place("k1")
    assert owner.call("GET", "orders/", status="open").json() == [order]
    assert owner.call("GET", f"orders/{order['id']}").json() == order


def test_all_are_canceled_where_none_is_shown_and_nothing_is_said_of_how_they_ended(owners):
    _, owner = owners
    order = owner.place("k1")
    assert owner.call("DELETE", "orders/").json() == {"canceled": 1}
    closed = owner.call("GET", f"orders/{order['id']}").json()
    assert (closed["status"], closed["filled"]) == ("closed", None)
    assert closed["reason"] == "it is over; its exchange does not say whether it was filled or canceled"


def test_an_order_that_is_closed_is_over_and_not_counted_as_unknown(owners, serving):
    owner, _ = owners
    order = owner.place("k1")
    Shop.states["X1"] = OrderState("X1", "closed", reason="not in the list of open orders any more")
    closed = owner.call("GET", f"orders/{order['id']}").json()
    assert (closed["status"], closed["reason"]) == ("closed", "not in the list of open orders any more")
    Shop.states["X1"] = OrderState("X1", "open")
    assert owner.call("GET", f"orders/{order['id']}").json() == closed
    assert owner.call("POST", "buy", "k1", **LIMIT).json() == closed
    ready = requests.get(f"{owner.url.partition('/exchanges')[0]}/ready", timeout=30).json()
    assert not any(ready["unknown"].values())


def test_a_repeat_and_a_question_answer_with_what_is_known_now(owners):
    owner, _ = owners
    placed = owner.place("k1")
    for failure in (*FAILURES, Unsupported("no such call")):
        Shop.states["X1"] = failure
        assert owner.place("k1") == placed
        assert owner.call("GET", "orders/?key=k1").json() == placed
    Shop.states["X1"] = OrderState("X1", "filled", filled=Decimal("0.1"), average=Decimal(10))
    first, second = (owner.call("POST", "buy", "k1", **LIMIT) for _ in range(2))
    assert (first.json()["status"], first.json()["average"]) == ("filled", "10")
    assert first.content == second.content
    assert first.headers["Idempotent-Replayed"] == "true"
    Shop.states["X1"] = OrderState("X1", "open")
    assert owner.call("POST", "buy", "k1", **LIMIT).content == first.content


def test_a_pending_send_is_done_for_a_repeat_when_its_exchange_says_so(owners, monkeypatch):
    owner, _ = owners
    sent = Withdrawal("W1", "BTC", Decimal("0.1"), "pending", address="tb1qx")
    monkeypatch.setattr(Shop, "act", staticmethod(lambda _send: sent))
    assert owner.call("POST", "send_to_address", "k1", **SEND).json()["status"] == "pending"
    monkeypatch.setattr(Shop, "found", [Withdrawal("W1", "BTC", Decimal("0.1"), "done", txid="t1")])
    repeat = owner.call("POST", "send_to_address", "k1", **SEND).json()
    assert (repeat["status"], repeat["txid"]) == ("done", "t1")
    monkeypatch.setattr(Shop, "found", None)
    assert owner.call("POST", "send_to_address", "k1", **SEND).json() == repeat


def test_an_order_that_is_too_new_to_be_listed_is_not_called_closed_by_a_cancel_of_all(owners, monkeypatch):
    """Where each order of a list is canceled, one that is not listed yet was not, and may be filled later."""
    owner, _ = owners
    monkeypatch.setattr(Shop, "order", lambda self, ref: find_open_or_closed([], ref, self.name))
    monkeypatch.setattr(Shop, "cancel_all", lambda self: 0)
    order = owner.place("k1")
    assert owner.call("DELETE", "orders/").json() == {"canceled": 0}
    assert owner.call("GET", f"orders/{order['id']}").json()["status"] == "open"
