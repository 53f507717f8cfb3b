"""What was done with the account, and how the exchanges are."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ..views import audit, registrations
from .visits import FormFields, Visit

__all__ = ["show_audit", "show_health"]

_ROWS = 50


async def show_audit(visit: Visit) -> Response:
    """GET /page/audit?before=ID"""
    rows = await visit.call(audit.index, "database", FormFields(visit.fields, limit=str(_ROWS)))
    return await visit.show("audit.html", rows=rows, before=rows[-1]["id"] if len(rows) == _ROWS else None)


async def show_health(visit: Visit) -> Response:
    """GET /page/health: no exchange is asked for it."""
    rows = await visit.call(registrations.index, "database")
    return await visit.show("health.html", exchanges=[_exchange(visit, each, rows) for each in _listing(visit)])


def _listing(visit: Visit) -> list[dict[str, Any]]:
    return [dict(each) for each in visit.services.registry.listing]


def _exchange(visit: Visit, offered: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return an exchange with the calls that this process made: those without a key, and those of the account's own."""
    calls = visit.services.registry.last_calls
    own = [
        (row["label"] or str(row["id"]), calls.find(offered["id"], row["id"]))
        for row in rows
        if row["exchange"] == offered["id"]
    ]
    return {**offered, "calls": [("prices", calls.find(offered["id"], 0)), *own]}
