"""What an account owns at all its exchanges together, in one currency."""

from __future__ import annotations

from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from ..._names import common_name
from ...exchanges.base import Exchange
from ..db.records import Registration
from ..encoding import JSONAnswer
from ..endpoints import log_in
from ..order_views import value_to_json
from ..valuation import Valuation, add_up, read_valuation
from ..worth import keep_worth
from .each_registration import read_each

__all__ = ["value"]


class _Found(NamedTuple):
    """What one exchange said: what is owned there is worth so much, or why that is not known."""

    registration: Registration
    valuation: Valuation | None = None
    reason: str | None = None


async def value(request: Request) -> Response:
    """GET /value?currency=EUR: a registration whose exchange fails says why, and is not in the total."""
    context = await log_in(request)
    currency = context.params.pop_name("currency")
    context.params.finish()

    def read(registration: Registration, exchange: Exchange) -> _Found:
        return _Found(registration, read_valuation(exchange, currency))

    def failed(registration: Registration, reason: str) -> _Found:
        return _Found(registration, reason=reason)

    answers = await read_each(context, read, failed)
    together = add_up(answer.valuation for answer in answers if answer.valuation is not None)
    services, valuations = context.services, [answer.valuation for answer in answers]
    await keep_worth(services.store, services.threads, context.caller, common_name(currency), valuations)
    return JSONAnswer(
        {**_to_json(together), "currency": common_name(currency), "backends": [_row(answer) for answer in answers]}
    )


def _row(answer: _Found) -> dict[str, Any]:
    row = {"id": answer.registration.id, "exchange": answer.registration.exchange}
    if answer.valuation is None:
        return {**row, "total": None, "not_priced": {}, "error": answer.reason}
    return {**row, **_to_json(answer.valuation)}


def _to_json(valuation: Valuation) -> dict[str, Any]:
    not_priced = {name: value_to_json(amount) for name, amount in valuation.not_priced.items()}
    return {"total": value_to_json(valuation.total), "not_priced": not_priced}
