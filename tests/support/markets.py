"""Exchanges with a market of their own each, whose books, fees and funds a test sets; they may be slow."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

from bitmm.xwrap import exchanges
from bitmm.xwrap.exchanges.base import Exchange
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.models import Fees, Funds, Market, OrderBook, Rate
from bitmm.xwrap.exchanges.rules import no_such_market

__all__ = ["PLACES", "BestMarket", "add_markets", "book"]

#: The classes of the exchanges "market0" to "market9", which are taken by their names.
PLACES: dict[str, type[BestMarket]] = {}


class BestMarket(Exchange):
    """The market BTC/USD of one exchange. `failure` is raised by all that it is asked, after `seconds`."""

    name = "Market"
    description = "A market of a test"
    seconds: ClassVar[float] = 0.0
    failure: ClassVar[Refused | None] = None
    shown: ClassVar[OrderBook]
    owned: ClassVar[dict[str, Funds]]
    taker: ClassVar[Decimal | None]
    account_taker: ClassVar[Decimal | None]
    #: What one unit of the asset costs and brings, by (currency, asset), or why there is no rate.
    rates: ClassVar[dict[tuple[str, str], tuple[str, str] | Refused]]
    #: The markets that are listed, by (currency, asset); None: there is no such list.
    pairs: ClassVar[list[tuple[str, str]] | None]
    #: The rates that were asked for.
    asked: ClassVar[list[tuple[str, str]]]

    def _wait(self) -> None:
        with self.context.throttle("read", signed=False):
            time.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure

    def markets(self) -> list[Market]:
        if self.pairs is None:
            raise self._lacks("markets")
        rules = {"amount_step": Decimal("0.01"), "maker_fee": self.taker, "taker_fee": self.taker}
        return [Market(*pair, **rules) for pair in self.pairs]

    def rate(self, currency: str, asset: str) -> Rate:
        self.asked.append((currency, asset))
        answer = self.rates.get((currency, asset))
        if answer is None:
            raise no_such_market(self.name, currency, asset, self.rates)
        if isinstance(answer, Refused):
            raise answer
        return Rate(*map(Decimal, answer), datetime.now(UTC))

    def order_book(self, currency: str, asset: str, depth: int) -> OrderBook:
        self._wait()
        return self.shown

    def fees(self, currency: str, asset: str) -> Fees:
        self._wait()
        if self.account_taker is None:
            raise self._lacks("fees")
        return Fees(self.account_taker, self.account_taker, "account")

    def funds(self) -> dict[str, Funds]:
        self._wait()
        return self.owned


def book(*asks: tuple[str, str], bids: Any = (("1", "1"),), time: datetime | None = None) -> OrderBook:
    """Return a book of these asks and bids, of now."""
    sides = ([(Decimal(price), Decimal(amount)) for price, amount in side] for side in (bids, asks))
    return OrderBook(*(tuple(side) for side in sides), time or datetime.now(UTC))


def add_markets(monkeypatch: Any, count: int) -> list[type[BestMarket]]:
    """Return the classes of so many exchanges "market0" ..., which a server then offers."""
    made = []
    for number in range(count):
        facts = {
            "id": f"market{number}",
            "shown": book((str(100 + number), "5"), bids=(("99", "5"),)),
            "owned": {name: Funds(Decimal(1000), Decimal(1000), Decimal(0)) for name in ("USD", "BTC")},
            "taker": Decimal("0.001"),
            "account_taker": None,
            "rates": {},
            "pairs": [("USD", "BTC")],
            "asked": [],
        }
        kind = type(f"Market{number}", (BestMarket,), facts)
        PLACES[kind.id] = kind
        monkeypatch.setitem(globals(), f"Market{number}", kind)
        monkeypatch.setitem(exchanges.EXCHANGES, kind.id, f"tests.support.markets:Market{number}")
        made.append(kind)
    return made
