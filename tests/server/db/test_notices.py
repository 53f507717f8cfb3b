"""Notices wait in a queue, committed together with what they report, and nothing is written where none are wanted."""

from __future__ import annotations

import json

import pytest

from bitmm.xwrap.server.db import notices
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.db.store import Store
from tests.support.databases import CLIENT_IDS, ORDER, add_registration, sql

SEND = {"asset": "BTC", "amount": "1", "address": "tb1qx"}
DAY = 86_400


@pytest.fixture
def where(tmp_path, database):
    return database(tmp_path, tables=True)


@pytest.fixture
def store(where):
    store = Store(where, notices=True)
    add_registration(store)
    yield store
    store.close()


def waiting(store):
    return [json.loads(body) for (body,) in sql(store.where, "SELECT body FROM notices ORDER BY id")]


def kinds(store):
    return [notice["kind"] for notice in waiting(store)]


def begin(store, key="k", journal="orders"):
    return getattr(store, journal).begin(1, key, "f", ORDER if journal == "orders" else SEND, CLIENT_IDS).row


def add(store, *kinds):
    for kind in kinds:
        store.notices.add(kind, {}, registration=1)


def let_pass(store, seconds):
    """Move the clock on, as far as notices know."""
    with store._database.writing() as runner:
        runner.command(f"UPDATE notices SET due = due - {seconds}")


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        ("filled", ["order.filled"]),
        ("partly_filled", ["order.partly_filled"]),
        ("canceled", ["order.canceled"]),
        ("closed", ["order.closed"]),
        ("unknown", ["order.unknown"]),
        ("open", []),
        ("rejected", []),
    ],
)
def test_the_outcome_of_an_order_is_reported_once_with_the_order_as_it_is_then(store, outcome, kind):
    row = begin(store)
    assert kinds(store) == []
    for _ in range(2):
        store.orders.finish(row, {"status": outcome, "filled": "0.5", "updated": now()})
    assert kinds(store) == kind
    for notice in waiting(store):
        place = {"account": "ann", "registration": 1, "exchange": "paper", "label": ""}
        assert {name: notice[name] for name in place} == place
        order = notice["order"]
        assert (order["id"], order["key"], order["status"], order["amount"], order["filled"]) == (
            *(row["id"], "k", outcome),
            *("1", "0.5"),
        )
        assert set(order) == {*notices.ORDER_FIELDS}


def test_an_open_order_is_reported_when_it_is_over_and_not_before(store):
    row = begin(store)
    store.orders.finish(row, {"status": "open", "exchange_order_id": "x"})
    row = store.orders.get(1, row["id"])
    row = store.orders.refresh(row, {"status": "open", "filled": "0.1"})
    assert kinds(store) == []
    store.orders.refresh(row, {"status": "filled", "filled": "1"})
    store.orders.refresh(row, {"status": "canceled", "filled": "0"})
    assert kinds(store) == ["order.filled"]


@pytest.mark.parametrize(
    ("status", "reported"),
    [
        ("filled", ["order.unknown", "order.reconciled", "order.filled"]),
        ("open", ["order.unknown", "order.reconciled"]),
        ("rejected", ["order.unknown", "order.reconciled"]),
    ],
)
def test_an_unknown_order_that_became_known_is_reconciled_and_what_it_became(store, status, reported):
    row = begin(store)
    store.orders.finish(row, {"status": "unknown"})
    unknown = store.orders.get(1, row["id"])
    assert store.orders.reconcile(unknown, {"status": status})
    assert not store.orders.reconcile(unknown, {"status": status})
    assert kinds(store) == reported
    assert {notice["order"]["status"] for notice in waiting(store)[1:]} == {status}


def test_an_outcome_that_comes_after_the_order_was_given_up_is_reported_as_that(store):
    row = begin(store)
    assert store.orders.mark_abandoned(now(-1)) == 1
    assert store.orders.finish(row, {"status": "filled"})
    assert kinds(store) == ["order.unknown", "order.reconciled", "order.filled"]


def test_what_could_not_be_written_is_reported_when_it_is(store):
    row = begin(store)
    store.orders.give_up(row)
    assert kinds(store) == []
    store.orders.commit_unwritten()
    assert kinds(store) == ["order.unknown"]


def test_an_order_that_was_amended_in_place_ends_as_canceled(store):
    first = begin(store, "first")
    store.orders.finish(first, {"status": "open", "exchange_order_id": "x"})
    values = {**ORDER, "replaces": first["id"], "exchange_order_id": "x"}
    second = store.orders.begin(1, "second", "f", values, CLIENT_IDS).row
    store.orders.finish(second, {"status": "open", "exchange_order_id": "x"})
    [notice] = waiting(store)
    assert (notice["kind"], notice["order"]["id"]) == ("order.canceled", first["id"])
    assert "it was amended" in notice["order"]["reason"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [("done", ["send.done"]), ("failed", ["send.failed"]), ("unknown", ["send.unknown"]), ("pending", [])],
)
def test_the_outcome_of_a_send_is_reported(store, status, kind):
    row = begin(store, journal="withdrawals")
    store.withdrawals.finish(row, {"status": status})
    assert kinds(store) == kind
    assert all(notice["send"]["address"] == "tb1qx" for notice in waiting(store))


def test_a_notice_is_committed_together_with_what_it_reports_or_neither_is(store):
    row = begin(store)

    def work():
        store.orders.finish(row, {"status": "filled"})
        store.safety.freeze(1)
        add(store, "account.frozen")
        raise KeyboardInterrupt  # the process is killed here

    with pytest.raises(KeyboardInterrupt):
        store.atomic(work)
    assert kinds(store) == []
    assert store.orders.get(1, row["id"])["status"] == "running"
    store.orders.finish(row, {"status": "filled"})
    assert kinds(store) == ["order.filled"]


def test_a_notice_that_cannot_be_written_takes_the_outcome_with_it(store):
    row = begin(store)
    sql(store.where, "ALTER TABLE notices RENAME TO gone")
    with pytest.raises(Exception, match="notices"):
        store.orders.finish(row, {"status": "filled"})
    assert store.orders.get(1, row["id"])["status"] == "running"
    sql(store.where, "ALTER TABLE gone RENAME TO notices")


def test_without_a_receiver_nothing_is_written(where):
    store = Store(where)
    add_registration(store)
    for number, status in enumerate(("filled", "unknown", "canceled")):
        store.orders.finish(begin(store, str(number)), {"status": status})
    add(store, "account.frozen")
    assert waiting(store) == []
    assert store.notices.backlog() == (0, None, 0, None)
    store.close()


def test_a_refused_key_is_reported_once_until_it_is_accepted_again(store):
    def registration():
        return store.registrations.get(1)

    seen = registration()
    store.notices.key_refused(seen)
    store.notices.key_refused(seen)
    assert kinds(store) == ["key.refused"]
    assert registration().key_refused is not None
    store.notices.key_accepted(registration())
    assert registration().key_refused is None
    store.notices.key_refused(registration())
    assert kinds(store) == ["key.refused", "key.refused"]
    sql(store.where, "UPDATE registrations SET sealed_apisecret = :new, key_refused = NULL", new=b"another key")
    store.notices.key_refused(seen)  # by a call that began with the key before
    assert kinds(store) == ["key.refused", "key.refused"]


def test_no_notice_is_sent_before_the_one_before_it_was_taken(store):
    add(store, "a", "b", "c")
    first = store.notices.claim(30)
    assert json.loads(first.body)["kind"] == "a"
    assert json.loads(first.body)["id"] == first.id
    assert store.notices.claim(30) is None
    store.notices.postpone(first, 600, "no answer")
    assert store.notices.claim(30) is None
    assert store.notices.backlog()[0] == 3
    assert store.notices.backlog()[2:] == (1, "no answer")
    let_pass(store, 600)
    again = store.notices.claim(30)
    assert (again.id, again.body, again.tries) == (first.id, first.body, 2)
    second = store.notices.taken(again, 30)
    third = store.notices.taken(second, 30)
    assert [json.loads(one.body)["kind"] for one in (second, third)] == ["b", "c"]
    assert store.notices.taken(third, 30) is None
    assert store.notices.backlog().waiting == 0


def test_one_of_two_servers_sends_and_the_other_one_goes_on_when_it_died(store):
    other = Store(store.where, notices=True)
    add(store, "a", "b")
    mine = store.notices.claim(30)
    assert other.notices.claim(30) is None
    let_pass(store, 31)
    theirs = other.notices.claim(30)
    assert theirs.id == mine.id
    assert store.notices.claim(30) is None
    store.notices.postpone(mine, 600, "late")  # its claim is over, and changes nothing
    assert json.loads(other.notices.taken(theirs, 30).body)["kind"] == "b"
    other.close()


def test_what_waits_for_too_long_is_dropped_and_the_oldest_of_too_many(store, monkeypatch):
    add(store, *"abcdef")
    assert store.notices.drop_old() == 0
    sql(store.where, "UPDATE notices SET created = :old WHERE id <= 2", old=now(31 * DAY))
    assert store.notices.drop_old() == 2
    assert kinds(store) == list("cdef")
    monkeypatch.setattr(notices, "_FIRST_TOO_MANY", notices._FIRST_TOO_MANY.offset(3))
    assert store.notices.drop_old() == 1
    assert kinds(store) == list("def")
    assert store.notices.drop_old() == 0
