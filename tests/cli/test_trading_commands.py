"""`xwrap buy`, `sell`, `orders`, `cancel`, `send` and their kin, against a running server."""

from __future__ import annotations

import json

import pytest

from bitmm.xwrap.client import XWrap
from tests.support.client_servers import says
from tests.support.command import one_line
from tests.support.raw_server import raw_server
from tests.support.shell import Shell

BUY = ("buy", "paper", "BTC", "0.01", "--for", "USD")
WALLET = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
REGISTRATION = {"id": 7, "account": 1, "exchange": "paper", "username": "", "label": "", "enabled": True}


def orders(ann, status="all"):
    return ann.backend.orders(status)


def fields(result):
    """The fields of a record that was printed into a pipe."""
    assert result.returncode == 0, result.stderr
    return dict(line.split("\t") for line in result.stdout.splitlines())


def test_a_buy_prints_its_key_before_and_the_order_after_and_a_repeat_buys_nothing(ann):
    first = ann.run(*BUY, "--yes", "--key", "monday-1", "--json")
    assert (first.returncode, first.stderr) == (0, "key: monday-1\n")
    order = json.loads(first.stdout)
    assert (order["filled"], order["status"], order["price"]) == ("0.01", "filled", None)
    assert ann.run(*BUY, "--yes", "--key", "monday-1", "--json").stdout == first.stdout
    assert ann.run("order", "paper", "--key", "monday-1", "--json").stdout == first.stdout
    assert [each["key"] for each in orders(ann)] == ["monday-1"]


def test_every_order_has_a_key_of_its_own(ann):
    keys = {ann.run(*BUY, "--yes").stderr for _ in range(2)}
    assert keys == {f"key: {each['key']}\n" for each in orders(ann)}
    assert len(keys) == 2


def test_without_a_terminal_nothing_is_sent_unless_yes_is_said(ann):
    for command in (BUY, ("sell", *BUY[1:]), ("send", "paper", "BTC", "0.01", WALLET)):
        result = ann.run(*command, stdin="y\n")
        assert (result.returncode, "add --yes" in result.stderr) == (2, True)
    assert ann.backend.orders() == ann.backend.withdrawals() == []


def test_on_a_terminal_an_order_is_estimated_and_asked_for(ann):
    code, screen = ann.on_terminal(*BUY, answers={"[y/N] ": "n\n"})
    assert code == 1
    assert "buy 0.01 BTC for USD, at paper (" in screen
    assert "remaining" in screen
    assert screen.endswith("xwrap: nothing was sent\n")
    assert "key: " not in screen
    assert orders(ann) == []
    code, screen = ann.on_terminal(*BUY, "--price", "20000", "--key", "k", answers={"[y/N] ": "y\n"})
    assert code == 0, screen
    assert "at 20000 or better" in screen
    assert screen.index("[y/N]") < screen.index("key: k") < screen.index("status")
    assert [each["status"] for each in orders(ann)] == ["open"]
    # It is placed already: there is nothing to ask about.
    code, screen = ann.on_terminal(*BUY, "--price", "20000", "--key", "k")
    assert (code, "[y/N]" in screen) == (0, False)
    assert len(orders(ann)) == 1


def test_a_dry_run_sends_nothing(ann):
    estimate = json.loads(ann.run(*BUY, "--dry-run", "--json").stdout)
    assert (estimate["dry_run"], estimate["amount"], estimate["id"]) == (True, "0.01", None)
    assert orders(ann) == []


def test_the_conditions_of_an_order_are_those_that_were_given(ann):
    waits = fields(ann.run(*BUY, "--price", "20000", "--post-only", "--yes"))
    assert (waits["price"], waits["post_only"], waits["status"]) == ("20000", "yes", "open")
    stopped = fields(ann.run("sell", *BUY[1:], "--stop", "20000", "--yes"))
    assert (stopped["stop"], stopped["side"], stopped["status"]) == ("20000", "sell", "open")
    spent = fields(ann.run("buy", "paper", "BTC", "--for", "USD", "--cost", "100", "--yes"))
    assert (spent["cost"], spent["status"]) == ("100", "filled")


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (("buy", "paper", "BTC", "1000", "--for", "USD", "--yes"), 1, "not enough USD"),
        (("buy", "paper", "BTC", "0,1", "--for", "USD", "--yes"), 1, 'write "0.1"'),
        (("buy", "paper", "BTX", "1", "--for", "USD", "--yes"), 1, "trades BTC for USD"),
        (("buy", "paper", "BTC", "--for", "USD", "--yes"), 2, "--cost"),
        (("buy", "paper", "BTC", "1", "--yes"), 2, "--for"),
        (("order", "paper"), 2, "--key"),
        (("order", "paper", "1", "--key", "k"), 2, "one of them"),
        (("order", "paper", "999"), 1, "no order 999"),
        (("order", "paper", "--key", "k"), 1, "nothing was executed with this key"),
        (("sends", "--key", "k"), 2, "--backend"),
        (("sends", "--backend", "paper", "--key", "k"), 1, "nothing was executed with this key"),
        (("orders", "--status", "opne"), 2, "open"),
        (("best", "buy", "USD", "BTC"), 2, "--cost 100"),
        (("rates", "USD", "BTX"), 1, "in USD there are BTC"),
        (("rats", "USD", "BTC"), 2, "Did you mean 'rates'?"),
        (("rates", "USD", "BTC", "--jsn"), 2, "--json"),
    ],
)
def test_what_is_refused_or_mistyped_has_its_exit_code_and_its_words(reader, command, code, words):
    result = reader.run(*command)
    assert (result.returncode, words in result.stderr, result.stdout) == (code, True, ""), result.stderr
    if code == 1:
        assert result.stderr.splitlines()[-1].startswith("xwrap: ")
    assert [each["status"] for each in orders(reader) if each["status"] != "rejected"] == []


def test_orders_are_listed_shown_and_canceled_by_number_or_key(ann):
    for key in ("a", "b", "c"):
        ann.run(*BUY, "--price", "20000", "--yes", "--key", key)
    listed = [line.split("\t") for line in ann.run("orders").stdout.splitlines()]
    ids = [each["id"] for each in orders(ann)]
    assert [(int(row[0]), int(row[1]), row[8]) for row in listed] == [(ann.backend.id, id, "open") for id in ids]
    assert ann.run("orders", "--backend", "paper", "--limit", "1").stdout.count("\n") == 1
    rows = json.loads(ann.run("orders", "--json").stdout)
    assert [(row["backend"], row["price"]) for row in rows] == [(ann.backend.id, "20000")] * 3
    assert fields(ann.run("cancel", "paper", ids[0]))["status"] == "canceled"
    assert fields(ann.run("cancel", "paper", "--key", "b"))["status"] == "canceled"
    assert fields(ann.run("order", "paper", ids[1]))["status"] == "canceled"
    assert ann.run("cancel-all", "paper").stdout == "1\n"
    assert ann.run("cancel-all", "paper", "--json").stdout == "0\n"
    assert ann.run("orders").stdout == ""
    assert ann.run("orders", "--status", "closed").stdout.count("\tcanceled\t") == 3


def test_a_send_asks_and_is_listed_and_found_by_its_key(ann):
    send = ("send", "paper", "BTC", "0.1", WALLET)
    code, screen = ann.on_terminal(*send, answers={"[y/N] ": "\n"})
    assert (code, f"send 0.1 BTC to {WALLET}, from paper (" in screen) == (1, True)
    sent = ann.run(*send, "--yes", "--key", "s")
    assert sent.stderr == "key: s\n"
    assert (fields(sent)["status"], fields(sent)["amount"]) == ("done", "0.1")
    assert ann.run(*send, "--yes", "--key", "s").stdout == sent.stdout
    assert ann.run("sends", "--backend", "paper", "--key", "s").stdout == sent.stdout
    assert [row["key"] for row in json.loads(ann.run("sends", "--json").stdout)] == ["s"]
    assert ann.run("sends").stdout.count(WALLET) == 1
    shown = ann.run("address", "show", "paper", "BTC")
    assert fields(shown)["address"] == ann.backend.get_address()
    assert ann.run("address", "paper", "BTC").stdout == shown.stdout
    assert "Did you mean 'list'?" in ann.run("address", "lst").stderr


def test_a_registration_is_named_by_its_number_its_label_or_its_exchange(ann):
    id = ann.backend.id
    for name in (str(id), "play money", "paper", "PAPER"):
        assert ann.run("balance", "--backend", name).stdout.count("paper") == 2
    second = XWrap(ann.url).create_backend(*ann.auth, "paper", "", "", "", label="second")
    one_line(ann.run("markets", "paper"), f"{id} (paper, play money), {second.id} (paper, second)", "by its number")
    second.disable()
    assert ann.run("markets", "paper").returncode == 0
    one_line(
        ann.run("markets", "secnd"), "'secnd' (did you mean 'second'?)", f"{second.id} (paper, second, switched off)"
    )
    assert ann.run("markets", "second").returncode == 0


def test_without_a_registration_the_way_to_one_is_named(stranger):
    stranger.log_in()
    one_line(stranger.run("markets", "paper"), "xwrap key add EXCHANGE")


def unsure(connection):
    """A server with one registration, which never says what became of an order."""
    if connection.request.method == "GET":
        says([REGISTRATION])(connection)
    else:
        connection.reset()


UNKNOWN = says(
    {"detail": "not known yet", "code": "outcome_unknown", "may_have_executed": True, "retryable": False},
    "504 Gateway Timeout",
)


def environ_of(server):
    return {"XWRAP_URL": server.url, "XWRAP_USER": "ann", "XWRAP_PASSWORD": "secret"}


@pytest.mark.parametrize(
    ("command", "asking"),
    [
        ((*BUY, "--yes", "--key", "a key"), "xwrap order 7 --key 'a key'"),
        (("send", "paper", "BTC", "1", WALLET, "--yes", "--key", "k"), "xwrap sends --backend 7 --key k"),
        (("order", "paper", "--key", "k"), ""),
        (("sends", "--backend", "paper", "--key", "k"), ""),
        (("cancel", "paper", "3"), "cancel it again"),
        (("cancel-all", "paper"), "cancel them again"),
    ],
)
def test_an_outcome_that_is_not_known_is_exit_3_and_says_how_to_ask(tmp_path, command, asking):
    with raw_server(unsure, key_lookup=UNKNOWN) as server:
        result = Shell(tmp_path).run(*command, **environ_of(server))
    assert (result.returncode, result.stdout) == (3, ""), result.stderr
    assert asking in result.stderr.splitlines()[-1]


def test_ctrl_c_while_an_order_is_on_its_way_says_how_to_ask_for_it(tmp_path):
    with raw_server(lambda conn: conn.wait() if conn.request.method == "POST" else unsure(conn)) as server:
        # Ctrl-C is typed when the key stands on the screen, so the order is on its way or just before.
        answers = {"key: k\r\n": "\x03"}
        code, screen = Shell(tmp_path).on_terminal(*BUY, "--yes", "--key", "k", answers=answers, **environ_of(server))
    assert code == 130
    assert screen.endswith("it may have been executed; ask for it: xwrap order 7 --key k\n")


def test_ctrl_c_at_the_question_sends_nothing(ann):
    code, screen = ann.on_terminal(*BUY, answers={"[y/N] ": "\x03"})
    assert (code, "Traceback" in screen, orders(ann)) == (130, False, [])
