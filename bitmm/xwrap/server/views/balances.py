"""What an account owns: at one exchange, and at all of them."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...exchanges.errors import ExchangeError
from ...money import plain
from ..context import RequestContext
from ..db.records import Registration
from ..endpoints import log_in
from ..policy import may_use
from ..problems import Problem
from .shared import record_to_json


async def all_balances(request: Request) -> Response:
    """GET /balance: each registration is asked in a thread of its own; one that fails says why and delays no other."""
    context = await log_in(request)
    context.params.finish()
    threads = context.services.threads
    registrations = await threads.run("database", _active_registrations, context)
    rows = await asyncio.gather(
        *(threads.run("outbound", _balance_row, context, registration) for registration in registrations)
    )
    return JSONResponse(rows)


def balance(context: RequestContext) -> dict[str, str]:
    """GET /exchanges/ID/balance"""
    context.params.finish()
    return _balance(context, context.registration())


def funds(context: RequestContext) -> dict[str, Any]:
    """GET /exchanges/ID/funds"""
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return {name: record_to_json(funds) for name, funds in exchange.funds().items()}


def _active_registrations(context: RequestContext) -> list[Registration]:
    rows = context.services.store.registrations.of_account(context.account.id, active_only=True)
    return [row for row in rows if may_use(context.caller, row)]


def _balance_row(context: RequestContext, registration: Registration) -> dict[str, Any]:
    row: dict[str, Any] = {"id": registration.id, "exchange": registration.exchange, "balance": {}}
    try:
        return row | {"balance": _balance(context, registration)}
    except (ExchangeError, Problem) as error:
        return row | {"error": str(error)}


def _balance(context: RequestContext, registration: Registration) -> dict[str, str]:
    """Return what is owned, open orders included, by currency."""
    with context.services.registry.open(registration) as exchange:
        return {name: plain(total) for name, total in exchange.balance().items()}
