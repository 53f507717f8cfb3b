"""`xwrap backup`, `xwrap restore` and `xwrap history`: what is restored knows that orders may be missing."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from alembic.command import downgrade
from alembic.config import Config
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from bitmm.xwrap.cli import app
from bitmm.xwrap.server import migrations
from bitmm.xwrap.server.db.history import HistoryStore
from bitmm.xwrap.server.db.store import Store
from tests.support.command import one_line, serve, url_of
from tests.support.databases import CLIENT_IDS, ORDER, add_registration, sql


def xwrap(*args):
    """Run a command in this process, which is quicker than one of its own."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    return SimpleNamespace(returncode=result.exit_code, stdout=result.stdout, stderr=result.stderr)


@pytest.fixture
def folder(tmp_path):
    """A data folder with an account; its password."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder, xwrap("account", "add", "ann", "--generate", "--data", folder).stdout.strip()


def move_back(file, revision):
    """Make a data base one of an older version."""
    store, config = Store(file), Config()
    config.set_main_option("script_location", str(Path(migrations.__path__[0])))
    with store._database.engine.begin() as connection:
        config.attributes["connection"] = connection
        downgrade(config, revision)
    store.close()


def keys(folder):
    return [key for (key,) in sql(folder / "xwrap.sqlite3", "SELECT key FROM orders ORDER BY id")]


def place(url, auth, key):
    order = {"currency": "USD", "asset": "BTC", "amount": "0.1"}
    answer = requests.post(
        f"{url}/exchanges/1/buy", data=order, headers={"Idempotency-Key": key}, auth=auth, timeout=30
    )
    assert answer.status_code == 200, answer.text


def test_a_backup_that_is_made_while_the_server_runs_can_be_restored(folder, tmp_path):
    data, password = folder
    auth, file = ("ann", password), tmp_path / "backup.sqlite3"
    with serve("--port", 0, "--data", data) as (process, lines):
        url = url_of(lines)
        requests.post(f"{url}/exchanges/", data={"exchange": "paper"}, auth=auth, timeout=30).raise_for_status()
        place(url, auth, "before")
        made = xwrap("backup", file, "--data", data)
        assert (made.returncode, made.stderr) == (0, "")
        assert f"without the master key {data}/master.key" in made.stdout
        place(url, auth, "after")
        one_line(xwrap("restore", file, "--data", data), "another XWrap serves", "stop it")
        process.terminate()
        process.wait(30)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (data / "master.key").read_bytes().strip() not in file.read_bytes()
    restored = xwrap("restore", file, "--data", data)
    assert (restored.returncode, restored.stderr) == (0, "")
    assert keys(data) == ["before"]
    [replaced] = [name for name in data.iterdir() if ".replaced-" in name.name]
    assert str(replaced) in restored.stdout
    assert [key for (key,) in sql(replaced, "SELECT key FROM orders ORDER BY id")] == ["before", "after"]
    shown = xwrap("history", "show", "--data", data).stdout
    assert "may be missing: the data base was restored" in shown
    assert shown in restored.stdout
    with serve("--port", 0, "--data", data) as (_process, lines):
        assert "may be missing: the data base was restored. New keys are looked up" in lines[0]
        ready = requests.get(f"{url_of(lines)}/ready", timeout=30).json()
        since = datetime.fromisoformat(ready["history_missing_since"])
        assert timedelta(seconds=59) < datetime.now(UTC) - since < timedelta(minutes=5)
        assert "accepted: " in xwrap("history", "accept", "--data", data).stdout
        assert xwrap("history", "show", "--data", data).stdout == "the journal is complete\n"
    with serve("--port", 0, "--data", data) as (_process, lines):
        assert "serves at" in lines[0]
        assert requests.get(f"{url_of(lines)}/ready", timeout=30).json()["history_missing_since"] is None


def test_a_backup_overwrites_nothing(folder, tmp_path):
    file = tmp_path / "backup.sqlite3"
    file.write_text("precious")
    one_line(xwrap("backup", file, "--data", folder[0]), f"there is a file {file} already")
    assert file.read_text() == "precious"
    one_line(xwrap("backup", tmp_path / "no" / "folder", "--data", folder[0]), "cannot be written")
    one_line(xwrap("backup", tmp_path / "new", "--data", tmp_path / "empty"), "no data base")
    assert not (tmp_path / "empty").exists()


def test_what_is_no_backup_is_not_restored(folder, tmp_path):
    data, _password = folder
    bad = tmp_path / "bad.sqlite3"
    one_line(xwrap("restore", bad, "--data", data), "no such file")
    bad.write_bytes(b"this is no data base" * 1000)
    one_line(xwrap("restore", bad, "--data", data), "not a database")
    bad.unlink()
    sql(bad, "CREATE TABLE other (x)")
    one_line(xwrap("restore", bad, "--data", data), "no data base of a server")
    assert "ann" in xwrap("account", "list", "--data", data).stdout
    assert not [name for name in data.iterdir() if "restoring" in name.name or "replaced" in name.name]


def test_a_backup_is_restored_where_there_is_no_data_base(folder, tmp_path):
    file, new = tmp_path / "backup.sqlite3", tmp_path / "new"
    assert xwrap("backup", file, "--data", folder[0]).returncode == 0
    restored = xwrap("restore", file, "--data", new)
    assert restored.returncode == 0
    assert "kept as" not in restored.stdout
    assert "ann" in xwrap("account", "list", "--data", new).stdout


def test_a_damaged_data_base_is_refused_by_every_command_and_replaced_by_a_backup(folder, tmp_path):
    data, _password = folder
    file = tmp_path / "backup.sqlite3"
    assert xwrap("backup", file, "--data", data).returncode == 0
    (data / "xwrap.sqlite3").write_bytes(b"this is no data base" * 1000)
    for command in (["serve", "--port", 0], ["account", "list"], ["backup", tmp_path / "another"]):
        one_line(xwrap(*command, "--data", data), "is damaged", "restore it from your backup: xwrap restore FILE")
    assert xwrap("restore", file, "--data", data).returncode == 0
    assert "ann" in xwrap("account", "list", "--data", data).stdout


def test_a_backup_of_an_older_version_is_brought_to_this_one(folder, tmp_path):
    data, _password = folder
    file = tmp_path / "backup.sqlite3"
    shutil.copy(data / "xwrap.sqlite3", file)
    move_back(file, "0004")
    assert xwrap("restore", file, "--data", data).returncode == 0
    assert "ann" in xwrap("account", "list", "--data", data).stdout


def test_a_start_that_migrates_says_so_and_the_next_one_does_not(folder):
    data, _password = folder
    move_back(data / "xwrap.sqlite3", "0004")
    for is_older in (True, False):
        with serve("--port", 0, "--data", data) as (_process, lines):
            assert any("is brought to this version" in line for line in lines) is is_older


def test_what_was_restored_by_other_means_is_said_by_the_administrator(tmp_path):
    store = Store(tmp_path / "xwrap.sqlite3")
    store.prepare()
    store.close()
    since = ["--since", "2026-11-27T10:00:00", "--data", tmp_path]
    assert "orders placed after 2026-11-27 09:59:00 UTC may be missing" in xwrap("history", "restored", *since).stdout
    one_line(
        xwrap("history", "restored", "--since", "yesterday", "--data", tmp_path),
        "--since is 'yesterday'; it takes a time",
    )
    assert "may be missing" in xwrap("history", "restored", "--data", tmp_path).stdout


def test_a_backup_of_a_data_base_that_lost_orders_says_so_when_it_is_restored(folder, tmp_path):
    """No server started since the loss, so it was not noticed before."""
    data, _password = folder
    store = Store(data / "xwrap.sqlite3")
    store.open_history(data / "xwrap.sqlite3.state", lambda _line: None)
    registration = add_registration(store, "bot")
    long_ago = "2026-01-01T00:00:00.000000Z"
    sql(store.where, "UPDATE history SET heartbeat = :time", time=long_ago)
    older = tmp_path / "older.sqlite3"
    with closing(sqlite3.connect(store.where)) as source, closing(sqlite3.connect(older)) as target:
        source.backup(target)
    store.orders.begin(registration, "k1", "f", ORDER, CLIENT_IDS)
    store.close()
    shutil.copy(older, store.where)
    file = tmp_path / "backup.sqlite3"
    assert xwrap("backup", file, "--data", data).returncode == 0
    assert xwrap("restore", file, "--data", data).returncode == 0
    assert "after 2025-12-31 23:59:00 UTC may be missing" in xwrap("history", "show", "--data", data).stdout


def test_a_data_base_that_cannot_be_written_is_one_line_and_no_traceback(folder, monkeypatch):
    data, _password = folder

    def full(_self):
        raise OperationalError("UPDATE", {}, sqlite3.OperationalError("database or disk is full"))

    monkeypatch.setattr(HistoryStore, "accept", full)
    one_line(xwrap("history", "accept", "--data", data), "the data base cannot be used: database or disk is full")


@pytest.mark.parametrize(
    "command",
    [["backup"], ["restore"], ["history"], ["history", "show"], ["history", "accept"], ["history", "restored"]],
)
def test_help_shows_examples(command):
    assert "Examples:\n    " in xwrap(*command, "--help").stdout


@pytest.mark.parametrize(("command", "words"), [("backup", "pg_dump"), ("restore", "xwrap history restored")])
def test_for_postgresql_its_own_tools_are_named(tmp_path, monkeypatch, command, words):
    monkeypatch.setenv("XWRAP_DATABASE_URL", "postgresql+psycopg://ann:canary@127.0.0.1:1/x")
    result = xwrap(command, tmp_path / "file", "--data", tmp_path)
    one_line(result, "the data base is PostgreSQL", words)
    assert "canary" not in result.stderr
