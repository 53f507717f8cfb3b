"""uvicorn's protocol, as a connection of `protocol` uses it: it parses requests, starts their calls, writes answers."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from typing import Any, Protocol, cast

from httptools import HttpParserError
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from .callers import Network, caller_address
from .heads import RefusedError
from .problems import DELAY, ON_END

__all__ = ["HttpProtocol"]


class Connection(Protocol):
    """What it is given: the transport of its answers, which hears when each one is complete."""

    peer: str
    proxies: tuple[Network, ...]

    def end_call(self) -> None:
        """Note that a request was answered, and take the next one."""


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which is given whole heads, and bodies framed as they say."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: AbstractEventLoop,
        connection: Connection,
        *,
        is_proxy: bool,
    ) -> None:
        """`is_proxy`: the connection is that of a proxy whose X-Forwarded-For is believed."""
        super().__init__(config, server_state, app_state, loop)
        self._connection = connection
        self._is_proxy = is_proxy
        self._keep_alive = True
        self.connection_made(connection)  # type: ignore[arg-type]
        # The server knows the connection itself, which it stops.
        self.connections.discard(self)
        _host, port = self.client or ("", 0)
        self.client = connection.peer, port
        self._application = self.app
        self.app = self._run

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the application, unless the request was refused since its call was started."""
        if not self.cycle.disconnected:
            await self._application(scope, receive, send)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the application see that the caller is gone."""
        super().connection_lost(exc)
        # Without the circle of references the memory is free at once.
        self.app = self._application

    def take_head(self, head: bytes, *, has_body: bool) -> None:
        """Parse a head and start its call. Raises RefusedError, and then the application does not see it."""
        try:
            self.parser.feed_data(head)
        except HttpParserError:
            # The parser looks at some fields only after it has started the call.
            if self.cycle is not None:
                self.end_call()
            raise RefusedError("malformed") from None
        if has_body:
            # Until all of it came, the connection cannot be used again after the answer.
            self._keep_alive, self.cycle.keep_alive = self.cycle.keep_alive, False

    def take_body(self, part: bytes, *, is_complete: bool) -> None:
        """Give the application a part of the body, framed as the head says."""
        self.parser.feed_data(part)
        if is_complete and not self.cycle.response_started:
            self.cycle.keep_alive = self._keep_alive

    def has_answered(self) -> bool:
        """Return whether an answer to the call was begun."""
        return self.cycle is None or self.cycle.response_started

    def delay(self) -> float:
        """Return for how many seconds the answer that begins now is held back."""
        return cast("float", self.scope.get(DELAY, 0.0))

    def report_end(self) -> None:
        """Tell a call that waits that its caller is gone, or sends nothing more: that may be the same."""
        if self.scope is not None and (report := cast("Any", self.scope.get(ON_END))):
            report()

    def forget_call(self) -> None:
        """Free the memory of a call that is over."""
        self.cycle = self.scope = self.headers = None  # type: ignore[assignment]

    def end_call(self) -> None:
        """Let the application see that the caller is gone."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def on_headers_complete(self) -> None:
        """Start the call, with the address of the caller."""
        if self._is_proxy:
            forwarded = [value.decode("latin-1") for name, value in self.headers if name == b"x-forwarded-for"]
            self.scope["client"] = caller_address(self._connection.peer, forwarded, self._connection.proxies), 0
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        self.server_state.total_requests += 1
        self._connection.end_call()
