"""The application: every path, with the view that answers it."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp

from .endpoints import endpoint
from .error_handlers import EXCEPTION_HANDLERS
from .metrics import Metrics
from .middleware import MetricsMiddleware, OriginCheckMiddleware, TrailingSlashMiddleware
from .services import Services
from .views import balances, health, public, registrations, trading

__all__ = ["ROUTES", "create_app"]

ROUTES = [
    Route("/health", health.health),
    Route("/ready", health.ready),
    Route("/metrics", health.metrics),
    Route("/openapi.yaml", public.openapi),
    Route("/list_exchanges", public.list_exchanges),
    Route("/exchange_rates", public.exchange_rates),
    Route("/balance", balances.balance),
    Route("/exchanges", endpoint(registrations.index, pool="database")),
    Route("/exchanges", endpoint(registrations.create, pool="outbound", status=201), methods=["POST"]),
    Route("/exchanges/{id}", endpoint(registrations.show, pool="database")),
    Route("/exchanges/{id}/balance", endpoint(trading.balance, pool="outbound")),
    Route("/exchanges/{id}/exchange_rate", endpoint(trading.exchange_rate, pool="outbound")),
    Route("/exchanges/{id}/buy", endpoint(trading.buy, pool="outbound"), methods=["POST"]),
    Route("/exchanges/{id}/sell", endpoint(trading.sell, pool="outbound"), methods=["POST"]),
    Route("/exchanges/{id}/send_to_address", endpoint(trading.send_to_address, pool="outbound"), methods=["POST"]),
    Route("/exchanges/{id}/get_address", endpoint(trading.get_address, pool="outbound")),
    Route("/exchanges/{id}/funds", endpoint(trading.funds, pool="outbound")),
    Route("/exchanges/{id}/markets", endpoint(trading.markets, pool="outbound")),
    Route("/exchanges/{id}/fills", endpoint(trading.fills, pool="outbound")),
    Route("/exchanges/{id}/orders", endpoint(trading.orders, pool="outbound")),
    Route("/exchanges/{id}/orders", endpoint(trading.cancel_all, pool="urgent"), methods=["DELETE"]),
    Route("/exchanges/{id}/orders/{order_id}", endpoint(trading.order, pool="outbound")),
    Route("/exchanges/{id}/orders/{order_id}", endpoint(trading.cancel, pool="urgent"), methods=["DELETE"]),
    Route("/exchanges/{id}/deposits", endpoint(trading.deposits, pool="outbound")),
    Route("/exchanges/{id}/deposit_address", endpoint(trading.deposit_address, pool="outbound")),
    Route("/exchanges/{id}/withdrawals", endpoint(trading.withdrawals, pool="outbound")),
]


class _Application(Starlette):
    """Starlette without its ServerErrorMiddleware, which raises again what was answered and logged already."""

    def build_middleware_stack(self) -> ASGIApp:
        app: ASGIApp = ExceptionMiddleware(self.router, handlers=self.exception_handlers)
        for middleware, args, options in reversed(self.user_middleware):
            app = middleware(app, *args, **options)
        return app


def create_app(services: Services) -> Starlette:
    """Return the ASGI application of a server."""
    hosts = frozenset(host.lower() for host in (services.settings.host, *services.settings.hosts))
    metrics = Metrics()
    app = _Application(
        routes=ROUTES,
        exception_handlers=EXCEPTION_HANDLERS,
        middleware=[
            Middleware(OriginCheckMiddleware, hosts=hosts),
            Middleware(TrailingSlashMiddleware),
            Middleware(MetricsMiddleware, metrics=metrics, paths={route.endpoint: route.path for route in ROUTES}),
        ],
    )
    app.router.redirect_slashes = False
    app.state.services = services
    app.state.metrics = metrics
    return app
