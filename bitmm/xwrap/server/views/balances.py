"""What an account owns: at one exchange, and at all of them."""

from __future__ import annotations

import asyncio
import logging
import time
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
from ..shares import account_holder
from ..threads import Pool
from ..vault import VaultError
from .shared import record_to_json

_log = logging.getLogger(__name__)

#: So many registrations of one call are asked at the same time.
_AT_ONCE = 32


async def all_balances(request: Request) -> Response:
    """GET /balance: each registration is asked in a thread of its own; one that fails says why and delays no other.

    At most `_AT_ONCE` are asked at the same time, as long as a call may take.
    """
    context = await log_in(request)
    context.params.finish()
    services, holder = context.services, account_holder(context.account.id)
    registrations = await services.threads.run("database", _active_registrations, context, holders=(holder,))
    turns, until = asyncio.Semaphore(_AT_ONCE), time.monotonic() + services.settings.call_seconds

    async def read(registration: Registration) -> dict[str, Any]:
        pool: Pool = "database" if services.registry.is_in_process(registration.exchange) else "outbound"
        async with turns:
            if time.monotonic() >= until:
                return _row(registration) | {"error": "it was not asked, because the others took all the time"}
            try:
                return await services.threads.run(pool, _balance_row, context, registration, holders=(holder,))
            except Problem as problem:
                return _row(registration) | {"error": str(problem)}

    return JSONResponse(await asyncio.gather(*map(read, registrations)))


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


def _row(registration: Registration) -> dict[str, Any]:
    return {"id": registration.id, "exchange": registration.exchange, "balance": {}}


def _balance_row(context: RequestContext, registration: Registration) -> dict[str, Any]:
    row = _row(registration)
    try:
        return row | {"balance": _balance(context, registration)}
    except (ExchangeError, Problem) as error:
        return row | {"error": str(error)}
    except VaultError as error:
        _log.error("registration %d: %s", registration.id, error)
        words = (
            "the server cannot open the key of this registration; replace the key, or ask the server's administrator"
        )
        return row | {"error": words}


def _balance(context: RequestContext, registration: Registration) -> dict[str, str]:
    """Return what is owned, open orders included, by currency."""
    with context.services.registry.open(registration) as exchange:
        return {name: plain(total) for name, total in exchange.balance().items()}
