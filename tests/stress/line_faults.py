"""Breaks the line between the server and its exchanges in every way, at the moment when something is executed.

    python -m tests.stress.line_faults [--rounds 1] [--line NAME ...] [--fault KIND ...] [--workers N]

Every fault of the local exchanges x every adapter x buy, sell and send, through the real client and the real server.
What the client was told is compared with the exchange's own ledger, then the fault is over and the client repeats with
its key. It prints a table, and exits with 1 unless
  - nothing was executed twice (what the network delivers twice, and an exchange without nonces executes twice, is
    counted apart: then one request was sent, and no more),
  - `may_have_executed` was right: never False of what was executed, and False where a refused connection, or the limit
    of an exchange that looks at the nonce first, says that nothing was; and what was told as done, was done,
  - every call ended within the client's deadline + 0.5 s,
  - after the repeats each order is executed once and known, wherever the exchange can look it up.

With `--workers` the server is `xwrap serve --workers N` on PostgreSQL, and the repeats of each case come over a new
connection, so that most of them are answered by another worker than the one that met the fault.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product

from bitmm.xwrap.client import Backend
from bitmm.xwrap.testing.exchanges.http_server import FAULTS, Fault
from tests.stress.checker import (
    CLIENT_SECONDS,
    EXCHANGE_SECONDS,
    EXECUTED,
    NOT_EXECUTED,
    OPERATIONS,
    UNKNOWN,
    Checker,
    Figures,
    Submission,
    wait_for_rate_limit,
)
from tests.stress.harness import EXCHANGE_CASES, Harness, new_postgres, open_harness

#: A refused connection says that nothing was executed, and the limit of an exchange that looks at the nonce before. A
#: refused nonce, and any other limit, say nothing of an earlier delivery of the same request.
CERTAIN = {"refused": set(EXCHANGE_CASES), "rate_limit": {"kraken", "bitstamp"}}
#: Seconds of the faults that have a length; "refused" lasts until the call is over.
LENGTHS = {"executed_but_timeout": 30.0, "refused": 30.0, "slow": 0.2, "drip": 1.0, "swapped": 30.0}


@dataclass(frozen=True)
class Case:
    exchange: str
    verb: str
    fault: str


class CaseRunner:
    """Runs the cases of one local exchange, one after the other."""

    def __init__(self, harness: Harness, checker: Checker) -> None:
        self._harness, self._checker = harness, checker
        self._backends: dict[str, Backend] = {}

    def run(self, cases: Iterable[Case]) -> None:
        for case in cases:
            if case.exchange not in self._backends:
                backend = self._harness.backend(self._harness.register(case.exchange), CLIENT_SECONDS)
                self._backends[case.exchange] = backend
                self._checker.warm_up(backend, case.exchange)
            self._run_case(case)

    def _run_case(self, case: Case) -> None:
        backend, venue = self._backends[case.exchange], self._harness.venues[case.exchange]
        executing = EXCHANGE_CASES[case.exchange].executing_requests[case.verb]
        submission = self._checker.submission(case.fault, case.exchange, case.verb)
        before = len(venue.requests)
        venue.fault(case.fault, path=executing, seconds=LENGTHS.get(case.fault))
        if case.fault == "swapped":
            submissions = [submission, self._overtake(submission, backend)]
        else:
            submission.submit(backend)
            submissions = [submission]
        venue.heal()
        for each in submissions:
            self._checker.first_report(each, _contradiction(case, each.outcome), copies=self._copies(each, before))
            each.repeat(self._repeater(case.exchange))
            self._checker.last_report(each, copies=self._copies(each, before))
        wait_for_rate_limit(backend)

    def _repeater(self, exchange: str) -> Backend:
        """Return what repeats a case: the same connection, or with several workers a new one, to any of them."""
        backend = self._backends[exchange]
        if self._harness.server.workers == 1:
            return backend
        return self._harness.backend(backend.id, CLIENT_SECONDS)

    def _overtake(self, held: Submission, backend: Backend) -> Submission:
        """Submit two orders or sends, of which the second arrives first; return the second.

        Where calls of one key go one after the other, the second is sent when the first has timed out.
        """
        venue = self._harness.venues[held.exchange]
        other = self._checker.submission(held.fault, held.exchange, held.verb)
        thread = threading.Thread(target=held.submit, args=(backend,))
        thread.start()
        while not venue.waiting and thread.is_alive():
            time.sleep(0.01)
        other.submit(backend)
        thread.join()
        return other

    def _copies(self, submission: Submission, before: int) -> int:
        """Return how many executions were a second delivery's: more than the requests that were sent.

        `before`: how many requests the venue had got before this case.
        """
        if submission.fault != "delivered_twice":
            return 0
        path = EXCHANGE_CASES[submission.exchange].executing_requests[submission.verb]
        sent = Fault("", 1, path, None)
        requests = list(self._harness.venues[submission.exchange].requests)[before:]
        count = sum(sent.matches(f"{request.method} {request.path}") for request in requests)
        return max(0, self._checker.executed(submission) - count)


def _contradiction(case: Case, outcome: str) -> str | None:
    """Return what this fault alone says against the outcome that was reported, or None."""
    if case.exchange in CERTAIN.get(case.fault, ()) and outcome != NOT_EXECUTED:
        return f"certainly nothing was executed, and the client was told {outcome}"
    answered = case.verb != "send" or EXCHANGE_CASES[case.exchange].answers_sends
    if case.fault == "slow" and outcome != (EXECUTED if answered else UNKNOWN):
        return f"the exchange answered in time, and the client was told {outcome}"
    return None


def run(cases: Sequence[Case], workers: int = 1, database: str | None = None) -> Figures:
    """The whole test; see the module."""
    began = time.monotonic()
    names = [*dict.fromkeys(case.exchange for case in cases)]
    quick = {"reconcile_seconds": 0.1, "reconcile_grace_seconds": 0.3, "exchange_seconds": EXCHANGE_SECONDS}
    with open_harness(*names, database=database, workers=workers, **quick) as harness:
        harness.server.start()
        checker = Checker(harness)
        by_venue: dict[int, list[Case]] = defaultdict(list)
        for case in cases:
            by_venue[id(harness.venues[case.exchange])].append(case)
        runners = [CaseRunner(harness, checker) for _ in by_venue]
        with ThreadPoolExecutor(len(runners)) as pool:
            list(pool.map(CaseRunner.run, runners, by_venue.values()))
        figures = checker.close()
    figures.seconds = time.monotonic() - began
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.line_faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--line", dest="exchanges", choices=sorted(EXCHANGE_CASES), action="append")
    parser.add_argument("--fault", dest="faults", choices=sorted(FAULTS), action="append")
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    options = parser.parse_args()
    exchanges, faults = options.exchanges or EXCHANGE_CASES, options.faults or FAULTS
    cases = [Case(*case) for case in product(exchanges, OPERATIONS, faults)] * options.rounds
    with new_postgres() if options.workers > 1 else nullcontext() as url:
        figures = run(cases, options.workers, url)
    print(figures)
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
