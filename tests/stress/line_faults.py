"""Breaks the line between the server and its exchanges in every way, at the moment when something is executed.

    python -m tests.stress.line_faults [--rounds 1] [--line NAME ...]

Every fault of the local exchanges x every adapter x buy, sell and send, through the real client and the real server.
What the client was told is compared with the exchange's own ledger, then the fault is over and the client repeats with
its key. It prints a table, and exits with 1 unless
  - nothing was executed twice,
  - `may_have_executed` was right: never False of what was executed, and False where the exchange itself or the
    connection says that nothing was; and what was told as done, was done,
  - every call ended within the client's deadline + 0.5 s,
  - after the repeats each order is executed once and known, wherever the exchange can look it up.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, product

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import APIError, RateLimited
from bitmm.xwrap.testing.exchanges.venue import FAULTS
from tests.stress.harness import EXCHANGE_CASES, Harness, HarnessError, executions, open_harness

OPERATIONS = ("buy", "sell", "send")
EXCHANGE_SECONDS, CLIENT_SECONDS = 1.5, 6.0
#: Where the exchange itself, or a refused connection, says that nothing was executed.
CERTAIN = {"refused", "rate_limit", "nonce"}
#: Seconds of the faults that have a length; "refused" lasts until the call is over.
LENGTHS = {"executed_but_timeout": 30.0, "refused": 30.0, "slow": 0.2, "drip": 1.0}
#: How long the reconciler is waited for, in seconds: Backpack's history counts as complete after 30 s.
RECONCILED_SECONDS = 45.0
#: The longest that a limit of an exchange blocks its queue, in seconds.
RATE_LIMIT_SECONDS = 90.0
#: How long it is checked that what cannot be reconciled stays blocked, in seconds.
BLOCKED_SECONDS = 0.5


@dataclass(frozen=True)
class Case:
    exchange: str
    verb: str
    fault: str


@dataclass
class Figures:
    """What a run found."""

    cases: int = 0
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    slowest: float = 0.0
    left_unknown: int = 0
    seconds: float = 0.0
    #: (exchange, fault) -> the outcomes that the client reported, in the order of OPERATIONS.
    outcomes: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def good(self) -> bool:
        return self.cases > 0 and not (self.doubled or self.wrong or self.late)

    def __str__(self) -> str:
        exchanges = [*dict.fromkeys(exchange for exchange, _ in self.outcomes)]
        faults = [*dict.fromkeys(fault for _, fault in self.outcomes)]
        rows = ["told by the client, of buy/sell/send (+ executed, - not executed, ? may have been)"]
        rows.append(f"{'':22}" + "".join(f"{exchange:>12}" for exchange in exchanges))
        columns = {
            fault: [f"{''.join(self.outcomes[exchange, fault]):>12}" for exchange in exchanges] for fault in faults
        }
        rows += [f"{fault:22}" + "".join(cells) for fault, cells in columns.items()]
        return "\n".join(
            [
                *rows,
                (
                    f"{self.cases} cases in {self.seconds:.0f} s: doubled {self.doubled}, may_have_executed wrong "
                    f"{len(self.wrong)}, over too late {len(self.late)} (slowest {self.slowest:.2f} s, allowed "
                    f"{CLIENT_SECONDS + 0.5} s); {self.left_unknown} stay unknown where the exchange cannot tell"
                ),
                *self.wrong,
                *self.late,
            ]
        )


class CaseRunner:
    """Runs the cases of one local exchange, one after the other."""

    def __init__(self, harness: Harness, figures: Figures, lock: threading.Lock) -> None:
        self._harness, self._figures, self._lock = harness, figures, lock
        self._numbers = count()
        self._backends: dict[str, Backend] = {}

    def run(self, cases: Iterable[Case]) -> None:
        for case in cases:
            if case.exchange not in self._backends:
                backend = self._harness.backend(self._harness.register(case.exchange), CLIENT_SECONDS)
                self._backends[case.exchange] = backend
                # What is listed there is asked once, here.
                EXCHANGE_CASES[case.exchange].submit(backend, "buy", next(self._numbers), uuid.uuid4().hex)
            self._run_case(case)

    def _run_case(self, case: Case) -> None:
        exchange, venue = EXCHANGE_CASES[case.exchange], self._harness.venues[case.exchange]
        backend = self._backends[case.exchange]
        number, key = next(self._numbers), uuid.uuid4().hex
        venue.fault(case.fault, path=exchange.executing_requests[case.verb], seconds=LENGTHS.get(case.fault))
        began = time.monotonic()
        outcome, words = _outcome(case, backend, number, key)
        took = time.monotonic() - began
        venue.heal()
        executed = executions(exchange, venue)[number]
        wrong = _contradiction(case, outcome, executed)
        # By asset, amount, address and time a send is recognised; that there is none proves nothing.
        can_look_up = case.verb != "send" and exchange.finds_orders
        last = outcome
        end = time.monotonic() + (RECONCILED_SECONDS if can_look_up else BLOCKED_SECONDS)
        while last == "?" and time.monotonic() < end:
            time.sleep(0.1)
            last, words = _outcome(case, backend, number, key)
        if outcome != "?":
            last, words = _outcome(case, backend, number, key)
        finally_executed = executions(exchange, venue)[number]
        if not wrong and (last, finally_executed) not in {("+", 1), ("-", 0)} and (can_look_up or last != "?"):
            wrong = f"in the end the client is told {last}, and the exchange executed {finally_executed}"
        _wait_for_rate_limit(backend)
        with self._lock:
            figures = self._figures
            figures.cases += 1
            figures.doubled += max(0, finally_executed - 1)
            figures.outcomes[case.exchange, case.fault].append(outcome)
            figures.slowest = max(figures.slowest, took)
            figures.left_unknown += last == "?"
            if wrong:
                figures.wrong.append(f"{case}: {wrong} ({words})")
            if took > CLIENT_SECONDS + 0.5:
                figures.late.append(f"{case}: {took:.2f} s")


def _wait_for_rate_limit(backend: Backend) -> None:
    """Wait until the exchange's own limit is over, so that the next case is about its own fault."""
    end = time.monotonic() + RATE_LIMIT_SECONDS
    while time.monotonic() < end:
        try:
            backend.balance()
        except RateLimited as error:
            time.sleep(min(error.retry_after or 1.0, 1.0))
        else:
            return
    raise HarnessError(f"{backend} was still rate limited after {RATE_LIMIT_SECONDS:.0f} s")


def _outcome(case: Case, backend: Backend, number: int, key: str) -> tuple[str, str]:
    """Return what the client reports of this order (see the table), and in which words."""
    try:
        EXCHANGE_CASES[case.exchange].submit(backend, case.verb, number, key)
    except APIError as error:
        return ("?" if error.may_have_executed else "-"), f"{error.code}: {error}"
    return "+", "done"


def _contradiction(case: Case, outcome: str, executed: int) -> str | None:
    """Return what is wrong about the outcome that was reported, or None."""
    if outcome == "-" and executed:
        return "the client was told that nothing was executed, and it was"
    if outcome == "+" and executed != 1:
        return f"the client was told that it was executed, and the exchange did so {executed} times"
    if case.fault in CERTAIN and outcome != "-":
        return f"certainly nothing was executed, and the client was told {outcome}"
    answered = case.verb != "send" or EXCHANGE_CASES[case.exchange].answers_sends
    if case.fault == "slow" and outcome != ("+" if answered else "?"):
        return f"the exchange answered in time, and the client was told {outcome}"
    return None


def run(cases: Sequence[Case]) -> Figures:
    """The whole test; see the module."""
    figures, lock, began = Figures(), threading.Lock(), time.monotonic()
    names = [*dict.fromkeys(case.exchange for case in cases)]
    quick = {"reconcile_seconds": 0.1, "reconcile_grace_seconds": 0.3, "exchange_seconds": EXCHANGE_SECONDS}
    with open_harness(*names, **quick) as harness:
        harness.server.start()
        by_venue: dict[int, list[Case]] = defaultdict(list)
        for case in cases:
            by_venue[id(harness.venues[case.exchange])].append(case)
        runners = [CaseRunner(harness, figures, lock) for _ in by_venue]
        with ThreadPoolExecutor(len(runners)) as pool:
            list(pool.map(CaseRunner.run, runners, by_venue.values()))
        known = Counter(case.exchange for case in cases)
        for name in names:
            strangers = executions(EXCHANGE_CASES[name], harness.venues[name])[None]
            figures.wrong += [f"{name} executed {strangers} that nobody ordered in {known[name]} cases"] * bool(
                strangers
            )
    figures.seconds = time.monotonic() - began
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.line_faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--line", dest="exchanges", choices=sorted(EXCHANGE_CASES), action="append")
    options = parser.parse_args()
    cases = [Case(*case) for case in product(options.exchanges or EXCHANGE_CASES, OPERATIONS, FAULTS)] * options.rounds
    figures = run(cases)
    print(figures)
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
