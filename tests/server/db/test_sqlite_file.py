"""A data base file that is removed, replaced or overwritten while a server uses it: no intent is taken any more."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest

from bitmm.xwrap.server.db.errors import StoreError
from bitmm.xwrap.server.db.store import Store
from tests.support.databases import CLIENT_IDS, ORDER, add_registration


class Served:
    def __init__(self, folder):
        self.lines = []
        self.file = folder / "xwrap.sqlite3"
        self.copy = folder / "copy"
        self.store = Store(self.file)
        self.store.prepare()
        self.registration = add_registration(self.store)
        self.store.open_history(folder / "xwrap.state", self.lines.append)
        self.place("k0")
        self.backup()
        self.place(*(f"k{number}" for number in range(1, 10)))

    def place(self, *keys):
        for key in keys:
            self.store.orders.begin(self.registration, key, "f", ORDER, CLIENT_IDS)

    def backup(self):
        with closing(sqlite3.connect(self.file)) as source, closing(sqlite3.connect(self.copy)) as target:
            source.backup(target)

    def checkpoint(self):
        """What another program does that uses the file."""
        with closing(sqlite3.connect(self.file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.fixture
def served(tmp_path):
    served = Served(tmp_path)
    yield served
    served.store.close()


def removed(served):
    served.file.unlink()


def renamed(served):
    served.file.rename(served.copy)


def replaced(served):
    served.copy.replace(served.file)


def log_removed(served):
    served.file.with_name("xwrap.sqlite3-wal").unlink()


def overwritten(served):
    served.checkpoint()
    shutil.copyfile(served.copy, served.file)


ACCIDENTS = [removed, renamed, replaced, log_removed, overwritten]


@pytest.mark.parametrize("accident", ACCIDENTS, ids=lambda accident: accident.__name__)
def test_no_intent_is_taken_and_the_server_is_stopped(served, accident):
    accident(served)
    words = r"xwrap\.sqlite3.* was \w+ while in use.*; put the right one in its place"
    for key in ("another", "one more"):
        with pytest.raises(StoreError, match=words):
            served.place(key)
    assert len(served.lines) == 1


@pytest.mark.parametrize("accident", ACCIDENTS, ids=lambda accident: accident.__name__)
def test_a_heartbeat_notices_it_without_any_order(served, accident):
    accident(served)
    with pytest.raises(StoreError, match="while in use"):
        served.store.heartbeat()
    assert len(served.lines) == 1


def test_what_is_not_in_the_file_that_took_its_place_is_not_reported_as_never_executed(served):
    """A new connection would read that file."""
    replaced(served)
    served.store._database._readers.clear()
    with pytest.raises(StoreError, match="was replaced"):
        served.store.orders.by_key(served.registration, "k9")


def test_the_outcome_of_what_was_sent_before_is_still_kept(served):
    row = served.store.orders.by_key(served.registration, "k9")
    renamed(served)
    with pytest.raises(StoreError):
        served.place("another")
    assert served.store.orders.finish(row, {"status": "filled", "updated": "2026"})


def test_another_program_may_use_the_file(served):
    served.checkpoint()
    served.place("another")
    with closing(sqlite3.connect(served.file)) as connection:
        connection.execute("UPDATE accounts SET name = 'bob'")
        connection.commit()
    served.checkpoint()
    served.store.heartbeat()
    served.place("one more")
    assert served.lines == []


def test_what_a_server_writes_by_itself_is_not_taken_for_another_programs(served, monkeypatch):
    """Also when the log is brought into the file, which is after a thousand pages."""
    monkeypatch.setattr("bitmm.xwrap.server.db.sqlite.find_damage", lambda *_: pytest.fail("it is checked again"))
    before = served.file.stat().st_mtime_ns
    for number in range(100, 500):
        served.place(f"k{number}")
    served.store.heartbeat()
    assert served.file.stat().st_mtime_ns > before, "it was brought into the file"
