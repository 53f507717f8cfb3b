"""What everything of an account is worth."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..._names import common_name
from ...exchanges.base import Exchange
from ...money import plain
from ..db.records import Registration
from ..endpoints import log_in
from ..valuation import Valuation, sum_of, value_of
from .each_registration import read_each


class _Found(NamedTuple):
    """What one exchange has, or why that is not known."""

    registration: Registration
    valuation: Valuation | None
    error: str | None = None


async def value(request: Request) -> Response:
    """GET /value?currency=EUR: a registration whose exchange fails says why, and is not counted."""
    context = await log_in(request)
    currency = context.params.pop_name("currency")
    context.params.finish()

    def read(registration: Registration, exchange: Exchange) -> _Found:
        return _Found(registration, value_of(exchange, currency))

    found = await read_each(context, read, lambda registration, reason: _Found(registration, None, reason))
    whole = sum_of(one.valuation for one in found if one.valuation is not None)
    return JSONResponse(
        {
            "currency": common_name(currency),
            "total": plain(whole.total),
            "not_priced": _to_json(whole.not_priced),
            "backends": [_row(one) for one in found],
        }
    )


def _row(found: _Found) -> dict[str, Any]:
    row: dict[str, Any] = {"id": found.registration.id, "exchange": found.registration.exchange}
    if found.valuation is None:
        return row | {"total": None, "not_priced": {}, "error": found.error}
    return row | {"total": plain(found.valuation.total), "not_priced": _to_json(found.valuation.not_priced)}


def _to_json(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: plain(amount) for name, amount in amounts.items()}
