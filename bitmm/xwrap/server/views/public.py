"""What anyone may ask: the exchanges, and their prices."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..context import services_of
from ..params import read_params

_OPENAPI = (Path(__file__).parents[1] / "openapi.yaml").read_bytes()


async def openapi(_request: Request) -> Response:
    """GET /openapi.yaml: the whole contract."""
    return Response(_OPENAPI, media_type="application/yaml")


async def list_exchanges(request: Request) -> Response:
    """GET /list_exchanges/"""
    params = await read_params(request)
    params.finish()
    return JSONResponse(services_of(request).registry.listing)


async def exchange_rates(request: Request) -> Response:
    """GET /exchange_rates/?from=USD&to=BTC"""
    params = await read_params(request)
    currency, asset = params.pop_name("from"), params.pop_name("to")
    params.finish()
    return JSONResponse(await services_of(request).rates.all(currency, asset))
