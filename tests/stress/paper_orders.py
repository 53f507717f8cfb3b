"""Orders on paper against a plain exchange that holds every open order against every look.

    python -m tests.stress.paper_orders [--seeds 200] [--steps 300] [--seed 1]

Random limits, stops, ends, times in force, cancels, sends, transfers and prices, at recorded prices and at those of
three markets now, which share their currencies. Every balance, held amount and order must be what the plain exchange
(`tests/support/plain_paper.py`) has, to the last digit, and at the end all fills, in their order; what the ledger keeps
as sums must be the sums of its rows. It ends with status 1 at the first difference, with its seed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from bitmm.xwrap.exchanges.base import ExchangeContext
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.models import Level, Market, NewOrder, NewTransfer, NewWithdrawal, OrderRef
from bitmm.xwrap.exchanges.paper import Paper, PaperConfig, PaperExchange, Prices
from bitmm.xwrap.exchanges.paper.looks import Look
from bitmm.xwrap.exchanges.paper.recorded_prices import RecordedPrices
from bitmm.xwrap.server.db.price_keys import price_key
from bitmm.xwrap.server.db.store import Store
from tests.support.databases import sql
from tests.support.plain_paper import NotEnough, Pair, PlainPaper

__all__ = ["Figures", "compare"]

BEGIN = 1_736_208_060.0
ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
CENT = Decimal("0.01")
#: What a step does, and how often.
ACTIONS = {"place": 72, "cancel": 10, "cancel_all": 1, "open_orders": 5, "send": 3, "transfer": 4, "read": 5}
#: All orders are compared after so many steps; balances, and what open orders hold, after each.
CHECK_EVERY = 10


@dataclass
class Figures:
    """What a run did: its steps, the orders that rested, the fills of those, and the most orders open at once."""

    steps: int = 0
    rested: int = 0
    fills: int = 0
    most_open: int = 0

    def __add__(self, other: Figures) -> Figures:
        most = max(self.most_open, other.most_open)
        return Figures(self.steps + other.steps, self.rested + other.rested, self.fills + other.fills, most)

    def __str__(self) -> str:
        return (
            f"{self.steps} steps, {self.rested} orders that rested, {self.fills} fills, {self.most_open} orders open at"
            " most: no difference"
        )


class Recorded:
    """Recorded prices of half an hour, again and again."""

    pairs: tuple[Pair, ...] = (("USD", "BTC"),)
    kind: type[PaperExchange] = Paper

    def __init__(self, chance: random.Random) -> None:
        self.now, self._chance = BEGIN, chance
        closes = [Decimal(100)]
        while len(closes) < 30:
            closes.append(max(Decimal(20), closes[-1] + chance.choice((-9, -4, -2, -1, 0, 0, 1, 2, 4, 9))))
        self.prices = Prices(int(BEGIN // 60), tuple(closes))
        self._seen = int(BEGIN // 60)
        self.source = RecordedPrices(PaperConfig(self.prices, {}, lambda _id: None, lambda: self.now))  # type: ignore[arg-type, return-value]

    def go_on(self) -> None:
        """Let some time pass, sometimes more than the prices last."""
        self.now += self._chance.choice((0, 0, 7, 30, 60, 60, 60, 61, 120, 600, 3000))

    def look(self, pair: Pair) -> Look:
        return self.source.look(*pair)

    def news(self) -> dict[Pair, Sequence[Look]]:
        """Return the looks since the last call; of a long time those that have all the prices."""
        first, self._seen = self._seen, int(self.now // 60)
        minutes = range(max(first, self._seen - self.prices.period) + 1, self._seen + 1)
        return {self.pairs[0]: [self.source.look_at(minute) for minute in minutes]}


class Live:
    """Order books of three markets, of which the last look is known; it is a source of looks, too."""

    pairs: tuple[Pair, ...] = (("USD", "BTC"), ("USD", "ETH"), ("BTC", "ETH"))
    seconds = 3.0
    prices = Prices.load()

    def __init__(self, chance: random.Random) -> None:
        self.now, self._chance = BEGIN, chance
        self._middle = dict.fromkeys(self.pairs, Decimal(100))
        self._looks: dict[Pair, Look] = {}
        self._seen: dict[Pair, float] = {}
        for pair in self.pairs:
            self._renew(pair)

    @property
    def kind(self) -> type[PaperExchange]:
        """Return the class of an exchange at these prices."""
        live = self

        class LivePaper(PaperExchange):
            @property
            def _source(self) -> Live:
                return live

            def _rules_of(self, asset: str) -> Market:
                return Market("USD", asset, amount_step=CENT, amount_min=CENT)

        return LivePaper

    def go_on(self) -> None:
        """Let nothing happen, some time pass, or markets be looked at, as often as they may be."""
        if self._chance.random() < 0.7:
            self.now += self._chance.choice((3.0, 4.5, 10.0, 70.0))
            for pair in self.pairs:
                if self._chance.random() < 0.7:
                    self._renew(pair)

    def _renew(self, pair: Pair) -> None:
        middle = max(Decimal(20), self._middle[pair] + self._chance.choice((-6, -3, -2, -1, 0, 1, 2, 3, 6)))
        self._middle[pair] = middle
        rules = Market(*pair, CENT, CENT, CENT, maker_fee=Decimal("0.0016"), taker_fee=Decimal("0.0026"))
        self._looks[pair] = Look(self.now, rules, self._levels(-1, middle), self._levels(1, middle), Decimal("1e-8"))

    def _levels(self, sign: int, middle: Decimal) -> tuple[Level, ...]:
        count = self._chance.randint(1, 4)
        return tuple((middle + sign * (1 + n), Decimal(self._chance.randint(1, 300)) / 100) for n in range(count))

    def look(self, *pair: Any) -> Look:
        return self._looks[pair[0] if len(pair) == 1 else pair]

    def looks_since(self, currency: str, asset: str, minute: int) -> list[Look]:
        return [self._looks[currency, asset]]

    def pause(self, currency: str, asset: str) -> str | None:
        return None

    def news(self) -> dict[Pair, Sequence[Look]]:
        """Return the looks that no call saw yet."""
        news = {pair: [look] if self._seen.get(pair) != look.time else [] for pair, look in self._looks.items()}
        self._seen = {pair: look.time for pair, look in self._looks.items()}
        return news


@dataclass
class Comparison:
    """Two registrations of the real exchange, beside the plain ones."""

    store: Store
    world: Recorded | Live
    chance: random.Random
    papers: list[PaperExchange] = field(default_factory=list)
    plains: list[PlainPaper] = field(default_factory=list)
    figures: Figures = field(default_factory=Figures)

    def __post_init__(self) -> None:
        opening = {"USD": Decimal(10_000), "BTC": Decimal(60), "ETH": Decimal(60)}
        if isinstance(self.world, Recorded):
            del opening["ETH"]
        config = PaperConfig(self.world.prices, opening, self.store.paper_ledger, lambda: self.world.now)
        for _ in range(2):
            values = {"account_id": 1, "exchange": "paper", "username": "", "label": "", "apikey_hint": ""}
            id = self.store.registrations.add(values, lambda _id: {"sealed_more": b""}).id
            self.papers.append(self.world.kind(ExchangeContext(None, registration=id), config))
            self.plains.append(PlainPaper({"USD": Decimal(0), "BTC": Decimal(0), **opening}))

    def step(self, number: int) -> None:
        """Do one thing at both, and compare all."""
        self.world.go_on()
        news = self.world.news()
        for plain in self.plains:
            plain.catch_up(news, self.world.now)
        for paper in self.papers:
            # Else a look of a market could be over before this registration has seen it.
            paper.funds()
        which = self.chance.randrange(2)
        [action] = self.chance.choices(list(ACTIONS), list(ACTIONS.values()))
        found = [
            self._outcome(getattr(self, f"_{action}"), side, which, f"{action}-{number}") for side in self._sides()
        ]
        assert found[0] == found[1], f"{action}: {found[0]} at the exchange, {found[1]} plainly"
        self._check_funds()
        if number % CHECK_EVERY == 0:
            self.check_orders()
        self.figures.steps += 1
        self.figures.most_open = max(self.figures.most_open, *(len(plain.open_orders()) for plain in self.plains))

    def _sides(self) -> tuple[bool, bool]:
        # Both draw the same random numbers.
        self._state = self.chance.getstate()
        return True, False

    def _outcome(self, action: Any, real: bool, which: int, id: str) -> Any:
        self.chance.setstate(self._state)
        try:
            return action(self.papers if real else self.plains, which, id)
        except NotEnough:
            return "insufficient_funds"
        except Refused as refusal:
            return refusal.code

    def _place(self, ledgers: Any, which: int, id: str) -> Any:
        order = self._order(id)
        if isinstance(ledgers[0], PaperExchange):
            state = ledgers[which].place(order)
            return state.status, state.filled, state.spent, state.fee, state.reason
        self.papers[which].check_kind(order)
        look = self.world.look((order.currency, order.asset))
        new = ledgers[which].place(order, look)
        self.figures.rested += new.status == "open"
        return new.status, new.executed.filled, new.executed.spent, new.executed.fee, new.reason

    def _order(self, id: str) -> NewOrder:
        chance, pair = self.chance, self.chance.choice(self.world.pairs)
        kind = chance.choice(("limit", "limit", "limit", "stop", "stop limit", "market"))
        price, stop = (self.world.look(pair).best("buy") + chance.randint(-20, 20) for _ in range(2))
        more: dict[str, Any] = {}
        if "limit" in kind and chance.random() < 0.3:
            end = int(self.world.now) + chance.choice((1, 59, 60, 61, 150, 3000))
            more = {"time_in_force": "GTD", "expires": datetime.fromtimestamp(end, UTC)}
        elif "limit" in kind and chance.random() < 0.2:
            more = {"time_in_force": chance.choice(("IOC", "FOK"))}
        return NewOrder(
            chance.choice(("buy", "sell")),
            *pair,
            id,
            amount=Decimal(chance.randint(1, 250)) / 100,
            price=price if "limit" in kind else None,
            stop=stop if "stop" in kind else None,
            **more,
        )

    def _cancel(self, ledgers: Any, which: int, _id: str) -> Any:
        placed = self.plains[which].orders
        if not placed:
            return None
        order = self.chance.choice(placed).order
        if isinstance(ledgers[0], PaperExchange):
            return ledgers[which].cancel(OrderRef(order.side, order.currency, order.asset, order.client_id))
        return None if ledgers[which].cancel(order.client_id) else "order_not_open"

    def _cancel_all(self, ledgers: Any, which: int, _id: str) -> Any:
        return ledgers[which].cancel_all()

    def _open_orders(self, ledgers: Any, which: int, _id: str) -> Any:
        listed = ledgers[which].open_orders()
        return [each.client_id if isinstance(ledgers[0], PaperExchange) else each.order.client_id for each in listed]

    def _read(self, ledgers: Any, which: int, _id: str) -> Any:
        """Only let time pass: balances are read and compared after each step."""

    def _send(self, ledgers: Any, which: int, id: str) -> Any:
        amount = Decimal(self.chance.randint(1, 300)) / 100
        if isinstance(ledgers[0], PaperExchange):
            return ledgers[which].withdraw(NewWithdrawal("BTC", amount, ADDRESS, id)) and None
        return ledgers[which].add("BTC", -amount)

    def _transfer(self, ledgers: Any, which: int, id: str) -> Any:
        name, amount = self.chance.choice(("USD", "BTC")), Decimal(self.chance.randint(1, 300)) / 100
        mine, theirs = ledgers[which], ledgers[1 - which]
        if isinstance(mine, PaperExchange):
            to = theirs.context.registration
            return mine.transfer(NewTransfer(name, amount, theirs.transfer_account(), id, to_registration=to)) and None
        mine.add(name, -amount)
        return theirs.add(name, amount)

    def _check_funds(self) -> None:
        """Raise AssertionError when a balance, or what is held of it, is another one."""
        for paper, plain in zip(self.papers, self.plains, strict=True):
            funds = {name: (each.total, each.available, each.held) for name, each in paper.funds().items()}
            names = plain.balances
            wanted = {name: (names[name], plain.available(name), plain.held(name)) for name in names}
            assert funds == wanted, f"funds: {funds} at the exchange, {wanted} plainly"

    def check_orders(self) -> None:
        """Raise AssertionError when an order is another one, or a sum is not that of the rows."""
        for paper, plain in zip(self.papers, self.plains, strict=True):
            self._check_rows(paper.context.registration, plain)
            self._check_counts(paper.context.registration, plain)

    def _check_rows(self, id: int, plain: PlainPaper) -> None:
        query = (
            "SELECT client_id, status, filled, held, reason, stop, price, price_key FROM paper_orders"
            " WHERE registration_id = :id ORDER BY id"
        )
        rows = sql(self._where, query, id=id)
        for row, order in zip(rows, plain.orders, strict=True):
            client_id, status, filled, held, reason, stop, price, key = row
            found = client_id, status, Decimal(filled), Decimal(held), reason, None if stop is None else Decimal(stop)
            stops = order.stop if order.status == "open" else found[5]
            wanted = (order.order.client_id, order.status, order.executed.filled, order.held, order.reason, stops)
            assert found == wanted, f"an order: {found} at the exchange, {wanted} plainly"
            assert key == (price_key(Decimal(stop or price)) if status == "open" else None), f"the key of {client_id}"

    def _check_counts(self, id: int, plain: PlainPaper) -> None:
        counts: dict[Pair, int] = {}
        for order in plain.open_orders():
            counts[order.pair] = counts.get(order.pair, 0) + 1
        rows = sql(
            self._where, "SELECT currency, asset, open_orders FROM paper_markets WHERE registration_id = :id", id=id
        )
        assert {(currency, asset): count for currency, asset, count in rows} == counts, "the counts of open orders"

    @property
    def _where(self) -> Path | str:
        return self.store.where

    def check_fills(self) -> None:
        """Raise AssertionError when the fills are others, or in another order."""
        for paper, plain in zip(self.papers, self.plains, strict=True):
            query = (
                "SELECT client_id, paper_fills.price, paper_fills.amount FROM paper_fills JOIN paper_orders"
                " ON paper_orders.id = order_id WHERE paper_fills.registration_id = :id ORDER BY paper_fills.id"
            )
            rows = sql(self._where, query, id=paper.context.registration)
            assert [(id, Decimal(price), Decimal(amount)) for id, price, amount in rows] == plain.fills, "the fills"
            self.figures.fills += len(rows)


def compare(store: Store, seed: int, steps: int, *, live: bool) -> Figures:
    """Return what a run of this seed did. Raises AssertionError with the first difference."""
    chance = random.Random(seed)
    comparison = Comparison(store, (Live if live else Recorded)(chance), chance)
    for number in range(steps):
        try:
            comparison.step(number)
        except AssertionError as error:
            raise AssertionError(
                f"seed {seed}, {'live' if live else 'recorded'} prices, step {number}: {error}"
            ) from None
    comparison.check_orders()
    comparison.check_fills()
    return comparison.figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=200, help="how many runs at each kind of prices")
    parser.add_argument("--steps", type=int, default=300, help="of each run")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    options = parser.parse_args()
    figures = Figures()
    for seed in range(options.seed, options.seed + options.seeds):
        for live in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                store = Store(Path(folder) / "xwrap.sqlite3")
                store.prepare()
                store.accounts.add("ann", "x")
                try:
                    figures += compare(store, seed, options.steps, live=live)
                except AssertionError as difference:
                    sys.exit(str(difference))
                finally:
                    store.close()
    print(figures)


if __name__ == "__main__":
    main()
