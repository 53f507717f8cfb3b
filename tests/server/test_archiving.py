"""Orders are moved to archives: each is on the disk before it leaves the data base, and none is lost by a crash."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from bitmm.xwrap.server import archive_files, archiving
from bitmm.xwrap.server.archive_files import ArchiveFile, check_file, manifests, read_rows
from bitmm.xwrap.server.archiving import archive_orders
from bitmm.xwrap.server.db import sqlite
from bitmm.xwrap.server.db.archive import ArchiveStore
from bitmm.xwrap.server.db.errors import StoreError
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.db.sqlite_file import waiting_pages
from bitmm.xwrap.server.db.state_file import KEPT_INTENTS
from bitmm.xwrap.server.db.store import Store
from tests.support.databases import CLIENT_IDS, ORDER, add_registration, sql

DAY = 86_400
OLD = 12


class Killed(BaseException):
    """Stands for a kill: nothing that would be done after it is done."""


@pytest.fixture
def store(tmp_path, database):
    """A data base with orders that ended 400 days ago, and newer ones."""
    folder = tmp_path / "data"
    folder.mkdir()
    store = Store(database(folder, tables=True))
    add_registration(store)
    for number in range(OLD + KEPT_INTENTS):
        row = store.orders.begin(1, f"key {number}", "f", ORDER, CLIENT_IDS).row
        store.orders.finish(row, {"status": "filled", "filled": "0.10000000000000000001"})
    sql(store.where, "UPDATE orders SET created = :t, updated = :t WHERE id <= :id", id=OLD, t=now(400 * DAY))
    yield store
    store.close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "archive"


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    for name in ("_FIRST", "_LEAST", "_MOST"):
        monkeypatch.setattr(archiving, name, 4)
    monkeypatch.setattr(archiving, "_REST", 0.0)


def ids(store):
    return [id for (id,) in sql(store.where, "SELECT id FROM orders ORDER BY id")]


def lines(folder):
    """Every line of the complete files of a folder, also what stands there twice."""
    return [json.loads(line) for path in folder.glob("*.gz") for line in gzip.open(path, "rt", encoding="utf-8")]


def test_an_archive_has_every_column_as_text_whose_it_is_and_a_manifest(store, folder):
    before = {row["id"]: row for row in store.orders.rows(1, ("filled",), 100, None)}
    done = archive_orders(store, folder, 365)
    assert (done.rows, len(done.files), done.elsewhere) == (OLD, 1, [])
    found = lines(folder)
    assert sorted(int(row["id"]) for row in found) == list(range(1, OLD + 1))
    for row in found:
        whose = {name: row.pop(name) for name in ("account", "exchange", "registration")}
        assert whose == {"account": "ann", "exchange": "paper", "registration": ""}
        kept = before[int(row["id"])]
        assert row == {
            name: None
            if value is None
            else {False: "false", True: "true"}.get(value, str(value))
            if isinstance(value, bool)
            else str(value)
            for name, value in kept.items()
        }
    [manifest] = manifests(folder)
    assert (manifest["rows"], manifest["first_id"], manifest["last_id"]) == (OLD, 1, OLD)
    assert manifest["sha256"] == hashlib.sha256((folder / done.files[0]).read_bytes()).hexdigest()
    assert check_file(folder, manifest) is None
    assert ids(store) == list(range(OLD + 1, OLD + KEPT_INTENTS + 1))


def test_nothing_old_makes_no_file(store, folder):
    archive_orders(store, folder, 365)
    before = sorted(folder.iterdir())
    assert archive_orders(store, folder, 365).rows == 0
    assert sorted(folder.iterdir()) == before
    assert sql(store.where, "SELECT count(*) FROM archives WHERE finished IS NOT NULL") == [(1,)]


#: Where the command is killed: what is called there, and after how many calls of it that succeed.
STEPS = {
    "before a batch is written": (ArchiveFile, "append", 1, False),
    "after a batch is on the disk": (ArchiveFile, "append", 1, True),
    "before the rows leave": (ArchiveStore, "remove", 1, False),
    "after the rows have left": (ArchiveStore, "remove", 1, True),
    "after the first rows have left": (ArchiveStore, "remove", 0, True),
    "before the file is finished": (ArchiveFile, "finish", 0, False),
    "before it has its name": (os, "rename", 0, False),
    "after it has its name": (ArchiveFile, "finish", 0, True),
    "before the archive is begun": (ArchiveStore, "begin", 0, False),
    "after the archive is begun": (ArchiveStore, "begin", 0, True),
    "after all": (ArchiveStore, "finish", 0, True),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_command_that_is_killed_loses_no_order_and_the_next_one_doubles_none(store, folder, monkeypatch, step):
    owner, name, passed, is_after = STEPS[step]
    if owner is os:
        owner, name = type(folder), "rename"
    call, calls = getattr(owner, name), []

    def kill(*args):
        calls.append(args)
        if len(calls) <= passed:
            return call(*args)
        if is_after:
            call(*args)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, kill)
        with pytest.raises(Killed):
            archive_orders(store, folder, 365)
    in_files = {int(row["id"]) for row in read_rows(folder)}
    assert in_files | set(ids(store)) == set(range(1, OLD + KEPT_INTENTS + 1))
    assert archive_orders(store, folder, 365).elsewhere == []
    assert sorted(int(row["id"]) for row in lines(folder)) == list(range(1, OLD + 1))
    assert ids(store) == list(range(OLD + 1, OLD + KEPT_INTENTS + 1))
    assert sql(store.where, "SELECT count(*) FROM archived_keys") == [(OLD,)]
    assert list(folder.glob("*.partial")) == []
    assert [check_file(folder, each) for each in manifests(folder)] == [None] * len(list(folder.glob("*.gz")))


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_a_batch_whose_end_did_not_come_to_the_disk_is_written_again(store, folder, monkeypatch, cut):
    with monkeypatch.context() as patch:
        patch.setattr(ArchiveStore, "remove", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            archive_orders(store, folder, 365)
    [partial] = folder.glob("*.partial")
    os.truncate(partial, partial.stat().st_size - cut)
    assert list(read_rows(folder)) == []
    assert archive_orders(store, folder, 365).rows == OLD
    assert sorted(int(row["id"]) for row in lines(folder)) == list(range(1, OLD + 1))


def test_a_file_of_another_folder_that_was_broken_off_is_named(store, folder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ArchiveFile, "finish", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            archive_orders(store, folder, 365)
    [partial] = folder.glob("*.partial")
    assert archive_orders(store, tmp_path / "other", 365).elsewhere == [partial.name.removesuffix(".partial")]
    assert archive_orders(store, folder, 365).elsewhere == []


def test_orders_that_came_back_with_an_older_backup_are_archived_again_and_read_once(store, folder):
    archive_orders(store, folder, 365)
    [row] = (row for row in read_rows(folder) if row["id"] == "3")
    # What a restore of a backup from before does: the row is there, and its key is not among the archived ones.
    sql(store.where, "DELETE FROM archived_keys WHERE order_id = 3")
    kept = store.orders.begin(1, row["key"], "f", ORDER, CLIENT_IDS).row
    values = {"id": kept["id"], "t": now(400 * DAY)}
    sql(store.where, "UPDATE orders SET id = 3, status = 'filled', created = :t, updated = :t WHERE id = :id", **values)
    assert archive_orders(store, folder, 365).rows == 1
    assert len(lines(folder)) == OLD + 1
    assert sorted(int(row["id"]) for row in read_rows(folder)) == list(range(1, OLD + 1))


def test_a_file_has_so_many_orders_and_the_next_one_the_others(store, folder, monkeypatch):
    monkeypatch.setattr(archiving, "_IN_FILE", 8)
    done = archive_orders(store, folder, 365)
    assert [each["rows"] for each in manifests(folder)] == [8, 4]
    assert done.files == [each["file"] for each in manifests(folder)]
    assert sorted(int(row["id"]) for row in lines(folder)) == list(range(1, OLD + 1))


def test_a_damaged_archive_is_noticed(store, folder):
    [name] = archive_orders(store, folder, 365).files
    path, [manifest] = folder / name, manifests(folder)
    os.truncate(path, path.stat().st_size - 1)
    assert check_file(folder, manifest) == f"{path} was changed"
    with pytest.raises(StoreError, match="is damaged after"):
        list(read_rows(folder))
    path.unlink()
    assert check_file(folder, manifest) == f"{path} is not there"


def test_one_command_at_a_time_writes_into_a_folder(store, folder):
    with archive_files.locked_folder(folder), pytest.raises(StoreError, match="another command writes"):
        archive_orders(store, folder, 365)


def test_the_batches_follow_how_long_they_hold_up_others(store, folder, monkeypatch):
    monkeypatch.setattr(archiving, "_MOST", 64)
    monkeypatch.setattr(archiving, "_LEAST", 1)
    sizes, took = [], iter([0.001, 0.1, 0.1, 0.001, 0.001, 0.001])
    remove = ArchiveStore.remove

    def timed(self, archive, rows):
        sizes.append(len(rows))
        remove(self, archive, rows)
        return next(took)

    monkeypatch.setattr(ArchiveStore, "remove", timed)
    monkeypatch.setattr(archiving, "_FIRST", 2)
    archive_orders(store, folder, 365)
    assert sizes == [2, 4, 2, 1, 2, 1]


def test_beside_a_running_server_the_command_never_writes_the_file_of_sqlite_itself(
    store, folder, tmp_path, monkeypatch
):
    """A server that finds its file written by another program examines all of it before its next write."""
    if not isinstance(store.where, Path):
        pytest.skip("of SQLite's file")
    sql(store.where, "UPDATE orders SET created = :t, updated = :t", t=now(400 * DAY))
    for copy in range(4):
        columns = "registration_id, fingerprint, side, type, currency, asset, amount, status, created, updated"
        values = f"key || '/{copy}', client_id || '/{copy}'"
        sql(store.where, f"INSERT INTO orders ({columns}, key, client_id) SELECT {columns}, {values} FROM orders")
    examined = []
    monkeypatch.setattr(sqlite, "find_damage", lambda path, *_: examined.append(path))
    with Serving(store.where, tmp_path / "state"):
        done = archive_orders(store, folder, 365)
        most = waiting_pages(store.where)
    assert done.rows == (OLD + KEPT_INTENTS) * 16 - KEPT_INTENTS
    assert examined == []
    assert most < sqlite._MOST_WAITING_PAGES * 2


class Serving:
    """A data base that is in use by another process, as far as this can be within one."""

    def __init__(self, where, state_file):
        self._store, self._stop = Store(where), threading.Event()
        self._store.open_history(state_file, lambda _line: None)
        self._store.heartbeat()
        self._thread = threading.Thread(target=self._write)

    def _write(self):
        while not self._stop.wait(0.01):
            self._store.heartbeat(at_most_every=0.0)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._store.close()
