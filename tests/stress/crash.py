"""Kills the server, again and again, while clients trade through it, and compares with the exchange's own ledger.

    python -m tests.stress.crash [--kills 700] [--orders 10000] [--venue kraken] [--sends | --many N] [--stops]
        [--postgres [--workers N]] [--seed N]

Five sevenths of the kills come at named points of an order's way (see crash_server.py), the others at random moments.
All the time eight threads place orders with keys of their own, through the real client, and repeat each with its key
until they have a definite answer. Each order has an amount of its own, so the ledger tells what was executed. With
`--sends` every third of these orders is a send, and every second kill at a point is on a send's way. Half of the sends
go to one address, so that nothing but our id tells one of them from another; the others can be recognised by theirs.
With `--stops` every order waits at the exchange for a price that does not come, the sells with a limit.
With `--many` up to so many orders are placed with one call.
With `--workers` the server is `xwrap serve --workers N`: a kill at a point hits the worker that comes there, one at a
random moment hits any worker, every fourth of them the supervisor and all workers; the next kill comes when all serve.

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
import json
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
from collections.abc import Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field, replace
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
from tests.stress.harness import (
    EXCHANGE_CASES,
    LONGEST_WAIT,
    ROOT,
    ExchangeCase,
    Harness,
    HarnessError,
    ledger,
    new_postgres,
    open_harness,
)

THREADS = 8
RANDOM = "at random moments"
UNKNOWN_SECONDS = 60.0
#: The share of the kills at random moments that hit the supervisor and all of its workers.
ALL_WORKERS = 0.25
#: More orders than any run has.
MAX_ORDERS = 100_000
#: How often a submission is repeated that its exchange cannot look up.
LOOKUPS = 3
#: What an order has with `--stops`, far from the prices of the local exchanges.
STOPS = {"buy": {"stop": "50000"}, "sell": {"stop": "1000", "price": "900"}}
#: What there is, as the command line calls it -> its journal.
JOURNALS = {"orders": "orders", "sends": "withdrawals"}


@dataclass
class Submission:
    """One order or send of a client, until its outcome is known."""

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
    def unknown_seconds(self) -> float:
        """Return for how many seconds its outcome was unknown."""
        if self.unknown_since is None:
            return 0.0
        return (self.known_at or time.monotonic()) - self.unknown_since


class Workload:
    """The submissions of all threads: new ones as long as they are wanted, and those that are to be repeated."""

    def __init__(self, exchange: ExchangeCase, verbs: Sequence[str], wanted: int, *, pause: float) -> None:
        self.submissions: list[Submission] = []
        self.done = 0
        self.killing = True
        self.pause = pause
        self._exchange = exchange
        self._verbs = verbs
        self._wanted = wanted
        self._later: list[tuple[float, int, Submission]] = []
        self._count = itertools.count()
        self._open = 0
        self._changed = threading.Condition()

    def next(self, most: int = 1) -> list[Submission]:
        """Return the next ones to carry out, at most so many, or none when nothing is left."""
        with self._changed:
            while True:
                taken = list(itertools.islice(iter(self._take, None), most))
                if taken or not self._open:
                    return taken
                self._changed.wait(max(0.0, self._later[0][0] - time.monotonic()) if self._later else 1.0)

    def _take(self) -> Submission | None:
        """Return one to carry out now; None when there is none."""
        if self._later and self._later[0][0] <= time.monotonic():
            return heapq.heappop(self._later)[2]
        if not self.killing and len(self.submissions) >= self._wanted:
            return None
        number = len(self.submissions)
        self.submissions.append(Submission(number, self._verbs[number % len(self._verbs)]))
        self._open += 1
        return self.submissions[-1]

    def later(self, submission: Submission, seconds: float) -> None:
        with self._changed:
            if not self._exchange.can_look_up(submission.verb) and submission.answers >= LOOKUPS:
                self._open -= 1
            else:
                heapq.heappush(self._later, (time.monotonic() + seconds, next(self._count), submission))
            self._changed.notify_all()

    def over(self, submission: Submission) -> None:
        submission.known_at = time.monotonic()
        with self._changed:
            self.done += 1
            self._open -= 1
            self._changed.notify_all()

    def wait_for(self, done: int) -> None:
        """Wait until the outcome of so many is known."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.done >= done, LONGEST_WAIT):
                raise HarnessError(f"no outcome became known within {LONGEST_WAIT:.0f} s")

    def stop_killing(self) -> None:
        with self._changed:
            self.killing = False
            self._changed.notify_all()


def trade(exchange: ExchangeCase, backend: Backend, workload: Workload, many: int = 1) -> None:
    """Carry out submissions until nothing is left, up to so many with one call: the work of one thread."""
    while submissions := workload.next(many):
        if many == 1:
            attempt(exchange, backend, workload, submissions[0])
        else:
            attempt_many(exchange, backend, workload, submissions)


def attempt(exchange: ExchangeCase, backend: Backend, workload: Workload, submission: Submission) -> None:
    """Carry out one submission, or look it up by carrying it out again with its key."""
    try:
        answer = exchange.submit(backend, submission.verb, submission.number, submission.key)
    except APIError as error:
        answer = error
    conclude(workload, submission, answer)


def attempt_many(
    exchange: ExchangeCase, backend: Backend, workload: Workload, submissions: Sequence[Submission]
) -> None:
    """Carry out orders with one call, or look them up by carrying them out again with their keys."""
    orders = [exchange.order(each.verb, each.number, each.key) for each in submissions]
    answers: Sequence[Any]
    try:
        answers = backend.place_many(orders)
    except APIError as error:
        answers = [error] * len(orders)
    for submission, answer in zip(submissions, answers, strict=True):
        conclude(workload, submission, answer)


def conclude(workload: Workload, submission: Submission, answer: Any) -> None:
    """Note what became of a submission; one whose outcome is not known is carried out again later."""
    if isinstance(answer, OutcomeUnknown):
        # A request that was cut off by a kill may have run anew, so its outcome is unknown from then on.
        if submission.unknown_since is None or answer.code == "no_answer":
            submission.unknown_since = time.monotonic()
        # Only what the server itself says counts as asked; a connection that broke does not.
        submission.answers += answer.code == "outcome_unknown"
        workload.later(submission, workload.pause)
    elif isinstance(answer, (Unavailable, RateLimited)):
        # The server is being started, or has too much to do; nothing of this attempt was executed.
        time.sleep(0.02)
        workload.later(submission, 0.0)
    elif isinstance(answer, APIError):
        submission.failure = repr(answer)
        workload.over(submission)
    else:
        # A send is answered with True.
        submission.exchange_id = None if submission.kind == "sends" else answer["exchange_order_id"]
        workload.over(submission)


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
    temporarily_unknown: int = 0
    longest: float = 0.0

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.unknown)

    def __str__(self) -> str:
        text = (
            f"lost {self.lost}, doubled {self.doubled}, unknown after 60 s {self.unknown}, resent {self.resent}; "
            f"{self.temporarily_unknown} were unknown for a while, the longest for {self.longest:.1f} s"
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
    stops: bool = False,
    many: int = 1,
    database: str | None = None,
    workers: int = 1,
    seed: int = 0,
    report: Any = lambda _line: None,
) -> Figures:
    """The whole test; see the module."""
    exchange, chance, began = EXCHANGE_CASES[venue], random.Random(seed), time.monotonic()
    if stops:
        exchange = replace(exchange, terms=STOPS)
    shares = {"orders": 2 / 3, "sends": 1 / 3} if sends else {"orders": 1.0}
    plan = [(point, [*shares][turn % len(shares)]) for point in POINTS for turn in range(kills // 7)]
    plan += [(RANDOM, "orders")] * (kills - len(plan))
    chance.shuffle(plan)
    tallies = {kind: Tally() for kind in shares}
    base = ("PostgreSQL" if database else "SQLite") + (f" with {workers} workers" if workers > 1 else "")
    figures = Figures(venue, base, Counter(sorted(plan)), tallies)
    quick = {"reconcile_seconds": 0.2, "reconcile_grace_seconds": 0.5, "exchange_seconds": 2.0}
    with open_harness(venue, database=database, workers=workers, **quick) as harness:
        harness.server.start()
        id = harness.register(venue)
        harness.server.stop(signal.SIGTERM)
        harness.venues[venue].requests = ExecutingRequests(exchange)
        if sends:
            # All that are sent leave the account, and nothing comes back.
            harness.venues[venue].deposit(exchange.asset, orders * exchange.amount_of(2 * orders))
        workload = Workload(exchange, ("buy", "sell", "send") if sends else ("buy", "sell"), orders, pause=0.25)
        backends = [harness.backend(id, timeout=6.0) for _ in range(THREADS)]
        threads = [
            threading.Thread(target=trade, args=(exchange, backend, workload, many), daemon=True)
            for backend in backends
        ]
        for thread in threads:
            thread.start()
        for number, (point, kind) in enumerate(plan, 1):
            per_life = orders / kills if point == RANDOM else shares[kind] * orders / kills
            if workers > 1:
                kill_a_worker(harness, workload, point, kind, chance, per_life=per_life)
            else:
                kill(harness, workload, point, kind, chance, per_life=per_life)
            figures.sound += check(harness, figures)
            if number % 50 == 0:
                report(f"{number} kills, {workload.done} done, {time.monotonic() - began:.0f} s")
        if not harness.server.pid:
            harness.server.start()
        workload.stop_killing()
        for thread in threads:
            thread.join(UNKNOWN_SECONDS + LONGEST_WAIT)
        for kind in tallies:
            if not all(
                exchange.can_look_up(submission.verb) for submission in workload.submissions if submission.kind == kind
            ):
                look_at_the_unknown(figures, harness, exchange, workload, kind, backends[0])
        if harness.server.stop(signal.SIGTERM) != 0:
            figures.wrong.append("the last server did not stop in order")
        count(figures, harness, exchange, workload, id)
    figures.seconds = time.monotonic() - began
    return figures


def kill(
    harness: Harness, workload: Workload, point: str, kind: str, chance: random.Random, *, per_life: float
) -> None:
    """One life of the server, and its end."""
    # On the average as many as a life has to bring.
    hit = chance.randint(1, max(1, round(2 * per_life) - 1))
    if point == RANDOM:
        harness.server.start()
        workload.wait_for(workload.done + hit)
        time.sleep(chance.uniform(0, 0.03))
        status = harness.server.stop(signal.SIGKILL)
    else:
        harness.server.start(point=point, hit=hit, journal=JOURNALS[kind])
        status = harness.server.wait_until_ended()
    if status != -signal.SIGKILL:
        raise HarnessError(f"a server that was to be killed ended with {status}")


def kill_a_worker(
    harness: Harness, workload: Workload, point: str, kind: str, chance: random.Random, *, per_life: float
) -> None:
    """Kill one of several workers, or the supervisor with all of them, when all serve."""
    server = harness.server
    if not server.pid:
        server.start()
    server.wait_for_workers()
    hit = chance.randint(1, max(1, round(2 * per_life) - 1))
    if point != RANDOM:
        server.kill_worker_at(point, max(1, hit // server.workers), JOURNALS[kind])
        return
    workload.wait_for(workload.done + hit)
    time.sleep(chance.uniform(0, 0.03))
    if chance.random() < ALL_WORKERS:
        if server.kill_with_workers() != -signal.SIGKILL:
            raise HarnessError("a supervisor that was to be killed ended by itself")
    else:
        server.kill_worker(chance.choice(server.worker_pids()))


#: How often rows of the journals were begun, the first time and anew; how many rows are at their last attempt, which is
#: not counted on when they are begun once more; and the sums that the quota reads.
BEGUN_AND_COUNTED = """
    WITH rows AS (SELECT attempt FROM orders UNION ALL SELECT attempt FROM withdrawals)
    SELECT coalesce(sum(1 + attempt), 0), count(CASE WHEN attempt = 4 THEN 1 END),
        (SELECT coalesce(sum(begun), 0) FROM placed) FROM rows
"""


def check(harness: Harness, figures: Figures) -> bool:
    """Return whether the data base of a killed server is sound. A copy is checked, because opening it repairs it.

    The sums of the quota of orders must be those of the rows; otherwise that is written into the figures.
    """
    if isinstance(harness.database, str):
        return False
    with tempfile.TemporaryDirectory() as folder:
        for file in harness.data.glob("xwrap.sqlite3*"):
            shutil.copy(file, folder)
        with closing(sqlite3.connect(Path(folder) / "xwrap.sqlite3")) as connection:
            report = connection.execute("PRAGMA integrity_check").fetchall()
            [(begun, last_attempts, counted)] = connection.execute(BEGUN_AND_COUNTED).fetchall()
    if begun != counted and not (last_attempts and begun < counted):
        figures.wrong.append(f"{begun} orders and sends were begun, and {counted} are counted for the quota")
    if report != [("ok",)]:
        figures.wrong.append(f"the data base is damaged: {report}")
    return report == [("ok",)]


class ExecutingRequests(deque[Request]):
    """The requests that a venue got, of those that execute something; of the others there may be very many."""

    def __init__(self, exchange: ExchangeCase) -> None:
        super().__init__()
        self._paths = set(exchange.executing_requests.values())

    def append(self, request: Request) -> None:
        if any(path in f"{request.method} {request.path}" for path in self._paths):
            super().append(request)


def received_requests(exchange: ExchangeCase, harness: Harness) -> Counter[int]:
    """Return how many requests to execute each submission the venue got, by its number, which its amount tells."""
    [venue] = harness.venues.values()
    with venue.lock:
        asked = list(venue.requests)
    bodies = itertools.chain.from_iterable(orders_in(request.body.decode()) for request in asked)
    return Counter(number for body in bodies if (number := number_in(exchange, body)) is not None)


def orders_in(body: str) -> list[str]:
    """Return the bodies of the orders in a request that may have many."""
    try:
        document = json.loads(body)
    except ValueError:
        return [body]
    orders = document.get("orders") if isinstance(document, dict) else document
    return [json.dumps(order) for order in orders] if isinstance(orders, list) else [body]


def number_in(exchange: ExchangeCase, body: str) -> int | None:
    """Return the number of the submission in this body: its amount is in there, perhaps as an integer of 1e-8."""
    for text in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", body):
        for amount in (Decimal(text), Decimal(text).scaleb(-8)):
            number = exchange.number_of(amount)
            if number is not None and number < MAX_ORDERS:
                return number
    return None


def count(figures: Figures, harness: Harness, exchange: ExchangeCase, workload: Workload, id: int) -> None:
    """Compare what the clients know, and the server, with what the exchange has executed."""
    rows = ledger(harness.venues[figures.venue])
    executed = Counter((row["side"], exchange.number_of(Decimal(row["amount"]))) for row in rows)
    ids = {row["order_id"]: (row["side"], exchange.number_of(Decimal(row["amount"]))) for row in rows}
    got = received_requests(exchange, harness)
    if not {number for _, number in executed} <= {*got, None}:
        figures.wrong.append("the venue executed something without having been asked to")
    ordered = {(each.verb, each.number) for each in workload.submissions}
    for (verb, _), times in ((what, times) for what, times in executed.items() if what not in ordered):
        figures.tallies["sends" if verb == "send" else "orders"].doubled += times
    read_the_journals(harness, workload, id)
    for kind, tally in figures.tallies.items():
        submissions = [each for each in workload.submissions if each.kind == kind]
        known = [each for each in submissions if each.known_at is not None and each.failure is None]
        looked_up = [each for each in submissions if exchange.can_look_up(each.verb)]
        tally.count = len(submissions)
        tally.lost = sum(not executed[each.verb, each.number] for each in known)
        tally.doubled += sum(max(0, executed[each.verb, each.number] - 1) for each in submissions)
        tally.unknown = sum(each.known_at is None or each.unknown_seconds > UNKNOWN_SECONDS for each in looked_up)
        tally.resent = sum(max(0, got[each.number] - 1) for each in submissions)
        tally.temporarily_unknown = sum(each.unknown_since is not None for each in submissions)
        tally.longest = max([each.unknown_seconds for each in known], default=0.0)
        if tally.resent and not looked_up:
            figures.wrong.append(f"{kind} were sent again though nobody could know what had become of them")
        figures.wrong += [f"{kind} {each.number}: {each.failure}" for each in submissions if each.failure]
        others = [each for each in known if ids.get(each.exchange_id) != (each.verb, each.number)]
        figures.wrong += [f"{kind} {each.number} is taken for another one, {each.exchange_id}" for each in others]


def read_the_journals(harness: Harness, workload: Workload, id: int) -> None:
    """What only the server knows: when each ran last, and what the exchange calls each send."""
    store, ahead = Store(harness.database), time.time() - time.monotonic()
    statuses = {"open", "pending", "done", "failed", "filled", "partly_filled", "canceled", "rejected", "unknown"}
    rows = [
        row for book in (store.orders, store.withdrawals) for row in book.rows(id, sorted(statuses), MAX_ORDERS, None)
    ]
    store.close()
    by_key = {row["key"]: row for row in rows}
    for submission in workload.submissions:
        row = by_key.get(submission.key, {})
        if submission.unknown_since is not None and row:
            # One that ran anew was cut off again, though its client, which asked the next server, heard only that it
            # is unknown.
            ran = datetime.fromisoformat(row["created"]).timestamp() - ahead
            submission.unknown_since = max(submission.unknown_since, ran)
        if submission.kind == "sends":
            submission.exchange_id = row.get("exchange_withdrawal_id")


def look_at_the_unknown(
    figures: Figures, harness: Harness, exchange: ExchangeCase, workload: Workload, kind: str, backend: Backend
) -> None:
    """Those whose outcome nobody can find out are listed, and their keys are blocked.

    A send may still be recognised meanwhile; then its outcome is known, and compared with the ledger like any other.
    """
    tally = figures.tallies[kind]
    unknown = [each for each in workload.submissions if each.kind == kind and each.known_at is None]
    before = listed(harness, kind)
    ready = requests.get(f"{harness.server.url}/ready", timeout=30).json()["unknown"][JOURNALS[kind]]
    for submission in unknown:
        with suppress(OutcomeUnknown):
            exchange.submit(backend, submission.verb, submission.number, submission.key)
            submission.known_at = time.monotonic()
    after = listed(harness, kind)
    blocked = {each.key for each in unknown if each.known_at is None}
    tally.listed, tally.blocked = len(after), len(blocked)
    if not after <= blocked <= before <= {submission.key for submission in unknown}:
        lists = f"`xwrap {kind} unknown` lists {len(before)}, then {len(after)}"
        figures.wrong.append(f"{lists} of {len(unknown)}; {len(blocked)} are blocked")
    if not len(after) <= ready.get(exchange.id, 0) <= len(before):
        figures.wrong.append(f"/ready tells of {ready}, {len(before)}, then {len(after)} are listed")


def listed(harness: Harness, kind: str) -> set[str]:
    """The keys that the command line lists as unknown."""
    command = [sys.executable, "-m", "bitmm.xwrap", kind, "unknown", "--data", str(harness.data)]
    environ = {**os.environ, **({"XWRAP_DATABASE_URL": harness.database} if isinstance(harness.database, str) else {})}
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environ).stdout
    return {row.split()[-1] for row in output.splitlines()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.crash", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=700)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--venue", choices=sorted(EXCHANGE_CASES), default="kraken")
    parser.add_argument("--sends", action="store_true", help="every third order is a send")
    parser.add_argument("--stops", action="store_true", help="every order has a stop, where the exchange holds them")
    parser.add_argument("--many", type=int, choices=range(1, 16), default=1, metavar="N", help="orders of one call")
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL; see tests/support/databases.py")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="the server is `xwrap serve --workers N`")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    if options.sends and options.many > 1:
        parser.error("a call with many orders has no sends")
    if options.workers > 1 and not options.postgres:
        parser.error("several workers need --postgres")
    print(f"seed {options.seed}", flush=True)
    with new_postgres() if options.postgres else nullcontext() as url:
        figures = run(
            kills=options.kills,
            orders=options.orders,
            venue=options.venue,
            sends=options.sends,
            stops=options.stops,
            many=options.many,
            database=url,
            workers=options.workers,
            seed=options.seed,
            report=lambda line: print(line, flush=True),
        )
    print(figures)
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
