"""What every test of faults checks: the client's reports of an order or a send, against the exchange's own ledger."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import count

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import APIError, RateLimited
from tests.stress.harness import EXCHANGE_CASES, Harness, HarnessError, executions

OPERATIONS = ("buy", "sell", "send")
#: Deadlines of the tests: the server's for one request to an exchange, and the client's for one call.
EXCHANGE_SECONDS, CLIENT_SECONDS = 1.5, 6.0
#: How long the reconciler is waited for, in seconds: Backpack's history counts as complete after 30 s.
RECONCILED_SECONDS = 45.0
#: The longest that a limit of an exchange blocks its queue, in seconds.
RATE_LIMIT_SECONDS = 90.0
#: How long it is checked that what cannot be reconciled stays blocked, in seconds.
BLOCKED_SECONDS = 0.5

#: What the client reports: it was executed, it was not, it may have been.
EXECUTED, NOT_EXECUTED, UNKNOWN = "+", "-", "?"


@dataclass
class Submission:
    """One order or send under a key of its own, and what the client reports of it."""

    fault: str
    exchange: str
    verb: str
    number: int
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    #: The first report, and how many seconds the call took.
    outcome: str = UNKNOWN
    seconds: float = 0.0
    #: The last report, and its words.
    last: str = UNKNOWN
    words: str = ""
    #: The first report was not true.
    wrong: bool = False

    def __str__(self) -> str:
        return f"{self.fault}, {self.exchange}, {self.verb}"

    def submit(self, backend: Backend) -> None:
        """Place it, or send it; the first report."""
        began = time.monotonic()
        self.ask(backend)
        self.seconds, self.outcome = time.monotonic() - began, self.last

    def repeat(self, backend: Backend) -> None:
        """Repeat it with its key, until the report is definite or the reconciler had time enough."""
        wait = RECONCILED_SECONDS if self.can_be_found else BLOCKED_SECONDS
        end = time.monotonic() + wait
        self.ask(backend)
        while self.last == UNKNOWN and time.monotonic() < end:
            time.sleep(0.1)
            self.ask(backend)

    @property
    def can_be_found(self) -> bool:
        """Whether the exchange itself can always tell what became of it.

        By asset, amount, address and time a send is recognised; that there is none proves nothing.
        """
        return self.verb != "send" and EXCHANGE_CASES[self.exchange].finds_orders

    def ask(self, backend: Backend) -> None:
        """Submit it with its key, as `submit` does; the last report."""
        try:
            EXCHANGE_CASES[self.exchange].submit(backend, self.verb, self.number, self.key)
        except APIError as error:
            self.last = UNKNOWN if error.may_have_executed else NOT_EXECUTED
            self.words = f"{error.code}: {error}"
        else:
            self.last, self.words = EXECUTED, "done"


@dataclass
class Figures:
    """What a run found."""

    cases: int = 0
    doubled: int = 0
    #: Executed once more by a second delivery, which no nonce or id of the exchange stops.
    copies: int = 0
    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    #: Orders that a server, which can serve, did not execute within the client's deadline.
    frozen: list[str] = field(default_factory=list)
    slowest: float = 0.0
    left_unknown: int = 0
    seconds: float = 0.0
    #: (exchange, fault) -> the outcomes that the client reported first, in the order of the cases.
    outcomes: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    #: What else a run has to say.
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.cases > 0 and not (self.doubled or self.wrong or self.late or self.frozen)

    def add(self, other: Figures) -> None:
        """Add what another run found at the same time."""
        self.cases += other.cases
        self.doubled += other.doubled
        self.copies += other.copies
        self.left_unknown += other.left_unknown
        self.slowest, self.seconds = max(self.slowest, other.slowest), max(self.seconds, other.seconds)
        for name in ("wrong", "late", "frozen", "notes"):
            getattr(self, name).extend(getattr(other, name))
        for key, outcomes in other.outcomes.items():
            self.outcomes[key] += outcomes

    def __str__(self) -> str:
        exchanges = [*dict.fromkeys(exchange for exchange, _ in self.outcomes)]
        faults = [*dict.fromkeys(fault for _, fault in self.outcomes)]
        rows = [
            f"first reported by the client, of {'/'.join(OPERATIONS)} (+ executed, - not executed, ? may have been)",
            f"{'':26}" + "".join(f"{exchange:>12}" for exchange in exchanges),
        ]
        for fault in faults:
            cells = (f"{''.join(self.outcomes[exchange, fault]):>12}" for exchange in exchanges)
            rows.append(f"{fault:26}" + "".join(cells))
        return "\n".join(
            [
                *rows,
                (
                    f"{self.cases} cases in {self.seconds:.0f} s: doubled {self.doubled}, may_have_executed wrong "
                    f"{len(self.wrong)}, over too late {len(self.late)} (slowest {self.slowest:.2f} s, allowed "
                    f"{CLIENT_SECONDS + 0.5} s), frozen {len(self.frozen)}; {self.left_unknown} stay unknown where the "
                    f"exchange cannot tell; {self.copies} executed again by the second delivery of one request"
                ),
                *self.notes,
                *self.wrong,
                *self.late,
                *self.frozen,
            ]
        )


class Checker:
    """Compares submissions with the ledgers, and adds up what it finds. May be used from many threads."""

    def __init__(self, harness: Harness) -> None:
        self.figures = Figures()
        self._harness = harness
        self._lock = threading.Lock()
        self._numbers = count()
        self._submitted: Counter[str] = Counter()

    def submission(self, fault: str, exchange: str, verb: str) -> Submission:
        """Return a new submission, not yet submitted."""
        with self._lock:
            self._submitted[exchange] += 1
            return Submission(fault, exchange, verb, next(self._numbers))

    def warm_up(self, backend: Backend, exchange: str) -> None:
        """Place an order before the faults: what is listed at the exchange is asked once, here."""
        EXCHANGE_CASES[exchange].submit(backend, "buy", self.submission("", exchange, "buy").number, uuid.uuid4().hex)

    def executed(self, submission: Submission) -> int:
        """Return how often its exchange executed it."""
        case = EXCHANGE_CASES[submission.exchange]
        return executions(case, self._harness.venues[submission.exchange])[submission.number]

    def first_report(self, submission: Submission, wrong: str | None = None, *, copies: int = 0) -> None:
        """Check what was reported first.

        `wrong`: what the caller found wrong about it. `copies`: how many of its executions were a second delivery's.
        """
        executed = self.executed(submission) - copies
        if submission.outcome == NOT_EXECUTED and executed:
            wrong = "the client was told that nothing was executed, and it was"
        elif submission.outcome == EXECUTED and executed != 1:
            wrong = f"the client was told that it was executed, and the exchange did so {executed} times"
        with self._lock:
            figures = self.figures
            figures.cases += 1
            figures.outcomes[submission.exchange, submission.fault].append(submission.outcome)
            figures.slowest = max(figures.slowest, submission.seconds)
            if wrong:
                submission.wrong = True
                figures.wrong.append(f"{submission}: {wrong} ({submission.words})")
            if submission.seconds > CLIENT_SECONDS + 0.5:
                figures.late.append(f"{submission}: {submission.seconds:.2f} s")

    def last_report(self, submission: Submission, *, copies: int = 0) -> None:
        """Check what was reported in the end, after repeats with its key."""
        executed = self.executed(submission) - copies
        right = (submission.last, executed) in {(EXECUTED, 1), (NOT_EXECUTED, 0)}
        with self._lock:
            figures = self.figures
            figures.doubled += max(0, executed - 1)
            figures.copies += copies
            figures.left_unknown += submission.last == UNKNOWN
            if not right and not submission.wrong and (submission.can_be_found or submission.last != UNKNOWN):
                figures.wrong.append(
                    f"{submission}: in the end the client is told {submission.last}, and the exchange executed "
                    f"{executed} ({submission.words})"
                )

    def close(self) -> Figures:
        """Return the figures, after a look for executions that nobody ordered."""
        for name in self._submitted:
            strangers = executions(EXCHANGE_CASES[name], self._harness.venues[name])[None]
            if strangers:
                self.figures.wrong.append(f"{name} executed {strangers} that nobody ordered")
        return self.figures


def wait_for_rate_limit(backend: Backend) -> None:
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
