"""The names of currencies and assets in a request: as the caller wrote them, and as its exchange has them in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .._names import common_name, is_name_of
from ..exchanges.base import Exchange
from ..exchanges.errors import Refused
from ..exchanges.models import NewOrder, NewWithdrawal

__all__ = ["order_with_common_names", "with_common_names", "with_names_of"]


def order_with_common_names(exchange: Exchange, order: NewOrder) -> NewOrder:
    """Return an order with the common names. Raises an ExchangeError when its exchange's lists cannot be read.

    A spelling that only its exchange knows ("LUNA2" for LUNA) is refused where money moves: the caller could not see
    that the record in common names is that of the order.
    """
    currency, asset = exchange.common_pair(order.currency, order.asset)
    if (order.currency, order.asset) == (currency, asset):
        return order
    _check(exchange, currency=(order.currency, currency), asset=(order.asset, asset))
    return replace(order, currency=currency, asset=asset)


def with_common_names(exchange: Exchange, request: NewOrder | NewWithdrawal) -> NewOrder | NewWithdrawal:
    """Return an order or a send with the common names, as `order_with_common_names` does."""
    if isinstance(request, NewOrder):
        return order_with_common_names(exchange, request)
    asset = exchange.common_asset(request.asset)
    _check(exchange, asset=(request.asset, asset))
    return replace(request, asset=asset)


def with_names_of(row: Mapping[str, Any], request: NewOrder | NewWithdrawal) -> NewOrder | NewWithdrawal | None:
    """Return a request with the names that the row of its key has, which the exchange had given it.

    None: the names mean something else, or only the exchange can say that they mean the same.
    """
    names = {name: getattr(request, name) for name in ("currency", "asset") if hasattr(request, name)}
    if not all(_means_everywhere(written, row[name]) for name, written in names.items()):
        return None
    return replace(request, **{name: row[name] for name in names})


def _means_everywhere(written: str, name: str) -> bool:
    """Return whether `written` is `name` at every exchange; "kPEPE" may be another asset than "KPEPE"."""
    return written == name or (written in {written.upper(), written.lower()} and common_name(written) == name)


def _check(exchange: Exchange, **fields: tuple[str, str]) -> None:
    for field, (written, name) in fields.items():
        if not is_name_of(written, name):
            words = f"what {exchange.name} calls {written} is {name} here; write {name}"
            raise Refused(words, code="unknown_asset", details={"field": field})
