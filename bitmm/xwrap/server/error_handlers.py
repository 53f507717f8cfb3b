"""What went wrong becomes an answer here, by its class or by its HTTP status."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from ..exchanges.errors import ExchangeError
from .call_log import current_call, note
from .db.errors import UNUSABLE, DamagedError, driver_message, public_reason
from .problems import DELAY, Problem, from_exchange, problem_response

__all__ = ["EXCEPTION_HANDLERS", "nearest_paths", "problem_of"]

_log = logging.getLogger(__name__)
#: The methods of calls that change nothing (RFC 9110, 9.2.1).
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
#: A longer path is not compared with the known ones: that would take time, and it is no mistyped one.
_MAX_PATH = 100
#: Of more siblings only the last parts are named.
_MOST_WHOLE = 5


async def on_problem(request: Request, problem: Any) -> Response:
    """Answer with a problem that the server itself found."""
    request.scope[DELAY] = problem.delay
    return problem_response(problem)


async def on_exchange_error(_request: Request, error: Any) -> Response:
    """Answer with what an exchange refused, or did not answer."""
    return problem_response(from_exchange(error))


async def on_unusable_database(_request: Request, error: Any) -> Response:
    """Answer 503."""
    return problem_response(_unusable_database(error))


def _unusable_database(error: Any) -> Problem:
    """Return the problem; the statement and its values stay out of the log."""
    _log.error("the data base cannot be used: %s", driver_message(error))
    is_damaged = isinstance(error, DamagedError)
    code = "database_damaged" if is_damaged else "database_unavailable"
    detail = f"the server cannot use its data base: {public_reason(error)}"
    return Problem(503, code, detail, retryable=not is_damaged)


async def on_disconnect(_request: Request, _error: Any) -> Response:
    """Answer 400 to a caller who went away before the request was complete."""
    return Response(status_code=400)


async def on_unknown_path(request: Request, _error: Any) -> Response:
    """Answer 404, with the known paths that are nearest to the one that was asked for."""
    path = request.scope["path"] or "/"
    shown = path if len(path) <= _MAX_PATH and path.isprintable() else "like this"
    nearest = nearest_paths(path, (route.path for route in request.app.routes))
    near = f"; near it are {', '.join(nearest)}" if nearest else ""
    return problem_response(
        Problem(404, "not_found", f"this server has no path {shown}{near}; /openapi.yaml lists all")
    )


async def on_wrong_method(request: Request, _error: Any) -> Response:
    """Answer 405, with the methods that the path takes."""
    methods = sorted(_methods_of(request))
    detail = f"this path does not take {request.method}; it takes {', '.join(methods)}"
    return problem_response(Problem(405, "method_not_allowed", detail, headers={"Allow": ", ".join(methods)}))


async def on_unexpected_error(request: Request, error: Any) -> Response:
    """Answer 500."""
    return problem_response(_unexpected_error(request, error))


def problem_of(request: Request, error: Exception) -> Problem:
    """Return the problem that says what went wrong, as the answer to a program has it, and note its code in the log."""
    if isinstance(error, Problem):
        problem = error
    elif isinstance(error, ExchangeError):
        problem = from_exchange(error)
    else:
        problem = _unusable_database(error) if isinstance(error, UNUSABLE) else _unexpected_error(request, error)
    note(code=problem.code)
    return problem


def _unexpected_error(request: Request, error: Any) -> Problem:
    """Return a problem with the id of the call and no more; the log has the error under this id.

    Whatever changes something may have been executed: it is not known how far the call came.
    """
    call = current_call()
    id = "" if call is None else call.id
    _log.error("server error %s", id, exc_info=error)
    mutates = request.method not in _SAFE_METHODS
    detail = f"the server failed in a way that was not foreseen; its log says why, under {id}"
    return Problem(500, "server_error", detail, may_have_executed=mutates)


#: By exception class or HTTP status, as Starlette takes them.
EXCEPTION_HANDLERS: dict[Any, Any] = {
    Problem: on_problem,
    ExchangeError: on_exchange_error,
    **dict.fromkeys(UNUSABLE, on_unusable_database),
    ClientDisconnect: on_disconnect,
    404: on_unknown_path,
    405: on_wrong_method,
    Exception: on_unexpected_error,
}


def nearest_paths(path: str, known: Iterable[str]) -> list[str]:
    """Return the known paths that `path` may have been meant to be; ids are written ID.

    Those that differ in the last part a little; if there are none, all that differ in it alone; if there are none
    either, the two that look most like it.
    """
    if len(path) > _MAX_PATH:
        return []
    paths = list(dict.fromkeys(re.sub(r"\{\w+\}", "ID", one) for one in known))
    asked = re.sub(r"(?<=/)\d+(?=/|$)", "ID", path)
    parent, _, last = asked.rpartition("/")
    siblings = {one.rpartition("/")[2]: one for one in paths if one.rpartition("/")[0] == parent}
    if similar := get_close_matches(last, siblings, cutoff=0.6):
        return [siblings[name] for name in similar]
    if parent and siblings:
        return (
            [f"{parent}/ and one of {' '.join(siblings)}"] if len(siblings) > _MOST_WHOLE else list(siblings.values())
        )
    return get_close_matches(asked, paths, n=2, cutoff=0.8)


def _methods_of(request: Request) -> set[str]:
    routes: list[BaseRoute] = request.app.routes
    return {
        method
        for route in routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
