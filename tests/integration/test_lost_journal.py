"""Keys whose orders and sends the journal lost: what the exchange has is never executed again.

The truth is the ledger of the local exchange.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.errors import InvalidRequest, OutcomeUnknown, Unavailable
from bitmm.xwrap.exchanges.errors import Busy, Refused
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.server.db import history
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.reconciliation import Reconciler
from tests.stress.harness import EXCHANGE_CASES, open_venue
from tests.support.sends import allow_sends


class Loser:
    """A backend at one exchange, whose journal can be lost."""

    def __init__(self, case, venue, server):
        self.case, self.venue, self.server, self.auth = case, venue, server, server.account()
        form = {"apikey": venue.key, "apisecret": venue.secret, **case.form}
        self.id = server.registration(self.auth, case.id, **form)
        allow_sends(server.database, self.auth[0], [case.address])
        self.backend = XWrap(server.url).backend(self.id, *self.auth)

    def buy(self, key, amount="0.01", **more):
        return self.backend.buy(self.case.currency, "BTC", amount, key=key, **self.case.terms["buy"], **more)

    def send(self, key, amount="0.01"):
        return self.backend.send_to_address("BTC", amount, self.case.address, key=key)

    def status_of(self, key, journal="orders"):
        """The status and the code of the answer to the question what became of a key."""
        url = f"{self.server.url}/exchanges/{self.id}/{journal}/?key={key}"
        answer = requests.get(url, auth=self.auth, timeout=30)
        return answer.status_code, answer.json().get("code")

    def lose(self, *statements, noticed_ago=3600.0):
        """The journal loses its rows (or what the statements say), as it was noticed so many seconds ago."""
        for statement in statements or ("DELETE FROM orders", "DELETE FROM withdrawals"):
            self.server.sql(statement)
        store = Store(self.server.database)
        store.history.report_gap(datetime.now(UTC) - timedelta(days=1), "restored from a copy")
        store.close()
        noticed = datetime.now(UTC) - timedelta(seconds=noticed_ago)
        self.server.sql("UPDATE history SET noticed = :noticed", noticed=noticed.isoformat().replace("+00:00", "Z"))

    def accept(self):
        store = Store(self.server.database)
        store.history.accept()
        store.close()

    def asked(self, method):
        return sum(method in request.path for request in self.venue.requests)


@contextmanager
def losing(name, serving, monkeypatch):
    monkeypatch.setattr(history, "_CACHE_SECONDS", 0.0)
    monkeypatch.setattr(Reconciler, "start", lambda self, **_: None)
    monkeypatch.setattr(Reconciler, "stop", lambda self: None)
    case = EXCHANGE_CASES[name]
    settings = {"exchanges": (case.id, "paper"), "exchange_limits": {case.id: None}}
    with open_venue(case) as venue, serving(exchange_urls={case.id: venue.url}, **settings) as server:
        venue.deposit("BTC", Decimal(10))
        yield Loser(case, venue, server)


@pytest.fixture
def kraken(serving, monkeypatch):
    with losing("kraken", serving, monkeypatch) as loser:
        yield loser


def orders(venue):
    return [row for row in venue.ledger() if row["kind"] == "order"]


def sends(venue):
    return [row for row in venue.ledger() if row["kind"] == "withdrawal"]


@pytest.mark.parametrize("noticed_ago", [0.0, 3600.0])
def test_lost_orders_are_found_with_one_list_and_new_ones_are_placed(kraken, noticed_ago):
    placed = {key: kraken.buy(key) for key in ("k1", "k2", "k3")}
    placed["k4"] = kraken.buy("k4", price="20000")
    kraken.lose(noticed_ago=noticed_ago)
    for key, order in placed.items():
        found = kraken.buy(key, **({"price": "20000"} if key == "k4" else {}))
        assert (found["exchange_order_id"], found["status"]) == (order["exchange_order_id"], order["status"])
        assert (found["filled"] or 0, found["average"]) == (order["filled"] or 0, order["average"])
    assert len(orders(kraken.venue)) == 4
    kraken.buy("k5")
    kraken.buy("k5")
    assert len(orders(kraken.venue)) == 5
    assert kraken.asked("ClosedOrders") == 1
    assert kraken.backend.cancel(kraken.backend.orders("open")[0]["id"])["status"] == "canceled"


def test_a_lost_order_is_answered_as_a_repeat(kraken):
    kraken.buy("k1")
    kraken.lose()
    url = f"{kraken.server.url}/exchanges/{kraken.id}/buy"
    form = {"currency": kraken.case.currency, "asset": "BTC", "amount": "0.01"}
    call = {"data": form, "auth": kraken.auth, "headers": {"Idempotency-Key": "k1"}, "timeout": 30}
    first, second = requests.post(url, **call), requests.post(url, **call)
    assert first.headers["Idempotent-Replayed"] == second.headers["Idempotent-Replayed"] == "true"
    assert (first.status_code, first.content) == (200, second.content)


@pytest.mark.parametrize("created", ["2026-01-01T00:00:00Z", "2126-01-01T00:00:00Z"], ids=["before", "set-back-clock"])
def test_a_later_attempt_is_found_when_the_journal_went_back_to_the_refusal_of_the_first(kraken, created):
    kraken.venue.fault("nonce", path="AddOrder")
    with pytest.raises(Unavailable):
        kraken.buy("k1")
    [before] = kraken.server.sql("SELECT status, released, attempt, client_id, answer FROM orders")
    order = kraken.buy("k1")
    [(attempt, client_id)] = kraken.server.sql("SELECT attempt, client_id FROM orders")
    assert attempt == 1
    kraken.server.sql(
        "UPDATE orders SET status = :status, released = :released, attempt = :attempt, client_id = :client_id,"
        " answer = :answer, answer_status = 503, exchange_order_id = NULL, created = :created",
        created=created,
        **dict(zip(("status", "released", "attempt", "client_id", "answer"), before, strict=True)),
    )
    kraken.lose("DELETE FROM withdrawals", noticed_ago=0.0)
    assert kraken.status_of("k1") == (504, "outcome_unknown")
    assert kraken.buy("k1")["exchange_order_id"] == order["exchange_order_id"]
    assert kraken.server.sql("SELECT attempt, client_id FROM orders") == [(1, client_id)]
    assert len(orders(kraken.venue)) == 1


def test_a_lost_key_with_other_parameters_is_refused_and_spoils_nothing(kraken):
    order = kraken.buy("k1")
    kraken.lose()
    for other in ({"amount": "0.02"}, {"price": "20000"}):
        with pytest.raises(InvalidRequest) as caught:
            kraken.buy("k1", **other) if "amount" in other else kraken.backend.sell("EUR", "BTC", "0.01", key="k1")
        assert caught.value.code == "key_reused"
    assert kraken.buy("k1")["exchange_order_id"] == order["exchange_order_id"]
    assert len(orders(kraken.venue)) == 1


def test_a_lost_order_with_a_stop_is_found_and_another_stop_is_another_order(kraken):
    order = kraken.buy("k1", stop="90000")
    kraken.lose()
    with pytest.raises(InvalidRequest) as caught:
        kraken.buy("k1", stop="90001")
    assert caught.value.code == "key_reused"
    found = kraken.buy("k1", stop="90000")
    assert (found["exchange_order_id"], found["status"], found["stop"]) == (order["exchange_order_id"], "open", 90000)
    assert len(orders(kraken.venue)) == 1


def test_a_question_for_a_lost_key_says_never_executed_only_when_the_exchange_does(kraken):
    kraken.buy("k1")
    kraken.lose()
    kraken.venue.fault("maintenance", path="ClosedOrders")
    assert kraken.status_of("k2") == (504, "outcome_unknown")
    assert kraken.status_of("k2") == (404, "no_such_key")
    assert kraken.status_of("k1") == (504, "outcome_unknown")
    with pytest.raises(OutcomeUnknown, match="same call"):
        kraken.backend.order(key="k1")
    assert kraken.status_of("k1", "withdrawals") == (504, "outcome_unknown"), "it has no ids of ours"


def test_a_list_that_cannot_be_read_places_nothing_until_it_can(kraken):
    kraken.buy("k1")
    kraken.lose()
    kraken.venue.fault("maintenance", path="ClosedOrders", times=9)
    for key in ("k1", "k2"):
        with pytest.raises(OutcomeUnknown) as caught:
            kraken.buy(key)
        assert caught.value.code == "history_missing"
    kraken.venue.heal()
    kraken.buy("k1")
    kraken.buy("k2")
    assert len(orders(kraken.venue)) == 2


def test_a_lost_send_that_carries_no_id_of_ours_is_left_to_its_owner(kraken):
    kraken.send("k1")
    kraken.lose()
    with pytest.raises(OutcomeUnknown):
        kraken.send("k1")
    with pytest.raises(OutcomeUnknown):
        kraken.send("k1")
    assert len(sends(kraken.venue)) == 1
    assert kraken.send("k2", "0.02") is True
    assert len(sends(kraken.venue)) == 2
    # That one is in the journal, so it is not the one that was lost.
    assert kraken.server.sql("SELECT key, status FROM withdrawals ORDER BY key") == [
        ("k1", "unknown"),
        ("k2", "pending"),
    ]


@pytest.mark.parametrize("odd", [{"amount": None}, {"info": None}, {"refid": None}, {"asset": 7}])
def test_a_send_is_not_repeated_when_one_of_which_too_little_is_told_may_be_it(kraken, odd):
    kraken.send("k1")
    kraken.send("k2", "0.02")
    kraken.lose()
    honest = kraken.venue.private_WithdrawStatus

    def answer(account, given):
        rows = honest(account, given)
        return [*rows[:-1], rows[-1] | odd]

    kraken.venue.private_WithdrawStatus = answer
    with pytest.raises(OutcomeUnknown):
        kraken.send("k1")
    assert len(sends(kraken.venue)) == 2


def test_a_list_of_sends_that_may_end_before_the_loss_proves_nothing(kraken):
    kraken.send("k1")
    kraken.lose()
    [row] = kraken.venue.private_WithdrawStatus(kraken.venue.account, {"asset": "XXBT"})
    others = [row | {"refid": f"FTQ-{number}", "amount": "0.02"} for number in range(10)]
    for page in ([], [row | {"refid": "FTQ-OLD", "amount": "0.02", "time": 1500000000}]):
        kraken.venue.private_WithdrawStatus = lambda account, given, page=page: [*others, *page]
        if page:
            assert kraken.send("k3", "0.03") is True, "it goes on to a time before the loss"
            continue
        with pytest.raises(OutcomeUnknown) as caught:
            kraken.send("k1")
        assert caught.value.code == "history_missing"
    assert len(sends(kraken.venue)) == 2


def test_a_send_is_not_repeated_while_a_lost_one_may_still_arrive(kraken):
    kraken.lose(noticed_ago=0.0)
    with pytest.raises(OutcomeUnknown) as caught:
        kraken.send("k1")
    assert caught.value.code == "history_missing"
    kraken.lose()
    assert kraken.send("k1") is True
    assert len(sends(kraken.venue)) == 1


def test_backpack_has_a_lost_send_by_our_id(serving, monkeypatch):
    with losing("backpack", serving, monkeypatch) as loser:
        loser.send("k1")
        loser.lose()
        assert loser.status_of("k1", "withdrawals") == (504, "outcome_unknown")
        assert loser.status_of("k2", "withdrawals") == (404, "no_such_key")
        assert loser.send("k1") is True
        assert loser.send("k2") is True
        assert len(sends(loser.venue)) == 2


@pytest.mark.parametrize("name", ["bitstamp", "backpack"])
def test_lost_orders_are_found_one_by_one_where_there_is_no_list(name, serving, monkeypatch):
    with losing(name, serving, monkeypatch) as loser:
        order = loser.buy("k1")
        loser.lose(noticed_ago=0.0)
        with pytest.raises(OutcomeUnknown) as caught:
            loser.buy("k2")
        assert caught.value.code == "history_missing", "a request from before the loss may still arrive"
        loser.lose("DELETE FROM orders")
        assert loser.buy("k1")["exchange_order_id"] == order["exchange_order_id"]
        loser.buy("k2")
        assert len(orders(loser.venue)) == 2


def test_where_orders_cannot_be_looked_up_nothing_is_placed_until_the_loss_is_accepted(serving, monkeypatch):
    with losing("hub", serving, monkeypatch) as loser:
        loser.lose()
        with pytest.raises(OutcomeUnknown, match="xwrap history accept") as caught:
            loser.buy("k1")
        assert caught.value.code == "history_missing"
        assert orders(loser.venue) == []
        loser.accept()
        loser.buy("k1")
        assert len(orders(loser.venue)) == 1


def test_paper_loses_its_books_together_with_the_journal_and_needs_no_look(kraken):
    kraken.id = kraken.server.registration(kraken.auth, "paper")
    paper = XWrap(kraken.server.url).backend(kraken.id, *kraken.auth)
    kraken.lose()
    assert paper.buy("USD", "BTC", "0.01", key="k1")["status"] == "filled"
    assert kraken.status_of("k2") == (404, "no_such_key")


def test_where_the_list_is_too_long_the_ids_of_a_key_are_looked_up_one_by_one_over_several_calls(kraken, monkeypatch):
    """A Starter key has points for four of the five ids; what was found out of them is kept for the next call."""
    placed = kraken.buy("k1")
    kraken.lose()
    asked = []

    def find(self, ref, find=Kraken.find):
        asked.append(ref.client_id)
        if len(asked) == 5:
            raise Busy("too many calls", retry_after=1)
        return find(self, ref)

    def too_long(self, since):
        raise Refused("the list is too long", code="exchange_unavailable")

    monkeypatch.setattr(Kraken, "orders_since", too_long)
    monkeypatch.setattr(Kraken, "find", find)
    while len(asked) < 5:
        with pytest.raises(OutcomeUnknown) as caught:
            kraken.buy("k2")
        assert caught.value.code == "history_missing"
    kraken.buy("k2")
    assert len(asked) == 6
    assert len(set(asked)) == 5
    assert kraken.buy("k1")["exchange_order_id"] == placed["exchange_order_id"]
    assert len(orders(kraken.venue)) == 2
