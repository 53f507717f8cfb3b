"""All balances of an account at once."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...exchanges.errors import ExchangeError
from ..context import RequestContext
from ..db.records import Registration
from ..endpoints import log_in
from ..problems import Problem
from .trading import balance_of


async def balance(request: Request) -> Response:
    """GET /balance: each registration is asked in a thread of its own; one that fails says why and delays no other."""
    context = await log_in(request)
    context.params.finish()
    threads = context.services.threads
    registrations = await threads.run("database", _active_registrations, context)
    rows = await asyncio.gather(
        *(threads.run("outbound", _balance_row, context, registration) for registration in registrations)
    )
    return JSONResponse(rows)


def _active_registrations(context: RequestContext) -> list[Registration]:
    return context.services.store.registrations.of_account(context.account.id, active_only=True)


def _balance_row(context: RequestContext, registration: Registration) -> dict[str, Any]:
    row: dict[str, Any] = {"id": registration.id, "exchange": registration.exchange, "balance": {}}
    try:
        return row | {"balance": balance_of(context, registration)}
    except (ExchangeError, Problem) as error:
        return row | {"error": str(error)}
