"""What the client's commands print: tables, fields between tabs, JSON; and where that goes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from decimal import Decimal

import pytest

from bitmm.xwrap.client import XWrap
from tests.support.client_servers import says
from tests.support.command import BARE, XWRAP, one_line
from tests.support.raw_server import raw_server
from tests.support.shell import Shell

PAIR = ("USD", "BTC")


@pytest.fixture(scope="module")
def trader(reader):
    """A person with some history at paper, who only reads from now on."""
    reader.xwrap = XWrap(reader.url)
    reader.backend.buy(*PAIR, "0.1")
    reader.backend.sell(*PAIR, "0.05")
    reader.backend.send_to_address("BTC", "0.01", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx")
    return reader


def as_text(value):
    """What the client returned, with amounts as the text that JSON has."""
    return json.loads(json.dumps(value, default=lambda amount: format(amount, "f")))


def same_but_for_time(one, other):
    """Prices and times of two calls may differ by the seconds between them."""
    return re.sub(r'"[\d.:TZ-]+"', '""', json.dumps(one)) == re.sub(r'"[\d.:TZ-]+"', '""', json.dumps(other))


CALLS = {
    ("rates", *PAIR): lambda one: one.xwrap.exchange_rates(*PAIR),
    ("balance",): lambda one: one.xwrap.balance(*one.auth),
    ("value", "USD"): lambda one: one.xwrap.value("USD", *one.auth),
    ("best", "buy", *PAIR, "0.5"): lambda one: one.xwrap.best(*PAIR, *one.auth, side="buy", amount="0.5"),
    ("best", "buy", *PAIR, "--cost", "50"): lambda one: one.xwrap.best(*PAIR, *one.auth, side="buy", cost="50"),
    ("markets", "paper"): lambda one: one.backend.markets(),
    ("book", "paper", *PAIR, "--depth", "1"): lambda one: one.backend.order_book(*PAIR, depth=1),
    ("candles", "paper", *PAIR, "--limit", "3"): lambda one: one.backend.candles(*PAIR, limit=3),
    ("fees", "paper", *PAIR): lambda one: one.backend.fees(*PAIR),
    ("fills", "paper", *PAIR): lambda one: one.backend.fills(*PAIR),
    ("fills", "paper", *PAIR, "--all"): lambda one: list(one.backend.all_fills(*PAIR)),
    ("orders", "--status", "all"): lambda one: [{"backend": one.backend.id, **row} for row in one.backend.orders()],
    ("sends",): lambda one: [{"backend": one.backend.id, **row} for row in one.backend.withdrawals()],
}


@pytest.mark.parametrize("command", CALLS, ids=" ".join)
def test_json_is_what_the_client_returns_and_a_pipe_gets_fields_between_tabs(trader, command):
    document = json.loads(trader.run(*command, "--json").stdout)
    assert same_but_for_time(document, as_text(CALLS[command](trader)))
    lines = trader.run(*command).stdout.splitlines()
    assert lines
    assert len({line.count("\t") for line in lines}) == 1
    assert "1E-8" not in "".join(lines)


def test_amounts_stand_below_each_other_at_their_points_and_none_is_rounded(trader):
    code, screen = trader.on_terminal("balance")
    assert code == 0
    head, *lines = re.sub(r"\x1b\[[\d;]*m", "", screen).splitlines()
    assert head.split() == ["id", "exchange", "asset", "amount"]
    assert {line.rindex(".") for line in lines} == {lines[0].rindex(".")}
    shown = {line.split()[2]: Decimal(line.split()[3]) for line in lines}
    assert shown == trader.backend.balance()


def test_a_table_that_is_wider_than_the_terminal_is_one_field_a_line_and_whole(trader):
    _, screen = trader.on_terminal("orders", "--status", "all", columns=40)
    plain = re.sub(r"\x1b\[[\d;]*m", "", screen)
    assert "…" not in plain
    assert plain.count("\ncreated   20") == 2
    assert "amount    0.05\n" in plain


def test_colours_go_away_with_no_color(trader):
    _, screen = trader.on_terminal("balance", NO_COLOR="1", TERM="dumb")
    assert "\x1b" not in screen


def in_shell(shell, command):
    """Run a line of bash; the exit code of its first command, and what was printed."""
    line = command.replace("xwrap", shlex.join(XWRAP)) + "; exit ${PIPESTATUS[0]}"
    environ = BARE | {"HOME": str(shell.home)}
    return subprocess.run(["bash", "-c", line], env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_a_reader_that_goes_away_ends_the_command_without_noise(trader):
    reader, writer = os.pipe()
    os.close(reader)
    for args in (("profiles", "--json"), ("export",)):
        environ = BARE | {"HOME": str(trader.home)}
        result = subprocess.run(
            [*XWRAP, *args], env=environ, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False
        )
        assert (result.returncode, result.stderr) == (141, b"")
    os.close(writer)


@pytest.mark.parametrize("command", ["rates USD BTC", "export", "--help"])
def test_a_full_disk_is_one_line(trader, command):
    one_line(in_shell(trader, f"xwrap {command} > /dev/full"), "the output cannot be written: No space left on device")


def test_an_order_that_cannot_be_printed_is_not_called_a_failure(trader):
    buy = "xwrap buy paper BTC 0.001 --for USD --price 1 --yes --key unseen > /dev/full"
    result = in_shell(trader, buy)
    assert result.returncode == 3
    assert result.stderr.endswith(f"the order was sent; ask for it: xwrap order {trader.backend.id} --key unseen\n")
    trader.backend.cancel_all()


def test_what_a_server_or_a_label_says_cannot_act_on_the_terminal(tmp_path):
    evil = "x\x1b]0;owned\x07\n\u202eabc"
    row = {"id": 7, "account": 1, "exchange": "paper", "username": "", "label": evil, "enabled": True, "apikey": ""}
    environ = {"XWRAP_USER": "ann", "XWRAP_PASSWORD": "x"}
    with raw_server(says([row, {**row, "id": 8}])) as server:
        listed = Shell(tmp_path).run("key", "list", **environ, XWRAP_URL=server.url)
        several = Shell(tmp_path).run("markets", "paper", **environ, XWRAP_URL=server.url)
    with raw_server(says({"detail": evil, "code": "exchange_refused"}, "422 Unprocessable")) as server:
        failed = Shell(tmp_path).run("balance", **environ, XWRAP_URL=server.url)
    for text in (listed.stdout, several.stderr, failed.stderr):
        assert "x\\x1b]0;owned\\x07\\n\\u202eabc" in text
        assert "\x1b" not in text
    one_line(failed)


def test_where_one_exchange_fails_the_others_are_printed_and_the_exit_code_says_so(tmp_path):
    rows = [
        {"id": 1, "exchange": "paper", "balance": {"BTC": "1"}},
        {"id": 2, "exchange": "kraken", "balance": {}, "error": "it is asleep"},
    ]
    with raw_server(says(rows)) as server:
        environ = {"XWRAP_URL": server.url, "XWRAP_USER": "ann", "XWRAP_PASSWORD": "x"}
        result = Shell(tmp_path).run("balance", **environ)
    assert result.stdout == "1\tpaper\tBTC\t1\n"
    one_line(result, "kraken (2): it is asleep")
