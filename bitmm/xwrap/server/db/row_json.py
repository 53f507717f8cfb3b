"""A row of a journal as callers, and receivers of notices, get it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...exchanges.models import ORDER_CONDITIONS

__all__ = ["row_to_json"]


def row_to_json(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the public fields of a row, of an order the conditions that it was placed with, and of a transfer the
    registration that it goes to.

    A call that is still running is shown as unknown; only a repeat with its key is answered otherwise.
    """
    shown = {name: row[name] for name in names} | _given_conditions(row)
    if row.get("to_registration") is not None:
        shown["to"] = row["to_registration"]
    return shown | {"status": "unknown"} if row["status"] == "running" else shown


def _given_conditions(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the conditions that an order was placed with, and which order it replaces."""
    return {name: row[name] for name in (*ORDER_CONDITIONS, "replaces") if row.get(name)}
