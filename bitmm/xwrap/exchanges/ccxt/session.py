"""What ccxt sends its requests with: our transport in the place of a requests.Session."""

from __future__ import annotations

import base64
import io
import logging
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_plus

import requests

from ...transport import Request, Transport
from ..errors import ExchangeError, Refused, Unknown
from ..http import retry_after, send, unknown_or_refused

__all__ = ["MUTATES_BY_GET", "SessionAdapter"]

#: Classes of ccxt that place, cancel or send by a GET. At all others a GET executes nothing.
MUTATES_BY_GET = {"coinbaseinternational", "deribit", "dydx"}

#: A field of a form without a value, as some classes make it of the price of a market order (seen: BtcBox, Indodax).
_NO_VALUE = re.compile(r"=None(?=[&\s]|$)")


def _without_query(record: logging.LogRecord) -> bool:
    """Cut the query off the paths of a log record, and let it pass: a filter.

    urllib3 writes paths at DEBUG, and some exchanges are sent key and signature in the query.
    """
    if isinstance(record.args, tuple):
        record.args = tuple(a.partition("?")[0] if isinstance(a, str) else a for a in record.args)
    return True


logging.getLogger("urllib3.connectionpool").addFilter(_without_query)


def _is_part_of_a_read() -> bool:
    """Return whether ccxt makes this request in one of its unified reads: `load_markets`, `fetch_ticker` and so on.

    A call that places an order may make some before, and the request itself does not say what it is for; so the names
    of the calling frames are looked at, up to `Instance.call`.
    """
    frame = sys._getframe(2)  # noqa: SLF001 - the documented way to the caller's frame
    while frame is not None and frame.f_code.co_name != "call":
        if frame.f_code.co_name.startswith(("fetch_", "load_")):
            return True
        frame = frame.f_back  # type: ignore[assignment]  # None at the end
    return False


def _readable(header: tuple[str, str]) -> str:
    """Return the text of a header. Gemini's request is one: "X-GEMINI-PAYLOAD", in base64."""
    name, value = header
    if name.lower().endswith("-payload"):
        with suppress(ValueError):
            return base64.b64decode(value).decode(errors="replace")
    return str(value)


def _sent_before(words: str) -> Unknown:
    return Unknown(f"{words}; something was sent before")


class SessionAdapter:
    """What a ccxt object has in the place of a requests.Session: our transport, and a record of what went out.

    ccxt uses `headers`, `cookies`, `request` and `close` of a session. `id`: ccxt's name of the class. `base`: the
    address that requests must go to.
    """

    def __init__(self, id: str, name: str, base: str | None) -> None:
        self.headers: dict[str, str] = {}
        self.cookies: dict[str, str] = {}
        self.id = id
        self.name = name
        self._base = None if base is None else str(requests.Request("GET", base).prepare().url).rstrip("/")
        self.start_call(None)

    def start_call(
        self, transport: Transport | None, *, mutates: bool = False, must_contain: Sequence[str] = ()
    ) -> None:
        """Forget the last call. `must_contain`: texts that no request that may change something leaves without."""
        self._transport = transport
        self._mutates = mutates
        self._must_contain = must_contain
        #: Of each request of this call that went out, whether it may have changed anything.
        self._mutations: list[bool] = []
        self.status = 0
        self.retry_after = 0.0
        #: What was sent, to be kept out of the words of errors.
        self.sent = ""

    @property
    def has_sent(self) -> bool:
        """Whether a request of this call went out."""
        return bool(self._mutations)

    @property
    def may_have_executed(self) -> bool:
        """Whether a request of this call went out that may have changed anything."""
        return any(self._mutations)

    @property
    def only_the_last_mutates(self) -> bool:
        """Whether the last request of this call may have changed something, and none before it."""
        return self._mutations[-1:] == [True] and not any(self._mutations[:-1])

    def request(self, method: str, url: str, **given: Any) -> requests.Response:
        """Send one request and return its answer, as `requests.Session.request` would; a redirect is a failure.

        Raises Refused before it is sent when the address is not the administrator's, or a text of the call is missing.
        """
        content = {name: given.get(name) for name in ("data", "headers", "files")}
        made = requests.Request(method, url, **content).prepare()
        body = made.body.encode() if isinstance(made.body, str) else made.body
        sent = " ".join([str(made.url), *map(_readable, made.headers.items()), (body or b"").decode(errors="replace")])
        if self._base is not None and not f"{made.url}/".startswith(f"{self._base}/"):
            raise self._stopped("ccxt knows an address that is not the administrator's")
        mutates = self._mutates and (method != "GET" or self.id in MUTATES_BY_GET) and not _is_part_of_a_read()
        missing = [text for text in self._must_contain if text not in unquote_plus(sent)] if mutates else []
        if missing:
            raise self._stopped(f"ccxt would send it without {missing[0]!r}, which it has to contain")
        if mutates and _NO_VALUE.search(sent):
            raise self._stopped("ccxt would send the word None in the place of a price, so it has no such order")
        if self._transport is None:
            raise self._stopped("no request belongs here")
        executed_before = self.may_have_executed
        self._mutations.append(mutates)
        self.sent += sent
        self.status = 0
        request = Request(method, str(made.url), dict(made.headers), body)
        try:
            answer = send(self._transport, request, self.name, mutates=mutates)
        except Refused as refusal:
            raise _sent_before(refusal.reason) if executed_before else refusal from None
        if 300 <= answer.status < 400:
            words = f"{self.name} sent the call elsewhere, and redirects are never followed"
            raise unknown_or_refused(words, mutates=mutates or executed_before)
        self.status = answer.status
        self.retry_after = retry_after(answer, seconds=0.0)
        response = requests.Response()
        response.status_code, response.reason, response.url = answer.status, "", str(made.url)
        response.headers.update(answer.headers)
        response.raw = io.BytesIO(answer.body)
        return response

    def _stopped(self, words: str) -> ExchangeError:
        """Return the failure of a request that is not sent."""
        words = f"{self.name}: {words}"
        return _sent_before(words) if self.may_have_executed else Refused(words, code="unsupported")

    def close(self) -> None:
        """Do nothing: the connections are the transport's."""
