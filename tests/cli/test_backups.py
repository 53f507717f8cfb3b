"""`xwrap backup --to DIR`: a folder of backups, of which the newest are kept."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from contextlib import closing
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from bitmm.xwrap.cli import app, progress
from bitmm.xwrap.server.db import backup as backups
from bitmm.xwrap.server.db.backup_folder import back_up_to_folder, folder_in_use, newest_backup
from bitmm.xwrap.server.db.errors import StoreError
from bitmm.xwrap.server.db.store import Store
from tests.support.command import one_line
from tests.support.databases import sql


def xwrap(*args):
    """Run a command in this process, which is quicker than one of its own."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    return SimpleNamespace(returncode=result.exit_code, stdout=result.stdout, stderr=result.stderr)


@pytest.fixture
def data(tmp_path, database, request):
    """A data folder."""
    if request.config.getoption("postgres"):
        pytest.skip("of SQLite's file")
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    database(folder, tables=True)
    return folder


def back_up(data, folder, keep=2):
    done = xwrap("backup", "--to", folder, "--keep", keep, "--data", data)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_the_newest_backups_are_kept_and_each_is_whole_and_for_its_owner_alone(data, tmp_path):
    folder = tmp_path / "backups"
    made = [back_up(data, folder).partition(" has ")[0] for _ in range(4)]
    assert [str(folder / name) for name in names(folder)] == made[-2:]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.glob("*.sqlite3"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    restored = xwrap("restore", made[-1], "--data", tmp_path / "restored")
    assert restored.returncode == 0, restored.stderr


def test_without_keep_nothing_is_removed(data, tmp_path):
    folder = tmp_path / "backups"
    for _ in range(3):
        assert xwrap("backup", "--to", folder, "--data", data).returncode == 0
    assert len(names(folder)) == 3


def test_what_is_no_backup_of_this_installation_stays(data, tmp_path):
    folder = tmp_path / "backups"
    back_up(data, folder, 1)
    [own] = names(folder)
    others = [
        "letter.txt",
        "xwrap-2026-11-27.sqlite3",
        f"{own}.copy",
        own.replace(own[6:14], "0123abcd"),  # of another installation
        own.replace("xwrap-", "old-xwrap-"),
    ]
    for name in others:
        (folder / name).write_text("not yours")
    link = own.replace(own[15:23], "20200101")
    (folder / link).symlink_to(folder / "letter.txt")
    back_up(data, folder, 1)
    left = set(names(folder))
    assert own not in left
    assert left >= {*others, link}
    assert len(left) == len(others) + 2


def test_when_a_backup_fails_no_older_one_is_removed_and_nothing_is_left_of_it(data, tmp_path, monkeypatch):
    folder = tmp_path / "backups"
    for _ in range(3):
        back_up(data, folder, 5)
    before = names(folder)
    monkeypatch.setattr(backups, "find_damage", lambda _path, **_how: "page 7 is bad")
    one_line(xwrap("backup", "--to", folder, "--keep", 1, "--data", data), "is damaged: page 7 is bad")
    assert names(folder) == before


def test_a_copy_that_sqlite_finds_damaged_is_never_called_a_backup(data, tmp_path, monkeypatch):
    find_damage = backups.find_damage

    def spoil(path, **how):
        content = bytearray(path.read_bytes())
        content[5000:9000] = os.urandom(4000)
        path.write_bytes(content)
        return find_damage(path, **how)

    monkeypatch.setattr(backups, "find_damage", spoil)
    assert xwrap("backup", "--to", tmp_path / "backups", "--data", data).returncode == 1
    assert names(tmp_path / "backups") == []


def test_what_a_killed_backup_left_is_removed_by_the_next(data, tmp_path):
    folder = tmp_path / "backups"
    back_up(data, folder)
    [own] = names(folder)
    (folder / f"{own}.partial").write_text("half")
    back_up(data, folder)
    assert all(name.endswith(".sqlite3") for name in names(folder))


def test_two_backups_into_one_folder_at_once_are_refused(data, tmp_path):
    store = Store(data / "xwrap.sqlite3")
    refused = []

    def report(_done, _total):
        if not refused:
            with pytest.raises(StoreError, match="another backup is being written"):
                back_up_to_folder(store, data / "xwrap.sqlite3.state", tmp_path / "backups", None, lambda *_: None)
            refused.append(True)

    back_up_to_folder(store, data / "xwrap.sqlite3.state", tmp_path / "backups", None, report)
    store.close()
    assert refused


def test_it_is_known_where_the_last_backups_were_written_and_when(data, tmp_path):
    state_file = data / "xwrap.sqlite3.state"
    assert folder_in_use(state_file) is None
    back_up(data, tmp_path / "first and long")
    back_up(data, tmp_path / "second")
    assert folder_in_use(state_file) == tmp_path / "second"
    [[installation]] = sql(data / "xwrap.sqlite3", "SELECT installation FROM history")
    [name] = names(tmp_path / "second")
    made = newest_backup(tmp_path / "second", installation)
    assert made.strftime("%Y%m%dT%H%M%S.%fZ") in name
    assert newest_backup(tmp_path / "second", "f" * 32) is None


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "either FILE or --to DIR"),
        (["FILE", "--to", "DIR"], "either FILE or --to DIR"),
        (["FILE", "--keep", "3"], "--keep is for a folder"),
    ],
)
def test_a_backup_has_one_target(data, args, words):
    one_line(xwrap("backup", *args, "--data", data), words)


def test_a_file_is_no_folder_of_backups(data, tmp_path):
    (tmp_path / "file").touch()
    one_line(xwrap("backup", "--to", tmp_path / "file", "--data", data), "is a file", "--to DIR")


def test_a_folder_that_others_can_read_takes_no_backup(data, tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    one_line(xwrap("backup", "--to", tmp_path / "open", "--data", data), "the folder of backups", "chmod 700")


def test_a_bar_is_drawn_on_a_terminal_alone(capsys, monkeypatch):
    with progress.progress_bar("copied") as report:
        report(1, 2)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress.progress_bar("copied") as report:
        report(1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "copied" in err
