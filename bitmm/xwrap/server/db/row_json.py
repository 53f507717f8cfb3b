"""A row of a journal as callers, and receivers of notices, get it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from ...exchanges.models import ORDER_CONDITIONS

__all__ = ["public_columns", "public_rows", "row_to_json"]

#: The columns that are shown where they are set, and how: the conditions that an order was placed with, which order it
#: replaces, and of a transfer the registration that it goes to.
_OPTIONAL = {name: name for name in (*ORDER_CONDITIONS, "replaces")} | {"to_registration": "to"}


def row_to_json(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the public fields of a row: those of these `names`, and the optional ones that it has.

    A call that is still running is shown as unknown; only a repeat with its key is answered otherwise.
    """
    shown = {name: row[name] for name in names}
    for name, public in _OPTIONAL.items():
        if row.get(name):
            shown[public] = row[name]
    _hide_running(shown)
    return shown


def public_columns(columns: ReadOnlyColumnCollection[str, Any], names: Iterable[str]) -> list[ColumnElement[Any]]:
    """Return the columns of a table that `public_rows` needs, by their public names."""
    optional = [columns[name].label(public) for name, public in _OPTIONAL.items() if name in columns]
    return [*(columns[name] for name in names), *optional]


def public_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of `public_columns` as `row_to_json` would, after what they do not have was taken from them.

    It takes a fifth of the time that `row_to_json` takes with whole rows, of which a page has 500.
    """
    optional = [public for public in _OPTIONAL.values() if rows and public in rows[0]]
    for row in rows:
        for public in optional:
            if not row[public]:
                del row[public]
        _hide_running(row)
    return rows


def _hide_running(shown: dict[str, Any]) -> None:
    if shown["status"] == "running":
        shown["status"] = "unknown"
