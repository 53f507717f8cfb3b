"""Many threads place an order under one key at once, and the exchange executes one.

    python -m tests.stress.same_key [--threads 64] [--rounds 200] [--workers N]

Over real HTTP, against the local Kraken; its ledger says what was executed. In each round all threads send the same
order under the same key, and each repeats it until it has the order; all get the same bytes. Then: the same keys with
another amount, from another account, after a restart, and on a server whose clock is 25 hours ahead. With `--workers`
the server is `xwrap serve --workers N` on PostgreSQL: each thread's connection is one worker's.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import requests

from bitmm.xwrap.money import plain
from tests.stress.harness import (
    EXCHANGE_CASES,
    LONGEST_WAIT,
    PASSWORD,
    Harness,
    executions,
    new_postgres,
    open_harness,
)

DAY = 25 * 3600


@dataclass
class Figures:
    """What a run found."""

    threads: int
    rounds: int
    executed_once: int = 0
    same_bytes: int = 0
    refused: int = 0
    independent: int = 0
    replayed: dict[str, int] = field(default_factory=dict)
    clock_moved: bool = False
    answers: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        all_of = (self.executed_once, self.same_bytes, self.refused, self.independent, *self.replayed.values())
        return all(count == self.rounds for count in all_of) and len(self.replayed) == 2 and self.clock_moved

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.threads} threads x {self.rounds} rounds, one key a round, in {self.seconds:.0f} s; answers: "
                + ", ".join(f"{count} x {status}" for status, count in sorted(self.answers.items())),
                f"executed once                         {self.executed_once} of {self.rounds}",
                f"all threads got the same bytes        {self.same_bytes} of {self.rounds}",
                f"other amount refused, 422             {self.refused} of {self.rounds}",
                f"other account's order is its own      {self.independent} of {self.rounds}",
                *(
                    f"replayed byte for byte {when:14} {count} of {self.rounds}"
                    for when, count in self.replayed.items()
                ),
            ]
        )


class Caller:
    """One thread's connection."""

    def __init__(self, harness: Harness, id: int, user: str, answers: Counter[int]) -> None:
        self._url = f"{harness.server.url}/exchanges/{id}/buy"
        self._session = requests.Session()
        self._session.auth = (user, PASSWORD)
        self._answers = answers

    def post(self, number: int, amount: str) -> requests.Response:
        exchange = EXCHANGE_CASES["kraken"]
        form = {"currency": exchange.currency, "asset": exchange.asset, "amount": amount}
        answer = self._session.post(self._url, data=form, headers={"Idempotency-Key": f"round-{number}"}, timeout=60)
        self._answers[answer.status_code] += 1
        return answer

    def close(self) -> None:
        self._session.close()

    def until_done(self, number: int, amount: str) -> requests.Response:
        """Repeat until there is the order, as a client would."""
        end = time.monotonic() + LONGEST_WAIT
        while (answer := self.post(number, amount)).status_code in {409, 503} and time.monotonic() < end:
            time.sleep(0.005)
        return answer


def run(*, threads: int, rounds: int, workers: int = 1, database: str | None = None) -> Figures:
    """The whole test; see the module."""
    figures, exchange, began = Figures(threads, rounds), EXCHANGE_CASES["kraken"], time.monotonic()
    quick = {"reconcile_seconds": 0.2, "reconcile_grace_seconds": 0.5}
    with open_harness("kraken", database=database, workers=workers, **quick) as harness:
        venue = harness.venues["kraken"]
        harness.server.start()
        harness.account("bob")
        id = harness.register("kraken")
        callers = [Caller(harness, id, harness.user, figures.answers) for _ in range(threads)]
        gate = threading.Barrier(threads)
        amounts = [plain(exchange.amount_of(number)) for number in range(rounds)]

        def race(caller: Caller, number: int) -> tuple[int, bytes]:
            gate.wait(LONGEST_WAIT)
            answer = caller.until_done(number, amounts[number])
            return answer.status_code, answer.content

        first: list[bytes] = []
        with ThreadPoolExecutor(threads) as pool:
            for number in range(rounds):
                different = set(pool.map(race, callers, [number] * threads))
                figures.same_bytes += len(different) == 1 and next(iter(different))[0] == 200
                first.append(next(iter(different))[1])
        executed = executions(exchange, venue)
        figures.executed_once = sum(executed[number] == 1 for number in range(rounds))
        one = callers[0]
        other = plain(exchange.amount_of(rounds))
        for number in range(rounds):
            answer = one.post(number, other)
            figures.refused += (answer.status_code, answer.json()["code"]) == (422, "key_reused")
        bob = Caller(harness, harness.register("kraken", "bob"), "bob", figures.answers)
        for number in range(rounds):
            answer = bob.until_done(number, amounts[number])
            figures.independent += answer.status_code == 200 and answer.content != first[number]
        for when, ahead in {"after restart": 0, "25 hours later": DAY}.items():
            harness.server.stop(signal.SIGTERM)
            harness.server.start(ahead=ahead)
            answers = [one.until_done(number, amounts[number]) for number in range(rounds)]
            figures.replayed[when] = sum(
                answer.content == first[number] and answer.headers.get("Idempotent-Replayed") == "true"
                for number, answer in enumerate(answers)
            )
        # Only a server whose clock is ahead calls a new order so late.
        late = one.until_done(rounds, other).json()["created"]
        figures.clock_moved = datetime.fromisoformat(late) - datetime.now(UTC) > timedelta(hours=24)
        # Once for each account, and the late one.
        for caller in (*callers, bob):
            caller.close()
        if executions(exchange, venue) != {**dict.fromkeys(range(rounds), 2), rounds: 1}:
            figures.executed_once = 0
    figures.seconds = time.monotonic() - began
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.same_key", description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    options = parser.parse_args()
    with new_postgres() if options.workers > 1 else nullcontext() as url:
        figures = run(**vars(options), database=url)
    print(figures)
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main())
