"""What may be missing in the journals, and for how long it is looked up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bitmm.xwrap.server.db import history
from bitmm.xwrap.server.db.store import Store
from tests.support.databases import sql
from tests.support.threads import in_threads

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def test_the_journals_of_a_new_data_base_are_complete(store):
    assert store.history_gap() is None
    assert store.history.row() is None
    assert store.history.create() == store.history.create()
    assert store.history_gap() is None


def test_what_may_be_missing_is_what_was_placed_since_a_minute_before_the_last_known_time(store, where):
    assert store.history.report_gap(NOON, "restored").since == NOON - timedelta(seconds=60)
    other = Store(where)
    assert other.history_gap() == store.history_gap() == NOON - timedelta(seconds=60)
    other.close()


def test_of_two_gaps_the_earlier_time_and_both_reasons_are_kept(store):
    store.history.report_gap(NOON, "restored")
    store.history.report_gap(NOON + timedelta(hours=1), "the log is missing")
    store.history.report_gap(NOON + timedelta(hours=2), "restored")
    assert store.history.gap()[:2] == (NOON - timedelta(seconds=60), "restored; the log is missing")
    store.history.report_gap(NOON - timedelta(hours=1), "restored")
    assert store.history_gap() == NOON - timedelta(seconds=60 + 3600)


def test_a_gap_that_was_accepted_is_over_at_once(store):
    assert store.history.accept() is None
    store.history.report_gap(NOON, "restored")
    assert store.history.accept().reason == "restored"
    assert store.history_gap() is None
    assert store.history.accept() is None


def test_another_process_hears_of_a_gap_within_a_second(store, where, monkeypatch):
    clock = 100.0
    monkeypatch.setattr(history.time, "monotonic", lambda: clock)
    other = Store(where)
    assert other.history_gap() is None
    store.history.report_gap(NOON, "restored")
    clock += 1.0
    assert other.history_gap() is not None
    store.history.accept()
    clock += 1.0
    assert other.history_gap() is None
    other.close()


@pytest.mark.parametrize(("days", "is_over"), [(29, False), (31, True)])
def test_a_gap_lasts_for_thirty_days(store, where, days, is_over):
    store.history.report_gap(NOON, "restored")
    noticed = (datetime.now(UTC) - timedelta(days=days)).isoformat().replace("+00:00", "Z")
    sql(where, "UPDATE history SET noticed = :noticed", noticed=noticed)
    other = Store(where)
    assert (other.history_gap() is None) is is_over
    other.close()


def test_many_processes_that_notice_gaps_at_once_lose_none(where, store):
    stores = [Store(where) for _ in range(4)]
    in_threads(4, lambda n: stores[n].history.report_gap(NOON + timedelta(hours=n), f"reason {n}"))
    gap = stores[0].history.gap()
    assert gap.since == NOON - timedelta(seconds=60)
    assert set(gap.reason.split("; ")) == {f"reason {n}" for n in range(4)}
    for one in stores:
        one.close()
