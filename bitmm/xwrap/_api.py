"""One server: how it is asked, how often, and what becomes of an order whose answer is lost."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Literal, TypeVar

from . import __version__
from ._arguments import check_key, check_timeout, encode, idempotency_key
from ._parsing import CONDITIONS, anything
from ._records import load
from ._responses import apply, bad_answer, name_request, read_document
from .errors import APIError, InvalidRequest, NotFound, OutcomeUnknown, RateLimited, Unavailable
from .transport import Request, Response, Session, Transport, base_url

__all__ = ["EXPECTED", "JSON_HEADERS", "LOOKUP_SHARE", "SENDS", "ServerAPI", "Submission", "names_key"]

_T = TypeVar("_T")

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate", "User-Agent": f"bitmm/{__version__}"}
_FORM_HEADERS = {**_HEADERS, "Content-Type": "application/x-www-form-urlencoded"}
JSON_HEADERS = {**_HEADERS, "Content-Type": "application/json"}
#: How often a read is sent at most.
_READS = 3
#: How often an order is sent at most, each time but the first after the server said that it never saw the key.
SENDS = 3
#: The share of the deadline that is kept for looking up what became of an order.
LOOKUP_SHARE = 0.2
#: Seconds between two look-ups of an order that is still running.
_LOOKUP_PAUSE = 0.2
_ANYTHING: Mapping[str, object] = {}
#: What the record of an order or a send must have beside what was sent. None: what is not sent is not there.
EXPECTED: Mapping[str, Mapping[str, object]] = {
    "buy": {"side": "buy", "price": None, "cost": None, **dict.fromkeys(CONDITIONS)},
    "sell": {"side": "sell", "price": None, "cost": None, **dict.fromkeys(CONDITIONS)},
    "send_to_address": {"tag": None},
    "transfer": {"tag": None},
}


class Submission:
    """An order or a send: the request, its key, the fields that its record must have, and where that is looked up."""

    def __init__(
        self,
        request: Request,
        key: str,
        expected: Mapping[str, object],
        records: str,
        auth: Mapping[str, str],
        deadline: float,
    ) -> None:
        self.request = request
        self.key = key
        self.expected = expected
        self.records = records
        self.auth = auth
        self.deadline = deadline

    def __repr__(self) -> str:
        """Return the repr of the request, which shows no credentials: tools that print local variables use it."""
        return f"<Submission {self.request!r}>"


class ServerAPI:
    """One server: where it is, how reads are repeated, and how orders are not.

    A `parse` turns the document of an answer into what is returned; it raises ValueError when it is not that.
    `expected` are fields that the document must have as they are there, where it has them. A copy, also a pickled one,
    has connections of its own; a caller's session is copied with it.
    """

    def __init__(self, baseurl: str | None, *, timeout: float, session: Session | None, insecure: bool) -> None:
        self.__setstate__((_server_url(baseurl, insecure=insecure), check_timeout(timeout), session))

    def __getstate__(self) -> tuple[str, float, Session | None]:
        return self.url, self._timeout, self._session

    def __setstate__(self, state: tuple[str, float, Session | None]) -> None:
        load()
        self.url, self._timeout, self._session = state
        self._transport = Transport(timeout=self._timeout, session=self._session)

    @property
    def timeout(self) -> float:
        """Return the seconds that a whole call may take."""
        return self._timeout

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._transport.close()

    def get(
        self,
        path: str,
        parse: Callable[[Any], _T],
        auth: Mapping[str, str] | None = None,
        *,
        expected: Mapping[str, object] = _ANYTHING,
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
                with name_request(response):
                    return apply(parse, read_document(response), status=response.status, expected=expected)
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
        expected: Mapping[str, object],
        method: Literal["POST", "PUT", "PATCH"] = "POST",
    ) -> _T:
        """POST (or PUT, or PATCH) `form` to `path`, once, and return what `parse` makes of the answer."""
        request = Request(method, self.url + path, {**_FORM_HEADERS, **auth}, encode(form).encode())
        response = self._transport.send(request)
        with name_request(response):
            document = read_document(response, mutates=True)
            return apply(parse, document, status=response.status, mutates=True, expected=expected)

    def try_out(
        self,
        path: str,
        operation: Literal["buy", "sell"],
        form: Mapping[str, str],
        parse: Callable[[Any], _T],
        auth: Mapping[str, str],
    ) -> _T:
        """POST the `form` of an order that is to be checked only, once, and return what `parse` makes of the answer.

        An answer that is none of a dry run is OutcomeUnknown: a server that does not know dry runs placed the order.
        """
        body = encode({**form, "dry_run": "true"}).encode()
        response = self._transport.send(
            Request("POST", f"{self.url}{path}/{operation}", {**_FORM_HEADERS, **auth}, body)
        )
        # Without a limit its price is an estimate.
        expected = {**EXPECTED[operation], **form}
        if "price" not in form:
            expected.pop("price", None)
        with name_request(response):
            document = read_document(response)
            return apply(parse, document, status=response.status, mutates=True, expected=expected)

    def delete(
        self,
        path: str,
        parse: Callable[[Any], _T],
        auth: Mapping[str, str],
        *,
        expected: Mapping[str, object] = _ANYTHING,
    ) -> _T:
        """DELETE `path`, once, and return what `parse` makes of the answer."""
        response = self._transport.send(Request("DELETE", self.url + path, {**_HEADERS, **auth}))
        with name_request(response):
            document = read_document(response, mutates=True)
            return apply(parse, document, status=response.status, mutates=True, expected=expected)

    def look_up(self, path: str, key: str, parse: Callable[[Any], _T], auth: Mapping[str, str]) -> _T:
        """Return what became of an order or a send by its `key`, from the list of records at `path`.

        While it is still running its end is waited for. Raises NotFound (`no_such_key`), and OutcomeUnknown when it
        still runs at the end of the timeout, or when the server cannot say. An error carries the key.
        """
        key = check_key(key)
        try:
            document = self._look_up(path, key, auth, monotonic() + self._timeout)
            if not names_key(document):
                raise bad_answer(ValueError("it does not name the key"), 200, mutates=False)
            return apply(parse, document, expected={"key": key})
        except APIError as error:
            failure = error
            if error.code in {"still_running", "outcome_unknown"}:
                failure = OutcomeUnknown(error.reason, status=error.status, code=error.code)
            elif isinstance(error, NotFound) and error.code is None:
                # A server of 2013. That it was never executed is not what this means.
                failure = APIError(
                    "this server cannot be asked what became of a key", status=error.status, code="unsupported"
                )
            failure.key, failure.request_id = key, error.request_id
            raise failure from error.__cause__

    def send(self, request: Request, *, timeout: float) -> Response:
        """Send a request once, and return the answer to it."""
        return self._transport.send(request, timeout=timeout)

    def submit(
        self,
        path: str,
        operation: str,
        form: Mapping[str, str],
        parse: Callable[[Any], _T],
        auth: Mapping[str, str],
        *,
        key: str | None,
        expected: Mapping[str, object] | None = None,
    ) -> _T:
        """POST the `form` of an order or a send of the registration at `path`, and return what became of it.

        `expected`: fields that its record must have, None: those of the form and of the `operation`.

        `key`: its idempotency key, a random one for None; an error of the sending, or after it, carries it, and so
        does, in a note, whatever else ends the call. When the answer is lost the key is looked up in the registration's
        list of orders or of withdrawals.
        """
        key = idempotency_key(key)
        record = "withdrawal" if operation in ("send_to_address", "transfer") else "order"
        try:
            headers = {**_FORM_HEADERS, **auth, "Idempotency-Key": key}
            submission = Submission(
                request=Request("POST", f"{self.url}{path}/{operation}", headers, encode(form).encode()),
                key=key,
                expected={**({**EXPECTED[operation], **form} if expected is None else expected), "key": key},
                records=f"{path}/{record}s/",
                auth=auth,
                deadline=monotonic() + self._timeout,
            )
            return self._submit(submission, parse)
        except APIError as error:
            error.key = key
            raise
        except BaseException as error:
            # Ctrl-C, for one.
            error.add_note(f"It may have been executed; backend.{record}(key={key!r}) says what became of it.")
            raise

    def _submit(self, submission: Submission, parse: Callable[[Any], _T]) -> _T:
        """Send, and when no answer names the key look the outcome up.

        Only after a server that knows keys said that it never saw this one is the same request sent again.
        """
        unknown: OutcomeUnknown | None = None
        sends = 0
        while True:
            sends += 1
            left = submission.deadline - monotonic() - LOOKUP_SHARE * self._timeout
            document = None
            try:
                response = self._transport.send(submission.request, timeout=left)
                with name_request(response):
                    document = read_document(response, mutates=True)
                    if names_key(document):
                        return _apply(parse, document, submission)
                    raise bad_answer(ValueError("it does not name the key"), response.status, mutates=True)
            except OutcomeUnknown as error:
                if error.code == "outcome_unknown":
                    raise
                problem: APIError = error
            except (Unavailable, RateLimited) as error:
                if unknown is None:
                    raise
                # This time it was certainly not executed; the outcome of the time before stays unknown.
                raise unknown from error
            words = f"outcome unknown, ask for the key before trying again: {problem.reason}"
            unknown = OutcomeUnknown(words, status=problem.status, code=problem.code, request_id=problem.request_id)
            result = self.find_out(submission, parse, document, unknown)
            if result is not None:
                return result
            if sends == SENDS:
                raise unknown

    def find_out(
        self, submission: Submission, parse: Callable[[Any], _T], document: Any, unknown: OutcomeUnknown
    ) -> _T | None:
        """Return what the server knows of an order or a send, None when it knows keys and never saw this one.

        `document`: the answer that does not name the key, if any. Raises `unknown` when the server cannot say, and
        APIError for an order that was archived.
        """
        try:
            found = self._look_up(submission.records, submission.key, submission.auth, submission.deadline)
        except APIError as error:
            if error.code == "no_such_key":
                return None
            if error.code == "order_archived":
                raise
            if document is not None and isinstance(error, NotFound) and error.code is None:
                # A server of 2013 knows no keys, so its answers name none.
                return _apply(parse, document, submission)
            raise unknown from error
        if not names_key(found):
            raise unknown
        return _apply(parse, found, submission)

    def _look_up(self, path: str, key: str, auth: Mapping[str, str], deadline: float) -> Any:
        """Return what the server knows of an order or a send; while it is still running, wait for its end."""
        path = f"{path}?{encode({'key': key})}"
        while True:
            try:
                return self.get(path, anything, auth, deadline=deadline)
            except APIError as error:
                if error.code != "still_running" or monotonic() + _LOOKUP_PAUSE >= deadline:
                    raise
            time.sleep(_LOOKUP_PAUSE)


def _server_url(baseurl: str | None, *, insecure: bool) -> str:
    """Return the address of the server: `baseurl`, else XWRAP_URL, else this machine. Raises InvalidRequest."""
    given = baseurl or os.environ.get("XWRAP_URL") or "http://localhost:8000"
    try:
        return base_url(given, insecure=insecure or os.environ.get("XWRAP_INSECURE") == "1")
    except InvalidRequest as error:
        source = "" if baseurl else "XWRAP_URL: "
        way = ", or pass insecure=True, or set XWRAP_INSECURE=1" if error.code == "insecure_url" else ""
        raise InvalidRequest(f"{source}{error.reason}{way}", code=error.code) from None


def names_key(document: Any) -> bool:
    """Return whether a document is the record of an order or a send that has a key."""
    return isinstance(document, dict) and document.get("key") is not None


def _apply(parse: Callable[[Any], _T], document: Any, submission: Submission) -> _T:
    return apply(parse, document, mutates=True, expected=submission.expected, executes=True)
