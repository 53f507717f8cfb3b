"""Paper at the prices of a local Kraken that move, stop, lie and jump: what was filled was really offered there.

    python -m tests.stress.paper_prices [--orders 1000] [--look 3.0]

Four bots place orders of every kind through a real server with `XWRAP_PAPER_PRICES=kraken` and the published limits,
while the prices move. In between the local Kraken refuses all calls, shows a bid above its ask, and halves its prices
for a moment. Each book that it shows is kept, with its time. Printed is how many orders there were, what became of
them, how many fills were compared with the books of the seconds before, and how often Kraken was asked. The status is 1
when a fill was at a price or for an amount that was not shown, an order was taken while trading had to pause or refused
in other words, a ledger does not add up to its balance, or a call needed a key or was beyond the limit.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from bitmm.xwrap.client import APIError, Backend, Fill, XWrap
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.money import total
from bitmm.xwrap.server.runner import run_in_background
from bitmm.xwrap.server.settings import Settings
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.conftest import Server

__all__ = ["Figures", "run"]

FUNDS = {"EUR": Decimal(10_000_000), "USD": Decimal(10_000_000), "BTC": Decimal(200)}
PAIRS = ("BTC/EUR", "BTC/USD")
BOTS = 4
#: A look serves so long at most: 10 seconds, the second for which an answer is kept, and what a slow machine adds.
OLDEST = 13.0
#: A jump may be believed when it is seen again so many seconds later.
CONFIRMED = 5.0
LONGEST_WAIT = 120.0

Level = tuple[Decimal, Decimal]


@dataclass(frozen=True)
class Shown:
    """A book as the local Kraken answered it."""

    time: float
    bids: list[Level]
    asks: list[Level]
    #: Until when nothing may be filled by it.
    bad_until: float


class WatchedKraken(KrakenVenue):
    """A local Kraken that keeps the books that it shows, and counts what it is asked."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.mood = "good"
        self.shown: dict[str, list[Shown]] = {pair: [] for pair in PAIRS}
        self.bad_since: dict[str, float] = {}
        self.arrivals: list[float] = []

    def public_Depth(self, given: Any) -> Any:
        answer = super().public_Depth(given)
        ((key, book),) = answer.items()
        if self.mood == "lies":
            book["bids"][0][0], book["asks"][0][0] = book["asks"][0][0], book["bids"][0][0]
        pair = {"XXBTZEUR": "BTC/EUR", "XXBTZUSD": "BTC/USD"}[key]
        sides = [[(Decimal(price), Decimal(amount)) for price, amount, _ in book[side]] for side in ("bids", "asks")]
        now, bad_until = time.time(), 0.0
        if self.mood == "lies":
            bad_until = float("inf")
        elif self.mood == "jumps":
            bad_until = self.bad_since.setdefault(pair, now) + CONFIRMED
        self.shown[pair].append(Shown(now, *sides, bad_until))
        return answer

    def public(self, request: Any, method: str) -> Any:
        self.arrivals.append(time.time())
        return super().public(request, method)

    def move(self, dice: random.Random) -> None:
        """Let prices walk by up to half a percent, and amounts be others."""
        for pair in PAIRS:
            offers = self.pairs[pair]
            ask = (offers.asks[0][0] * Decimal(dice.randint(995, 1005)) / 1000).quantize(Decimal("0.1"))
            self.set_best_prices(pair, ask, (ask * Decimal("0.9995")).quantize(Decimal("0.1")))
            with self.lock:
                offers.asks = [(price, Decimal(dice.randint(1, 3000)) / 1000) for price, _ in offers.asks]
                offers.bids = [(price, Decimal(dice.randint(1, 3000)) / 1000) for price, _ in offers.bids]

    def scale(self, factor: Decimal) -> None:
        for pair in PAIRS:
            offers = self.pairs[pair]
            ask, bid = ((side[0][0] * factor).quantize(Decimal("0.1")) for side in (offers.asks, offers.bids))
            self.set_best_prices(pair, ask, bid)


@dataclass
class Figures:
    """What came of it."""

    orders: Counter[str] = field(default_factory=Counter)
    fills: int = 0
    #: Of what must not be.
    wrong: list[str] = field(default_factory=list)
    calls: int = 0
    highest_count: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        ended = ", ".join(f"{count} {what}" for what, count in sorted(self.orders.items()))
        return (
            f"{sum(self.orders.values())} orders in {self.seconds:.0f} s: {ended}\n"
            f"{self.fills} fills, each compared with what was shown before\n"
            f"{self.calls} calls to Kraken, all public; its counter rose to {self.highest_count:.1f} of"
            f" {Kraken.per_address.capacity:.0f}\n"
            f"{len(self.wrong)} things that must not be"
        )


class Trader:
    """Places orders of every kind with a few registrations."""

    def __init__(self, url: str, backends: list[Backend], venue: WatchedKraken, figures: Figures) -> None:
        self.backends, self.venue, self.figures = backends, venue, figures
        first = backends[0]
        self.url, self.auth = f"{url}/exchanges/{first.id}/exchange_rate", (first.username, first.password)
        self._lock = threading.Lock()

    def place(self, count: int, *, paused_until: float = 0.0) -> None:
        """Place so many orders with all bots at once; each has to be refused in words until then."""
        shares = [count // BOTS + (bot < count % BOTS) for bot in range(BOTS)]
        threads = [
            threading.Thread(target=self._place, args=(bot, share, paused_until)) for bot, share in enumerate(shares)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _place(self, bot: int, count: int, paused_until: float) -> None:
        dice = random.Random(f"{bot} {sum(self.figures.orders.values())}")
        for _ in range(count):
            try:
                status = self.place_one(self.backends[bot], dice)["status"]
            except APIError as error:
                status = "refused: pauses" if "pauses" in str(error) else f"refused: {error.code}"
                if not paused_until and error.code not in ("insufficient_funds", "would_take"):
                    self.wrong(f"refused while it trades: {error}")
            else:
                if time.time() < paused_until:
                    self.wrong(f"an order was taken while trading had to pause: {status}")
            with self._lock:
                self.figures.orders[status] += 1

    def place_one(self, backend: Backend, dice: random.Random) -> Any:
        pair = dice.choice(PAIRS)
        currency = pair.partition("/")[2]
        offers = self.venue.pairs[pair]
        near = (offers.asks[0][0] * Decimal(dice.randint(990, 1010)) / 1000).quantize(Decimal("0.1"))
        amount = Decimal(dice.randint(1_000_000, 200_000_000)).scaleb(-8)
        order = dice.choice((backend.buy, backend.sell))
        kind = dice.choice(("market", "cost", "limit", "limit", "ioc", "fok", "post_only", "stop"))
        if kind == "market":
            return order(currency, "BTC", amount)
        if kind == "cost":
            return backend.buy(currency, "BTC", cost=(amount * near / 3).quantize(Decimal("0.01")))
        if kind == "stop":
            return order(currency, "BTC", amount / 10 // Decimal("1e-8") * Decimal("1e-8"), stop=near)
        terms: dict[str, Any] = {"ioc": {"time_in_force": "IOC"}, "fok": {"time_in_force": "FOK"}}.get(kind, {})
        if kind == "post_only":
            terms = {"post_only": True}
        return order(currency, "BTC", amount, price=near, **terms)

    def wrong(self, what: str) -> None:
        with self._lock:
            self.figures.wrong.append(what)

    def wait_until(self, *, paused: bool) -> None:
        """Wait until every market refuses orders with words, or takes them again."""
        deadline = time.monotonic() + LONGEST_WAIT
        for pair in PAIRS:
            while time.monotonic() < deadline:
                # Past the client, which asks again when a read is refused for a while.
                query = {"from": pair.partition("/")[2], "to": "BTC"}
                answer = requests.get(self.url, params=query, auth=self.auth, timeout=30)
                if answer.ok != paused and (answer.ok or "pauses" in answer.json()["detail"]):
                    break
                time.sleep(0.05)
            else:
                self.wrong(f"{pair} did not {'pause' if paused else 'go on'}")


@contextmanager
def moving(venue: WatchedKraken, every: float) -> Iterator[None]:
    """Let the prices move every so many seconds."""
    over, dice = threading.Event(), random.Random(7)

    def move() -> None:
        while not over.wait(every):
            venue.move(dice)

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def run(orders: int, look: float) -> Figures:
    """Place so many orders; a market is looked at every `look` seconds at most."""
    figures, began = Figures(), time.monotonic()
    with WatchedKraken() as venue, tempfile.TemporaryDirectory(prefix="xwrap-paper-") as folder:
        funds = ",".join(f"{name}={amount}" for name, amount in FUNDS.items())
        environ = {"XWRAP_PAPER_PRICES": "kraken", "XWRAP_PAPER_FUNDS": funds}
        settings = Settings.read(
            environ,
            data=Path(folder),
            port=0,
            exchanges=("paper", "kraken"),
            exchange_urls={"kraken": venue.url},
            paper_look_seconds=look,
        )
        with run_in_background(settings) as url:
            server = Server(url, settings.data, settings.data / "xwrap.sqlite3")
            backends = [XWrap(url).create_backend(*server.account(), "paper", "", "", "") for _ in range(BOTS)]
            trader = Trader(url, backends, venue, figures)
            trader.wait_until(paused=False)
            _trade(trader, venue, orders, look)
            for backend in backends:
                # Else one may be filled between two questions.
                backend.cancel_all()
                _compare(backend, venue, figures)
        _check_calls(venue, figures)
    figures.seconds = time.monotonic() - began
    return figures


def _trade(trader: Trader, venue: WatchedKraken, orders: int, look: float) -> None:
    """Place most of the orders while prices move, and a tenth of them in each bad mood of the exchange."""
    tenth = orders // 10
    moods: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
        ("stops", lambda: venue.fault("maintenance", times=10**6, path="Depth"), venue.heal),
        ("lies", lambda: None, lambda: None),
        ("jumps", lambda: venue.scale(Decimal("0.5")), lambda: venue.scale(Decimal(2))),
    ]
    for mood, begin, end in moods:
        with moving(venue, look / 10):
            trader.place(2 * tenth)
        venue.mood = mood
        begin()
        trader.wait_until(paused=True)
        # A jump may be believed after that.
        trader.place(tenth, paused_until=min(venue.bad_since.values(), default=float("inf")) + CONFIRMED)
        end()
        venue.mood = "good"
        trader.wait_until(paused=False)
    with moving(venue, look / 10):
        trader.place(orders - 9 * tenth)
        time.sleep(3 * look)


def _compare(backend: Backend, venue: WatchedKraken, figures: Figures) -> None:
    """Compare the fills with the books that were shown, the orders with the fills, and the balance with the ledger."""
    orders = {order["exchange_order_id"]: order for order in [backend.order(row["id"]) for row in backend.all_orders()]}
    filled: Counter[str | None] = Counter()
    fees: Counter[str | None] = Counter()
    for pair in PAIRS:
        for fill in backend.all_fills(pair.partition("/")[2], "BTC"):
            order = orders[fill["exchange_order_id"]]
            figures.fills += 1
            filled[fill["exchange_order_id"]] += fill["amount"]
            fees[fill["exchange_order_id"]] += fill["fee"] or Decimal(0)
            if not any(_explains(shown, fill, order["price"]) for shown in _shown_before(venue, pair, fill)):
                figures.wrong.append(f"not offered: {fill}")
    for id, order in orders.items():
        if (order["filled"] or 0) != filled[id] or (order["fee"] or 0) != fees[id]:
            figures.wrong.append(f"its fills are {filled[id]}, with fees of {fees[id]}: {order}")
    ledger: Counter[str] = Counter()
    for entry in backend.ledger():
        ledger[entry["asset"]] += entry["amount"]
    if dict(ledger) != backend.balance():
        figures.wrong.append(f"the ledger has {dict(ledger)}, the balance is {backend.balance()}")
    held = backend.funds()
    if any(funds["available"] is None or funds["available"] < 0 for funds in held.values()):
        figures.wrong.append(f"more is held than there is: {held}")


def _shown_before(venue: WatchedKraken, pair: str, fill: Fill) -> Iterator[Shown]:
    """Yield the books by which it may have been filled."""
    at = datetime.fromisoformat(fill["time"]).timestamp()
    for shown in venue.shown[pair]:
        if at - OLDEST <= shown.time <= at + 0.1 and shown.bad_until <= at:
            yield shown


def _explains(shown: Shown, fill: Fill, limit: Decimal | None) -> bool:
    """Return whether an order can have been filled so by this book: at a level of it, or at its own limit."""
    levels = shown.asks if fill["side"] == "buy" else shown.bids
    if any(price == fill["price"] and fill["amount"] <= amount for price, amount in levels):
        return True
    buys, own = fill["side"] == "buy", fill["price"]
    reached = total(amount for price, amount in levels if (price <= own if buys else price >= own))
    return own == limit and fill["amount"] <= reached


def _check_calls(venue: WatchedKraken, figures: Figures) -> None:
    """Count the calls as Kraken does, and look that none of them needed a key."""
    limit, count, last = Kraken.per_address, 0.0, 0.0
    for at in sorted(venue.arrivals):
        count, last = max(0.0, count - (at - last) * limit.refill) + 1, at
        figures.highest_count = max(figures.highest_count, count)
    figures.calls = len(venue.requests)
    if figures.highest_count > limit.capacity:
        figures.wrong.append(f"the counter rose to {figures.highest_count}")
    for request in venue.requests:
        if not request.path.startswith("/0/public/") or "API-Key" in request.headers:
            figures.wrong.append(f"a call that needs a key: {request.method} {request.path}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.paper_prices", description=__doc__)
    parser.add_argument("--orders", type=int, default=1000, help="how many orders are placed in all")
    parser.add_argument("--look", type=float, default=3.0, help="seconds between two looks at a market, at least")
    options = parser.parse_args()
    figures = run(options.orders, options.look)
    print(figures)
    for what in figures.wrong[:20]:
        print(what)
    sys.exit(bool(figures.wrong) or not figures.fills)


if __name__ == "__main__":
    main()
