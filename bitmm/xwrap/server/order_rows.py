"""The row of an order that a caller names, and whether it can be canceled or amended now."""

from __future__ import annotations

from typing import Any

from .db.journals import OrderJournal
from .db.records import Registration
from .order_views import archived_order
from .problems import Problem

__all__ = ["check_known", "check_own", "find_row"]

Row = dict[str, Any]


def find_row(journal: OrderJournal, registration: Registration, id: int) -> Row:
    """Return the row of an order. Raises Problem 404, and 410 for one that was archived."""
    row = journal.get(registration.id, id)
    if row is None:
        if archived := journal.archived(registration.id, id):
            raise archived_order(archived, may_have_executed=False)
        raise Problem(404, "order_not_found", f"this registration has no order {id}; orders() lists them")
    return row


def check_known(row: Row) -> None:
    """Raise Problem 409 for an order of which nobody knows yet whether it exists."""
    if row["status"] in {"running", "unknown"}:
        raise Problem(409, "outcome_unknown", "nobody knows yet whether this order exists; ask again", retryable=True)


def check_own(row: Row, registration: Registration) -> None:
    """Raise Problem 409 for an order that the key of the registration may not reach."""
    if not registration.can_see(row):
        raise Problem(
            409,
            "other_account",
            "this order was placed with a key before, which may be of another account at the exchange; nothing"
            " was sent; look at the exchange",
        )
