"""The route table, and the one place where what went wrong becomes an answer.

Two kinds of calls: those that anybody may make answer from memory and never block; all others run as one function in
one thread, login and data base and exchange together.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import Counter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ..exchanges.errors import ExchangeError
from .db.base import UNUSABLE, driver_message
from .db.records import Account
from .execution import StoredAnswer
from .middleware import OriginCheckMiddleware, TrailingSlashMiddleware
from .params import Params, read_params
from .problems import Problem, from_exchange, response
from .services import Call, Services, number_in
from .views import balances, health, public, registrations, trading

__all__ = ["build", "table"]

_log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]
Wrapper = Callable[[Services], Endpoint]


def build(services: Services) -> ASGIApp:
    """Return the ASGI application of a server."""
    meter = health.Meter()
    methods: dict[str, dict[str, Endpoint]] = {}
    for method, path, wrap in table(meter):
        methods.setdefault(path, {})[method] = _counted(_answering(wrap(services)), meter.calls, method, path)
    routes = [Route(path, _Address(endpoints)) for path, endpoints in methods.items()]
    hosts = frozenset(host.lower() for host in (services.settings.host, *services.settings.hosts))
    return OriginCheckMiddleware(
        TrailingSlashMiddleware(Router(routes, redirect_slashes=False, default=_no_such_address)), hosts
    )


def table(meter: health.Meter) -> list[tuple[str, str, Wrapper]]:
    """Every call there is: method, path, and the way to its answer."""
    return [
        ("GET", "/health", _plain(health.health)),
        ("GET", "/ready", _plain(health.ready)),
        ("GET", "/metrics", _plain(meter.metrics)),
        ("GET", "/openapi.yaml", _plain(public.openapi)),
        ("GET", "/list_exchanges", _for_anybody(public.list_exchanges)),
        ("GET", "/exchange_rates", _for_anybody(public.exchange_rates)),
        ("GET", "/balance", _gathering(balances.balance)),
        ("GET", "/exchanges", _in_database(registrations.index)),
        ("POST", "/exchanges", _outbound(registrations.create, status=201)),
        ("GET", "/exchanges/{id}", _in_database(registrations.show)),
        ("GET", "/exchanges/{id}/balance", _outbound(trading.balance)),
        ("GET", "/exchanges/{id}/exchange_rate", _outbound(trading.exchange_rate)),
        ("POST", "/exchanges/{id}/buy", _outbound(trading.buy)),
        ("POST", "/exchanges/{id}/sell", _outbound(trading.sell)),
        ("POST", "/exchanges/{id}/send_to_address", _outbound(trading.send_to_address)),
        ("GET", "/exchanges/{id}/get_address", _outbound(trading.get_address)),
        ("GET", "/exchanges/{id}/funds", _outbound(trading.funds)),
        ("GET", "/exchanges/{id}/markets", _outbound(trading.markets)),
        ("GET", "/exchanges/{id}/fills", _outbound(trading.fills)),
        ("GET", "/exchanges/{id}/orders", _outbound(trading.orders)),
        ("DELETE", "/exchanges/{id}/orders", _urgent(trading.cancel_all)),
        ("GET", "/exchanges/{id}/orders/{order_id}", _outbound(trading.order)),
        ("DELETE", "/exchanges/{id}/orders/{order_id}", _urgent(trading.cancel)),
        ("GET", "/exchanges/{id}/deposits", _outbound(trading.deposits)),
        ("GET", "/exchanges/{id}/deposit_address", _outbound(trading.deposit_address)),
        ("GET", "/exchanges/{id}/withdrawals", _outbound(trading.withdrawals)),
    ]


class _Address:
    """ASGI application: the calls of one path, by their methods. Each answers every failure itself."""

    def __init__(self, endpoints: dict[str, Endpoint]) -> None:
        self._endpoints = endpoints | ({"HEAD": endpoints["GET"]} if "GET" in endpoints else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["method"], self._no_such_method)
        answer = await endpoint(Request(scope, receive, send))
        await answer(scope, receive, send)

    async def _no_such_method(self, _request: Request) -> Response:
        allow = {"Allow": ", ".join(self._endpoints)}
        return response(Problem(405, "method_not_allowed", "this address does not take this method", headers=allow))


def _counted(endpoint: Endpoint, calls: Counter, method: str, path: str) -> Endpoint:
    counters: dict[int, Any] = {}

    async def count(request: Request) -> Response:
        answer = await endpoint(request)
        counter = counters.get(answer.status_code)
        if counter is None:
            counter = counters[answer.status_code] = calls.labels(method, path, str(answer.status_code))
        counter.inc()
        return answer

    return count


def _plain(view: Callable[[Services, Request], Awaitable[Response]]) -> Wrapper:
    def wrapper(services: Services) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            return await view(services, request)

        return endpoint

    return wrapper


def _for_anybody(view: Callable[[Services, Params], Awaitable[Any]]) -> Wrapper:
    def wrapper(services: Services) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            return JSONResponse(await view(services, await read_params(request)))

        return endpoint

    return wrapper


def _in_database(view: Callable[[Call], Any], status: int = 200) -> Wrapper:
    return lambda services: _threaded(services, services.database, view, status)


def _outbound(view: Callable[[Call], Any], status: int = 200) -> Wrapper:
    return lambda services: _threaded(services, services.outbound, view, status)


def _urgent(view: Callable[[Call], Any]) -> Wrapper:
    """For cancels: their threads are not those that everybody else waits for."""
    return lambda services: _threaded(services, services.urgent, view, 200)


def _threaded(services: Services, limiter: Any, view: Callable[[Call], Any], status: int) -> Endpoint:
    def work(request: Request, params: Params) -> Response:
        body = view(Call(services, _account(services, request), request, params))
        if isinstance(body, StoredAnswer):
            return Response(body.text, body.status, body.headers, media_type="application/json")
        return JSONResponse(body, status)

    async def endpoint(request: Request) -> Response:
        if "authorization" not in request.headers:
            _account(services, request)
        return await services.run(limiter, work, request, await read_params(request))

    return endpoint


def _gathering(view: Callable[[Call], Awaitable[Any]]) -> Wrapper:
    """For a view that asks many exchanges at once: it is given the account and spreads over threads by itself."""

    def wrapper(services: Services) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            account = await services.run(services.database, _account, services, request)
            return JSONResponse(await view(Call(services, account, request, await read_params(request))))

        return endpoint

    return wrapper


def _account(services: Services, request: Request) -> Account:
    """Who calls, with the registration that the address names."""
    address = request.client.host if request.client else ""
    return services.authenticator.authenticate(request.headers.get("authorization"), address, number_in(request, "id"))


def _answering(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Problem as problem:
            return response(problem)
        except ExchangeError as error:
            return response(from_exchange(error))
        except UNUSABLE as error:
            # The statement and its values stay out of the log.
            _log.error("the data base cannot be used: %s", driver_message(error))
            busy = Problem(503, "database_unavailable", "the server's data base cannot be used now", retryable=True)
            return response(busy)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception:
            number = secrets.token_hex(4)
            _log.exception("server error %s", number)
            return response(Problem(500, "server_error", "server error", id=number))

    return answer


async def _no_such_address(scope: Scope, receive: Receive, send: Send) -> None:
    await response(Problem(404, "not_found", "no such address"))(scope, receive, send)
