"""What stands between the client and the real server: an HTTP server that passes on, and makes the planned faults."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from .exchanges.http_server import LocalServer
from .exchanges.messages import Reply, Request
from .faults import Faults

__all__ = ["Front"]

#: Headers of one connection, not of the answer; and those that are made anew.
_OF_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}
#: Longer than the server holds any call.
_SECONDS = 120.0
_FOREVER = 86400.0


class Front(LocalServer):
    """The URL of a server for the whole run of the tests, whichever process, port or fault is behind it."""

    def __init__(self, restart: Callable[[], None]) -> None:
        """Make a front without a server behind it; `restart` starts that anew."""
        super().__init__(port=0)
        #: The faults of the test that runs, which are those of the calls of its account, and of calls without a login.
        self.plan: Faults | None = None
        self.account = ""
        self.server_url = ""
        self._restart = restart

    def answer(self, request: Request) -> Reply:
        """Return the server's answer to a request. Raises ConnectionResetError when that is lost on its way."""
        plan = self.plan
        fault = plan.pop_for_request(request) if plan is not None and self._is_own(request) else None
        reply = self._pass_on(request)
        if fault is None:
            return reply
        if fault.kind == "slow":
            self.sleep(fault.seconds)
            return reply
        if fault.kind == "restart":
            self._restart()
        raise ConnectionResetError("the answer is lost, as the test wants it")

    def down(self, seconds: float | None = None) -> None:
        """Let no connection be made any more, and end those that there are, for so many seconds or until `up`."""
        self.up()
        self.fault("refused", seconds=_FOREVER if seconds is None else seconds)

    def up(self) -> None:
        """Accept connections again."""
        self.heal()

    def _is_own(self, request: Request) -> bool:
        kind, _, text = (request.headers["Authorization"] or "").partition(" ")
        if kind.lower() != "basic":
            return True
        try:
            username = base64.b64decode(text).decode().partition(":")[0]
        except ValueError:
            return False
        # A credential of the account is called "account/name".
        return username.partition("/")[0] == self.account

    def _pass_on(self, request: Request) -> Reply:
        with closing(HTTPConnection(urlsplit(self.server_url).netloc, timeout=_SECONDS)) as connection:
            try:
                connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
                for name, value in request.headers.items():
                    if name.lower() != "connection":
                        connection.putheader(name, value)
                connection.endheaders(request.body or None)
                response = connection.getresponse()
                body = response.read()
            except (OSError, HTTPException) as error:
                raise ConnectionResetError("the server ended the connection") from error
        headers = {name: value for name, value in response.getheaders() if name.lower() not in _OF_CONNECTION}
        return Reply(response.status, body, headers)
