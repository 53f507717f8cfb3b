"""Nonces and counters in the data base."""

from __future__ import annotations

import pytest

from bitmm.xwrap.server.db.store import Store
from tests.support.databases import end_sessions, new_database


def test_one_process_at_a_time_has_a_lane_to_itself(postgres):
    url = new_database(postgres)
    ours, theirs = Store(url), Store(url)
    with ours.lanes.alone("a"):
        with pytest.raises(TimeoutError), theirs.lanes.alone("a"):
            raise AssertionError("two at once")
        with theirs.lanes.alone("b"):
            pass
    with theirs.lanes.alone("a"):
        pass
    ours.close()
    theirs.close()


def test_a_lane_is_free_when_its_process_has_lost_its_connection(postgres):
    url = new_database(postgres)
    ours, theirs = Store(url), Store(url)
    with ours.lanes.alone("a"):
        end_sessions(postgres, url)
        with theirs.lanes.alone("a"):
            pass
    with ours.lanes.alone("a"):
        pass
    ours.close()
    theirs.close()
