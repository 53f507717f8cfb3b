"""The HTTP server of a local exchange, and the faults that can be switched on: no protocol, no trading."""

from __future__ import annotations

import re
import socket
import struct
import sys
import threading
import traceback
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from http.client import responses
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Self

from .messages import BAD_GATEWAY, Reply, Request

__all__ = ["FAULTS", "Fault", "LocalServer"]

#: kind -> what happens to the next `times` requests whose path contains `path` as whole words: "Withdraw" is a part of
#: "/0/private/Withdraw", not of "/0/private/WithdrawStatus"; "" is a part of every path. The method may stand before:
#: "POST /api/v1/order".
FAULTS = {
    "executed_but_timeout": "executed, never answered; the connection is closed after `seconds` (60)",
    "refused": "the port is closed for `seconds` (1); `times` and `path` mean nothing, for nothing arrives",
    "reset_before": "read, not executed, the connection is reset",
    "reset_after": "executed, the connection is reset",
    "slow": "executed, answered `seconds` (2) later",
    "drip": "executed, answered with one byte every `seconds` (1)",
    "cut": "executed, the connection ends in the middle of the answer",
    "html": "not executed, 502 with a page of HTML",
    "html_after": "executed, 502 with a page of HTML",
    "rate_limit": "not executed, refused as the exchange refuses it",
    "nonce": "not executed, refused as the exchange refuses it",
    "maintenance": "not executed, refused as the exchange refuses it",
    "delivered_twice": "the network delivers it twice: both are handled, the second answer comes back",
    "swapped": "handled after the next request to `path`, or `seconds` (5) later: the order of the two is exchanged",
}


@dataclass
class Fault:
    kind: str
    times: int
    path: str
    seconds: float | None

    def matches(self, path: str) -> bool:
        before = "(?<![A-Za-z0-9])" if self.path[:1].isalnum() else ""
        after = "(?![A-Za-z0-9])" if self.path[-1:].isalnum() else ""
        return re.search(before + re.escape(self.path) + after, path) is not None

    def wait(self, default: float) -> float:
        return default if self.seconds is None else self.seconds


class LocalServer:
    """A server on a port of loopback; a subclass says what is answered. `bugs` holds tracebacks of its own mistakes."""

    def __init__(self, port: int) -> None:
        self.requests: deque[Request] = deque(maxlen=100_000)
        self.faults: list[Fault] = []
        #: What lets the requests go on that "swapped" holds back, oldest first, and what each of them waits for.
        self.waiting: dict[threading.Event, Fault] = {}
        self.bugs: list[str] = []
        self.lock = threading.RLock()
        self._port = port
        self._server: _Server | None = None
        self._reopening: threading.Timer | None = None
        #: Bound and not listening while "refused" is on, so that no other process gets the port.
        self._held: socket.socket | None = None
        self._stopping = threading.Event()

    def answer(self, request: Request) -> Reply:
        """Execute one request."""
        raise NotImplementedError

    def fault_reply(self, kind: str, request: Request) -> Reply:
        """Return the answer to a request that meets the fault "rate_limit", "nonce" or "maintenance"."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._stopping.clear()
        self._listen()

    def stop(self) -> None:
        self._stopping.set()
        self.release()
        self._reopen()
        self._deafen()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
        if kind is None and self.bugs:
            raise AssertionError("the venue itself failed:\n" + "\n".join(self.bugs))

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than the server runs."""
        self._stopping.wait(seconds)

    def control(self, request: Request) -> Reply:
        """Answer a request under /_venue/."""
        if request.target == "/_venue/requests":
            with self.lock:
                return Reply.json([{"method": made.method, "target": made.target} for made in self.requests])
        if request.target == "/_venue/fault" and request.method == "POST":
            asked = request.json()
            if asked.get("kind") not in FAULTS:
                return Reply.json({"error": f"kind is one of {', '.join(FAULTS)}"}, 422)
            seconds = asked.get("seconds")
            self.fault(
                asked["kind"],
                times=asked.get("times", 1),
                path=asked.get("path", ""),
                seconds=None if seconds is None else float(seconds),
            )
            return Reply.json({})
        return Reply.json({"error": "not found"}, 404)

    def fault(self, kind: str, *, times: int = 1, path: str = "", seconds: float | None = None) -> None:
        """Switch a fault of `FAULTS` on for the next `times` requests to `path`."""
        if kind not in FAULTS:
            raise ValueError(f"no such fault: {kind}")
        if kind == "refused":
            self._refuse(1.0 if seconds is None else seconds)
        else:
            with self.lock:
                self.faults.append(Fault(kind, times, path, seconds))

    def heal(self) -> None:
        """Switch all faults off; listen again, and handle what is held back."""
        with self.lock:
            self.faults.clear()
        self.release()
        self._reopen()

    def take_fault(self, path: str) -> Fault | None:
        """The fault for a request, given as its method and path."""
        with self.lock:
            for fault in self.faults:
                if fault.matches(path):
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                    return fault
        return None

    def hold(self, fault: Fault) -> None:
        """Wait until another request that `fault` is meant for was handled, or its time is over."""
        handled = threading.Event()
        with self.lock:
            self.waiting[handled] = fault
        handled.wait(fault.wait(5))
        with self.lock:
            self.waiting.pop(handled, None)

    def release(self, path: str | None = None) -> None:
        """Let the held requests go on that wait for a request to `path`, given as its method and path; None: all."""
        with self.lock:
            for handled, fault in list(self.waiting.items()):
                if path is None or fault.matches(path):
                    del self.waiting[handled]
                    handled.set()

    def _listen(self) -> None:
        server = self._server = _Server(("127.0.0.1", self._port), _Connection)
        server.owner = self
        self._port = server.server_address[1]
        server.accepting.start()

    def _deafen(self) -> None:
        """Stop listening and end all connections, but not the one that asks for it."""
        with self.lock:
            server, self._server = self._server, None
        if server is not None:
            server.stop_accepting()
            server.cut_connections()

    def _refuse(self, seconds: float) -> None:
        self._deafen()
        with self.lock:
            self._held = socket.socket()
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._held.bind(("127.0.0.1", self._port))
            self._reopening = threading.Timer(seconds, self._reopen)
            self._reopening.daemon = True
            self._reopening.start()

    def _reopen(self) -> None:
        with self.lock:
            if self._reopening is not None and self._held is not None:
                self._reopening.cancel()
                self._reopening = None
                self._held.close()
                self._listen()


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256
    owner: LocalServer

    def __init__(self, *arguments: Any) -> None:
        self.connections: dict[socket.socket, int] = {}
        self.accepting = threading.Thread(target=self.accept, name="venue", daemon=True)
        super().__init__(*arguments)

    def accept(self) -> None:
        """Instead of `serve_forever`, which looks only now and then whether it is to stop."""
        while True:
            try:
                connection, address = self.get_request()
            except OSError:
                return
            self.process_request(connection, address)

    def stop_accepting(self) -> None:
        with suppress(OSError):  # where it is not allowed, closing wakes `accept`
            self.socket.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self.accepting.join(1)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self.connections[request] = threading.get_ident()
        super().process_request_thread(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.pop(request, None)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        for connection, thread in list(self.connections.items()):
            if thread != threading.get_ident():
                with suppress(OSError):  # it has just ended by itself
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no mistake of the venue."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            self.owner.bugs.append(traceback.format_exc())


class _Connection(BaseHTTPRequestHandler):
    """One keep-alive connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def serve(self) -> None:
        owner = self.server.owner
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        request = Request(self.command, path, query, self.headers, body)
        if path.startswith("/_venue/"):
            reply = owner.control(request)
            self.close_connection |= owner._server is not self.server  # "refused": nothing more arrives this way either
            self.reply(reply)
            return
        owner.requests.append(request)
        fault = owner.take_fault(f"{self.command} {path}")
        if fault is None:
            self.reply(self.execute(request))
        else:
            self.reply_with_fault(fault, request)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815 - the standard library calls them so

    def execute(self, request: Request) -> Reply:
        reply = self.server.owner.answer(request)
        self.server.owner.release(f"{request.method} {request.path}")
        return reply

    def reply_with_fault(self, fault: Fault, request: Request) -> None:
        owner, kind = self.server.owner, fault.kind
        if kind == "reset_before":
            self.reset()
            return
        if kind == "html":
            reply = BAD_GATEWAY
        elif kind in ("rate_limit", "nonce", "maintenance"):
            reply = owner.fault_reply(kind, request)
        else:
            if kind == "swapped":
                owner.hold(fault)
            elif kind == "delivered_twice":
                self.execute(request)
            reply = self.execute(request)
        if kind == "reset_after":
            self.reset()
        elif kind == "executed_but_timeout":
            owner.sleep(fault.wait(60))
            self.close_connection = True
        elif kind == "cut":
            self.reply(reply, cut=True)
        elif kind == "drip":
            self.drip(reply, fault.wait(1))
        else:
            if kind == "slow":
                owner.sleep(fault.wait(2))
            self.reply(BAD_GATEWAY if kind == "html_after" else reply)

    def wire(self, reply: Reply) -> bytes:
        headers = {"Content-Length": len(reply.body), **reply.headers}
        if self.close_connection:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, '')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + reply.body

    def reply(self, reply: Reply, *, cut: bool = False) -> None:
        wire = self.wire(reply)
        if cut:
            wire = wire[: len(wire) - len(reply.body) // 2 - 1]
            self.close_connection = True
        self.wfile.write(wire)

    def drip(self, reply: Reply, seconds: float) -> None:
        for byte in self.wire(reply):
            self.wfile.write(bytes([byte]))
            self.server.owner.sleep(seconds)
            if self.server.owner._stopping.is_set():
                break
        self.close_connection = True

    def reset(self) -> None:
        """End the connection with RST, not FIN: linger for no time, and let go of the last handle."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Quiet: requests are in `owner.requests`."""
