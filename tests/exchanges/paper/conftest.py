"""What the tests of the paper exchange share."""

from __future__ import annotations

import pytest

from bitmm.xwrap.server.db.store import Store


@pytest.fixture
def store(tmp_path, database):
    """A data base with an account, whose id is 1."""
    store = Store(database(tmp_path, tables=True))
    store.prepare()
    store.accounts.add("ann", "x")
    yield store
    store.close()
