"""The cookies of the owner's page, and the tokens of its forms."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from starlette.requests import Request, cookie_parser
from starlette.responses import Response

from ...transport import is_loopback
from ..middleware import COOKIE
from ..passwords import Secret

__all__ = [
    "end_session",
    "form_token",
    "is_same",
    "new_form",
    "new_token",
    "read_form",
    "read_session",
    "set_form",
    "set_session",
    "token_digest",
]

_SESSION, _FORM = "xwrap", "xwrap-form"


def new_token() -> Secret:
    """Return a random token of 256 bits."""
    return Secret(secrets.token_urlsafe(32))


def token_digest(token: Secret) -> str:
    """Return what the data base keeps of a token."""
    return hashlib.sha256(token.text.encode()).hexdigest()


def form_token(token: Secret) -> str:
    """Return the token of the forms of a session, which tells nothing of the session's own."""
    return hashlib.sha256(f"form {token.text}".encode()).hexdigest()


def is_same(token: str, wanted: str) -> bool:
    """Return whether a form has the token that it must have; the time does not tell where they differ."""
    return hmac.compare_digest(token.encode("utf-8", "replace"), wanted.encode("utf-8", "replace"))


def read_session(request: Request) -> Secret | None:
    """Return the token of the session that a browser sent; None: it sent none."""
    return _read(request, _SESSION)


def set_session(request: Request, response: Response, token: Secret) -> None:
    """Give a browser its session, and take back the token of the form with which it signed in."""
    _set(request, response, _SESSION, token)
    _remove(request, response, _FORM)


def end_session(request: Request, response: Response) -> None:
    """Take the session back."""
    _remove(request, response, _SESSION)


def read_form(request: Request) -> Secret | None:
    """Return the token that a form to sign in must have."""
    return _read(request, _FORM)


def new_form(request: Request) -> Secret:
    """Return the token for a form to sign in: the one that the browser has, so that two open pages both work."""
    return read_form(request) or new_token()


def set_form(request: Request, response: Response, token: Secret) -> None:
    """Give a browser the token of a form to sign in."""
    _set(request, response, _FORM, token)


def _is_secure(request: Request) -> bool:
    """Return whether the cookies are for TLS alone: always, unless the page is reached by a name of this machine.

    No header says here that there was TLS, so none has to be believed. A browser that reaches another machine over
    plain HTTP keeps no such cookie, and nobody signs in there.
    """
    return not is_loopback(urlsplit(f"//{request.headers['host']}").hostname or "")


def _name(request: Request, name: str) -> str:
    """Return the full name: with __Host- a browser takes it from this host alone, over TLS, for all paths."""
    return f"__Host-{name}" if _is_secure(request) else name


def _read(request: Request, name: str) -> Secret | None:
    wanted = _name(request, name)
    values = [cookie_parser(each.text).get(wanted) for each in request.scope[COOKIE]]
    return next((Secret(value) for value in values if value), None)


def _set(request: Request, response: Response, name: str, value: Secret) -> None:
    response.set_cookie(
        _name(request, name), value.text, path="/", secure=_is_secure(request), httponly=True, samesite="strict"
    )


def _remove(request: Request, response: Response, name: str) -> None:
    response.delete_cookie(_name(request, name), path="/", secure=_is_secure(request), httponly=True, samesite="strict")
