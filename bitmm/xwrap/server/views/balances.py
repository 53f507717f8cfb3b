"""All balances of an account at once."""

from __future__ import annotations

import asyncio
from typing import Any

from ...exchanges.errors import ExchangeError
from ..db.records import Registration
from ..problems import Problem
from ..services import Call
from .trading import balance_of


async def balance(call: Call) -> list[dict[str, Any]]:
    """GET /balance: every registration is asked in a thread of its own; one that fails says why and holds up nobody."""
    call.params.finish()
    services = call.services
    rows = await services.run(
        services.database, lambda: services.store.registrations.of_account(call.account.id, active_only=True)
    )
    return list(await asyncio.gather(*(services.run(services.outbound, _row, call, row) for row in rows)))


def _row(call: Call, registration: Registration) -> dict[str, Any]:
    row: dict[str, Any] = {"id": registration.id, "exchange": registration.exchange, "balance": {}}
    try:
        return row | {"balance": balance_of(call, registration)}
    except (ExchangeError, Problem) as error:
        return row | {"error": str(error)}
