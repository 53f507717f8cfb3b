"""HTTP/1.1 with bounds: what is too large, too slow or malformed is refused before uvicorn's protocol sees it.

A head is gathered here, and handed on when it is complete, well-formed and within its bounds. Of a body no more is read
than comes along with the head until the application asks for it, which it does after the login. One request is handed
on at a time; what follows it on the connection waits, and is dropped when the request is refused.
"""

from __future__ import annotations

import json
from asyncio import AbstractEventLoop, BaseTransport, BufferedProtocol, Transport, get_running_loop
from math import inf
from typing import Any, cast

from httptools import HttpParserError
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from .callers import caller_address, plain_address
from .connections import REASONS, Connections, Reason
from .heads import RefusedError, check_head, take_head

__all__ = ["BoundedProtocol"]

#: After a refusal what the caller still sends is read and dropped for a while: to close a connection while bytes come
#: in resets it, and the answer may be lost (RFC 9112, 9.6).
_LINGER_SECONDS, _LINGER_BYTES = 2.0, 256 * 1024


class BoundedProtocol(BufferedProtocol):
    """One connection. To the event loop it is the protocol, to uvicorn's protocol the transport."""

    def __init__(
        self,
        connections: Connections,
        *,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        self._connections = connections
        self._settings = connections.settings
        self.proxies = connections.settings.proxies
        self._loop = _loop or get_running_loop()
        self._http = _HttpProtocol(self, config, server_state, app_state, self._loop)
        self._transport: Transport
        #: The address at the other end.
        self.peer = ""
        #: What came in and was not handed on yet: a part of a head, or what follows the request that is answered.
        self._received = bytearray()
        self._body_left = 0
        self._has_call = False
        self._is_closing = False
        #: After a refusal so many bytes are still dropped.
        self._drop_left = 0
        #: The times of the event loop until which something must have come, and since which an answer is not taken.
        self._deadline = inf
        self._unsent_since = inf

    # The protocol of the event loop.

    def connection_made(self, transport: BaseTransport) -> None:
        """Take a new connection, or refuse it when there are too many."""
        self._transport = cast("Transport", transport)
        self._http.connection_made(self)  # type: ignore[arg-type]
        host, port = self._http.client or ("", 0)
        self.peer = plain_address(host)
        self._http.client = (self.peer, port)
        self._http.is_proxy = self._connections.is_proxy(self.peer)
        if reason := self._connections.add(self, self._loop):
            self._refuse(reason, linger=False)
        else:
            self._wait_for_request(self._settings.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; a call that runs is not interrupted."""
        self._is_closing = True
        self._connections.remove(self)
        self._http.connection_lost(exc)
        # Without the circle of references the memory is free at once.
        self._http = None  # type: ignore[assignment]

    def get_buffer(self, _size: int) -> memoryview:
        """Return where to read to. It is emptied before the next reading, so all connections share it."""
        return self._connections.buffer

    def buffer_updated(self, size: int) -> None:
        """Take what was read."""
        if self._is_closing:
            self._drop_left -= size
            if self._drop_left < 0:
                self._transport.close()
            return
        self._received += self._connections.buffer[:size]
        try:
            self._hand_on()
        except RefusedError as error:
            self._refuse(str(error))

    def eof_received(self) -> bool:
        """Return whether the connection stays open for the answer, although the caller sends nothing more."""
        if self._has_call and not self._body_left and not self._is_closing:
            self._http.cycle.keep_alive = False
            return True
        return False

    def pause_writing(self) -> None:
        """Let the application wait until the caller has taken the answer so far."""
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """Let the application go on."""
        self._http.resume_writing()

    # The transport of uvicorn's protocol.

    def get_extra_info(self, name: str) -> Any:
        """Return what is known about the connection."""
        return self._transport.get_extra_info(name)

    def write(self, data: bytes) -> None:
        """Send a part of an answer."""
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Return whether no further request is taken."""
        return self._is_closing or self._transport.is_closing()

    def pause_reading(self) -> None:
        """Read nothing more for now."""
        if not self._is_closing:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on: the application asks for the body, or waits for the next request."""
        if self._body_left:
            self._deadline = min(self._deadline, self._loop.time() + self._settings.body_seconds)
        if not self._is_closing:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close the connection after what was written; a body that nobody asked for is dropped."""
        self._close(linger=self._body_left > 0)

    # What `Connections` asks for.

    def displace(self) -> None:
        """Close it for another one; it has no call in progress."""
        self._refuse("displaced", linger=False)

    def check_time(self, now: float) -> None:
        """Close it when it has taken too long, with an answer where HTTP allows one."""
        if not self._transport.get_write_buffer_size():
            self._unsent_since = inf
        elif self._unsent_since == inf:
            self._unsent_since = now
        elif now - self._unsent_since > self._settings.answer_seconds:
            self._connections.refuse("answer_not_read", self.peer)
            self._transport.abort()
            return
        if now >= self._deadline:
            self._deadline = inf
            if self._is_closing:
                self._transport.close()
            elif self._body_left:
                self._refuse("body_timeout")
            elif self._received:
                self._refuse("head_timeout")
            else:
                self._refuse("idle", linger=False)

    # One request after the other.

    def end_call(self) -> None:
        """Note that a request was answered, and take the next one."""
        if self.is_closing():
            return
        self._has_call = False
        self._wait_for_request(self._settings.idle_seconds)
        self._http.flow.resume_reading()
        if self._received:
            try:
                self._hand_on()
            except RefusedError as error:
                self._refuse(str(error))

    def _wait_for_request(self, seconds: float) -> None:
        self._deadline = self._loop.time() + seconds
        self._connections.set_idle(self)

    def _hand_on(self) -> None:
        """Hand on what was received, as far as it may be: a head, or more of a body. Raises RefusedError."""
        if not self._has_call:
            self._hand_on_head()
        elif self._body_left:
            self._hand_on_body()
        else:
            self._http.flow.pause_reading()  # the next request waits

    def _hand_on_head(self) -> None:
        head = take_head(self._received)
        if head is None:
            self._deadline = min(self._deadline, self._loop.time() + self._settings.head_seconds)
            self._connections.set_partial(self, len(self._received))
            return
        head, body_length = check_head(head)
        self._http.take_head(head, has_body=body_length > 0)
        self._connections.set_busy(self)
        self._has_call, self._body_left, self._deadline = True, body_length, inf
        if body_length:
            self._hand_on_body()
        elif self._received:
            self._http.flow.pause_reading()

    def _hand_on_body(self) -> None:
        part = bytes(self._received[: self._body_left])
        del self._received[: len(part)]
        self._body_left -= len(part)
        if not self._body_left:
            self._deadline = inf
        if part:
            self._http.take_body(part, is_complete=not self._body_left)
        if self._body_left or self._received:
            self._http.flow.pause_reading()

    def _refuse(self, name: str, *, linger: bool = True) -> None:
        """Refuse what was received, with the answer of a reason in `REASONS` where it has one."""
        self._connections.refuse(name, self.peer)
        cycle = self._http.cycle
        has_begun = self._has_call and cycle is not None and cycle.response_started
        if REASONS[name].status and not has_begun and not self._transport.is_closing():
            self._transport.write(_answer(REASONS[name], self._http.server_state.default_headers))
        self._close(linger=linger)
        if self._has_call:
            self._http.end_call()

    def _close(self, *, linger: bool) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        self._connections.set_busy(self)
        self._received.clear()
        if not linger or self._transport.is_closing():
            self._transport.close()
            return
        self._drop_left = _LINGER_BYTES
        self._deadline = self._loop.time() + _LINGER_SECONDS
        self._transport.write_eof()
        self._transport.resume_reading()


class _HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which is given whole heads, and bodies of the length that they name."""

    def __init__(
        self,
        connection: BoundedProtocol,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: AbstractEventLoop,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._connection = connection
        self._proxies = connection.proxies
        #: Whether the connection is that of a proxy whose X-Forwarded-For is believed.
        self.is_proxy = False
        self._keep_alive = True

    def take_head(self, head: bytes, *, has_body: bool) -> None:
        """Parse a head and start its call. Raises RefusedError, and then no call is started."""
        try:
            self.parser.feed_data(head)
        except HttpParserError:
            raise RefusedError("malformed") from None
        if has_body:
            # Until all of it came, the connection cannot be used again after the answer.
            self._keep_alive, self.cycle.keep_alive = self.cycle.keep_alive, False

    def take_body(self, part: bytes, *, is_complete: bool) -> None:
        """Give the application a part of the body."""
        self.parser.feed_data(part)
        if is_complete and not self.cycle.response_started:
            self.cycle.keep_alive = self._keep_alive

    def end_call(self) -> None:
        """Let the application see that the caller is gone."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def on_headers_complete(self) -> None:
        """Start the call, with the address of the caller."""
        if self.is_proxy:
            forwarded = [value.decode("latin-1") for name, value in self.headers if name == b"x-forwarded-for"]
            self.scope["client"] = caller_address(self._connection.peer, forwarded, self._proxies), 0
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        self.server_state.total_requests += 1
        self._connection.end_call()


def _answer(reason: Reason, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return the whole answer to a refused request, after which the connection is closed."""
    problem = {
        "detail": reason.detail,
        "code": reason.code,
        "retryable": reason.retryable,
        "may_have_executed": False,
    }
    body = json.dumps(problem).encode()
    lines = [name + b": " + value for name, value in headers]
    lines += [
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"cache-control: no-store",
        b"x-content-type-options: nosniff",
        b"connection: close",
        b"",
        body,
    ]
    return STATUS_LINE[reason.status] + b"\r\n".join(lines)
