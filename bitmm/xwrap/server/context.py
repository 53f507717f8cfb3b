"""What a view gets: one request of an account that is logged in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request

from .call_log import note
from .db.records import Account, Caller, Registration
from .params import Params
from .policy import check_login, check_registration
from .problems import Problem
from .services import Services

__all__ = ["RequestContext", "check_key", "path_id", "services_of"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request of an account, and the services that carry it out."""

    services: Services
    caller: Caller
    request: Request
    params: Params

    @property
    def account(self) -> Account:
        """Return the account that calls, itself or by one of its credentials."""
        return self.caller.account

    def registration(self) -> Registration:
        """Return the registration that the path names.

        Raises Problem 404, which looks the same for another account's registration and for none, and 403 for one that
        the credential of the caller was not given.
        """
        if self.account.registration is None:
            raise Problem(
                404, "not_found", "this account has no such exchange registration; list_backends() has its own"
            )
        check_registration(self.caller, self.account.registration)
        return self.account.registration

    def write(self, work: Callable[[], _T]) -> _T:
        """Return what `work` returns, which changes something, all in one write. Raises Problem as `check_login`."""

        def checked() -> _T:
            check_login(self.services.store, self.caller)
            return work()

        return self.services.store.atomic(checked)

    def path_id(self, name: str) -> int:
        """Return an id in the path; 0, which no row has, when it is not a number in its usual spelling."""
        return path_id(self.request, name)

    def idempotency_key(self) -> str | None:
        """Return the Idempotency-Key header, None without one.

        Raises Problem 400 for two of them, and 422 for what cannot be a key.
        """
        keys: list[str] = self.request.headers.getlist("idempotency-key")
        if len(keys) > 1:
            raise Problem(400, "invalid_request", "the header Idempotency-Key stands twice; send it once")
        for key in keys:
            check_key(key, "Idempotency-Key")
        if not keys:
            return None
        note(key=keys[0])
        return keys[0]


def services_of(request: Request) -> Services:
    """Return the services of the server that got this request."""
    services: Services = request.app.state.services
    return services


def path_id(request: Request, name: str) -> int:
    """Return an id in the path of a request; 0 when it has none, or not in its usual spelling."""
    text: str = request.path_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 and text[0] != "0" else 0


def check_key(key: str, name: str) -> None:
    """Raise Problem 422 for a key that is empty, too long or not printable ASCII."""
    if not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise Problem(
            422,
            "invalid_request",
            f"'{name}' has {len(key)} characters; it must be 1 to 255 printable ones of ASCII",
            field=name,
        )
