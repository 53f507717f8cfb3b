"""The caller's own account."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..context import RequestContext, services_of
from ..db.records import Caller
from ..encoding import JSONAnswer
from ..endpoints import log_in
from ..params import bad_field
from ..passwords import Secret, check_password, hash_password
from ..problems import Problem
from ..services import Services


def show(context: RequestContext) -> dict[str, Any]:
    """GET /account"""
    context.params.finish()
    return _account_to_json(context.caller)


async def change(request: Request) -> Response:
    """PATCH /account: a new password. Every login with the old one fails from now on, in every server process.

    Raises Problem 401 when the password that this call came with was changed meanwhile.
    """
    context = await log_in(request, needs="owner")
    password = Secret(context.params.pop_text("password", limit=1000))
    context.params.finish()
    try:
        check_password(password)
    except ValueError as error:
        raise bad_field("password", str(error)) from None
    services = services_of(request)
    password_hash = await services.threads.run("passwords", hash_password, password)
    await services.threads.run("database", _change, services, context.caller, password_hash)
    return JSONAnswer(_account_to_json(context.caller))


def _change(services: Services, caller: Caller, password_hash: str) -> None:
    def work() -> None:
        if not services.store.accounts.rehash(caller.account.id, caller.account.password_hash, password_hash):
            raise Problem(401, "not_authenticated", "your password was changed meanwhile; log in with the new one")
        services.store.audit.add(caller, "account.password", f"account {caller.account.name}")

    services.store.atomic(work)


def _account_to_json(caller: Caller) -> dict[str, Any]:
    return {
        "id": caller.account.id,
        "name": caller.account.name,
        "username": caller.name,
        "scope": "owner" if caller.credential is None else caller.credential.scope,
        "frozen": caller.account.frozen,
        "created": caller.account.created,
    }
