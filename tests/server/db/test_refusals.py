"""What was refused long ago leaves the journals, and nothing else does."""

from __future__ import annotations

import pytest

from bitmm.xwrap.server.db import refusals
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.db.state_file import KEPT_INTENTS, IntentRef
from tests.support.databases import CLIENT_IDS, ORDER, add_registration, sql

DAY = 86_400
SEND = {"asset": "BTC", "amount": "1", "address": "tb1qx"}


@pytest.fixture(params=["orders", "withdrawals"])
def journal(request, store):
    return getattr(store, request.param)


def refuse(journal, key, status="rejected", *, released=False):
    """A row that became this now."""
    row = journal.begin(1, key, "f", ORDER if journal.name == "orders" else SEND, CLIENT_IDS).row
    journal.finish(row, {"status": status, "released": released})
    return row["id"]


def begin(store, journal, key, status="rejected", *, days=31, created=None, released=False):
    """A row that became this so many days ago."""
    id = refuse(journal, key, status, released=released)
    times = {"updated": now(days * DAY), "created": now((created or days) * DAY)}
    sql(store.where, f"UPDATE {journal.name} SET updated = :updated, created = :created WHERE id = :id", id=id, **times)
    return id


def fill(store, journal):
    """As many newer rows as stay in any case, all of them old."""
    first = min(refuse(journal, f"newer {number}") for number in range(KEPT_INTENTS))
    sql(store.where, f"UPDATE {journal.name} SET updated = :t, created = :t WHERE id >= :id", id=first, t=now(31 * DAY))


def test_what_was_refused_30_days_ago_goes_and_all_else_stays(store, journal):
    add_registration(store)
    gone = [begin(store, journal, "a"), begin(store, journal, "b", released=True)]
    stay = [
        begin(store, journal, "c", days=29),
        begin(store, journal, "d", days=29, created=40),
        *(begin(store, journal, status, status) for status in ("filled", "open", "canceled", "failed", "done")),
    ]
    settled = begin(store, journal, "settled")
    noun = "order" if journal.name == "orders" else "send"
    store.audit.add(
        "administrator", "settle", f"{noun} {settled} of registration 1", {"as": "not-placed"}, account_id=1
    )
    # Another row of the other journal, or of another number, was settled.
    other = "send" if noun == "order" else "order"
    for subject in (f"{other} {gone[0]} of registration 1", f"{noun} {gone[0]}0 of registration 1"):
        store.audit.add("administrator", "settle", subject, {}, account_id=1)
    fill(store, journal)
    assert store.refusals.remove_old() == 2
    assert [id for id in gone if journal.get(1, id)] == []
    assert all(journal.get(1, id) for id in [*stay, settled])
    assert all(journal.by_key(1, f"newer {number}") for number in range(KEPT_INTENTS))
    assert store.refusals.remove_old() == 0
    again = journal.begin(1, "a", "f", ORDER if journal.name == "orders" else SEND, CLIENT_IDS)
    assert again.is_new
    assert again.row["id"] > settled + KEPT_INTENTS


def test_many_go_some_at_a_time_past_those_that_stay(store, monkeypatch):
    monkeypatch.setattr(refusals, "_TOGETHER", 2)
    add_registration(store)
    rows = [begin(store, store.orders, f"k{number}", days=50 - number) for number in range(9)]
    for id in rows[:3]:
        store.audit.add("administrator", "settle", f"order {id} of registration 1", {}, account_id=1)
    fill(store, store.orders)
    asked = []
    assert store.refusals.remove_old(lambda: bool(asked.append(1)) or len(asked) > 2) == 1
    assert store.refusals.remove_old() == 5
    assert [id for id in rows if store.orders.get(1, id)] == rows[:3]


def test_a_row_that_is_removed_while_its_key_is_repeated_is_begun_as_a_new_one(store, journal, monkeypatch):
    add_registration(store)
    old = begin(store, journal, "k", released=True)
    fill(store, journal)
    look = journal._begin_again

    def remove_and_look(*args):
        monkeypatch.setattr(journal, "_begin_again", look)
        assert journal._database.write(lambda _runner: store.refusals.remove_old()) == 1
        return look(*args)

    monkeypatch.setattr(journal, "_begin_again", remove_and_look)
    intent = journal.begin(1, "k", "f", ORDER if journal.name == "orders" else SEND, CLIENT_IDS)
    assert intent.is_new
    assert intent.row["id"] > old
    assert journal.get(1, intent.row["id"])["status"] == "running"


def test_a_state_file_that_names_a_removed_row_shows_no_loss_but_a_young_or_newest_one_does(store):
    add_registration(store)
    removed = begin(store, store.orders, "a")
    fill(store, store.orders)
    newest = removed + KEPT_INTENTS
    assert store.refusals.remove_old() == 1
    row = {"registration_id": 1, "key": "a", "created": now(31 * DAY)}
    assert store.history.missing([IntentRef.of("orders", {**row, "id": removed})]) == []
    young = IntentRef.of("orders", {**row, "id": removed, "created": now(29 * DAY)})
    above = IntentRef.of("orders", {**row, "id": newest + 1})
    other = IntentRef.of("orders", {**row, "id": newest})
    of_empty = IntentRef.of("withdrawals", {**row, "id": removed})
    lost = [young, above, other, of_empty]
    assert [store.history.missing([intent]) for intent in lost] == [[intent] for intent in lost]
