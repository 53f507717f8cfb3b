"""The plain case of a call, without the parts of urllib3 and http.client that cost the most.

`FastPath` sends a request in one piece on a connection that is open, and reads an answer that has one Content-Length
and no encoding, and whose head fits the first piece that is received. Everything else is left to http.client, which
gets that piece first: what is refused, and what an odd answer means, stays its decision.

Nothing else depends on this: without this file the pools of `_http` have urllib3's own pools as their bases.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import urllib3

from ._deadline import seconds_left

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["CompleteAnswer", "FastPath"]

_PIECE = 64 * 1024
#: Up to 16 MiB; of a longer body not even the beginning is read.
_LENGTH = "[0-9]{1,7}|1[0-6][0-9]{6}"
#: At a control character http.client may end a line; it takes at most 100 lines.
_ANSWER_HEAD = rb"HTTP/1\.1 ([2-5][0-9]{2}) [\t -~\xa0-\xff]*\r\n((?:[!-9;-~]+:[\t -~\xa0-\xff]*\r\n){0,99})\r\n"
_REQUEST_HEAD = r"[A-Z]+ [!-~]+ HTTP/1\.1\r\n(?:[!-9;-~]+: [\t -~]*\r\n)+\r\n"
#: At the first call, and not at the import: it takes 0.2 ms (2026-11-28).
_compiled = cache(re.compile)
#: urllib3 sends these where they are not given.
_ADDED = {
    "accept-encoding": "Accept-Encoding: identity\r\n",
    "user-agent": f"User-Agent: python-urllib3/{urllib3.__version__}\r\n",  # type: ignore[attr-defined]
}
_PORTS = {"http": 80, "https": 443}


class FastPath(urllib3.HTTPConnectionPool):
    """A pool that reads plain answers itself, where `is_plain`: nothing but status, headers and body is looked at."""

    is_plain = False

    def urlopen(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Return a CompleteAnswer, or else a urllib3.HTTPResponse whose head was read."""
        request = _request_bytes(self, method, url, headers, body) if self.is_plain else None
        if request is None:
            return super().urlopen(method, url, body, headers, **options)
        conn: Any = self._get_conn()
        if conn.sock is None:
            # urllib3 connects, and sends the first request.
            self._put_conn(conn)
            return super().urlopen(method, url, body, headers, **options)
        try:
            conn.sock.settimeout(seconds_left())
            with suppress(BrokenPipeError):  # The answer may have been sent before the other side closed.
                conn.send(request)
            came = _receive(conn.sock)
            if isinstance(came, bytes):
                return _read_by_http_client(self, conn, came, method, url, body, headers)
            if came.is_last:
                conn.close()
        except BaseException:
            conn.close()
            self._put_conn(None)
            raise
        self._put_conn(conn)
        return came


def _request_bytes(
    pool: FastPath, method: str, url: str, headers: Mapping[str, str], body: str | bytes | None
) -> bytes | None:
    """Return the bytes that http.client would send; None: it decides whether and how it is sent."""
    names = {name.lower() for name in headers}
    if pool.proxy is not None or method == "HEAD" or "host" in names or (body and "content-length" not in names):
        return None
    host = f"[{pool.host}]" if ":" in pool.host else pool.host
    port = "" if pool.port in (None, _PORTS[pool.scheme]) else f":{pool.port}"
    added = "".join([line for name, line in _ADDED.items() if name not in names])
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    head = f"{method} {url} HTTP/1.1\r\nHost: {host}{port}\r\n{added}{lines}\r\n"
    if "%" in host or lines.count("\n") != len(headers) or not _compiled(_REQUEST_HEAD).fullmatch(head):
        return None
    if body is None:
        return None if method in ("POST", "PUT", "PATCH") else head.encode()
    return head.encode() + (body.encode() if isinstance(body, str) else body)


class CompleteAnswer:
    """An answer whose body was read. `is_last`: nothing that comes after it on its connection is another answer."""

    def __init__(self, status: int, headers: urllib3.HTTPHeaderDict, body: bytes, *, is_last: bool) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.is_last = is_last

    def stream(self, _size: int, decode_content: bool) -> Iterator[bytes]:
        """Yield the body."""
        yield self.body

    def close(self) -> None:
        """Done: its connection was given back."""


def _receive(sock: socket.socket) -> CompleteAnswer | bytes:
    """Return the answer that comes, or the first bytes of one that is not plain."""
    came = sock.recv(_PIECE)
    head = _compiled(_ANSWER_HEAD).match(came)
    if head is None:
        return came
    status = int(head[1])
    headers = urllib3.HTTPHeaderDict()
    for line in head[2].decode("latin-1").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        headers.add(name, value.lstrip(" \t"))
    length = headers.get("content-length", "")
    if status in (204, 304) or not _compiled(_LENGTH).fullmatch(length):
        return came
    if "transfer-encoding" in headers or "content-encoding" in headers:
        return came
    expected = int(length)
    rest = len(came) - head.end() - expected
    body = came[head.end() : head.end() + expected] if rest >= 0 else _read_on(sock, came[head.end() :], expected)
    return CompleteAnswer(status, headers, body, is_last=rest > 0 or "close" in headers.get("connection", "").lower())


def _read_on(sock: socket.socket, begun: bytes, length: int) -> bytes:
    """Return a body of this length whose first bytes have come. Raises IncompleteRead when it breaks off."""
    body = bytearray(begun)
    while len(body) < length:
        sock.settimeout(seconds_left())
        piece = sock.recv(min(length - len(body), 4 * _PIECE))
        if not piece:
            raise http.client.IncompleteRead(bytes(body), length - len(body))
        body += piece
    return bytes(body)


def _read_by_http_client(
    pool: FastPath, conn: Any, came: bytes, method: str, url: str, body: Any, headers: Any
) -> urllib3.BaseHTTPResponse:
    """Return the answer that begins with these bytes; it gives the connection back when its body was read."""
    sock = conn.sock
    conn.sock = _SentSocket(conn, came)
    conn.request(method, url, body, headers, preload_content=False, decode_content=False)
    answer: Any = conn.getresponse()
    if conn.sock is not None:
        conn.sock = sock
    answer._pool, answer._connection = pool, conn  # noqa: SLF001 - as urllib3's urlopen does
    return answer  # type: ignore[no-any-return]


class _SentSocket:
    """The socket of a connection on which the request was sent, and these bytes came."""

    def __init__(self, conn: Any, came: bytes) -> None:
        self._conn = conn
        self._sock = conn.sock
        self._came = came
        self.settimeout = self._sock.settimeout
        self.close = self._sock.close

    def sendall(self, data: bytes) -> None:
        """It was sent."""

    def makefile(self, mode: str, buffering: int) -> io.RawIOBase:
        return _BegunFile(self._sock.makefile(mode, buffering=buffering), self._came, self._conn)


class _BegunFile(io.RawIOBase):
    """The bytes that came, then those of the file. What came and was not read is the beginning of no other answer."""

    def __init__(self, file: io.RawIOBase, came: bytes, conn: Any) -> None:
        self._file = file
        self._came = came
        self._conn = conn

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        if not self._came:
            return self._file.readinto(buffer)
        view = memoryview(buffer)
        count = min(len(view), len(self._came))
        view[:count] = self._came[:count]
        self._came = self._came[count:]
        return count

    def close(self) -> None:
        if self._came:
            self._conn.close()
        self._file.close()
        super().close()
