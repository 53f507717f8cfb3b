"""What Mt.Gox and hubs have in common: orders by their own ids, a list of the open ones, and bitcoins alone."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..errors import Refused, Unsupported
from ..models import NewWithdrawal, OrderRef

__all__ = [
    "order_id_of",
    "parse_bitcoin_address",
    "require_bitcoin",
    "require_bitcoin_send",
]


def order_id_of(ref: OrderRef, parse: Callable[[object], str], who: str) -> str:
    """Return the exchange's own id of an order, as `parse` accepts it. Raises Refused `order_not_found` without one."""
    try:
        return parse(ref.exchange_order_id)
    except ValueError:
        raise Refused(f"{who} knows orders by its own id alone", code="order_not_found") from None


def require_bitcoin(asset: str, network: str | None, who: str) -> None:
    """Raise Unsupported for anything but BTC on the bitcoin network."""
    if asset != "BTC" or network not in (None, "bitcoin"):
        raise Unsupported(f"{who} has addresses for BTC on the bitcoin network alone")


def require_bitcoin_send(withdrawal: NewWithdrawal, who: str) -> None:
    """Raise Unsupported for anything but BTC on the bitcoin network, and Refused for a tag."""
    require_bitcoin(withdrawal.asset, withdrawal.network, who)
    if withdrawal.tag is not None:
        raise Refused("bitcoin addresses have no tag", code="invalid_request")


def parse_bitcoin_address(text: str) -> str:
    """Return an address; only its characters and its length are checked. Raises ValueError for another text."""
    if not re.fullmatch(r"[0-9A-Za-z]{26,90}", text, re.ASCII):
        raise ValueError("no address")
    return text
