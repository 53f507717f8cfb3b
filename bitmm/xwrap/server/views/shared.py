"""What several views do alike: records as JSON, pages of a list, a key that is asked for."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, cast

from ...exchanges.models import HistoryPage, Side
from ..context import check_key
from ..order_views import value_to_json
from ..params import Params, bad_field
from ..problems import Problem

__all__ = [
    "check_printable",
    "page_to_json",
    "pop_cursor",
    "pop_key",
    "pop_page",
    "pop_past",
    "pop_place",
    "pop_side",
    "record_to_json",
]

_PAGE, _MAX_PAGE = 50, 500
_LONGEST_CURSOR = 500


def record_to_json(record: Any) -> dict[str, Any]:
    """Return a record of an exchange: amounts as text in plain digits, times in ISO 8601, null for what is unknown."""
    return {field.name: value_to_json(getattr(record, field.name)) for field in fields(record)}


def pop_page(params: Params) -> tuple[int, int | None]:
    """Return how many rows are asked for, and below which id, as the last parameters of a request."""
    limit = params.pop_count("limit", default=_PAGE, most=_MAX_PAGE)
    before = params.pop_int("before", default=0)
    params.finish()
    return limit, before or None


def pop_cursor(params: Params) -> tuple[bool, str | None]:
    """Return whether a page of a list is asked for, and where it begins, as the last parameters of a request.

    Who says where it begins asks for a page.
    """
    is_paged = params.pop_bool("paged", default=False)
    cursor = pop_place(params)
    return is_paged or cursor is not None, cursor


def pop_place(params: Params) -> str | None:
    """Return where a page begins of a list that is told in pages only, as the last parameter of a request."""
    cursor = params.pop_text("cursor", limit=_LONGEST_CURSOR) if params.has("cursor") else None
    params.finish()
    if cursor is not None:
        check_printable("cursor", cursor)
    return cursor


def pop_past(params: Params, name: str, what: str) -> datetime | None:
    """Return a time that must not lie ahead, None where none is given; `what` there is since then."""
    time = params.pop_time(name)
    if time is not None and time > datetime.now(UTC):
        raise bad_field(name, f"lies ahead, where there are no {what} yet")
    return time


def page_to_json(name: str, page: HistoryPage[Any]) -> dict[str, Any]:
    """Return a page of an exchange's list under its name, and the cursor of the next one."""
    return {name: page.rows, "next": page.next}


def pop_side(params: Params, *, default: str | None = None) -> Side:
    """Return the side of an order that is asked about."""
    side = params.pop_text("side", default=default)
    if side not in {"buy", "sell"}:
        raise bad_field("side", f"is '{side[:40]}'; it must be buy or sell")
    return cast("Side", side)


def pop_key(params: Params) -> str:
    """Return the key that is asked for, as the last parameter of a request."""
    key = params.pop_text("key")
    params.finish()
    check_key(key, "key")
    return key


def check_printable(name: str, text: str) -> None:
    """Raise Problem 422 for a text that holds what cannot be printed, or begins or ends with a space."""
    if not (text.isprintable() and text == text.strip()):
        raise Problem(
            422,
            "invalid_request",
            f"'{name}' holds characters that cannot be printed, or begins or ends with a space",
            field=name,
        )
