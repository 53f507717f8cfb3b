"""The audit: rows that hold one another, so that what was changed afterwards is found."""

from __future__ import annotations

import json
import threading

import pytest

from bitmm.xwrap.server.db.audit import _hash
from bitmm.xwrap.server.db.records import Account, Caller, now
from bitmm.xwrap.server.db.store import Store
from tests.server.db.test_tables import older
from tests.support.databases import sql
from tests.support.threads import in_threads

ANN = Caller(Account(1, "ann", "x", active=True), None, "192.0.2.7")
COLUMNS = "time, account_id, who, address, what, subject, details, previous, hash"


@pytest.fixture
def audited(store):
    """Five rows: of 1, 3 and 5 it is about account 1."""
    for number in range(1, 6):
        store.audit.add(ANN if number % 2 else "server", "order.buy", f"order {number}", {"amount": str(number)})
    return store


def problems(store):
    return store.audit.verify().problems


def test_a_row_says_who_did_what_and_from_where(audited):
    row = audited.audit.of_account(1)[-1]
    assert row.pop("time") <= now()
    assert row == {
        "id": 1,
        "who": "ann",
        "address": "192.0.2.7",
        "what": "order.buy",
        "subject": "order 1",
        "details": {"amount": "1"},
    }


def test_an_account_is_shown_its_own_rows_newest_first_a_page_at_a_time(audited):
    def ids(**page):
        return [row["id"] for row in audited.audit.of_account(1, **page)]

    assert ids() == [5, 3, 1]
    assert ids(limit=2) == [5, 3]
    assert ids(before=3) == [1]
    [third] = sql(audited.where, "SELECT time FROM audit_log WHERE id = 3")
    assert ids(since=third[0]) == [5, 3]
    assert audited.audit.of_account(2) == []


def test_rows_that_nothing_happened_to_are_in_order(store, audited):
    done = audited.audit.verify()
    assert (done.rows, done.problems) == (5, [])
    assert [(done.hash,)] == [tuple(row) for row in sql(store.where, "SELECT hash FROM audit_head")]


def test_no_row_at_all_is_in_order(store):
    assert store.audit.verify() == (0, "", [])


@pytest.mark.parametrize("column", ["time", "who", "address", "what", "subject", "details"])
def test_a_row_that_was_changed_is_found(audited, column):
    sql(audited.where, f"UPDATE audit_log SET {column} = 'x' WHERE id = 3")
    assert problems(audited) == ["row 3 was changed"]


def test_a_row_that_was_given_to_another_account_is_found(audited):
    sql(audited.where, "UPDATE audit_log SET account_id = 2 WHERE id = 3")
    assert problems(audited) == ["row 3 was changed"]


def test_a_changed_row_with_a_new_hash_is_found_by_the_next_one(audited):
    sql(audited.where, "UPDATE audit_log SET who = 'x' WHERE id = 3")
    third = next(row for row in audited.audit.rows() if row["id"] == 3)
    sql(audited.where, "UPDATE audit_log SET hash = :hash WHERE id = 3", hash=_hash(third))
    assert problems(audited) == ["row 3 was changed, or rows between 3 and 4 were removed, put in or swapped"]


@pytest.mark.parametrize(
    ("gone", "found"),
    [
        ("id = 1", "rows between 0 and 2 were removed, put in or swapped"),
        ("id IN (2, 3)", "row 1 was changed, or rows between 1 and 4 were removed, put in or swapped"),
        ("id >= 4", "the newest rows, after 3, were removed or changed"),
        ("true", "all rows were removed"),
    ],
)
def test_rows_that_were_removed_are_found(audited, gone, found):
    sql(audited.where, f"DELETE FROM audit_log WHERE {gone}")
    assert problems(audited) == [found]


def test_a_head_that_was_removed_is_found(audited):
    sql(audited.where, "DELETE FROM audit_head")
    assert problems(audited) == ["the record of the newest row was removed"]


def test_a_row_that_was_put_in_is_found(audited):
    values = f"SELECT 99, {COLUMNS} FROM audit_log WHERE id = 5"
    sql(audited.where, f"INSERT INTO audit_log (id, {COLUMNS}) {values}")
    assert any("between 5 and 99" in problem for problem in problems(audited))


def test_a_row_that_was_put_in_at_the_end_with_a_right_hash_is_found(audited):
    last = list(audited.audit.rows())[-1]
    forged = {**last, "id": 6, "who": "ann", "previous": last["hash"]}
    forged["hash"] = _hash(forged)
    names = ", ".join(f":{name}" for name in ("id", *COLUMNS.split(", ")))
    sql(audited.where, f"INSERT INTO audit_log (id, {COLUMNS}) VALUES ({names})", **forged)
    assert problems(audited) == ["the rows after 5 were put in past the server"]


def test_two_rows_that_were_swapped_are_found(audited):
    for old, new in ((2, 90), (3, 2), (90, 3)):
        sql(audited.where, f"UPDATE audit_log SET id = {new} WHERE id = {old}")
    assert problems(audited)[0] == "row 1 was changed, or rows between 1 and 2 were removed, put in or swapped"


def test_a_row_is_undone_with_what_it_tells(audited):
    def work():
        audited.audit.add("server", "order.buy", "order 6")
        raise LookupError

    with pytest.raises(LookupError):
        audited.atomic(work)
    assert audited.audit.verify().rows == 5
    assert problems(audited) == []


def test_rows_of_many_writers_are_one_chain_also_while_it_is_verified(store, where):
    others = [Store(where) for _ in range(3)]
    stop, found = threading.Event(), []

    def verify():
        while not stop.is_set():
            found.extend(store.audit.verify().problems)

    verifier = threading.Thread(target=verify)
    verifier.start()

    def write(number):
        for _ in range(20):
            others[number].audit.add("server", "settle", f"order {number}")

    try:
        assert in_threads(3, write) == [None] * 3
    finally:
        stop.set()
        verifier.join()
    assert (store.audit.verify().rows, found) == (60, [])
    for other in others:
        other.close()


@pytest.mark.parametrize("name", ["a\nb", "NUL \0 in it", "half \ud800", "x" * 5000, "emoji 🚀 ä"])
def test_any_name_can_be_kept_and_verified(store, name):
    store.audit.add(name, "login.failed", name, {"name": name})
    assert problems(store) == []
    [row] = store.audit.rows()
    assert len(row["who"]) <= 1001
    assert json.loads(row["details"])["name"] == row["who"]


def test_the_rows_of_an_older_version_become_the_beginning_of_the_chain(where):
    store = Store(where)
    older(store, "0005")
    columns, values = "created, what, journal, row, before, after", ":time, 'settle', 'orders', :row, '{}', :after"
    insert = f"INSERT INTO audit ({columns}) VALUES ({values})"
    for row in (1, 2):
        sql(where, insert, time=f"2026-11-0{row}T00:00:00.000000Z", row=row, after='{"status": "filled", "ü": "\\""}')
    store.prepare()
    store.audit.add("server", "server.start", "bitmm")
    done = store.audit.verify()
    assert (done.rows, done.problems) == (3, [])
    assert [row["subject"] for row in store.audit.rows()] == ["orders 1", "orders 2", "bitmm"]
    store.close()
