"""Whether the server is well, for people and for monitoring. Nothing here belongs to one account."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..context import services_of
from ..metrics import CONTENT_TYPE_LATEST, Metrics
from ..services import Services

__all__ = ["health", "metrics", "ready"]


async def health(_request: Request) -> Response:
    """GET /health: the process answers."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """GET /ready: the data base answers; and how many orders and sends have an unknown outcome, by exchange."""
    services = services_of(request)
    unknown = await services.threads.run("database", _count_unknown, services)
    return JSONResponse({"status": "ok", "unknown": unknown})


async def metrics(request: Request) -> Response:
    """GET /metrics: the calls, and the unknown outcomes at each offered exchange."""
    services = services_of(request)
    unknown = await services.threads.run("database", _count_unknown, services)
    metrics: Metrics = request.app.state.metrics
    offered = services.registry.ids()
    metrics.set_unknown({name: {id: counts.get(id, 0) for id in offered} for name, counts in unknown.items()})
    return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _count_unknown(services: Services) -> dict[str, dict[str, int]]:
    journals = (services.store.orders, services.store.withdrawals)
    return {journal.name: journal.count_unknown() for journal in journals}
