"""The `xwrap` command, run as a person runs it."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import requests

from bitmm.xwrap.server.credential_passwords import make_password
from bitmm.xwrap.server.db.store import Store
from tests.support.command import ENVIRON, XWRAP, one_line, prepared, serve, url_of, xwrap
from tests.support.threads import until


def test_from_nothing_to_a_served_account(tmp_path):
    added = xwrap("account", "add", "ann", "--generate", "--data", tmp_path)
    assert added.returncode == 0
    password = added.stdout.strip()
    assert len(password) >= 24
    with serve("--port", 0, "--data", tmp_path) as (_process, lines):
        assert f"A master key was made: {tmp_path}/master.key" in lines[0]
        answer = requests.get(f"{url_of(lines)}/exchanges/", auth=("ann", password), timeout=30)
        assert answer.json() == []


def test_a_first_start_that_fails_says_where_it_made_the_master_key(tmp_path):
    failed = xwrap("serve", "--port", 0, "--data", tmp_path, XWRAP_PAPER_PRICES="/nonexistent.csv")
    assert failed.returncode == 1
    assert f"A master key was made: {tmp_path}/master.key" in failed.stdout


def test_the_folder_may_come_from_the_environment(tmp_path):
    folder = tmp_path / "deep" / "er"
    assert xwrap("account", "add", "ann", "--generate", XWRAP_DATA_DIR=str(folder)).returncode == 0
    assert (folder / "xwrap.sqlite3").exists()
    assert "ann" in xwrap("account", "list", XWRAP_DATA_DIR=str(folder)).stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_cleanly(tmp_path, number):
    with serve("--port", 0, "--data", tmp_path) as (process, _lines):
        process.send_signal(number)
        output, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "XWrap has stopped" in output
    lines = errors.splitlines()
    assert [line.partition(": ")[2].partition(" url=")[0] for line in lines] == [
        "the server has started",
        "the server has stopped",
    ]


@pytest.mark.parametrize(("level", "logs"), [("info", True), ("ERROR", False)])
def test_the_log_goes_to_standard_error_from_the_level_on_that_is_set(tmp_path, level, logs):
    with serve("--port", 0, "--data", tmp_path, XWRAP_LOG_LEVEL=level) as (process, _lines):
        process.terminate()
        _output, errors = process.communicate(timeout=10)
    started = r"^\d{4}-\d\d-\d\dT\S+Z INFO bitmm\.xwrap\.server\.runner: the server has started url=http://127"
    assert bool(re.search(started, errors)) is logs
    assert logs or not errors


def test_a_password_comes_from_standard_input_and_shows_nowhere(tmp_path):
    added = xwrap("account", "add", "ann", "--password-stdin", "--data", tmp_path, stdin="canary-password\n")
    assert (added.returncode, added.stdout, added.stderr) == (0, "account 'ann' added\n", "")
    assert b"canary" not in (tmp_path / "xwrap.sqlite3").read_bytes()


@pytest.mark.parametrize(
    ("args", "stdin", "words"),
    [
        (["ann:x", "--generate"], "", "without a colon"),
        (["", "--generate"], "", "without a colon"),
        (["ann", "--password-stdin"], "short\n", "at least 8"),
        (["ann", "--password-stdin", "--generate"], "", "choose one"),
    ],
)
def test_a_bad_account_is_one_line_and_exit_1(tmp_path, args, stdin, words):
    result = xwrap("account", "add", *args, "--data", tmp_path, stdin=stdin)
    assert result.returncode == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_account_can_be_added_once_also_while_the_server_runs(tmp_path):
    with serve("--port", 0, "--data", tmp_path):
        assert xwrap("account", "add", "ann", "--generate", "--data", tmp_path).returncode == 0
        again = xwrap("account", "add", "ann", "--generate", "--data", tmp_path)
    assert (again.returncode, again.stderr) == (1, "xwrap: there is an account 'ann' already; choose another name\n")


def test_an_account_is_changed_while_the_server_runs_and_it_counts_at_once(tmp_path):
    old = xwrap("account", "add", "ann", "--generate", "--data", tmp_path).stdout.strip()
    with serve("--port", 0, "--data", tmp_path) as (_process, lines):

        def status(password):
            return requests.get(f"{url_of(lines)}/account", auth=("ann", password), timeout=30).status_code

        assert status(old) == 200
        new = xwrap("account", "passwd", "ann", "--generate", "--data", tmp_path).stdout.strip()
        assert (status(old), status(new)) == (401, 200)
        assert xwrap("account", "disable", "ann", "--data", tmp_path).stdout == "account 'ann' is switched off\n"
        assert status(new) == 401
        assert "(switched off)" in xwrap("account", "list", "--data", tmp_path).stdout
        assert xwrap("account", "enable", "ann", "--data", tmp_path).stdout == "account 'ann' is switched on\n"
        assert status(new) == 200
        assert xwrap("account", "remove", "ann", "--data", tmp_path).stdout == "account 'ann' is removed\n"
        assert status(new) == 401
    assert xwrap("account", "list", "--data", tmp_path).stdout == ""
    one_line(xwrap("account", "remove", "ann", "--data", tmp_path), "there is no account 'ann'")
    with closing(sqlite3.connect(tmp_path / "xwrap.sqlite3")) as database:
        told = database.execute("SELECT who, what, subject FROM audit_log WHERE what LIKE 'account.%' ORDER BY id")
        changes = ("add", "password", "disable", "enable", "remove")
        assert told.fetchall() == [("administrator", f"account.{what}", "account ann") for what in changes]


def test_a_new_password_names_what_stays_of_the_old_one(tmp_path):
    xwrap("account", "add", "ann", "--generate", "--data", tmp_path)
    new = ("account", "passwd", "ann", "--generate", "--data", tmp_path)
    assert xwrap(*new).stderr == ""
    store = Store(tmp_path / "xwrap.sqlite3")
    id = store.accounts.find("ann").id
    store.credentials.add({"account_id": id, "name": "bot1", "scope": "send"}, make_password(), "ann/bot1")
    store.addresses.add(id, "BTC", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT", usable_from="2026")
    store.close()
    assert xwrap(*new).stderr == (
        "its credentials stay: ann/bot1 (send); xwrap credential revoke ends one\n"
        "addresses on its allow-list that stay: 1; xwrap address list shows them\n"
    )


def test_the_name_of_a_removed_account_is_free(tmp_path):
    for _ in range(2):
        assert xwrap("account", "add", "ann", "--generate", "--data", tmp_path).returncode == 0
        assert xwrap("account", "remove", "ann", "--data", tmp_path).returncode == 0


def test_a_taken_port_is_one_line_that_says_what_to_do(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        one_line(xwrap("serve", "--port", port, "--data", tmp_path), str(port), "--port")


def test_a_folder_that_cannot_be_written_is_one_line_that_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    one_line(xwrap("serve", "--port", 0, "--data", tmp_path / "file" / "data"), "--data")
    one_line(xwrap("account", "add", "ann", "--generate", "--data", tmp_path / "file" / "data"), "--data")


def test_a_damaged_or_missing_or_foreign_master_key_is_one_line(tmp_path):
    prepared(tmp_path)
    key = tmp_path / "master.key"
    good = key.read_text()
    key.write_text("nonsense")
    one_line(xwrap("serve", "--port", 0, "--data", tmp_path), "damaged", str(key))
    key.write_text("A" * 43 + "=")
    one_line(xwrap("serve", "--port", 0, "--data", tmp_path), "does not open this data base")
    key.unlink()
    one_line(xwrap("serve", "--port", 0, "--data", tmp_path), "missing", str(key))
    assert not key.exists(), "no new key is made beside data that it cannot open"
    key.write_text(good)
    key.chmod(0o600)
    prepared(tmp_path)


def test_a_newer_data_base_is_one_line(tmp_path):
    prepared(tmp_path)
    with closing(sqlite3.connect(tmp_path / "xwrap.sqlite3")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    one_line(xwrap("serve", "--port", 0, "--data", tmp_path), "newer version", "update bitmm")


def test_a_second_server_on_the_same_folder_is_one_line(tmp_path):
    with serve("--port", 0, "--data", tmp_path):
        one_line(xwrap("serve", "--port", 0, "--data", tmp_path), "another XWrap", "--data")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"XWRAP_PAPER_FUNDS": "USD"}, ["XWRAP_PAPER_FUNDS", "USD=200000"]),
        ({"XWRAP_PAPER_FUNDS": "USD=-1"}, ["XWRAP_PAPER_FUNDS"]),
        ({"XWRAP_PAPER_FUNDS": "=5"}, ["XWRAP_PAPER_FUNDS"]),
        ({"XWRAP_LOG_LEVEL": "loud"}, ["XWRAP_LOG_LEVEL", "loud", "DEBUG, INFO, WARNING, ERROR"]),
        ({"XWRAP_LOG_LEVEL": "NOTSET"}, ["XWRAP_LOG_LEVEL", "NOTSET"]),
        ({"XWRAP_LOGLEVEL": "INFO"}, ["XWRAP_LOGLEVEL", "did you mean XWRAP_LOG_LEVEL?"]),
        ({"XWRAP_PAPER_PRICES": "/nonexistent.csv"}, ["XWRAP_PAPER_PRICES", "nonexistent"]),
        ({"XWRAP_EXCHANGES": "paper,nowhere"}, ["XWRAP_EXCHANGES", "nowhere"]),
        ({"XWRAP_EXCHANGES": "paper,ccxt:nowhere"}, ["XWRAP_EXCHANGES", "ccxt:nowhere"]),
        (
            {"XWRAP_EXCHANGE_URL_NOWHERE": "http://127.0.0.1:1"},
            ["XWRAP_EXCHANGE_URL_NOWHERE", "XWRAP_EXCHANGE_URL_PAPER"],
        ),
        ({"XWRAP_EXCHANGE_URL_PAPER": "http://evil.example"}, ["XWRAP_EXCHANGE_URL_PAPER", "https"]),
    ],
)
def test_a_bad_setting_is_one_line(tmp_path, environ, words):
    one_line(xwrap("serve", "--port", 0, "--data", tmp_path, **environ), *words)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_are_let_in_only_on_an_explicit_word(tmp_path, host):
    one_line(xwrap("serve", "--host", host, "--port", 0, "--data", tmp_path), "TLS", "--plain-http")


def test_a_host_that_is_no_address_is_one_line(tmp_path):
    one_line(xwrap("serve", "--host", "nowhere", "--port", 0, "--data", tmp_path), "--host")


def test_the_paper_exchange_takes_prices_and_funds_from_the_environment(tmp_path):
    prices = tmp_path / "prices.csv"
    prices.write_text("timestamp,close\n0,100\n")
    password = xwrap("account", "add", "ann", "--generate", "--data", tmp_path).stdout.strip()
    environ = {"XWRAP_PAPER_PRICES": str(prices), "XWRAP_PAPER_FUNDS": "USD=10.5, ETH=3"}
    with serve("--port", 0, "--data", tmp_path, **environ) as (_process, lines):
        url = url_of(lines)
        rate = requests.get(f"{url}/exchange_rates/?from=USD&to=BTC", timeout=30).json()[0]
        assert (rate["buy"], rate["sell"]) == ("100.02", "99.98")
        requests.post(f"{url}/exchanges/", data={"exchange": "paper"}, auth=("ann", password), timeout=30)
        balance = requests.get(f"{url}/exchanges/1/balance", auth=("ann", password), timeout=30).json()
        assert balance == {"USD": "10.5", "BTC": "0", "ETH": "3"}


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["serve"],
        ["account"],
        ["account", "add"],
        ["account", "list"],
        ["orders"],
        ["orders", "unknown"],
        ["orders", "settle"],
        ["sends"],
        ["sends", "unknown"],
        ["sends", "settle"],
        ["exchanges"],
        ["demo"],
    ],
)
def test_help_shows_examples_everywhere(command):
    result = xwrap(*command, "--help")
    assert result.returncode == 0
    assert "Examples:\n    " in result.stdout
    assert result.stdout.startswith("Usage: xwrap")


def test_the_version_is_told():
    from bitmm.xwrap import __version__

    assert xwrap("--version").stdout == f"xwrap {__version__}\n"


def test_a_pipe_that_is_not_read_stops_no_call_and_what_was_logged_is_json(tmp_path):
    """A pipe has room for 64 KiB, and each call makes a line of 170 bytes."""
    with serve("--port", 0, "--data", tmp_path, "--log-json", XWRAP_LOG_LEVEL="DEBUG") as (process, lines):
        with requests.Session() as session:
            for _ in range(600):
                assert session.get(f"{url_of(lines)}/health", timeout=30).status_code == 200
        process.terminate()
        _output, errors = process.communicate(timeout=10)
    assert len(errors) > 65536
    entries = [json.loads(line) for line in errors.splitlines()]
    assert [entry["message"] for entry in (entries[0], entries[-1])] == [
        "the server has started",
        "the server has stopped",
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_that_cannot_be_written_fails_no_call_and_is_counted(tmp_path):
    command = shlex.join([*XWRAP, "serve", "--port", "0", "--data", str(tmp_path)])
    with subprocess.Popen(
        ["sh", "-c", f"exec {command} 2>/dev/full"], stdout=subprocess.PIPE, text=True, env=ENVIRON
    ) as process:
        lines = [next(line for line in process.stdout if "serves at" in line)]
        metrics = f"{url_of(lines)}/metrics"
        until(lambda: "\nxwrap_log_lines_dropped_total 1.0\n" in requests.get(metrics, timeout=30).text)
        process.terminate()
        assert process.wait(timeout=10) == 0
