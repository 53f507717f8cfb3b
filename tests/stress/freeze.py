"""Freeze and dead man's switch of running servers, in figures.

    python -m tests.stress.freeze [--rounds 5] [--threads 16] [--postgres]

Each round: many threads place orders at a local Kraken and a local Bitstamp through one server (with --postgres in turn
through two on one data base), then the account is frozen. What the exchanges have executed is compared with the time
at which the freeze was answered: by the time of the intent none may be later. How long after the answer the last one
arrived is printed. Then a dead man's switch is set, the servers are killed, and started again after its deadline: it
is printed how long after that the orders are gone. In the end a switch of a running server is due: how long after its
deadline, and how often the audit says that it fired.
It exits with 1 unless none was later, every order was canceled, and each switch fired once.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import requests

from bitmm.xwrap.client import APIError, Backend
from bitmm.xwrap.server.db.records import now
from tests.stress.harness import PASSWORD, Harness, open_harness
from tests.support.databases import new_database, server, sql

_VENUES = ("kraken", "bitstamp")


@dataclass
class Figures:
    """What was measured; times in seconds."""

    #: Of each freeze: when the last order arrived after its answer, 0 when none did.
    last_arrival: list[float] = field(default_factory=list)
    placed: int = 0
    #: Orders that were executed though their intent is later than the answer to the freeze.
    late: int = 0
    #: From the start of the server, and from the deadline in a running one, until the orders were gone.
    after_restart: list[float] = field(default_factory=list)
    after_deadline: list[float] = field(default_factory=list)
    #: How often the audit says that a switch fired.
    fired: list[int] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether everything is as promised."""
        return not self.late and set(self.fired) == {1} and self.placed > 0

    def __str__(self) -> str:
        def shown(seconds: list[float]) -> str:
            return f"{sorted(seconds)[len(seconds) // 2]:.2f} s, at most {max(seconds):.2f} s" if seconds else "-"

        return (
            f"{self.placed} orders; executed with an intent after the answer to a freeze: {self.late}\n"
            f"last order at an exchange after that answer: {shown(self.last_arrival)}\n"
            f"orders canceled after a start with a switch that is due: {shown(self.after_restart)}\n"
            f"orders canceled after the deadline, servers running: {shown(self.after_deadline)}\n"
            f"a switch fired (by the audit): {sorted(set(self.fired))} times"
        )


def run(rounds: int, threads: int, database: str | None = None) -> Figures:
    """Return the figures of so many rounds; `database`: the URL of a PostgreSQL, for two servers."""
    figures = Figures()
    with open_harness(*_VENUES, database=database, servers=2 if database else 1) as harness:
        harness.start()
        ids = {name: harness.register(name) for name in _VENUES}
        for _ in range(rounds):
            _freeze(harness, ids, threads, figures)
        for _ in range(rounds):
            _kill(harness, ids["kraken"], figures)
            _fire(harness, ids["kraken"], figures)
    return figures


def _freeze(harness: Harness, ids: dict[str, int], threads: int, figures: Figures) -> None:
    before = {name: len(harness.venues[name].ledger()) for name in ids}

    def trade(number: int) -> None:
        process = harness.servers[number % len(harness.servers)]
        name = _VENUES[number % len(_VENUES)]
        backend = harness.backend(ids[name], timeout=30.0, server=process)
        while True:
            try:
                backend.sell("EUR", "BTC", "0.001", price=33000)
            except APIError as error:
                if error.code == "frozen":
                    return

    workers = [threading.Thread(target=trade, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    while any(len(harness.venues[name].ledger()) < before[name] + 20 for name in ids):
        time.sleep(0.01)
    _call(harness, "POST", "/freeze").raise_for_status()
    answered, moment = now(), time.time()
    for worker in workers:
        worker.join()
    rows = {name: harness.venues[name].ledger()[before[name] :] for name in ids}
    times = [row["time"] for name in ids for row in rows[name]]
    figures.placed += len(times)
    figures.last_arrival.append(max(0.0, max(times) - moment))
    late = sql(harness.database, "SELECT client_id FROM orders WHERE created > :answered", answered=answered)
    sent = {row["client_id"] for name in ids for row in rows[name]}
    figures.late += len(sent & {row[0] for row in late})
    _call(harness, "DELETE", "/freeze").raise_for_status()


def _kill(harness: Harness, id: int, figures: Figures) -> None:
    """Kill the servers while a switch is set, and start them when it is due."""
    backend = _resting(harness, id)
    backend.deadman(5)
    fired = _fired(harness)
    for process in harness.servers:
        process.stop(signal.SIGKILL)
    # Kraken's own timer would cancel at the same time; here the server's is looked at.
    harness.venues["kraken"]._cancel_after.clear()  # type: ignore[attr-defined]
    time.sleep(5.5)
    started = time.monotonic()
    harness.start()
    _wait_until_canceled(harness)
    figures.after_restart.append(time.monotonic() - started)
    _count_fired(harness, fired, figures)


def _fire(harness: Harness, id: int, figures: Figures) -> None:
    """Let a switch be due while the servers run."""
    backend = _resting(harness, id)
    fired = _fired(harness)
    backend.deadman(5)
    deadline = time.monotonic() + 5
    harness.venues["kraken"]._cancel_after.clear()  # type: ignore[attr-defined]
    _wait_until_canceled(harness)
    figures.after_deadline.append(time.monotonic() - deadline)
    _count_fired(harness, fired, figures)


def _resting(harness: Harness, id: int) -> Backend:
    backend = harness.backend(id, timeout=30.0)
    for _ in range(3):
        backend.buy("EUR", "BTC", "0.001", price=20000)
    return backend


def _wait_until_canceled(harness: Harness) -> None:
    venue = harness.venues["kraken"]
    while venue.orders_of(venue.account, status="open"):
        time.sleep(0.005)


def _fired(harness: Harness) -> int:
    [(count,)] = sql(harness.database, "SELECT count(*) FROM audit_log WHERE what = 'deadman.fired'")
    return int(count)


def _count_fired(harness: Harness, before: int, figures: Figures) -> None:
    """Count what the audit says, when the switch is off and a second look of each server has passed."""
    while sql(harness.database, "SELECT id FROM registrations WHERE deadman_at IS NOT NULL"):
        time.sleep(0.02)
    time.sleep(1.5)
    figures.fired.append(_fired(harness) - before)


def _call(harness: Harness, method: str, path: str) -> Any:
    return requests.request(method, harness.server.url + path, auth=(harness.user, PASSWORD), timeout=30)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--postgres", action="store_true", help="two servers on one PostgreSQL")
    given = parser.parse_args(arguments)
    with ExitStack() as stack:
        database = new_database(stack.enter_context(server())) if given.postgres else None
        figures = run(given.rounds, given.threads, database)
    print(figures)
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
