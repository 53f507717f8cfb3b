"""What a call costs when there is more of something: the growth tables, one for each kind.

    python -m tests.benchmarks.capacity [journal] [accounts] [registrations] [unknown] [waiting] [--full] [--postgres]

Each size is a server process of its own, on a data base whose rows are copies of rows that the server wrote. All run at
the same time; in each round every call is made a few times at every size, in another order each time. A table shows for
each call the CPU time of the server, with its sessions of PostgreSQL, and the time that the caller waited, as medians
of the rounds, their ratios to those at the smallest size with the quartiles, and the line through them over the size or
its logarithm, whichever is nearer. The status is 1 when a ratio is above 1.25. Before, each server is watched for some
seconds at rest.

- journal: filled orders on paper of other accounts, and a hundredth as many of the caller's own
- accounts: other accounts, with a registration on paper each; of them are the logins, whose passwords are hashed
- registrations: those of other accounts at a local Kraken, each with a key of its own that was used
- unknown: orders of another account whose outcome is unknown, at an exchange that is down
- waiting: calls that wait for changes of another account's orders

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
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal
from math import log10
from pathlib import Path
from typing import NamedTuple

from bitmm.xwrap.client import Backend, OutcomeUnknown, XWrap
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.benchmarks.ratios import ratio_of
from tests.benchmarks.server import PASSWORD, SERVE, add_account, load, process, request
from tests.support import databases

from .rows import Place, add_accounts, add_filled_orders, add_unknown_orders, bytes_of
from .usage import cpu_clocks, cpu_since, resident_bytes

LIMIT = 1.25
REST_SECONDS = 5.0
#: The orders of a page.
PAGE = 100
#: So many accounts make their first call.
LOGINS = 30
OF_ONE_ACCOUNT = 250
#: Calls that are to wait.
BEGUN_A_SECOND = 50
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
    add_filled_orders(made.where, made.order, [made.backend.id], count // 100, "own")


def fill_accounts(made: Installation, count: int) -> None:
    add_accounts(made.where, made.backend.id, count)


def fill_registrations(made: Installation, count: int) -> None:
    """Register keys at a local Kraken."""
    venue = KRAKEN[made.folder]
    keys = {f"key{number}": base64.b64encode(f"secret {number}".encode()).decode() for number in range(count)}
    for key, secret in keys.items():  # all before the first call: the exchange looks at each of them with every call
        venue.add_account(key, secret, {"EUR": Decimal(1)})
    store = Store(made.where)
    with XWrap(made.url, timeout=60) as xwrap:
        for number, (key, secret) in enumerate(keys.items()):
            if (name := holder_of(number)) != "bob" and number % OF_ONE_ACCOUNT == 0:
                store.accounts.add(name, store.accounts.find("bob").password_hash)
            xwrap.create_backend(name, PASSWORD, "kraken", "", key, secret, allow_send=True)
    store.close()


def holder_of(number: int) -> str:
    """Return the name of the account that has the key with this number. With each new key all of its are looked at."""
    return "bob" if number < OF_ONE_ACCOUNT else f"bob-{number // OF_ONE_ACCOUNT}"


def use_registrations(url: str, count: int) -> None:
    """Use each key at the server that is measured: so it has a queue and a nonce there."""
    with XWrap(url, timeout=60) as xwrap:
        for number in range(0, count, OF_ONE_ACCOUNT):
            for backend in xwrap.list_backends(holder_of(number), PASSWORD):
                backend.balance()


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


def fill_nothing(_made: Installation, _count: int) -> None:
    pass


@contextmanager
def calls_that_wait(server: Server, count: int) -> Iterator[None]:
    """Have so many calls wait for a change that does not come."""
    message = as_other("bob", request("GET", "/exchanges/2/orders/?after=0&wait=30"))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    calls = asyncio.run_coroutine_threadsafe(_begin_one_by_one(server.url, message, count), loop)
    try:
        yield
    finally:
        failed = calls.done()
        asyncio.run_coroutine_threadsafe(_cancel_all_others(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        if failed:
            calls.result()  # raises why one of them did not wait


async def _begin_one_by_one(url: str, message: bytes, count: int) -> None:
    """Have each call wait on a connection of its own. Of 500 that come at once some are refused, to come again."""

    async def wait_for_ever(number: int) -> None:
        await asyncio.sleep(number / BEGUN_A_SECOND)
        await load(url, message, 10**6, 1)

    await asyncio.gather(*(wait_for_ever(number) for number in range(count)))


async def _cancel_all_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Kind(NamedTuple):
    fill: Callable[[Installation, int], None]
    sizes: Sequence[int]
    full: Sequence[int]
    exchanges: str = "paper"


KINDS = {
    "journal": Kind(fill_journal, (0, 10_000, 1_000_000), (0, 100_000, 10_000_000)),
    "accounts": Kind(fill_accounts, (0, 1_000, 30_000), (0, 10_000, 100_000)),
    "registrations": Kind(fill_registrations, (1, 100, 500), (1, 1_000, 10_000), "paper,kraken"),
    "waiting": Kind(fill_nothing, (0, 100, 500), (0, 100, 500)),
    "unknown": Kind(fill_unknown, (0, 100, 10_000), (0, 1_000, 10_000), "paper,kraken"),
}
#: The local exchange of each folder.
KRAKEN: dict[str, KrakenVenue] = {}


# --- the servers ------------------------------------------------------------------------------------------------------


class Server(NamedTuple):
    """A server that is measured."""

    url: str
    pid: int
    where: Place
    calls: dict[str, bytes]
    #: Bytes that the data base has more than without its rows.
    added: int


@contextmanager
def installation(kind: Kind, size: int, database: str | None) -> Iterator[Server]:
    """Give a server with so much of a kind."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.environ["XWRAP_EXCHANGES"] = kind.exchanges
        os.environ["XWRAP_PROXIES"] = "127.0.0.1"  # else one address may have 256 connections
        os.environ["XWRAP_QUOTA_ORDERS"] = os.environ["XWRAP_QUOTA_REGISTRATIONS"] = "9999999"
        os.environ.pop("XWRAP_EXCHANGE_URL_KRAKEN", None)  # of the kind before
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
            buy = request("POST", f"/exchanges/{backend.id}/buy", FORM)
            asyncio.run(load(url, buy, 600, 1, PAGE))  # so that the page of its orders is full at every size
            if kind is KINDS["waiting"]:
                xwrap.create_backend("bob", PASSWORD, "paper", "", "", "")
            if "kraken" in kind.exchanges and size:
                kind.fill(Installation(folder, where, url, backend, order), size)
        before = bytes_of(where)
        if "kraken" not in kind.exchanges and size:
            kind.fill(Installation(folder, where, url, backend, order), size)
        added = bytes_of(where) - before
        url, pid = stack.enter_context(process(*SERVE, folder))
        yield Server(url, pid, where, calls_of(backend.id, order), added)


def calls_of(id: int, order: int) -> dict[str, bytes]:
    """Return what a caller does, by its name."""
    asked = {
        "buy on paper": ("POST", "buy", FORM),
        "balance": ("GET", "balance", ""),
        "order": ("GET", f"orders/{order}", ""),
        "order by key": ("GET", "orders/?key=first", ""),
        "100 orders": ("GET", "orders/?limit=100", ""),
        "open orders": ("GET", "orders/?status=open", ""),
        "changes": ("GET", "orders/?after=999999999", ""),
    }
    return {name: request(method, f"/exchanges/{id}/{path}", form) for name, (method, path, form) in asked.items()}


def as_other(name: str, message: bytes) -> bytes:
    """Return a request as another account with the same password makes it."""
    mine, its = (base64.b64encode(f"{who}:{PASSWORD}".encode()) for who in ("ann", name))
    return message.replace(mine, its)


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
            before, began = cpu_clocks(server.pid, server.where), time.monotonic()
            asyncio.run(load(server.url, server.calls[name], 60, 1, calls, times))
            of_others = at_rest[size] * (time.monotonic() - began)
            cpu[name, size].append((cpu_since(before, server.pid, server.where) - of_others) / calls)
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
        line = line_over(list(servers), [statistics.median(cpu[name, size]) * 1e6 for size in servers])
        print(f"| {name} | n | {line} | | | |")
    return is_good


def line_over(sizes: Sequence[int], us: Sequence[float]) -> str:
    """Return the line through these microseconds over the sizes, or over their logarithms where that is nearer."""
    lines = []
    for name, xs in (("n", [float(size) for size in sizes]), ("log10(n + 1)", [log10(size + 1) for size in sizes])):
        slope, start = statistics.linear_regression(xs, us)
        error = sum((start + slope * x - y) ** 2 for x, y in zip(xs, us, strict=True))
        lines.append((error, f"{start:.0f} {slope:+.3g} {name}"))
    return min(lines)[1]


def measure_logins(servers: dict[int, Server]) -> None:
    """Print what the first call of an account costs, whose password is hashed."""
    cpu: dict[int, list[float]] = {size: [] for size in servers if size >= LOGINS}
    for number in range(1, LOGINS + 1):
        for size in random.sample(list(cpu), len(cpu)):
            server = servers[size]
            before = cpu_clocks(server.pid, server.where)
            message = as_other(f"other-{number}", request("GET", "/account"))
            asyncio.run(load(server.url, message, 60, 1, 1))
            cpu[size].append(cpu_since(before, server.pid, server.where))
    for size, seconds in cpu.items():
        print(f"| first call of an account | {size} | {statistics.median(seconds) * 1e6:.0f} | | | |")


def measure_rest(servers: dict[int, Server]) -> dict[int, float]:
    """Print what each server uses when nobody calls, and what its rows take; return how many cores it uses then."""
    before = {size: cpu_clocks(server.pid, server.where) for size, server in servers.items()}
    time.sleep(REST_SECONDS)
    cores = {size: cpu_since(before[size], server.pid, server.where) / REST_SECONDS for size, server in servers.items()}
    print("| at rest, with | CPU, % of one core | MiB resident | bytes of the data base for each |\n|---|---|---|---|")
    for size, server in servers.items():
        each = f"{server.added / size:.0f}" if size and server.added else "-"
        print(f"| {size} | {cores[size] * 100:.2f} | {resident_bytes(server.pid) / 2**20:.0f} | {each} |")
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
                if name == "registrations":
                    use_registrations(servers[size].url, size)
                print(f"{name}: {size} made in {time.monotonic() - began:.0f} s", file=sys.stderr)
            print(f"\n## {name}, {'PostgreSQL' if url else 'SQLite'}, {options.rounds} rounds of {options.calls}\n")
            if name == "waiting":
                for size, server in servers.items():
                    stack.enter_context(calls_that_wait(server, size))
            time.sleep(options.settle)
            is_good &= measure(servers, measure_rest(servers), options.rounds, options.calls)
            if name == "accounts":
                measure_logins(servers)
    return int(not is_good)


if __name__ == "__main__":
    sys.exit(main())
