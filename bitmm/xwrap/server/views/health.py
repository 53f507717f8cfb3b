"""Whether the server is well, for people and for what watches over it. Nothing here is an account's own."""

from __future__ import annotations

from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..services import Services

__all__ = ["Meter", "health", "ready"]


async def health(_services: Services, _request: Request) -> Response:
    """GET /health: the process answers."""
    return JSONResponse({"status": "ok"})


async def ready(services: Services, _request: Request) -> Response:
    """GET /ready: the data base answers; and how many orders and sends have an outcome that nobody knows, by
    exchange.
    """
    unknown = await services.run(services.database, _unknown, services)
    return JSONResponse({"status": "ok", "unknown": unknown})


def _unknown(services: Services) -> dict[str, dict[str, int]]:
    journals = (services.store.orders, services.store.withdrawals)
    return {journal.name: journal.count_unknown() for journal in journals}


class Meter:
    """Counts the calls of one server, and tells them in Prometheus' text format."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.calls = Counter("xwrap_calls", "Calls answered", ["method", "path", "status"], registry=self._registry)
        self._unknown = Gauge(
            "xwrap_unknown",
            "Orders and sends whose outcome is unknown",
            ["journal", "exchange"],
            registry=self._registry,
        )

    async def metrics(self, services: Services, _request: Request) -> Response:
        """GET /metrics"""
        unknown = await services.run(services.database, _unknown, services)
        self._unknown.clear()
        for journal, counts in unknown.items():
            for exchange in services.registry.ids():
                self._unknown.labels(journal, exchange).set(counts.get(exchange, 0))
        answer: dict[str, Any] = {"content": generate_latest(self._registry), "media_type": CONTENT_TYPE_LATEST}
        return Response(**answer)
