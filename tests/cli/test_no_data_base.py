"""Where there is no data base, only the commands that begin one make it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from bitmm.xwrap.cli import app
from tests.support.command import OVER_HTTP, one_line

#: Commands that need a data base, with arguments that they take.
NEED_ONE = [
    ["account", "list"],
    ["orders", "unknown"],
    ["orders", "settle", "1", "--as", "filled"],
    ["sends", "unknown"],
    ["sends", "settle", "1", "--as", "done"],
    ["history", "show"],
    ["history", "accept"],
    ["history", "restored"],
    ["account", "passwd", "ann", "--generate"],
    ["account", "disable", "ann"],
    ["account", "enable", "ann"],
    ["account", "remove", "ann"],
    ["freeze"],
    ["vault", "rotate"],
    ["audit", "verify"],
    ["vault", "drop-old"],
    ["notices", "show"],
    ["backup", "FILE"],
]
#: Those that make one, or need none.
OTHERS = {"account add", "serve", "restore", "exchanges", "demo", "doctor", "examples copy", "notices test"}
OTHERS |= {f"deploy {kind}" for kind in ("systemd", "compose", "caddy", "nginx")}
OTHERS |= {"archive show", "archive verify"}


def xwrap(*args, **environ):
    """Run a command in this process, which is quicker than one of its own."""
    result = CliRunner().invoke(app, [str(arg) for arg in args], env=environ)
    return SimpleNamespace(returncode=result.exit_code, stdout=result.stdout, stderr=result.stderr)


def all_commands(command, *names):
    """The names of every command, as "account add"."""
    if not hasattr(command, "commands"):
        return {" ".join(names)}
    return {found for name, each in command.commands.items() for found in all_commands(each, *names, name)}


def test_every_command_is_tried_or_named_here():
    tried = {
        " ".join(
            args[:2] if args[0] in {"account", "orders", "sends", "history", "vault", "audit", "notices"} else args[:1]
        )
        for args in NEED_ONE
    }
    over_http = {name for name in all_commands(get_command(app)) if name.split()[0] in OVER_HTTP}
    assert tried | OTHERS | over_http == all_commands(get_command(app))


@pytest.mark.parametrize("args", NEED_ONE, ids=" ".join)
@pytest.mark.parametrize("is_there", [True, False], ids=["an empty folder", "no folder"])
def test_a_command_that_needs_a_data_base_makes_none(tmp_path, monkeypatch, args, is_there):
    folder = tmp_path / "data"
    if is_there:
        folder.mkdir(mode=0o700)
    monkeypatch.chdir(tmp_path)
    one_line(xwrap(*args, "--data", folder), f"there is no data base in {folder};", "xwrap account add", "--data")
    assert list(tmp_path.rglob("*")) == [folder] * is_there


def test_a_file_without_the_tables_is_no_data_base(tmp_path):
    (tmp_path / "xwrap.sqlite3").touch()
    one_line(xwrap("account", "list", "--data", tmp_path), "there is no data base")


def test_a_postgresql_without_the_tables_is_left_as_it_is(tmp_path, postgres):
    from tests.support.databases import drop_database, new_database, sql

    url = new_database(postgres)
    try:
        for args in NEED_ONE[:-1]:
            one_line(xwrap(*args, "--data", tmp_path, XWRAP_DATABASE_URL=url), "no data base in the PostgreSQL")
        assert sql(url, "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'") == [(0,)]
    finally:
        drop_database(postgres, url)
    assert list(tmp_path.iterdir()) == []


def test_the_first_account_makes_the_data_base(tmp_path):
    folder = tmp_path / "data"
    assert xwrap("account", "add", "ann", "--generate", "--data", folder).returncode == 0
    assert "ann" in xwrap("account", "list", "--data", folder).stdout
