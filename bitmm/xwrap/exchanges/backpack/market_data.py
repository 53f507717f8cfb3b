"""The verbs of Backpack's markets: prices, offers, trades and fees."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Literal

from ..._names import name_among, pair_among
from ...money import EXACT, parse_decimal
from ..base import Exchange, ExchangeContext
from ..http import parsing_errors
from ..models import Candle, Fees, Market, OrderBook, Rate, Ticker, Trade
from ..order_books import order_book
from ..orders import cost_of
from ..parsing import list_of_rows, newest_first, optional_time, readable_rows
from ..rules import find_market, no_rate, no_such_interval
from .api import URL, BackpackAPI
from .parsing import (
    candle_from_row,
    market_symbol,
    markets_from_rows,
    ticker_from_row,
    tokens_from_rows,
    trade_from_row,
)

__all__ = ["BackpackMarkets"]

#: How many levels Backpack gives of a side ("Get depth", limit).
_DEPTHS: tuple[Literal[5, 10, 20, 50, 100, 500, 1000], ...] = (5, 10, 20, 50, 100, 500, 1000)
#: Our interval -> Backpack's word ("Get K-lines", interval), and how many seconds it lasts at most.
_INTERVALS = {
    "1m": ("1m", 60),
    "3m": ("3m", 180),
    "5m": ("5m", 300),
    "15m": ("15m", 900),
    "30m": ("30m", 1800),
    "1h": ("1h", 3600),
    "2h": ("2h", 7200),
    "4h": ("4h", 14400),
    "6h": ("6h", 21600),
    "8h": ("8h", 28800),
    "12h": ("12h", 43200),
    "1d": ("1d", 86400),
    "3d": ("3d", 259200),
    "1w": ("1w", 604800),
    "1M": ("1month", 31 * 86400),
}
#: So many intervals are looked at when fewer than were asked for have trades.
_MOST_INTERVALS = 1000
#: The most trades that Backpack gives at once ("Get recent trades", limit).
_MOST_TRADES = 1000
_BASIS_POINT = Decimal("0.0001")


class BackpackMarkets(Exchange):
    """Backpack's API, and what it tells about its markets."""

    #: As in the recorded fills: feeSymbol is the base asset of a buy, and the quote asset of a sell.
    buy_fee_in_asset = True

    def __init__(self, context: ExchangeContext) -> None:
        super().__init__(context)
        keys = context.credentials
        self.api = BackpackAPI(
            keys.apikey, keys.apisecret, url=context.url or URL, transport=context.transport, throttle=context.throttle
        )

    def common_pair(self, currency: str, asset: str) -> tuple[str, str]:
        return pair_among(currency, asset, self._markets())

    def common_asset(self, asset: str) -> str:
        return name_among(asset, self._assets())

    def rate(self, currency: str, asset: str) -> Rate:
        find_market(self.name, currency, asset, self._markets())  # an invented pair costs no call
        book = self.api.depth(market_symbol(currency, asset), limit=5)
        with parsing_errors(self.name):
            asks = [parse_decimal(level[0]) for level in book["asks"] or ()]
            bids = [parse_decimal(level[0]) for level in book["bids"] or ()]
            # Both sides ascend in the documentation's examples; nothing promises it, so position says nothing.
            if not asks or not bids or not 0 < max(bids) <= min(asks):
                raise no_rate(self.name, currency, asset)
            time = optional_time(book.get("timestamp")) or datetime.now(UTC)
            return Rate(buy=min(asks), sell=max(bids), time=time)

    def order_book(self, currency: str, asset: str, depth: int) -> OrderBook:
        find_market(self.name, currency, asset, self._markets())
        limit = next((most for most in _DEPTHS if most >= depth), _DEPTHS[-1])
        book = self.api.depth(market_symbol(currency, asset), limit=limit)
        with parsing_errors(self.name):
            time = optional_time(book.get("timestamp")) or datetime.now(UTC)
            bids, asks = book["bids"] or (), book["asks"] or ()
            return order_book(self.name, (currency, asset), bids, asks, depth=depth, time=time)

    def ticker(self, currency: str, asset: str) -> Ticker:
        """Backpack tells neither bid nor ask with the day of a market, and nothing at all of a day without trades."""
        find_market(self.name, currency, asset, self._markets())
        row = self.api.ticker(market_symbol(currency, asset))
        with parsing_errors(self.name):
            return ticker_from_row(row or {}, datetime.now(UTC))

    def candle_intervals(self) -> tuple[str, ...]:
        return tuple(_INTERVALS)

    def candles(self, currency: str, asset: str, interval: str, since: datetime | None, limit: int) -> list[Candle]:
        """A thousand intervals are looked at, at most: fewer candles when less was traded in them."""
        if interval not in _INTERVALS:
            raise no_such_interval(self.name, interval, _INTERVALS)
        find_market(self.name, currency, asset, self._markets())
        symbol, (word, seconds), now = market_symbol(currency, asset), _INTERVALS[interval], datetime.now(UTC)
        found: list[Candle] = []
        for count in (limit, _MOST_INTERVALS):
            if since is None:
                end = math.ceil(now.timestamp())
                start = max(end - count * seconds, 0)
            else:
                start = math.ceil(since.timestamp())
                end = min(start + count * seconds, max(math.ceil(now.timestamp()), start))
            rows = self.api.klines(symbol, word, start=start, end=end)
            with parsing_errors(self.name):
                listed = readable_rows(self.name, list_of_rows(rows), candle_from_row)
            candles = sorted((candle for candle in listed if candle is not None), key=lambda candle: candle.time)
            if since is None:
                found = candles[-limit:]
            else:
                found = [candle for candle in candles if candle.time >= since][:limit]
                if end >= now.timestamp():
                    break
            if len(found) == limit:
                break
        return found

    def trades(self, currency: str, asset: str, limit: int) -> list[Trade]:
        find_market(self.name, currency, asset, self._markets())
        rows = self.api.trades(market_symbol(currency, asset), limit=min(limit, _MOST_TRADES))
        with parsing_errors(self.name):
            return newest_first(readable_rows(self.name, rows, trade_from_row), lambda trade: trade.time)[:limit]

    def fees(self, currency: str, asset: str) -> Fees:
        """Return the account's fees, which are those of all spot markets."""
        find_market(self.name, currency, asset, self._markets())
        account = self.api.account()
        with parsing_errors(self.name):
            # In basis points, one of which is 0.01 % ("Get account", spotMakerFee and spotTakerFee).
            maker, taker = (
                EXACT.multiply(parse_decimal(account[name]), _BASIS_POINT) for name in ("spotMakerFee", "spotTakerFee")
            )
            return Fees(maker, taker, "account")

    def market_cost(self, currency: str, asset: str, amount: Decimal) -> Decimal:
        book = self.api.depth(market_symbol(currency, asset))
        with parsing_errors(self.name):
            return cost_of(self.name, amount, book["asks"] or (), unit=asset)

    def markets(self) -> list[Market]:
        return [market for market in self._markets().values() if market is not None]

    def _markets(self) -> Mapping[tuple[str, str], Market | None]:
        """Return the spot markets by (currency, asset); None for one that takes no orders now."""
        return self._cached("markets", self.api.markets, partial(markets_from_rows, self.name))

    def _assets(self) -> Mapping[str, list[Mapping[str, Any]]]:
        """Return the tokens of each asset, one a blockchain."""
        return self._cached("assets", self.api.assets, partial(tokens_from_rows, self.name))
