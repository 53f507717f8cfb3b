"""The only way to the network, for client and server: one request, one complete answer, within a total deadline.

`requests` gives the connections, TLS, proxies and the environment's settings. Added here are a deadline for the whole
call (its own timeout bounds each receive only), a bound on what an answer may weigh, and one statement on every
failure: certainly nothing was sent, or something may have been received.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from http.client import HTTPException
from math import inf
from time import monotonic
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

import requests
from requests import Session
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError

from . import money
from ._deadline import begin_call, seconds_left
from ._failures import ProtocolError, certainly_unsent, describe_error
from ._http import MAX_ANSWER, Adapter, Headers, LightResponse, origin_of, read_body
from .errors import InvalidRequest, OutcomeUnknown, Unavailable

__all__ = ["MAX_ANSWER", "Request", "Response", "Session", "Transport", "base_url", "is_loopback"]


class Request(NamedTuple):
    """A complete request: `url` (percent-encoded) and `body` go out as they are, so that signatures hold."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None

    def __repr__(self) -> str:
        """Return method and URL without its query: headers, query and body may hold secrets."""
        return f"<Request {self.method} {self.url.partition('?')[0]}>"


class Response:
    """A complete answer, whatever its status. The names in `headers` are case-insensitive."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def status_code(self) -> int:
        """Return `status`, by the name that it has in requests."""
        return self.status

    @property
    def text(self) -> str:
        """Return the body as text: UTF-8, what is none shows as a replacement character."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return the document in the body, decoded by `money.decode`. Raises ValueError if it is not JSON in UTF-8."""
        try:
            text = self.body.decode()
        except UnicodeDecodeError:
            raise ValueError("it is not UTF-8") from None
        return money.decode(text)

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"


class Transport:
    """Sends requests; one object, with its connections, may be used from many threads and after a fork.

    `timeout`: seconds for a whole call, from looking up the host's name to the last byte. `session`: a requests.Session
    of the caller's, for its proxies, certificates, headers, cookies, hooks and adapters. Where it has requests' own
    adapter, ours takes its place; with another one, the deadline is looked at between the pieces of the body only.
    Without a session there are no cookies. `connections`: those of another Transport. `end`: no call lasts longer than
    until then, of time.monotonic(). `may_connect`: whether an IP address may be connected to, asked after the name was
    looked up and for that very connection; then no proxy is used, for which the other side's address is not known.

    Proxies and certificate bundles of the environment (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE,
    SSL_CERT_FILE) are read once for each origin (scheme, host and port). HTTP_PROXY is not used: a proxy for plain http
    sees the credentials. A .netrc is never read.
    """

    def __init__(
        self,
        *,
        timeout: float = 30.0,
        session: Session | None = None,
        connections: _Connections | None = None,
        end: float = inf,
        may_connect: Callable[[str], bool] | None = None,
    ) -> None:
        self.timeout = timeout
        self._connections = connections or _Connections(session, direct=may_connect is not None)
        self._end = end
        self._may_connect = may_connect

    @property
    def session(self) -> Session:
        """Return the session whose settings are used: the caller's or, without one, our own."""
        return self._connections.session

    def until(self, end: float) -> Transport:
        """Return a Transport with the same connections for work that must be over at `end`, of time.monotonic()."""
        return Transport(timeout=self.timeout, connections=self._connections, end=end, may_connect=self._may_connect)

    def send(self, request: Request, *, timeout: float | None = None) -> Response:
        """Send `request` once, follow no redirect, repeat nothing, and return the complete answer.

        `timeout`: seconds for this call. Raises Unavailable when certainly nothing reached the other side, and
        OutcomeUnknown when the request may have been received and no complete answer came (code "no_answer", or
        "answer_too_big").
        """
        begin_call(min(monotonic() + (self.timeout if timeout is None else timeout), self._end), self._may_connect)
        origin = origin_of(request.url)
        try:
            response = self._connections.send(request, origin)
            if response.status_code < 200:
                # http.client takes 101, 102 and 103 for final answers; the real one would be read as the next call's.
                response.close()
                raise ProtocolError(f"an interim answer ({response.status_code}) and no final one", "no_answer")
            body = read_body(response)
        except ProtocolError as error:
            raise OutcomeUnknown(f"{_host(origin)} sent {error}", code=error.code) from None
        except (OSError, ValueError, HTTPError, HTTPException, MemoryError) as error:
            reason = describe_error(error)
            if certainly_unsent(error):
                words = f"no connection to {_host(origin)}: {reason}"
                raise Unavailable(words, code="no_answer", retryable=True) from error
            raise OutcomeUnknown(f"no complete answer from {_host(origin)}: {reason}", code="no_answer") from error
        return Response(response.status_code, response.headers, body)

    def close(self) -> None:
        """Close the connections; a caller's session stays open."""
        self._connections.close()

    def __getstate__(self) -> NoReturn:
        raise TypeError("connections cannot be pickled or copied; make a new XWrap")


class _Route:
    """How an origin is reached."""

    def __init__(self, adapter: BaseAdapter, settings: Mapping[str, Any]) -> None:
        self.adapter = adapter
        self.settings = settings


class _Connections:
    """The connections of one Transport or of several, with the settings of the caller's session if there is one.

    `direct`: by no proxy.
    """

    def __init__(self, session: Session | None, *, direct: bool = False) -> None:
        self._direct = direct
        self.session = Session() if session is None else session
        self._is_callers = session is not None
        self._adapter = Adapter(full=self._is_callers)
        self._routes: dict[str, _Route] = {}

    def send(self, request: Request, origin: str) -> requests.Response | LightResponse:
        """Send `request` within this thread's call; return the answer when its head has come, its body not yet."""
        route = self._routes.get(origin) or self._find_route(origin)
        if not self._is_callers:
            return route.adapter.send(_prepared(request), stream=True, timeout=seconds_left(), **route.settings)
        prepared = self._prepared_by_session(request)
        response = route.adapter.send(prepared, stream=True, timeout=seconds_left(), **route.settings)
        self.session.cookies.update(response.cookies)
        for hook in prepared.hooks["response"]:
            response = hook(response, **route.settings) or response
        return response

    def close(self) -> None:
        self._adapter.close()

    def _find_route(self, origin: str) -> _Route:
        """Return how `origin` is reached, by the session's and the environment's settings as they are now."""
        session = self.session
        merged = session.merge_environment_settings(origin, {}, stream=True, verify=None, cert=None)
        verify = merged["verify"]
        if verify is True and session.trust_env:
            verify = os.environ.get("SSL_CERT_FILE") or True
        proxies = session.proxies if origin.startswith("http://") else merged["proxies"]
        proxies = dict(proxies) if not self._direct and select_proxy(origin, proxies) else {}
        adapter = session.get_adapter(origin)
        route = _Route(
            self._adapter if type(adapter) is HTTPAdapter else adapter,
            {"verify": verify, "cert": merged["cert"], "proxies": proxies},
        )
        self._routes[origin] = route
        return route

    def _prepared_by_session(self, request: Request) -> requests.PreparedRequest:
        prepared = self.session.prepare_request(
            requests.Request(
                request.method, request.url, headers=dict(request.headers), data=request.body, auth=_unchanged
            )
        )
        prepared.url = request.url
        return prepared


def _prepared(request: Request) -> requests.PreparedRequest:
    prepared = requests.PreparedRequest()
    prepared.method = request.method
    prepared.url = request.url
    # Text where it can be, as requests itself has it: what intercepts requests looks at forms as text.
    prepared.body = request.body.decode() if request.body and request.body.isascii() else request.body
    headers = Headers(request.headers)
    if request.body is not None:
        headers["Content-Length"] = str(len(request.body))
    prepared.headers = headers  # type: ignore[assignment]
    return prepared


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Return the request as it is: the auth of a request whose headers are complete. Without one .netrc is read."""
    return request


def _host(origin: str) -> str:
    return origin.partition("//")[2]


def base_url(url: str, *, insecure: bool = False) -> str:
    """Return `url` as it goes on the wire, without a slash at its end.

    Raises InvalidRequest for anything but http and https, for credentials, a query or a fragment in it, and for plain
    http to another machine unless `insecure`.
    """
    if not isinstance(url, str):
        raise InvalidRequest(f"the address of a server must be text, and is {url!r}"[:200], code="invalid_url")
    if any(sign in url for sign in "@\\?#"):
        raise InvalidRequest(
            "the address of a server holds no user, password, query or fragment; user and password go to the calls",
            code="invalid_url",
        )
    if "://" not in url:
        scheme = "http" if is_loopback(re.split("[:/]", url, maxsplit=1)[0]) else "https"
        raise InvalidRequest(f"{url!r} does not begin with {scheme}://; write {scheme}://{url}", code="invalid_url")
    prepared = requests.PreparedRequest()
    try:
        prepared.prepare_url(url, None)
        parts = urlsplit(str(prepared.url))
        port = parts.port
    except ValueError:
        raise InvalidRequest(
            f"{url!r} is no address of a server; write it like https://xwrap.example or http://localhost:8000",
            code="invalid_url",
        ) from None
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidRequest(
            f"{url!r} is no http:// or https:// address; write it like https://xwrap.example", code="invalid_url"
        )
    if parts.scheme == "http" and not insecure and not (is_loopback(host) or host.endswith(".localhost")):
        raise InvalidRequest(
            f"plain http would show passwords and keys on the way to {host}; use https://",
            code="insecure_url",
        )
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine: localhost, or an IP address of the loopback interface."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
