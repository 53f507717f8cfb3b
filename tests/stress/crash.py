"""Kills the server, again and again, while clients trade through it, and compares with the exchange's own ledger.

    python -m tests.stress.crash [--kills 700] [--orders 10000] [--venue kraken] [--sends] [--postgres] [--seed N]

Five sevenths of the kills come at named points of an order's way (see crash_server.py), the others at random moments.
All the time eight threads place orders with keys of their own, through the real client, and repeat each with its key
until they have a definite answer. Each order has an amount of its own, so the ledger tells what was executed. With
`--sends` every third of these orders is a send, and every second kill at a point is on a send's way. Half of the sends
go to one address, so that nothing but our id tells one of them from another; the others can be recognised by theirs.

It prints, of orders and of sends, and exits with 1 unless the first three are 0 and every data base was sound:
  lost     those that a client was told of and the exchange does not have
  doubled  executions beyond the first of one, and those that nobody ordered
  unknown  those that had no definite outcome 60 s after the last kill that cut off a request of theirs
  resent   requests to execute one that the exchange got beyond the first: after it had refused that one (its nonce came
           too late), and had told that it has no such order
Where an exchange cannot look up orders (mtgox, hub) or sends (all but backpack), unknown ones are left: then they must
be listed by `xwrap orders unknown` or `xwrap sends unknown` and by /ready, nothing may be resent, and a repeat of their
keys must not send anything either.
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
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import APIError, OutcomeUnknown, RateLimited, Unavailable
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.testing.exchanges.venue import Request
from tests.stress.crash_server import POINTS
from tests.stress.harness import LINES, PATIENCE, ROOT, Broken, Line, Rig, ledger, rig
from tests.support.databases import drop_database, new_database, server

THREADS = 8
RANDOM = "at random moments"
UNKNOWN_SECONDS = 60.0
#: More orders than any run has.
MOST = 100_000
#: So often one that its exchange cannot look up is asked for again.
ASKED = 3
#: What there is, as the command line calls it -> its journal.
JOURNALS = {"orders": "orders", "sends": "withdrawals"}


@dataclass
class Move:
    """One order or send of a client, until it knows what became of it."""

    number: int
    verb: str
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    unknown_since: float | None = None
    known_at: float | None = None
    answers: int = 0
    exchange_id: str | None = None
    failure: str | None = None

    @property
    def kind(self) -> str:
        return "sends" if self.verb == "send" else "orders"

    @property
    def doubt(self) -> float:
        """Seconds during which nobody knew its outcome."""
        if self.unknown_since is None:
            return 0.0
        return (self.known_at or time.monotonic()) - self.unknown_since


class Work:
    """The moves of all threads: new ones as long as they are wanted, and those that are to be repeated."""

    def __init__(self, line: Line, verbs: Sequence[str], wanted: int, *, pause: float) -> None:
        self.mutates: list[Move] = []
        self.done = 0
        self.killing = True
        self.pause = pause
        self._line = line
        self._verbs = verbs
        self._wanted = wanted
        self._later: list[tuple[float, int, Move]] = []
        self._count = itertools.count()
        self._open = 0
        self._changed = threading.Condition()

    def next(self) -> Move | None:
        """The next one to carry out; None: there is nothing left."""
        with self._changed:
            while True:
                if self._later and self._later[0][0] <= time.monotonic():
                    return heapq.heappop(self._later)[2]
                if self.killing or len(self.mutates) < self._wanted:
                    number = len(self.mutates)
                    self.mutates.append(Move(number, self._verbs[number % len(self._verbs)]))
                    self._open += 1
                    return self.mutates[-1]
                if not self._open:
                    return None
                self._changed.wait(max(0.0, self._later[0][0] - time.monotonic()) if self._later else 1.0)

    def later(self, move: Move, seconds: float) -> None:
        with self._changed:
            if not self._line.order_lookup(move.verb) and move.answers >= ASKED:
                self._open -= 1
            else:
                heapq.heappush(self._later, (time.monotonic() + seconds, next(self._count), move))
            self._changed.notify_all()

    def over(self, move: Move) -> None:
        move.known_at = time.monotonic()
        with self._changed:
            self.done += 1
            self._open -= 1
            self._changed.notify_all()

    def wait_for(self, done: int) -> None:
        """Until so many have come to their end."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.done >= done, PATIENCE):
                raise Broken(f"nothing came to its end within {PATIENCE:.0f} s")

    def stop_killing(self) -> None:
        with self._changed:
            self.killing = False
            self._changed.notify_all()


def trade(line: Line, backend: Backend, work: Work) -> None:
    """What one thread does."""
    while (move := work.next()) is not None:
        attempt(line, backend, work, move)


def attempt(line: Line, backend: Backend, work: Work, move: Move) -> None:
    """Carry out one move, or ask for it by carrying it out again with its key."""
    try:
        told = line.move(backend, move.verb, move.number, move.key)
    except OutcomeUnknown as error:
        # A request that was cut off by a kill may have run anew, so its outcome is unknown from then on.
        if move.unknown_since is None or error.code == "no_answer":
            move.unknown_since = time.monotonic()
        # Only what the server itself says counts as asked; a connection that broke does not.
        move.answers += error.code == "outcome_unknown"
        work.later(move, work.pause)
    except (Unavailable, RateLimited):
        # The server is being started, or has too much to do; nothing of this attempt was executed.
        time.sleep(0.02)
        work.later(move, 0.0)
    except APIError as error:
        move.failure = repr(error)
        work.over(move)
    else:
        # A send is answered with True.
        move.exchange_id = None if move.kind == "sends" else told["exchange_order_id"]
        work.over(move)


@dataclass
class Tally:
    """What became of the orders, or of the sends."""

    count: int = 0
    lost: int = 0
    doubled: int = 0
    unknown: int = 0
    resent: int = 0
    listed: int = 0
    blocked: int = 0
    doubted: int = 0
    longest: float = 0.0

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.unknown)

    def __str__(self) -> str:
        text = (
            f"lost {self.lost}, doubled {self.doubled}, unknown after 60 s {self.unknown}, resent {self.resent}; "
            f"{self.doubted} were unknown for a while, the longest for {self.longest:.1f} s"
        )
        if self.listed or self.blocked:
            text += f"; {self.listed} are unknown for ever and listed, {self.blocked} of them blocked"
        return text


@dataclass
class Figures:
    """What a run found."""

    venue: str
    base: str
    #: (point, "orders" or "sends") -> how many kills there.
    kills: Counter[tuple[str, str]]
    #: "orders" and, when there are any, "sends".
    tallies: dict[str, Tally]
    sound: int = 0
    seconds: float = 0.0
    #: What must not be at all.
    wrong: list[str] = field(default_factory=list)

    @property
    def orders(self) -> Tally:
        return self.tallies["orders"]

    @property
    def sends(self) -> Tally:
        return self.tallies["sends"]

    @property
    def good(self) -> bool:
        return all(tally.good for tally in self.tallies.values()) and not self.wrong

    def __str__(self) -> str:
        where = []
        for point in dict.fromkeys(point for point, _ in self.kills):
            orders, sends = (self.kills[point, kind] for kind in JOURNALS)
            where.append(f"{orders + sends}{f' ({sends} with a send)' * bool(sends)} {POINTS.get(point, point)}")
        lines = [
            f"{self.kills.total()} kills of the server on {self.base} against {self.venue}: {'; '.join(where)}",
            f"{THREADS} threads, {self.seconds:.0f} s",
            *(f"{tally.count} {kind}: {tally}" for kind, tally in self.tallies.items()),
        ]
        if self.sound:
            lines.append(f"data base sound {self.sound} of {self.kills.total()}")
        return "\n".join([*lines, *self.wrong[:20]])


def run(
    *,
    kills: int,
    orders: int,
    venue: str = "kraken",
    sends: bool = False,
    database: str | None = None,
    seed: int = 0,
    tell: Any = lambda _line: None,
) -> Figures:
    """The whole test; see the module."""
    line, chance, began = LINES[venue], random.Random(seed), time.monotonic()
    shares = {"orders": 2 / 3, "sends": 1 / 3} if sends else {"orders": 1.0}
    plan = [(point, [*shares][turn % len(shares)]) for point in POINTS for turn in range(kills // 7)]
    plan += [(RANDOM, "orders")] * (kills - len(plan))
    chance.shuffle(plan)
    tallies = {kind: Tally() for kind in shares}
    figures = Figures(venue, "PostgreSQL" if database else "SQLite", Counter(sorted(plan)), tallies)
    quick = {"settle_seconds": 0.2, "settle_grace_seconds": 0.5, "exchange_seconds": 2.0}
    with rig(venue, database=database, **quick) as built:
        built.keeper.start()
        id = built.register(venue)
        built.keeper.end(signal.SIGTERM)
        built.venues[venue].requests = Executing(line)
        if sends:
            # All that are sent leave the account, and nothing comes back.
            built.venues[venue].deposit(line.asset, orders * line.amount_of(2 * orders))
        work = Work(line, ("buy", "sell", "send") if sends else ("buy", "sell"), orders, pause=0.25)
        backends = [built.backend(id, timeout=6.0) for _ in range(THREADS)]
        threads = [threading.Thread(target=trade, args=(line, backend, work), daemon=True) for backend in backends]
        for thread in threads:
            thread.start()
        for number, (point, kind) in enumerate(plan, 1):
            per_life = orders / kills if point == RANDOM else shares[kind] * orders / kills
            kill(built, work, point, kind, chance, per_life=per_life)
            figures.sound += check(built, figures)
            if number % 50 == 0:
                tell(f"{number} kills, {work.done} done, {time.monotonic() - began:.0f} s")
        built.keeper.start()
        work.stop_killing()
        for thread in threads:
            thread.join(UNKNOWN_SECONDS + PATIENCE)
        for kind in tallies:
            if not all(line.order_lookup(move.verb) for move in work.mutates if move.kind == kind):
                look_at_the_unknown(figures, built, line, work, kind, backends[0])
        if built.keeper.end(signal.SIGTERM) != 0:
            figures.wrong.append("the last server did not stop in order")
        count(figures, built, line, work, id)
    figures.seconds = time.monotonic() - began
    return figures


def kill(built: Rig, work: Work, point: str, kind: str, chance: random.Random, *, per_life: float) -> None:
    """One life of the server, and its end."""
    # On the average as many as a life has to bring.
    hit = chance.randint(1, max(1, round(2 * per_life) - 1))
    if point == RANDOM:
        built.keeper.start()
        work.wait_for(work.done + hit)
        time.sleep(chance.uniform(0, 0.03))
        status = built.keeper.end(signal.SIGKILL)
    else:
        built.keeper.start(point=point, hit=hit, journal=JOURNALS[kind])
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


class Executing(deque[Request]):
    """The requests that a venue got, of those that execute something; of the others there may be very many."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._paths = set(line.mutates.values())

    def append(self, request: Request) -> None:
        if any(path in f"{request.method} {request.path}" for path in self._paths):
            super().append(request)


def arrivals(line: Line, built: Rig) -> Counter[int]:
    """How many requests to execute each move the venue got; a move is known by its amount."""
    [venue] = built.venues.values()
    with venue.lock:
        asked = list(venue.requests)
    return Counter(number for request in asked if (number := number_in(line, request.body.decode())) is not None)


def number_in(line: Line, body: str) -> int | None:
    """The move that a request is for. Its amount is among the numbers there, perhaps as an integer of 1e-8."""
    for text in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", body):
        for amount in (Decimal(text), Decimal(text).scaleb(-8)):
            number = line.number(amount)
            if number is not None and number < MOST:
                return number
    return None


def count(figures: Figures, built: Rig, line: Line, work: Work, id: int) -> None:
    """Compare what the clients know, and the server, with what the exchange has executed."""
    rows = ledger(built.venues[figures.venue])
    executed = Counter((row["side"], line.number(Decimal(row["amount"]))) for row in rows)
    ids = {row["order_id"]: (row["side"], line.number(Decimal(row["amount"]))) for row in rows}
    got = arrivals(line, built)
    if not {number for _, number in executed} <= {*got, None}:
        figures.wrong.append("the venue executed something without having been asked to")
    ordered = {(move.verb, move.number) for move in work.mutates}
    for (verb, _), times in ((what, times) for what, times in executed.items() if what not in ordered):
        figures.tallies["sends" if verb == "send" else "orders"].doubled += times
    read_the_journals(built, work, id)
    for kind, tally in figures.tallies.items():
        mutates = [move for move in work.mutates if move.kind == kind]
        known = [move for move in mutates if move.known_at is not None and move.failure is None]
        looked_up = [move for move in mutates if line.order_lookup(move.verb)]
        tally.count = len(mutates)
        tally.lost = sum(not executed[move.verb, move.number] for move in known)
        tally.doubled += sum(max(0, executed[move.verb, move.number] - 1) for move in mutates)
        tally.unknown = sum(move.known_at is None or move.doubt > UNKNOWN_SECONDS for move in looked_up)
        tally.resent = sum(max(0, got[move.number] - 1) for move in mutates)
        tally.doubted = sum(move.unknown_since is not None for move in mutates)
        tally.longest = max([move.doubt for move in known], default=0.0)
        if tally.resent and not looked_up:
            figures.wrong.append(f"{kind} were sent again though nobody could know what had become of them")
        figures.wrong += [f"{kind} {move.number}: {move.failure}" for move in mutates if move.failure]
        others = [move for move in known if ids.get(move.exchange_id) != (move.verb, move.number)]
        figures.wrong += [f"{kind} {move.number} is taken for another one, {move.exchange_id}" for move in others]


def read_the_journals(built: Rig, work: Work, id: int) -> None:
    """What only the server knows: when each ran last, and what the exchange calls each send."""
    store, ahead = Store(built.database), time.time() - time.monotonic()
    statuses = {"open", "pending", "done", "failed", "filled", "partly_filled", "canceled", "rejected", "unknown"}
    rows = [row for book in (store.orders, store.withdrawals) for row in book.rows(id, sorted(statuses), MOST, None)]
    store.close()
    by_key = {row["key"]: row for row in rows}
    for move in work.mutates:
        row = by_key.get(move.key, {})
        if move.unknown_since is not None and row:
            # One that ran anew was cut off again, though its client, which asked the next server, heard only that it
            # is unknown.
            ran = datetime.fromisoformat(row["created"]).timestamp() - ahead
            move.unknown_since = max(move.unknown_since, ran)
        if move.kind == "sends":
            move.exchange_id = row.get("exchange_withdrawal_id")


def look_at_the_unknown(figures: Figures, built: Rig, line: Line, work: Work, kind: str, backend: Backend) -> None:
    """Those whose outcome nobody can find out are listed, and their keys are blocked.

    A send may still be recognised meanwhile; then its outcome is known, and compared with the ledger like any other.
    """
    tally = figures.tallies[kind]
    unknown = [move for move in work.mutates if move.kind == kind and move.known_at is None]
    before = listed(built, kind)
    ready = requests.get(f"{built.keeper.url}/ready", timeout=30).json()["unknown"][JOURNALS[kind]]
    for move in unknown:
        with suppress(OutcomeUnknown):
            line.move(backend, move.verb, move.number, move.key)
            move.known_at = time.monotonic()
    after = listed(built, kind)
    blocked = {move.key for move in unknown if move.known_at is None}
    tally.listed, tally.blocked = len(after), len(blocked)
    if not after <= blocked <= before <= {move.key for move in unknown}:
        lists = f"`xwrap {kind} unknown` lists {len(before)}, then {len(after)}"
        figures.wrong.append(f"{lists} of {len(unknown)}; {len(blocked)} are blocked")
    if not len(after) <= ready.get(line.exchange, 0) <= len(before):
        figures.wrong.append(f"/ready tells of {ready}, {len(before)}, then {len(after)} are listed")


def listed(built: Rig, kind: str) -> set[str]:
    """The keys that the command line lists as unknown."""
    command = [sys.executable, "-m", "bitmm.xwrap", kind, "unknown", "--data", str(built.data)]
    environ = {**os.environ, **({"XWRAP_DATABASE_URL": built.database} if isinstance(built.database, str) else {})}
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environ).stdout
    return {row.split()[-1] for row in told.splitlines()}


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
    parser = argparse.ArgumentParser(prog="python -m tests.stress.crash", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=700)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--venue", choices=sorted(LINES), default="kraken")
    parser.add_argument("--sends", action="store_true", help="every third order is a send")
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL; see tests/support/databases.py")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with database() if options.postgres else nullcontext() as url:
        figures = run(
            kills=options.kills,
            orders=options.orders,
            venue=options.venue,
            sends=options.sends,
            database=url,
            seed=options.seed,
            tell=lambda line: print(line, flush=True),
        )
    print(figures)
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
