"""The changes of a registration's orders, which a call may wait for."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ...exchanges.models import ORDER_FIELDS
from ..context import RequestContext
from ..db.row_json import row_to_json
from ..encoding import JSONAnswer
from ..endpoints import endpoint, log_in
from ..params import Params, bad_field
from ..shares import account_holder
from ..waiting import pop_wait
from . import orders

__all__ = ["index"]

#: Orders in one answer; the next call gets the next ones.
_MOST_ORDERS = 100

_list = endpoint(orders.index, pool="outbound")


async def index(request: Request) -> Response:
    """GET /exchanges/ID/orders/: with `after` the changes after a cursor, without it what `orders.index` answers."""
    return await (_changes if "after" in request.query_params else _list)(request)


async def _changes(request: Request) -> Response:
    """GET /exchanges/ID/orders/?after=CURSOR&wait=30"""
    context = await log_in(request)
    registration = context.registration().id
    after, seconds = _pop_cursor(context.params), pop_wait(context.params)
    context.params.finish()
    if after is None:
        after = await _last_change(context, registration)
    if seconds:
        changes = context.services.order_changes
        await changes.wait(request, context.account.id, registration, after, seconds)
        # The login may have been revoked, or the registration deleted, while the call waited.
        context = await log_in(request)
        registration = context.registration().id
    journal = context.services.store.orders
    rows = await context.services.threads.run(
        "database", journal.changed, registration, after, _MOST_ORDERS, holders=[account_holder(context.account.id)]
    )
    cursor = rows[-1]["change"] if rows else after
    return JSONAnswer({"orders": [row_to_json(row, ORDER_FIELDS) for row in rows], "cursor": str(cursor)})


async def _last_change(context: RequestContext, registration: int) -> int:
    """Return the number of the last change of a registration; 0: it has had no order."""
    journal, holders = context.services.store.orders, [account_holder(context.account.id)]
    last = await context.services.threads.run("database", journal.last_changes, [registration], holders=holders)
    return last.get(registration, 0)


def _pop_cursor(params: Params) -> int | None:
    """Return the number of the last change that the caller has seen; None: he begins now."""
    cursor = params.pop_text("after", limit=18, default="")
    if cursor and not (cursor.isascii() and cursor.isdigit()):
        raise bad_field("after", f"is '{cursor}'; it must be the cursor of an answer, 0 or empty")
    return int(cursor) if cursor else None
