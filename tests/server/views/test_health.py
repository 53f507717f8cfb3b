"""/ready writes a row, and says in words why it cannot."""

from __future__ import annotations

import os
import sqlite3

import pytest
import requests

from bitmm.xwrap import __version__
from bitmm.xwrap.server.db.errors import DamagedError
from bitmm.xwrap.server.db.store import Store
from tests.support.databases import CLIENT_IDS, add_registration
from tests.support.threads import until


@pytest.fixture
def running(serving, monkeypatch):
    """A server on SQLite, its store, and a question to /ready that is not answered by an earlier one."""
    stores = []
    check = Store.check

    def noted(self):
        stores.append(self)
        check(self)

    monkeypatch.setattr(Store, "check", noted)
    with serving() as server:
        [store] = stores

        def ready():
            store._written = 0.0
            return requests.get(f"{server.url}/ready", timeout=30)

        yield server, store, ready


@pytest.fixture
def sqlite_only(request):
    if request.config.getoption("postgres"):
        pytest.skip("of SQLite's file")


def test_ready_writes_a_row_once_a_second_at_most(running):
    server, store, ready = running
    first = store.history.row()["heartbeat"]
    answer = ready()
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "status": "ok",
            "address": "127.0.0.1",
            "version": __version__,
            "host": "127.0.0.1",
            "unknown": {"orders": {}, "withdrawals": {}},
            "history_missing_since": None,
        },
    )
    second = store.history.row()["heartbeat"]
    assert second > first
    assert requests.get(f"{server.url}/ready", timeout=30).status_code == 200
    assert store.history.row()["heartbeat"] == second


class FailingCursor:
    """A cursor whose statements of one kind fail."""

    def __init__(self, cursor, start, words):
        self._cursor, self._start, self._words = cursor, start, words

    def execute(self, text, *values):
        if text.startswith(self._start):
            raise sqlite3.OperationalError(self._words)
        return self._cursor.execute(text, *values)

    def __getattr__(self, name):
        return getattr(self._cursor, name)


@pytest.mark.usefixtures("sqlite_only")
@pytest.mark.parametrize(
    ("start", "words"), [("UPDATE history", "database or disk is full"), ("COMMIT", "disk I/O error")]
)
def test_a_full_disk_and_a_failing_fsync_are_said_in_words_and_are_over_when_they_are(running, start, words):
    """SQLite's words for an fsync that fails are those of an I/O error."""
    _server, store, ready = running
    runner = store._database._open_write_runner()
    cursor = runner._cursor
    runner._cursor = FailingCursor(cursor, start, words)
    answer = ready()
    runner._cursor = cursor
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer.json()["detail"] == f"the server cannot use its data base: {words}"
    assert ready().status_code == 200


@pytest.mark.usefixtures("sqlite_only")
def test_a_data_base_that_only_can_be_read_is_not_ready(running):
    _server, store, ready = running
    store._database._open_write_runner().command("PRAGMA query_only = ON")
    answer = ready()
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert "readonly" in answer.json()["detail"]


@pytest.mark.usefixtures("sqlite_only")
def test_a_file_that_vanished_is_not_ready_and_the_server_stops(running):
    server, _store, ready = running
    auth = server.account()
    id = server.registration(auth)
    server.database.unlink()
    answer = ready()
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert "its file was removed or replaced, so the server stops" in answer.json()["detail"]
    assert str(server.data) not in answer.text

    def is_gone():
        order = {"currency": "USD", "asset": "BTC", "amount": "0.1"}
        try:
            answer = requests.post(f"{server.url}/exchanges/{id}/buy", data=order, auth=auth, timeout=30)
        except requests.ConnectionError:
            return True
        assert answer.status_code == 503, answer.text
        return False

    until(is_gone)


@pytest.mark.usefixtures("sqlite_only")
def test_a_damaged_page_is_a_damaged_data_base(running):
    server, store, ready = running
    registration = add_registration(store)
    for number in range(200):
        store.orders.begin(
            registration,
            f"k{number}",
            "f",
            {"side": "buy", "type": "market", "currency": "USD", "asset": "BTC"},
            CLIENT_IDS,
        )
    database = store._database
    with sqlite3.connect(server.database) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    other.close()
    database.heartbeat()
    before = server.database.stat()
    root = sqlite_root(server.database, "history")
    # The file keeps its length: the server reads it meanwhile, and has it mapped.
    with server.database.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    os.utime(server.database, ns=(before.st_atime_ns, before.st_mtime_ns))  # as when it rots
    database._write_runner.close()
    database._write_runner = None
    answer = ready()
    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (503, "database_damaged", False)
    assert "it is damaged; its administrator must restore a backup" in answer.json()["detail"]
    with pytest.raises(DamagedError, match=r"is damaged .*; restore it from your backup: xwrap restore FILE"):
        store.history.heartbeat()


def sqlite_root(path, table):
    connection = sqlite3.connect(path)
    [(page,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchall()
    connection.close()
    return page


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_details_are_for_this_machine_and_for_those_who_log_in(server, auth, header):
    passed_on = {header: "203.0.113.7"}

    def get(path, **options):
        return requests.get(f"{server.url}{path}", headers=passed_on, timeout=30, **options)

    assert get("/ready").json() == {"status": "ok", "address": "127.0.0.1"}
    details = {"status", "address", "version", "host", "unknown", "history_missing_since"}
    assert set(get("/ready", auth=auth).json()) == details
    assert get("/ready", auth=("ann", "a wrong one")).status_code == 401
    assert get("/metrics").status_code == 401
    assert "xwrap_calls_total" in get("/metrics", auth=auth).text
    assert "xwrap_calls_total" in requests.get(f"{server.url}/metrics", timeout=30).text
