"""Old orders leave the journal when they are over, and what stays of them blocks their keys for ever."""

from __future__ import annotations

import pytest

from bitmm.xwrap.server.db import archive as archive_store
from bitmm.xwrap.server.db.archive import FINAL, ChangedError
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.db.state_file import KEPT_INTENTS, IntentRef
from tests.support.databases import CLIENT_IDS, ORDER, add_registration, sql

DAY = 86_400
YEAR = 365 * DAY


def place(store, key, status="filled", *, days=400.0, updated=None, **columns):
    """An order that was placed so many days ago, and became this then."""
    row = store.orders.begin(1, key, "f", ORDER, CLIENT_IDS).row
    if status not in {"running", "unknown"}:
        store.orders.finish(row, {"status": status})
    columns |= {"created": now(days * DAY), "updated": now((updated or days) * DAY), "status": status}
    names = ", ".join(f"{name} = :{name}" for name in columns)
    sql(store.where, f"UPDATE orders SET {names} WHERE id = :id", id=row["id"], **columns)
    return row["id"]


def fill(store, days=1.0):
    """As many newer orders as stay in any case."""
    for number in range(KEPT_INTENTS):
        place(store, f"newer {number}", days=days)


def archive(store, until=None, most=100):
    """Archive what is old; the ids that are gone, in the order in which they went."""
    until = until or now(YEAR)
    number, gone, below = store.archive.begin("a file"), [], store.archive.first_later(until)
    while below:
        rows, below = store.archive.old(until, below, most)
        if rows:
            store.archive.remove(number, rows)
        gone += [row["id"] for row in rows]
    return gone


def test_orders_that_ended_long_ago_go_and_all_others_stay(store):
    add_registration(store)
    old = [place(store, status, status) for status in FINAL]
    stay = [
        *(place(store, status, status) for status in ("open", "unknown", "running", "rejected")),
        place(store, "late", days=400, updated=3),
        place(store, "young", days=300),
    ]
    fill(store)
    assert store.archive.count(now(YEAR))["rows"] == len(old)
    assert archive(store) == old[::-1]
    assert [id for id in old if store.orders.get(1, id)] == []
    assert all(store.orders.get(1, id) for id in stay)
    assert archive(store) == []


def test_the_newest_rows_stay_however_old_they_are(store):
    add_registration(store)
    old = place(store, "old")
    fill(store, days=399)
    assert archive(store) == [old]
    assert place(store, "next") == old + KEPT_INTENTS + 1


def test_gaps_of_ids_are_passed_over(store, monkeypatch):
    monkeypatch.setattr(archive_store, "_IDS_TOGETHER", 3)
    add_registration(store)
    ids = [place(store, str(number), "open" if number % 4 else "filled") for number in range(20)]
    sql(store.where, "DELETE FROM orders WHERE id BETWEEN :first AND :last", first=ids[5], last=ids[15])
    fill(store)
    assert archive(store) == [ids[16], ids[4], ids[0]]


@pytest.mark.parametrize("most", [1, 2, 100])
def test_an_order_whose_place_another_one_takes_goes_after_that_and_stays_while_that_stays(store, most):
    add_registration(store)
    first = place(store, "1")
    second = place(store, "2", replaces=first)
    third = place(store, "3", replaces=second)
    kept = place(store, "4")
    place(store, "5", "open", replaces=kept)
    other = place(store, "6")
    place(store, "7", days=3, replaces=other)
    fill(store)
    assert archive(store, most=most) == [third, second, first]


def test_of_an_archived_order_its_id_status_and_time_are_left_under_its_key_alone(store):
    add_registration(store)
    add_registration(store, "ben")
    id = place(store, "mine", "canceled")
    created = store.orders.get(1, id)["created"]
    fill(store)
    archive(store)
    left = {"id": id, "status": "canceled", "created": created, "archive": "a file", "released": False}
    assert store.orders.by_key(1, "mine") == {"key": "mine", **left}
    assert store.orders.archived(1, id) == left
    assert [store.orders.by_key(1, "mine "), store.orders.by_key(2, "mine"), store.orders.archived(2, id)] == [None] * 3
    row = store.orders.by_key(1, "newer 3")
    assert row == store.orders.get(1, row["id"])


def test_a_row_that_changed_since_it_was_read_keeps_all_of_its_batch_in_the_journal(store):
    add_registration(store)
    ids = [place(store, "a"), place(store, "b")]
    fill(store)
    until, number = now(YEAR), store.archive.begin("a file")
    rows, _ = store.archive.old(until, ids[-1] + 1, 100)
    sql(store.where, "UPDATE orders SET updated = :t WHERE id = :id", id=ids[0], t=now(390 * DAY))
    with pytest.raises(ChangedError):
        store.archive.remove(number, rows)
    assert all(store.orders.get(1, id) for id in ids)
    assert sql(store.where, "SELECT count(*) FROM archived_keys") == [(0,)]


def test_pages_of_orders_go_on_past_those_that_were_archived(store):
    add_registration(store)
    oldest = place(store, "oldest", "open")
    gone = [place(store, str(number)) for number in range(5)]
    fill(store, days=1)
    assert archive(store) == gone[::-1]
    statuses = ("filled", "open")
    newer = [row["id"] for row in store.orders.rows(1, statuses, KEPT_INTENTS, None)]
    assert newer == list(range(gone[-1] + KEPT_INTENTS, gone[-1], -1))
    for before in (newer[-1], *gone[::-1]):
        assert [row["id"] for row in store.orders.rows(1, statuses, 50, before)] == [oldest]
    changed = store.orders.changed(1, 0, 100)
    assert {row["id"] for row in changed} == {oldest, *newer}


def test_a_state_file_that_names_an_archived_order_shows_no_loss(store):
    add_registration(store)
    id = place(store, "mine", days=31)
    fill(store)
    named = IntentRef.of("orders", store.orders.get(1, id))
    assert archive(store, until=now(30 * DAY)) == [id]
    assert store.history.missing([named]) == []


def test_a_new_order_asks_for_its_key_and_the_archived_ones_in_one_statement(store, monkeypatch):
    add_registration(store)
    asked = []
    run = store._database.compiled
    monkeypatch.setattr(store._database, "compiled", lambda *args: asked.append(args) or run(*args))
    assert store.orders.by_key(1, "new") is None
    assert len(asked) == 1
