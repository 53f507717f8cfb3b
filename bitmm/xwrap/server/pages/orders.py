"""Open orders of each registration, and their cancels."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ..context import path_id
from ..db.records import Registration
from ..views import orders
from ..views.each_registration import call_each
from .visits import PAGE_SECONDS, Visit

__all__ = ["cancel", "cancel_all", "show_orders"]

_MOST = 100


async def show_orders(visit: Visit) -> Response:
    """GET /page/orders: also of registrations that are switched off, whose orders can be canceled."""
    context = visit.context()
    context.params.finish()

    def read(registration: Registration, left: float) -> dict[str, Any]:
        rows = visit.services.execution.orders(registration, "open", _MOST, None, seconds=left)
        return {"registration": registration, "orders": rows, "reason": None}

    def failed(registration: Registration, reason: str) -> dict[str, Any]:
        return {"registration": registration, "orders": [], "reason": reason}

    found = await call_each(context, read, failed, seconds=PAGE_SECONDS, active_only=False)
    backends = [
        {"id": each["registration"].id, "exchange": each["registration"].exchange, "label": each["registration"].label}
        | {name: each[name] for name in ("orders", "reason")}
        for each in found
    ]
    return await visit.show("orders.html", backends=backends, most=_MOST)


async def cancel(visit: Visit) -> Response:
    """POST /page/orders/ID/OID/cancel"""
    order = await visit.call(orders.cancel, "urgent")
    id = path_id(visit.request, "order_id")
    if order["status"] == "open":
        return await visit.done(f"Order {id} is to be canceled, and is still open: {order['reason'] or 'look again'}.")
    return await visit.done(f"Order {id} is {order['status'].replace('_', ' ')}.")


async def cancel_all(visit: Visit) -> Response:
    """POST /page/orders/ID/cancel-all"""
    count = (await visit.call(orders.cancel_all, "urgent"))["canceled"]
    return await visit.done(f"{count} open order{'' if count == 1 else 's'} canceled.")
