"""Dry runs: every check of an order that can be made without placing it, and what it would cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.capabilities import supports
from ..exchanges.errors import Refused, Unsupported
from ..exchanges.estimates import estimate_from_book, estimate_of_stop
from ..exchanges.models import ORDER_FIELDS, Estimate, NewOrder
from ..exchanges.rules import check, not_enough
from ..money import EXACT
from .market_reads import MOST_LEVELS, read_fees, read_fresh_book
from .order_views import order_intent, value_to_json
from .places import read_market

__all__ = ["try_order"]

#: What is estimated of an order, besides what remains.
_ESTIMATED = ("price", "average", "spent", "fee", "fee_currency", "slippage")


def try_order(exchange: Exchange, order: NewOrder) -> dict[str, Any]:
    """Return the order as it would be sent, with estimates. Raises Refused as the order itself would.

    `spent`, `average`, `fee`, `slippage` and, of a market order, `price` follow from the order book and the fees now,
    where the exchange has them; `remaining` is what would be left of what the order gives. Null: it is not known.
    """
    check(order, read_market(exchange, order.currency, order.asset))
    exchange.check_kind(order)
    estimate = _estimate(exchange, order)
    available = _check_funds(exchange, order, estimate)
    estimated = {name: value_to_json(getattr(estimate, name)) for name in _ESTIMATED}
    sent = order_intent(order)
    if order.price is not None:
        estimated["price"] = sent["price"]
    remaining = value_to_json(_remaining(order, estimate, available))
    return dict.fromkeys(ORDER_FIELDS) | sent | estimated | {"remaining": remaining, "dry_run": True}


def _estimate(exchange: Exchange, order: NewOrder) -> Estimate:
    """Return what the order would cost. Raises Refused when what it needs depends on a price that cannot be read."""
    try:
        return _estimate_from_book(exchange, order) or exchange.estimate(order)
    except Refused as error:
        if error.code in {"book_exhausted", "would_take"}:
            raise
        if order.side == "buy" and order.cost is None and order.price is None and not isinstance(error, Unsupported):
            raise
        spent = order.cost
        if order.amount is not None and order.price is not None:
            spent = EXACT.multiply(order.amount, order.price)
        return Estimate(order.price, spent)


def _estimate_from_book(exchange: Exchange, order: NewOrder) -> Estimate | None:
    """Return what the order would cost by the book and the fees; None where the exchange shows none, or is paper."""
    if exchange.in_process or "order_book" not in supports(type(exchange)):
        return None
    pair = order.currency, order.asset
    book = None if order.stop is not None else read_fresh_book(exchange, *pair, MOST_LEVELS)
    try:
        fees = read_fees(exchange, *pair)
    except Refused:
        fees = None
    if book is None:
        return estimate_of_stop(order, fees, buy_fee_in_asset=exchange.buy_fee_in_asset)
    return estimate_from_book(exchange.name, order, book, fees, buy_fee_in_asset=exchange.buy_fee_in_asset)


def _remaining(order: NewOrder, estimate: Estimate, available: Decimal | None) -> Decimal | None:
    """Return what would be left of the currency of a buy, with its fee, or of the asset of a sell."""
    if available is None:
        return None
    if order.side == "sell":
        sold = estimate.amount if order.amount is None else order.amount
        return None if sold is None else EXACT.subtract(available, sold)
    if estimate.spent is None or estimate.fee is None:
        return None
    left = EXACT.subtract(available, estimate.spent)
    return EXACT.subtract(left, estimate.fee) if estimate.fee_currency == order.currency else left


def _check_funds(exchange: Exchange, order: NewOrder, estimate: Estimate) -> Decimal | None:
    """Return what is there of what an order gives; None where that cannot be read, and nothing is checked.

    Raises Refused when the order is not covered, fees left aside.
    """
    name = order.asset if order.side == "sell" else order.currency
    needed = (order.amount or estimate.amount) if order.side == "sell" else order.cost or estimate.spent
    try:
        there = exchange.funds().get(name)
    except Unsupported:
        return None
    available = there.available if there else Decimal(0)
    if available is not None and needed is not None and available < needed:
        raise not_enough(name, needed=needed, available=available)
    return available
