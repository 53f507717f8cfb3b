"""`xwrap serve` reads plain options without the parser of the command line, as that would read them."""

from __future__ import annotations

import gc
import inspect
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmm.xwrap import cli, serve_command
from bitmm.xwrap.serve_command import OPTIONS, plain_options
from bitmm.xwrap.server.settings import SetupError

COMMAND = typer.main.get_command(cli.app).commands["serve"]
TEXTS = st.sampled_from(["8000", "0", "65536", "-1", "99", "100", "x", "", "--port", "127.0.0.1", "٣", "1_0", " 7"])
ARGUMENTS = st.lists(st.sampled_from([*OPTIONS, "--help", "--hos", "--port=8000", "-h"]) | TEXTS, max_size=6)


def test_it_knows_the_options_of_the_command_and_their_defaults():
    declared = {name: one for one in COMMAND.params for name in one.opts if name != "--help"}
    assert declared.keys() == OPTIONS.keys()
    signature = inspect.signature(serve_command.serve).parameters
    assert {one.name: one.default for one in declared.values()} == {
        name: signature[name].default for name in signature if name != "report"
    }


@settings(deadline=None)
@given(ARGUMENTS)
def test_what_it_reads_the_parser_reads_in_the_same_way(arguments):
    options = plain_options(["serve", *arguments])
    if options is not None:
        defaults = {one.name: one.default for one in COMMAND.params if one.name != "help"}
        assert COMMAND.make_context("serve", arguments).params == {**defaults, **options}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["rates"],
        ["--help"],
        ["serve", "--help"],
        ["serve", "--port"],
        ["serve", "--port", "65536"],
        ["serve", "--port", "x"],
        ["serve", "--prot", "8000"],
        ["serve", "--data", "--plain-http"],
        ["serve", "8000"],
    ],
)
def test_all_else_is_left_to_the_parser(arguments):
    assert plain_options(arguments) is None


def test_plain_options_are_read():
    arguments = ["serve", "--port", "0", "--host", "::1", "--data", "d", "--plain-http", "--workers", "4", "--log-json"]
    assert plain_options(arguments) == {
        "port": 0,
        "host": "::1",
        "data": Path("d"),
        "plain_http": True,
        "workers": 4,
        "log_json": True,
    }
    assert plain_options(["serve"]) == {}


def test_a_start_that_fails_leaves_the_collector_on(tmp_path):
    file = tmp_path / "file"
    file.write_text("no folder")
    with pytest.raises((SetupError, OSError)):
        serve_command.serve(print, port=0, data=file)
    assert gc.isenabled()


def test_a_plain_start_loads_what_calls_need_and_nothing_of_other_commands(database, tmp_path):
    if not isinstance(database(tmp_path, tables=True), Path):
        pytest.skip("on SQLite")
    command = [sys.executable, "-X", "importtime", "-m", "bitmm.xwrap", "serve", "--port", "0", "--data", tmp_path]
    with (tmp_path / "imports").open("w") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        while "serves at" not in server.stdout.readline():
            assert server.poll() is None, (tmp_path / "imports").read_text()
        server.terminate()
        server.communicate()
    loaded = set(re.findall(r"\| +([\w.]+)\n", (tmp_path / "imports").read_text()))
    others = {"typer", "pydantic", "jinja2", "yaml", "alembic", "mako", "ccxt", "psycopg", "rich"}
    assert loaded & {*others, "sqlalchemy.dialects.postgresql", "sqlalchemy.orm"} == set()
    assert loaded >= {"argon2", "cryptography", "orjson", "bitmm.xwrap.exchanges.kraken.adapter"}


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs a socket that keeps pieces apart")
def test_a_line_is_written_in_one_piece_when_output_is_not_buffered(tmp_path):
    """Or a line of the log may come between it and its end, where both go to one place, as in a container."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    command = [sys.executable, "-u", "-m", "bitmm.xwrap", "serve", "--port", "0", "--data", str(tmp_path / "data")]
    with ours, subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL) as process:
        theirs.close()
        ours.settimeout(60)
        pieces = [ours.recv(1000)]
        while b"serves at" not in pieces[-1]:
            pieces.append(ours.recv(1000))
        process.terminate()
    assert all(piece.endswith(b"\n") for piece in pieces)
