"""`xwrap key`, run as a person runs it, against a running server."""

from __future__ import annotations

import os
import pty
import subprocess
from contextlib import suppress

import pytest
import requests

from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.command import ENVIRON, XWRAP, one_line, xwrap


@pytest.fixture(scope="module")
def kraken():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture(scope="module")
def server(serving, kraken):
    with BitstampVenue() as bitstamp:
        urls = {"kraken": kraken.url, "bitstamp": bitstamp.url}
        limits = {"kraken": None, "bitstamp": None}
        with serving(exchanges=("paper", "kraken", "bitstamp"), exchange_urls=urls, exchange_limits=limits) as server:
            server.bitstamp = bitstamp
            yield server


@pytest.fixture
def ann(server):
    return server.account()


def key(server, auth, *args, secrets=()):
    """Run a command with the password, and what else is secret, on standard input."""
    stdin = "".join(f"{line}\n" for line in (auth[1], *secrets))
    where = ("--account", auth[0], "--server", server.url, "--password-stdin")
    result = xwrap("key", *args, *where, stdin=stdin)
    for secret in (auth[1], *secrets):
        assert not secret or secret not in result.stdout + result.stderr
    return result


def registrations(server, auth):
    return requests.get(f"{server.url}/exchanges/", auth=auth, timeout=30).json()


def test_a_key_is_added_listed_checked_renamed_switched_off_and_on_and_removed(server, kraken, ann):
    added = key(server, ann, "add", "kraken", "--label", "main", "--allow-send", secrets=(kraken.key, kraken.secret))
    [row] = registrations(server, ann)
    id = row["id"]
    assert added.stdout == f"key {id} at kraken is registered; it may read, send, trade\n", added.stderr
    shown = f"{id:>4}  kraken  {kraken.key[:3]}…  read,send,trade  (sends allowed)"
    assert key(server, ann, "list").stdout == f"{shown}  main\n"
    assert key(server, ann, "check", id).stdout == f"key {id} at kraken works; it may read, send, trade\n"
    assert key(server, ann, "rename", id, "other").stdout == f"key {id} is called 'other'\n"
    assert "is switched off" in key(server, ann, "disable", id).stdout
    assert key(server, ann, "list").stdout == f"{shown}  (switched off)  other\n"
    assert key(server, ann, "enable", id).stdout == f"key {id} is switched on\n"
    for _ in range(2):
        assert key(server, ann, "remove", id).stdout == f"key {id} is removed; delete it at the exchange, too\n"
    assert key(server, ann, "list").stdout == ""


def test_a_key_is_replaced_by_one_of_the_same_account_and_of_another_only_on_purpose(server, kraken, ann):
    id = server.registration(ann, "kraken", apikey=kraken.key, apisecret=kraken.secret)
    kraken.accounts["another-key"] = kraken.account
    kraken.add_account("key-of-another", kraken.secret)
    replaced = key(server, ann, "replace", id, secrets=("another-key", kraken.secret))
    assert replaced.stdout == f"key {id} at kraken is replaced; it may read, send, trade\n", replaced.stderr
    secrets = ("key-of-another", kraken.secret)
    one_line(key(server, ann, "replace", id, secrets=secrets), "of another account")
    assert key(server, ann, "replace", id, "--other-account", secrets=secrets).returncode == 0


def test_what_an_exchange_wants_and_is_no_secret_is_a_field(server, kraken, ann):
    bitstamp = server.bitstamp
    keys = (bitstamp.key, bitstamp.secret)
    added = key(server, ann, "add", "bitstamp", secrets=keys)
    assert added.stdout.endswith("its exchange does not say what it may do\n"), added.stderr
    id = registrations(server, ann)[0]["id"]
    assert key(server, ann, "check", id).stdout.startswith(f"key {id} at bitstamp works")
    one_line(key(server, ann, "add", "bitstamp", "--field", "apisecret=x", secrets=keys), "--field apisecret", "secret")


def test_what_goes_wrong_is_one_line(server, kraken, ann):
    keys = (kraken.key, kraken.secret)
    one_line(key(server, ann, "add", "kraken", secrets=keys), "may withdraw", "allow_send=true")
    one_line(key(server, ann, "add", "krakn", secrets=keys), "does not offer 'krakn'", "kraken")
    one_line(key(server, ann, "add", "kraken", secrets=(kraken.key,)), "there is none; nothing was sent")
    one_line(key(server, ann, "check", 10**6), "no such exchange registration")
    one_line(key(server, (ann[0], "mistaken"), "list"), "user name or password")
    one_line(
        xwrap("key", "list", "--account", "ann", "--server", "http://127.0.0.1:9", "--password-stdin", stdin="x\n")
    )
    one_line(xwrap("key", "list", "--account", "ann", "--password-stdin"), "Password of ann: there is none")


def test_a_registration_with_an_open_order_is_removed_only_by_force(server, ann):
    id = server.registration(ann)
    order = {"currency": "USD", "asset": "BTC", "amount": "0.1", "price": "1000"}
    requests.post(f"{server.url}/exchanges/{id}/buy", data=order, auth=ann, timeout=30).raise_for_status()
    one_line(key(server, ann, "remove", id), "was not deleted", "1 open")
    assert key(server, ann, "remove", id, "--force").returncode == 0


def test_on_a_terminal_secrets_are_asked_for_in_the_order_of_the_form_and_not_shown(server, kraken, ann):
    arguments = ("key", "add", "kraken", "--allow-send", "--account", ann[0], "--server", server.url)
    process, terminal = pty.fork()
    if process == 0:
        os.execve(XWRAP[0], [*XWRAP, *arguments], ENVIRON)
    screen, answers = b"", [ann[1], kraken.key, kraken.secret]
    with os.fdopen(terminal, "r+b", buffering=0) as file, suppress(OSError):
        while chunk := file.read(1024):
            screen += chunk
            # getpass has switched the echo off when it has written its question.
            if answers and screen.endswith(b": "):
                file.write(answers.pop(0).encode() + b"\n")
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, screen
    lines = screen.decode().splitlines()
    assert [line.partition(" (")[0] for line in lines[:3]] == [
        f"Password of {ann[0]}: ",
        "kraken's apikey",
        "kraken's apisecret",
    ]
    assert lines[-1].endswith("it may read, send, trade")
    for secret in (ann[1], kraken.key, kraken.secret):
        assert secret not in screen.decode()


def test_without_a_terminal_nothing_is_asked_for_that_would_be_shown(server, ann):
    arguments = [*XWRAP, "key", "list", "--account", ann[0], "--server", server.url]
    options = {"capture_output": True, "text": True, "timeout": 60, "start_new_session": True}
    one_line(subprocess.run(arguments, input=f"{ann[1]}\n", env=ENVIRON, check=False, **options), "--password-stdin")


def test_no_secret_is_an_argument():
    help_texts = [xwrap("key", name, "--help").stdout for name in ("add", "replace")]
    for text in help_texts:
        assert "--password-stdin" in text
        assert not [word for word in ("--secret", "--apikey", "--apisecret", "--password ") if word in text]
