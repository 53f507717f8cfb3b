"""What a call costs the server, against bare Starlette handlers on the same uvicorn, in one interleaved run.

"hello" answers at once; "two commits" does what no order can do without: in one thread, two commits to an SQLite file
with synchronous=FULL.

    python -m tests.benchmarks.server [--rounds 15] [--seconds 0.4] [--connections 8] [--against DIR]

Each target is a process of its own; in each round every request is sent for a while over kept-alive connections, in a
new order. The ratios are taken inside a round, then their median over the rounds is printed: on a busy machine only
these mean something. CPU is the server process's own (from /proc), per request. `--against DIR` runs the server of
another checkout of this project in the same rounds, and prints the ratios to it. The servers run with the highest quota
of orders (XWRAP_QUOTA_ORDERS), because a run places more than the default of 20,000.
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
from pathlib import Path
from urllib.parse import urlsplit

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


@contextmanager
def process(*args, checkout=None):
    """A server process; gives its URL and its id."""
    child = subprocess.Popen([sys.executable, *args], stdout=subprocess.PIPE, text=True, cwd=checkout)
    try:
        url = next(line for line in child.stdout if "serves at" in line).split()[-1]
        yield url, child.pid
    finally:
        child.terminate()
        child.communicate(timeout=15)


def add_account(folder, checkout=None):
    """The account that calls, in the data of this folder, whose tables are those of the checkout."""
    add = [sys.executable, "-m", "bitmm.xwrap", "account", "add", "ann", "--password-stdin", "--data", folder]
    subprocess.run(add, input=PASSWORD, text=True, check=True, stdout=subprocess.DEVNULL, cwd=checkout)


def request(method, path, form="", *, auth=True):
    """A whole request in bytes."""
    token = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
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
    options = parser.parse_args()
    os.environ["XWRAP_EXCHANGES"] = "paper"
    # A run places more orders than the default quota of a day lets an account place.
    os.environ["XWRAP_QUOTA_ORDERS"] = str(ORDER_QUOTA)
    with ExitStack() as stack:
        hello, hello_pid = stack.enter_context(process("-c", BARE))
        targets = {
            "hello": (hello, hello_pid, request("GET", "/hello", auth=False)),
            "two commits": (hello, hello_pid, request("POST", "/commits", ORDER)),
        }
        targets |= stack.enter_context(our_targets(None, ""))
        if options.against:
            targets |= stack.enter_context(our_targets(options.against, OTHER))
        measure(targets, options)


#: The greatest that the setting takes.
ORDER_QUOTA = 9_999_999
ORDER = "currency=USD&asset=BTC&amount=0.00000001"
#: The end of the names of the other checkout's calls.
OTHER = " (other)"


@contextmanager
def our_targets(checkout, ending):
    """The calls of a server of ours with fresh data, by name."""
    with tempfile.TemporaryDirectory() as folder:
        add_account(folder, checkout)
        with process(*SERVE, folder, checkout=checkout) as (server, pid):
            asyncio.run(load(server, request("POST", "/exchanges/", "exchange=paper"), 60, 1, most=1))
            calls = {
                "list_exchanges": request("GET", "/list_exchanges/", auth=False),
                "exchange_rates": request("GET", "/exchange_rates/?from=USD&to=BTC", auth=False),
                "one registration": request("GET", "/exchanges/1"),
                "balance of one": request("GET", "/exchanges/1/balance"),
                "buy on paper": request("POST", "/exchanges/1/buy", ORDER),
            }
            yield {name + ending: (server, pid, message) for name, message in calls.items()}


def measure(targets, options):
    rates, costs = {name: [] for name in targets}, {name: [] for name in targets}
    for _ in range(options.rounds):
        for name in random.sample(list(targets), len(targets)):
            url, pid, message = targets[name]
            before, start = cpu(pid), time.monotonic()
            count = asyncio.run(load(url, message, options.seconds, options.connections))
            rates[name].append(count / (time.monotonic() - start))
            costs[name].append((cpu(pid) - before) / count)
    print(f"{options.rounds} rounds of {options.seconds} s, {options.connections} connections, {os.cpu_count()} CPUs")
    print(f"{'call':20}{'rate / hello':>14}{'CPU / hello':>14}{'rate / commits':>16}{'calls/s':>10}{'CPU us':>9}")
    for name in targets:
        rate, cost, commits = (
            ratio(rates[name], rates["hello"]),
            ratio(costs[name], costs["hello"]),
            ratio(rates[name], rates["two commits"]),
        )
        own = f"{statistics.median(rates[name]):10.0f}{statistics.median(costs[name]) * 1e6:9.0f}"
        print(f"{name:26}{rate:8.2f}{cost:14.2f}{commits:16.2f}{own}")
    for name in targets:
        if name + OTHER in targets:
            rate, cost = ratio(rates[name], rates[name + OTHER]), ratio(costs[name], costs[name + OTHER])
            print(f"{name}: {rate:.2f} of the rate and {cost:.2f} of the CPU time of the other checkout")


def ratio(mine, its):
    """The median over the rounds."""
    return statistics.median(one / other for one, other in zip(mine, its, strict=True) if other)


if __name__ == "__main__":
    main()
