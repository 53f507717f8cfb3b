"""Turns away what a web page of somebody else could make a browser send, before anybody is asked for a password.

A browser resends Basic credentials by itself and may post a form to any address: so a foreign Origin, a Sec-Fetch-Site
other than our own, and a Host that is not ours (a name that was rebound to this machine) are refused.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .problems import Problem, response

__all__ = ["Guard"]

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:\d{1,5})?", re.ASCII)


class Guard:
    """ASGI middleware. `hosts` are the names under which this server is reached, besides loopback."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or answer 421 or 403."""
        if scope["type"] == "http" and (problem := self._objection(Headers(scope=scope))):
            await response(problem)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _objection(self, headers: Headers) -> Problem | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._ours(hosts[0]):
            return Problem(421, "unknown_host", "this server is not reached under this name; see XWRAP_HOSTS")
        origins = headers.getlist("origin")
        sites = headers.getlist("sec-fetch-site")
        if any(urlsplit(origin).netloc != hosts[0] for origin in origins) or set(sites) - {"same-origin", "none"}:
            return Problem(403, "foreign_origin", "calls from web pages of other sites are refused")
        return None

    def _ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host.lower())
        return match is not None and (match["name"] in self._hosts or _is_loopback(match["name"]))


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"
