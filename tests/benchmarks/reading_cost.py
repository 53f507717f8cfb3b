"""What a reader must read to follow one order: the calls of our functions, the files they are in, and how deep they go.

    python -m tests.benchmarks.reading_cost [--trace]

A warm `Backend.buy` is followed through client and server, which run in this process, in every thread: on paper, and on
the local Kraken. Counted are the calls of functions in bitmm/xwrap/ without testing/; comprehensions and every step of
a generator count, for a reader follows them, too. The depth is the largest number of our functions on the stack of a
thread that sends an INSERT to SQLite: the intent of an order, or the entries of the paper account. Of several orders
the one with the fewest calls counts: what runs on a timer or only once is not a part of it.

`--trace` prints the calls, indented by depth, thread after thread.
"""

from __future__ import annotations

import argparse
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NamedTuple
from unittest.mock import patch

import bitmm.xwrap
from bitmm.xwrap.client import Backend, XWrap
from bitmm.xwrap.server.runner import run_in_background
from bitmm.xwrap.server.settings import Settings
from bitmm.xwrap.testing.exchanges import kraken as local_kraken

PACKAGE = str(Path(bitmm.xwrap.__file__).parent) + "/"
PASSWORD = "a password for the benchmark"
ORDERS = 7


class Call(NamedTuple):
    """One call of one of our functions."""

    thread: str
    depth: int
    file: str
    line: int
    function: str


@dataclass
class Order:
    """What was called for one order, and how deep the stack was at its INSERTs."""

    calls: list[Call] = field(default_factory=list)
    insert_depths: list[int] = field(default_factory=list)

    def summary(self) -> str:
        files = {call.file for call in self.calls}
        return f"{len(self.calls):6}{len(set(self.calls)):10}{len(files):7}{max(self.insert_depths):16}"


class Recorder:
    """Records, while there is a current order, what every thread calls. To be installed before the threads start."""

    def __init__(self) -> None:
        self.order: Order | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        try:
            with patch("sqlite3.dbapi2.connect", self._connect):
                yield
        finally:
            threading.setprofile(None)
            sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, _argument: object) -> None:
        order, code = self.order, frame.f_code
        if order is not None and event == "call" and is_ours(frame):
            file = code.co_filename.removeprefix(PACKAGE)
            name = threading.current_thread().name
            order.calls.append(Call(name, depth(frame), file, code.co_firstlineno, code.co_qualname))

    def _connect(self, *args: object, **options: object) -> sqlite3.Connection:
        connection = sqlite3.connect(*args, **options)
        connection.set_trace_callback(self._statement)
        return connection

    def _statement(self, sql: str) -> None:
        """Called by SQLite in the thread, and within the call, that sends this statement."""
        if self.order is not None and sql.lstrip().startswith("INSERT"):
            self.order.insert_depths.append(depth(sys._getframe()))


def is_ours(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return file.startswith(PACKAGE) and not file.startswith(PACKAGE + "testing/")


def depth(frame: FrameType | None) -> int:
    """The number of our functions on the stack that ends with this frame."""
    count = 0
    while frame is not None:
        count += is_ours(frame)
        frame = frame.f_back
    return count


@contextmanager
def paper() -> Iterator[tuple[dict[str, object], tuple[str, str, str], tuple[str, str, str]]]:
    """The server's settings, the exchange key to register (username, key, secret), and the order."""
    yield {"exchanges": ("paper",)}, ("", "", ""), ("USD", "BTC", "0.01")


@contextmanager
def kraken() -> Iterator[tuple[dict[str, object], tuple[str, str, str], tuple[str, str, str]]]:
    """The same on a local Kraken."""
    with local_kraken.VENUE() as exchange:
        settings = {"exchanges": ("kraken",), "exchange_urls": {"kraken": exchange.url}}
        yield settings, ("1234", exchange.key, exchange.secret), ("EUR", "BTC", "0.01")


def measure(exchange: str) -> Order:
    """The order with the fewest calls."""
    setting = {"paper": paper, "kraken": kraken}[exchange]
    with tempfile.TemporaryDirectory() as folder, setting() as (settings, key, order):
        add = [sys.executable, "-m", "bitmm.xwrap", "account", "add", "ann", "--password-stdin", "--data", folder]
        subprocess.run(add, input=PASSWORD, text=True, check=True, stdout=subprocess.DEVNULL)
        recorder = Recorder()
        with recorder.installed(), run_in_background(Settings.read({}, data=Path(folder), port=0, **settings)) as url:
            backend = XWrap(url).create_backend("ann", PASSWORD, exchange, *key, allow_send=True)
            backend.buy(*order)
            orders = [record(recorder, backend, order) for _ in range(ORDERS)]
    return min(orders, key=lambda order: len(order.calls))


def record(recorder: Recorder, backend: Backend, order: tuple[str, str, str]) -> Order:
    recorder.order = recorded = Order()
    try:
        result = backend.buy(*order)
    finally:
        recorder.order = None
    assert result["status"] == "filled", result
    return recorded


def main() -> None:
    parser = argparse.ArgumentParser(description="what a reader must read to follow one order")
    parser.add_argument("--trace", action="store_true", help="print the calls, too")
    options = parser.parse_args()
    print(f"{'one buy on':14}{'calls':>6}{'functions':>10}{'files':>7}{'depth at INSERT':>16}")
    for exchange in ("paper", "kraken"):
        order = measure(exchange)
        print(f"{exchange:14}{order.summary()}")
        if options.trace:
            print_calls(order)


def print_calls(order: Order) -> None:
    for thread in dict.fromkeys(call.thread for call in order.calls):
        print(f"  {thread}")
        for call in order.calls:
            if call.thread == thread:
                print(f"  {'  ' * call.depth}{call.file}:{call.line} {call.function}")


if __name__ == "__main__":
    main()
