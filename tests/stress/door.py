"""Attacks on the running server, and what an honest client and the server's memory notice of them.

    python -m tests.stress.door [ATTACK ...] [--seconds 5] [--size N]

The server is a process of its own with the shipped settings, and the attacker another one. The honest client calls from
127.0.0.1, the attackers from other addresses of loopback. It asks for rates and a balance on paper (a cached call), now
and then on a new connection, and cancels orders; first for so many seconds in quiet, then as long under attack.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import multiprocessing
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.stress.attacks import Attack, Target, guessers, held_connections, long_header, other_accounts

#: A new attack is a module in tests/stress/attacks/ and a line here.
ATTACKS = {
    attack.name: attack
    for attack in (
        long_header.ATTACK,
        held_connections.SLOW_HEADS,
        held_connections.IDLE,
        held_connections.HALF_BODIES,
        held_connections.OWN_HALF_BODIES,
        guessers.FORGED,
        guessers.SHARED,
        other_accounts.HANGING_CANCELS,
        other_accounts.REGISTRATIONS,
    )
}

#: What an attack may cost the honest client: milliseconds of the 99th percentile, of a cached call more than in quiet.
MOST_CACHED, MOST_CANCEL = 50.0, 200.0
#: MB that the server may grow by; and what may be left of it after the attack, when the allocator has had its time.
MOST_MEMORY, MOST_LEFT = 50.0, 15.0
SETTLE_SECONDS = 20.0
PASSWORD = "correct horse battery"


@dataclass
class Server:
    """A running server, with its process id."""

    port: int
    pid: int

    def memory(self) -> float:
        """Return the resident memory, in MB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def start_server(environ: Mapping[str, str], users: tuple[str, ...]) -> Iterator[Server]:
    """Start `xwrap serve` with fresh data in which these accounts are; stop it at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="xwrap-door-") as folder:
        settings = {name: value for name, value in os.environ.items() if not name.startswith("XWRAP_")}
        settings |= {"XWRAP_EXCHANGES": "paper", "PYTHONPATH": os.pathsep.join(sys.path), **environ}
        command = [sys.executable, "-m", "bitmm.xwrap"]
        for user in users:
            add = [*command, "account", "add", user, "--password-stdin", "--data", folder]
            subprocess.run(add, input=PASSWORD, text=True, check=True, stdout=subprocess.DEVNULL, env=settings)
        serve = [*command, "serve", "--port", "0", "--data", folder]
        with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, env=settings) as process:
            try:
                line = next(line for line in process.stdout or () if "serves at" in line)
                yield Server(int(line.rpartition(":")[2]), process.pid)
            finally:
                process.terminate()


class Caller:
    """An honest client on a connection of its own, which it keeps unless it is told otherwise."""

    def __init__(self, port: int, user: str) -> None:
        self._port = port
        token = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}"}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def call(self, method: str, path: str, form: Mapping[str, str] | None = None, *, anew: bool = False) -> Any:
        """Return the answer's document. Raises OSError, HTTPException, or AssertionError for any refusal."""
        if anew:
            self._connection.close()
        headers = dict(self._headers)
        if form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self._connection.request(method, path, urlencode(form) if form else None, headers)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status in (200, 201), f"{answer.status} {body[:200].decode(errors='replace')}"
        return json.loads(body)

    def close(self) -> None:
        self._connection.close()


@dataclass
class Figures:
    """What the honest client met: milliseconds of its calls and its cancels, and each refusal."""

    cached: list[float] = field(default_factory=list)
    cancels: list[float] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


class HonestClient:
    """Calls the server from two threads: cached calls in one, cancels in the other."""

    def __init__(self, port: int, user: str) -> None:
        self._callers = Caller(port, user), Caller(port, user)
        self.registration = int(self._callers[0].call("POST", "/exchanges/", {"exchange": "paper"})["id"])

    @contextmanager
    def calling(self) -> Iterator[Figures]:
        """Call as long as the block runs; give the figures, which are complete after the block."""
        figures, stop = Figures(), threading.Event()
        threads = [
            threading.Thread(target=self._repeat, args=(function, every, stop, figures))
            for function, every in ((self._cached, 0.01), (self._cancel, 0.05))
        ]
        for thread in threads:
            thread.start()
        try:
            yield figures
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def close(self) -> None:
        for caller in self._callers:
            caller.close()

    @staticmethod
    def _repeat(
        function: Callable[[Figures, int], None], every: float, stop: threading.Event, figures: Figures
    ) -> None:
        number = 0
        while not stop.wait(every):
            try:
                function(figures, number)
            except (OSError, http.client.HTTPException, AssertionError) as error:
                figures.refusals.append(f"{function.__name__}: {error!r}")
            number += 1

    def _cached(self, figures: Figures, number: int) -> None:
        path = f"/exchanges/{self.registration}/balance" if number % 2 else "/exchange_rates/?from=USD&to=BTC"
        began = time.perf_counter()
        self._callers[0].call("GET", path, anew=number % 10 == 0)
        figures.cached.append((time.perf_counter() - began) * 1000)

    def _cancel(self, figures: Figures, _number: int) -> None:
        form = {"currency": "USD", "asset": "BTC", "amount": "0.001", "price": "1"}
        orders = f"/exchanges/{self.registration}"
        order = self._callers[1].call("POST", f"{orders}/buy", form)["id"]
        began = time.perf_counter()
        self._callers[1].call("DELETE", f"{orders}/orders/{order}")
        figures.cancels.append((time.perf_counter() - began) * 1000)


@contextmanager
def attacking(attack: Attack, target: Target, size: int) -> Iterator[Counter[str]]:
    """Carry the attack out in a process of its own while the block runs; give what the attacker saw, after the block.

    It has the lower priority: a real attacker does not take the server's own processor.
    """
    seen: Counter[str] = Counter()
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=_attack, args=(attack.name, target, size, its))
    process.start()
    its.close()
    try:
        assert ours.recv() == "started"
        yield seen
        ours.send("stop")
        seen.update(ours.recv())
    finally:
        ours.close()
        process.join(30)
        process.kill()
        process.join()


def _attack(name: str, target: Target, size: int, pipe: Connection) -> None:
    os.nice(10)
    with ATTACKS[name].start(target, size) as seen:
        pipe.send("started")
        pipe.recv()
    pipe.send(seen)


@dataclass
class Memory:
    """The server's resident memory, in MB: before the attack, at most, and when it had settled."""

    before: float
    most: float
    after: float = 0.0


@contextmanager
def _watching(server: Server) -> Iterator[Memory]:
    """Watch the memory while the block runs, and then until it is given back, or for `SETTLE_SECONDS`."""
    before = server.memory()
    memory, stop = Memory(before, before), threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            memory.most = max(memory.most, server.memory())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        stop.set()
        thread.join()
    end = time.monotonic() + SETTLE_SECONDS
    while (after := server.memory()) > memory.before + MOST_LEFT and time.monotonic() < end:
        time.sleep(0.2)
    memory.after = after


def run(attack: Attack, seconds: float, size: int) -> list[str]:
    """Carry one attack out, print its figures, and return what was not as it must be."""
    honest_name, attacker_name = (f"user-{secrets.token_hex(3)}" for _ in range(2))
    with attack.environment() as environ, start_server(environ, (honest_name, attacker_name)) as server:
        attacker = Caller(server.port, attacker_name)
        registration = int(attacker.call("POST", "/exchanges/", {"exchange": "paper"})["id"])
        attacker.close()
        target = Target("127.0.0.1", server.port, attacker_name, PASSWORD, registration, honest_name, environ)
        client = HonestClient(server.port, honest_name)
        with client.calling():  # What is made once is made: connections, threads, the rates.
            time.sleep(min(seconds, 1.0))
        with client.calling() as quiet:
            time.sleep(seconds)
        with _watching(server) as memory, client.calling() as attacked, attacking(attack, target, size) as seen:
            time.sleep(seconds)
        client.close()
    print(f"{attack.name}, {size}: {attack.description}")
    rows = (("a cached call", quiet.cached, attacked.cached), ("a cancel", quiet.cancels, attacked.cancels))
    for name, before, during in rows:
        print(f"  {name}: p99 {p99(before):.1f} ms in quiet, {p99(during):.1f} ms under attack ({len(during)} calls)")
    grown, left = memory.most - memory.before, memory.after - memory.before
    print(f"  memory: {memory.before:.0f} MB, {grown:+.0f} MB at most, {left:+.0f} MB afterwards")
    print(f"  refusals of the honest client: {len(quiet.refusals)} in quiet, {len(attacked.refusals)} under attack")
    print(f"  the attacker saw: {dict(seen)}")
    checks = {
        f"{len(attacked.refusals)} refusals, such as {attacked.refusals[:1]}": not attacked.refusals,
        "too few calls": min(len(attacked.cached), len(attacked.cancels)) >= 10,
        "a cached call takes too long": p99(attacked.cached) <= p99(quiet.cached) + MOST_CACHED,
        "a cancel takes too long": p99(attacked.cancels) <= max(MOST_CANCEL, p99(quiet.cancels)),
        "the memory grows too much": grown <= MOST_MEMORY,
        "the memory is not given back": left <= MOST_LEFT,
    }
    return [f"{attack.name}: {problem}" for problem, holds in checks.items() if not holds]


def p99(milliseconds: list[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(milliseconds, n=100)[98] if len(milliseconds) > 1 else float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.door", description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=f"all, or some of: {', '.join(ATTACKS)}")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--size", type=int, help="in place of each attack's own")
    options = parser.parse_args()
    if unknown := set(options.attacks) - set(ATTACKS):
        parser.error(f"there is no attack {', '.join(sorted(unknown))}; there are {', '.join(ATTACKS)}")
    problems = []
    for attack in [ATTACKS[name] for name in options.attacks or ATTACKS]:
        problems += run(attack, options.seconds, options.size or attack.size)
    print("\n".join(f"FAILED {problem}" for problem in problems) or "all as it must be")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
