"""The application: every path, with the view that answers it."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp

from .endpoints import endpoint
from .error_handlers import EXCEPTION_HANDLERS
from .middleware import (
    AuthorizationMiddleware,
    CallMiddleware,
    OriginCheckMiddleware,
    ResponseHeadersMiddleware,
    TrailingSlashMiddleware,
)
from .pages.routes import PAGES
from .params import JSON
from .services import Services
from .views import (
    accounts,
    addresses,
    audit,
    balances,
    batches,
    best,
    credentials,
    docs,
    freeze,
    health,
    markets,
    order_changes,
    orders,
    public,
    rate_changes,
    registrations,
    transfers,
    value,
)
from .watched import watched_numbers

__all__ = ["ROUTES", "create_app"]

#: What openapi.yaml describes. Tried in this order: what programs call all the time comes first. The owner's page,
#: HTML for browsers, has a list of its own: `pages.routes.PAGES`.
ROUTES = [
    Route("/list_exchanges", public.list_exchanges),
    Route("/exchange_rates", public.exchange_rates),
    Route("/order_book", public.order_book),
    Route("/balance", balances.all_balances),
    Route("/best", best.best),
    Route("/value", value.value),
    Route("/exchanges", endpoint(registrations.index, pool="database")),
    Route("/exchanges", endpoint(registrations.create, pool="outbound", needs="owner", status=201), methods=["POST"]),
    Route("/exchanges/{id}", endpoint(registrations.show, pool="database")),
    Route("/exchanges/{id}", endpoint(registrations.change, pool="outbound", needs="owner"), methods=["PATCH"]),
    Route("/exchanges/{id}", endpoint(registrations.delete, pool="database", needs="owner"), methods=["DELETE"]),
    Route("/exchanges/{id}/balance", endpoint(balances.balance, pool="outbound")),
    Route("/exchanges/{id}/exchange_rate", rate_changes.index),
    Route("/exchanges/{id}/buy", endpoint(orders.buy, pool="outbound", needs="trade"), methods=["POST"]),
    Route("/exchanges/{id}/sell", endpoint(orders.sell, pool="outbound", needs="trade"), methods=["POST"]),
    Route(
        "/exchanges/{id}/send_to_address",
        endpoint(transfers.send_to_address, pool="outbound", needs="send"),
        methods=["POST"],
    ),
    Route("/exchanges/{id}/transfer", endpoint(transfers.transfer, pool="outbound", needs="send"), methods=["POST"]),
    Route("/exchanges/{id}/get_address", endpoint(transfers.get_address, pool="outbound")),
    Route("/exchanges/{id}/funds", endpoint(balances.funds, pool="outbound")),
    Route("/exchanges/{id}/markets", endpoint(markets.markets, pool="outbound")),
    Route("/exchanges/{id}/fills", endpoint(markets.fills, pool="outbound")),
    Route("/exchanges/{id}/order_book", endpoint(markets.order_book, pool="outbound")),
    Route("/exchanges/{id}/ticker", endpoint(markets.ticker, pool="outbound")),
    Route("/exchanges/{id}/candles", endpoint(markets.candles, pool="outbound")),
    Route("/exchanges/{id}/trades", endpoint(markets.trades, pool="outbound")),
    Route("/exchanges/{id}/fees", endpoint(markets.fees, pool="outbound")),
    Route("/exchanges/{id}/orders", order_changes.index),
    Route(
        "/exchanges/{id}/orders",
        endpoint(batches.place_many, pool="outbound", needs="trade", takes=JSON),
        methods=["POST"],
    ),
    Route("/exchanges/{id}/orders", endpoint(orders.cancel_all, pool="urgent", needs="trade"), methods=["DELETE"]),
    Route("/exchanges/{id}/orders/{order_id}", endpoint(orders.show, pool="outbound")),
    Route(
        "/exchanges/{id}/orders/{order_id}", endpoint(orders.amend, pool="outbound", needs="trade"), methods=["POST"]
    ),
    Route(
        "/exchanges/{id}/orders/{order_id}", endpoint(orders.cancel, pool="urgent", needs="trade"), methods=["DELETE"]
    ),
    Route("/exchanges/{id}/deposits", endpoint(transfers.deposits, pool="outbound")),
    Route("/exchanges/{id}/ledger", endpoint(transfers.ledger, pool="outbound")),
    Route("/exchanges/{id}/deposit_address", endpoint(transfers.deposit_address, pool="outbound")),
    Route("/exchanges/{id}/withdrawals", endpoint(transfers.withdrawals, pool="outbound")),
    Route("/addresses", endpoint(addresses.index, pool="database")),
    Route("/addresses", endpoint(addresses.create, pool="database", needs="owner", status=201), methods=["POST"]),
    Route("/addresses/{address_id}", endpoint(addresses.remove, pool="database", needs="owner"), methods=["DELETE"]),
    Route("/exchanges/{id}/permissions", endpoint(registrations.permissions, pool="outbound")),
    Route("/credentials", endpoint(credentials.index, pool="database", needs="owner")),
    Route("/credentials", endpoint(credentials.create, pool="database", needs="owner", status=201), methods=["POST"]),
    Route("/credentials/{name}", endpoint(credentials.revoke, pool="database", needs="owner"), methods=["DELETE"]),
    Route("/exchanges/{id}/deadman", endpoint(freeze.set_deadman, pool="urgent", needs="trade"), methods=["PUT"]),
    Route("/deadman", endpoint(freeze.set_each_deadman, pool="urgent", needs="trade"), methods=["PUT"]),
    Route("/freeze", endpoint(freeze.freeze, pool="urgent", needs="trade"), methods=["POST"]),
    Route("/freeze", endpoint(freeze.unfreeze, pool="database", needs="owner"), methods=["DELETE"]),
    Route("/account", endpoint(accounts.show, pool="database")),
    Route("/account", accounts.change, methods=["PATCH"]),
    Route("/audit", endpoint(audit.index, pool="database", needs="owner")),
    Route("/health", health.health),
    Route("/ready", health.ready),
    Route("/metrics", health.metrics),
    Route("/openapi.yaml", docs.openapi_yaml),
    Route("/openapi.json", docs.openapi_json),
    Route("/docs", docs.show),
    Route("/docs/style.css", docs.style),
]


class _Application(Starlette):
    """Starlette without its ServerErrorMiddleware, which raises again what was answered and logged already."""

    def build_middleware_stack(self) -> ASGIApp:
        app: ASGIApp = self.router
        for middleware, args, options in reversed(self.user_middleware):
            app = middleware(app, *args, **options)
        return app


def create_app(services: Services) -> Starlette:
    """Return the ASGI application of a server."""
    hosts = frozenset(host.lower() for host in (services.settings.host, *services.settings.hosts))
    routes = [*ROUTES, *PAGES]
    app = _Application(
        routes=routes,
        middleware=[
            Middleware(AuthorizationMiddleware),
            Middleware(ResponseHeadersMiddleware),
            Middleware(
                CallMiddleware, metrics=services.metrics, paths={route.endpoint: route.path for route in routes}
            ),
            # Around the next ones, too: what fails in them is answered like what fails in a view.
            Middleware(ExceptionMiddleware, handlers=EXCEPTION_HANDLERS),
            Middleware(OriginCheckMiddleware, hosts=hosts),
            Middleware(TrailingSlashMiddleware),
        ],
    )
    app.router.redirect_slashes = False
    app.state.services = services
    for numbers in watched_numbers(services):
        services.metrics.watch(numbers)
    return app
