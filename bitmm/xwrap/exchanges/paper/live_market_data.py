"""The paper exchange at the prices of another exchange now, and what it passes on of its markets."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from ..base import Exchange
from ..capabilities import supports
from ..models import Candle, Fees, Market, OrderBook, Rate, Ticker, Trade
from .adapter import PaperExchange
from .live_prices import LivePrices, with_fees
from .matching import CURRENCY, SATOSHI

__all__ = ["LivePaper", "live_paper"]

#: What is passed on where the other exchange has it.
_PASSED_ON = ("ticker", "candles", "candle_intervals", "trades")


class LivePaper(PaperExchange):
    """Trades what another exchange offers now, in all its pairs, by its rules and its published fees.

    The other exchange is asked for what needs no key, and for nothing else. Money is rounded to 8 decimals.
    """

    #: `live_paper` says whose prices they are.
    description = "An exchange without real money, at the prices of another exchange now"

    @property
    def _source(self) -> LivePrices:
        if self._config.live is None:
            raise ValueError("the configuration has no live prices")
        return self._config.live

    def common_pair(self, currency: str, asset: str) -> tuple[str, str]:
        with self._source.open_source() as source:
            return source.common_pair(currency, asset)

    def rate(self, currency: str, asset: str) -> Rate:
        look = self._source.look(currency, asset)
        return Rate(look.best("buy"), look.best("sell"), datetime.fromtimestamp(look.time, UTC))

    def markets(self) -> list[Market]:
        with self._source.open_source() as source:
            return [with_fees(market) for market in source.markets()]

    def order_book(self, currency: str, asset: str, depth: int) -> OrderBook:
        look = self._source.look(currency, asset)
        return OrderBook(look.bids[:depth], look.asks[:depth], datetime.fromtimestamp(look.time, UTC))

    def fees(self, currency: str, asset: str) -> Fees:
        look = self._source.look(currency, asset)
        return Fees(look.maker, look.taker, "published")

    def ticker(self, currency: str, asset: str) -> Ticker:
        with self._source.open_source() as source:
            return source.ticker(currency, asset)

    def candle_intervals(self) -> tuple[str, ...]:
        with self._source.open_source() as source:
            return source.candle_intervals()

    def candles(self, currency: str, asset: str, interval: str, since: datetime | None, limit: int) -> list[Candle]:
        with self._source.open_source() as source:
            return source.candles(currency, asset, interval, since, limit)

    def trades(self, currency: str, asset: str, limit: int) -> list[Trade]:
        with self._source.open_source() as source:
            return source.trades(currency, asset, limit)

    def _rules_of(self, asset: str) -> Market:
        return Market(CURRENCY, asset, amount_step=SATOSHI, amount_min=SATOSHI)


@cache
def live_paper(source: type[Exchange]) -> type[LivePaper]:
    """Return the class of the paper exchange at the prices of a `source`; it lacks what that does not tell."""
    has = supports(source)
    facts = {
        name: getattr(Exchange, name) for name in _PASSED_ON if name.replace("candle_intervals", "candles") not in has
    }
    description = f"An exchange without real money, at the prices of {source.name} now: for trying, teaching and tests"
    return type("LivePaper", (LivePaper,), {**facts, "description": description})
