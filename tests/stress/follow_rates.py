"""Many bots that wait for the changes of a rate, over a kill of the server: each is told, and the exchange asked once.

    python -m tests.stress.follow_rates [--bots 100] [--changes 10] [--idle 20]

The bots follow the rate of one registration at a local Kraken, whose price changes when all of them were told of the
one before; in the middle the server is killed and started again. Printed is how many changes a bot was not told of, or
told twice, how often the exchange was asked for its rate while nothing changed, and the CPU of the server meanwhile.
The status is 1 when something was lost or told twice, or the bots together cost more questions than one would.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from bitmm.xwrap.client import Backend, XWrap
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.passwords import hash_password
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.stress.follow import AUTH, Server

__all__ = ["Figures", "follow_rates"]

#: Longer than anything here takes on a busy machine.
LONGEST_WAIT = 120.0
#: Seconds for which the server gives a rate again before it asks anew.
_KEPT = 2.0


@dataclass
class Figures:
    """What came of it. `questions` and `cpu` (seconds) are those of the `idle` seconds."""

    bots: int
    changes: int
    lost: int = 0
    twice: int = 0
    idle: float = 0.0
    questions: int = 0
    cpu: float = 0.0

    @property
    def good(self) -> bool:
        """Whether everything is as promised."""
        return not self.lost and not self.twice and self.questions <= self.idle / _KEPT + 1

    def __str__(self) -> str:
        return (
            f"{self.bots} bots, {self.changes} changes of a rate, one kill -9: lost {self.lost}, told twice"
            f" {self.twice}; in {self.idle:.0f} s without a change the exchange was asked {self.questions} times,"
            f" {self.cpu * 1000:.0f} ms of CPU"
        )


@dataclass
class Bot:
    """Follows the rate in a thread, and keeps what it was told."""

    backend: Backend
    over: threading.Event
    told: list[Decimal] = field(default_factory=list)

    def start(self) -> None:
        """Start it; it ends with the first rate that it is told of when `over` is set."""
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        for rate in self.backend.follow_rate("EUR", "BTC"):
            if self.over.is_set():
                break
            self.told.append(rate["sell"])


def follow_rates(bots: int, changes: int, idle: float) -> Figures:
    """Let so many bots follow so many changes; return what was found."""
    figures = Figures(bots, changes, idle=idle)
    with ExitStack() as stack:
        venue = stack.enter_context(KrakenVenue())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xwrap-follow-")))
        store = Store(folder / "xwrap.sqlite3")
        store.prepare()
        store.accounts.add(AUTH[0], hash_password(AUTH[1]))
        store.close()
        server = Server(folder, XWRAP_EXCHANGES="kraken", XWRAP_EXCHANGE_URL_KRAKEN=venue.url)
        stack.callback(server.stop)
        backend = XWrap(server.url).create_backend(*AUTH, "kraken", "", venue.key, venue.secret, allow_send=True)
        over = threading.Event()
        followers = [Bot(backend, over) for _ in range(bots)]
        for bot in followers:
            bot.start()
        try:
            prices = _change(venue, server, followers, changes)
            asked, cpu = _questions(venue), server.cpu()
            time.sleep(idle)
            figures.questions, figures.cpu = _questions(venue) - asked, server.cpu() - cpu
        finally:
            over.set()
            _set_price(venue, Decimal(1))
            for bot in followers:
                bot.thread.join(LONGEST_WAIT)
    for bot in followers:
        figures.lost += len(set(prices) - set(bot.told))
        figures.twice += len(bot.told) - len(set(bot.told))
    return figures


def _change(venue: KrakenVenue, server: Server, followers: Sequence[Bot], changes: int) -> list[Decimal]:
    """Change the price when all bots know the one before, and kill the server in the middle; return all prices."""
    prices = [venue.pairs["BTC/EUR"].bids[0][0]]
    _wait_until_all_know(followers, prices[-1])
    for number in range(changes):
        if number == changes // 2:
            server.kill()
        prices.append(prices[-1] - 1)
        _set_price(venue, prices[-1])
        _wait_until_all_know(followers, prices[-1])
    return prices


def _set_price(venue: KrakenVenue, price: Decimal) -> None:
    venue.pairs["BTC/EUR"].bids[:] = [(price, Decimal(1))]


def _wait_until_all_know(followers: Sequence[Bot], price: Decimal) -> None:
    deadline = time.monotonic() + LONGEST_WAIT
    while time.monotonic() < deadline and not all(price in bot.told for bot in followers):
        time.sleep(0.02)


def _questions(venue: KrakenVenue) -> int:
    return sum(request.path.endswith("/Ticker") for request in venue.requests)


def main() -> None:
    """Print the figures; the status is 1 when they are not as promised."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bots", type=int, default=100, help="that wait")
    parser.add_argument("--changes", type=int, default=10, help="of the price")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds in which nothing changes, at the end")
    options = parser.parse_args()
    figures = follow_rates(options.bots, options.changes, options.idle)
    print(figures)
    raise SystemExit(not figures.good)


if __name__ == "__main__":
    main()
