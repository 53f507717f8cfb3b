"""The verbs of markets by ccxt's unified calls. Every number is text or a Decimal here: see `exactness`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ...money import parse_decimal
from ..errors import Refused, Unsupported
from ..http import parsing_errors
from ..models import Candle, Fees, Market, OrderBook, Rate, Side, Ticker, Trade
from ..order_books import order_book
from ..orders import cost_of
from ..parsing import optional, optional_amount, readable_rows, time_from_milliseconds
from ..rules import no_rate, no_such_interval
from .calls import CcxtCalls

__all__ = ["CcxtMarkets"]

_FIGURES = ("last", "high", "low", "baseVolume", "bid", "ask")
#: How ccxt writes the length of a candle.
_LENGTH = re.compile(r"[1-9]\d*[smhdwM]")
_SIDES: dict[object, Side] = {"buy": "buy", "sell": "sell"}


class CcxtMarkets(CcxtCalls):
    """The markets of an exchange with a class of ccxt."""

    def rate(self, currency: str, asset: str) -> Rate:
        symbol = self._symbol(currency, asset)
        row: Mapping[str, Any] = {}
        with suppress(Unsupported):  # of some classes it reads the tickers of futures alone
            row = self._call("fetch_ticker", symbol) if "fetchTicker" in self.has else {}
        with parsing_errors(self.name):
            buy, sell = row.get("ask"), row.get("bid")
        if (buy is None or sell is None) and "fetchOrderBook" in self.has:
            row = self._call("fetch_order_book", symbol)
            with parsing_errors(self.name):
                if not (row["asks"] and row["bids"]):
                    raise no_rate(self.name, currency, asset)
                buy, sell = row["asks"][0][0], row["bids"][0][0]
        with parsing_errors(self.name):
            rate = Rate(parse_decimal(buy), parse_decimal(sell), _time_of(row))
            if not rate.buy >= rate.sell > 0:
                raise no_rate(self.name, currency, asset)
            return rate

    def markets(self) -> list[Market]:
        listed = self._markets()
        return [market for pair, market in listed.spot.items() if pair not in listed.closed]

    def order_book(self, currency: str, asset: str, depth: int) -> OrderBook:
        """Return as many levels as ccxt asks for by itself: which other numbers an exchange takes differs."""
        row = self._call("fetch_order_book", self._symbol(currency, asset))
        with parsing_errors(self.name):
            pair = (currency, asset)
            return order_book(self.name, pair, row["bids"], row["asks"], depth=depth, time=_time_of(row))

    def ticker(self, currency: str, asset: str) -> Ticker:
        row = self._call("fetch_ticker", self._symbol(currency, asset))
        with parsing_errors(self.name):
            last, high, low, volume, bid, ask = (optional_amount(row.get(name)) for name in _FIGURES)
            ticker = Ticker(last, high, low, volume, bid, ask, _time_of(row))
        if ticker.bid is not None and ticker.ask is not None and ticker.bid > ticker.ask:
            raise no_rate(self.name, currency, asset)
        return ticker

    def candle_intervals(self) -> tuple[str, ...]:
        ccxt = self._markets().ccxt
        # Of some classes the table also has what the exchange itself calls them.
        lengths = filter(_LENGTH.fullmatch, ccxt.timeframes or {})
        return tuple(sorted(lengths, key=ccxt.parse_timeframe))

    def candles(self, currency: str, asset: str, interval: str, since: datetime | None, limit: int) -> list[Candle]:
        """Return candles as ccxt reads them; how far an exchange goes back it does not tell.

        So candles that begin later than `since` may follow older ones that the exchange does not keep.
        """
        symbol, intervals = self._symbol(currency, asset), self.candle_intervals()
        if interval not in intervals:
            raise no_such_interval(self.name, interval, intervals)
        start = None if since is None else int(since.timestamp() * 1000)
        rows = self._call("fetch_ohlcv", symbol, interval, start, limit)
        with parsing_errors(self.name):
            candles = sorted(readable_rows(self.name, rows, _candle_from_row), key=lambda candle: candle.time)
        if since is None:
            return candles[-limit:]
        return [candle for candle in candles if candle.time >= since][:limit]

    def trades(self, currency: str, asset: str, limit: int) -> list[Trade]:
        rows = self._call("fetch_trades", self._symbol(currency, asset), None, limit)
        with parsing_errors(self.name):
            trades = readable_rows(self.name, rows, _trade_from_row)
        # ccxt tells the oldest first; turned round as a whole, so that of one millisecond, too, the newest is first.
        return sorted(trades, key=lambda trade: trade.time)[::-1][:limit]

    def fees(self, currency: str, asset: str) -> Fees:
        """Return the account's fees where ccxt asks for them, else those that it knows of the market."""
        symbol = self._symbol(currency, asset)
        if "fetchTradingFee" in self.has:
            row = self._call("fetch_trading_fee", symbol)
        elif "fetchTradingFees" in self.has:
            row = self._call("fetch_trading_fees").get(symbol) or {}
        else:
            row = {}
        with parsing_errors(self.name):
            if row.get("taker") is not None and row.get("maker") is not None:
                if row.get("percentage") is False:
                    # The published fees of such an account are not its own either.
                    raise Refused(f"the fees of {self.name} are no part of a trade's value", code="unsupported")
                return Fees(parse_decimal(row["maker"]), parse_decimal(row["taker"]), "account")
        market = self._markets().spot[currency, asset]
        if market.taker_fee is None or market.maker_fee is None:
            raise Refused(f"{self.name} does not tell its fees", code="unsupported")
        return Fees(market.maker_fee, market.taker_fee, "published")

    def market_cost(self, currency: str, asset: str, amount: Decimal) -> Decimal:
        if "fetchOrderBook" not in self.has:
            raise self._lacks("market_cost")
        row = self._call("fetch_order_book", self._symbol(currency, asset))
        with parsing_errors(self.name):
            return cost_of(self.name, amount, row["asks"], unit=asset)


def _time_of(row: Mapping[str, Any]) -> datetime:
    """Return the exchange's time of a row, and the present one where it has none."""
    return optional(time_from_milliseconds, row.get("timestamp")) or datetime.now(UTC)


def _candle_from_row(row: Sequence[Any]) -> Candle:
    time, *prices = row[:6]
    return Candle(time_from_milliseconds(time), *map(parse_decimal, prices))


def _trade_from_row(row: Mapping[str, Any]) -> Trade:
    return Trade(
        id=optional(str, row.get("id")) or None,
        side=_SIDES.get(row.get("side")),
        amount=parse_decimal(row["amount"]),
        price=parse_decimal(row["price"]),
        time=time_from_milliseconds(row["timestamp"]),
    )
