"""What a call costs the server, against bare Starlette handlers on the same uvicorn, in one interleaved run.

"hello" answers at once; "two commits" does what no order at an exchange can do without: in one thread, two commits to
an SQLite file with synchronous=FULL. "Starlette" and "FastAPI", where that is installed, are orders on paper as one
writes them there (see `peers`).

    python -m tests.benchmarks.server [--rounds 15] [--seconds 0.4] [--connections 8] [--against DIR] [--postgres]

Each target is a process of its own; in each round every request is sent for a while over kept-alive connections, in a
new order. The ratios are taken inside a round, then their median over the rounds is printed with the quartiles: on a
busy machine only these mean something. CPU is the server process's own (from /proc), per request. What a commit takes
depends on the disk: beside the figures stands how long an fsync took between the rounds. `--against DIR` runs the
server of another checkout of this project in the same rounds, and prints the ratios to it. The servers run with the
highest quota of orders (XWRAP_QUOTA_ORDERS), because a run places more than the default of 20,000.

With `--postgres` each of our servers has a data base of its own on one PostgreSQL (see `tests.support.databases`; that
which it starts writes without fsync), and the CPU of its sessions there is printed, too: that of one on another machine
cannot be seen. The handlers that we compare with stay as they are.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.support.databases import drop_database, new_database
from tests.support.databases import server as postgres

from .capacity.usage import session_clocks, used
from .ratios import ratio_of

BARE = """
import sqlite3, sys, tempfile, threading, uvicorn
from anyio import to_thread
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def hello(request):
    return JSONResponse({"hello": "world"})

local, lock = threading.local(), threading.Lock()
path = tempfile.mkdtemp() + "/bare.sqlite3"

def connection():
    if not hasattr(local, "connection"):
        local.connection = sqlite3.connect(path, isolation_level=None)
        local.connection.execute("PRAGMA journal_mode = WAL")
        local.connection.execute("PRAGMA synchronous = FULL")
        local.connection.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, a TEXT)")
    return local.connection

def commits():
    for _ in range(2):
        with lock:
            connection().execute("BEGIN IMMEDIATE")
            connection().execute("INSERT INTO t (a) VALUES ('0.00000001')")
            connection().execute("COMMIT")

async def two_commits(request):
    await request.body()
    await to_thread.run_sync(commits)
    return JSONResponse({"hello": "world"})

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print("serves at http://127.0.0.1:%d" % self.servers[0].sockets[0].getsockname()[1], flush=True)

app = Starlette(routes=[Route("/hello", hello), Route("/commits", two_commits, methods=["POST"])])
Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off")).run()
"""
PASSWORD = "a password for the benchmark"
SERVE = ["-m", "bitmm.xwrap", "serve", "--port", "0", "--data"]


class Target(NamedTuple):
    """A request to a server; `database` is the URL of its own at PostgreSQL."""

    url: str
    pid: int
    message: bytes
    database: str | None = None


@contextmanager
def process(*args, checkout=None, environ=None):
    """A server process; gives its URL and its id."""
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(
            [sys.executable, *args],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=checkout,
            env={**os.environ, **(environ or {})},
        )
        try:
            url = next((line.split()[-1] for line in child.stdout if "serves at" in line), None)
            if url is None:
                log.seek(0)
                raise RuntimeError(f"{args} did not start: {log.read()}")
            yield url, child.pid
        finally:
            child.terminate()
            child.communicate(timeout=15)


def add_account(folder, checkout=None, name="ann", environ=None):
    """The account that calls, in the data of this folder, whose tables are those of the checkout."""
    add = [sys.executable, "-m", "bitmm.xwrap", "account", "add", name, "--password-stdin", "--data", folder]
    env = {**os.environ, **(environ or {})}
    subprocess.run(add, input=PASSWORD, text=True, check=True, stdout=subprocess.DEVNULL, cwd=checkout, env=env)


def request(method, path, form="", *, auth=True, name="ann"):
    """A whole request in bytes, of the account with this name."""
    token = base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"Authorization: Basic {token}"] * auth
    if form:
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + form).encode()


async def load(url, message, seconds, connections, most=10**9, times=None):
    """Send `message` over kept-alive connections for a while, `most` times at most; how many answers came.

    `times` gets the seconds that each took.
    """
    address = urlsplit(url)
    end = time.monotonic() + seconds
    count = 0

    async def talk():
        nonlocal count
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        while time.monotonic() < end and count < most:
            began = time.perf_counter()
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 2"), head
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
            await reader.readexactly(int(length))
            count += 1
            if times is not None:
                times.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(talk() for _ in range(connections)))
    return count


def cpu(pid):
    """Seconds of CPU that a process used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--against", metavar="DIR", help="another checkout of this project, to compare with")
    parser.add_argument("--postgres", action="store_true", help="our servers use PostgreSQL")
    options = parser.parse_args()
    os.environ["XWRAP_EXCHANGES"] = "paper"
    # A run places more orders than the default quota of a day lets an account place.
    os.environ["XWRAP_QUOTA_ORDERS"] = str(ORDER_QUOTA)
    with ExitStack() as stack:
        base = stack.enter_context(postgres()) if options.postgres else None
        hello, hello_pid = stack.enter_context(process("-c", BARE))
        targets = {
            "hello": Target(hello, hello_pid, request("GET", "/hello", auth=False)),
            "two commits": Target(hello, hello_pid, request("POST", "/commits", ORDER)),
        }
        for name in filter(find_spec, PEERS):
            url, pid = stack.enter_context(process("-m", "tests.benchmarks.peers", name))
            targets[PEERS[name]] = Target(url, pid, request("POST", "/buy", ORDER))
        targets |= stack.enter_context(our_targets(None, "", base))
        if options.against:
            targets |= stack.enter_context(our_targets(options.against, OTHER, base))
        measure(targets, options)


#: The greatest that the setting takes.
ORDER_QUOTA = 9_999_999
ORDER = "currency=USD&asset=BTC&amount=0.00000001"
#: The end of the names of the other checkout's calls.
OTHER = " (other)"
BUY = "buy on paper"
#: What others write, by the package that it needs.
PEERS = {"starlette": "Starlette", "fastapi": "FastAPI"}


@contextmanager
def our_targets(checkout, ending, base):
    """The calls of a server of ours with fresh data, by name. `base`: the PostgreSQL on which it has a data base."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        database = new_database(base) if base else None
        if base:
            stack.callback(drop_database, base, database)
        environ = {"XWRAP_DATABASE_URL": database} if base else {}
        add_account(folder, checkout, environ=environ)
        server, pid = stack.enter_context(process(*SERVE, folder, checkout=checkout, environ=environ))
        asyncio.run(load(server, request("POST", "/exchanges/", "exchange=paper"), 60, 1, most=1))
        calls = {
            "list_exchanges": request("GET", "/list_exchanges/", auth=False),
            "exchange_rates": request("GET", "/exchange_rates/?from=USD&to=BTC", auth=False),
            "one registration": request("GET", "/exchanges/1"),
            "balance of one": request("GET", "/exchanges/1/balance"),
            BUY: request("POST", "/exchanges/1/buy", ORDER),
        }
        yield {name + ending: Target(server, pid, message, database) for name, message in calls.items()}


def measure(targets, options):
    rates, costs, sessions = ({name: [] for name in targets} for _ in range(3))
    fsyncs = []
    for _ in range(options.rounds):
        fsyncs.append(fsync_ms())
        for name in random.sample(list(targets), len(targets)):
            target = targets[name]
            at_postgres = session_clocks(target.database) if target.database else {}
            before, start = cpu(target.pid), time.monotonic()
            count = asyncio.run(load(target.url, target.message, options.seconds, options.connections))
            rates[name].append(count / (time.monotonic() - start))
            costs[name].append((cpu(target.pid) - before) / count)
            if target.database:
                sessions[name].append(used(at_postgres, session_clocks(target.database)) / count)
    print(f"{options.rounds} rounds of {options.seconds} s, {options.connections} connections, {os.cpu_count()} CPUs")
    low, middle, high = statistics.quantiles(fsyncs, n=4, method="inclusive")
    print(f"an fsync took {middle:.2f} ms ({low:.2f} to {high:.2f})\n")
    titles = ["call", "rate / hello", "CPU / hello", "rate / two commits", "calls a second", "CPU, us"]
    titles += ["CPU of PostgreSQL, us"] * options.postgres
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for name in targets:
        cells = ratio_of(rates[name], rates["hello"]), ratio_of(costs[name], costs["hello"])
        cells = *map(str, cells), str(ratio_of(rates[name], rates["two commits"]))
        cells = *cells, f"{statistics.median(rates[name]):.0f}", f"{statistics.median(costs[name]) * 1e6:.0f}"
        if options.postgres:
            cells = *cells, f"{statistics.median(sessions[name]) * 1e6:.0f}" if sessions[name] else "-"
        print(f"| {' | '.join([name, *cells])} |")
    print()
    others = [(BUY, name) for name in PEERS.values()] + [(name, name + OTHER) for name in targets]
    for name, other in others:
        if other in targets:
            rate, cost = ratio_of(rates[name], rates[other]), ratio_of(costs[name], costs[other])
            if sessions[other] and any(sessions[other]):
                of_postgres = f" ({ratio_of(sessions[name], sessions[other])} of that of PostgreSQL)"
            else:
                of_postgres = ""
            print(f"{name}: {rate} of the rate and {cost} of the CPU time of {other}{of_postgres}")


def fsync_ms():
    """Milliseconds that bringing 4 KiB to the disk takes, where the data bases of this run are; the median of 9."""
    took = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(9):
            file.write(bytes(4096))
            start = time.perf_counter()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - start) * 1000)
    return statistics.median(took)


if __name__ == "__main__":
    main()
