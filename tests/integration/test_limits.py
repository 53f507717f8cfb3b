"""A server whose system gives it no more threads: it does not start, or it says what is true of every order."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import APIError, Backend, OutcomeUnknown, XWrap
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.command import ENVIRON, XWRAP, one_line, xwrap

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux")

MIB = 1 << 20
ACCOUNT = "ann", "correct horse battery"


def test_a_server_that_does_not_get_all_its_threads_does_not_start(tmp_path):
    def limit_memory() -> None:
        # Root may have any number of threads, but each one wants address space for its stack.
        resource.setrlimit(resource.RLIMIT_STACK, (8 * MIB, 8 * MIB))
        resource.setrlimit(resource.RLIMIT_AS, (1500 * MIB, 1500 * MIB))

    command = [*XWRAP, "serve", "--port", "0", "--data", str(tmp_path)]
    result = subprocess.run(
        command, preexec_fn=limit_memory, capture_output=True, text=True, env=ENVIRON, timeout=60, check=False
    )
    one_line(result, "threads", "ulimit -u")
    assert "serves at" not in result.stdout


SERVER = """
import pathlib, sys
from bitmm.xwrap.server import runner
from bitmm.xwrap.server.settings import Settings

data, url = pathlib.Path(sys.argv[1]), sys.argv[2]
kraken = {"exchanges": ("kraken",), "exchange_urls": {"kraken": url}, "exchange_limits": {"kraken": None}}
settings = Settings.read({}, data=data, port=0, exchange_seconds=0.3, call_seconds=1.0, queue_seconds=0.5, **kraken)
runner.run(settings, lambda line: print(line, flush=True))
"""


def test_a_server_that_gets_no_more_threads_calls_no_executed_order_a_failure(tmp_path):
    """Each new connection to an exchange wants a thread, which looks the exchange's name up."""
    xwrap("account", "add", ACCOUNT[0], "--password-stdin", "--data", tmp_path, stdin=ACCOUNT[1])
    with KrakenVenue() as venue:
        command = [sys.executable, "-c", SERVER, str(tmp_path), venue.url]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, text=True, env=ENVIRON, **pipes) as server:
            try:
                url = next(line for line in server.stdout if "serves at" in line).split()[-1]
                outcomes = orders_without_threads(venue, url, server.pid)
            finally:
                server.kill()
        executed = [Decimal(row["amount"]) for row in venue.ledger()]
    assert any(isinstance(error, OutcomeUnknown) for _, error in outcomes)
    assert is_without_threads(outcomes)
    for amount, error in outcomes:
        if error is None or not error.may_have_executed:
            assert executed.count(amount) == (error is None), error
    assert len(executed) == len(set(executed))


def orders_without_threads(venue: KrakenVenue, url: str, pid: int) -> list[tuple[Decimal, APIError | None]]:
    """The amounts of orders that are placed while the server cannot start a thread, and what their calls raised."""
    backend = XWrap(url).create_backend(*ACCOUNT, "kraken", "", venue.key, venue.secret, allow_send=True)
    backend.buy("EUR", "BTC", "0.01")
    [size] = re.findall(r"VmSize:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    resource.prlimit(pid, resource.RLIMIT_AS, (int(size) * 512, resource.RLIM_INFINITY))  # the half of it
    # Executed, and the connection is lost with the answer: the next order needs a new one.
    venue.fault("reset_after", path="AddOrder")

    def buy(number: int) -> tuple[Decimal, APIError | None]:
        amount = Decimal("0.01") + Decimal("0.00000001") * number
        try:
            Backend(backend.id, *ACCOUNT, url, timeout=10).buy("EUR", "BTC", amount)
        except APIError as error:
            return amount, error
        return amount, None

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(buy, range(1, 13)))
    # On a slow machine all of those that came after it may have waited in its queue for too long.
    for number in range(13, 100):
        if is_without_threads(outcomes):
            break
        outcomes.append(buy(number))
    return outcomes


def is_without_threads(outcomes: list[tuple[Decimal, APIError | None]]) -> bool:
    return any(error is not None and "cannot be reached" in str(error) for _, error in outcomes)
