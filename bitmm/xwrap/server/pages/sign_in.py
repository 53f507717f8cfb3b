"""Signing in with a form, and out again. A password passes the same throttle as one that comes with HTTP Basic."""

from __future__ import annotations

import base64

from starlette.requests import Request
from starlette.responses import Response

from ..context import services_of
from ..db.records import Caller
from ..endpoints import find_caller
from ..error_handlers import problem_of
from ..middleware import AUTHORIZATION
from ..params import Params, read_params
from ..passwords import Secret
from ..policy import check_login
from ..problems import DELAY, Problem
from ..services import Services
from .cookies import (
    end_session,
    is_same,
    new_form,
    new_token,
    read_form,
    read_session,
    set_form,
    set_session,
    token_digest,
)
from .rendering import redirect, render
from .visits import FIRST, Visit, is_from_elsewhere

__all__ = ["prove", "show_sign_in", "sign_in", "sign_out"]

_OVER = "Your session is over. Sign in again; what you sent last was not done."
_NO_COOKIE = (
    "Your browser sent no cookie with this form. The page needs cookies, and over the network it needs https; on the"
    " server's own machine use http://localhost."
)
_A_CREDENTIAL = "Credentials are for programs. The page takes the account's own user name and password alone."


async def show_sign_in(request: Request) -> Response:
    """GET / of who is not signed in."""
    words = _OVER if "over" in request.query_params else None
    return _form(request, words)


async def sign_in(request: Request) -> Response:
    """POST /page/sign-in"""
    try:
        if is_from_elsewhere(request):
            return _form(request, "Sign in here.", 403)
        params = await read_params(request)
        if (words := _objection(request, params)) is not None:
            return _form(request, words, 403)
        name, password = params.pop_text("username"), Secret(params.pop_text("password", limit=1000))
        params.finish()
        caller = await prove(request, name, password)
        if caller.credential is not None:
            return _form(request, _A_CREDENTIAL, 403)
        services, token = services_of(request), new_token()
        await services.threads.run("database", _open, services, caller, token, read_session(request))
    except Exception as error:
        problem = problem_of(request, error)
        request.scope[DELAY] = problem.delay
        return _form(request, _in_words(problem), 403 if problem.status == 401 else problem.status, problem)
    answer = redirect(FIRST)
    set_session(request, answer, token)
    return answer


async def sign_out(visit: Visit) -> Response:
    """POST /page/sign-out"""

    def close() -> None:
        if visit.services.store.sessions.remove(token_digest(visit.token)):
            visit.services.store.audit.add(visit.caller, "session.close", f"account {visit.caller.account.name}")

    await visit.read(visit.services.store.atomic, close)
    answer = redirect(FIRST)
    end_session(visit.request, answer)
    return answer


async def prove(request: Request, name: str, password: Secret) -> Caller:
    """Return who has this name and password, as `Authorization: Basic` would. Raises Problem 401, 403 or 429."""
    # In one expression: a traceback with local variables must not show the password.
    request.scope[AUTHORIZATION] = [
        Secret(f"Basic {base64.b64encode(f'{name}:{password.text}'.encode()).decode()}"),
    ]
    return await find_caller(services_of(request), request, "read")


def _open(services: Services, caller: Caller, token: Secret, before: Secret | None) -> None:
    """Open a session in the place of the one before."""
    store = services.store

    def work() -> None:
        check_login(store, caller)
        if before is not None:
            store.sessions.remove(token_digest(before))
        store.sessions.add(token_digest(token), caller.account)
        store.audit.add(caller, "session.open", f"account {caller.account.name}")

    store.atomic(work)


def _objection(request: Request, params: Params) -> str | None:
    """Return in words why a form is not one that this browser was given; None: it is."""
    token = params.pop_text("csrf", default="")
    if (wanted := read_form(request)) is None:
        return _NO_COOKIE
    return None if is_same(token, wanted.text) else "This form is older than the one before it. Sign in with this one."


def _in_words(problem: Problem) -> str:
    if problem.code == "not_authenticated":
        return "Wrong user name or password."
    if problem.code == "too_many_tries":
        return f"Too many wrong passwords. Try again in {problem.headers['Retry-After']} seconds."
    return f"{str(problem)[:1].upper()}{str(problem)[1:]}."


def _form(request: Request, words: str | None, status: int = 200, problem: Problem | None = None) -> Response:
    """Return the form to sign in, with what is wrong."""
    token = new_form(request)
    answer = render(
        "sign_in.html", {"csrf": token.text, "problem": words, "is_from_elsewhere": is_from_elsewhere(request)}, status
    )
    if problem is not None and "Retry-After" in problem.headers:
        answer.headers["Retry-After"] = problem.headers["Retry-After"]
    set_form(request, answer, token)
    return answer
