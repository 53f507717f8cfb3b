"""A server on a raw socket that plays one fault on each connection, and remembers what reached it."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

TLS = Path(__file__).parent / "tls"

JSON = "Content-Type: application/json"
HTML = "Content-Type: text/html"


class Seen(NamedTuple):
    """A request that was read to its end."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Gone(Exception):
    """The client hung up, or the test is over."""


class Line:
    """One connection, as a fault plays on it. `seen` is the request that was just read."""

    def __init__(self, sock: socket.socket, over: threading.Event) -> None:
        self.sock = sock
        self.over = over
        self.seen = Seen("", "", {}, b"")
        self.buffer = b""

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone from error

    def answer(self, body: bytes | str = b"", status: str = "200 OK", *headers: str) -> None:
        body = body.encode() if isinstance(body, str) else body
        lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def drip(self, data: bytes, pause: float = 0.05) -> None:
        """One byte at a time, for ever if need be."""
        for byte in data:
            self.send(bytes([byte]))
            self.wait(pause)

    def flood(self, data: bytes, times: int = 10**9) -> None:
        for _ in range(times):
            self.send(data)
            self.wait(0)

    def wait(self, seconds: float = 3600) -> None:
        if self.over.wait(seconds):
            raise Gone

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        raise Gone

    def hang_up(self) -> None:
        raise Gone

    def read(self) -> None:
        """The next request, into `seen`."""
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        while len(self.buffer) < length:
            self._more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        self.seen = Seen(method, path, headers, body)

    def _more(self) -> None:
        try:
            data = self.sock.recv(65536)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        self.buffer += data


Play = Callable[[Line], None]


def not_here(line: Line) -> None:
    """How a server of 2013 answers a question about a key."""
    line.answer("<h1>Not Found</h1>", "404 Not Found", HTML)


class Server:
    """Plays `play` for every request but those about keys, which `record` answers; `early` plays before one is read."""

    def __init__(
        self, play: Play, *, record: Play = not_here, early: Play | None = None, certificate: str | None = None
    ) -> None:
        self.play, self.record, self.early = play, record, early
        self.seen: list[Seen] = []
        self.connections = 0
        self._over = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(TLS / f"{certificate}.pem", TLS / "key.pem")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self._start(self._accept)

    @property
    def posts(self) -> int:
        return sum(seen.method == "POST" for seen in self.seen)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(sock)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)
            line = Line(sock, self._over)
            if self.early is not None:
                self.early(line)
            while True:
                line.read()
                self.seen.append(line.seen)
                (self.record if "?key=" in line.seen.path else self.play)(line)
        except (Gone, OSError):
            pass
        finally:
            sock.close()

    def close(self) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)


@contextmanager
def serving(play: Play, **how: object) -> Iterator[Server]:
    server = Server(play, **how)
    try:
        yield server
    finally:
        server.close()
