"""When an exchange is asked about what is unknown: what a nonce proves, and about which requests."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from bitmm.xwrap.exchanges.backpack import Backpack
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.server.db.attempts import Attempt
from bitmm.xwrap.server.question_times import TimesOfRows

BEGUN, BEFORE, AFTER = (f"2026-11-27T10:00:0{second}.000000Z" for second in (1, 0, 2))


ATTEMPT = Attempt(1, BEGUN, None, registration=1, updated=BEGUN, server=2, in_place=False)


def times_of(*attempts, exchange=Kraken, is_own=True):
    """What is known of attempts of which one is unknown after the other."""
    found, told = [], []
    unknown = SimpleNamespace(names=lambda: {exchange.id: str(found)}, at=lambda _exchange: found)
    journal = SimpleNamespace(name="orders", is_own=lambda _row: is_own, attempts=unknown)
    store = SimpleNamespace(orders=journal, server_id=1, is_shared=not is_own)
    rows = TimesOfRows(store, grace=20.0, call_seconds=15.0, retry=1.0)
    for one in attempts:
        found[:] = [one]
        told += rows.of(journal, exchange.id, exchange).values()
    return told


def times(key_since, **changed):
    """What is known of an attempt before and after its key, or something else of it, has changed."""
    return times_of(ATTEMPT, ATTEMPT._replace(key_since=key_since, **changed))


def left_unknown(seconds_ago):
    """An attempt that another server left unknown, whose request has arrived long ago."""
    left = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return ATTEMPT._replace(updated=f"{left:%Y-%m-%dT%H:%M:%S.%fZ}", server=None)


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


@pytest.mark.parametrize("exchange", [Kraken, Backpack])
@pytest.mark.parametrize(("seconds_ago", "earliest", "latest"), [(0, 4.5, 10), (3, 1.5, 7), (10, 0, 0), (-3600, 5, 10)])
def test_another_server_asks_first_for_so_long_after_it_left_a_row_unknown(exchange, seconds_ago, earliest, latest):
    """Not after this server saw the row: one that is killed every few seconds would never ask."""
    [found] = times_of(left_unknown(seconds_ago), exchange=exchange, is_own=False)
    assert earliest <= found.ask_at - found.seen_at <= latest


def test_the_server_that_left_a_row_unknown_asks_at_once():
    [found] = times_of(left_unknown(0), exchange=Backpack)
    assert found.ask_at <= time.monotonic()
