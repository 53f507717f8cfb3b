"""Every write of an order has a number of its own, and those of a registration are committed in their order."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy.exc import OperationalError

from bitmm.xwrap.server.db import journals
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.reconciliation import not_placed
from tests.support.databases import CLIENT_IDS, ORDER, add_registration, sql
from tests.support.threads import in_threads

#: Each write of an order must have the registration's newest number, and a greater one than the order had.
CHECKS = [
    f"CREATE TRIGGER numbered_{event} AFTER {event} ON orders WHEN {before} NEW.change IS NOT"
    " (SELECT number FROM order_changes WHERE registration_id = NEW.registration_id)"
    " BEGIN SELECT RAISE(ABORT, 'this write has no number'); END"
    for event, before in (("INSERT", ""), ("UPDATE", "NEW.change <= OLD.change OR"))
]


@pytest.fixture
def checked(sqlite):
    """A data base that refuses every write of an order without a number of its own."""
    for check in CHECKS:
        sql(sqlite.where, check)
    return sqlite


def begin(store, registration, key):
    return store.orders.begin(registration, key, "f", ORDER, CLIENT_IDS).row


def test_the_check_refuses_a_write_without_a_number(checked):
    registration = add_registration(checked)
    begin(checked, registration, "k1")
    with pytest.raises(Exception, match="no number"):
        sql(checked.where, "UPDATE orders SET status = 'filled'")


def test_no_way_to_write_an_order_lacks_a_number(checked, monkeypatch):
    journal, registration = checked.orders, add_registration(checked)
    row = begin(checked, registration, "filled")
    assert journal.finish(row, {"status": "filled"})
    row = begin(checked, registration, "refused")
    assert journal.finish(row, {"status": "rejected", "released": True})
    row = begin(checked, registration, "refused")  # anew
    assert journal.finish(row, {"status": "open"})
    row = journal.get(registration, row["id"])
    assert journal.refresh(row, {"filled": "0.1"}) == journal.get(registration, row["id"])
    assert journal.refresh(row | {"status": "unknown"}, {"filled": "0.2"})["filled"] == "0.1", "it met no row"
    row = begin(checked, registration, "unknown")
    assert journal.finish(row, {"status": "unknown"})
    [(_, row)] = journal.unknown()
    assert journal.reconcile(row, not_placed(row))
    begin(checked, registration, "abandoned")
    begin(checked, registration, "abandoned too")
    assert journal.mark_abandoned(now()) == 2
    journal.give_up(begin(checked, registration, "given up"))
    journal.commit_unwritten()
    row = begin(checked, registration, "not written")
    with monkeypatch.context() as patch:
        patch.setattr(checked._database, "_transaction", failing)
        patch.setattr(checked._database, "_begin", failing)
        with pytest.raises(OperationalError):
            journal.finish(row, {"status": "open"})
        with pytest.raises(OperationalError):
            begin(checked, registration, "not begun")
    journal.commit_unwritten()
    found = journal.changed(registration, 0, 100)
    assert [row["key"] for row in found][-2:] == ["given up", "not written"]
    assert found[-1]["status"] == "open"
    assert len({row["change"] for row in found}) == 7
    assert journal.last_changes([registration, 99])[registration] >= found[-1]["change"]


def failing(*_given):
    raise OperationalError("", {}, Exception("no disk"))


def test_numbers_grow_also_when_the_clock_is_set_back(store, monkeypatch):
    registration = add_registration(store)
    first = begin(store, registration, "k1")["change"]
    monkeypatch.setattr(journals.time, "time_ns", lambda: 1000)
    assert begin(store, registration, "k2")["change"] == first + 1
    assert store.orders.changed(registration, first, 10) == [store.orders.by_key(registration, "k2")]


def test_a_data_base_that_was_put_back_gives_no_number_a_second_time(store):
    """What a caller has seen of the copy that is gone hides nothing from him."""
    registration = add_registration(store)
    begin(store, registration, "k1")
    [(number,)] = sql(store.where, "SELECT number FROM order_changes")
    cursor = begin(store, registration, "k2")["change"]
    sql(store.where, "DELETE FROM orders WHERE key = 'k2'")
    sql(store.where, "UPDATE order_changes SET number = :number", number=number)
    assert begin(store, registration, "k3")["change"] > cursor


def test_who_reads_while_others_write_misses_no_change(store, where):
    """Also with several processes: a number is seen only after all lower ones of its registration."""
    registration, writers, each = add_registration(store), [Store(where) for _ in range(4)], 15
    seen, cursor, over = [], 0, threading.Event()

    def read():
        nonlocal cursor
        while True:
            is_last = over.is_set()
            rows = store.orders.changed(registration, cursor, 3)
            seen.extend(row["key"] for row in rows)
            cursor = rows[-1]["change"] if rows else cursor
            if is_last and not rows:
                return

    def write(number):
        for count in range(each):
            begin(writers[number], registration, f"k{number}-{count}")

    reader = threading.Thread(target=read)
    reader.start()
    assert in_threads(len(writers), write) == [None] * len(writers)
    over.set()
    reader.join()
    assert sorted(seen) == sorted(f"k{number}-{count}" for number in range(len(writers)) for count in range(each))
    for writer in writers:
        writer.close()


def test_a_commit_that_changes_an_order_is_reported_and_no_other_one(store):
    calls, registration = [], add_registration(store)
    store.after_order_change(lambda: calls.append(store._database.is_writing))
    row = begin(store, registration, "k1")
    assert calls == [False]
    store.atomic(lambda: store.orders.finish(row, {"status": "filled"}))
    assert calls == [False, False], "after the commit, and once"
    store.audit.add("ann", "login", "nothing about orders")
    assert len(calls) == 2
