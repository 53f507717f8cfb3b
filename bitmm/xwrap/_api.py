"""One server: how it is asked, how often, and what becomes of an order whose answer is lost."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Literal, NamedTuple, TypeVar

from . import __version__
from ._arguments import check_timeout, encode, idempotency_key
from ._parsing import anything
from ._responses import apply, read_document
from .errors import APIError, OutcomeUnknown, RateLimited, Unavailable
from .transport import Request, Session, Transport, base_url

__all__ = ["LOOKUP_SHARE", "ServerAPI"]

_T = TypeVar("_T")

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate", "User-Agent": f"bitmm/{__version__}"}
_FORM_HEADERS = {**_HEADERS, "Content-Type": "application/x-www-form-urlencoded"}
#: How often a read is sent at most.
_READS = 3
#: How often an order is sent at most, each time but the first after the server said that it never saw the key.
_SENDS = 3
#: The share of the deadline that is kept for looking up what became of an order.
LOOKUP_SHARE = 0.2
#: Seconds between two look-ups of an order that is still running.
_LOOKUP_PAUSE = 0.2


class _Submission(NamedTuple):
    """An order or a send: the request, the fields that its record must have, and the path to look that up at."""

    request: Request
    sent: Mapping[str, str]
    records: str
    auth: Mapping[str, str]
    deadline: float

    def __repr__(self) -> str:
        """Return the repr of the request, which shows no credentials: tools that print local variables use it."""
        return f"<Submission {self.request!r}>"


class ServerAPI:
    """One server: where it is, how reads are repeated, and how orders are not.

    A `parse` turns the document of an answer into what is returned; it raises ValueError when it is not that. A copy,
    also a pickled one, has connections of its own; a caller's session is copied with it.
    """

    def __init__(self, baseurl: str | None, *, timeout: float, session: Session | None, insecure: bool) -> None:
        url = base_url(baseurl or os.environ.get("XWRAP_URL") or "http://localhost:8000", insecure=insecure)
        self.__setstate__((url, check_timeout(timeout), session))

    def __getstate__(self) -> tuple[str, float, Session | None]:
        return self.url, self._timeout, self._session

    def __setstate__(self, state: tuple[str, float, Session | None]) -> None:
        self.url, self._timeout, self._session = state
        self._transport = Transport(timeout=self._timeout, session=self._session)

    def get(
        self,
        path: str,
        parse: Callable[[Any], _T],
        auth: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> _T:
        """GET `path` and return what `parse` makes of the answer; try again when none came or the server is busy.

        `deadline`: the end of the last try, of time.monotonic(); by default the timeout from now.
        """
        request = Request("GET", self.url + path, {**_HEADERS, **(auth or {})})
        deadline = monotonic() + self._timeout if deadline is None else deadline
        attempt = 1
        while True:
            try:
                response = self._transport.send(request, timeout=deadline - monotonic())
                return apply(parse, read_document(response), status=response.status)
            except OutcomeUnknown as error:
                # A read executes nothing.
                if error.code != "no_answer":
                    raise APIError(error.reason, code=error.code) from error
                failure: APIError = Unavailable(error.reason, code=error.code, retryable=True)
                failure.__cause__ = error
            except APIError as error:
                failure = error
            pause = failure.retry_after or random.uniform(0.05, 0.15) * 2**attempt  # noqa: S311 - jitter is no secret
            if not failure.retryable or attempt == _READS or monotonic() + 2 * pause >= deadline:
                raise failure
            time.sleep(pause)
            attempt += 1

    def post(
        self,
        path: str,
        form: Mapping[str, str],
        parse: Callable[[Any], _T],
        auth: Mapping[str, str],
        *,
        mutates: bool = True,
    ) -> _T:
        """POST `form` to `path`, once, and return what `parse` makes of the answer.

        `mutates`: it may execute something, so an answer that cannot be used is OutcomeUnknown.
        """
        request = Request("POST", self.url + path, {**_FORM_HEADERS, **auth}, encode(form).encode())
        response = self._transport.send(request)
        return apply(parse, read_document(response, mutates=mutates), status=response.status, mutates=mutates)

    def delete(self, path: str, parse: Callable[[Any], _T], auth: Mapping[str, str]) -> _T:
        """DELETE `path`, once, and return what `parse` makes of the answer."""
        response = self._transport.send(Request("DELETE", self.url + path, {**_HEADERS, **auth}))
        return apply(parse, read_document(response, mutates=True), status=response.status, mutates=True)

    def submit(
        self,
        path: str,
        operation: Literal["buy", "sell", "send_to_address"],
        form: Mapping[str, str],
        parse: Callable[[Any], _T],
        auth: Mapping[str, str],
        *,
        records: Literal["orders", "withdrawals"],
        key: str | None,
    ) -> _T:
        """POST the `form` of an order or a send of the registration at `path`, and return what became of it.

        `key`: its idempotency key, a random one for None; an error of the sending, or after it, carries it. When the
        answer is lost the key is looked up among the `records` of the registration.
        """
        key = idempotency_key(key)
        headers = {**_FORM_HEADERS, **auth, "Idempotency-Key": key}
        submission = _Submission(
            request=Request("POST", f"{self.url}{path}/{operation}", headers, encode(form).encode()),
            sent={**form, "side": operation, "key": key},
            records=f"{path}/{records}/",
            auth=auth,
            deadline=monotonic() + self._timeout,
        )
        try:
            return self._submit(submission, parse)
        except APIError as error:
            error.key = key
            raise

    def _submit(self, submission: _Submission, parse: Callable[[Any], _T]) -> _T:
        """Send, and when the answer is lost look the outcome up.

        Only after a server that knows keys said that it never saw this one is the same request sent again.
        """
        unknown: OutcomeUnknown | None = None
        sends = 0
        while True:
            sends += 1
            left = submission.deadline - monotonic() - LOOKUP_SHARE * self._timeout
            try:
                response = self._transport.send(submission.request, timeout=left)
                document = read_document(response, mutates=True)
                return apply(parse, document, status=response.status, mutates=True, sent=submission.sent)
            except OutcomeUnknown as error:
                if error.code == "outcome_unknown":
                    raise
                words = f"outcome unknown, ask for the key before trying again: {error.reason}"
                unknown = OutcomeUnknown(words, status=error.status, code=error.code)
            except (Unavailable, RateLimited) as error:
                if unknown is None:
                    raise
                # This time it was certainly not executed; the outcome of the time before stays unknown.
                raise unknown from error
            try:
                document = self._look_up(submission)
            except APIError as error:
                if error.code != "no_such_key" or sends == _SENDS:
                    raise unknown from error
            else:
                return apply(parse, document, mutates=True, sent=submission.sent)

    def _look_up(self, submission: _Submission) -> Any:
        """Return what the server knows of an order or a send; while it is still running, wait for its end."""
        path = f"{submission.records}?{encode({'key': submission.sent['key']})}"
        while True:
            try:
                return self.get(path, anything, submission.auth, submission.deadline)
            except APIError as error:
                if error.code != "still_running" or monotonic() + _LOOKUP_PAUSE >= submission.deadline:
                    raise
            time.sleep(_LOOKUP_PAUSE)
