"""A proxy in front of PostgreSQL that cuts the connection in the middle of a write, before or after it was done."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from sqlalchemy import make_url

__all__ = ["PostgresProxy"]

#: What the messages of a client that write begin with; the commands stand in them as plain text.
WRITES = re.compile(rb"COMMIT\0|INSERT INTO |UPDATE |DELETE FROM ")


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
        cut = threading.Event()
        thread = threading.Thread(target=_pass_on, args=(server, client, lambda _bytes: not cut.is_set()), daemon=True)
        thread.start()
        _pass_on(client, server, lambda received: self._let_through(received, cut))
        thread.join()
        server.close()
        client.close()

    def _let_through(self, received: bytes, cut: threading.Event) -> bool:
        """Return whether these bytes go on to PostgreSQL; when its answer is to be cut, `cut` is set."""
        with self._lock:
            if not self._left or not WRITES.search(received):
                return True
            self._left -= 1
            if self._left:
                return True
            cut.set()
            return self._when == "after"


def _pass_on(source: socket.socket, target: socket.socket, may_pass: Any) -> None:
    """Pass on what comes, until one side ends or `may_pass` refuses; then end both."""
    with suppress(OSError):
        while (received := source.recv(65536)) and may_pass(received):
            target.sendall(received)
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
