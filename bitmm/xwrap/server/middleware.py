"""ASGI middleware: what is done with every request around its route."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..transport import is_loopback
from .call_log import CallLog, begin_call, log_with
from .metrics import Metrics
from .passwords import Secret
from .problems import Problem, problem_response

__all__ = [
    "AUTHORIZATION",
    "COOKIE",
    "AuthorizationMiddleware",
    "CallMiddleware",
    "OriginCheckMiddleware",
    "ResponseHeadersMiddleware",
    "TrailingSlashMiddleware",
]

_log = logging.getLogger(__name__)

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:\d{1,5})?", re.ASCII)

_ORIGIN_HEADERS = (b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest")

#: Where in an ASGI scope the values of the Authorization headers are: a list of `Secret`.
AUTHORIZATION = "xwrap.authorization"


#: Where the values of the Cookie headers are: a list of `Secret`.
COOKIE = "xwrap.cookie"
_SECRETS = {AUTHORIZATION: b"authorization", COOKIE: b"cookie"}


class AuthorizationMiddleware:
    """Take the Authorization and Cookie headers out of the request, so that nothing that shows its headers shows a
    password or the token of a session.

    Tracebacks with local variables show the scope. It must be the first middleware.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = scope["headers"]
            for key, secret in _SECRETS.items():
                scope[key] = [Secret(value.decode("latin-1")) for name, value in headers if name == secret]
            scope["headers"] = [header for header in headers if header[0] not in _SECRETS.values()]
            del headers
        await self._app(scope, receive, send)


class TrailingSlashMiddleware:
    """Serve every path with and without its last slash."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"].removesuffix("/")
            scope["path"] = path if path.strip("/") else scope["path"]
        await self._app(scope, receive, send)


class ResponseHeadersMiddleware:
    """Say with every answer that no cache may keep it (RFC 9111, section 5.2.2.5), and that its type is not guessed."""

    _HEADERS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class CallMiddleware:
    """Give each call an id; count, time and log its answer. `paths`: those of the routes, by their endpoint.

    The id is made here, whatever the caller sends: so no two calls have the same, and no caller writes into the log.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Mapping[Any, str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = begin_call()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", call.id.encode())]
                # No endpoint: the path is unknown. 405: its route does not take this method.
                if "endpoint" in scope and message["status"] != 405:
                    self._finish(call, scope["method"], self._paths[scope["endpoint"]], message["status"])
            await send(message)

        await self._app(scope, receive, send_with_id)

    def _finish(self, call: CallLog, method: str, path: str, status: int) -> None:
        method = "GET" if method == "HEAD" else method
        self._metrics.count_call(method, path, status, perf_counter() - call.began)
        # Who has no login must not be able to fill the log.
        is_change = method != "GET" and "account" in call.fields and not call.has_outcome
        level = logging.INFO if is_change else logging.DEBUG
        if _log.isEnabledFor(level):
            log_with(_log, level, f"{method} {path} is answered", http_status=status, **call.times())


class OriginCheckMiddleware:
    """Refuse what a web page of another site could make a browser send, before a password is checked.

    A browser adds Basic credentials by itself and may post a form to any URL: so a foreign Origin, a Sec-Fetch-Site
    other than our own, and a Host that is not ours (a name that was rebound to this machine) are refused.
    A link on another site may lead a person to the first page or the documentation, as the document of a tab: it is a
    GET, and the browser sends no cookie of ours with it (see `pages.cookies`).
    `hosts`: the names under which this server is reached, besides loopback.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 421 or 403."""
        if scope["type"] == "http" and (problem := self._objection(scope)):
            await problem_response(problem)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _objection(self, scope: Scope) -> Problem | None:
        found: dict[bytes, list[str]] = {name: [] for name in _ORIGIN_HEADERS}
        for name, value in scope["headers"]:
            if name in found:
                found[name].append(value.decode("latin-1"))
        hosts, origins, sites = found[b"host"], found[b"origin"], found[b"sec-fetch-site"]
        if len(hosts) != 1 or not _is_one_of(self._hosts, hosts[0]):
            host = hosts[0][:100] if len(hosts) == 1 and hosts[0].isprintable() else ""
            detail = f"this server is not reached under the name '{host}'; its administrator can add it to XWRAP_HOSTS"
            return Problem(421, "unknown_host", detail)
        is_foreign = set(sites) - {"same-origin", "none"} and not _is_followed_link(scope, found)
        if any(_netloc(origin) != hosts[0] for origin in origins) or is_foreign:
            return Problem(
                403,
                "foreign_origin",
                "calls from web pages of other sites are refused; call from a program, or from a page of this server",
            )
        return None


def _is_followed_link(scope: Scope, found: Mapping[bytes, list[str]]) -> bool:
    """Return whether a browser says that a person followed a link to a page for all, in no frame of another page."""
    how = found[b"sec-fetch-mode"], found[b"sec-fetch-dest"]
    is_for_all = scope["path"] in {"/", "/docs", "/docs/"}
    return scope["method"] == "GET" and is_for_all and how == (["navigate"], ["document"])


def _netloc(origin: str) -> str | None:
    """Return the host and port of an Origin header; None when it is no URL."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


@lru_cache(maxsize=100)
def _is_one_of(names: frozenset[str], host: str) -> bool:
    """Return whether a Host header names loopback or one of `names`."""
    match = _HOST.fullmatch(host.lower())
    return match is not None and (match["name"] in names or is_loopback(match["name"]))
