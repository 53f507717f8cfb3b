"""Prices, markets and executions at one exchange."""

from __future__ import annotations

from typing import Any

from ...exchanges.models import Candle, Fees, Fill, Market, OrderBook, Ticker, Trade
from ..context import RequestContext
from ..market_reads import MOST_LEVELS, read_candles, read_fees, read_order_book, read_ticker, read_trades
from ..order_views import rate_to_json
from ..params import Params
from .shared import page_to_json, pop_cursor, pop_past

_LEVELS, _TRADES, _CANDLES = 20, 50, 100
_MOST_TRADES, _MOST_CANDLES = 1000, 1000


def exchange_rate(context: RequestContext) -> dict[str, str]:
    """GET /exchanges/ID/exchange_rate?from=USD&to=BTC"""
    currency, asset = context.params.pop_name("from"), context.params.pop_name("to")
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return rate_to_json(exchange.rate(*exchange.common_pair(currency, asset)))


def markets(context: RequestContext) -> list[Market]:
    """GET /exchanges/ID/markets"""
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return exchange.markets()


def fills(context: RequestContext) -> list[Fill] | dict[str, Any]:
    """GET /exchanges/ID/fills?currency=USD&asset=BTC, also &paged=true and &cursor=CURSOR"""
    currency, asset = _pop_pair(context.params)
    is_paged, cursor = pop_cursor(context.params)
    with context.services.registry.open(context.registration()) as exchange:
        pair = exchange.common_pair(currency, asset)
        if is_paged:
            return page_to_json("fills", exchange.fills_page(*pair, cursor))
        return exchange.fills(*pair)


def order_book(context: RequestContext) -> OrderBook:
    """GET /exchanges/ID/order_book?currency=USD&asset=BTC&depth=20"""
    currency, asset, depth = pop_depth(context.params)
    with context.services.registry.open(context.registration()) as exchange:
        return read_order_book(exchange, *exchange.common_pair(currency, asset), depth)


def ticker(context: RequestContext) -> Ticker:
    """GET /exchanges/ID/ticker?currency=USD&asset=BTC"""
    currency, asset = _pop_pair(context.params)
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return read_ticker(exchange, *exchange.common_pair(currency, asset))


def candles(context: RequestContext) -> list[Candle]:
    """GET /exchanges/ID/candles?currency=USD&asset=BTC&interval=1h&since=TIME&limit=100"""
    params = context.params
    currency, asset = _pop_pair(params)
    interval, since = params.pop_name("interval", default="1h"), pop_past(params, "since", "candles")
    limit = params.pop_count("limit", default=_CANDLES, most=_MOST_CANDLES)
    params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        pair = exchange.common_pair(currency, asset)
        return read_candles(exchange, *pair, interval, since, limit)


def trades(context: RequestContext) -> list[Trade]:
    """GET /exchanges/ID/trades?currency=USD&asset=BTC&limit=50"""
    currency, asset = _pop_pair(context.params)
    limit = context.params.pop_count("limit", default=_TRADES, most=_MOST_TRADES)
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        pair = exchange.common_pair(currency, asset)
        return read_trades(exchange, *pair, limit)


def fees(context: RequestContext) -> Fees:
    """GET /exchanges/ID/fees?currency=USD&asset=BTC"""
    currency, asset = _pop_pair(context.params)
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return read_fees(exchange, *exchange.common_pair(currency, asset))


def pop_depth(params: Params) -> tuple[str, str, int]:
    """Return the pair of an order book that is asked for, and how many levels, as the last parameters of a request."""
    currency, asset = _pop_pair(params)
    depth = params.pop_count("depth", default=_LEVELS, most=MOST_LEVELS)
    params.finish()
    return currency, asset, depth


def _pop_pair(params: Params) -> tuple[str, str]:
    return params.pop_name("currency"), params.pop_name("asset")
