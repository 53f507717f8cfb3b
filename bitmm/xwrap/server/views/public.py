"""What anyone may ask: the exchanges, and their prices."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ..callers import origin_network
from ..context import services_of
from ..encoding import JSONAnswer
from ..params import read_params
from ..rate_sources import PublicRates
from ..waiting import pop_wait
from .markets import pop_depth
from .rate_changes import pop_seen
from .shared import pop_side


async def list_exchanges(request: Request) -> Response:
    """GET /list_exchanges/"""
    params = await read_params(request)
    params.finish()
    return Response(services_of(request).registry.listing_json, media_type="application/json")


async def exchange_rates(request: Request) -> Response:
    """GET /exchange_rates/?from=USD&to=BTC, also &amount=1&side=sell, or &after=CURSOR&wait=30"""
    params, rates = await read_params(request), services_of(request).rates
    currency, asset = params.pop_name("from"), params.pop_name("to")
    if params.has("after"):
        seen, seconds = pop_seen(params), pop_wait(params)
        params.finish()
        holder = ("address", origin_network(request.client.host if request.client else ""))
        source, changes = PublicRates(rates, currency, asset), services_of(request).rate_changes
        rows, cursor = await changes.after(request, source, holder, seen, seconds)
        return JSONAnswer({"rates": rows, "cursor": cursor})
    amount, side = params.pop_amount() if params.has("amount") else None, pop_side(params, default="buy")
    params.finish()
    if amount is None:
        return JSONAnswer(await rates.all(currency, asset))
    return JSONAnswer(await rates.ranked(currency, asset, side, amount))


async def order_book(request: Request) -> Response:
    """GET /order_book/?exchange=kraken&currency=USD&asset=BTC&depth=20"""
    params = await read_params(request)
    exchange = params.pop_text("exchange")
    currency, asset, depth = pop_depth(params)
    return JSONAnswer(await services_of(request).rates.order_book(exchange, currency, asset, depth))
