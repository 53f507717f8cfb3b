"""Bots trade through `xwrap serve --workers N` on PostgreSQL, and every few seconds a worker is killed with SIGKILL.

    python -m tests.stress.workers [--workers 2] [--kills 20] [--seconds 3] [--bots 8] [--postgres]

The command is the shipped one, with the shipped settings; only Kraken's limit of calls is lifted on both sides, and the
quota of an account's orders, which would end the run. Each bot has a client of its own and reads its balance, or places
an order with a key and an amount of its own, at a local Kraken, which counts nonces. An order that fails is placed
again with its key, until its outcome is known; before that, the bot's last order that was executed is, too.

With `--postgres` it is PostgreSQL that ends, all of its processes at once, and is started again after up to two
seconds. Its administrator has turned synchronous_commit off, and it writes its log only each ten seconds.

It prints, and exits with 1 unless the figures of the first line are 0:
  lost, doubled      by the exchange's ledger; and left unknown
  failed elsewhere   calls that failed and were not in flight at the moment of a kill, or while PostgreSQL was away
  nonces refused     by the exchange
  failed             calls in flight at a kill that failed, and how many were in flight then at all workers
  recovered          orders among them of which the client knows the outcome, and after how many seconds
  replaced           seconds until a new worker serves (the supervisor waits longer before each one of the same worker),
                     or until an order is executed again
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import APIError
from tests.stress.harness import EXCHANGE_CASES, HarnessError, executions
from tests.stress.processes import CountingKraken
from tests.stress.worker_server import PASSWORD, USER, WorkerServer, serve_with_workers
from tests.support.databases import OwnServer, own_server
from tests.support.databases import server as postgres

CASE = EXCHANGE_CASES["kraken"]
#: Seconds after the last kill in which the outcome of each order must become known.
KNOWN_SECONDS = 120.0
#: A kill is noticed by a client so many seconds later at the latest, on a machine that is busy.
NOTICED_SECONDS = 0.5
#: The longest time that PostgreSQL is away, beside that of its start.
LONGEST_AWAY = 2.0
#: What commits mean at the PostgreSQL that ends; without fsync, because the machine does not end with it.
CARELESS = {"fsync": "off", "synchronous_commit": "off", "wal_writer_delay": "10s"}
#: Between two repeats, in seconds.
PAUSE = 0.2


@dataclass(eq=False)
class Call:
    """The first attempt of a call, and what became of an order whose first attempt failed."""

    number: int | None
    began: float
    ended: float = float("inf")
    failure: str | None = None
    #: When the outcome was known.
    known: float | None = None

    def was_in_flight(self, kill: Kill) -> bool:
        return self.began <= kill.ended and kill.at <= self.ended


class Kill(NamedTuple):
    """When something was killed, and when calls could be answered again: at once by the other workers."""

    at: float
    ended: float


@dataclass
class Figures:
    """What a run found."""

    workers: int
    calls: list[Call]
    kills: list[Kill] = field(default_factory=list)
    replaced: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    refused_nonces: int = 0
    seconds: float = 0.0

    @property
    def failed(self) -> list[Call]:
        return [call for call in self.calls if call.failure]

    @property
    def elsewhere(self) -> list[Call]:
        """Return the failed calls that no kill explains."""
        return [
            call
            for call in self.failed
            if not any(call.began - NOTICED_SECONDS <= kill.ended and kill.at <= call.ended for kill in self.kills)
        ]

    @property
    def unknown(self) -> int:
        return sum(call.number is not None and call.known is None for call in self.calls)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.unknown or self.elsewhere or self.refused_nonces)

    def __str__(self) -> str:
        orders = [call for call in self.calls if call.number is not None]
        recovered = [call.known - call.ended for call in self.failed if call.number is not None and call.known]
        in_flight = sum(call.was_in_flight(kill) for call in self.calls for kill in self.kills)
        elsewhere = set(self.elsewhere)
        after = sum(not any(map(call.was_in_flight, self.kills)) for call in self.failed if call not in elsewhere)
        lines = [
            (
                f"lost {self.lost}, doubled {self.doubled}, left unknown {self.unknown}, "
                f"failed elsewhere {len(elsewhere)}, nonces refused {self.refused_nonces}"
            ),
            (
                f"{len(self.calls)} calls, {len(orders)} of them orders, through {self.workers} workers in "
                f"{self.seconds:.0f} s: {_spread([1000 * (call.ended - call.began) for call in self.calls])} ms"
            ),
            (
                f"{len(self.kills)} kills: {len(self.failed)} calls failed of {in_flight} in flight; "
                f"{after} of them began within {NOTICED_SECONDS} s after it"
            ),
            f"recovered {len(recovered)} orders by their keys, after {_spread(recovered)} s",
            f"replaced after {_spread(self.replaced)} s, of which the supervisor waited {_spread(self.pauses)} s",
        ]
        return "\n".join([*lines, *(f"failed elsewhere: {call}" for call in self.elsewhere[:10])])


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    return f"p50 {statistics.median(ordered):.2f}, p99 {p99:.2f}, max {ordered[-1]:.2f}"


class Bot:
    """One client, whose calls go one after the other."""

    def __init__(self, load: Load, backend: Backend) -> None:
        self._load, self._backend = load, backend
        #: The last order that was executed, and its key.
        self._executed: tuple[Call, str] | None = None

    def run(self) -> None:
        turn = 0
        while not self._load.is_over:
            turn += 1
            call = self._load.begin(is_order=turn % 3 != 0)
            key = uuid.uuid4().hex
            try:
                self._carry_out(call, key)
            except APIError as error:
                call.ended, call.failure = time.monotonic(), f"{error.status} {error.code}: {error}"
            else:
                call.ended = call.known = time.monotonic()
            if call.number is None:
                continue
            if call.failure:
                for order in filter(None, (self._executed, (call, key))):
                    self._recover(*order)
            self._executed = call, key

    def _carry_out(self, call: Call, key: str) -> None:
        if call.number is None:
            self._backend.balance()
        else:
            CASE.submit(self._backend, "buy" if call.number % 2 else "sell", call.number, key)

    def _recover(self, call: Call, key: str) -> None:
        """Repeat an order with its key until it is executed."""
        while time.monotonic() < self._load.last_moment:
            try:
                self._carry_out(call, key)
            except APIError:
                time.sleep(PAUSE)
            else:
                call.known = call.known or time.monotonic()
                return


class Load:
    """What the bots do, and until when."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.is_over = False
        self.last_moment = float("inf")
        self._lock = threading.Lock()
        self._orders = 0

    def begin(self, *, is_order: bool) -> Call:
        with self._lock:
            number = self._orders if is_order else None
            self._orders += is_order
            self.calls.append(Call(number, time.monotonic()))
            return self.calls[-1]

    def stop(self) -> None:
        """Let no new call begin, and let those that are not known be repeated for some time."""
        self.is_over, self.last_moment = True, time.monotonic() + KNOWN_SECONDS


def run(
    base: str,
    *,
    workers: int = 2,
    kills: int = 20,
    seconds: float = 3.0,
    bots: int = 8,
    seed: int = 0,
    victim: OwnServer | None = None,
) -> Figures:
    """Run the whole test, on the PostgreSQL at `base`, which is the `victim` when there is one; see the module."""
    load, chance, began = Load(), random.Random(seed), time.monotonic()
    figures = Figures(workers, load.calls)
    balances = {"BTC": Decimal(10**6), "EUR": Decimal(10**9)}
    with CountingKraken(balances=balances) as venue:
        settings = {
            "XWRAP_EXCHANGES": "kraken",
            "XWRAP_EXCHANGE_URL_KRAKEN": venue.url,
            "XWRAP_EXCHANGE_LIMIT_KRAKEN": "none",
            "XWRAP_QUOTA_ORDERS": "9999999",
        }
        with serve_with_workers(base, workers, **settings) as server:
            id = server.register("kraken", apikey=venue.key, apisecret=venue.secret, allow_send="true")
            programs = [Bot(load, Backend(id, USER, PASSWORD, server.url, timeout=30.0)) for _ in range(bots)]
            threads = [threading.Thread(target=bot.run) for bot in programs]
            for thread in threads:
                thread.start()
            try:
                for _ in range(kills):
                    time.sleep(seconds * chance.uniform(0.5, 1.5))
                    if victim is None:
                        _kill_one(server, workers, chance, figures)
                    else:
                        _crash(victim, server, chance, figures)
                time.sleep(seconds)
            finally:
                load.stop()
                for thread in threads:
                    thread.join()
            figures.pauses = server.pauses
        executed = executions(CASE, venue)
        figures.refused_nonces = venue.counts["nonce refused"]
    known = [call.number for call in load.calls if call.number is not None and call.known is not None]
    figures.lost = sum(not executed[number] for number in known)
    figures.doubled = sum(times - 1 for times in executed.values()) + executed[None]
    figures.seconds = time.monotonic() - began
    return figures


def _kill_one(server: WorkerServer, workers: int, chance: random.Random, figures: Figures) -> None:
    """Kill a worker, and wait until another one serves in its place."""
    live = server.live()
    if len(live) != workers:
        raise HarnessError(f"{len(live)} of {workers} workers serve")
    victim = chance.choice(live)
    at = time.monotonic()
    os.kill(victim.pid, signal.SIGKILL)
    figures.kills.append(Kill(at, at))
    server.wait_until(lambda: server.replacement(victim) is not None, "no worker took the place of one that was killed")
    replacement = server.replacement(victim)
    assert replacement is not None
    figures.replaced.append(replacement.at - at)


def _crash(victim: OwnServer, server: WorkerServer, chance: random.Random, figures: Figures) -> None:
    """Let PostgreSQL be away for a while, and wait until an order is executed again."""
    at = time.monotonic()
    victim.crash()
    time.sleep(chance.uniform(0.0, LONGEST_AWAY))
    victim.start()
    started = time.monotonic()
    figures.kills.append(Kill(at, started))
    server.wait_until(
        lambda: any(
            call.number is not None and call.known is not None and call.began > started for call in figures.calls[-100:]
        ),
        "no order was executed after PostgreSQL had started again",
    )
    figures.replaced.append(time.monotonic() - started)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.workers", description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0, help="between two kills, on the average")
    parser.add_argument("--bots", type=int, default=8)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--postgres", action="store_true", help="kill PostgreSQL, not a worker")
    options = vars(parser.parse_args())
    if options.pop("postgres"):
        with own_server(**CARELESS) as own:
            figures = run(own.url, **options, victim=own)
    else:
        with postgres() as base:
            figures = run(base, **options)
    print(figures)
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
