"""A proxy in front of PostgreSQL that cuts the connection in the middle of a write, before or after it was done."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from sqlalchemy import make_url

__all__ = ["PostgresProxy"]

#: What the statements that write begin with.
WRITES = re.compile(rb"COMMIT|INSERT INTO |UPDATE |DELETE FROM ")
#: The length and the first code of a message that has no letter; version 3 of the protocol, in its upper half, begins a
#: session (PostgreSQL documentation, "Message Formats": StartupMessage, SSLRequest, CancelRequest).
HEAD_OF_START = struct.Struct("!IH2x")
#: The letter of a message, and the length of what follows, which counts itself.
HEAD = struct.Struct("!cI")
VERSION = 3


class Messages:
    """The messages of one client of PostgreSQL, taken from pieces that may end within one."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_session = False
        #: The names of the prepared statements that write: a statement's text comes only when it is prepared.
        self._writing: set[bytes] = set()

    def add(self, piece: bytes) -> Iterator[tuple[bytes, bool]]:
        """Give each message that is whole now, and whether it executes a statement that writes."""
        self._rest += piece
        while len(self._rest) >= HEAD_OF_START.size or (self._is_session and len(self._rest) >= HEAD.size):
            length, code = self._length()
            if len(self._rest) < length:
                return
            message, self._rest = self._rest[:length], self._rest[length:]
            is_write = self._is_session and self._is_write(message)
            self._is_session = self._is_session or code == VERSION
            yield message, is_write

    def _length(self) -> tuple[int, int]:
        if not self._is_session:
            length, code = HEAD_OF_START.unpack_from(self._rest)
            return length, code
        return 1 + HEAD.unpack_from(self._rest)[1], VERSION

    def _is_write(self, message: bytes) -> bool:
        letter, fields = message[:1], message[HEAD.size :].split(b"\0", 2)
        if letter == b"P":  # Parse: the statement's name, its text
            self._writing.discard(fields[0])
            if WRITES.match(fields[1]):
                self._writing.add(fields[0])
        if letter == b"B":  # Bind: the portal's name, the statement's
            return fields[1] in self._writing
        return letter == b"Q" and WRITES.match(fields[0]) is not None  # Query: its text


class PostgresProxy:
    """Passes connections on to the server of `url`; its own URL, for the same data base, is `url`.

    The next connections that are cut are those of the n-th write from now on: see `cut`.
    """

    def __init__(self, url: str) -> None:
        target = make_url(url)
        self._target = (str(target.query.get("host") or target.host or "localhost"), target.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        port = self._listener.getsockname()[1]
        self.url = target.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
        self._lock = threading.Lock()
        self._left, self._when = 0, "before"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def cut(self, n: int, when: Literal["before", "after"]) -> None:
        """Cut the connection of the n-th write: before PostgreSQL gets it, or after, in place of its answer."""
        with self._lock:
            self._left, self._when = n, when

    def heal(self) -> bool:
        """Cut nothing more; return whether the n-th write had come."""
        with self._lock:
            had_come, self._left = self._left == 0, 0
        return had_come

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        host, port = self._target
        try:
            if host.startswith("/"):
                server: Any = socket.socket(socket.AF_UNIX)
                server.connect(f"{host}/.s.PGSQL.{port}")
            else:
                server = socket.create_connection((host, port))
        except OSError:
            client.close()
            return
        cut, messages = threading.Event(), Messages()

        def answer(piece: bytes) -> tuple[bytes, bool]:
            return (b"", False) if cut.is_set() else (piece, True)

        thread = threading.Thread(target=_pass_on, args=(server, client, answer), daemon=True)
        thread.start()
        _pass_on(client, server, lambda piece: self._let_through(piece, messages, cut))
        thread.join()
        server.close()
        client.close()

    def _let_through(self, piece: bytes, messages: Messages, cut: threading.Event) -> tuple[bytes, bool]:
        """Return what goes on to PostgreSQL and whether more may; when its answer is to be cut, `cut` is set."""
        passed = b""
        for message, is_write in messages.add(piece):
            if is_write and self._is_the_one():
                cut.set()
                if self._when == "before":
                    return passed, False
            passed += message
        return passed, True

    def _is_the_one(self) -> bool:
        """Count a write, and return whether it is the n-th."""
        with self._lock:
            if not self._left:
                return False
            self._left -= 1
            return not self._left


def _pass_on(source: socket.socket, target: socket.socket, filtered: Callable[[bytes], tuple[bytes, bool]]) -> None:
    """Pass on what comes, as `filtered` leaves it, until one side ends or nothing more may come; then end both."""
    goes_on = True
    with suppress(OSError):
        while goes_on and (piece := source.recv(65536)):
            passed, goes_on = filtered(piece)
            target.sendall(passed)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def postgres_proxy(url: str) -> Iterator[PostgresProxy]:
    proxy = PostgresProxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
