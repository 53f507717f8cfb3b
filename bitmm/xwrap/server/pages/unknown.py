"""Orders and sends whose outcome is unknown, and what their owner found out about them."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ..context import RequestContext, path_id
from ..db.records import time_text
from ..decisions import DECISIONS, Decidable, find_unknown, order_in_words, record_decision, send_in_words, unknown_of
from ..params import bad_field
from ..problems import Problem
from .visits import Visit

__all__ = ["record_order", "record_send", "show_unknown"]


async def show_unknown(visit: Visit) -> Response:
    """GET /page/unknown"""
    visit.context().params.finish()
    rows = await visit.read(_unknown_rows, visit)
    missing_since = await visit.read(visit.services.store.history_gap)
    return await visit.show(
        "unknown.html", rows=rows, missing_since=None if missing_since is None else time_text(missing_since)
    )


async def record_order(visit: Visit) -> Response:
    """POST /page/unknown/orders/ID: what was found out at the exchange."""
    return await _record(visit, DECISIONS["orders"])


async def record_send(visit: Visit) -> Response:
    """POST /page/unknown/sends/ID"""
    return await _record(visit, DECISIONS["sends"])


async def _record(visit: Visit, what: Decidable) -> Response:
    answer = await visit.call(lambda context: _decide(context, what), "database")
    return await visit.done(f"The {what.noun} is recorded as {answer.replace('-', ' ')}.")


def _decide(context: RequestContext, what: Decidable) -> str:
    """Return the answer that was recorded."""
    answer = context.params.pop_text("as")
    context.params.finish()
    if answer not in {what.done, what.undone}:
        raise bad_field("as", f"is '{answer[:40]}'; it must be {what.done} or {what.undone}")
    store, id = context.services.store, path_id(context.request, "row_id")
    found = find_unknown(what.journal(store), id, context.account.id)
    if found is None:
        raise Problem(404, "not_found", f"this account has no {what.noun} of this number whose outcome is unknown")
    if not context.write(lambda: record_decision(store, what, found, answer, context.caller)):
        raise Problem(409, "still_running", f"the outcome of {what.noun} {id} has become known meanwhile")
    return answer


def _unknown_rows(visit: Visit) -> list[dict[str, Any]]:
    rows = []
    for journal, what in DECISIONS.items():
        in_words = order_in_words if what.noun == "order" else send_in_words
        for registration, row in unknown_of(what.journal(visit.services.store), visit.caller.account.id):
            shown = {name: row[name] for name in ("id", "key", "client_id", "created", "updated")}
            facts = {"reason": row.get("reason"), "exchange": registration.exchange, "label": registration.label}
            rows.append({**shown, **facts, "journal": journal, "what": what, "words": in_words(row)})
    return rows
