"""The account's keys at the exchanges: what they may do, and their life."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ..context import RequestContext
from ..views import registrations
from .visits import Visit

__all__ = ["add", "change", "check", "replace", "show_form", "show_key", "show_keys"]


async def show_keys(visit: Visit) -> Response:
    """GET /page/keys"""
    rows = await visit.call(registrations.index, "database")
    return await visit.show("keys.html", rows=[_with_use(visit, row) for row in rows], offered=_offered(visit))


async def show_key(visit: Visit) -> Response:
    """GET /page/keys/ID"""
    row = await visit.call(registrations.show, "database")
    fields = next((each["form"] for each in _offered(visit) if each["id"] == row["exchange"]), ())
    last = await visit.call(_last_placed, "database")
    return await visit.show("key.html", row=_with_use(visit, row), last=last, fields=fields)


async def show_form(visit: Visit) -> Response:
    """GET /page/new-key?exchange=kraken: the fields that a key of this exchange has."""
    params = visit.context().params
    id = visit.services.registry.find(params.pop_text("exchange"))
    params.finish()
    offered = next(each for each in _offered(visit) if each["id"] == id)
    return await visit.show("new_key.html", offered=offered)


async def add(visit: Visit) -> Response:
    """POST /page/keys"""
    row = await visit.call(registrations.create, "outbound", visit.given())
    return await visit.done(f"The key at {row['exchange']} was added as number {row['id']}.")


async def change(visit: Visit) -> Response:
    """POST /page/keys/ID: another label, on or off."""
    row = await visit.call(registrations.change, "outbound")
    state = "on" if row["enabled"] else "off: neither an order nor a send leaves with it"
    return await visit.done(f"Key {row['id']}, {row['label'] or row['exchange']}, is {state}.", _path(row))


async def check(visit: Visit) -> Response:
    """POST /page/keys/ID/check"""
    found = await visit.call(registrations.permissions, "outbound")
    id = visit.caller.account.registration and visit.caller.account.registration.id
    return await visit.done(f"The exchange takes the key. It may: {', '.join(found)}.", f"/page/keys/{id}")


async def replace(visit: Visit) -> Response:
    """POST /page/keys/ID/replace"""
    row = await visit.call(registrations.change, "outbound", visit.given())
    return await visit.done(f"Key {row['id']} was replaced.", _path(row))


def _path(row: dict[str, Any]) -> str:
    return f"/page/keys/{row['id']}"


def _offered(visit: Visit) -> list[dict[str, Any]]:
    return [dict(each) for each in visit.services.registry.listing]


def _with_use(visit: Visit, row: dict[str, Any]) -> dict[str, Any]:
    times = visit.services.registry.last_calls.find(row["exchange"], row["id"])
    return {**row, "worked": times.worked, "failed": times.failed, "failed_reason": times.reason}


def _last_placed(context: RequestContext) -> str | None:
    """Return when the last order or send of a registration was begun."""
    store, registration = context.services.store, context.registration()
    times = [journal.last_created(registration.id) for journal in (store.orders, store.withdrawals)]
    return max((time for time in times if time is not None), default=None)
