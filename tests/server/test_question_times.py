"""When an exchange is asked about what is unknown: what a nonce proves, and about which requests."""

from __future__ import annotations

from types import SimpleNamespace

from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.server.db.attempts import Attempt
from bitmm.xwrap.server.question_times import TimesOfRows

BEGUN, BEFORE, AFTER = (f"2026-11-27T10:00:0{second}.000000Z" for second in (1, 0, 2))


def times(key_since, **changed):
    """What is known of an attempt before and after its key, or something else of it, has changed."""
    found = []
    attempts = SimpleNamespace(names=lambda: {"kraken": str(found)}, at=lambda _exchange: found)
    journal = SimpleNamespace(name="orders", is_own=lambda _row: True, attempts=attempts)
    store = SimpleNamespace(orders=journal, server_id=1, is_shared=False)
    rows = TimesOfRows(store, grace=20.0, call_seconds=15.0, retry=1.0)
    told = []
    attempt = Attempt(1, BEGUN, None, registration=1, updated=BEGUN, server=2, in_place=False)
    for one in (attempt, attempt._replace(key_since=key_since, **changed)):
        found[:] = [one]
        told += rows.of(journal, "kraken", Kraken).values()
    return told


def test_a_nonce_proves_something_about_requests_of_its_own_key_only():
    known, found = times(BEFORE)
    assert known.by_nonce
    assert found.by_nonce
    known, found = times(AFTER)
    assert known.by_nonce
    assert not found.by_nonce
    assert found.listed_by > found.arrived_by, "what the key before had confirmed is not kept either"


def test_what_is_known_of_a_row_stays_as_long_as_its_key():
    known, found = times(None)
    assert found is known


def test_the_time_of_a_question_stays_when_the_call_ends_whose_outcome_is_unknown():
    known, found = times(None, server=None, updated=AFTER)
    assert found is known
