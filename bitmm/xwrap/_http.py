"""How a call keeps its deadline: connections, sockets and answers of urllib3 and http.client, bounded in time and size.

`transport` uses it; nothing else does. urllib3 makes the connections and reads the answers. The classes here stand in
for its own where a deadline for the whole call has to be looked at, and where its work at every call is not needed.
"""

from __future__ import annotations

import errno
import http.client
import io
import os
import socket
import struct
import threading
from _thread import start_new_thread
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from ._deadline import call_state, seconds_left
from ._failures import ProtocolError, describe_error
from ._fast_path import FastPath

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = [
    "MAX_ANSWER",
    "Adapter",
    "Headers",
    "LightResponse",
    "origin_of",
    "read_body",
]

#: Bytes of an answer's body, decompressed.
MAX_ANSWER = 16 * 1024 * 1024
#: Bytes on the wire of one answer: its body, its header lines, interim answers, chunk sizes.
_MAX_WIRE = MAX_ANSWER + 1024 * 1024
_PIECE = 16 * 1024


class DeadlineReader(io.RawIOBase):
    """Reads from a socket until the deadline of the waiting call, and not more bytes than an answer may have."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # http.client may close the socket before the body is read; a file of its own holds it open.
        self._file: io.RawIOBase = sock.makefile("rb", buffering=0)
        self._deadline = call_state.deadline
        self._bytes_left = _MAX_WIRE

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a buffered reader; http.client asks the socket that it reads from for it."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._sock.settimeout(seconds_left(self._deadline))
        count = self._file.readinto(buffer)
        self._bytes_left -= count or 0
        if self._bytes_left < 0:
            raise ProtocolError("more than 16 MiB", "answer_too_big")
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class DeadlineResponse(http.client.HTTPResponse):
    """http.client's response, read by a DeadlineReader."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(DeadlineReader(sock), *args, **kwargs)  # type: ignore[arg-type]


class DeadlineConnection(HTTPConnection):
    """A connection that connects, shakes hands, sends and receives until the deadline of the call."""

    #: http.client prints headers at debug levels; a level set on its class for a whole program is not for credentials.
    debuglevel = 0
    response_class = DeadlineResponse

    def _new_conn(self) -> socket.socket:
        error: OSError | MemoryError = TimeoutError()
        try:
            addresses = _permitted(_addresses(self.host, self.port))
            for tried, (family, kind, protocol, _, address) in enumerate(addresses):
                sock = socket.socket(family, kind, protocol)
                try:
                    for option in self.socket_options or ():
                        sock.setsockopt(*option)
                    sock.settimeout(seconds_left() / (len(addresses) - tried))
                    sock.connect(address)
                    # One timeout bounds a whole TLS handshake, and a whole sendall.
                    sock.settimeout(seconds_left())
                except (OSError, MemoryError) as failure:
                    sock.close()
                    error = failure
                else:
                    return sock
        except (OSError, MemoryError) as failure:
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


class _HTTPPool(FastPath, urllib3.HTTPConnectionPool):
    ConnectionCls = DeadlineConnection  # pyright: ignore[reportAssignmentType]


class _HTTPSPool(FastPath, urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection  # pyright: ignore[reportAssignmentType]


#: As many connections as threads; a smaller pool closes and opens one for every call of the threads beyond it.
_THREADS = 256
_ORIGINS = 1000
_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class Adapter(HTTPAdapter):
    """requests' adapter with our connections; it keeps the pool of each origin, whose settings never change here.

    `full`: it returns complete requests.Responses, for the hooks and cookies of a caller's session.
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
        self._leave_the_parents()
        url = str(request.url)
        origin = origin_of(url)
        pool = self._pools.get(origin)
        if pool is None:
            pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            super().cert_verify(pool, url, verify, cert)  # type: ignore[no-untyped-call]
            self._pools[origin] = pool
            if isinstance(pool, FastPath):
                pool.is_plain = not self._full
        return pool

    def _leave_the_parents(self) -> None:
        """After a fork have pools of this process, without closing those of its parent."""
        if self._pid != os.getpid():
            self._parents += [self.poolmanager, self.proxy_manager]
            self.proxy_manager = {}
            self.init_poolmanager(_ORIGINS, _THREADS)

    def close(self) -> None:
        self._leave_the_parents()
        # A pool that is closed fails the call of another thread that is about to take a connection from it. One that no
        # call uses any more closes its connections itself.
        self._pools = {}
        super().close()

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Done when the pool was made."""

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> Any:
        return super().build_response(req, resp) if self._full else LightResponse(req, resp)

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        return super().request_url(request, proxies) if proxies else request.path_url


def _addresses(host: str, port: int) -> list[Any]:
    """Return the addresses of `host`; a look-up cannot be stopped, so it has a thread that may be left behind."""
    found: list[Any] = []

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)
        except MemoryError:
            found.append(OSError(errno.ENOMEM, "there is no memory to look its name up"))
        finally:
            is_over.set()

    try:
        is_over = threading.Event()
        # threading.Thread.start would wait for ever for a thread that has no memory to begin (seen 2026-11-27, 3.11).
        start_new_thread(look_up, ())
    except (RuntimeError, MemoryError) as error:
        raise OSError(errno.EAGAIN, "there is no thread to look its name up") from error
    if not is_over.wait(seconds_left()):
        raise TimeoutError
    if isinstance(found[0], OSError):
        raise found[0]
    if isinstance(found[0], UnicodeError):
        raise socket.gaierror(socket.EAI_NONAME, "no host name")
    return list(found[0])


def _permitted(addresses: list[Any]) -> list[Any]:
    """Return the addresses that the call may connect to. Raises PermissionError when there is none.

    What is connected to is what was looked at: the name is not looked up a second time.
    """
    may_connect = call_state.may_connect
    if may_connect is None:
        return addresses
    permitted = [each for each in addresses if may_connect(each[4][0])]
    if not permitted:
        shown = ", ".join(sorted({str(each[4][0]) for each in addresses}))
        raise PermissionError(errno.EPERM, f"it may not be connected to at {shown}")
    return permitted


class Headers(dict[str, str]):
    """The headers of a request: a dict, for urllib3 copies it at every call, but names are looked up in any case."""

    def __missing__(self, name: str) -> str:
        for known, value in self.items():
            if known.lower() == name.lower():
                return value
        raise KeyError(name)


class LightResponse:
    """The part of a requests.Response that is needed here; making the whole of one takes a tenth of a call."""

    def __init__(self, request: requests.PreparedRequest, raw: urllib3.HTTPResponse) -> None:
        self.request = request
        self.raw = raw
        self.status_code = raw.status
        self.headers = raw.headers
        self.close = raw.close

    def iter_content(self, size: int) -> Iterator[bytes]:
        return self.raw.stream(size, decode_content=True)


def read_body(response: requests.Response | LightResponse) -> bytes:
    """Return the body, decompressed. Raises ProtocolError when it is too big."""
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


def origin_of(url: str) -> str:
    """Return scheme, host and port of `url`."""
    return "/".join(url.split("/", 3)[:3])
