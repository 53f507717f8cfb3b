"""What was done with an account: who, when and from where."""

from __future__ import annotations

from typing import Any

from ..context import RequestContext
from ..db.records import time_text
from .shared import pop_page


def index(context: RequestContext) -> list[dict[str, Any]]:
    """GET /audit"""
    since = context.params.pop_time("since")
    limit, before = pop_page(context.params)
    return context.services.store.audit.of_account(
        context.account.id, since="" if since is None else time_text(since), limit=limit, before=before
    )
