"""Fails the n-th fsync, the n-th write or the n-th commit of the data base, for every n on the way of an order.

    python -m tests.stress.database_faults [sqlite | postgres ...] [--exchange NAME ...] [--up-to N]

sqlite    the n-th fsync fails (EIO), the n-th write fails, whole (ENOSPC, which is a full disk) or after a half of it
          (EIO), or all from the n-th on. By a library for LD_PRELOAD, which needs a C compiler (cc).
postgres  the connection is cut at the n-th command that writes: before PostgreSQL gets it, or in place of its answer.

n = 1, 2, 3 ... until no order comes to its n-th any more, for a buy, a sell and a send at every exchange. What the
client was told is compared with the exchange's ledger, then the fault is over and the client repeats with its key. It
prints a table for each, and exits with 1 unless nothing was executed twice, `may_have_executed` was never wrong, every
call ended within the client's deadline, each order is known in the end wherever the exchange can look it up, and
SQLite's file is sound.
"""

from __future__ import annotations

import argparse
import errno
import mmap
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Container, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path

from bitmm.xwrap.client import Backend
from tests.stress.checker import CLIENT_SECONDS, EXCHANGE_SECONDS, OPERATIONS, Checker, Figures
from tests.stress.harness import EXCHANGE_CASES, Harness, open_harness
from tests.stress.postgres_proxy import postgres_proxy
from tests.support.databases import NoPostgres, drop_database, new_database, server

#: The reconciler writes now and then; its own writes are few beside those of the orders.
SETTINGS = {"reconcile_seconds": 1.0, "reconcile_grace_seconds": 0.3, "exchange_seconds": EXCHANGE_SECONDS}
#: `enum` and `struct control` of disk_faults.c.
FSYNC, WRITE, TORN_WRITE = 1, 2, 3
CONTROL = struct.Struct("5i")
ALL_THAT_FOLLOW = 2**30
#: What fails: which calls, with which error, and how many of them.
DISK_FAULTS = {
    "fsync": (FSYNC, errno.EIO, 1),
    "fsyncs from": (FSYNC, errno.EIO, ALL_THAT_FOLLOW),
    "write": (WRITE, errno.ENOSPC, 1),
    "writes from": (WRITE, errno.ENOSPC, ALL_THAT_FOLLOW),
    "torn write": (TORN_WRITE, errno.EIO, 1),
}
#: Alembic, which makes the tables, works in one thread at a time.
OPENING = threading.Lock()
SOURCE = Path(__file__).with_name("disk_faults.c")


class NotHereError(Exception):
    """Why a run is left out."""


@dataclass(frozen=True)
class Fault:
    """A way in which the data base fails: `start` it at the n-th call; `stop` it and learn whether it had begun."""

    name: str
    start: Callable[[int], None]
    stop: Callable[[], bool]


class Disk:
    """The calls of a server on its SQLite files, some of which fail."""

    def __init__(self, folder: Path) -> None:
        self._control = folder / "disk-faults"
        self._control.write_bytes(bytes(mmap.PAGESIZE))
        with self._control.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        library = folder / "disk_faults.so"
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, timeout=60)
        self.prefix = ["env", f"LD_PRELOAD={library}", f"XWRAP_DISK_FAULTS={self._control}"]

    def fault(self, name: str) -> Fault:
        """Return one of DISK_FAULTS."""
        call, error, times = DISK_FAULTS[name]
        number = 0

        def start(n: int) -> None:
            nonlocal number
            number = n
            CONTROL.pack_into(self._memory, 0, 0, 0, 0, 0, 0)
            CONTROL.pack_into(self._memory, 0, call, error, n - 1, times, 0)

        def stop() -> bool:
            seen: int = CONTROL.unpack_from(self._memory)[4]
            CONTROL.pack_into(self._memory, 0, 0, 0, 0, 0, 0)
            return seen >= number

        return Fault(name, start, stop)


def reason_to_skip_disk() -> str | None:
    """Return why the disk cannot be made to fail here, or None when it can."""
    if not sys.platform.startswith("linux"):
        return "LD_PRELOAD and /proc are Linux's"
    return None if shutil.which("cc") else "there is no C compiler (cc)"


def on_sqlite(
    exchanges: Iterable[str] = EXCHANGE_CASES, up_to: int | None = None, names: Container[str] = DISK_FAULTS
) -> Figures:
    """Fail the n-th fsync or write, for every n, or those up to `up_to`. `names`: of DISK_FAULTS.

    There is a server for each exchange: one after the other the cases would wait for the reconciler most of the time.
    """

    def run(exchange: str) -> Figures:
        with ExitStack() as stack:
            disk = Disk(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xwrap-disk-"))))
            with OPENING:
                harness = stack.enter_context(open_harness(exchange, prefix=disk.prefix, **SETTINGS))
            faults = [disk.fault(name) for name in DISK_FAULTS if name in names]
            figures = _run(harness, [exchange], faults, up_to)
            assert isinstance(harness.database, Path)
            with closing(sqlite3.connect(harness.database)) as connection:
                report = connection.execute("PRAGMA integrity_check").fetchall()
        figures.wrong += [f"the data base is damaged: {report}"] * (report != [("ok",)])
        return figures

    return _in_parallel(run, exchanges)


def _in_parallel(run: Callable[[str], Figures], exchanges: Iterable[str]) -> Figures:
    figures = Figures()
    with ThreadPoolExecutor(len([*exchanges])) as pool:
        for found in pool.map(run, exchanges):
            figures.add(found)
    return figures


def on_postgres(url: str, exchanges: Iterable[str] = EXCHANGE_CASES, up_to: int | None = None) -> Figures:
    """Cut the connection at the n-th write, for every n, or those up to `up_to`. `url`: of a PostgreSQL."""

    def run(exchange: str) -> Figures:
        with ExitStack() as stack:
            database = new_database(url)
            stack.callback(drop_database, url, database)
            proxy = stack.enter_context(postgres_proxy(database))
            with OPENING:
                harness = stack.enter_context(open_harness(exchange, database=proxy.url, **SETTINGS))
            faults = [
                Fault("cut before", lambda n: proxy.cut(n, "before"), proxy.heal),
                Fault("cut after", lambda n: proxy.cut(n, "after"), proxy.heal),
            ]
            return _run(harness, [exchange], faults, up_to)

    return _in_parallel(run, exchanges)


def _run(harness: Harness, exchanges: Iterable[str], faults: Iterable[Fault], up_to: int | None) -> Figures:
    began = time.monotonic()
    harness.server.start()
    checker = Checker(harness)
    backends = {name: harness.backend(harness.register(name), CLIENT_SECONDS) for name in exchanges}
    for name, backend in backends.items():
        checker.warm_up(backend, name)
    for fault in faults:
        for n in count(1) if up_to is None else range(1, up_to + 1):
            cases = product(exchanges, OPERATIONS)
            came = [_fails_at(n, fault, checker, name, verb, backends[name]) for name, verb in cases]
            if not any(came):
                checker.figures.wrong += [f"{fault.name} {n}: no order came to it"] * (n == 1)
                break
    harness.server.stop(signal.SIGTERM)
    figures = checker.close()
    figures.seconds = time.monotonic() - began
    return figures


def _fails_at(n: int, fault: Fault, checker: Checker, exchange: str, verb: str, backend: Backend) -> bool:
    """Run one case; return whether the order came to its n-th call, and so to the fault."""
    submission = checker.submission(f"{fault.name} {n}", exchange, verb)
    fault.start(n)
    submission.submit(backend)
    came = fault.stop()
    checker.first_report(submission)
    submission.repeat(backend)
    checker.last_report(submission)
    return came


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.stress.database_faults", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("engines", nargs="*", choices=["sqlite", "postgres", []], default=[])
    parser.add_argument("--exchange", dest="exchanges", choices=sorted(EXCHANGE_CASES), action="append")
    parser.add_argument("--up-to", type=int)
    options = parser.parse_args()
    exchanges, good = options.exchanges or list(EXCHANGE_CASES), True
    for engine in options.engines or ["sqlite", "postgres"]:
        try:
            figures = _run_engine(engine, exchanges, options.up_to)
        except NotHereError as reason:
            print(f"{engine}: left out, because {reason}")
        else:
            print(figures, flush=True)
            good &= figures.good
    return 0 if good else 1


def _run_engine(engine: str, exchanges: Iterable[str], up_to: int | None) -> Figures:
    """Raise NotHereError where the engine, or a tool, is not installed."""
    if engine == "sqlite":
        if reason := reason_to_skip_disk():
            raise NotHereError(reason)
        return on_sqlite(exchanges, up_to)
    try:
        with server() as url:
            return on_postgres(url, exchanges, up_to)
    except NoPostgres as error:
        raise NotHereError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
