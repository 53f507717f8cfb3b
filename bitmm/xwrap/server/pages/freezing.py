"""What stops trading: the freeze, and the dead man's switches as they are set."""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import Response

from ..passwords import Secret
from ..problems import Problem
from ..views import freeze as views
from ..views import registrations
from .sign_in import prove
from .visits import FormFields, Visit

__all__ = ["freeze", "show_freeze", "unfreeze"]


async def show_freeze(visit: Visit) -> Response:
    """GET /page/freeze"""
    rows = await visit.call(registrations.index, "database")
    return await visit.show("freeze.html", rows=rows)


async def freeze(visit: Visit) -> Response:
    """POST /page/freeze"""
    canceled = (await visit.call(views.freeze, "urgent"))["canceled"]
    failed = [f"registration {row['id']}: {row['error']}" for row in canceled if row.get("error")]
    count = sum(row.get("canceled") or 0 for row in canceled)
    done = f" {count} open {'order was' if count == 1 else 'orders were'} canceled." if canceled else ""
    more = f" Not canceled yet, and tried again: {'; '.join(failed)}." if failed else ""
    return await visit.done(f"The account is frozen.{done}{more}")


async def unfreeze(visit: Visit) -> Response:
    """POST /page/unfreeze: the account's own password is asked for again, also of who is signed in."""
    params = visit.context().params
    password = Secret(params.pop_text("password", limit=1000))
    params.finish()
    caller = await prove(visit.request, visit.caller.account.name, password)
    if caller.credential is not None or caller.account.id != visit.caller.account.id:
        raise Problem(403, "out_of_scope", "this is not the account's own password; it is still frozen")
    await replace(visit, caller=caller).call(views.unfreeze, "database", FormFields())
    return await visit.done("The account is not frozen any more.")
