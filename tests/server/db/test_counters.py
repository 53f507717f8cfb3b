"""Nonces and counters in the data base."""

from __future__ import annotations

import pytest

from bitmm.xwrap.server.db.store import Store
from tests.support.databases import end_sessions, new_database


def test_one_process_at_a_time_has_a_lane_to_itself(postgres):
    url = new_database(postgres)
    ours, theirs = Store(url), Store(url)
    with ours.counters.lock("a", 2.0):
        with pytest.raises(TimeoutError), theirs.counters.lock("a", 2.0):
            raise AssertionError("two at once")
        with theirs.counters.lock("b", 2.0):
            pass
    with theirs.counters.lock("a", 2.0):
        pass
    ours.close()
    theirs.close()


def test_a_lane_is_free_when_its_process_has_lost_its_connection(postgres):
    url = new_database(postgres)
    ours, theirs = Store(url), Store(url)
    with ours.counters.lock("a", 2.0):
        end_sessions(postgres, url)
        with theirs.counters.lock("a", 2.0):
            pass
    with ours.counters.lock("a", 2.0):
        pass
    ours.close()
    theirs.close()
