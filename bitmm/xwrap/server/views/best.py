"""Where an order would be executed best, among the registrations of an account."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from ...exchanges.base import Exchange
from ...exchanges.models import Side
from ..best import Offer, Place, best_first, offer, split
from ..db.records import Registration
from ..encoding import JSONAnswer
from ..endpoints import log_in
from ..order_views import offer_to_json
from ..params import Params, bad_field
from ..places import read_place
from .each_registration import read_each
from .shared import pop_side


class _Order(NamedTuple):
    """The order that is to be executed: an amount of the asset, or a cost in the currency, at the market."""

    currency: str
    asset: str
    side: Side
    amount: Decimal | None
    cost: Decimal | None


class _Found(NamedTuple):
    """What one exchange said: its place and whose fees it counts, or why there is none."""

    registration: Registration
    place: Place | None = None
    fee_source: str | None = None
    reason: str | None = None


async def best(request: Request) -> Response:
    """GET /best?currency=USD&asset=BTC&side=buy&amount=1, also &split=true"""
    context = await log_in(request)
    order, in_parts = _pop_order(context.params)

    def read(registration: Registration, exchange: Exchange) -> _Found:
        place, fees = read_place(exchange, registration.id, order.currency, order.asset, order.side)
        return _Found(registration, place, fees.source)

    def failed(registration: Registration, reason: str) -> _Found:
        return _Found(registration, reason=reason)

    answers = await read_each(context, read, failed)
    return JSONAnswer(_rows(answers, order, in_parts=in_parts))


def _pop_order(params: Params) -> tuple[_Order, bool]:
    """Return the order of the parameters, and whether it may be executed in parts."""
    currency, asset, side = params.pop_name("currency"), params.pop_name("asset"), pop_side(params)
    cost = params.pop_amount("cost") if params.has("cost") else None
    amount = params.pop_amount() if params.has("amount") else None
    in_parts = params.pop_bool("split", default=False)
    params.finish()
    if amount is None and cost is None:
        raise bad_field("amount", "is missing; an order has either an amount or, where it buys, a cost")
    if cost is not None and (amount is not None or side == "sell" or in_parts):
        raise bad_field("cost", "is for buys at one exchange; give the amount of the asset")
    return _Order(currency, asset, side, amount, cost), in_parts


def _rows(answers: list[_Found], order: _Order, *, in_parts: bool) -> list[dict[str, Any]]:
    """Return a row for each registration, the best first; with `in_parts` those that take a part, and the refusals."""
    places = [answer.place for answer in answers if answer.place is not None]
    if in_parts and order.amount is not None:
        parts = split(places, order.side, order.amount)
        used = {part.place.id for part in parts}
        by_itself = (offer(place, order.side, amount=order.amount) for place in places if place.id not in used)
        offers = best_first(parts) + [each for each in best_first(by_itself) if each.reason is not None]
    else:
        offers = best_first(offer(place, order.side, amount=order.amount, cost=order.cost) for place in places)
    sources = {answer.registration.id: answer.fee_source for answer in answers}
    failures = [_failure(answer) for answer in answers if answer.place is None]
    return [_row(each, sources[each.place.id]) for each in offers] + failures


def _row(each: Offer, fee_source: str | None) -> dict[str, Any]:
    return {"id": each.place.id, "exchange": each.place.exchange, **offer_to_json(each, fee_source)}


def _failure(answer: _Found) -> dict[str, Any]:
    row = {"id": answer.registration.id, "exchange": answer.registration.exchange}
    unknown = dict.fromkeys(("amount", "average", "spent", "fee", "fee_source", "total"))
    return row | unknown | {"reason": answer.reason}
