"""The rows of a paper ledger, and what they are in our records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from ...money import exact
from ..account_history import EntryKind, LedgerEntry
from ..models import Fill, OrderState, Withdrawal

__all__ = ["entry_from_row", "fill_from_row", "order_from_row", "withdrawal_from_row"]

#: The opening is what the play money comes from.
_KINDS: dict[str, EntryKind] = {
    "opening": "deposit",
    "buy": "fill",
    "sell": "fill",
    "fee": "fee",
    "send": "withdrawal",
    "transfer": "transfer",
}


def order_from_row(row: Mapping[str, Any]) -> OrderState:
    """Return an order."""
    filled = exact(row["filled"] or "0")
    return OrderState(
        exchange_order_id=str(row["id"]),
        status=row["status"],
        side=row["side"],
        currency=row["currency"],
        asset=row["asset"],
        amount=exact(row["amount"]),
        price=exact(row["price"]) if row["price"] else None,
        filled=filled,
        average=exact(row["average"]) if filled else None,
        spent=exact(row["spent"]) if filled else Decimal(0),
        fee=exact(row["fee"]) if filled else Decimal(0),
        fee_currency=row["currency"],
        client_id=row["client_id"],
        created=datetime.fromisoformat(row["created"]) if "created" in row else None,
        reason=row["reason"],
        stop=exact(row["stop"]) if row["stop"] else None,
    )


def fill_from_row(row: Mapping[str, Any]) -> Fill:
    """Return a fill, of a row that has what its order is, too."""
    return Fill(
        id=str(row["id"]),
        exchange_order_id=str(row["order_id"]),
        side=row["side"],
        currency=row["currency"],
        asset=row["asset"],
        amount=exact(row["amount"]),
        price=exact(row["price"]),
        fee=exact(row["fee"]),
        fee_currency=row["currency"],
        time=datetime.fromisoformat(row["created"]),
    )


def withdrawal_from_row(row: Mapping[str, Any]) -> Withdrawal:
    """Return a send, which is done at once."""
    return Withdrawal(
        id=str(row["id"]),
        asset=row["asset"],
        amount=exact(row["amount"]),
        status="done",
        address=row["address"],
        fee=Decimal(0),
        client_id=row["client_id"],
        created=datetime.fromisoformat(row["created"]) if "created" in row else None,
    )


def entry_from_row(row: Mapping[str, Any]) -> LedgerEntry:
    """Return an entry of the ledger."""
    return LedgerEntry(
        id=str(row["id"]),
        time=datetime.fromisoformat(row["created"]),
        kind=_KINDS.get(row["kind"], "other"),
        asset=row["currency"],
        amount=exact(row["amount"]),
        fee=Decimal(0),
        reference=row["reference"],
        description=row["kind"],
    )
