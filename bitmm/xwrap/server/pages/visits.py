"""A visit: one request of a browser whose session is open. What goes wrong in it becomes a page with words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..context import RequestContext, path_id, services_of
from ..db.records import Caller
from ..db.sessions import SessionStore
from ..endpoints import note_caller, run_view
from ..error_handlers import problem_of
from ..params import Params, read_params
from ..passwords import Secret
from ..problems import DELAY, Problem
from ..services import Services
from ..shares import account_holder
from ..threads import Pool
from .cookies import form_token, is_same, read_session, token_digest
from .rendering import redirect, render

__all__ = ["FIRST", "PAGE_SECONDS", "SECTIONS", "FormFields", "Visit", "caller_address", "is_from_elsewhere", "page"]

#: The views that a visitor chooses among: their paths and titles.
SECTIONS = {
    "/": "Overview",
    "/page/rates": "Rates",
    "/page/orders": "Orders",
    "/page/unknown": "Unknown",
    "/page/keys": "Keys",
    "/page/credentials": "Credentials",
    "/page/freeze": "Freeze",
    "/page/audit": "Audit",
    "/page/health": "Health",
}
FIRST = "/"
#: So long a page waits for an exchange; what comes later is said to be late.
PAGE_SECONDS = 6.0
#: From where a request comes, by the browser's own word: no word, typed or kept as a bookmark, a page of ours.
_OWN_SITES = {"", "none", "same-origin"}


class FormFields(dict[str, str]):
    """The fields of a form or a query; no repr shows them, because a form may have secrets."""

    def __repr__(self) -> str:
        return "<fields>"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a signed-in browser. `fields`: of its form or query, without the token of the form."""

    services: Services
    request: Request
    caller: Caller
    token: Secret
    section: str
    fields: FormFields

    def context(self, fields: FormFields | None = None) -> RequestContext:
        """Return the context that the view of a JSON route takes, with these fields (else those of the visit)."""
        params = Params(list((self.fields if fields is None else fields).items()))
        return RequestContext(self.services, self.caller, self.request, params)

    def given(self) -> FormFields:
        """Return the fields without those that were left empty."""
        return FormFields((name, text) for name, text in self.fields.items() if text)

    async def call(self, view: Callable[[RequestContext], Any], pool: Pool, fields: FormFields | None = None) -> Any:
        """Return what the view of a JSON route returns for this visit, run in a thread of `pool`."""
        return await run_view(self.context(fields), pool, view)

    async def read(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return what a function returns that only asks the data base."""
        holders = (account_holder(self.caller.account.id),)
        return await self.services.threads.run("database", partial(function, *args), holders=holders)

    async def show(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """Return a page of this visit, with the message that the last one left."""
        message = await self.read(self.services.store.sessions.pop_message, token_digest(self.token))
        return render(template, self._frame() | {"message": message} | values, status)

    async def done(self, message: str, path: str | None = None) -> Response:
        """Return the answer to a form that did what it should: another page, which says so."""
        await self.read(self.services.store.sessions.set_message, token_digest(self.token), message)
        return redirect(path or self.section)

    def show_problem(self, problem: Problem) -> Response:
        """Return a page that says in words what went wrong."""
        values = {"message": None, "problem": str(problem), "code": problem.code, "body": problem.body}
        return render("problem.html", self._frame() | values, _status(problem))

    def _frame(self) -> dict[str, Any]:
        account = self.caller.account
        return {
            "sections": SECTIONS,
            "section": self.section,
            "title": SECTIONS[self.section],
            "account": account.name,
            "frozen": account.frozen,
            "csrf": form_token(self.token),
        }


View = Callable[[Visit], Awaitable[Response]]


async def lead_to_sign_in(request: Request) -> Response:
    """Answer who is not signed in."""
    return redirect(FIRST if request.method == "GET" else f"{FIRST}?over=1")


def page(
    view: View, section: str, *, otherwise: Callable[[Request], Awaitable[Response]] = lead_to_sign_in
) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of a view; `otherwise` answers who is not signed in."""

    async def endpoint(request: Request) -> Response:
        visit: Visit | None = None
        try:
            visit = await _open(request, section)
            if visit is None:
                return await otherwise(request)
            return await view(visit)
        except ClientDisconnect:
            raise
        except Exception as error:
            return _show_error(request, visit, error)

    return endpoint


def is_from_elsewhere(request: Request) -> bool:
    """Return whether a browser says that another site led it here; then its session does not count."""
    return request.headers.get("sec-fetch-site", "") not in _OWN_SITES


def caller_address(request: Request) -> str:
    """Return the address of a caller; "" where there is none."""
    return request.client.host if request.client else ""


async def _open(request: Request, section: str) -> Visit | None:
    services, token = services_of(request), read_session(request)
    if token is None or is_from_elsewhere(request):
        return None
    caller = await services.threads.run("database", _find_caller, services, request, token)
    if caller is None:
        return None
    note_caller(caller)
    fields = FormFields((await read_params(request)).pop_all())
    if request.method == "POST" and not is_same(fields.pop("csrf", ""), form_token(token)):
        raise Problem(
            403, "foreign_origin", "this form is not one of your session; nothing was done; open its page and try again"
        )
    return Visit(services, request, caller, token, section, fields)


def _find_caller(services: Services, request: Request, token: Secret) -> Caller | None:
    """Return whose session this is, with the registration that the path names, by the rows as they are now.

    None: it is over, the account was switched off, or has another password than the one that opened the session.
    """
    digest, store = token_digest(token), services.store
    if (found := store.sessions.find(digest)) is None:
        return None
    name, password = found
    account = store.accounts.find(name, path_id(request, "id"))
    if account is None or not account.active or not SessionStore.fits(account, password):
        return None
    store.sessions.mark_used(digest)
    return Caller(account, None, caller_address(request))


def _show_error(request: Request, visit: Visit | None, error: Exception) -> Response:
    problem = problem_of(request, error)
    request.scope[DELAY] = problem.delay
    if visit is not None:
        return visit.show_problem(problem)
    return render("stopped.html", {"problem": str(problem), "code": problem.code}, _status(problem))


def _status(problem: Problem) -> int:
    """Return the status of a page: 401 would ask for HTTP Basic, by which nobody signs in here."""
    return 403 if problem.status == 401 else problem.status
