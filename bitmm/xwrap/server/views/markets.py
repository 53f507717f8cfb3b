"""Prices, markets and executions at one exchange."""

from __future__ import annotations

from typing import Any

from ..context import RequestContext
from ..rates import rate_to_json
from .shared import record_to_json


def exchange_rate(context: RequestContext) -> dict[str, str]:
    """GET /exchanges/ID/exchange_rate?from=USD&to=BTC"""
    currency, asset = context.params.pop_name("from"), context.params.pop_name("to")
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return rate_to_json(exchange.rate(*exchange.common_pair(currency, asset)))


def markets(context: RequestContext) -> list[dict[str, Any]]:
    """GET /exchanges/ID/markets"""
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return [record_to_json(market) for market in exchange.markets()]


def fills(context: RequestContext) -> list[dict[str, Any]]:
    """GET /exchanges/ID/fills?currency=USD&asset=BTC"""
    currency, asset = context.params.pop_name("currency"), context.params.pop_name("asset")
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return [record_to_json(fill) for fill in exchange.fills(*exchange.common_pair(currency, asset))]
