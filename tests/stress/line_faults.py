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
from tests.stress.harness import LINES, Broken, Rig, executions, rig

OPERATIONS = ("buy", "sell", "send")
EXCHANGE_SECONDS, CLIENT_SECONDS = 1.5, 6.0
#: Where the exchange itself, or a refused connection, says that nothing was executed.
CERTAIN = {"refused", "rate_limit", "nonce"}
#: Seconds of the faults that have a length; "refused" lasts until the call is over.
LENGTHS = {"executed_but_timeout": 30.0, "refused": 30.0, "slow": 0.2, "drip": 1.0}
#: How long the reconciler is waited for: Backpack's history counts as complete after 30 s.
SETTLED = 45.0
#: The longest that a limit of an exchange keeps its lane shut.
RESTED = 90.0
#: How long is looked whether what cannot be settled stays blocked.
BLOCKED = 0.5


@dataclass(frozen=True)
class Case:
    line: str
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
    #: (line, fault) -> what the client was told, by verb.
    told: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def good(self) -> bool:
        return self.cases > 0 and not (self.doubled or self.wrong or self.late)

    def __str__(self) -> str:
        lines = [*dict.fromkeys(line for line, _ in self.told)]
        faults = [*dict.fromkeys(fault for _, fault in self.told)]
        rows = ["told by the client, of buy/sell/send (+ executed, - not executed, ? may have been)"]
        rows.append(f"{'':22}" + "".join(f"{line:>12}" for line in lines))
        told = {fault: [f"{''.join(self.told[line, fault]):>12}" for line in lines] for fault in faults}
        rows += [f"{fault:22}" + "".join(columns) for fault, columns in told.items()]
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


class Tester:
    """Goes through the cases of one venue, one after the other."""

    def __init__(self, built: Rig, figures: Figures, lock: threading.Lock) -> None:
        self._built, self._figures, self._lock = built, figures, lock
        self._numbers = count()
        self._backends: dict[str, Backend] = {}

    def go(self, cases: Iterable[Case]) -> None:
        for case in cases:
            if case.line not in self._backends:
                backend = self._built.backend(self._built.register(case.line), CLIENT_SECONDS)
                self._backends[case.line] = backend
                # What is listed there is asked once, here.
                LINES[case.line].move(backend, "buy", next(self._numbers), uuid.uuid4().hex)
            self._one(case)

    def _one(self, case: Case) -> None:
        line, venue, backend = LINES[case.line], self._built.venues[case.line], self._backends[case.line]
        number, key = next(self._numbers), uuid.uuid4().hex
        venue.fault(case.fault, path=line.mutates[case.verb], seconds=LENGTHS.get(case.fault))
        began = time.monotonic()
        told, words = _told(case, backend, number, key)
        took = time.monotonic() - began
        venue.heal()
        executed = executions(line, venue)[number]
        wrong = _contradiction(case, told, executed)
        # By asset, amount, address and time a send is recognised; that there is none proves nothing.
        order_lookup = case.verb != "send" and line.finds_orders
        last = told
        end = time.monotonic() + (SETTLED if order_lookup else BLOCKED)
        while last == "?" and time.monotonic() < end:
            time.sleep(0.1)
            last, words = _told(case, backend, number, key)
        if told != "?":
            last, words = _told(case, backend, number, key)
        finally_executed = executions(line, venue)[number]
        if not wrong and (last, finally_executed) not in {("+", 1), ("-", 0)} and (order_lookup or last != "?"):
            wrong = f"in the end the client is told {last}, and the exchange executed {finally_executed}"
        _rest(backend)
        with self._lock:
            figures = self._figures
            figures.cases += 1
            figures.doubled += max(0, finally_executed - 1)
            figures.told[case.line, case.fault].append(told)
            figures.slowest = max(figures.slowest, took)
            figures.left_unknown += last == "?"
            if wrong:
                figures.wrong.append(f"{case}: {wrong} ({words})")
            if took > CLIENT_SECONDS + 0.5:
                figures.late.append(f"{case}: {took:.2f} s")


def _rest(backend: Backend) -> None:
    """After an exchange's own limit nothing is sent for a while, and the next case is to be about its own fault."""
    end = time.monotonic() + RESTED
    while time.monotonic() < end:
        try:
            backend.balance()
        except RateLimited as error:
            time.sleep(min(error.retry_after or 1.0, 1.0))
        else:
            return
    raise Broken(f"{backend} was still resting after {RESTED:.0f} s")


def _told(case: Case, backend: Backend, number: int, key: str) -> tuple[str, str]:
    """What the client says of this order, and in which words."""
    try:
        LINES[case.line].move(backend, case.verb, number, key)
    except APIError as error:
        return ("?" if error.may_have_executed else "-"), f"{error.code}: {error}"
    return "+", "done"


def _contradiction(case: Case, told: str, executed: int) -> str | None:
    """What is wrong about what was told; None: nothing."""
    if told == "-" and executed:
        return "the client was told that nothing was executed, and it was"
    if told == "+" and executed != 1:
        return f"the client was told that it was executed, and the exchange did so {executed} times"
    if case.fault in CERTAIN and told != "-":
        return f"certainly nothing was executed, and the client was told {told}"
    if case.fault == "slow" and told != ("+" if case.verb != "send" or LINES[case.line].answers_sends else "?"):
        return f"the exchange answered in time, and the client was told {told}"
    return None


def run(cases: Sequence[Case]) -> Figures:
    """The whole test; see the module."""
    figures, lock, began = Figures(), threading.Lock(), time.monotonic()
    names = [*dict.fromkeys(case.line for case in cases)]
    quick = {"settle_seconds": 0.1, "settle_grace_seconds": 0.3, "exchange_seconds": EXCHANGE_SECONDS}
    with rig(*names, **quick) as built:
        built.keeper.start()
        by_venue: dict[int, list[Case]] = defaultdict(list)
        for case in cases:
            by_venue[id(built.venues[case.line])].append(case)
        testers = [Tester(built, figures, lock) for _ in by_venue]
        with ThreadPoolExecutor(len(testers)) as pool:
            list(pool.map(Tester.go, testers, by_venue.values()))
        known = Counter(case.line for case in cases)
        for name in names:
            strangers = executions(LINES[name], built.venues[name])[None]
            figures.wrong += [f"{name} executed {strangers} that nobody ordered in {known[name]} cases"] * bool(
                strangers
            )
    figures.seconds = time.monotonic() - began
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.line_faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--line", choices=sorted(LINES), action="append")
    options = parser.parse_args()
    cases = [Case(*case) for case in product(options.line or LINES, OPERATIONS, FAULTS)] * options.rounds
    figures = run(cases)
    print(figures)
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
