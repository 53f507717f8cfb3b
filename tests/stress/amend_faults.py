"""Breaks the line to the exchanges in every way, at each request of an amendment, and kills the server at each point.

    python -m tests.stress.amend_faults [--exchange NAME ...] [--fault KIND ...]

Every fault of the local exchanges x Kraken, Bitstamp and Backpack x each request that an amendment sends there, through
the real client and the real server; and, as the fault "killed", a kill -9 of the server at each point of an amendment.
What the client was told is compared with the orders at the exchange, then the fault is over and the client repeats with
its key. It exits with 1 unless
  - at no moment the order before and the one in its place were both open (looked at whenever either changes),
  - no order was placed twice (what the network delivers twice, and an exchange without nonces executes twice, is
    counted apart), and none beside what the client was told,
  - after the repeats each amendment is known, and the journal has the order before as its exchange has it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count

import requests

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import APIError
from bitmm.xwrap.testing.exchanges.http_server import FAULTS
from bitmm.xwrap.testing.exchanges.records import Order
from bitmm.xwrap.testing.exchanges.venue import Venue
from tests.stress.checker import (
    CLIENT_SECONDS,
    EXCHANGE_SECONDS,
    EXECUTED,
    NOT_EXECUTED,
    RECONCILED_SECONDS,
    UNKNOWN,
    wait_for_rate_limit,
)
from tests.stress.crash_server import POINTS
from tests.stress.harness import EXCHANGE_CASES, LONGEST_WAIT, Harness, HarnessError, open_harness
from tests.stress.line_faults import LENGTHS

EXCHANGES = ("kraken", "bitstamp", "backpack")
AMOUNT = Decimal("0.01")
KILLED = "killed"
#: How often an amendment comes to a point at which the server is killed, where it sends a cancel and an order; Kraken
#: gets one request.
HITS = {"before-sending": 2, "after-sending": 2}
IN_PLACE = {"kraken"}


@dataclass
class Figures:
    """What was counted, over all cases."""

    cases: int = 0
    both_open: int = 0
    doubled: int = 0
    delivered_twice: int = 0
    lies: int = 0
    unknown: int = 0
    reports: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        """Count what was counted in `other`, too."""
        for name in ("cases", "both_open", "doubled", "delivered_twice", "lies", "unknown"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.reports += other.reports
        self.problems += other.problems

    @property
    def good(self) -> bool:
        return bool(self.cases) and not (self.both_open or self.doubled or self.lies or self.unknown)

    def __str__(self) -> str:
        first = ", ".join(f"{name} {number}" for name, number in sorted(self.reports.items()))
        told = f"{self.cases} amendments; first reports: {first} (+ done, - not done, ? unknown)"
        placed = f"placed twice {self.doubled} (by the network alone {self.delivered_twice})"
        end = f"reports that were not true {self.lies}, unknown at the end {self.unknown}"
        return "\n".join([*self.problems, told, f"both orders open at once {self.both_open}, {placed}, {end}"])


class Pair:
    """The order before and those in its place, told apart by their prices; watched whenever one opens or ends."""

    def __init__(self, venue: Venue, before: Decimal, after: Decimal) -> None:
        self._venue, self._before, self._after = venue, before, after
        self.most_open = 0
        self._place, self._close = venue.place, venue._close
        venue.place, venue._close = self._watched(self._place), self._watched(self._close)

    def _watched(self, call):
        def watched(*arguments, **options):
            result = call(*arguments, **options)
            self.most_open = max(self.most_open, bool(self._open(self._before)) + len(self._open(self._after)))
            return result

        return watched

    def stop(self) -> None:
        self._venue.place, self._venue._close = self._place, self._close

    def _open(self, price: Decimal) -> list[Order]:
        return [order for order in self._venue.open.values() if order.price == price]

    def placed(self) -> int:
        """How many orders with the new price there ever were."""
        with self._venue.lock:
            return sum(order.price == self._after for order in self._venue.orders.values())

    def is_open(self, price: Decimal) -> bool:
        with self._venue.lock:
            return bool(self._open(price))

    def end(self) -> None:
        """Cancel what is left, at the exchange."""
        with self._venue.lock:
            for order in self._open(self._before) + self._open(self._after):
                self._venue.cancel(order)


class CaseRunner:
    """Runs the cases of one local exchange, one after the other."""

    def __init__(self, harness: Harness, exchange: str, faults: Sequence[str]) -> None:
        self._server = harness.server
        self._hits: dict[str, int] = {} if exchange in IN_PLACE else HITS
        self._case, self._exchange, self._faults = EXCHANGE_CASES[exchange], exchange, faults
        self._venue = harness.venues[exchange]
        self._backend: Backend = harness.backend(harness.register(exchange), CLIENT_SECONDS)
        # Below what is offered, and not so far that an exchange refuses it.
        best = self._venue.pairs[f"{self._case.asset}/{self._case.currency}"].bids[0][0]
        self._prices = map(Decimal, count(int(best * 9 / 10), 2))
        self.figures = Figures()

    def run(self) -> Figures:
        for path in self._requests():
            for fault in self._faults:
                if fault != KILLED:
                    self._run_case(path, fault)
        return self.figures

    def run_kills(self) -> Figures:
        """Kill the server at each point of an amendment; it is the only one that uses the server meanwhile."""
        self.figures = Figures()
        for point in POINTS:
            for hit in range(1, self._hits.get(point, 1) + 1):
                self._run_kill(point, hit)
        return self.figures

    def _run_kill(self, point: str, hit: int) -> None:
        price, key = next(self._prices), uuid.uuid4().hex
        first = self._buy(price)
        pair = Pair(self._venue, price, price + 1)
        self._server.stop(signal.SIGKILL)
        self._server.start(point=point, hit=hit)
        self._wait_until_served()
        told, _words = self._amend(first, price + 1, key)
        self._server.wait_until_ended()
        self._server.start()
        self._repeat(f"{KILLED} {point} {hit}, {self._exchange}", KILLED, first, price, pair, told, key)

    def _wait_until_served(self) -> None:
        end = time.monotonic() + LONGEST_WAIT
        while time.monotonic() < end:
            try:
                requests.get(f"{self._server.url}/health", timeout=5).raise_for_status()
            except requests.RequestException:
                time.sleep(0.01)
            else:
                return
        raise HarnessError("the server does not serve")

    def _requests(self) -> list[str]:
        """Return "METHOD PATH" of each request of an amendment that nothing disturbs, without numbers in it."""
        price = next(self._prices)
        first = self._buy(price)
        before = len(self._venue.requests)
        self._backend.amend(first, price=price + 1)
        sent = list(self._venue.requests)[before:]
        with self._venue.lock:
            for order in list(self._venue.open.values()):
                self._venue.cancel(order)
        return [*dict.fromkeys(f"{request.method} {request.path}".rstrip("0123456789") for request in sent)]

    def _buy(self, price: Decimal) -> int:
        order = self._backend.buy(self._case.currency, self._case.asset, AMOUNT, price=price)
        return int(order["id"])

    def _run_case(self, path: str, fault: str) -> None:
        price, key, name = next(self._prices), uuid.uuid4().hex, f"{fault}, {self._exchange}, {path}"
        first = self._buy(price)
        pair = Pair(self._venue, price, price + 1)
        self._venue.fault(fault, path=path, seconds=LENGTHS.get(fault))
        told, _words = self._amend(first, price + 1, key)
        self._venue.heal()
        self._repeat(name, fault, first, price, pair, told, key)

    def _repeat(self, name: str, fault: str, first: int, price: Decimal, pair: Pair, told: str, key: str) -> None:
        """Repeat an amendment until it is known, and count what is not as it must be."""
        placed = pair.placed()
        self._check(told != NOT_EXECUTED or not placed, f"{name}: told {told}, and {placed} were placed")
        last, words = self._amend(first, price + 1, key)
        end = time.monotonic() + RECONCILED_SECONDS
        while last == UNKNOWN and time.monotonic() < end:
            time.sleep(0.1)
            last, words = self._amend(first, price + 1, key)
        pair.stop()
        self._conclude(name, first, price, pair, last, words, fault, told)
        pair.end()

    def _conclude(
        self, name: str, first: int, price: Decimal, pair: Pair, last: str, words: str, fault: str, told: str
    ) -> None:
        figures, placed = self.figures, pair.placed()
        figures.cases += 1
        figures.reports[told] += 1
        figures.unknown += last == UNKNOWN
        if last == UNKNOWN:
            figures.problems.append(f"{name}: still unknown: {words}")
        extra = max(0, placed - 1)
        if fault == "delivered_twice":
            figures.delivered_twice += extra
            extra = 0
        elif pair.most_open > 1:
            figures.both_open += 1
            figures.problems.append(f"{name}: {pair.most_open} orders were open at once")
        figures.doubled += extra
        if extra:
            figures.problems.append(f"{name}: placed {placed} times")
        is_right = placed > 0 if last == EXECUTED else last == UNKNOWN or not placed
        self._check(is_right, f"{name}: told {last} at last ({words}), and {placed} were placed")
        wait_for_rate_limit(self._backend)
        try:
            status = self._backend.order(first)["status"]
        except APIError as error:
            status = str(error)
        is_open = pair.is_open(price)
        self._check((status == "open") == is_open, f"{name}: the order before is told as {status}, open: {is_open}")

    def _check(self, holds: bool, problem: str) -> None:
        if not holds:
            self.figures.lies += 1
            self.figures.problems.append(problem)

    def _amend(self, id: int, price: Decimal, key: str) -> tuple[str, str]:
        try:
            order = self._backend.amend(id, price=price, key=key)
        except APIError as error:
            return UNKNOWN if error.may_have_executed else NOT_EXECUTED, f"{error.code}: {error}"
        return EXECUTED, order["status"]


def run(exchanges: Sequence[str], faults: Sequence[str]) -> Figures:
    """The whole test; see the module."""
    quick = {"reconcile_seconds": 0.1, "reconcile_grace_seconds": 0.3, "exchange_seconds": EXCHANGE_SECONDS}
    total = Figures()
    with open_harness(*exchanges, **quick) as harness:
        harness.server.start()
        runners = [CaseRunner(harness, exchange, faults) for exchange in exchanges]
        with ThreadPoolExecutor(len(runners)) as pool:
            for figures in pool.map(CaseRunner.run, runners):
                total.add(figures)
        for runner in runners if KILLED in faults else ():
            total.add(runner.run_kills())
    return total


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.amend_faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--exchange", dest="exchanges", choices=EXCHANGES, action="append")
    parser.add_argument("--fault", dest="faults", choices=[*sorted(FAULTS), KILLED], action="append")
    options = parser.parse_args()
    figures = run(options.exchanges or EXCHANGES, options.faults or [*sorted(FAULTS), KILLED])
    print(figures)
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
