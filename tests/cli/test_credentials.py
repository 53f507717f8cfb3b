"""`xwrap credential` and `xwrap address`, run as a person runs them, against a running server."""

from __future__ import annotations

import pytest
import requests

from tests.support.command import one_line, xwrap

ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"


@pytest.fixture
def command(server, auth):
    """Run a command as the account."""

    def run(*args):
        where = ("--account", auth[0], "--server", server.url, "--password-stdin")
        result = xwrap(*args, *where, stdin=f"{auth[1]}\n")
        assert auth[1] not in result.stdout + result.stderr
        return result

    return run


def test_a_credential_is_made_listed_and_revoked(server, auth, command):
    id = server.registration(auth)
    limits = ("--pair", "BTC/USD", "--per-order", "10", "--per-day", "25.50", "--currency", "USD")
    made = command("credential", "add", "bot1", "--scope", "trade", "--exchange", id, *limits)
    username, password = made.stdout.split()
    assert username == f"{auth[0]}/bot1"

    def buy(cost):
        form = {"currency": "USD", "asset": "BTC", "cost": cost}
        url = f"{server.url}/exchanges/{id}/buy"
        return requests.post(url, data=form, auth=(username, password), timeout=30).status_code

    assert (buy("10"), buy("10.01")) == (200, 403)
    line = f"bot1  trade  key {id}, BTC/USD, 10 USD an order, 25.50 USD in 24 hours, last used "
    listed = command("credential", "list").stdout
    assert listed.startswith(line), listed
    assert password not in listed
    for _ in range(2):
        assert command("credential", "revoke", "bot1").stdout == "credential 'bot1' is revoked\n"
    assert buy("1") == 401
    assert command("credential", "list").stdout == ""
    one_line(command("credential", "add", "bot2", "--scope", "everything"), "scope")


def test_an_address_is_added_listed_and_removed(command):
    added = command("address", "add", "BTC", ADDRESS, "--label", "wallet", "--per-send", "0.5", "--per-day", "1")
    assert f"BTC to {ADDRESS}, from " in added.stdout, added.stderr
    assert added.stdout.endswith(" on, at most 0.5 a send, at most 1 in 24 hours  wallet\n")
    assert command("address", "list").stdout == added.stdout
    id = added.stdout.split()[0]
    for _ in range(2):
        assert command("address", "remove", id).stdout == f"address {id} is removed\n"
    assert command("address", "list").stdout == ""
    one_line(command("address", "add", "BTC", f"{ADDRESS[:-1]}q"), "address")
