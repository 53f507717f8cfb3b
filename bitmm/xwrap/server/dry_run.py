"""Dry runs: every check of an order that can be made without placing it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.errors import Unsupported
from ..exchanges.models import ORDER_FIELDS, Market, NewOrder
from ..exchanges.rules import check, find_market, not_enough
from ..money import EXACT
from .order_views import order_intent

__all__ = ["try_order"]


def try_order(exchange: Exchange, order: NewOrder) -> dict[str, Any]:
    """Return the order as it would be sent. Raises Refused as the order itself would."""
    market = _find_market(exchange, order)
    if market is not None:
        check(order, market)
    _check_funds(exchange, order)
    return dict.fromkeys(ORDER_FIELDS) | order_intent(order) | {"dry_run": True}


def _find_market(exchange: Exchange, order: NewOrder) -> Market | None:
    """Return the rules of the order's market; None when the exchange does not publish any. Raises Refused."""
    try:
        markets = exchange.markets()
    except Unsupported:
        return None
    offered = {(market.currency, market.asset): market for market in markets}
    return find_market(exchange.name, order.currency, order.asset, offered)


def _check_funds(exchange: Exchange, order: NewOrder) -> None:
    """Raise Refused when an order is not covered, fees left aside; where funds cannot be read, nothing is checked."""
    if order.side == "sell":
        name, needed = order.asset, order.amount
    elif order.cost is not None:
        name, needed = order.currency, order.cost
    else:
        price = order.price or exchange.rate(order.currency, order.asset).buy
        name, needed = order.currency, EXACT.multiply(order.amount or Decimal(0), price)
    try:
        there = exchange.funds().get(name)
    except Unsupported:
        return
    available = there.available if there else Decimal(0)
    if available is not None and needed is not None and available < needed:
        raise not_enough(name, needed=needed, available=available)
