"""Kills the server, again and again, while clients trade through it, and compares with the exchange's own ledger.

    python -m tests.long.crash [--kills 700] [--orders 10000] [--venue kraken] [--postgres] [--seed N]

Five sevenths of the kills come at named points of an order's way (see crash_server.py), the others at random moments.
All the time eight threads place orders with keys of their own, through the real client, and repeat each with its key
until they have a definite answer. Each order has an amount of its own, so the ledger tells what was executed.

It prints, and exits with 1 unless the first three are 0 and every data base was sound:
  lost     orders that a client was told of and the exchange does not have
  doubled  executions beyond the first of one order, and those that nobody ordered
  unknown  orders that had no definite outcome 60 s after the last kill that cut off a request of theirs
  resent   requests to execute an order that the exchange got beyond the first one: after it had refused that one (its
           nonce came too late), and had told that it has no such order
Where an exchange cannot look up orders (mtgox, hub), unknown ones are left: then they must be listed by `xwrap orders
unknown` and by /ready, nothing may be resent, and a repeat of their keys must not send anything either.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import APIError, OutcomeUnknown, RateLimited, Unavailable
from tests.databases import drop_database, new_database, server
from tests.long.crash_server import POINTS
from tests.long.rig import LINES, PATIENCE, ROOT, Broken, Line, Rig, executions, rig

THREADS = 8
RANDOM = "at random moments"
UNKNOWN_SECONDS = 60.0
#: More orders than any run has.
MOST = 100_000
#: So often an order that its exchange cannot look up is asked for again.
ASKED = 3


@dataclass
class Order:
    """One order of a client, until it knows what became of it."""

    number: int
    side: str
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    unknown_since: float | None = None
    known_at: float | None = None
    answers: int = 0
    exchange_order_id: str | None = None
    failure: str | None = None

    @property
    def doubt(self) -> float:
        """Seconds during which nobody knew its outcome."""
        if self.unknown_since is None:
            return 0.0
        return (self.known_at or time.monotonic()) - self.unknown_since


class Work:
    """The orders of all threads: new ones as long as they are wanted, and those that are to be repeated."""

    def __init__(self, wanted: int, *, pause: float, patient: bool) -> None:
        self.orders: list[Order] = []
        self.done = 0
        self.killing = True
        self.pause = pause
        self._wanted = wanted
        self._patient = patient
        self._later: list[tuple[float, int, Order]] = []
        self._count = itertools.count()
        self._open = 0
        self._changed = threading.Condition()

    def next(self) -> Order | None:
        """The next one to place; None: there is nothing left."""
        with self._changed:
            while True:
                if self._later and self._later[0][0] <= time.monotonic():
                    return heapq.heappop(self._later)[2]
                if self.killing or len(self.orders) < self._wanted:
                    number = len(self.orders)
                    self.orders.append(Order(number, ("buy", "sell")[number % 2]))
                    self._open += 1
                    return self.orders[-1]
                if not self._open:
                    return None
                self._changed.wait(max(0.0, self._later[0][0] - time.monotonic()) if self._later else 1.0)

    def later(self, order: Order, seconds: float) -> None:
        with self._changed:
            if not self._patient and order.answers >= ASKED:
                self._open -= 1
            else:
                heapq.heappush(self._later, (time.monotonic() + seconds, next(self._count), order))
            self._changed.notify_all()

    def over(self, order: Order) -> None:
        order.known_at = time.monotonic()
        with self._changed:
            self.done += 1
            self._open -= 1
            self._changed.notify_all()

    def wait_for(self, done: int) -> None:
        """Until so many orders have come to their end."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.done >= done, PATIENCE):
                raise Broken(f"no order came to its end within {PATIENCE:.0f} s")

    def stop_killing(self) -> None:
        with self._changed:
            self.killing = False
            self._changed.notify_all()


def trade(line: Line, backend: Backend, work: Work) -> None:
    """What one thread does."""
    while (order := work.next()) is not None:
        attempt(line, backend, work, order)


def attempt(line: Line, backend: Backend, work: Work, order: Order) -> None:
    """Place one order, or ask for it by placing it again with its key."""
    try:
        placed = line.move(backend, order.side, order.number, order.key)
    except OutcomeUnknown as error:
        # A request that was cut off by a kill may have run anew, so its outcome is unknown from then on.
        if order.unknown_since is None or error.code == "no_answer":
            order.unknown_since = time.monotonic()
        # Only what the server itself says counts as asked; a connection that broke does not.
        order.answers += error.code == "outcome_unknown"
        work.later(order, work.pause)
    except (Unavailable, RateLimited):
        # The server is being started, or has too much to do; nothing of this attempt was executed.
        time.sleep(0.02)
        work.later(order, 0.0)
    except APIError as error:
        order.failure = repr(error)
        work.over(order)
    else:
        order.exchange_order_id = placed["exchange_order_id"]
        work.over(order)


@dataclass
class Figures:
    """What a run found."""

    venue: str
    base: str
    kills: Counter[str]
    orders: int = 0
    lost: int = 0
    doubled: int = 0
    unknown: int = 0
    resent: int = 0
    listed: int = 0
    blocked: int = 0
    doubted: int = 0
    longest: float = 0.0
    sound: int = 0
    seconds: float = 0.0
    #: What must not be at all.
    wrong: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.unknown or self.wrong)

    def __str__(self) -> str:
        where = [f"{count} {POINTS.get(point, point)}" for point, count in self.kills.items()]
        lines = [
            f"{self.kills.total()} kills of the server on {self.base} against {self.venue}: {'; '.join(where)}",
            (
                f"{self.orders} orders from {THREADS} threads in {self.seconds:.0f} s; {self.doubted} were unknown for "
                f"a while, the longest for {self.longest:.1f} s"
            ),
            f"lost {self.lost}, doubled {self.doubled}, unknown after 60 s {self.unknown}, resent {self.resent}",
        ]
        if self.listed or self.blocked:
            lines.append(f"{self.listed} are unknown for ever and listed, {self.blocked} of them blocked")
        if self.sound:
            lines.append(f"data base sound {self.sound} of {self.kills.total()}")
        return "\n".join([*lines, *self.wrong[:20]])


def run(
    *,
    kills: int,
    orders: int,
    venue: str = "kraken",
    database: str | None = None,
    seed: int = 0,
    tell: Any = lambda _line: None,
) -> Figures:
    """The whole test; see the module."""
    line, chance, began = LINES[venue], random.Random(seed), time.monotonic()
    plan = [point for point in POINTS for _ in range(kills // 7)]
    plan += [RANDOM] * (kills - len(plan))
    chance.shuffle(plan)
    figures = Figures(venue, "PostgreSQL" if database else "SQLite", Counter(sorted(plan)))
    quick = {"settle_seconds": 0.2, "settle_grace_seconds": 0.5, "exchange_seconds": 2.0}
    with rig(venue, database=database, **quick) as built:
        built.keeper.start()
        id = built.register(venue)
        built.keeper.end(signal.SIGTERM)
        work = Work(orders, pause=0.25, patient=line.finds_orders)
        backends = [built.backend(id, timeout=6.0) for _ in range(THREADS)]
        threads = [threading.Thread(target=trade, args=(line, backend, work), daemon=True) for backend in backends]
        for thread in threads:
            thread.start()
        for number, point in enumerate(plan, 1):
            kill(built, work, point, chance, per_life=orders / kills)
            figures.sound += check(built, figures)
            if number % 50 == 0:
                tell(f"{number} kills, {work.done} orders, {time.monotonic() - began:.0f} s")
        built.keeper.start()
        work.stop_killing()
        for thread in threads:
            thread.join(UNKNOWN_SECONDS + PATIENCE)
        count(figures, built, line, work)
        if not line.finds_orders:
            look_at_the_unknown(figures, built, line, work, backends[0])
        if built.keeper.end(signal.SIGTERM) != 0:
            figures.wrong.append("the last server did not stop in order")
    figures.seconds = time.monotonic() - began
    return figures


def kill(built: Rig, work: Work, point: str, chance: random.Random, *, per_life: float) -> None:
    """One life of the server, and its end."""
    # On the average as many orders as a life has to bring.
    hit = chance.randint(1, max(1, round(2 * per_life) - 1))
    if point == RANDOM:
        built.keeper.start()
        work.wait_for(work.done + hit)
        time.sleep(chance.uniform(0, 0.03))
        status = built.keeper.end(signal.SIGKILL)
    else:
        built.keeper.start(point=point, hit=hit)
        status = built.keeper.ended()
    if status != -signal.SIGKILL:
        raise Broken(f"a server that was to be killed ended with {status}")


def check(built: Rig, figures: Figures) -> bool:
    """Whether the data base that a killed server left is sound; a copy is looked at, for looking repairs."""
    if isinstance(built.database, str):
        return False
    with tempfile.TemporaryDirectory() as folder:
        for file in built.data.glob("xwrap.sqlite3*"):
            shutil.copy(file, folder)
        with closing(sqlite3.connect(Path(folder) / "xwrap.sqlite3")) as connection:
            said = connection.execute("PRAGMA integrity_check").fetchall()
    if said != [("ok",)]:
        figures.wrong.append(f"the data base is damaged: {said}")
    return said == [("ok",)]


def arrivals(line: Line, built: Rig) -> Counter[int]:
    """How many requests to execute each order the venue got; an order is known by its amount."""
    [venue] = built.venues.values()
    with venue.lock:
        requests = list(venue.requests)
    if len(requests) == venue.requests.maxlen:
        raise Broken("the venue got more requests than it keeps")
    paths = {line.moves["buy"], line.moves["sell"]}
    asked = [request for request in requests if any(path in f"{request.method} {request.path}" for path in paths)]
    return Counter(number for request in asked if (number := number_in(line, request.body.decode())) is not None)


def number_in(line: Line, body: str) -> int | None:
    """The order that a request is for. Its amount is among the numbers there, perhaps as an integer of 1e-8."""
    for text in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", body):
        for amount in (Decimal(text), Decimal(text).scaleb(-8)):
            number = line.number(amount)
            if number is not None and number < MOST:
                return number
    return None


def count(figures: Figures, built: Rig, line: Line, work: Work) -> None:
    """Compare what the clients know with what the exchange has executed."""
    venue = built.venues[figures.venue]
    executed = executions(line, venue)
    strangers = sum(times for number, times in executed.items() if number is None or number >= len(work.orders))
    known = [order for order in work.orders if order.known_at is not None and order.failure is None]
    open_ends = [order for order in work.orders if order.known_at is None]
    figures.orders = len(work.orders)
    figures.lost = sum(not executed[order.number] for order in known)
    figures.doubled = sum(max(0, executed[order.number] - 1) for order in work.orders) + strangers
    got = arrivals(line, built)
    figures.resent = sum(times - 1 for times in got.values())
    if not set(executed) <= {*got, None}:
        figures.wrong.append("the venue executed orders without having been asked to")
    figures.doubted = sum(order.unknown_since is not None for order in work.orders)
    late = [order.doubt > UNKNOWN_SECONDS for order in known]
    figures.longest = max([order.doubt for order in known], default=0.0)
    figures.unknown = sum(late) + (len(open_ends) if line.finds_orders else 0)
    figures.wrong += [f"order {order.number}: {order.failure}" for order in work.orders if order.failure]
    told = Counter(order.exchange_order_id for order in known)
    if len(told) != len(known) or None in told:
        figures.wrong.append("two orders were told to be the same one, or one to be none")


def look_at_the_unknown(figures: Figures, built: Rig, line: Line, work: Work, backend: Backend) -> None:
    """Those whose outcome nobody can find out are listed, and their keys are blocked."""
    unknown = [order for order in work.orders if order.known_at is None]
    command = [sys.executable, "-m", "bitmm.xwrap", "orders", "unknown", "--data", str(built.data)]
    environ = {**os.environ, **({"XWRAP_DATABASE_URL": built.database} if isinstance(built.database, str) else {})}
    listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environ).stdout
    keys = {row.split()[-1] for row in listed.splitlines()}
    if keys != {order.key for order in unknown}:
        figures.wrong.append(f"`xwrap orders unknown` lists {len(keys)} orders, {len(unknown)} are unknown")
    ready = requests.get(f"{built.keeper.url}/ready", timeout=30).json()["unknown"]["orders"]
    if ready.get(line.exchange, 0) != len(unknown):
        figures.wrong.append(f"/ready tells of {ready}, {len(unknown)} are unknown")
    if figures.resent:
        figures.wrong.append("orders were sent again though nobody could know what had become of them")
    before = arrivals(line, built).total()
    for order in unknown:
        try:
            line.move(backend, order.side, order.number, order.key)
        except OutcomeUnknown:
            figures.blocked += 1
    figures.listed = len(keys)
    figures.resent += arrivals(line, built).total() - before
    if figures.blocked != len(unknown):
        figures.wrong.append(f"of {len(unknown)} unknown orders {figures.blocked} are blocked")


@contextmanager
def database() -> Iterator[str]:
    """The URL of a fresh data base on PostgreSQL."""
    with server() as base:
        made = new_database(base)
        try:
            yield made
        finally:
            drop_database(base, made)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.long.crash", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=700)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--venue", choices=sorted(LINES), default="kraken")
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL; see tests/databases.py")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with database() if options.postgres else nullcontext() as url:
        figures = run(
            kills=options.kills,
            orders=options.orders,
            venue=options.venue,
            database=url,
            seed=options.seed,
            tell=lambda line: print(line, flush=True),
        )
    print(figures)
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
