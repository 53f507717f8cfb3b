"""A data base that lacks what was committed is noticed when the next server starts; a crash alone is no loss."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest
from sqlalchemy import make_url

from bitmm.xwrap.server.db.errors import StoreError
from bitmm.xwrap.server.db.sqlite_file import find_damage
from bitmm.xwrap.server.db.store import Store
from tests.support.databases import CLIENT_IDS, ORDER, add_registration, end_sessions, new_database, sql

REJECTED = {"status": "rejected", "released": True, "updated": "2026"}
#: A page of the log with its head (SQLite documentation, "The Write-Ahead Log").
FRAME = 4096 + 24


def ignore(_line):
    pass


class Life:
    """One life of a server on a folder: its data base and its state file."""

    def __init__(self, folder, where=None):
        self.folder = folder
        self.file = folder / "xwrap.sqlite3"
        self.state = folder / "xwrap.state"
        self.store = Store(where or self.file)
        self.store.check()
        self.store.prepare()
        self.store.open_history(self.state, ignore)

    def place(self, *keys):
        registration = 1 if self.store.accounts.all() else add_registration(self.store)
        return [self.store.orders.begin(registration, key, "f", ORDER, CLIENT_IDS).row for key in keys]

    def crash(self, folder):
        """What a server that is killed now leaves behind, in another folder."""
        folder.mkdir(mode=0o700)
        for file in self.folder.iterdir():
            shutil.copy(file, folder)
        return folder


@pytest.fixture
def life(tmp_path):
    folder = tmp_path / "one"
    folder.mkdir(mode=0o700)
    life = Life(folder)
    yield life
    life.store.close()


def gap_after(folder):
    """What the next server on this folder says is missing, and the one after it."""
    after = Life(folder)
    gap = after.store.history.gap()
    after.store.close()
    again = Life(folder)
    assert again.store.history.gap() == gap, "it is said once, and kept"
    again.store.history.accept()
    again.store.close()
    third = Life(folder)
    assert third.store.history.gap() is None, "and not said again after it was accepted"
    third.store.close()
    return gap


def test_neither_a_stop_nor_a_crash_is_a_loss(life, tmp_path):
    life.place("k1", "k2")
    crashed = life.crash(tmp_path / "crashed")
    life.store.close()
    assert gap_after(life.folder) is None
    assert gap_after(crashed) is None


def test_a_crash_without_any_order_is_no_loss(life, tmp_path):
    assert gap_after(life.crash(tmp_path / "crashed")) is None


def older_copy(folder, backup):
    for file in folder.glob("xwrap.sqlite3*"):
        file.unlink()
    shutil.copy(backup, folder / "xwrap.sqlite3")


def older_copy_under_the_newer_log(folder, backup):
    shutil.copy(backup, folder / "xwrap.sqlite3")


def no_log(folder, _backup):
    (folder / "xwrap.sqlite3-wal").unlink()


def damaged_log(folder, _backup):
    """Its last three frames; SQLite takes them for a commit that was never finished."""
    log = folder / "xwrap.sqlite3-wal"
    content = bytearray(log.read_bytes())
    content[-3 * FRAME + 100] ^= 0xFF
    log.write_bytes(content)


def cut_log(folder, _backup):
    log = folder / "xwrap.sqlite3-wal"
    log.write_bytes(log.read_bytes()[:-1])


def no_file(folder, _backup):
    for file in folder.glob("xwrap.sqlite3*"):
        file.unlink()


def empty_file(folder, _backup):
    (folder / "xwrap.sqlite3").write_bytes(b"")


def no_state_file(folder, _backup):
    (folder / "xwrap.state").unlink()


def damaged_state_file(folder, _backup):
    (folder / "xwrap.state").write_bytes(b"{")


@pytest.mark.parametrize(
    "loss",
    [older_copy, no_log, damaged_log, cut_log, no_file, empty_file, no_state_file, damaged_state_file],
    ids=lambda loss: loss.__name__,
)
def test_a_loss_is_noticed_at_the_next_start(life, tmp_path, loss):
    before = datetime.now(UTC)
    life.place("k1")
    backup = life.crash(tmp_path / "backup") / "xwrap.sqlite3"
    Life(backup.parent).store.close()  # brings the log into the file
    life.place("k2", "k3")
    folder = life.crash(tmp_path / "after")
    loss(folder, backup)
    gap = gap_after(folder)
    assert before - timedelta(seconds=70) < gap.since <= datetime.now(UTC) - timedelta(seconds=60)


def test_the_loss_of_one_order_that_was_begun_anew_is_noticed(life, tmp_path):
    """Its row is there, and does not say that it was sent once more."""
    [row] = life.place("k1")
    life.store.orders.finish(row, REJECTED)
    before = life.crash(tmp_path / "before")
    life.place("k1")
    shutil.copy(life.state, before)
    assert "row 1 of the orders" in gap_after(before).reason


def test_a_crash_before_an_order_that_was_begun_anew_is_named_is_no_loss(life, tmp_path):
    [row] = life.place("k1")
    life.store.orders.finish(row, REJECTED)
    named = life.crash(tmp_path / "named")
    life.place("k1")
    crashed = life.crash(tmp_path / "crashed")
    shutil.copy(named / "xwrap.state", crashed)
    assert gap_after(crashed) is None


def test_an_order_that_its_exchange_had_already_is_not_missing_though_its_time_is_the_exchanges(life, tmp_path):
    [row] = life.place("k1")
    life.store.orders.finish(row, {"status": "filled", "created": "2026-01-01T00:00:00.000000Z", "updated": "2026"})
    assert find_damage(life.file, life.store._database.state_file.intents()) is None
    assert gap_after(life.crash(tmp_path / "crashed")) is None


def test_the_loss_of_an_order_that_was_begun_anew_is_noticed_in_a_copy_of_when_it_was_unknown(life, tmp_path):
    [row] = life.place("k1")
    before = life.crash(tmp_path / "before")
    life.store.orders.finish(row, REJECTED)
    life.place("k1")
    shutil.copy(life.state, before)
    assert "row 1 of the orders" in gap_after(before).reason


def test_an_order_whose_row_has_become_that_of_another_one_is_missing(life, tmp_path):
    """Another server may have placed orders in a restored data base before this one starts."""
    life.place("k1")
    before = life.crash(tmp_path / "before")
    life.place("k2")
    other = Life(before)
    other.place("another")
    other.store.close()
    shutil.copy(life.state, before)
    assert "row 2 of the orders" in gap_after(before).reason


def test_the_loss_of_all_that_was_written_since_the_last_of_many_orders_is_noticed(life, tmp_path):
    life.place(*(f"k{number}" for number in range(100)))
    before = life.crash(tmp_path / "before")
    life.place("one more")
    shutil.copy(life.state, before)
    assert "row 101 of the orders" in gap_after(before).reason


def test_the_same_older_copy_is_noticed_a_second_time(life, tmp_path):
    """What the first start noticed stood in the data base that the copy replaced once more."""
    life.place("k1")
    backup = life.crash(tmp_path / "backup") / "xwrap.sqlite3"
    Life(backup.parent).store.close()  # brings the log into the file
    life.place("k2")
    folder = life.crash(tmp_path / "after")
    older_copy(folder, backup)
    first = Life(folder)
    first.store.heartbeat()
    gap = first.store.history.gap()
    first.store.close()
    older_copy(folder, backup)
    assert gap_after(folder).since <= gap.since


def test_an_older_copy_under_the_log_of_a_newer_one_is_refused_as_damaged(life, tmp_path):
    """SQLite would take pages of both for one data base."""
    life.place("k1")
    life.store.close()
    backup = life.crash(tmp_path / "backup") / "xwrap.sqlite3"
    middle = Life(life.folder)
    middle.place(*(f"m{number}" for number in range(300)))
    middle.store.close()
    newer = Life(life.folder)
    newer.place("k2")
    folder = newer.crash(tmp_path / "after")
    newer.store.close()
    older_copy_under_the_newer_log(folder, backup)
    with pytest.raises(StoreError, match=r"is damaged .*; restore it from your backup: xwrap restore FILE"):
        Life(folder)


def test_the_data_base_of_another_installation_is_noticed(life, tmp_path):
    life.place("k1")
    life.store.close()
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    Life(other).store.close()
    shutil.copy(other / "xwrap.sqlite3", life.folder)
    assert "another installation" in gap_after(life.folder).reason


def test_a_data_base_of_before_the_state_file_begins_a_history_without_a_gap(tmp_path):
    store = Store(tmp_path / "xwrap.sqlite3")
    store.prepare()
    registration = add_registration(store)
    store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS)
    store.close()
    assert gap_after(tmp_path) is None


def test_an_older_copy_of_before_the_state_file_is_noticed(life, tmp_path):
    life.place("k1")
    folder = life.crash(tmp_path / "after")
    sql(folder / "xwrap.sqlite3", "DELETE FROM history")
    assert "older" in gap_after(folder).reason


def test_a_damaged_file_is_refused(life):
    life.place(*(f"k{number}" for number in range(100)))
    life.store.close()
    content = bytearray(life.file.read_bytes())
    content[8 * 4096 : 9 * 4096] = bytes(4096)
    life.file.write_bytes(content)
    with pytest.raises(StoreError, match=r"is damaged .*; restore it from your backup: xwrap restore FILE"):
        Life(life.folder)


def test_the_check_of_a_crashed_data_base_leaves_its_log_as_it_was(life, tmp_path):
    life.place("k1")
    folder = life.crash(tmp_path / "crashed")
    log = (folder / "xwrap.sqlite3-wal").read_bytes()
    Store(folder / "xwrap.sqlite3").check()
    assert (folder / "xwrap.sqlite3-wal").read_bytes() == log


def test_on_postgresql_a_restored_data_base_is_noticed_while_the_server_runs_and_when_it_starts(postgres, tmp_path):
    where = new_database(postgres)
    life = Life(tmp_path, where)
    life.place("k1")
    end_sessions(postgres, where)
    older = new_database(postgres, where)
    life.place("k2")
    life.store.close()
    after = Life(tmp_path, older)
    assert "row 2 of the orders" in after.store.history.gap().reason
    after.store.history.accept()
    after.place("k3")
    sql(older, "DELETE FROM orders WHERE key = 'k3'")
    after.store.heartbeat(at_most_every=0)
    assert "begun" in after.store.history.gap().reason
    after.store.close()


def take_its_place(postgres, where, older):
    """Another data base answers at `where` from now on, like a replica that takes over and lacks the last commits."""
    names = [make_url(url).database for url in (where, older)]
    for url in (where, older):
        end_sessions(postgres, url)
    sql(postgres, f"ALTER DATABASE {names[0]} RENAME TO {names[0]}_gone")
    sql(postgres, f"ALTER DATABASE {names[1]} RENAME TO {names[0]}")


def copy_of(postgres, where):
    end_sessions(postgres, where)
    return new_database(postgres, where)


def reason_in(where):
    [(reason,)] = sql(where, "SELECT reason FROM history")
    return reason


def test_on_postgresql_a_loss_is_noticed_before_a_new_connection_is_used(postgres, tmp_path):
    where = new_database(postgres)
    life = Life(tmp_path, where)
    life.place("k1")
    older = copy_of(postgres, where)
    life.place("k2")
    take_its_place(postgres, where, older)
    life.store.accounts.all()
    assert "row 2 of the orders" in reason_in(where)
    noticed = life.store.history.gap().noticed
    end_sessions(postgres, where)
    life.store.accounts.all()
    assert life.store.history.gap().noticed == noticed, "it is said once"
    life.store.close()


def test_on_postgresql_the_loss_of_another_server_of_the_same_folder_is_noticed(postgres, tmp_path):
    where = new_database(postgres)
    one, two = Life(tmp_path, where), Life(tmp_path, where)
    one.place("k1")
    older = copy_of(postgres, where)
    two.place("k2")
    take_its_place(postgres, where, older)
    assert one.store.history.gap() is not None
    assert "row 2 of the orders" in reason_in(where)
    two.store.heartbeat(at_most_every=0)
    one.store.history.accept()
    end_sessions(postgres, where)
    assert one.store.history.gap() is None, "it is not said again after it was accepted"
    one.store.close()
    two.store.close()


def test_on_postgresql_the_orders_of_another_installation_that_shares_the_folder_are_not_missing(postgres, tmp_path):
    ours = new_database(postgres)
    one, other = Life(tmp_path, ours), Life(tmp_path, new_database(postgres))
    other.place("k1", "k2")
    end_sessions(postgres, ours)
    assert one.store.history.gap() is None
    one.store.close()
    other.store.close()


def test_on_postgresql_a_connection_whose_commits_could_not_be_checked_is_not_used(postgres, tmp_path, monkeypatch):
    where = new_database(postgres)
    life = Life(tmp_path, where)
    life.place("k1")
    end_sessions(postgres, where)
    with monkeypatch.context() as patched:
        patched.setattr(life.store.history, "missing", Mock(side_effect=StoreError("it cannot be read")))
        for _ in range(2):
            with pytest.raises(StoreError):
                life.store.accounts.all()
    assert len(life.store.accounts.all()) == 1
    life.store.close()


def test_on_postgresql_servers_that_share_a_folder_look_at_the_state_files_of_all(postgres, tmp_path):
    where = new_database(postgres)
    one, two = Life(tmp_path, where), Life(tmp_path, where)
    one.place("k1")
    two.place("k2")
    one.store.close()
    two.store.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["xwrap.2.state", "xwrap.state"]
    sql(where, "DELETE FROM orders WHERE key = 'k2'")
    after = Life(tmp_path, where)
    assert "row 2 of the orders" in after.store.history.gap().reason
    after.store.history.accept()
    after.store.close()
    again = Life(tmp_path, where)
    assert again.store.history.gap() is None
    again.store.close()
