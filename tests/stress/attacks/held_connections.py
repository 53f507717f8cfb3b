"""Connections that are held: silent ones, heads that come slowly, bodies of which a half comes."""

from __future__ import annotations

import base64
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.stress.attacks import Attack, Target, in_threads, open_connection, status_of

__all__ = ["HALF_BODIES", "IDLE", "OWN_HALF_BODIES", "SLOW_HEADS"]

_HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
_BODY = 60_000


def _hold(
    first: Callable[[Target], bytes], drip: bytes
) -> Callable[[Target, int], AbstractContextManager[Counter[str]]]:
    """Return an attack by connections that send these first bytes and then, each second, a drip; what closes is
    opened anew.
    """

    @contextmanager
    def start(target: Target, size: int) -> Iterator[Counter[str]]:
        seen: Counter[str] = Counter()
        opened = [_open(target, number, first, seen) for number in range(size)]

        def keep_open(_number: int, stop: threading.Event) -> None:
            while not stop.wait(1.0):
                for number, connection in enumerate(opened):
                    if _is_closed(connection, drip, seen):
                        connection.close()
                        opened[number] = _open(target, number, first, seen)

        try:
            with in_threads(1, keep_open):
                yield seen
        finally:
            for connection in opened:
                connection.close()

    return start


def _open(target: Target, number: int, first: Callable[[Target], bytes], seen: Counter[str]) -> socket.socket:
    # From 100 connections on the next address.
    connection = open_connection(target, number // 100)
    connection.setblocking(False)
    seen["opened"] += 1
    try:
        connection.send(first(target))
    except OSError:
        seen["not taken"] += 1
    return connection


def _is_closed(connection: socket.socket, drip: bytes, seen: Counter[str]) -> bool:
    """Send the drip; return whether the server has closed the connection, and count its answer."""
    try:
        if drip:
            connection.send(drip)
        answer = connection.recv(100)
    except BlockingIOError:
        return False
    except OSError:
        answer = b""
    seen[status_of(answer)] += 1
    return True


def _half_body(target: Target, password: str) -> bytes:
    """A POST with this password, and a half of its body."""
    token = base64.b64encode(f"{target.user}:{password}".encode()).decode()
    lines = [
        f"POST /exchanges/{target.registration}/buy HTTP/1.1",
        "Host: localhost",
        f"Authorization: Basic {token}",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {_BODY}",
    ]
    return "\r\n".join([*lines, "", "x" * (_BODY // 2)]).encode()


IDLE = Attack("idle", "silent connections, 100 of an address", _hold(lambda _: b"", b""), 5000)
SLOW_HEADS = Attack("slow-heads", "heads of which a byte comes each second", _hold(lambda _: _HEAD, b"X"), 500)
HALF_BODIES = Attack(
    "half-bodies",
    "bodies of which a half comes, without the password",
    _hold(lambda target: _half_body(target, "wrong"), b""),
    2000,
)
OWN_HALF_BODIES = Attack(
    "own-half-bodies",
    "bodies of which a half comes, of another account with its password",
    _hold(lambda target: _half_body(target, target.password), b""),
    2000,
)
