"""Stops the server in the middle of orders and sends, and takes its threads and its memory away.

    python -m tests.stress.process_faults [pause | two | threads | memory ...] [--seconds 30] [--exchange NAME ...]

pause     at each point of an order's way (see crash_server.py) the server is stopped with SIGSTOP, for `--seconds`,
          with a buy, a sell and a send at every exchange in flight, and then goes on.
two       the same with one of two servers that share a PostgreSQL data base and each exchange key. Meanwhile the other
          one gets orders of its own, which it must execute within the client's deadline, and the repeats of the first
          one's.
threads   the server may have no more than so many threads, from its start on or since it serves.
memory    the same with its address space.

What the client was told is compared with the exchange's ledger; in the end, when nothing is limited any more, it
repeats with its keys. It prints a table for each, and exits with 1 unless nothing was executed twice,
`may_have_executed` was never wrong, every call ended within the client's deadline, no order was held up at a server
that can serve, and each order is known in the end wherever the exchange can look it up.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product

from bitmm.xwrap.client import Backend
from tests.stress.checker import (
    CLIENT_SECONDS,
    EXCHANGE_SECONDS,
    EXECUTED,
    OPERATIONS,
    UNKNOWN,
    Checker,
    Figures,
    Submission,
)
from tests.stress.crash_server import POINTS
from tests.stress.harness import EXCHANGE_CASES, Harness, ServerEndedError, ServerProcess, open_harness
from tests.stress.limits import Limit
from tests.support.databases import NoPostgres, drop_database, new_database, server

#: Seconds; scaled like the shipped settings, in which a call may take half of the client's deadline.
SETTINGS = {
    "exchange_seconds": EXCHANGE_SECONDS,
    "call_seconds": CLIENT_SECONDS / 2,
    "reconcile_seconds": 0.1,
    "reconcile_grace_seconds": 0.3,
}
#: How long a server that can serve may take for an order, with repeats: the client's default deadline.
FROZEN_SECONDS = 30.0
#: An account of nobody else: the limit of threads counts all those of an account, and not those of root.
ACCOUNT = 61_000 + os.getpid() % 1000
#: What the server may have more than it has when it starts, or when it serves.
THREADS = [
    *(Limit(since="start", kind="threads", more=more) for more in (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 320, 400)),
    *(Limit(since="serves", kind="threads", more=more) for more in (0, 1, 4)),
]
MEMORY = [
    *(Limit(since="start", kind="memory", more=more * 2**20) for more in (1, 16, 64, 256, 512, 1024, 2048, 3072)),
    *(Limit(since="serves", kind="memory", more=more * 2**18) for more in (0, 1, 4, 16, 64, 256)),
]


class Scenario:
    """A harness with a registration at each exchange, and its checker."""

    def __init__(self, harness: Harness, exchanges: Iterable[str]) -> None:
        self.harness, self.checker = harness, Checker(harness)
        harness.server.start()
        self._registrations = {name: harness.register(name) for name in exchanges}
        self.stop()

    def stop(self) -> None:
        for each in self.harness.servers:
            if each.pid:
                each.stop(signal.SIGTERM)

    def backends(self, server: ServerProcess) -> Mapping[str, Backend]:
        return {
            name: self.harness.backend(id, CLIENT_SECONDS, server=server) for name, id in self._registrations.items()
        }

    def submissions(self, fault: str, times: int = 1) -> list[Submission]:
        """Return new submissions for every exchange and operation."""
        return [
            self.checker.submission(fault, name, verb)
            for name, verb in list(product(self._registrations, OPERATIONS)) * times
        ]

    def first_reports(self, submissions: Sequence[Submission]) -> None:
        for each in submissions:
            self.checker.first_report(each)

    def repeat(self, submissions: Sequence[Submission], server: ServerProcess) -> None:
        """Repeat all at this server until each of them is known."""
        backends = self.backends(server)
        in_parallel(lambda each: each.repeat(backends[each.exchange]), submissions)

    def end(self, submissions: Sequence[Submission]) -> None:
        """Stop the servers, which end what is in flight, and check what was reported last."""
        self.stop()
        for each in submissions:
            self.checker.last_report(each)


@contextmanager
def in_flight(submissions: Sequence[Submission], backends: Mapping[str, Backend]) -> Iterator[None]:
    """Run the block while all are submitted at the same time; the calls have ended when it ends."""
    threads = [threading.Thread(target=each.submit, args=(backends[each.exchange],)) for each in submissions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()


def in_parallel(work: Callable[[Submission], None], submissions: Sequence[Submission]) -> None:
    threads = [threading.Thread(target=work, args=(each,)) for each in submissions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def pause(seconds: float, points: Iterable[str] = POINTS, exchanges: Iterable[str] = EXCHANGE_CASES) -> Figures:
    """Stop the only server at each of the points."""
    with open_harness(*exchanges, **SETTINGS) as harness:
        scenario = Scenario(harness, exchanges)
        for point in points:
            harness.server.start(stop=point)
            submissions = scenario.submissions(f"pause {point}")
            with in_flight(submissions, scenario.backends(harness.server)):
                harness.server.wait_until_stopped()
                time.sleep(seconds)
                harness.server.resume()
            scenario.first_reports(submissions)
            scenario.repeat(submissions, harness.server)
            scenario.end(submissions)
        return scenario.checker.close()


def pause_of_two(
    url: str, seconds: float, points: Iterable[str] = POINTS, exchanges: Iterable[str] = EXCHANGE_CASES
) -> Figures:
    """Stop one of two servers at each of the points. `url`: of a PostgreSQL."""
    with ExitStack() as stack:
        database = new_database(url)
        stack.callback(drop_database, url, database)
        harness = stack.enter_context(open_harness(*exchanges, database=database, servers=2, **SETTINGS))
        scenario = Scenario(harness, exchanges)
        stopped, healthy = harness.servers
        for point in points:
            stopped.start(stop=point)
            healthy.start()
            first, second = scenario.submissions(f"stopped {point}"), scenario.submissions(f"other {point}")
            with in_flight(first, scenario.backends(stopped)):
                stopped.wait_until_stopped()
                end = time.monotonic() + seconds
                _trade_meanwhile(scenario, second, healthy)
            scenario.first_reports(first)
            # The keys of the one that stands still, at the other one: neither lost nor executed again.
            scenario.repeat(first, healthy)
            time.sleep(max(0.0, end - time.monotonic()))
            stopped.resume()
            stopped.stop(signal.SIGTERM)
            scenario.repeat([*first, *second], healthy)
            scenario.end([*first, *second])
        return scenario.checker.close()


def _trade_meanwhile(scenario: Scenario, submissions: Sequence[Submission], healthy: ServerProcess) -> None:
    """Submit to the healthy server, with repeats; what is not executed within the deadline counts as frozen."""
    backends, began = scenario.backends(healthy), time.monotonic()

    def trade(submission: Submission) -> None:
        submission.submit(backends[submission.exchange])
        scenario.checker.first_report(submission)
        while not _is_over(submission) and time.monotonic() < began + FROZEN_SECONDS:
            time.sleep(0.2)
            submission.ask(backends[submission.exchange])

    in_parallel(trade, submissions)
    figures = scenario.checker.figures
    figures.notes.append(f"{submissions[0].fault}: all over after {time.monotonic() - began:.1f} s")
    figures.frozen += [
        f"{each}: {each.last} for {FROZEN_SECONDS:.0f} s at the other server ({each.words})"
        for each in submissions
        if not _is_over(each)
    ]


def _is_over(submission: Submission) -> bool:
    """Whether it was executed, as far as its exchange can say."""
    says = submission.verb != "send" or EXCHANGE_CASES[submission.exchange].answers_sends
    return submission.last == (EXECUTED if says else UNKNOWN)


def few_threads(limits: Iterable[Limit] = THREADS, exchanges: Iterable[str] = EXCHANGE_CASES) -> Figures:
    """Limit the number of threads of the server's account."""
    return _work_under_limits(limits, exchanges, prefix=_as_other_account())


def little_memory(limits: Iterable[Limit] = MEMORY, exchanges: Iterable[str] = EXCHANGE_CASES) -> Figures:
    """Limit the address space of the server."""
    return _work_under_limits(limits, exchanges)


def _work_under_limits(
    limits: Iterable[Limit], exchanges: Iterable[str], *, prefix: list[str] | None = None
) -> Figures:
    """Let the server work under one limit after the other, and one without a limit say what became of all."""
    refused = []
    with open_harness(*exchanges, prefix=prefix, **SETTINGS) as harness:
        if prefix:
            # A server refuses a data folder of another user.
            os.chown(harness.data, ACCOUNT, ACCOUNT)
        scenario, server = Scenario(harness, exchanges), harness.server
        for limit in limits:
            name = f"{limit['kind']} +{limit['more']:,} since {limit['since']}"
            try:
                server.start(limit=limit)
            except ServerEndedError as error:
                refused.append(f"{name}: {error}")
                continue
            submissions = scenario.submissions(name, times=3)
            with in_flight(submissions, scenario.backends(server)):
                pass
            scenario.first_reports(submissions)
            server.stop(signal.SIGKILL)
            server.start()
            scenario.repeat(submissions, server)
            scenario.end(submissions)
        figures = scenario.checker.close()
    figures.notes += [f"it refused to start: {name}" for name in refused]
    return figures


def reason_to_skip_threads() -> str | None:
    """Return why the threads of a server cannot be limited here, or None when they can."""
    if os.geteuid():
        return None
    if not shutil.which("setpriv"):
        return "no limit of threads holds for root, and setpriv (util-linux) is not installed"
    tried = subprocess.run([*_as_other_account(), "true"], capture_output=True, text=True, check=False)
    return f"setpriv is not allowed here: {tried.stderr.strip()[:200]}" if tried.returncode else None


def _as_other_account() -> list[str]:
    """Return the start of a command line that runs it under an account whose threads are counted, which root's are not.

    It may read and write the files of root, as the tests' own.
    """
    if os.geteuid():
        return []
    rights = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--clear-groups", *rights]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.stress.process_faults", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("kinds", nargs="*", choices=["pause", "two", "threads", "memory", []], default=[])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--point", dest="points", choices=sorted(POINTS), action="append")
    parser.add_argument("--exchange", dest="exchanges", choices=sorted(EXCHANGE_CASES), action="append")
    options = parser.parse_args()
    exchanges, points = options.exchanges or list(EXCHANGE_CASES), options.points or list(POINTS)
    runs: dict[str, Callable[[], Figures]] = {
        "pause": lambda: pause(options.seconds, points, exchanges),
        "two": lambda: _on_postgres(options.seconds, points, exchanges),
        "threads": lambda: few_threads(exchanges=exchanges),
        "memory": lambda: little_memory(exchanges=exchanges),
    }
    good = True
    for kind in options.kinds or runs:
        began = time.monotonic()
        if kind == "threads" and (reason := reason_to_skip_threads()):
            print(f"{kind}: left out, because {reason}")
            continue
        try:
            figures = runs[kind]()
        except NoPostgres as error:
            print(f"{kind}: left out, because {error}")
            continue
        figures.seconds = time.monotonic() - began
        print(figures, flush=True)
        good &= figures.good
    return 0 if good else 1


def _on_postgres(seconds: float, points: Iterable[str], exchanges: Iterable[str]) -> Figures:
    with server() as url:
        return pause_of_two(url, max(seconds, FROZEN_SECONDS + 10), points, exchanges)


if __name__ == "__main__":
    sys.exit(main())
