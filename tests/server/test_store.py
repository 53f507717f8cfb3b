"""The data base: one schema, made and moved on by the migrations."""

from __future__ import annotations

import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

import bitmm.xwrap.server
from bitmm.xwrap.server import tables
from bitmm.xwrap.server.store import Store, StoreError


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "xwrap.sqlite3")
    store.prepare()
    yield store
    store.close()


def test_the_migrations_make_exactly_the_tables(store):
    engine = create_engine(f"sqlite:///{store.path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


def test_the_newest_revision_is_the_one_that_the_tables_name():
    config = Config()
    config.set_main_option("script_location", str(Path(bitmm.xwrap.server.__path__[0]) / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [tables.REVISION]


def test_an_up_to_date_data_base_is_opened_without_alembic(store, monkeypatch):
    monkeypatch.setattr("bitmm.xwrap.server.store._migrate", None)
    store.prepare()


def test_commits_are_on_the_disk_and_readers_do_not_wait(store):
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_the_file_is_for_its_owner_alone(store):
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_a_data_base_of_a_newer_version_is_refused(store):
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreError, match="newer version"):
        store.prepare()


def test_a_damaged_data_base_is_refused(tmp_path):
    path = tmp_path / "xwrap.sqlite3"
    path.write_bytes(b"this is no data base" * 1000)
    store = Store(path)
    with pytest.raises(StoreError, match="damaged"):
        store.prepare()
    store.close()


def test_a_name_belongs_to_one_account(store):
    store.add_account("ann", "x")
    with pytest.raises(ValueError, match="already"):
        store.add_account("ann", "y")


def test_a_value_never_stands_in_the_text_of_an_error(store):
    with pytest.raises(Exception, match="NOT NULL") as caught:
        store.add_registration({"account_id": 1, "label": "canary"}, lambda _id: {})
    assert "canary" not in str(caught.value)


def test_writers_of_many_threads_wait_for_each_other_and_lose_nothing(store):
    threads = [
        threading.Thread(target=lambda n=n: [store.add_account(f"{n}-{turn}", "x") for turn in range(25)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.accounts()) == 200


def test_a_write_waits_for_another_program_that_holds_the_data_base(store):
    with closing(sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        release.start()
        assert store.add_account("ann", "x") == 1
        release.join()
