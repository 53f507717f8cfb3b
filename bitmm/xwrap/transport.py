"""The wall to the network: one request out, one complete answer back, within a total deadline. Both halves use it.

`requests` gives the connections, TLS, proxies and the environment's settings. Added here are a deadline for the whole
call (its own timeout bounds each receive only), a bound on what an answer may weigh, and one statement on every
failure: certainly nothing was sent, or something may have been received.
"""

from __future__ import annotations

import errno
import http.client
import io
import ipaddress
import os
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

import requests
import urllib3
from requests import Session
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.utils import select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import DecodeError, HTTPError, InvalidHeader, NewConnectionError

from . import money
from .errors import InvalidRequest, OutcomeUnknown, Unavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["MAX_ANSWER", "Request", "Response", "Session", "Transport", "base_url"]

#: Bytes of an answer's body, decompressed.
MAX_ANSWER = 16 * 1024 * 1024
#: Bytes on the wire of one answer: its body, its header lines, interim answers, chunk sizes.
_MAX_WIRE = MAX_ANSWER + 1024 * 1024
_PIECE = 16 * 1024


class Request(NamedTuple):
    """A complete request: `url` (percent-encoded) and `body` go out as they are, so that signatures hold."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None

    def __repr__(self) -> str:
        """Headers, query and body may hold secrets."""
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
        """The document in the body, decoded by `money.decode`. Raises ValueError when it is not JSON in UTF-8."""
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
    Without a session there are no cookies.

    Proxies and certificate bundles of the environment (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE,
    SSL_CERT_FILE) are read once for each origin (scheme, host and port). HTTP_PROXY is not used: a proxy for plain http
    sees the credentials. A .netrc is never read.
    """

    def __init__(self, *, timeout: float = 30.0, session: Session | None = None) -> None:
        self.timeout = timeout
        self._caller = session
        self._session = session or Session()
        self._adapter = Adapter(full=session is not None)
        self._routes: dict[str, _Route] = {}
        self._end = float("inf")

    @property
    def session(self) -> requests.Session:
        """Return the session whose settings are used: the caller's or, without one, our own."""
        return self._session

    def until(self, end: float) -> Transport:
        """The same connections for work that must be over at `end` (of time.monotonic()): no call lasts longer."""
        other = object.__new__(Transport)
        other.__dict__.update(self.__dict__, _end=end)
        return other

    def send(self, request: Request, *, timeout: float | None = None) -> Response:
        """Send `request` once, follow no redirect, repeat nothing, and return the complete answer.

        Raises Unavailable when certainly nothing reached the other side, and OutcomeUnknown when the request may have
        been received and no complete answer came (code "no_answer", or "answer_too_big").
        """
        call_state.deadline = min(monotonic() + (self.timeout if timeout is None else timeout), self._end)
        call_state.sent = None
        call_state.outer = sys.exception()
        origin = _origin(request.url)
        try:
            route = self._routes.get(origin) or self._find(origin)
            prepared = self._prepare(request)
            response = route.adapter.send(prepared, stream=True, timeout=seconds_left(), **route.settings)
            if self._caller is not None:
                self._caller.cookies.update(response.cookies)
                for hook in prepared.hooks["response"]:
                    response = hook(response, **route.settings) or response
            if response.status_code < 200:
                # http.client takes 101, 102 and 103 for final answers; the real one would be read as the next call's.
                response.close()
                raise ProtocolError(f"an interim answer ({response.status_code}) and no final one", "no_answer")
            body = read_body(response)
        except ProtocolError as error:
            raise OutcomeUnknown(f"{_host(origin)} sent {error}", code=error.code) from None
        except (OSError, ValueError, HTTPError, http.client.HTTPException) as error:
            if certainly_unsent(error):
                raise Unavailable(
                    f"no connection to {_host(origin)}: {describe_error(error)}", retryable=True
                ) from error
            raise OutcomeUnknown(
                f"no complete answer from {_host(origin)}: {describe_error(error)}", code="no_answer"
            ) from error
        return Response(response.status_code, response.headers, body)

    def close(self) -> None:
        """Close the connections; a caller's session stays open."""
        self._adapter.close()

    def __getstate__(self) -> NoReturn:
        raise TypeError("connections cannot be pickled or copied; make a new XWrap")

    def _find(self, origin: str) -> _Route:
        """How `origin` is reached, by the session's and the environment's settings as they are now."""
        session = self._session
        merged = session.merge_environment_settings(origin, {}, stream=True, verify=None, cert=None)
        verify = merged["verify"]
        if verify is True and session.trust_env:
            verify = os.environ.get("SSL_CERT_FILE") or True
        proxies = session.proxies if origin.startswith("http://") else merged["proxies"]
        proxies = dict(proxies) if select_proxy(origin, proxies) else {}
        adapter = session.get_adapter(origin)
        route = _Route(
            self._adapter if type(adapter) is HTTPAdapter else adapter,
            {"verify": verify, "cert": merged["cert"], "proxies": proxies},
        )
        self._routes[origin] = route
        return route

    def _prepare(self, request: Request) -> requests.PreparedRequest:
        if self._caller is not None:
            prepared = self._caller.prepare_request(
                requests.Request(
                    request.method, request.url, headers=dict(request.headers), data=request.body, auth=_as_it_is
                )
            )
            prepared.url = request.url
            return prepared
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


class _Route(NamedTuple):
    """How an origin is reached."""

    adapter: BaseAdapter
    settings: Mapping[str, Any]


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The auth of every request: its headers are complete. Without one, requests looks into .netrc."""
    return request


# --- the deadline -----------------------------------------------------------------------------------------------------


class CallState(threading.local):
    """What the connections need to know of the call that this thread makes, and what it needs to know of them."""

    deadline = float("inf")
    #: False: the request's first byte has not left. None: no connection of ours was asked.
    sent: bool | None = None
    #: What the program was handling when it called; it says nothing about this call.
    outer: BaseException | None = None


call_state = CallState()


def seconds_left(deadline: float | None = None) -> float:
    """Seconds until the deadline of this thread's call, never zero (which would mean: do not block)."""
    left = (call_state.deadline if deadline is None else deadline) - monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class DeadlineReader(io.RawIOBase):
    """What arrives on a socket until the deadline of the call that is waiting for it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # http.client may close the socket before the body is read; a file of its own holds it open.
        self._file: io.RawIOBase = sock.makefile("rb", buffering=0)
        self._deadline = call_state.deadline
        self._room = _MAX_WIRE

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What http.client asks of the socket that it reads from."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._sock.settimeout(seconds_left(self._deadline))
        count = self._file.readinto(buffer)
        self._room -= count or 0
        if self._room < 0:
            raise ProtocolError("more than 16 MiB", "answer_too_big")
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class DeadlineResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(DeadlineReader(sock), *args, **kwargs)  # type: ignore[arg-type]


class DeadlineConnection(HTTPConnection):
    """Connects, shakes hands, sends and receives until the deadline of the call."""

    #: http.client prints headers at debug levels; a level set on its class for a whole program is not for credentials.
    debuglevel = 0
    response_class = DeadlineResponse

    def _new_conn(self) -> socket.socket:
        error: OSError = TimeoutError()
        try:
            addresses = _addresses(self.host, self.port)
            for tried, (family, kind, protocol, _, address) in enumerate(addresses):
                sock = socket.socket(family, kind, protocol)
                try:
                    for option in self.socket_options or ():
                        sock.setsockopt(*option)
                    sock.settimeout(seconds_left() / (len(addresses) - tried))
                    sock.connect(address)
                    # One timeout bounds a whole TLS handshake, and a whole sendall.
                    sock.settimeout(seconds_left())
                except OSError as failure:
                    sock.close()
                    error = failure
                else:
                    return sock
        except OSError as failure:
            error = failure
        raise NewConnectionError(self, describe_error(error)) from error

    def connect(self) -> None:
        call_state.sent = False
        try:
            super().connect()
            if self.sock is not None:
                self.sock.settimeout(seconds_left())
                # TLS within a proxy's TLS is no socket itself, but has one.
                sock = getattr(self.sock, "socket", self.sock)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        finally:
            # A proxy's CONNECT is no part of the request.
            call_state.sent = False

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        call_state.sent = True
        # A timeout bounds a whole sendall, but over TLS each piece of it.
        for start in range(0, len(data), _PIECE):
            if start and self.sock is not None:
                self.sock.settimeout(seconds_left())
            super().send(data[start : start + _PIECE])


#: Closed, or left behind by a process that was killed, a connection is reset: what has not left by then never leaves.
#: Else the system goes on sending it for minutes, long after its outcome was asked for.
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


class _HTTPSConnection(DeadlineConnection, HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = DeadlineConnection  # pyright: ignore[reportAssignmentType]


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection  # pyright: ignore[reportAssignmentType]


#: As many connections as threads; a smaller pool closes and opens one for every call of the threads beyond it.
_THREADS = 256
_ORIGINS = 1000
_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class Adapter(HTTPAdapter):
    """requests' adapter with our connections; it keeps the pool of each origin, whose settings never change here.

    `full`: it hands out complete Responses, for the hooks and cookies of a caller's session.
    """

    def __init__(self, *, full: bool) -> None:
        self._full = full
        #: What a fork left behind: the parent's connections, which a child neither uses nor closes.
        self._parents: list[Any] = []
        super().__init__(_ORIGINS, _THREADS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS
        self._pools: dict[str, Any] = {}
        self._pid = os.getpid()

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> urllib3.ProxyManager:
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        if self._pid != os.getpid():
            self._parents += [self.poolmanager, self.proxy_manager]
            self.proxy_manager = {}
            self.init_poolmanager(_ORIGINS, _THREADS)
        url = str(request.url)
        origin = _origin(url)
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = super().get_connection_with_tls_context(request, verify, proxies, cert)
            super().cert_verify(pool, url, verify, cert)  # type: ignore[no-untyped-call]
        return pool

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        super().close()

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Done when the pool was made."""

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> Any:
        return super().build_response(req, resp) if self._full else LightResponse(req, resp)

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        return super().request_url(request, proxies) if proxies else request.path_url


def _addresses(host: str, port: int) -> list[Any]:
    """The addresses of `host`; a look-up cannot be stopped, so it has a thread that may be left behind."""
    found: list[Any] = []

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, "there is no thread to look its name up") from error
    thread.join(seconds_left())
    if not found:
        raise TimeoutError
    if isinstance(found[0], OSError):
        raise found[0]
    if isinstance(found[0], UnicodeError):
        raise socket.gaierror(socket.EAI_NONAME, "no host name")
    return list(found[0])


# --- the answer -------------------------------------------------------------------------------------------------------


class Headers(dict[str, str]):
    """A dict for urllib3, which copies and reads it at every call; case-insensitive for who looks a name up."""

    def __missing__(self, name: str) -> str:
        for known, value in self.items():
            if known.lower() == name.lower():
                return value
        raise KeyError(name)


class LightResponse:
    """As much of a requests.Response as is needed here; making the whole of one takes a tenth of a call."""

    def __init__(self, request: requests.PreparedRequest, raw: urllib3.HTTPResponse) -> None:
        self.request = request
        self.raw = raw
        self.status_code = raw.status
        self.headers = raw.headers
        self.close = raw.close

    def iter_content(self, size: int) -> Iterator[bytes]:
        return self.raw.stream(size, decode_content=True)


class ProtocolError(Exception):
    """What came instead of an answer that can be accepted."""

    def __init__(self, words: str, code: str) -> None:
        super().__init__(words)
        self.code = code


def read_body(response: requests.Response | LightResponse) -> bytes:
    """The body, decompressed, as long as it stays within bounds."""
    body = bytearray()
    length = response.headers.get("Content-Length", "0")
    if length.isdecimal() and int(length[:20]) > MAX_ANSWER:
        response.close()
        raise ProtocolError("more than 16 MiB", "answer_too_big")
    for piece in response.iter_content(_PIECE):
        body += piece
        if len(body) > MAX_ANSWER:
            response.close()
            raise ProtocolError("more than 16 MiB", "answer_too_big")
        seconds_left()
    return bytes(body)


# --- what is said of a failure ----------------------------------------------------------------------------------------


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None and error is not call_state.outer:
        yield error
        error = error.__cause__ or error.__context__


def certainly_unsent(error: BaseException) -> bool:
    """Whether no byte of the request left. Where no connection of ours was used, only what is certain counts."""
    if call_state.sent is not None:
        return not call_state.sent
    if not isinstance(error, requests.RequestException):
        return True
    certain = (NewConnectionError, ConnectionRefusedError, socket.gaierror)
    return isinstance(error, (ValueError, requests.ConnectTimeout)) or any(
        isinstance(e, certain) for e in _chain(error)
    )


_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, "the time was up"),
    (requests.Timeout, "the time was up"),
    (ssl.SSLCertVerificationError, "its certificate is not accepted ({0.verify_message})"),
    (ssl.SSLError, "TLS failed"),
    (socket.gaierror, "its name is not known"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionError, "the connection was closed"),
    (http.client.IncompleteRead, "the answer broke off"),
    (http.client.BadStatusLine, "the answer is not HTTP"),
    (http.client.UnknownProtocol, "the answer is not HTTP"),
    (http.client.HTTPException, "{0}"),
    (DecodeError, "the compression of the answer is damaged"),
    (requests.exceptions.ContentDecodingError, "the compression of the answer is damaged"),
    (InvalidHeader, "the answer has two lengths"),
    (HTTPError, "the answer is not HTTP"),
)


def describe_error(error: BaseException) -> str:
    """The cause in our words; the libraries' own texts hold URLs and what a stranger sent."""
    for kind, words in _REASONS:
        for link in _chain(error):
            if isinstance(link, kind):
                return words.format(link)
    return next((link.strerror for link in _chain(error) if isinstance(link, OSError) and link.strerror), "it failed")


def _origin(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])


def _host(origin: str) -> str:
    return origin.partition("//")[2]


# --- addresses --------------------------------------------------------------------------------------------------------


def base_url(url: str, *, insecure: bool = False) -> str:
    """`url` as it goes on the wire, without a slash at its end.

    Raises InvalidRequest for anything but http and https, for credentials, a query or a fragment in it, and for plain
    http to another machine unless `insecure`.
    """
    if not isinstance(url, str):
        raise InvalidRequest("the address of a server must be text", code="invalid_url")
    if any(sign in url for sign in "@\\?#"):
        raise InvalidRequest(
            "the address of a server holds no user, password, query or fragment; user and password go to the calls",
            code="invalid_url",
        )
    prepared = requests.PreparedRequest()
    try:
        prepared.prepare_url(url, None)
        parts = urlsplit(str(prepared.url))
        port = parts.port
    except ValueError:
        raise InvalidRequest(f"{url!r} is no address of a server", code="invalid_url") from None
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidRequest(f"{url!r} is no http:// or https:// address", code="invalid_url")
    if parts.scheme == "http" and not insecure and not is_loopback(host):
        raise InvalidRequest(
            f"plain http would show your password on the way to {host}; use https://, or pass insecure=True",
            code="insecure_url",
        )
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
