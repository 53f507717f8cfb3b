"""The verbs of Bitstamp's markets: prices, offers, trades and fees."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

from ...money import EXACT, parse_decimal
from ..base import Exchange, ExchangeContext
from ..http import parsing_errors
from ..models import Candle, Fees, Market, OrderBook, Rate, Ticker, Trade
from ..order_books import order_book
from ..orders import cost_of
from ..parsing import newest_first, optional_time, readable_rows, required_text
from ..rules import find_market, no_rate, no_such_interval
from .api import URL, BitstampAPI, Value
from .parsing import candle_from_row, market_symbol, markets_from_rows, ticker_from_row, trade_from_row

__all__ = ["BitstampMarkets"]

#: Seconds of each interval ("Get OHLC data", step). The longest is three days: there is no week.
_STEPS = {
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "4h": 14400,
    "6h": 21600,
    "12h": 43200,
    "1d": 86400,
    "3d": 259200,
}
#: The most candles that Bitstamp gives at once ("Get OHLC data", limit).
_MOST_CANDLES = 1000
_PERCENT = Decimal("0.01")


class BitstampMarkets(Exchange):
    """Bitstamp's API, and what it tells about its markets."""

    def __init__(self, context: ExchangeContext) -> None:
        super().__init__(context)
        keys = context.credentials
        self.api = BitstampAPI(
            keys.apikey, keys.apisecret, url=context.url or URL, transport=context.transport, throttle=context.throttle
        )

    def rate(self, currency: str, asset: str) -> Rate:
        find_market(self.name, currency, asset, self._markets())  # an invented pair costs no call
        ticker = self.api.public(f"ticker/{market_symbol(currency, asset)}")
        with parsing_errors(self.name):
            buy, sell = parse_decimal(ticker["ask"]), parse_decimal(ticker["bid"])
            if not 0 < sell <= buy:
                raise no_rate(self.name, currency, asset)
            return Rate(buy=buy, sell=sell, time=optional_time(ticker.get("timestamp")) or datetime.now(UTC))

    def order_book(self, currency: str, asset: str, depth: int) -> OrderBook:
        find_market(self.name, currency, asset, self._markets())
        # Group 1: the orders of one price are added up; 0 and 2 list each ("Get order book", group).
        book = self.api.public(f"order_book/{market_symbol(currency, asset)}", {"group": 1})
        with parsing_errors(self.name):
            time = optional_time(book.get("microtimestamp") or book.get("timestamp")) or datetime.now(UTC)
            return order_book(self.name, (currency, asset), book["bids"], book["asks"], depth=depth, time=time)

    def ticker(self, currency: str, asset: str) -> Ticker:
        find_market(self.name, currency, asset, self._markets())
        row = self.api.public(f"ticker/{market_symbol(currency, asset)}")
        with parsing_errors(self.name):
            return ticker_from_row(row)

    def candle_intervals(self) -> tuple[str, ...]:
        return tuple(_STEPS)

    def candles(self, currency: str, asset: str, interval: str, since: datetime | None, limit: int) -> list[Candle]:
        """With `since`, the thousand intervals after it are looked at: fewer candles when less was traded in them."""
        if interval not in _STEPS:
            raise no_such_interval(self.name, interval, _STEPS)
        find_market(self.name, currency, asset, self._markets())
        step = _STEPS[interval]
        query: dict[str, Value] = {"step": step, "limit": limit}
        if since is not None:
            # With both times given the end may be what counts, so that the last ones before it came: between the two
            # there is never more than the limit.
            start = math.ceil(since.timestamp())
            query |= {"limit": _MOST_CANDLES, "start": start, "end": start + _MOST_CANDLES * step - 1}
        answer = self.api.public(f"ohlc/{market_symbol(currency, asset)}", query)
        with parsing_errors(self.name):
            found = sorted(readable_rows(self.name, answer["data"]["ohlc"], candle_from_row), key=lambda row: row.time)
        return found[-limit:] if since is None else [candle for candle in found if candle.time >= since][:limit]

    def trades(self, currency: str, asset: str, limit: int) -> list[Trade]:
        """Return trades of the last hour; where they are fewer than `limit`, of the last day, and no older ones."""
        find_market(self.name, currency, asset, self._markets())
        found: list[Trade] = []
        for period in ("hour", "day"):
            rows = self.api.public(f"transactions/{market_symbol(currency, asset)}", {"time": period})
            with parsing_errors(self.name):
                found = newest_first(readable_rows(self.name, rows, trade_from_row), lambda trade: trade.time)
            if len(found) >= limit:
                break
        return found[:limit]

    def fees(self, currency: str, asset: str) -> Fees:
        find_market(self.name, currency, asset, self._markets())
        symbol = market_symbol(currency, asset)
        row = self.api.private(f"fees/trading/{symbol}")
        with parsing_errors(self.name):
            if required_text(row.get("market") or row.get("currency_pair")).replace("/", "").lower() != symbol:
                raise ValueError("the fees of another market")
            # In percent ("Get trading fees for market": "maker": "0.30000").
            maker, taker = (EXACT.multiply(parse_decimal(row["fees"][name]), _PERCENT) for name in ("maker", "taker"))
            return Fees(maker, taker, "account")

    def market_cost(self, currency: str, asset: str, amount: Decimal) -> Decimal:
        book = self.api.public(f"order_book/{market_symbol(currency, asset)}")
        with parsing_errors(self.name):
            return cost_of(self.name, amount, book["asks"], unit=asset)

    def markets(self) -> list[Market]:
        return [market for market in self._markets().values() if market is not None]

    def _markets(self) -> Mapping[tuple[str, str], Market | None]:
        """Return the spot markets by (currency, asset); None for one that is not open now."""
        return self._cached("markets", partial(self.api.public, "markets"), partial(markets_from_rows, self.name))
