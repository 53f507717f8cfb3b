"""The calls of one registration that are about markets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from . import _arguments as arguments
from . import _market_parsing as parsing
from ._following import RateChanges
from ._registration import RegistrationCalls

if TYPE_CHECKING:
    from .types import Candle, ExchangeRate, Fees, Market, OrderBook, Ticker, Trade

__all__ = ["MarketCalls"]


class MarketCalls(RegistrationCalls):
    """What a Backend asks about the markets of its exchange. Where the exchange has no such call: InvalidRequest.

    An answer may be some seconds old, because the server gives it to many callers.
    """

    def markets(self) -> list[Market]:
        """Return the pairs that can be traded at the exchange, the rules for their amounts and prices, and the fees."""
        return self._get("markets", parsing.markets)

    def order_book(self, currency: str, asset: str, *, depth: int | None = None) -> OrderBook:
        """Return the offers of others, best first: `depth` prices of each side at most (1 to 1000, 20 without it)."""
        return self._get("order_book", parsing.order_book, arguments.market_query(currency, asset, depth=depth))

    def follow_rate(self, currency: str, asset: str, *, timeout: float | None = None) -> Iterator[ExchangeRate]:
        """Return an iterator that gives the rate at this exchange, and then each time that it changes.

        As `XWrap.follow_rates`, but the exchange is asked with this registration's key, every two seconds.
        """
        query, seconds = (
            arguments.pair_query(currency, asset),
            None if timeout is None else arguments.check_timeout(timeout),
        )
        return RateChanges(self._api, f"{self._path}/exchange_rate", query, seconds, self._auth)

    def ticker(self, currency: str, asset: str) -> Ticker:
        """Return the last price, the figures of 24 hours, and the best prices now."""
        return self._get("ticker", parsing.ticker, arguments.market_query(currency, asset))

    def candles(
        self,
        currency: str,
        asset: str,
        interval: str = "1h",
        *,
        since: datetime | str | None = None,
        limit: int | None = None,
    ) -> list[Candle]:
        """Return the prices of intervals ("1m", "1h", "1d" ...), oldest first; the last one may still be under way.

        `since`: those that begin at this time or later, a datetime with its zone or text in ISO 8601; without it the
        latest.
        `limit`: 1 to 1000 of them, 100 without it. An interval without a trade has none. Raises InvalidRequest with the
        code `unknown_interval`, whose words name those that the exchange has, and `history_unavailable` for a time that
        is too long ago.
        """
        query = arguments.market_query(currency, asset, limit=limit)
        query |= {"interval": arguments.check_text(interval, "interval"), **arguments.time_query(since)}
        return self._get("candles", parsing.candles, query)

    def trades(self, currency: str, asset: str, *, limit: int | None = None) -> list[Trade]:
        """Return the latest trades of everybody, newest first, `limit` at most (1 to 1000, 50 without it)."""
        return self._get("trades", parsing.trades, arguments.market_query(currency, asset, limit=limit))

    def fees(self, currency: str, asset: str) -> Fees:
        """Return what a trade costs now, as fractions of its value: of this account where the exchange tells that."""
        return self._get("fees", parsing.fees, arguments.market_query(currency, asset))
