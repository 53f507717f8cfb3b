"""The rate at the exchange of a registration, whose changes a call may wait for; and how such calls are read."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from ..encoding import JSONAnswer
from ..endpoints import endpoint, log_in
from ..params import Params, bad_field
from ..rate_sources import RegisteredRate
from ..shares import account_holder
from ..waiting import pop_wait
from . import markets

__all__ = ["index", "pop_seen"]

#: The digests of more rates than a server has exchanges.
_MOST_CURSOR = 4096
_CURSOR = re.compile(r"[A-Za-z0-9._-]*", re.ASCII)

_now = endpoint(markets.exchange_rate, pool="outbound")


async def index(request: Request) -> Response:
    """GET /exchanges/ID/exchange_rate: with `after` the changes after a cursor, without it the rate now."""
    return await (_changes if "after" in request.query_params else _now)(request)


async def _changes(request: Request) -> Response:
    """GET /exchanges/ID/exchange_rate?from=USD&to=BTC&after=CURSOR&wait=30"""
    context = await log_in(request)
    params, services, registration = context.params, context.services, context.registration()
    currency, asset = params.pop_name("from"), params.pop_name("to")
    seen, seconds = pop_seen(params), pop_wait(params)
    params.finish()
    source = RegisteredRate(services.registry, services.threads, registration, currency, asset)
    holder = account_holder(registration.account_id)
    rows, cursor = await services.rate_changes.after(request, source, holder, seen, seconds)
    if seconds:
        # The login may have been revoked, or the registration deleted, while the call waited.
        (await log_in(request)).registration()
    return JSONAnswer({"rates": rows, "cursor": cursor})


def pop_seen(params: Params) -> frozenset[str]:
    """Return what a cursor names: the rates that the caller has seen, by their digests. Raises Problem 422."""
    cursor = params.pop_text("after", limit=_MOST_CURSOR, default="")
    if not _CURSOR.fullmatch(cursor):
        raise bad_field("after", f"is '{cursor[:40]}'; it must be the cursor of an answer, or empty")
    return frozenset(cursor.split("."))
