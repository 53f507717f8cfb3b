"""Endpoints: who calls is looked up, the view runs, what it returns is the answer.

There are two kinds of views. Those that anyone may call are Starlette's own (a coroutine of a request); they answer
from memory and never block. All others are plain functions of a `RequestContext`: login, data base and exchange run in
one thread, so that a call costs one hop to a thread and back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .context import RequestContext, path_id, services_of
from .db.records import Caller, Scope
from .order_views import StoredAnswer
from .params import Params, read_params
from .policy import check_scope
from .services import Services
from .threads import Pool

__all__ = ["endpoint", "log_in"]

View = Callable[[RequestContext], Any]


def endpoint(
    view: View, *, pool: Pool, needs: Scope = "read", status: int = 200
) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of a view: it logs the caller in and runs the view, both in one thread of `pool`.

    `needs`: the scope without which a credential may not make this call. `status`: of an answer whose view does not say
    it by itself.
    """

    async def call(request: Request) -> Response:
        services = services_of(request)
        if "authorization" not in request.headers:
            _authenticate(services, request)  # refuses, before the body is read
        params = await read_params(request)
        return await services.threads.run(pool, _answer, view, needs, status, services, request, params)

    return call


async def log_in(request: Request) -> RequestContext:
    """Return the context of a request whose view is a coroutine. Raises Problem 401 or 429."""
    services = services_of(request)
    caller = await services.threads.run("database", _authenticate, services, request)
    return RequestContext(services, caller, request, await read_params(request))


def _answer(view: View, needs: Scope, status: int, services: Services, request: Request, params: Params) -> Response:
    caller = _authenticate(services, request)
    check_scope(caller, needs)
    answer = view(RequestContext(services, caller, request, params))
    if isinstance(answer, StoredAnswer):
        return Response(answer.text, answer.status, answer.headers, media_type="application/json")
    return JSONResponse(answer, status)


def _authenticate(services: Services, request: Request) -> Caller:
    """Return who calls, with the registration that the path names."""
    address = request.client.host if request.client else ""
    header = request.headers.get("authorization")
    return services.authenticator.authenticate(header, address, path_id(request, "id"))
