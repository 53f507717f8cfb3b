"""Dry runs: every check of an order that can be made without placing it, and what it would cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.errors import Refused, Unsupported
from ..exchanges.models import ORDER_FIELDS, Estimate, Market, NewOrder
from ..exchanges.rules import check, find_market, not_enough
from ..money import EXACT
from .order_views import order_intent, value_to_json

__all__ = ["try_order"]


def try_order(exchange: Exchange, order: NewOrder) -> dict[str, Any]:
    """Return the order as it would be sent, with estimates. Raises Refused as the order itself would.

    `spent`, `fee` and, of a market order, `price` are what the exchange says now; null where it does not.
    """
    market = _find_market(exchange, order)
    if market is not None:
        check(order, market)
    exchange.check_kind(order)
    estimate = _estimate(exchange, order)
    _check_funds(exchange, order, estimate)
    estimated = {name: value_to_json(getattr(estimate, name)) for name in ("price", "spent", "fee", "fee_currency")}
    sent = order_intent(order)
    if order.price is not None:
        estimated["price"] = sent["price"]
    return dict.fromkeys(ORDER_FIELDS) | sent | estimated | {"dry_run": True}


def _find_market(exchange: Exchange, order: NewOrder) -> Market | None:
    """Return the rules of the order's market; None when the exchange does not publish any. Raises Refused."""
    try:
        markets = exchange.markets()
    except Unsupported:
        return None
    offered = {(market.currency, market.asset): market for market in markets}
    return find_market(exchange.name, order.currency, order.asset, offered)


def _estimate(exchange: Exchange, order: NewOrder) -> Estimate:
    """Return what the order would cost. Raises Refused when what it needs depends on a price that cannot be read."""
    try:
        return exchange.estimate(order)
    except Refused as error:
        if order.side == "buy" and order.cost is None and order.price is None and not isinstance(error, Unsupported):
            raise
        spent = order.cost
        if order.amount is not None and order.price is not None:
            spent = EXACT.multiply(order.amount, order.price)
        return Estimate(order.price, spent)


def _check_funds(exchange: Exchange, order: NewOrder, estimate: Estimate) -> None:
    """Raise Refused when an order is not covered, fees left aside; where funds cannot be read, nothing is checked."""
    name = order.asset if order.side == "sell" else order.currency
    needed = order.amount if order.side == "sell" else order.cost or estimate.spent
    try:
        there = exchange.funds().get(name)
    except Unsupported:
        return
    available = there.available if there else Decimal(0)
    if available is not None and needed is not None and available < needed:
        raise not_enough(name, needed=needed, available=available)
