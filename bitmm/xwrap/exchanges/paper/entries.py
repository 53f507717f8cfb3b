"""The entries of a paper ledger as a caller gets them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from ...money import exact
from ..account_history import EntryKind, LedgerEntry
from ..models import HistoryPage
from .ledger import Ledger

__all__ = ["entries_after"]

#: How many entries are in a page.
_PAGE = 500
#: The opening is what the play money comes from.
_KINDS: dict[str, EntryKind] = {
    "opening": "deposit",
    "buy": "fill",
    "sell": "fill",
    "fee": "fee",
    "send": "withdrawal",
}


def entries_after(ledger: Ledger, since: datetime | None, after: int) -> HistoryPage[LedgerEntry]:
    """Return a page of the entries with ids above `after`; those since a time where one is given."""
    rows = ledger.entries(since, after, _PAGE)
    return HistoryPage([_entry_from_row(row) for row in rows], str(rows[-1]["id"]) if len(rows) == _PAGE else None)


def _entry_from_row(row: Mapping[str, Any]) -> LedgerEntry:
    return LedgerEntry(
        id=str(row["id"]),
        time=datetime.fromisoformat(row["created"]),
        kind=_KINDS[row["kind"]],
        asset=row["currency"],
        amount=exact(row["amount"]),
        fee=Decimal(0),
        reference=row["reference"],
        description=row["kind"],
    )
