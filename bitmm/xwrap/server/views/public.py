"""What anybody may ask: the exchanges, and their prices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..params import Params
from ..services import Services

_OPENAPI = (Path(__file__).parents[1] / "openapi.yaml").read_bytes()


async def openapi(_services: Services, _request: Request) -> Response:
    """GET /openapi.yaml: the whole contract."""
    return Response(_OPENAPI, media_type="application/yaml")


async def list_exchanges(services: Services, params: Params) -> list[dict[str, Any]]:
    """GET /list_exchanges/"""
    params.finish()
    return services.registry.public()


async def exchange_rates(services: Services, params: Params) -> list[dict[str, Any]]:
    """GET /exchange_rates/?from=USD&to=BTC"""
    currency, asset = params.pop_name("from"), params.pop_name("to")
    params.finish()
    return await services.rates.all(currency, asset, lambda ask: services.run(services.outbound, ask))
