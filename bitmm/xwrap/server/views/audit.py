"""What was done with an account: who, when and from where."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ..context import RequestContext
from ..db.records import time_text
from ..params import Params, bad_field
from .shared import pop_page


def index(context: RequestContext) -> list[dict[str, Any]]:
    """GET /audit"""
    since = _pop_time(context.params, "since") if context.params.has("since") else ""
    limit, before = pop_page(context.params)
    return context.services.store.audit.of_account(context.account.id, since=since, limit=limit, before=before)


def _pop_time(params: Params, name: str) -> str:
    """Return a time as the data base keeps it; one without a zone is in UTC."""
    text = params.pop_text(name, limit=100)
    try:
        time = datetime.fromisoformat(text)
        return time_text((time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC))
    except (ValueError, OverflowError):
        raise bad_field(name, f"is '{text[:40]}'; it must be a time like 2026-11-27T10:00:00Z") from None
