"""A data base for each test, of the engine that was asked for, and a SQLite one."""

from __future__ import annotations

import pytest

from bitmm.xwrap.server.db.store import Store


@pytest.fixture
def where(tmp_path, database):
    return database(tmp_path)


@pytest.fixture
def store(where):
    store = Store(where)
    store.prepare()
    yield store
    store.close()


@pytest.fixture
def sqlite(tmp_path):
    store = Store(tmp_path / "xwrap.sqlite3")
    store.prepare()
    yield store
    store.close()
