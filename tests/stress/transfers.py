"""Kills the server, again and again, while amounts go between registrations, and compares with the ledgers.

    python -m tests.stress.transfers [--kills 100] [--seed N]

Eight threads transfer amounts, each of which is there once only, between two registrations on paper, and between a main
account and a sub-account at a local Bitstamp, and repeat each with its key until its outcome is definite, or the server
has said three times that it is unknown. The kills come at random moments. At the end one minute is waited for what is
unknown. It prints, for paper and for Bitstamp, and exits with 1 unless the first three are 0 and paper leaves nothing
unknown:
  lost      transfers that a client was told of as done and the ledger does not have
  doubled   transfers that the ledger has more than once
  one-sided transfers that one of the two ledgers on paper has, and not the other
  unknown   those whose outcome is unknown at the end; how many of them were really moved
"""

from __future__ import annotations

import argparse
import base64
import itertools
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from bitmm.xwrap.client import Backend, XWrap
from bitmm.xwrap.errors import APIError, OutcomeUnknown, RateLimited, Unavailable
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from tests.support.command import serve, url_of, xwrap
from tests.support.databases import sql

THREADS = 8
SECRET = base64.b64encode(b"the secret of a sub-account").decode()
#: How often a transfer is repeated whose exchange cannot say what became of it.
LOOKUPS = 3
#: Seconds in which the reconciler may find out what is unknown, after the last kill.
PATIENCE = 60.0


@dataclass
class Figures:
    """What became of the transfers at one exchange."""

    made: int = 0
    lost: int = 0
    doubled: int = 0
    one_sided: int = 0
    unknown: int = 0
    unknown_moved: int = 0

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.one_sided)

    def __str__(self) -> str:
        return (
            f"{self.made} transfers, lost {self.lost}, doubled {self.doubled}, one-sided {self.one_sided},"
            f" unknown {self.unknown} (moved: {self.unknown_moved})"
        )


@dataclass
class Transfers:
    """The registrations, and the transfers of all threads, by their amounts."""

    pairs: dict[str, list[Backend]]
    statuses: dict[tuple[str, Decimal], str] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    _numbers: itertools.count = field(default_factory=itertools.count)
    #: What ended a thread.
    failures: list[str] = field(default_factory=list)

    def make(self, place: str) -> None:
        """Transfer one amount after another until the kills are over: the work of one thread."""
        while not self.stopping.is_set():
            number = next(self._numbers)
            giving, taking = self.pairs[place][:: 1 if number % 2 else -1]
            amount = Decimal("0.001") + Decimal(number).scaleb(-8)
            try:
                self.statuses[place, amount] = _outcome(giving, taking, amount, f"key {number}")
            except APIError as error:
                self.failures.append(repr(error))
                return


def _outcome(giving: Backend, taking: Backend, amount: Decimal, key: str) -> str:
    """Return the status of a transfer, which is repeated with its key until that is known, or cannot be."""
    unknown = 0
    while unknown < LOOKUPS:
        try:
            return giving.transfer(taking, amount, key=key)["status"]
        except OutcomeUnknown as error:
            # A connection that broke says nothing.
            unknown += error.code == "outcome_unknown"
            time.sleep(0.05)
        except (Unavailable, RateLimited):
            time.sleep(0.02)
    return "unknown"


def run(kills: int, seed: int | None = None, patience: float = PATIENCE) -> dict[str, Figures]:
    """Return the figures by the exchange."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, BitstampVenue() as venue:
        sub = venue.add_account("sub", SECRET)
        environ = {
            "XWRAP_EXCHANGES": "paper,bitstamp",
            f"XWRAP_EXCHANGE_URL_{venue.name.upper()}": venue.url,
        }
        login = "ann", xwrap("account", "add", "ann", "--generate", "--data", folder).stdout.strip()
        port: str | int = 0
        threads: list[threading.Thread] = []
        for _ in range(kills):
            with serve("--port", port, "--data", folder, **environ) as (_, lines):
                if not threads:
                    url = url_of(lines)
                    port = url.rpartition(":")[2].strip("/")
                    number = str(venue.number_of(sub))
                    transfers = Transfers(_register(XWrap(url, timeout=20), login, venue, number))
                    threads = [
                        threading.Thread(target=transfers.make, args=(place,))
                        for place in itertools.islice(itertools.cycle(transfers.pairs), THREADS)
                    ]
                    for thread in threads:
                        thread.start()
                time.sleep(chance.uniform(0.05, 0.6))
        with serve("--port", port, "--data", folder, **environ):
            transfers.stopping.set()
            for thread in threads:
                thread.join()
            _ask_again(transfers, patience)
        assert not transfers.failures, transfers.failures
        assert not venue.bugs, venue.bugs
        there = Counter(Decimal(row["amount"]) for row in venue.ledger())
        entries = sql(Path(folder) / "xwrap.sqlite3", "SELECT amount FROM paper_entries WHERE kind = 'transfer'")
    given = Counter(-Decimal(amount) for (amount,) in entries if amount.startswith("-"))
    taken = Counter(Decimal(amount) for (amount,) in entries if not amount.startswith("-"))
    figures = {"paper": _count(transfers, "paper", given), "bitstamp": _count(transfers, "bitstamp", there)}
    figures["paper"].one_sided = sum(((given - taken) + (taken - given)).values())
    return figures


def _register(xw: XWrap, login: tuple[str, str], venue: BitstampVenue, number: str) -> dict[str, list[Backend]]:
    create = xw.create_backend
    return {
        "paper": [create(*login, "paper", name, "", "") for name in ("one", "two")],
        "bitstamp": [
            create(*login, "bitstamp", "main", venue.key, venue.secret, allow_send=True),
            create(*login, "bitstamp", "sub", "sub", SECRET, allow_send=True, subaccount=number),
        ],
    }


def _ask_again(transfers: Transfers, patience: float) -> None:
    """Read from the journals what is unknown until nothing is, or the patience is over."""
    until = time.monotonic() + patience
    while "unknown" in transfers.statuses.values() and time.monotonic() < until:
        time.sleep(0.5)
        for place, backends in transfers.pairs.items():
            for backend in backends:
                with suppress(RateLimited, Unavailable):
                    transfers.statuses |= {(place, row["amount"]): row["status"] for row in backend.all_withdrawals()}


def _count(transfers: Transfers, place: str, ledger: Counter[Decimal]) -> Figures:
    statuses = {amount: status for (at, amount), status in transfers.statuses.items() if at == place}
    unknown = [amount for amount, status in statuses.items() if status == "unknown"]
    return Figures(
        made=len(statuses),
        lost=sum(status == "done" and not ledger[amount] for amount, status in statuses.items()),
        doubled=sum(count - 1 for count in ledger.values()) + sum(amount not in statuses for amount in ledger),
        unknown=len(unknown),
        unknown_moved=sum(ledger[amount] > 0 for amount in unknown),
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.transfers")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int)
    given = parser.parse_args(arguments)
    figures = run(given.kills, given.seed)
    for place, found in figures.items():
        print(f"{given.kills} kills, {place}: {found}")
    return 0 if all(found.good for found in figures.values()) and not figures["paper"].unknown else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
