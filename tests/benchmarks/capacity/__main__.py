"""What a call costs when there is more of something: the growth tables, one for each kind.

    python -m tests.benchmarks.capacity [journal] [accounts] [registrations] [unknown] [--full] [--postgres]

Each size is a server process of its own, on a data base whose rows are copies of rows that the server wrote. All run at
the same time; in each round every call is made a few times at every size, in another order each time. A table shows for
each call the server's CPU time and the time that the caller waited, as medians of the rounds, their ratios to those at
the smallest size with the quartiles, and the line through them over the logarithm of the size. The status is 1 when a
ratio is above 1.25. Before, each server is watched for some seconds at rest.

- journal: filled orders on paper of other accounts
- accounts: other accounts, with a registration on paper each
- registrations: those of another account at a local Kraken, each with a key of its own that was used
- unknown: orders of another account whose outcome is unknown, at an exchange that is down

`--full` goes to ten million orders, 100,000 accounts and 10,000 registrations; it takes hours and 30 GB.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal
from math import log10
from pathlib import Path
from typing import NamedTuple

from bitmm.xwrap.client import Backend, OutcomeUnknown, XWrap
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.benchmarks.ratios import ratio_of
from tests.benchmarks.server import PASSWORD, SERVE, add_account, load, process, request
from tests.support import databases

from .rows import Place, add_accounts, add_filled_orders, add_unknown_orders, bytes_of

LIMIT = 1.25
REST_SECONDS = 5.0
FORM = "currency=USD&asset=BTC&amount=0.00000001"


class Installation(NamedTuple):
    """A server at one size, before it is measured."""

    folder: str
    where: Place
    url: str
    backend: Backend
    #: The first order of the backend, which is filled.
    order: int


# --- what there is more of --------------------------------------------------------------------------------------------


def fill_journal(made: Installation, count: int) -> None:
    others = add_accounts(made.where, made.backend.id, min(count, 1000))
    add_filled_orders(made.where, made.order, others, count)


def fill_accounts(made: Installation, count: int) -> None:
    add_accounts(made.where, made.backend.id, count)


def fill_registrations(made: Installation, count: int) -> None:
    """Register keys at a local Kraken, which looks at each of them: so each has a queue and a nonce."""
    venue = KRAKEN[made.folder]
    with XWrap(made.url, timeout=60) as xwrap:
        for number in range(count):
            key, secret = f"key{number}", base64.b64encode(f"secret {number}".encode()).decode()
            venue.add_account(key, secret, {"ZEUR": Decimal(1)})
            xwrap.create_backend("bob", PASSWORD, "kraken", "", key, secret, allow_send=True).balance()


def fill_unknown(made: Installation, count: int) -> None:
    """Place one order at a local Kraken that loses its answer, and says from then on that it is down; copy it."""
    venue = KRAKEN[made.folder]
    with XWrap(made.url, timeout=60) as xwrap:
        backend = xwrap.create_backend("bob", PASSWORD, "kraken", "", venue.key, venue.secret, allow_send=True)
        venue.fault("reset_before", path="AddOrder")
        for path in ("QueryOrders", "OpenOrders", "ClosedOrders"):
            venue.fault("maintenance", path=path, times=10**9)
        with suppress(OutcomeUnknown):
            backend.buy("EUR", "BTC", "0.001", key="one")
    [(order,)] = databases.sql(made.where, "SELECT id FROM orders WHERE status = 'unknown'")
    add_unknown_orders(made.where, order, count - 1)


class Kind(NamedTuple):
    fill: Callable[[Installation, int], None]
    sizes: Sequence[int]
    full: Sequence[int]
    exchanges: str = "paper"


KINDS = {
    "journal": Kind(fill_journal, (0, 10_000, 1_000_000), (0, 100_000, 10_000_000)),
    "accounts": Kind(fill_accounts, (0, 1_000, 30_000), (0, 10_000, 100_000)),
    "registrations": Kind(fill_registrations, (1, 100, 500), (1, 1_000, 10_000), "paper,kraken"),
    "unknown": Kind(fill_unknown, (0, 100, 10_000), (0, 1_000, 10_000), "paper,kraken"),
}
#: The local exchange of each folder.
KRAKEN: dict[str, KrakenVenue] = {}


# --- the servers ------------------------------------------------------------------------------------------------------


class Server(NamedTuple):
    """A server that is measured."""

    url: str
    pid: int
    calls: dict[str, bytes]
    #: Bytes that the data base has more than without its rows.
    added: int


@contextmanager
def installation(kind: Kind, size: int, database: str | None) -> Iterator[Server]:
    """Give a server with so much of a kind."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.environ["XWRAP_EXCHANGES"] = kind.exchanges
        os.environ["XWRAP_QUOTA_ORDERS"] = os.environ["XWRAP_QUOTA_REGISTRATIONS"] = "9999999"
        if "kraken" in kind.exchanges:
            KRAKEN[folder] = stack.enter_context(KrakenVenue())
            os.environ["XWRAP_EXCHANGE_URL_KRAKEN"] = KRAKEN[folder].url
        if database is not None:
            os.environ["XWRAP_DATABASE_URL"] = database
        where: Place = Path(folder) / "xwrap.sqlite3" if database is None else database
        add_account(folder)
        add_account(folder, name="bob")
        with process(*SERVE, folder) as (url, _), XWrap(url, timeout=60) as xwrap:
            backend = xwrap.create_backend("ann", PASSWORD, "paper", "", "", "")
            order = backend.buy("USD", "BTC", "0.00000001", key="first")["id"]
            if "kraken" in kind.exchanges and size:
                kind.fill(Installation(folder, where, url, backend, order), size)
        before = bytes_of(where)
        if "kraken" not in kind.exchanges and size:
            kind.fill(Installation(folder, where, url, backend, order), size)
        added = bytes_of(where) - before
        url, pid = stack.enter_context(process(*SERVE, folder))
        yield Server(url, pid, calls_of(backend.id, order), added)


def calls_of(id: int, order: int) -> dict[str, bytes]:
    """Return what a caller does, by its name."""
    asked = {
        "buy on paper": ("POST", "buy", FORM),
        "balance": ("GET", "balance", ""),
        "order": ("GET", f"orders/{order}", ""),
        "order by key": ("GET", "orders/?key=first", ""),
        "100 orders": ("GET", "orders/?limit=100", ""),
        "open orders": ("GET", "orders/?status=open", ""),
    }
    return {name: request(method, f"/exchanges/{id}/{path}", form) for name, (method, path, form) in asked.items()}


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, to the nanosecond: the scheduler's own sums for its threads."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


# --- the measurements -------------------------------------------------------------------------------------------------


def measure(servers: dict[int, Server], at_rest: dict[int, float], rounds: int, calls: int) -> bool:
    """Print a row for each call and size; return whether all stay within the limit.

    `at_rest`: the cores that each server uses when nobody calls, which is taken off.
    """
    names = list(next(iter(servers.values())).calls)
    cpu: dict[tuple[str, int], list[float]] = {(name, size): [] for name in names for size in servers}
    waited = {place: list[float]() for place in cpu}
    for name, size in cpu:
        asyncio.run(load(servers[size].url, servers[size].calls[name], 60, 1, 5))  # the first are others
    for _ in range(rounds):
        for name, size in random.sample(list(cpu), len(cpu)):
            server, times = servers[size], list[float]()
            before, began = cpu_seconds(server.pid), time.monotonic()
            asyncio.run(load(server.url, server.calls[name], 60, 1, calls, times))
            of_others = at_rest[size] * (time.monotonic() - began)
            cpu[name, size].append((cpu_seconds(server.pid) - before - of_others) / calls)
            waited[name, size].append(statistics.median(times))
    is_good = True
    smallest = min(servers)
    print("| call | size | CPU, us | ratio | waited, us | ratio |\n|---|---|---|---|---|---|")
    for name in names:
        for size in servers:
            cells = []
            for measured in (cpu, waited):
                share = ratio_of(measured[name, size], measured[name, smallest])
                is_good &= share.median <= LIMIT
                cells += [f"{statistics.median(measured[name, size]) * 1e6:.0f}", str(share)]
            print(f"| {name} | {size} | {' | '.join(cells)} |")
        slope, at_one = line_over(servers, {size: statistics.median(cpu[name, size]) * 1e6 for size in servers})
        print(f"| {name} | n | {at_one:.0f} {slope:+.1f} log10(n) | | | |")
    return is_good


def line_over(sizes: Sequence[int] | dict[int, Server], us: dict[int, float]) -> tuple[float, float]:
    """Return the slope of the line through these microseconds over log10 of the sizes, and its value at 1."""
    slope, at_one = statistics.linear_regression([log10(max(size, 1)) for size in sizes], [us[size] for size in sizes])
    return slope, at_one


def measure_rest(servers: dict[int, Server]) -> dict[int, float]:
    """Print what each server uses when nobody calls, and what its rows take; return how many cores it uses then."""
    before = {size: cpu_seconds(server.pid) for size, server in servers.items()}
    time.sleep(REST_SECONDS)
    cores = {size: (cpu_seconds(server.pid) - before[size]) / REST_SECONDS for size, server in servers.items()}
    print("| at rest, with | CPU, % of one core | MiB resident | bytes of the data base for each |\n|---|---|---|---|")
    for size, server in servers.items():
        each = f"{server.added / size:.0f}" if size and server.added else "-"
        print(f"| {size} | {cores[size] * 100:.2f} | {resident_mib(server.pid):.0f} | {each} |")
    print()
    return cores


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=20)
    words = "seconds between the start and the first measurement: for a minute a server looks often for what is unknown"
    parser.add_argument("--settle", type=float, default=62.0, help=words)
    options = parser.parse_args()
    if wrong := [name for name in options.kinds if name not in KINDS]:
        parser.error(f"there is no {wrong[0]}; there are {', '.join(KINDS)}")
    is_good = True
    for name in options.kinds or KINDS:
        kind = KINDS[name]
        with ExitStack() as stack:
            url = stack.enter_context(databases.server()) if options.postgres else None
            servers = {}
            for size in kind.full if options.full else kind.sizes:
                began = time.monotonic()
                database = None if url is None else databases.new_database(url)
                servers[size] = stack.enter_context(installation(kind, size, database))
                print(f"{name}: {size} made in {time.monotonic() - began:.0f} s", file=sys.stderr)
            print(f"\n## {name}, {'PostgreSQL' if url else 'SQLite'}, {options.rounds} rounds of {options.calls}\n")
            time.sleep(options.settle)
            is_good &= measure(servers, measure_rest(servers), options.rounds, options.calls)
    return int(not is_good)


if __name__ == "__main__":
    sys.exit(main())
