"""The client's commands where the server's libraries are not installed, and what a quick command imports."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from bitmm.xwrap.cli import app
from tests.support.command import BARE, OVER_HTTP, XWRAP, one_line

#: What `pip install '.[cli]'` does not bring.
ABSENT = (
    *("starlette", "uvicorn", "httptools", "uvloop", "anyio", "sqlalchemy", "alembic", "argon2", "cryptography"),
    *("prometheus_client", "keyring", "ccxt", "psycopg", "pytest"),
)
HIDE = f"""
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hide())
"""


@pytest.fixture
def client_alone(tmp_path, ann):
    """Run a command where those libraries cannot be imported."""
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    path = f"{tmp_path}:{BARE['PYTHONPATH']}"

    def run(*args, stdin=""):
        environ = BARE | {"HOME": str(tmp_path), "PYTHONPATH": path}
        return subprocess.run(
            [*XWRAP, *map(str, args)], env=environ, input=stdin, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def test_the_extra_cli_is_enough_for_a_client(client_alone, ann):
    given = ("--server", ann.url, "--account", ann.auth[0], "--password-stdin", "--profile", "alone")
    assert "logged in" in client_alone("login", *given, stdin=f"{ann.auth[1]}\n").stdout
    for args in (("rates", "USD", "BTC"), ("buy", "paper", "BTC", "0.1", "--for", "USD", "--yes"), ("export",)):
        done = client_alone(*args)
        assert (done.returncode, done.stdout != "") == (0, True), done.stderr
    for args in (("serve",), ("account", "list"), ("orders", "unknown")):
        one_line(client_alone(*args), "pip install '.[server]'")


@pytest.mark.parametrize("args", [["--help"], ["rates", "USD", "BTC"]])
def test_a_quick_command_imports_neither_the_server_nor_what_draws_tables(ann, args):
    environ = BARE | {"HOME": str(ann.home)}
    command = [sys.executable, "-X", "importtime", "-m", "bitmm.xwrap", *args]
    result = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True)
    imported = set(re.findall(r"^import time:.*\| +(\S+)$", result.stderr, re.MULTILINE))
    assert "bitmm.xwrap.cli" in imported
    assert {name for name in imported if name.startswith(("bitmm.xwrap.server", "bitmm.xwrap.exchanges"))} == set()
    assert imported.isdisjoint({"rich", "sqlalchemy", "starlette", "keyring"})


def commands(command, *names):
    """Every command and group, as its names and the object."""
    yield names, command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, *names, name)


def test_every_command_of_a_client_has_examples_a_place_in_the_readme_and_a_short_help_option():
    text = (Path(__file__).parents[2] / "bitmm/xwrap/cli/README.md").read_text(encoding="utf-8")
    for names, command in commands(get_command(app)):
        if names and names[0] in OVER_HTTP:
            assert "Examples:" in (command.epilog or ""), names
            assert f"`xwrap {' '.join(names)}" in text, names
    result = subprocess.run([*XWRAP, "buy", "-h"], env=BARE, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.startswith("Usage: xwrap buy")


def test_the_exit_codes_stand_in_the_help_and_in_the_readme():
    from bitmm.xwrap.cli import exits

    codes = {getattr(exits, name) for name in exits.__all__ if isinstance(getattr(exits, name), int)}
    text = (Path(__file__).parents[2] / "bitmm/xwrap/cli/README.md").read_text(encoding="utf-8")
    assert {code for code in codes if f"| {code} |" not in text} == set()
    help_text = subprocess.run([*XWRAP, "-h"], env=BARE, capture_output=True, text=True, timeout=60, check=True).stdout
    assert {code for code in codes if not re.search(rf"\b{code}  ", help_text)} == set()


def test_a_shell_gets_its_completion():
    environ = BARE | {"_XWRAP_COMPLETE": "complete_bash", "COMP_WORDS": "xwrap ra", "COMP_CWORD": "1"}
    result = subprocess.run(XWRAP, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout.split() == ["rates"]
