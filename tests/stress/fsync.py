"""Shows by strace that each order's intent is on the disk before the exchange hears of the order.

    python -m tests.stress.fsync [--orders 1000] [--threads 8]

Traced is the server, from outside. For each order that the local Kraken got: the write that brings its client order id
into the data base's write-ahead log, then an fsync (or fdatasync) of that log that began after it and was over before
the first byte of the request was sent. It prints how many orders of how many, and exits with 1 unless all.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.stress.harness import EXCHANGE_CASES, ledger, open_harness

CALLS = "fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg"
#: `PID CALL(FD<WHAT>, ...`, whole or broken off where another thread's call comes between.
BEGUN = re.compile(r"(?P<thread>\d+) +(?P<call>\w+)\((?P<fd>\d+)<(?P<what>.*?)>[,)<]?(?P<rest>.*)")
RESUMED = re.compile(r"(?P<thread>\d+) +<\.\.\. (?P<call>\w+) resumed>")
CLIENT_ID = re.compile(r"cl_ord_id=([0-9a-f]{32})")
WAL = ".sqlite3-wal"


@dataclass
class Figures:
    """What a run found."""

    orders: int = 0
    synced: int = 0
    syncs: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return 0 < self.orders == self.synced and not self.wrong

    def __str__(self) -> str:
        return "\n".join(
            [
                (
                    f"the intent's fsync came before the first byte to the exchange: {self.synced} of {self.orders} "
                    f"orders ({self.syncs} fsyncs of the log, {self.seconds:.0f} s)"
                ),
                *self.wrong[:20],
            ]
        )


def reason_to_skip() -> str | None:
    """Return why this cannot run here, or None when it can."""
    if not shutil.which("strace"):
        return "strace is not installed"
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return f"strace is not allowed to trace here: {tried.stderr.strip()[:200]}" if tried.returncode else None


@dataclass
class Sync:
    """One fsync of the log: which thread's, and where in the trace it began and ended."""

    thread: str
    began: int
    ended: int | None = None


def examine(lines: Iterator[str], figures: Figures) -> set[str]:
    """Read a trace, and return the client ids of the orders whose intent was on the disk in time."""
    written: dict[str, tuple[int, str]] = {}
    syncs: list[Sync] = []
    running: dict[str, Sync] = {}
    first_byte: dict[str, int] = {}
    good: set[str] = set()
    for at, line in enumerate(lines):
        if (resumed := RESUMED.match(line)) and resumed["thread"] in running:
            running.pop(resumed["thread"]).ended = at
            continue
        begun = BEGUN.match(line)
        if begun is None:
            continue
        thread, call, what, rest = begun["thread"], begun["call"], begun["what"], begun["rest"]
        if what.endswith(WAL):
            if call in {"fsync", "fdatasync"}:
                syncs.append(sync := Sync(thread, at))
                figures.syncs += 1
                if "unfinished" in rest:
                    running[thread] = sync
                else:
                    sync.ended = at
            else:
                # Columns lie side by side on a page, so an id may begin anywhere in a row of hexadecimal digits.
                for name in set(re.findall(r"(?=([0-9a-f]{32}))", rest)):
                    written.setdefault(name, (at, thread))
        elif what.startswith("TCP") and call in {"sendto", "sendmsg", "write", "writev"}:
            if "/0/private/AddOrder" in rest:
                first_byte[thread] = at
            if (found := CLIENT_ID.search(rest)) and thread in first_byte:
                name, sent = found[1], first_byte.pop(thread)
                wrote, writer = written.get(name, (at, ""))
                if any(
                    sync.thread == writer and sync.began > wrote and sync.ended is not None and sync.ended < sent
                    for sync in reversed(syncs)
                ):
                    good.add(name)
                else:
                    figures.wrong.append(f"order {name} was sent before its intent was on the disk")
    return good


def run(*, orders: int, threads: int) -> Figures:
    """The whole test; see the module."""
    figures, exchange, began = Figures(), EXCHANGE_CASES["kraken"], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        # 4096 bytes are a page of the data base; its log is written by page.
        prefix = ["strace", "-f", "-yy", "-s", "5000", "-e", f"trace={CALLS}", "-o", str(trace)]
        with open_harness("kraken", prefix=prefix) as harness:
            harness.server.start()
            backend = harness.backend(harness.register("kraken"), timeout=30.0)
            numbers = count()

            def place(_: int) -> None:
                number = next(numbers)
                exchange.submit(backend, ("buy", "sell")[number % 2], number, uuid.uuid4().hex)

            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(place, range(orders)))
            harness.server.stop(signal.SIGTERM)
            executed = {row["client_id"] for row in ledger(harness.venues["kraken"])}
        with trace.open(errors="replace") as lines:
            good = examine(iter(lines), figures)
    figures.orders = len(executed)
    figures.synced = len(executed & good)
    if len(executed) != orders:
        figures.wrong.append(f"{orders} orders were placed and {len(executed)} executed")
    figures.seconds = time.monotonic() - began
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.fsync", description=__doc__.partition("\n")[0])
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=8)
    options = parser.parse_args()
    if reason := reason_to_skip():
        print(f"skipped: {reason}")
        return 0
    figures = run(**vars(options))
    print(figures)
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
