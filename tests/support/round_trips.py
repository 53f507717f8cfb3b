"""A proxy in front of PostgreSQL that counts how often a client waits for an answer.

A client waits after a simple query, after Sync and after Flush (PostgreSQL documentation, "Frontend/Backend Protocol"):
a pipeline of statements that ends with one Sync is one round trip.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import make_url

__all__ = ["RoundTrips", "counted"]

QUERY, SYNC, FLUSH = b"Q", b"S", b"H"


class RoundTrips:
    """Counts the round trips of all connections; `url` is that of the data base behind it."""

    def __init__(self, url: str) -> None:
        self._socket_path = f"{make_url(url).query['host']}/.s.PGSQL.5432"
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        port = self._listener.getsockname()[1]
        self.url = make_url(url).set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
        self._lock = threading.Lock()
        self.count = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def of(self, call: object, *, tries: int = 3) -> int:
        """The round trips of a call; what a server does by the clock beside it does not come every time."""
        found = []
        for _ in range(tries):
            before = self.count
            call()  # type: ignore[operator]
            found.append(self.count - before)
        return min(found)

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._socket_path)
            answers = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
            answers.start()
            with suppress(OSError, EOFError):
                server.sendall(_receive_message(client, typed=False))
                before = SYNC
                while True:
                    message = _receive_message(client)
                    kind = message[:1]
                    # A Flush right after a Sync has nothing of its own to wait for.
                    if kind in {QUERY, SYNC} or (kind == FLUSH and before != SYNC):
                        with self._lock:
                            self.count += 1
                    before = kind
                    server.sendall(message)
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            answers.join()


def _receive_message(client: socket.socket, *, typed: bool = True) -> bytes:
    head = _receive(client, 5 if typed else 4)
    return head + _receive(client, struct.unpack("!i", head[-4:])[0] - 4)


def _receive(client: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = client.recv(size - len(received))
        if not part:
            raise EOFError
        received += part
    return received


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while received := source.recv(65536):
            target.sendall(received)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def counted(url: str) -> Iterator[RoundTrips]:
    trips = RoundTrips(url)
    try:
        yield trips
    finally:
        trips.close()
