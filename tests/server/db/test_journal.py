"""One intent for each key, whoever comes first, and what became of it."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from bitmm.xwrap.server.db import own_rows
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.reconciliation import not_placed
from tests.support.databases import CLIENT_IDS, ORDER, add_registration, end_sessions, new_database, sql
from tests.support.threads import in_threads

LONG_AGO = "2020"


def test_of_many_processes_one_begins_an_order_and_the_others_find_it(store, where):
    registration = add_registration(store)
    others = [Store(where) for _ in range(8)]
    for key in (f"k{number}" for number in range(10)):
        begun = in_threads(
            8, lambda number, key=key: others[number].orders.begin(registration, key, "f", ORDER, CLIENT_IDS)
        )
        assert [intent for intent in begun if isinstance(intent, Exception)] == []
        assert sum(intent.is_new for intent in begun) == 1
        assert len({intent.row["id"] for intent in begun}) == 1
    for other in others:
        other.close()


def test_of_many_processes_one_tries_a_released_order_anew(store, where):
    registration = add_registration(store)
    others = [Store(where) for _ in range(8)]
    for key in (f"k{number}" for number in range(10)):
        row = store.orders.begin(registration, key, "f", ORDER, CLIENT_IDS).row
        assert store.orders.finish(row, {"status": "rejected", "released": True})
        begun = in_threads(
            8, lambda number, key=key: others[number].orders.begin(registration, key, "f", ORDER, CLIENT_IDS)
        )
        assert [intent for intent in begun if isinstance(intent, Exception)] == []
        assert sum(intent.is_new for intent in begun) == 1
        assert {intent.row["status"] for intent in begun} == {"running"}
    for other in others:
        other.close()


def test_what_a_server_was_doing_is_unknown_as_soon_as_it_is_no_more(store, where):
    registration = add_registration(store)
    theirs = Store(where)
    theirs.heartbeat()
    row = theirs.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS).row
    theirs.close()
    store.heartbeat()
    mine = store.orders.begin(registration, "k2", "f", ORDER, CLIENT_IDS).row
    assert store.orders.mark_abandoned(LONG_AGO) == 1
    assert store.orders.get(registration, row["id"])["status"] == "unknown"
    assert store.orders.get(registration, mine["id"])["status"] == "running"


def test_what_runs_for_too_long_is_unknown_although_its_server_seems_to_live(store):
    registration = add_registration(store)
    store.heartbeat()
    store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS)
    assert store.orders.mark_abandoned(LONG_AGO) == 0
    assert store.orders.mark_abandoned(now()) == 1


@pytest.mark.parametrize("status", ["filled", "unknown"])
def test_a_call_has_a_server_until_it_is_over(store, status):
    registration = add_registration(store)
    row = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS).row
    assert store.orders.by_key(registration, "k1")["server"] == store.server_id
    store.orders.finish(row, {"status": status})
    assert store.orders.by_key(registration, "k1")["server"] is None
    abandoned = store.orders.begin(registration, "k2", "f", ORDER, CLIENT_IDS).row
    store.orders.mark_abandoned(now())
    assert store.orders.get(registration, abandoned["id"])["server"] == store.server_id, "its call may go on"


def test_the_process_that_left_a_row_unknown_or_open_is_the_one_to_ask_first(store, where, monkeypatch):
    registration = add_registration(store)
    monkeypatch.setattr(type(store._database), "is_shared", True)
    store, other = Store(where), Store(where)
    rows = {
        key: store.orders.begin(registration, key, "f", ORDER, CLIENT_IDS).row
        for key in ("open", "unknown", "filled", "lost")
    }
    for status in ("open", "unknown", "filled"):
        store.orders.finish(rows[status], {"status": status})
    assert [store.orders.is_own(row) for row in rows.values()] == [True, True, False, False]
    assert other.orders.mark_abandoned(now()) == 1
    assert [other.orders.is_own(row) for row in rows.values()] == [False, False, False, True]
    other.close()
    store.close()


def test_no_more_than_the_last_rows_that_a_process_left_open_are_kept(store, where, monkeypatch):
    monkeypatch.setattr(type(store._database), "is_shared", True)
    monkeypatch.setattr(own_rows, "_MOST", 2)
    registration = add_registration(store)
    store = Store(where)
    rows = [store.orders.begin(registration, key, "f", ORDER, CLIENT_IDS).row for key in ("k1", "k2", "k3")]
    for row in rows:
        store.orders.finish(row, {"status": "open"})
    assert [store.orders.is_own(row) for row in rows] == [False, True, True]
    store.close()


@contextmanager
def broken(store, monkeypatch, *, committed):
    """The connection to the data base breaks at each write, before or after it was committed."""
    real = type(store._database).write

    def write(self, work):
        if committed:
            real(self, work)
        raise OperationalError("", None, Exception("the connection is lost"))

    with monkeypatch.context() as patch:
        patch.setattr(type(store._database), "write", write)
        yield


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("status", ["filled", "unknown"])
def test_an_outcome_that_could_not_be_committed_is_committed_as_soon_as_that_works(
    store, monkeypatch, status, committed
):
    registration = add_registration(store)
    row = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS).row
    with broken(store, monkeypatch, committed=committed):
        with pytest.raises(OperationalError):
            store.orders.finish(row, {"status": status, "exchange_order_id": "X1"})
        with pytest.raises(OperationalError):
            store.orders.commit_unwritten()
    store.orders.commit_unwritten()
    after = store.orders.by_key(registration, "k1")
    assert (after["status"], after["exchange_order_id"], after["server"]) == (status, "X1", None)
    assert not store.orders._unwritten


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("anew", [False, True])
def test_an_order_whose_beginning_was_not_answered_blocks_its_key_no_longer_than_that(
    store, monkeypatch, anew, committed
):
    """It was not sent; but the data base may have committed that it runs."""
    registration = add_registration(store)
    if anew:
        row = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS).row
        store.orders.finish(row, {"status": "rejected", "released": True})
    with broken(store, monkeypatch, committed=committed), pytest.raises((OperationalError, IntegrityError)):
        store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS)
    store.orders.commit_unwritten()
    again = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS)
    assert (again.is_new, again.row["status"]) == (True, "running")


def test_an_outcome_that_is_committed_late_is_not_taken_for_that_of_a_later_call(store, monkeypatch):
    registration = add_registration(store)
    first = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS).row
    with broken(store, monkeypatch, committed=False), pytest.raises(OperationalError):
        store.orders.finish(first, {"status": "filled"})
    sql(store.where, "UPDATE orders SET status = 'rejected', released = true")
    assert store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS).is_new
    store.orders.commit_unwritten()
    assert store.orders.by_key(registration, "k1")["status"] == "running"


def test_an_outcome_that_is_committed_late_changes_nothing_that_is_known_better(store, monkeypatch):
    registration = add_registration(store)
    row = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS).row
    with broken(store, monkeypatch, committed=False), pytest.raises(OperationalError):
        store.orders.finish(row, {"status": "open"})
    store.orders.mark_abandoned(now())
    [(_, seen)] = store.orders.unknown()
    assert store.orders.reconcile(seen, {"status": "filled"})
    store.orders.commit_unwritten()
    assert store.orders.by_key(registration, "k1")["status"] == "filled"


def test_a_row_that_is_given_up_becomes_unknown(store):
    registration = add_registration(store)
    row = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS).row
    store.orders.give_up(row)
    store.orders.commit_unwritten()
    after = store.orders.by_key(registration, "k1")
    assert (after["status"], after["server"]) == ("unknown", None)


@pytest.fixture
def two_servers(postgres):
    """Two servers on one data base, its URL, and a registration there."""
    url = new_database(postgres)
    ours, theirs = Store(url), Store(url)
    ours.prepare()
    yield ours, theirs, url, add_registration(ours)
    for store in (ours, theirs):
        store.close()


def test_a_call_is_finished_although_every_connection_of_its_server_broke_meanwhile(postgres, two_servers):
    """Another server has made it unknown by then; its outcome is known as soon as the call ends."""
    ours, theirs, url, registration = two_servers
    for store in (ours, theirs):
        store.heartbeat()
    row = theirs.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS).row
    end_sessions(postgres, url)
    ours.heartbeat()
    assert ours.orders.mark_abandoned(LONG_AGO) == 1
    [(_, seen)] = ours.orders.unknown()
    assert seen["server"] == theirs.server_id, "it may still be at it"
    assert theirs.orders.finish(row, {"status": "filled"})
    assert ours.orders.by_key(registration, "k1")["status"] == "filled"


def test_what_a_server_that_lives_is_doing_is_left_to_it(postgres, two_servers):
    ours, theirs, url, registration = two_servers
    for store in (ours, theirs):
        store.heartbeat()
        store.heartbeat()
    theirs.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS)
    assert ours.orders.mark_abandoned(LONG_AGO) == 0
    end_sessions(postgres, url)
    theirs.heartbeat()
    assert ours.orders.mark_abandoned(LONG_AGO) == 0, "it has shown itself again"
    theirs.close()
    assert ours.orders.mark_abandoned(LONG_AGO) == 1


def test_a_server_that_could_not_show_itself_tries_again(two_servers):
    """Its number is still locked by a session of its own that the data base has not missed yet."""
    ours, theirs, _url, registration = two_servers
    with theirs._database.advisory_lock(ours._database.server_id, 2.0), pytest.raises(OperationalError):
        ours.heartbeat()
    ours.heartbeat()
    ours.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS)
    assert theirs.orders.mark_abandoned(LONG_AGO) == 0


def test_an_outcome_that_comes_after_the_order_was_given_up_blocks_its_key_again(store):
    registration = add_registration(store)
    row = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS).row
    assert store.orders.mark_abandoned(now()) == 1
    [(_, seen)] = store.orders.unknown()
    assert store.orders.reconcile(seen, not_placed(seen))
    assert store.orders.finish(row, {"status": "filled", "answer_status": 200, "answer": "{}"})
    again = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS)
    assert (again.is_new, again.row["status"], again.row["answer"]) == (False, "filled", "{}")


def test_an_outcome_that_comes_after_the_order_ran_anew_is_not_taken_for_that_ones(store):
    registration = add_registration(store)
    first = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS).row
    sql(store.where, "UPDATE orders SET status = 'rejected', released = true")
    second = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS)
    assert second.is_new
    assert store.orders.finish(first, {"status": "filled"}) is False
    assert store.orders.by_key(registration, "k1")["status"] == "running"
    assert store.orders.finish(second.row, {"status": "filled"}) is True


def test_a_refusal_that_comes_late_releases_no_key_whose_order_was_found_to_be_executed(store):
    """A second delivery was refused, and its server stood still before it said so: others asked meanwhile."""
    registration = add_registration(store)
    row = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS).row
    assert store.orders.mark_abandoned(now()) == 1
    [(_, seen)] = store.orders.unknown()
    assert store.orders.reconcile(seen, {"status": "filled"})
    assert store.orders.finish(row, {"status": "rejected", "released": True}) is False
    again = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS)
    assert (again.is_new, again.row["status"]) == (False, "filled")


def test_an_order_that_is_begun_anew_has_no_reason_of_its_refusal(store):
    registration = add_registration(store)
    row = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS).row
    assert store.orders.finish(row, {"status": "rejected", "released": True, "reason": "invalid nonce"})
    again = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS)
    assert (again.is_new, again.row["reason"]) == (True, None)


def test_what_was_found_out_meanwhile_is_not_made_unknown_again(store):
    registration = add_registration(store)
    row = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS).row
    sql(store.where, "UPDATE orders SET status = 'filled'")
    assert store.orders.finish(row, {"status": "unknown"}) is True
    assert store.orders.by_key(registration, "k1")["status"] == "filled"


def test_an_order_that_became_final_meanwhile_is_not_made_open_again(store):
    """Two readers ask the exchange; the one that was answered first writes last."""
    registration = add_registration(store)
    row = store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS).row
    assert store.orders.finish(row, {"status": "open", "filled": "0"})
    seen = store.orders.by_key(registration, "k1")
    final = store.orders.refresh(seen, {"status": "filled", "filled": "1"})
    late = store.orders.refresh(seen, {"status": "open", "filled": "0.5"})
    assert late == final == store.orders.by_key(registration, "k1")
