"""Endpoints: who calls is looked up, the view runs, what it returns is the answer.

There are two kinds of views. Those that anyone may call are Starlette's own (a coroutine of a request); they answer
from memory and never block. All others are plain functions of a `RequestContext`: login, data base and exchange run in
one thread, so that a call costs one hop to a thread and back. A caller who is not remembered is logged in before, in
the threads of the data base: so the body of a request is read for those who may make the call, and no other call waits
for a thread that looks at a wrong password. An account has no more than a share of the threads (see `shares`); what
asks no exchange elsewhere (paper) runs in the threads of the data base, and never waits for what does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .auth import UnprovenLogin
from .call_log import note
from .context import RequestContext, path_id, services_of
from .db.records import Caller, Scope
from .encoding import JSONAnswer
from .middleware import AUTHORIZATION
from .order_views import StoredAnswer
from .params import FORM, Params, read_params
from .policy import check_scope, includes
from .services import Services
from .shares import Holder, Place, account_holder, exchange_holder
from .threads import Pool

__all__ = ["endpoint", "find_caller", "has_login", "log_in", "note_caller", "run_view"]

View = Callable[[RequestContext], Any]
#: All calls whose caller is not known yet have one share of the threads together.
_UNKNOWN = account_holder(0)


def endpoint(
    view: View, *, pool: Pool, needs: Scope = "read", status: int = 200, takes: str = FORM
) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of a view: it logs the caller in and runs the view, both in one thread of `pool`.

    `needs`: the scope without which a credential may not make this call. `status`: of an answer whose view does not say
    it by itself. `takes`: the media type of the body.
    """

    async def call(request: Request) -> Response:
        services = services_of(request)
        header, id = services.authenticator.header_digest(request.scope[AUTHORIZATION]), path_id(request, "id")
        scope, place = services.authenticator.known_scope(header), services.callers.find(header, id)
        if place is None or scope is None or not includes(scope, needs):
            place = _place(await find_caller(services, request, needs))
            if header is not None and (place.exchange is not None or id == 0):  # else there may be one later
                services.callers.add(header, id, place)
        params = await read_params(request, takes)
        chosen, holders = _share(services, pool, place)
        work = partial(_answer, view, needs, status, services, request, params)
        while True:
            try:
                return await services.threads.run(chosen, work, holders=holders)
            except UnprovenLogin as login:
                # Its password was changed, or it is no longer remembered.
                await services.authenticator.prove(login)

    return call


def _share(services: Services, pool: Pool, place: Place) -> tuple[Pool, tuple[Holder, ...]]:
    """Return in which pool a call runs, and who holds a share of its threads."""
    account = account_holder(place.account)
    if place.exchange is None:
        return pool, (account,)
    if services.registry.answers_at_once(place.exchange):
        return "database", (account,)
    # Reads and orders have a share by exchange, too: ExchangeRegistry.exchange waits for it, so that what needs no
    # exchange, a repeat, is answered.
    return pool, (account, exchange_holder(place.exchange)) if pool == "urgent" else (account,)


def _place(caller: Caller) -> Place:
    registration = caller.account.registration
    return Place(caller.account.id, None if registration is None else registration.exchange)


async def log_in(request: Request, *, needs: Scope = "read") -> RequestContext:
    """Return the context of a request whose view is a coroutine. Raises Problem 400, 401, 403 or 429."""
    services = services_of(request)
    caller = await find_caller(services, request, needs)
    return RequestContext(services, caller, request, await read_params(request))


async def run_view(context: RequestContext, pool: Pool, view: View) -> Any:
    """Return what a view returns of a context that is logged in, run in a thread of `pool` within its shares."""
    chosen, holders = _share(context.services, pool, _place(context.caller))
    return await context.services.threads.run(chosen, view, context, holders=holders)


def has_login(request: Request) -> bool:
    """Return whether a request has an Authorization header; it proves nothing."""
    return bool(request.scope[AUTHORIZATION])


async def find_caller(services: Services, request: Request, needs: Scope) -> Caller:
    """Return who calls, by the Authorization header. Raises Problem 400, 401, 403 or 429."""
    services.authenticator.hold_off(request.scope[AUTHORIZATION], _address(request))
    while True:
        try:
            caller = await services.threads.run("database", _recognize, services, request, holders=(_UNKNOWN,))
        except UnprovenLogin as login:
            await services.authenticator.prove(login)
        else:
            check_scope(caller, needs)
            return caller


def _answer(view: View, needs: Scope, status: int, services: Services, request: Request, params: Params) -> Response:
    caller = _recognize(services, request)
    check_scope(caller, needs)
    answer = view(RequestContext(services, caller, request, params))
    if isinstance(answer, StoredAnswer):
        return Response(answer.text, answer.status, answer.headers, media_type="application/json")
    return JSONAnswer(answer, status)


def _recognize(services: Services, request: Request) -> Caller:
    """Return who calls, with the registration that the path names. Raises UnprovenLogin."""
    caller = services.authenticator.recognize(request.scope[AUTHORIZATION], _address(request), path_id(request, "id"))
    note_caller(caller)
    return caller


def note_caller(caller: Caller) -> None:
    """Say in the further lines of the log who makes the call, and for which registration."""
    note(account=caller.name)
    if (registration := caller.account.registration) is not None:
        note(registration=registration.id, exchange=registration.exchange)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
