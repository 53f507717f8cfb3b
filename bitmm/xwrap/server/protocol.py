"""HTTP/1.1 with bounds: what is too large, too slow or malformed is refused before uvicorn's protocol sees it.

A head is gathered here, and handed on when it is complete, well-formed and within its bounds. Of a body no more is read
than comes along with the head until the application asks for it, which it does after the login. One request is handed
on at a time; what follows it on the connection waits, and is dropped when the request is refused.

An answer that is to be late (`problems.DELAY`) waits here, when its call is over: a connection that waits has neither a
task nor a request.
"""

from __future__ import annotations

import json
from asyncio import AbstractEventLoop, BaseTransport, BufferedProtocol, TimerHandle, Transport, get_running_loop
from functools import partial
from math import inf
from typing import Any, cast

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.protocols.utils import get_remote_addr
from uvicorn.server import ServerState

from .bodies import Chunks, Sized
from .callers import plain_address
from .connections import REASONS, Connections, Reason
from .heads import RefusedError, check_head, take_head
from .http_protocol import HttpProtocol

__all__ = ["BoundedProtocol"]

#: After a refusal what the caller still sends is read and dropped for a while: to close a connection while bytes come
#: in resets it, and the answer may be lost (RFC 9112, 9.6).
_LINGER_SECONDS, _LINGER_BYTES = 2.0, 256 * 1024
#: So late is the answer to a call that is refused because too many wait for their bodies.
_REFUSED_BODY_SECONDS = 5.0


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
        self._server_state = server_state
        #: uvicorn's protocol, which is made with the first request: an idle connection takes half the memory without.
        self._http: HttpProtocol | None = None
        self._make_http = partial(HttpProtocol, config, server_state, app_state, self._loop)
        self._transport: Transport
        #: The address at the other end.
        self.peer = ""
        #: What came in and was not handed on yet: a part of a head, or what follows the request that is answered.
        self._received = bytearray()
        #: The body of which more is to come.
        self._body: Sized | Chunks | None = None
        self._has_call = False
        #: An answer that is held back, what sends it, and whether the connection is closed after it.
        self._late_answer: bytearray | None = None
        self._late_timer: TimerHandle | None = None
        self._closes_after = False
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
        self._server_state.connections.add(self)  # type: ignore[arg-type]
        host, _port = get_remote_addr(self._transport) or ("", 0)
        self.peer = plain_address(host)
        if reason := self._connections.add(self, self._loop):
            self._refuse(reason, linger=False)
        else:
            self._wait_for_request(self._settings.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; a call that runs is not interrupted."""
        self._is_closing = True
        self._connections.remove(self)
        self._server_state.connections.discard(self)
        if self._http is not None:
            self._http.report_end()
        self._drop_http(exc)
        if self._late_timer is not None:
            self._late_timer.cancel()

    def shutdown(self) -> None:
        """Close the connection because the server stops; after the answer to a call that runs."""
        self._closes_after = True
        if self._late_answer is not None:
            self._send_late_answer()
        elif self._has_call and not self._is_closing:
            self._active_http.cycle.keep_alive = False
        else:
            self.close()

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
        if self._has_call and not self._body and not self._is_closing:
            self._closes_after = True
            if self._late_answer is None:
                self._active_http.cycle.keep_alive = False
                self._active_http.report_end()
            return True
        return False

    def pause_writing(self) -> None:
        """Let the application wait until the caller has taken the answer so far."""
        if self._http is not None:
            self._http.pause_writing()

    def resume_writing(self) -> None:
        """Let the application go on."""
        if self._http is not None:
            self._http.resume_writing()

    # The transport of uvicorn's protocol.

    def get_extra_info(self, name: str) -> Any:
        """Return what is known about the connection."""
        return self._transport.get_extra_info(name)

    def write(self, data: bytes) -> None:
        """Send a part of an answer, or hold it back until its time."""
        if self._late_answer is not None:
            self._late_answer += data
        elif delay := self._active_http.delay():
            self._hold_back(data, delay)
        else:
            self._transport.write(data)

    def _hold_back(self, answer: bytes, seconds: float) -> None:
        self._late_answer, self._deadline = bytearray(answer), inf
        self._late_timer = self._loop.call_later(seconds, self._send_late_answer)

    def _send_late_answer(self) -> None:
        answer, self._late_answer = self._late_answer, None
        if answer is None or self.is_closing():
            return
        self._transport.write(answer)
        if self._closes_after:
            self.close()
        else:
            self.end_call()

    def is_closing(self) -> bool:
        """Return whether no further request is taken."""
        return self._is_closing or self._transport.is_closing()

    def pause_reading(self) -> None:
        """Read nothing more for now."""
        if not self._is_closing:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on: the application asks for the body, or waits for the next request."""
        if self._body:
            self._deadline = min(self._deadline, self._loop.time() + self._settings.body_seconds)
            self._connections.set_awaited(self)
        if not self._is_closing:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close the connection after what was written; a body that nobody asked for is dropped."""
        if self._late_answer is not None:
            self._closes_after = True
            self._drop_http(None)  # No further request is parsed, and thousands may wait.
        else:
            self._close(linger=self._body is not None)

    # What `Connections` asks for.

    def displace(self) -> None:
        """Close it for another one; it has no call in progress."""
        self._refuse("displaced", linger=False)

    def refuse_body(self) -> None:
        """Refuse the call, whose body has not come whole: too many wait for theirs.

        The answer is late, so that whoever opens one connection after the other is slow.
        """
        name = "too_many_bodies"
        if self._active_http.has_answered():
            self._refuse(name)
            return
        self._connections.refuse(name, self.peer)
        self._connections.set_busy(self)
        self._transport.pause_reading()
        self._received.clear()
        self._closes_after = True
        self._hold_back(_answer(REASONS[name], self._server_state.default_headers), _REFUSED_BODY_SECONDS)
        self._active_http.end_call()
        self._drop_http(None)

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
            elif self._body:
                self._refuse("body_timeout")
            elif self._received:
                self._refuse("head_timeout")
            else:
                self._refuse("idle", linger=False)

    # One request after the other.

    def end_call(self) -> None:
        """Note that a request was answered, and take the next one."""
        if self._http is not None:  # None: the answer came before the whole body, and the connection closes.
            self._http.forget_call()
        if self._late_answer is not None or self.is_closing():
            return
        self._has_call = False
        self._wait_for_request(self._settings.idle_seconds)
        self._active_http.flow.resume_reading()
        if self._received:
            try:
                self._hand_on()
            except RefusedError as error:
                self._refuse(str(error))

    @property
    def _active_http(self) -> HttpProtocol:
        """uvicorn's protocol, which is there while a call runs."""
        return cast("HttpProtocol", self._http)

    def _wait_for_request(self, seconds: float) -> None:
        self._deadline = self._loop.time() + seconds
        self._connections.set_idle(self)

    def _hand_on(self) -> None:
        """Hand on what was received, as far as it may be: a head, or more of a body. Raises RefusedError."""
        if not self._has_call:
            self._hand_on_head()
        elif self._body:
            self._hand_on_body(self._body)
        elif self._http is None:
            self.pause_reading()  # no next request is taken after the late answer
        else:
            self._http.flow.pause_reading()  # the next request waits

    def _hand_on_head(self) -> None:
        head = take_head(self._received)
        if head is None:
            self._deadline = min(self._deadline, self._loop.time() + self._settings.head_seconds)
            self._connections.set_partial(self, len(self._received))
            return
        text, length = check_head(head)
        if self._http is None:
            self._http = self._make_http(self, is_proxy=self._connections.is_proxy(self.peer))
        self._http.take_head(text, has_body=length != 0)
        self._connections.set_busy(self)
        self._has_call, self._deadline = True, inf
        if length != 0:
            self._body = Chunks() if length is None else Sized(length)
            self._hand_on_body(self._body)
        if self._body or self._received:  # No more is read before the application asks for it.
            self._active_http.flow.pause_reading()

    def _hand_on_body(self, body: Sized | Chunks) -> None:
        part = body.pop(self._received)
        if body.is_complete:
            self._body, self._deadline = None, inf
            self._connections.set_busy(self)
        if part:
            self._active_http.take_body(part, is_complete=body.is_complete)
        # Without a part, as after a half line of a chunk, the application still waits for one.
        if part and (self._body or self._received):
            self._active_http.flow.pause_reading()

    def _refuse(self, name: str, *, linger: bool = True) -> None:
        """Refuse what was received, with the answer of a reason in `REASONS` where it has one."""
        self._connections.refuse(name, self.peer)
        has_begun = self._has_call and self._active_http.has_answered()
        if REASONS[name].status and not has_begun and not self._transport.is_closing():
            self._transport.write(_answer(REASONS[name], self._server_state.default_headers))
        if self._has_call and self._active_http.cycle is not None:
            self._active_http.end_call()
        self._close(linger=linger)

    def _close(self, *, linger: bool) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        self._connections.set_busy(self)
        self._received.clear()
        if not linger or self._transport.is_closing():
            self._transport.close()
            return
        self._drop_http(None)
        self._drop_left = _LINGER_BYTES
        self._deadline = self._loop.time() + _LINGER_SECONDS
        self._transport.write_eof()
        self._transport.resume_reading()

    def _drop_http(self, error: Exception | None) -> None:
        """Free the memory of what parsed requests; a call that runs sees that its caller is gone."""
        http, self._http = self._http, None
        if http is not None:
            http.connection_lost(error)  # It may call `close` again.


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
