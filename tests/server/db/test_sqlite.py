"""A SQLite file: who waits, and what is on the disk."""

from __future__ import annotations

import sqlite3
import stat
import threading
import time
from contextlib import closing, suppress

import pytest
from sqlalchemy import Integer, column, text

from bitmm.xwrap.server.db.errors import StoreError
from bitmm.xwrap.server.db.sqlite import _switch_to_wal
from tests.support.databases import CLIENT_IDS, ORDER, add_registration
from tests.support.threads import until


def test_a_file_that_cannot_be_written_is_said_to_be_so_at_once(tmp_path, monkeypatch):
    """Only one that another program holds is waited for."""
    where = tmp_path / "xwrap.sqlite3"
    sqlite3.connect(where).close()
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it is waited for"))
    with closing(sqlite3.connect(f"file:{where}?mode=ro", uri=True)) as connection:
        connection.execute("SELECT 1")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            _switch_to_wal(connection.cursor())


def test_commits_are_on_the_disk_and_readers_do_not_wait(sqlite):
    with sqlite._database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_the_file_is_for_its_owner_alone(sqlite):
    assert stat.S_IMODE(sqlite.where.stat().st_mode) == 0o600


def test_a_write_waits_for_another_program_that_holds_the_data_base(sqlite):
    with closing(sqlite3.connect(sqlite.where, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        release.start()
        assert sqlite.accounts.add("ann", "x") == 1
        release.join()


def write_at_once(sqlite, write, count):
    """Call `write` with each number below `count` in a thread; all but the first wait together, and then go on."""
    database = sqlite._database
    threads = [threading.Thread(target=write, args=(number,)) for number in range(count)]
    with closing(sqlite3.connect(sqlite.where, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        threads[0].start()
        until(lambda: database._write_lock.locked() and not database._pending)
        for thread in threads[1:]:
            thread.start()
        until(lambda: len(database._pending) == count - 1)
        other.execute("COMMIT")
    for thread in threads:
        thread.join()


def test_writes_that_wait_together_are_kept_each_for_itself(sqlite):
    """They are committed together, and one that fails takes none of the others with it."""
    results = {}

    def add(number):
        try:
            results[number] = sqlite.accounts.add("ann" if number < 2 else f"bot-{number}", "x")
        except ValueError as error:
            results[number] = str(error)

    write_at_once(sqlite, add, 8)
    assert results.pop(1) == "there is an account 'ann' already"
    assert sorted(results.values()) == [row["id"] for row in sqlite.accounts.all()]
    assert len(results) == 7


@pytest.mark.parametrize("look", ["_before_write", "_after_commit"])
def test_no_write_is_lost_silently_when_the_file_cannot_be_looked_at_once(sqlite, monkeypatch, look):
    """Each of those that wait together is committed, or its caller gets the error."""
    database, failed = sqlite._database, []
    original, errors = getattr(database, look), iter([PermissionError("no look")])

    def fail_once(*arguments):
        for error in errors:
            raise error
        return original(*arguments)

    def add(number):
        try:
            sqlite.accounts.add(f"bot-{number}", "x")
        except PermissionError:
            failed.append(f"bot-{number}")

    monkeypatch.setattr(database, look, fail_once)
    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    with database._write_lock:
        for thread in threads:
            thread.start()
        until(lambda: len(database._pending) == 4)
    for thread in threads:
        thread.join()
    added = {row["name"] for row in sqlite.accounts.all()}
    assert added | set(failed) == {f"bot-{number}" for number in range(4)}


def test_a_write_that_is_interrupted_ends_its_own_thread_alone(sqlite):
    """Of writes that wait together; what is no Exception is raised where it belongs, and nowhere else."""
    database, raised = sqlite._database, {}

    def interrupt(_runner):
        raise KeyboardInterrupt

    def add(number):
        try:
            if number == 1:
                database.write(interrupt)
            sqlite.accounts.add(f"bot-{number}", "x")
        except BaseException as error:
            raised[number] = type(error)

    write_at_once(sqlite, add, 4)
    assert raised == {1: KeyboardInterrupt}
    assert sorted(row["name"] for row in sqlite.accounts.all()) == ["bot-0", "bot-2", "bot-3"]


def test_what_is_written_after_the_data_base_was_closed_is_kept(sqlite):
    """A call that its server left behind when it stopped may still come to its end."""
    sqlite.accounts.add("ann", "x")
    sqlite.close()
    sqlite.accounts.add("bob", "x")
    assert [row["name"] for row in sqlite.accounts.all()] == ["ann", "bob"]


def test_every_commit_is_brought_to_the_disk(sqlite):
    asked = text("SELECT synchronous FROM pragma_synchronous").columns(column("synchronous", Integer))
    assert sqlite._database.write(lambda runner: runner.value(asked)) == 2, "FULL"


def test_nothing_of_a_write_stays_that_sqlite_undid_by_itself_before_its_end(sqlite):
    """After a full disk it ends the transaction: each statement that follows would be committed alone."""
    registration = add_registration(sqlite)
    database = sqlite._database

    def work(runner):
        sqlite.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS)
        runner._connection.dbapi_connection.rollback()
        with suppress(StoreError):
            sqlite.counters.last_nonce("queue")
        sqlite.accounts.add("bob", "x")

    with pytest.raises(StoreError, match="SQLite undid what this call wrote"):
        database.write(work)
    assert sqlite.orders.by_key(registration, "k1") is None
    assert sqlite.accounts.add("bob", "x"), "the next write is as any"
