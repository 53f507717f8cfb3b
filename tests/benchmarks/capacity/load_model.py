"""What one installation carries: measured on a small one, and computed from that.

    python -m tests.benchmarks.capacity.load_model [--postgres] [--calls 400] [--count 200] [--rows 20000]

It measures the CPU time of calls (with that of the sessions of PostgreSQL), what a first call costs, whose password is
hashed, a server at rest, bytes of an order, and memory of a connection, an account and a registration that was used,
each as the mean over --count. A bot looks at its balance and for changes every ten seconds, and places 200
orders a day; a core may be busy for half of its time.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import NamedTuple

from tests.benchmarks.server import load, request
from tests.support import databases

from .__main__ import KINDS, Server, as_other, installation
from .rows import add_filled_orders, add_journal_rows, bytes_of
from .usage import cpu_clocks, cpu_since, resident_bytes

__all__ = ["Figures", "load_model"]

DAY = 86_400
#: What a bot calls in a day.
BOT = {"buy on paper": 200, "balance": DAY / 10, "changes": DAY / 10}
#: The share of its time that a core may be busy.
BUSY = 0.5
REST_SECONDS = 5.0
KIB = 1024


class Figures(NamedTuple):
    """What was measured: seconds of CPU, cores, and bytes."""

    calls: dict[str, float]
    first_call: float
    at_rest: float
    order: float
    paper_rows: float
    journal_row: float
    process: float
    connection: float
    account: float
    registration: float


def load_model(figures: Figures) -> list[tuple[str, str, str]]:
    """Return what an installation carries, as lines of a table: what, how much, measured or computed."""
    rows = []
    for call, seconds in figures.calls.items():
        rows.append((f"CPU of a call: {call}", f"{seconds * 1e3:.2f} ms", "measured"))
        rows.append((f"calls a second of one core: {call}", f"{1 / seconds:,.0f}", "computed"))
    a_day = sum(figures.calls[call] * count for call, count in BOT.items())
    bots = BUSY * DAY * (1 - figures.at_rest) / a_day
    orders = bots * BOT["buy on paper"]
    return [
        *rows,
        ("CPU of the first call of an account", f"{figures.first_call * 1e3:.0f} ms", "measured"),
        ("a server at rest, of one core", f"{figures.at_rest:.2%}", "measured"),
        ("bots for each core", f"{bots:,.0f}", "computed"),
        ("orders that these place in a day", f"{orders:,.0f}", "computed"),
        ("bytes of an order on paper that was placed, with its audit", f"{figures.order:,.0f}", "measured"),
        ("bytes of a row of the journal and the books of paper", f"{figures.paper_rows:,.0f}", "measured"),
        ("bytes of a row of the journal alone", f"{figures.journal_row:,.0f}", "measured"),
        ("the data base grows in a day by", f"{orders * figures.order / 2**20:,.0f} MiB", "computed"),
        ("and in a year by", f"{orders * figures.order * 365 / 2**30:,.0f} GiB", "computed"),
        ("memory of the server process", f"{figures.process / 2**20:.0f} MiB", "measured"),
        ("memory of a connection that is open", f"{figures.connection / KIB:.1f} KiB", "measured"),
        ("memory of an account that called", f"{figures.account / KIB:.1f} KiB", "measured"),
        ("memory of a registration whose exchange was asked", f"{figures.registration / KIB:.1f} KiB", "measured"),
    ]


class _Meter:
    """Measures one server."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def call(self, message: bytes, count: int = 1) -> None:
        asyncio.run(load(self.server.url, message, 3600, 1, count))

    @contextmanager
    def cpu(self, seconds: list[float]) -> Iterator[None]:
        before = cpu_clocks(self.server.pid, self.server.where)
        yield
        seconds.append(cpu_since(before, self.server.pid, self.server.where))

    @contextmanager
    def memory(self, of_bytes: list[float]) -> Iterator[None]:
        before = resident_bytes(self.server.pid)
        yield
        of_bytes.append(resident_bytes(self.server.pid) - before)


def measure_calls(meter: _Meter, count: int) -> tuple[dict[str, float], float]:
    """Return the seconds of CPU of each call, and the bytes of an order."""
    seconds: dict[str, float] = {}
    order = 0.0
    for call, message in meter.server.calls.items():
        meter.call(message, 50)  # the first are others
        before, used = bytes_of(meter.server.where), list[float]()
        with meter.cpu(used):
            meter.call(message, count)
        seconds[call] = used[0] / count
        if call == "buy on paper":
            order = (bytes_of(meter.server.where) - before) / count
    return seconds, order


def measure_accounts(meter: _Meter, count: int) -> tuple[float, float]:
    """Return the seconds of CPU of an account's first call, and the bytes that it leaves in memory."""
    seconds, added = list[float](), list[float]()
    with meter.memory(added), meter.cpu(seconds):
        for number in range(1, count + 1):
            meter.call(as_other(f"other-{number}", request("GET", "/account")))
    return seconds[0] / count, added[0] / count


def measure_connections(meter: _Meter, count: int) -> float:
    """Return the bytes of a connection that had a call and stays open."""
    host, _, port = meter.server.url.removeprefix("http://").rpartition(":")
    message = meter.server.calls["balance"]

    async def open_all() -> float:
        writers, before = [], resident_bytes(meter.server.pid)
        for _ in range(count):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
            writers.append(writer)
        added = resident_bytes(meter.server.pid) - before
        for writer in writers:
            writer.close()
        return added / count

    return asyncio.run(open_all())


def measure_registrations(count: int, database: str | None) -> float:
    """Return the bytes of a registration at a local Kraken whose balance was asked."""
    with installation(KINDS["registrations"], count, database) as server:
        meter, added = _Meter(server), list[float]()
        first = 2  # after the caller's own
        for part in (range(10), range(10, count)):  # the first load what all of them use
            added.clear()
            with meter.memory(added):
                for number in part:
                    meter.call(as_other("bob", request("GET", f"/exchanges/{first + number}/balance")))
        return added[0] / (count - 10)


def measure(options: argparse.Namespace, base: str | None) -> Figures:
    """Measure a server with so many accounts, and one with so many registrations."""

    def fresh() -> str | None:
        return None if base is None else databases.new_database(base)

    with installation(KINDS["accounts"], options.count, fresh()) as server:
        meter = _Meter(server)
        calls, order = measure_calls(meter, options.calls)
        first_call, account = measure_accounts(meter, options.count)
        connection = measure_connections(meter, options.count)
        idle: list[float] = []
        with meter.cpu(idle):
            time.sleep(REST_SECONDS)
        process = float(resident_bytes(server.pid))
        before = bytes_of(server.where)
        add_filled_orders(server.where, 1, [1], options.rows, "measured")
        between = bytes_of(server.where)
        add_journal_rows(server.where, 1, options.rows)
        after = bytes_of(server.where)
    registration = measure_registrations(options.count, fresh())
    return Figures(
        calls=calls,
        first_call=first_call,
        at_rest=idle[0] / REST_SECONDS,
        order=order,
        paper_rows=(between - before) / options.rows,
        journal_row=(after - between) / options.rows,
        process=process,
        connection=connection,
        account=account,
        registration=registration,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rows", type=int, default=20_000)
    options = parser.parse_args()
    with ExitStack() as stack:
        base = stack.enter_context(databases.server() if options.postgres else nullcontext(None))
        table = load_model(measure(options, base))
    print(f"## {'PostgreSQL' if options.postgres else 'SQLite'}\n\n| what | how much | |\n|---|---|---|")
    for line in table:
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
