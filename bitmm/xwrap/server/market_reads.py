"""What is asked about markets. Answers are kept for some seconds, so that many callers cost one question."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.errors import Refused
from ..exchanges.models import Candle, Fees, OrderBook, Rate, Ticker, Trade

__all__ = [
    "MOST_LEVELS",
    "read_candles",
    "read_fees",
    "read_fresh_book",
    "read_order_book",
    "read_rate",
    "read_rate_of_now",
    "read_ticker",
    "read_trades",
]

#: How many levels of each side of an order book are asked for: as many as a caller wants, or the next number of these.
_DEPTHS = (20, 100, 1000)
MOST_LEVELS = _DEPTHS[-1]
#: An order book whose own time is longer ago, in seconds, is no book of now.
_OLDEST_SECONDS = 60.0
#: For so many seconds an answer is given again. Fees hardly change; an order book is soon another one. Rates are those
#: of a valuation: an exchange may tell so few in one call that the next one must find those that are known.
_SECONDS = {
    "rate": 60.0,
    "rate of now": 2.0,
    "order_book": 1.0,
    "ticker": 2.0,
    "trades": 2.0,
    "candles": 5.0,
    "fees": 60.0,
}


def read_order_book(exchange: Exchange, currency: str, asset: str, depth: int) -> OrderBook:
    """Return at most `depth` levels of each side of an order book, a second old at most."""
    asked = next(most for most in _DEPTHS if depth <= most)
    book: OrderBook = _read(exchange, "order_book", currency, asset, asked)
    return replace(book, bids=book.bids[:depth], asks=book.asks[:depth])


def read_fresh_book(exchange: Exchange, currency: str, asset: str, depth: int) -> OrderBook:
    """Return an order book to count with. Raises Refused when the exchange's own time of it is too long ago."""
    book = read_order_book(exchange, currency, asset, depth)
    age = (datetime.now(UTC) - book.time).total_seconds()
    if age > _OLDEST_SECONDS:
        raise Refused(
            f"the order book of {exchange.name} is {age:.0f} seconds old, so what an order costs is not known now",
            code="exchange_unavailable",
            retryable=True,
        )
    return book


def read_rate(exchange: Exchange, currency: str, asset: str) -> Rate:
    """Return the rate at which something that is owned is counted, a minute old at most; no order is placed by it."""
    rate: Rate = _read(exchange, "rate", currency, asset)
    return rate


def read_rate_of_now(exchange: Exchange, currency: str, asset: str) -> Rate:
    """Return the rate that somebody waits for, two seconds old at most."""
    rate: Rate = _read(exchange, "rate", currency, asset, kept_as="rate of now")
    return rate


def read_ticker(exchange: Exchange, currency: str, asset: str) -> Ticker:
    """Return the figures of a day."""
    ticker: Ticker = _read(exchange, "ticker", currency, asset)
    return ticker


def read_candles(
    exchange: Exchange, currency: str, asset: str, interval: str, since: datetime | None, limit: int
) -> list[Candle]:
    """Return candles, oldest first."""
    candles: list[Candle] = _read(exchange, "candles", currency, asset, interval, since, limit)
    return candles


def read_trades(exchange: Exchange, currency: str, asset: str, limit: int) -> list[Trade]:
    """Return the latest trades of everybody, newest first."""
    trades: list[Trade] = _read(exchange, "trades", currency, asset, limit)
    return trades


def read_fees(exchange: Exchange, currency: str, asset: str) -> Fees:
    """Return the fees of the account of the exchange's key, or the published ones; at most a minute old."""
    fees: Fees = _read(exchange, "fees", currency, asset)
    return fees


def _read(exchange: Exchange, verb: str, *arguments: Any, kept_as: str | None = None) -> Any:
    """Return what a verb of the exchange returns, which is kept under its name, or another one.

    What is a part of this server is asked anew each time.
    """
    ask = getattr(exchange, verb)
    if exchange.answers_at_once:
        return ask(*arguments)
    # Fees belong to the account of a key, all else to everybody. But who asks at the same time waits for the first one,
    # and a question without a login may wait for its small budget: it is no question of those who are logged in.
    registration = exchange.context.registration
    of = registration if verb == "fees" else registration > 0
    name = kept_as or verb
    return exchange.context.cache.get_or_fetch((name, of, *arguments), lambda: ask(*arguments), seconds=_SECONDS[name])
