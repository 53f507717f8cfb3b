"""`xwrap demo`: the first thing that a newcomer sees."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from tests.support.command import BARE

pytest.importorskip("typer", reason="the command is not installed")

DEMO = [sys.executable, "-m", "bitmm.xwrap", "demo"]


def test_the_demo_trades_and_adds_up_and_is_plain_in_a_pipe():
    result = subprocess.run(DEMO, capture_output=True, text=True, env=BARE, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert "\x1b" not in result.stdout
    for call in (
        "list_exchanges",
        "exchange_rates",
        "list_backends",
        "balance",
        "buy",
        "sell",
        "send_to_address",
        "get_address",
    ):
        assert re.search(rf"^>>> .*\.{call}\(", result.stdout, re.MULTILINE), call
    assert result.stdout.count("  yes") == 10
    assert result.stderr == ""


def test_the_demo_fails_when_a_balance_does_not_add_up():
    crooked = (
        "from decimal import Decimal; from bitmm.xwrap import demo; from bitmm.xwrap.exchanges.paper import Paper; "
        "real = Paper.balance; "
        "Paper.balance = lambda self: {name: amount * Decimal('1.00000001') for name, amount in real(self).items()}; "
        "demo.run(stay=False)"
    )
    command = [sys.executable, "-c", crooked]
    result = subprocess.run(command, capture_output=True, text=True, env=BARE, timeout=60, check=False)
    assert result.returncode == 1
    assert "but it should be" in result.stdout


def test_the_demo_can_leave_its_server_running_with_a_line_for_the_repl():
    with subprocess.Popen([*DEMO, "--serve"], stdout=subprocess.PIPE, text=True, env=BARE) as process:
        try:
            for line in process.stdout:
                if line.startswith("from bitmm"):
                    break
            program = f"{line.strip()}; print(backend.balance()['BTC'])"
            command = [sys.executable, "-c", program]
            result = subprocess.run(command, capture_output=True, text=True, env=BARE, timeout=60, check=False)
            assert result.stdout == "1.04\n", result.stderr
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0
