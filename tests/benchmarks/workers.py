"""What several workers of one server add on PostgreSQL: `xwrap serve --workers N` for each N, in one interleaved run.

    python -m tests.benchmarks.workers [--workers 1 2 4] [--rounds 9] [--seconds 1] [--connections 16]

All servers are there at the same time, each on a data base of its own on one PostgreSQL, with a registration on paper
and one at a local Kraken, which runs in the process of the load and counts nonces. In each round every call is sent for
a while to each server, in a new order. Orders are those of one account, which come one after another, and on paper also
those of eight accounts at the same time. The ratios to the first of the servers are taken inside a round; their medians
are printed with the quartiles. CPU a call is that of all processes of a server, and that of its sessions at PostgreSQL
(from /proc; a session that ended meanwhile is missing). How much workers add depends on the number of cores, for which
they compete with PostgreSQL, the load and the local Kraken. The PostgreSQL that this starts writes without fsync;
XWRAP_TEST_DATABASE_URL names another one, and one on another machine has no figures of CPU.

It ends with 1 when a nonce was refused or an order was executed that nobody placed, or twice.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal

from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.passwords import hash_password
from tests.stress.processes import CountingKraken
from tests.stress.worker_server import PASSWORD, WorkerServer, serve_with_workers
from tests.support.databases import server as postgres

from .capacity.usage import session_clocks, used
from .ratios import ratio_of
from .server import ORDER_QUOTA, cpu, load, request

PAPER = "currency=USD&asset=BTC&amount=0.00000001"
KRAKEN = "currency=EUR&asset=BTC&amount=0.001"
BALANCES = {"BTC": Decimal(10**6), "EUR": Decimal(10**9)}
#: Those whose orders come at the same time, beside the one.
ACCOUNTS = 8
AT_KRAKEN = "order at Kraken"


@dataclass
class Target:
    """A server with so many workers, and the calls of it by name."""

    workers: int
    server: WorkerServer
    #: Those of a name are sent at the same time.
    calls: dict[str, list[bytes]]

    def cpu(self) -> dict[int, float]:
        """Return the seconds of CPU of each of the server's processes."""
        pids = {self.server.pid, *(worker.pid for worker in self.server.live())}
        return {pid: cpu(pid) for pid in pids}


@dataclass
class Measured:
    """What one call took of one server in one round."""

    rate: float
    p50: float
    p99: float
    cpu: float
    postgres_cpu: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.workers", description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    with ExitStack() as stack:
        base = stack.enter_context(postgres())
        venues = [stack.enter_context(CountingKraken(balances=dict(BALANCES))) for _ in options.workers]
        targets = [
            _target(stack.enter_context(_serve(base, workers, venue)), workers, venue)
            for workers, venue in zip(options.workers, venues, strict=True)
        ]
        found, placed = _measure(targets, options)
        refused = sum(venue.counts["nonce refused"] for venue in venues)
        executed = sum(len(venue.ledger()) for venue in venues)
    print(f"{options.rounds} rounds of {options.seconds} s, {options.connections} connections, {os.cpu_count()} cores")
    print(f"nonces refused {refused}; {placed} orders were placed at Kraken, {executed - placed} more were executed\n")
    _show(found, options.workers)
    return 1 if refused or executed != placed else 0


def _serve(base: str, workers: int, venue: CountingKraken):
    return serve_with_workers(
        base,
        workers,
        XWRAP_EXCHANGES="paper,kraken",
        XWRAP_EXCHANGE_URL_KRAKEN=venue.url,
        XWRAP_EXCHANGE_LIMIT_KRAKEN="none",
        XWRAP_QUOTA_ORDERS=str(ORDER_QUOTA),
    )


def _target(server: WorkerServer, workers: int, venue: CountingKraken) -> Target:
    names = [f"other{number}" for number in range(ACCOUNTS)]
    store, hashed = Store(server.database), hash_password(PASSWORD)
    for name in names:
        store.accounts.add(name, hashed)
    store.close()
    others = [(name, server.register("paper", name=name)) for name in names]
    paper = server.register("paper")
    kraken = server.register("kraken", apikey=venue.key, apisecret=venue.secret, allow_send="true")
    calls = {
        "balance on paper": [request("GET", f"/exchanges/{paper}/balance")],
        "order on paper": [request("POST", f"/exchanges/{paper}/buy", PAPER)],
        f"order on paper, {ACCOUNTS} accounts": [
            request("POST", f"/exchanges/{id}/buy", PAPER, name=name) for name, id in others
        ],
        AT_KRAKEN: [request("POST", f"/exchanges/{kraken}/buy", KRAKEN)],
    }
    return Target(workers, server, calls)


def _measure(targets: list[Target], options: argparse.Namespace):
    """Return what was measured, by call and number of workers, and how many orders were placed at Kraken."""
    found: dict[tuple[str, int], list[Measured]] = defaultdict(list)
    placed = 0
    pairs = [(target, name) for target in targets for name in target.calls]
    for _ in range(options.rounds):
        for target, name in random.sample(pairs, len(pairs)):
            times: list[float] = []
            database = target.server.database
            before, before_postgres, began = target.cpu(), session_clocks(database), time.monotonic()
            count = asyncio.run(_load(target.server.url, target.calls[name], options, times))
            seconds = time.monotonic() - began
            own, of_postgres = used(before, target.cpu()), used(before_postgres, session_clocks(database))
            placed += count * (name == AT_KRAKEN)
            times.sort()
            p50, p99 = statistics.median(times), times[min(len(times) - 1, round(0.99 * len(times)))]
            found[name, target.workers].append(Measured(count / seconds, p50, p99, own / count, of_postgres / count))
    return found, placed


async def _load(url: str, messages: list[bytes], options: argparse.Namespace, times: list[float]) -> int:
    """Send the messages for a while over the connections, which they share; return how many answers came."""
    connections = options.connections // len(messages)
    sent = (load(url, message, options.seconds, connections, times=times) for message in messages)
    return sum(await asyncio.gather(*sent))


def _show(found: dict[tuple[str, int], list[Measured]], numbers: list[int]) -> None:
    first = numbers[0]
    titles = ["call", "workers", f"rate / {first} worker", "p99 / its", "calls a second", "p50, ms", "p99, ms"]
    titles += ["CPU, us", "CPU of PostgreSQL, us"]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for (name, workers), rounds in sorted(found.items()):
        base = found[name, first]
        ratios = [
            str(ratio_of([getattr(one, what) for one in rounds], [getattr(one, what) for one in base]))
            for what in ("rate", "p99")
        ]
        middle = {
            what: statistics.median(getattr(one, what) for one in rounds)
            for what in ("rate", "p50", "p99", "cpu", "postgres_cpu")
        }
        cells = [
            *(name, str(workers), *ratios, f"{middle['rate']:.0f}"),
            *(f"{1000 * middle[what]:.1f}" for what in ("p50", "p99")),
            *(f"{1e6 * middle[what]:.0f}" for what in ("cpu", "postgres_cpu")),
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(main())
