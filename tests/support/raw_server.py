"""A server on a raw socket whose answers are a script: for faults that no HTTP library can make.

with raw_server(lambda connection: connection.answer("{}")) as server:
    ...                                    # server.url; server.requests is what reached it
"""

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


class ReceivedRequest(NamedTuple):
    """A request that was read to its end."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Disconnected(Exception):
    """The client hung up, or the server is being closed."""


class Connection:
    """One connection of a client, for a script to answer on. `request` is the one that was just read."""

    def __init__(self, sock: socket.socket, closing: threading.Event) -> None:
        self.sock = sock
        self.closing = closing
        self.request = ReceivedRequest("", "", {}, b"")
        self.buffer = b""

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Disconnected from error

    def answer(self, body: bytes | str = b"", status: str = "200 OK", *headers: str) -> None:
        body = body.encode() if isinstance(body, str) else body
        lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def drip(self, data: bytes, pause: float = 0.05) -> None:
        """Send one byte at a time, with a pause in seconds after each."""
        for byte in data:
            self.send(bytes([byte]))
            self.wait(pause)

    def flood(self, data: bytes, times: int = 10**9, pause: float = 0) -> None:
        """Send the data again and again, with a pause in seconds after each time."""
        for _ in range(times):
            self.send(data)
            self.wait(pause)

    def wait(self, seconds: float = 3600) -> None:
        if self.closing.wait(seconds):
            raise Disconnected

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        raise Disconnected

    def hang_up(self) -> None:
        raise Disconnected

    def read(self) -> None:
        """Read the next request into `request`."""
        while b"\r\n\r\n" not in self.buffer:
            self._receive()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        while len(self.buffer) < length:
            self._receive()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        self.request = ReceivedRequest(method, path, headers, body)

    def _receive(self) -> None:
        try:
            data = self.sock.recv(65536)
        except OSError as error:
            raise Disconnected from error
        if not data:
            raise Disconnected
        self.buffer += data


Script = Callable[[Connection], None]


def answer_not_found(connection: Connection) -> None:
    """Answer as a server of 2013 does when it is asked for an order by its key."""
    connection.answer("<h1>Not Found</h1>", "404 Not Found", HTML)


class Server:
    """Run `script` for each request, `key_lookup` for one that asks for an order by its key, and `on_connect` before
    the first one is read. `certificate` is a name in tls/; without one it is plain HTTP.
    """

    def __init__(
        self,
        script: Script,
        *,
        key_lookup: Script = answer_not_found,
        on_connect: Script | None = None,
        certificate: str | None = None,
    ) -> None:
        self.script, self.key_lookup, self.on_connect = script, key_lookup, on_connect
        self.requests: list[ReceivedRequest] = []
        self.connections = 0
        self._closing = threading.Event()
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
        """How many of the requests were a POST."""
        return sum(request.method == "POST" for request in self.requests)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
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
            connection = Connection(sock, self._closing)
            if self.on_connect is not None:
                self.on_connect(connection)
            while True:
                connection.read()
                self.requests.append(connection.request)
                (self.key_lookup if "?key=" in connection.request.path else self.script)(connection)
        except (Disconnected, OSError):
            pass
        finally:
            sock.close()

    def close(self) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)


@contextmanager
def raw_server(script: Script, **options: object) -> Iterator[Server]:
    """Give a running Server; the options are its own."""
    server = Server(script, **options)
    try:
        yield server
    finally:
        server.close()
