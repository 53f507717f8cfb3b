"""Kills a server with the settings that are shipped, in the middle of many orders of one key, in real time.

    python -m tests.stress.crash_shipped [--kills 20] [--in-flight 20] [--seed N]

The local Kraken counts calls as for a key of the tier Starter, each call takes it 50 ms, and a market order is open for
its first reads. So many threads place an order each, at the same time; the server is killed at a random moment of it
and started again at once. The clients repeat each order with its key until they have a definite answer. The next
orders come when the counter has left again what is kept for the reconciler.

It prints, and exits with 1 unless all is as it must be (lost, doubled, unknown after 60 s and refused are 0; the
seconds from the start to a definite answer, for what the kill cut off, are below 3 in the half of the cases and below
10 in all of them):
  lost     orders that a client was told of and the exchange does not have
  doubled  executions beyond the first of one order
  unknown  orders that had no definite answer 60 s after the start
  refused  calls that the exchange refused for its limit
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import APIError, OutcomeUnknown, RateLimited, Unavailable
from bitmm.xwrap.testing.exchanges.kraken import KrakenError, KrakenVenue
from tests.stress.harness import (
    EXCHANGE_CASES,
    LONGEST_WAIT,
    ExchangeCase,
    Harness,
    HarnessError,
    executions,
    open_harness,
)

UNKNOWN_SECONDS = 60.0
#: The goals: seconds from the start of the server to a definite answer.
HALF_WITHIN, ALL_WITHIN = 3.0, 10.0
#: Seconds that the venue takes for each signed call, and how often a market order is still open when it is read.
LATENCY, CLOSING_READS = 0.05, 3
#: The published counter of the tier Starter, and how full it may be when the next orders are placed: a quarter of what
#: the server allows itself is kept for the reconciler.
COUNTER, KEPT = 15, 10


class StarterCounter:
    """The counter of a local Kraken, as for a key of the tier Starter; `refused` calls were above it."""

    def __init__(self, venue: KrakenVenue) -> None:
        self.refused = 0
        self._venue = venue
        self._real_count = venue._count
        venue.counter_max = COUNTER
        venue._count = self._count  # type: ignore[method-assign]

    def _count(self, account: Any, method: str) -> None:
        try:
            self._real_count(account, method)
        except KrakenError:
            self.refused += 1
            raise

    def wait_for(self, level: float) -> None:
        """Wait until the counter of the key has fallen to this level."""
        venue = self._venue
        count, when = venue._counters.get(venue.account.key, (0.0, venue.clock()))
        time.sleep(max(0.0, (count - level) / venue.counter_decay - (venue.clock() - when)))


@dataclass
class Order:
    """One order of a client, until its outcome is known."""

    number: int
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    known_at: float | None = None
    failure: str | None = None

    @property
    def verb(self) -> str:
        return "sell" if self.number % 2 else "buy"

    def place(self, exchange: ExchangeCase, backend: Backend, until: threading.Event) -> None:
        """Place it, and repeat it with its key until the answer is definite."""
        while self.known_at is None and not until.is_set():
            try:
                exchange.submit(backend, self.verb, self.number, self.key)
            except OutcomeUnknown:
                until.wait(0.25)
            except (Unavailable, RateLimited):
                # The server is being started, or has too much to do; nothing of this attempt was executed.
                until.wait(0.1)
            except APIError as error:
                self.failure = repr(error)
                return
            else:
                self.known_at = time.monotonic()


@dataclass
class Figures:
    """What a run found."""

    kills: int = 0
    orders: int = 0
    #: For each order that a kill cut off: the seconds from the start of the next server to a definite answer.
    seconds: list[float] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    unknown: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def is_safe(self) -> bool:
        return not (self.lost or self.doubled or self.unknown or self.refused or self.failures)

    @property
    def is_fast(self) -> bool:
        return not self.seconds or (median(self.seconds) < HALF_WITHIN and max(self.seconds) < ALL_WITHIN)

    def __str__(self) -> str:
        times = f"p50 {median(self.seconds):.1f} s, max {max(self.seconds):.1f} s" if self.seconds else "none"
        return "\n".join(
            [
                f"{self.kills} kills with the shipped settings: {self.orders} orders, {len(self.seconds)} cut off",
                f"lost {self.lost}, doubled {self.doubled}, unknown after 60 s {self.unknown}, refused {self.refused}",
                f"from the start to a definite answer: {times}",
                *self.failures[:20],
            ]
        )


def run(*, kills: int, in_flight: int, seed: int = 0, report: Any = lambda _line: None) -> Figures:
    """The whole test; see the module."""
    chance, exchange, figures = random.Random(seed), EXCHANGE_CASES["kraken"], Figures(kills)
    orders: list[Order] = []
    # The shipped settings, those of the limits, too.
    with open_harness("kraken", exchange_limits={}) as harness:
        venue = harness.venues["kraken"]
        assert isinstance(venue, KrakenVenue)
        counter = StarterCounter(venue)
        venue.closing_reads = CLOSING_READS
        harness.server.start()
        id = harness.register("kraken")
        backends = [harness.backend(id, timeout=20.0) for _ in range(in_flight)]
        venue.fault("slow", times=10**9, path="private", seconds=LATENCY)
        for number in range(1, kills + 1):
            counter.wait_for(KEPT)
            placed = [Order(len(orders) + each) for each in range(in_flight)]
            orders += placed
            cut_off = kill(harness, exchange, backends, placed, chance)
            figures.seconds += cut_off
            report(f"kill {number}: {len(cut_off)} cut off, the last one known after {max(cut_off, default=0):.1f} s")
        harness.server.stop(signal.SIGTERM)
        executed = executions(exchange, venue)
        figures.orders, figures.refused = len(orders), counter.refused
        figures.lost = sum(order.known_at is not None and not executed[order.number] for order in orders)
        figures.doubled = sum(max(0, times - 1) for times in executed.values()) + executed[None]
        figures.unknown = sum(order.known_at is None for order in orders)
        figures.failures = [f"order {order.number}: {order.failure}" for order in orders if order.failure]
    return figures


def kill(
    harness: Harness,
    exchange: ExchangeCase,
    backends: list[Backend],
    orders: list[Order],
    chance: random.Random,
) -> list[float]:
    """Kill the server while these orders are placed, and start it again.

    Return, for each order without an answer at that time, the seconds from the start until there was one.
    """
    stop, venue = threading.Event(), harness.venues["kraken"]
    before, arrived = len(venue.orders), chance.randrange(len(orders))
    threads = [
        threading.Thread(target=order.place, args=(exchange, backend, stop), daemon=True)
        for order, backend in zip(orders, backends, strict=True)
    ]
    for thread in threads:
        thread.start()
    # They arrive at the exchange one after the other; at least one is on its way then.
    wait_until(lambda: len(venue.orders) >= before + arrived)
    harness.server.stop(signal.SIGKILL)
    cut_off = [order for order in orders if order.known_at is None]
    start = time.monotonic()
    harness.server.start()
    for thread in threads:
        thread.join(max(0.0, start + UNKNOWN_SECONDS - time.monotonic()))
    stop.set()
    for thread in threads:
        thread.join(LONGEST_WAIT)
    return [order.known_at - start for order in cut_off if order.known_at is not None]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_WAIT
    while not condition():
        if time.monotonic() > deadline:
            raise HarnessError("the orders do not arrive at the exchange")
        time.sleep(0.001)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.stress.crash_shipped", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    figures = run(
        kills=options.kills,
        in_flight=options.in_flight,
        seed=options.seed,
        report=lambda line: print(line, flush=True),
    )
    print(figures)
    return 0 if figures.is_safe and figures.is_fast else 1


if __name__ == "__main__":
    sys.exit(main())
