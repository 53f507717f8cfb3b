"""What an account owns: at one exchange, and at all of them."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...exchanges.base import Exchange
from ...money import plain
from ..context import RequestContext
from ..db.records import Registration
from ..encoding import JSONAnswer
from ..endpoints import log_in
from .each_registration import read_each


async def all_balances(request: Request) -> Response:
    """GET /balance: a registration whose exchange fails says why, and delays no other."""
    context = await log_in(request)
    context.params.finish()
    return JSONAnswer(await read_each(context, _balance_row, _failed_row))


def balance(context: RequestContext) -> dict[str, str]:
    """GET /exchanges/ID/balance"""
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return _balance(exchange)


def funds(context: RequestContext) -> dict[str, Any]:
    """GET /exchanges/ID/funds"""
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return exchange.funds()


def _balance_row(registration: Registration, exchange: Exchange) -> dict[str, Any]:
    return {"id": registration.id, "exchange": registration.exchange, "balance": _balance(exchange)}


def _failed_row(registration: Registration, reason: str) -> dict[str, Any]:
    return {"id": registration.id, "exchange": registration.exchange, "balance": {}, "error": reason}


def _balance(exchange: Exchange) -> dict[str, str]:
    """Return what is owned, open orders included, by currency."""
    return {name: plain(total) for name, total in exchange.balance().items()}
