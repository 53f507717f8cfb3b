"""What ccxt sends its requests with: our transport in the place of a requests.Session."""

from __future__ import annotations

import io
import logging
from typing import Any
from urllib.parse import unquote_plus

import requests

from ...transport import Request, Transport
from ..errors import Refused
from ..http import retry_after, send, unknown_or_refused

__all__ = ["SessionAdapter"]


def _without_query(record: logging.LogRecord) -> bool:
    """Cut the query off the paths of a log record, and let it pass: a filter.

    urllib3 writes paths at DEBUG, and some exchanges are sent key and signature in the query.
    """
    if isinstance(record.args, tuple):
        record.args = tuple(a.partition("?")[0] if isinstance(a, str) else a for a in record.args)
    return True


logging.getLogger("urllib3.connectionpool").addFilter(_without_query)


class SessionAdapter:
    """What a ccxt object has in the place of a requests.Session: our transport, and a record of what went out.

    ccxt uses `headers`, `cookies`, `request` and `close` of a session. `base`: the address that requests must go to.
    """

    def __init__(self, name: str, base: str | None) -> None:
        self.headers: dict[str, str] = {}
        self.cookies: dict[str, str] = {}
        self.name = name
        self._base = None if base is None else str(requests.Request("GET", base).prepare().url).rstrip("/")
        self.start_call(None)

    def start_call(
        self, transport: Transport | None, *, mutates: bool = False, must_contain: str | None = None
    ) -> None:
        """Forget the last call. `must_contain`: text that no request but a GET may leave without."""
        self._transport = transport
        self._mutates = mutates
        self._must_contain = must_contain
        self._methods: list[str] = []
        self.status = 0
        self.retry_after = 0.0
        #: What was sent, to be kept out of the words of errors.
        self.sent = ""

    @property
    def has_sent(self) -> bool:
        """Whether a request of this call went out."""
        return bool(self._methods)

    @property
    def only_the_last_mutates(self) -> bool:
        """Whether no request of this call but the last one may have changed anything."""
        before = self._methods[:-1]
        return not before or (set(before) == {"GET"} and self._methods[-1] != "GET")

    def request(self, method: str, url: str, **given: Any) -> requests.Response:
        """Send one request and return its answer, as `requests.Session.request` would; a redirect is a failure.

        Raises Refused before it is sent when the address is not the administrator's, or the call's text is missing.
        """
        content = {name: given.get(name) for name in ("data", "headers", "files")}
        made = requests.Request(method, url, **content).prepare()
        body = made.body.encode() if isinstance(made.body, str) else made.body
        sent = " ".join([str(made.url), *map(str, made.headers.values()), (body or b"").decode(errors="replace")])
        if self._base is not None and not f"{made.url}/".startswith(f"{self._base}/"):
            raise Refused(f"{self.name}: ccxt knows an address that is not the administrator's", code="unsupported")
        if self._must_contain and method != "GET" and self._must_contain not in unquote_plus(sent):
            raise Refused(f"{self.name}: ccxt would send it without the tag", code="unsupported")
        if self._transport is None:
            raise Refused(f"{self.name}: no request belongs here", code="unsupported")
        self._methods.append(method)
        self.sent += sent
        self.status = 0
        request = Request(method, str(made.url), dict(made.headers), body)
        answer = send(self._transport, request, self.name, mutates=self._mutates)
        if 300 <= answer.status < 400:
            words = f"{self.name} sent the call elsewhere, and redirects are never followed"
            raise unknown_or_refused(words, mutates=self._mutates)
        self.status = answer.status
        self.retry_after = retry_after(answer, seconds=1.0)
        response = requests.Response()
        response.status_code, response.reason, response.url = answer.status, "", str(made.url)
        response.headers.update(answer.headers)
        response.raw = io.BytesIO(answer.body)
        return response

    def close(self) -> None:
        """Do nothing: the connections are the transport's."""
