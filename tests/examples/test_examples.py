"""Every example runs, line by line, against a real server with paper, and does what its first sentence says."""

from __future__ import annotations

import doctest
import json
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("starlette", reason="the server is not installed")

import bitmm.xwrap.examples
from bitmm.xwrap.cli import app
from bitmm.xwrap.client import InsufficientFunds, XWrap
from bitmm.xwrap.examples import rebalance
from tests.support.command import BARE
from tests.support.threads import until

(FOLDER,) = map(Path, bitmm.xwrap.examples.__path__)
FILES = sorted(path for path in FOLDER.iterdir() if path.is_file() and path.suffix != ".md")
PASSWORD = 'her "pass\\word"'


@pytest.fixture
def backend(server):
    with XWrap(server.url) as xwrap:
        yield xwrap.create_backend(*server.account(password=PASSWORD), "paper", "", "", "")


def environ(backend):
    return BARE | {
        "XWRAP_URL": backend._api.url,
        "XWRAP_USER": backend.username,
        "XWRAP_PASSWORD": backend.password,
    }


def run(backend, *command):
    done = subprocess.run(command, env=environ(backend), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_session_shows_what_is_seen(serving, monkeypatch):
    with serving() as server:
        server.account("ann", "her password")
        monkeypatch.setenv("XWRAP_URL", server.url)
        failed, tried = doctest.testfile(
            str(FOLDER / "session.txt"), module_relative=False, optionflags=doctest.ELLIPSIS, encoding="utf-8"
        )
    assert (failed, tried > 15) == (0, True)


def share(backend):
    """The part of all the money that is in BTC."""
    balance, rate = backend.balance(), backend.exchange_rate("USD", "BTC")
    in_btc = balance["BTC"] * (rate["buy"] + rate["sell"]) / 2
    return in_btc / (in_btc + balance["USD"])


def test_the_rebalancing_bot_ends_within_its_tolerance_and_orders_no_more_then(backend, tmp_path):
    order = rebalance.rebalance(backend, tmp_path / "due.json")
    assert order["status"] == "filled"
    assert abs(share(backend) - rebalance.SHARE) < rebalance.TOLERANCE
    assert rebalance.rebalance(backend, tmp_path / "due.json") is None
    assert list(backend.iter_orders()) == [order]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("was_sent", [False, True], ids=["before it sends", "after it sent"])
def test_the_rebalancing_bot_places_the_order_of_its_file_once_when_it_was_killed(backend, tmp_path, was_sent):
    due = tmp_path / "due.json"
    order = {"side": "sell", "amount": "0.1", "key": "k1"}
    due.write_text(json.dumps(order))
    if was_sent:
        backend.sell("USD", "BTC", "0.1", key="k1")
    placed = rebalance.rebalance(backend, due)
    assert (placed["key"], placed["side"], placed["filled"]) == ("k1", "sell", Decimal("0.1"))
    assert list(backend.iter_orders()) == [placed]
    assert not due.exists()


def test_the_rebalancing_bot_forgets_an_order_that_was_refused(backend, tmp_path):
    due = tmp_path / "due.json"
    due.write_text(json.dumps({"side": "sell", "amount": "50", "key": "k1"}))
    with pytest.raises(InsufficientFunds):
        rebalance.rebalance(backend, due)
    assert not due.exists()


def test_the_rebalancing_bot_is_killed_as_a_program_and_orders_once(backend, tmp_path):
    for _ in range(2):
        program = [sys.executable, FOLDER / "rebalance.py", "0"]
        with subprocess.Popen(program, cwd=tmp_path, env=environ(backend), stdout=subprocess.PIPE, text=True) as bot:
            # Somewhere between the file and the answer, or while it looks again.
            until(lambda: (tmp_path / "rebalance.json").exists() or backend.orders())
            bot.kill()
    until(lambda: rebalance.rebalance(backend, tmp_path / "rebalance.json") is None)
    assert len(backend.orders()) == 1
    assert abs(share(backend) - rebalance.SHARE) < rebalance.TOLERANCE


def test_the_tests_of_the_bot_pass_where_they_were_copied_to(tmp_path):
    for name in ("rebalance", "test_rebalance"):
        xwrap("examples", "copy", name, tmp_path)
    command = [sys.executable, "-m", "pytest", "-p", "bitmm.xwrap.testing.plugin", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(
        [*command, "-W", "error"], cwd=tmp_path, env=BARE, capture_output=True, text=True, timeout=120, check=False
    )
    assert "7 passed" in done.stdout, done.stdout


def test_the_frame_of_the_ledger_adds_up_to_the_balance(backend):
    if not find_spec("pandas"):
        pytest.skip("pandas is not installed")
    backend.buy("USD", "BTC", cost="333.33")
    backend.send_to_address("BTC", "0.00000001", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx")
    printed = run(backend, sys.executable, str(FOLDER / "ledger_frame.py"))
    assert str(backend.balance()["BTC"]) in printed
    assert "It is the balance, to the last digit." in printed


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_orders_once_with_one_key_and_is_told_why_it_is_refused(backend):
    rate, before, first, again, found, refusal = map(
        json.loads, run(backend, "sh", str(FOLDER / "curl.sh"), str(backend.id)).splitlines()
    )
    assert Decimal(rate["buy"]) > 0 < Decimal(before["USD"])
    assert first == again == found
    assert [order["filled"] for order in backend.orders()] == [Decimal("0.01")]
    assert refusal["code"] == "invalid_amount"


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_fetch_orders_once_and_is_told_why_it_is_refused(backend):
    bought, found, refusal = run(backend, "node", str(FOLDER / "fetch.mjs"), str(backend.id)).splitlines()
    assert bought.startswith("filled 0.01 BTC for ")
    assert found.startswith("true {")
    assert refusal.startswith("insufficient_funds - not enough USD")
    assert [order["status"] for order in backend.iter_orders()] == ["rejected", "filled"]


def test_no_example_puts_a_password_where_other_users_of_the_machine_can_read_it():
    assert [path.name for path in FILES if re.search(r"--user\b|-u ", path.read_text())] == []


def test_the_command_lists_each_with_the_sentence_that_its_readme_has():
    listed = dict(line.split(maxsplit=1) for line in xwrap("examples").stdout.splitlines())
    rows = re.findall(r"^\| \[(\w+)\.\w+\]\((.+)\) \| (.+) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert listed == {name: sentence for name, _, sentence in rows}
    assert sorted(file for _, file, _ in rows) == [path.name for path in FILES]


def test_the_command_copies_an_example_and_replaces_none(tmp_path):
    for path in FILES:
        copied = xwrap("examples", "copy", path.stem, tmp_path / "new")
        assert (copied.exit_code, copied.stdout.strip()) == (0, str(tmp_path / "new" / path.name))
        assert (tmp_path / "new" / path.name).read_bytes() == path.read_bytes()
    (tmp_path / "new" / "curl.sh").write_text("mine")
    refused("is there already, and is not replaced", "curl.sh", tmp_path / "new")
    assert (tmp_path / "new" / "curl.sh").read_text() == "mine"


def test_a_name_that_there_is_not_is_answered_with_the_nearest_or_all(tmp_path):
    refused("there is no example 'rebalanc'; did you mean rebalance?", "rebalanc", tmp_path)
    refused("there is no example 'x'; there are curl, ", "x", tmp_path)
    (tmp_path / "file").touch()
    refused("cannot be written", "curl", tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def xwrap(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(words, name, folder):
    done = xwrap("examples", "copy", name, folder)
    assert done.exit_code == 1
    assert (done.stderr.startswith("xwrap: "), done.stderr.count("\n")) == (True, 1)
    assert words in done.stderr
