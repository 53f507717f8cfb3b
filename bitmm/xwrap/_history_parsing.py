"""What servers answer about what moved an account's money; see `_parsing`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from ._records import Record, list_of, types

if TYPE_CHECKING:
    from .types import LedgerEntry

_entry: Record[LedgerEntry] = Record("LedgerEntry", "time", "kind", "asset", "amount", "fee")


def ledger(document: Any) -> list[LedgerEntry]:
    """Return the entries of a page of a ledger."""
    return [_ledger_entry(row) for row in list_of(document)]


def _ledger_entry(document: Any) -> LedgerEntry:
    entry = _entry(document)
    if not all(isinstance(entry.get(name), str) for name in ("id", "time", "asset")):
        raise ValueError("its id, time or asset is no text")
    if entry["kind"] not in get_args(types().EntryKind):
        raise ValueError("its kind is none that is known here")
    return entry
