"""Many bots that wait for the changes of orders, over a kill of the server: nothing is lost, and all is in order.

    python -m tests.stress.follow [--bots 100] [--changes 1000] [--idle 10] [--postgres]

A limit order at the paper exchange is two changes: it is written down, and it is open. The bots share ten
registrations. When half of the orders are placed the server is killed and started again, and every other bot goes on
from the cursor that it kept. With --postgres there are two servers on one PostgreSQL: the bots wait at one of them, and
the orders are placed at the other, which is killed when three quarters of them are. Printed is what the bots were told
against the journal, the queries for changes and the CPU of the bots' server while nothing happens. The status is 1 when
a bot missed something or was told it out of order.
"""

from __future__ import annotations

import argparse
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitmm.xwrap.__main__ import main as xwrap
from bitmm.xwrap.client import Backend, OutcomeUnknown, Unavailable, XWrap
from bitmm.xwrap.server.db.journals import OrderJournal
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.passwords import hash_password
from tests.support.databases import drop_database, new_database, sql
from tests.support.databases import server as postgres_server

__all__ = ["AUTH", "Figures", "Server", "follow"]

AUTH = ("bots", "correct horse battery")
#: Longer than anything here takes on a busy machine.
LONGEST_WAIT = 120.0


@dataclass
class Figures:
    """What came of it. `queries` and `cpu` (seconds) are those of the `idle` seconds."""

    bots: int
    changes: int = 0
    told: int = 0
    lost: int = 0
    out_of_order: int = 0
    kills: int = 0
    idle: float = 0.0
    queries: int = 0
    cpu_without: float = 0.0
    cpu: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.bots} bots, {self.changes} changes, {self.kills} x kill -9: {self.told} orders told,"
            f" lost {self.lost}, out of order {self.out_of_order};"
            f" in {self.idle:.0f} s without a change {self.queries} queries for all bots,"
            f" {self.cpu * 1000:.0f} ms of CPU ({self.cpu_without * 1000:.0f} ms without bots)"
        )


class Server:
    """An `xwrap serve` on a port that stays, which counts its queries for changes."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        self._environ = {"PATH": "", "PYTHONPATH": ":".join(sys.path), "XWRAP_EXCHANGES": "paper", **environ}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it serves."""
        command = [sys.executable, "-m", "tests.stress.follow", "serve", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--data", str(self.folder)], env=self._environ, stdout=subprocess.PIPE, text=True
        )
        if not any("serves at" in line for line in self.process.stdout or ()):
            raise AssertionError(f"the server ended with status {self.process.wait()}")

    def kill(self) -> None:
        """Kill it, and start it again."""
        self.process.kill()
        self.process.communicate()
        self.start()

    def stop(self) -> None:
        """Stop it as a supervisor does."""
        self.process.terminate()
        self.process.communicate(timeout=30)

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def queries(self) -> int:
        """Return how often it has asked for changes."""
        return (self.folder / f"queries-{self.port}").stat().st_size


@dataclass
class Bot:
    """Follows a registration in a thread, and keeps what it was told."""

    backend: Backend
    over: threading.Event
    cursor: str = "0"
    told: list[tuple[int, str]] = field(default_factory=list)
    #: Set when it is to go on from its cursor, as a bot does that was started again.
    again: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Start it; it ends with the first order that it is told of when `over` is set."""
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.over.is_set():
            self.again.clear()
            changes = self.backend.follow(after=self.cursor)
            for order in changes:
                self.told.append((order["id"], order["status"]))
                self.cursor = changes.cursor
                if self.again.is_set() or self.over.is_set():
                    break

    def has_told(self, last: tuple[int, str]) -> bool:
        """Return whether the last thing that it was told is this."""
        return bool(self.told) and self.told[-1] == last


def follow(bots: int, changes: int, idle: float, postgres: str | None = None) -> Figures:
    """Let so many bots follow so many changes; return what was found.

    `postgres`: the URL of a PostgreSQL on which there are two servers; without it there is one, on SQLite.
    """
    figures = Figures(bots, idle=idle)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xwrap-follow-")))
        where: Path | str = folder / "xwrap.sqlite3"
        if postgres is not None:
            where = new_database(postgres)
            stack.callback(drop_database, postgres, where)
        store = Store(where)
        store.prepare()
        store.accounts.add(AUTH[0], hash_password(AUTH[1]))
        store.close()
        servers = []
        for _ in range(1 if postgres is None else 2):
            servers.append(Server(folder, **({} if postgres is None else {"XWRAP_DATABASE_URL": str(where)})))
            stack.callback(servers[-1].stop)
        _follow(figures, servers, where, changes)
    return figures


def _follow(figures: Figures, servers: Sequence[Server], where: Path | str, changes: int) -> None:
    """Let the bots wait at the first of the servers, and place the orders at the last one."""
    waiting, placing = XWrap(servers[0].url), XWrap(servers[-1].url)
    #: How many orders are placed when a server is killed: half of them, and at a second server three quarters.
    kills = {changes // 4 + changes // 8 * number: server for number, server in enumerate(servers)}
    backends = [
        placing.create_backend(*AUTH, "paper", f"bot-{number}", "", "") for number in range(min(10, figures.bots))
    ]
    figures.cpu_without = _cpu_of(servers[0], figures.idle)
    over = threading.Event()
    followed = itertools.islice(itertools.cycle(backends), figures.bots)
    followers = [Bot(waiting.backend(backend.id, *AUTH), over) for backend in followed]
    for bot in followers:
        bot.start()
    try:
        for number in range(changes // 2):
            if number in kills:
                kills[number].kill()
                figures.kills += 1
                for bot in followers[::2]:
                    bot.again.set()
            _place(backends[number % len(backends)], f"order-{number}")
        journals = {backend.id: _journal(where, backend.id) for backend in backends}
        deadline = time.monotonic() + LONGEST_WAIT
        while time.monotonic() < deadline and not all(bot.has_told(journals[bot.backend.id][-1]) for bot in followers):
            time.sleep(0.05)
        before = servers[0].queries()
        figures.cpu = _cpu_of(servers[0], figures.idle)
        figures.queries = servers[0].queries() - before
    finally:
        [(figures.changes,)] = sql(where, "SELECT 2 * count(*) FROM orders")
        over.set()
        for backend in backends:
            _place(backend, "the last one")
        for bot in followers:
            bot.thread.join(LONGEST_WAIT)
    for bot in followers:
        _compare(figures, bot.told, journals[bot.backend.id])


def _place(backend: Backend, key: str) -> None:
    """Place a limit order that rests, also while the server starts."""
    deadline = time.monotonic() + LONGEST_WAIT
    while time.monotonic() < deadline:
        with suppress(Unavailable, OutcomeUnknown):
            backend.buy("USD", "BTC", "0.001", price="1", key=key)
            return
    raise AssertionError(f"{key} could not be placed")


def _journal(where: Path | str, registration: int) -> list[tuple[int, str]]:
    """Return the orders of a registration in the order of their last changes."""
    rows = sql(where, "SELECT id, status FROM orders WHERE registration_id = :id ORDER BY change", id=registration)
    return [tuple(row) for row in rows]


def _cpu_of(server: Server, seconds: float) -> float:
    before = server.cpu()
    time.sleep(seconds)
    return server.cpu() - before


def _compare(figures: Figures, told: Sequence[tuple[int, str]], journal: Sequence[tuple[int, str]]) -> None:
    """Compare what a bot was told last of each order with the journal, which holds its last change."""
    last: dict[int, str] = {}
    placed = {id for id, _ in journal}
    for id, status in told:
        last.pop(id, None)  # so that it comes last
        if id in placed:
            last[id] = status
    figures.told += len(told)
    figures.lost += sum(last.get(id) != status for id, status in journal)
    figures.out_of_order += list(last) != [id for id, _ in journal]


def _serve() -> None:
    """Run the command after it; each query for changes adds a byte to the file `queries-PORT` in the data's folder."""
    sys.argv.remove("serve")
    sys.argv.insert(1, "serve")
    folder, port = (sys.argv[sys.argv.index(option) + 1] for option in ("--data", "--port"))
    counted = (Path(folder) / f"queries-{port}").open("ab", buffering=0)
    ask = OrderJournal.last_changes

    def last_changes(journal: OrderJournal, registrations: Any) -> dict[int, int]:
        counted.write(b".")
        return ask(journal, registrations)

    OrderJournal.last_changes = last_changes  # type: ignore[method-assign]
    xwrap()


def main() -> None:
    """Print the figures; the status is 1 when something was lost or out of order."""
    if "serve" in sys.argv:
        _serve()
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bots", type=int, default=100, help="that wait")
    parser.add_argument("--changes", type=int, default=1000, help="two for each order")
    parser.add_argument("--idle", type=float, default=10.0, help="seconds in which nothing changes, at the end")
    parser.add_argument("--postgres", action="store_true", help="two servers: the bots wait at the other one")
    options = parser.parse_args()
    with postgres_server() if options.postgres else nullcontext() as url:
        figures = follow(options.bots, options.changes, options.idle, url)
    print(figures)
    raise SystemExit(bool(figures.lost or figures.out_of_order))


if __name__ == "__main__":
    main()
