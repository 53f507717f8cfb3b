"""What a response means: its document, parsed, or the error that it reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from . import _parsing as parsing
from ._retry_after import retry_after_seconds
from .errors import (
    APIError,
    AuthenticationError,
    InsufficientFunds,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    RateLimited,
    Unavailable,
)
from .transport import Response

__all__ = [
    "apply",
    "bad_answer",
    "error_from_response",
    "name_request",
    "outcome_unknown",
    "read_document",
    "request_id",
]

_T = TypeVar("_T")

#: The class of the error for a status; APIError for any other one.
_ERRORS: dict[int, type[APIError]] = {
    400: InvalidRequest,
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    405: InvalidRequest,
    408: Unavailable,
    411: InvalidRequest,
    413: InvalidRequest,
    414: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
    431: InvalidRequest,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
#: The class of the error where its code says more than the status.
_ERRORS_BY_CODE: dict[str, type[APIError]] = {
    "already_registered": InvalidRequest,
    "name_taken": InvalidRequest,
    "insufficient_funds": InsufficientFunds,
    "other_account": InvalidRequest,
}
_RETRYABLE = (429, 502, 503, 504)
_ANYTHING: Mapping[str, object] = {}
_LONGEST_ID = 100
_REDIRECT = "the server sent the call elsewhere, and redirects are never followed"


@contextmanager
def name_request(response: Response) -> Iterator[None]:
    """Give an error that is raised in the block the id that the server gave the call of this response, if it did."""
    try:
        yield
    except APIError as error:
        error.request_id = request_id(response)
        raise


def request_id(response: Response) -> str | None:
    """Return the id that the server gave the call of a response; None where it gave none."""
    id = response.headers.get("X-Request-ID", "")
    return id if 0 < len(id) <= _LONGEST_ID and id.isprintable() else None


def read_document(response: Response, *, mutates: bool = False) -> Any:
    """Return the JSON document of a successful response.

    `mutates`: it answers a request that may have executed something. Raises the error that the response reports, and
    `bad_answer` when it is not JSON.
    """
    document = problem = None
    try:
        document = response.json()
    except ValueError as error:
        problem = error
    if not 200 <= response.status < 300:
        raise error_from_response(response.status, document, response.headers.get("Retry-After"), mutates=mutates)
    if problem is not None:
        raise bad_answer(problem, response.status, mutates=mutates) from problem
    if mutates and response.status == 202:
        raise outcome_unknown(document)
    return document


def apply(
    parse: Callable[[Any], _T],
    document: Any,
    *,
    status: int = 200,
    mutates: bool = False,
    expected: Mapping[str, object] = _ANYTHING,
    executes: bool = False,
) -> _T:
    """Return what `parse` makes of the `document` of a successful response with this `status`.

    `expected`: fields that the document, or each row of a list, must have as they are here where it has them.
    `executes`: it is the record of an order or a send that was sent; the error that this record reports is raised.
    Raises `bad_answer` for any other document.
    """
    try:
        for record in document if isinstance(document, list) else (document,):
            if expected and isinstance(record, dict):
                parsing.check_same(record, expected)
        if executes and isinstance(document, dict):
            _check_executed(document)
        return parse(document)
    except ValueError as error:
        raise bad_answer(error, status, mutates=mutates) from error


def _check_executed(record: Mapping[str, Any]) -> None:
    """Raise the error that the record of an order or a send reports, if it was refused or its outcome is unknown."""
    if type(record.get("id")) is not int:
        return  # It is no record of anything, so it reports nothing; `parse` refuses it.
    status = record.get("status")
    if status == "unknown":
        raise outcome_unknown(record)
    if status in ("rejected", "failed"):
        error = record.get("error") or {"detail": "the exchange refused it", **record}
        raise error_from_response(_usual_status(error), error)


def _usual_status(error: Any) -> int:
    """Return the HTTP status that the error in a record has when it is an answer itself; 422 for an unknown code."""
    code = error.get("code") if isinstance(error, dict) else None
    from .codes import CODES  # It was loaded with the first XWrap: see `_records.load`.

    known = CODES.get(code) if isinstance(code, str) else None
    return (known and known.status) or 422


def error_from_response(
    status: int, document: Any, retry_after: str | None = None, *, mutates: bool = False
) -> APIError:
    """Return the error that a response reports: its status, its document if it has one, and its header Retry-After.

    `mutates`: it answers a request that may have executed something. Nothing was executed when the status is 4xx or the
    document says so; after a redirect, or a 5xx from anything on the way, the outcome is unknown. That of an order that
    was archived is not: the words say it.
    """
    fields = document if isinstance(document, dict) else {}
    kind = _ERRORS.get(status, APIError)
    executed = fields.get("may_have_executed")
    code = fields.get("code")
    kind = _ERRORS_BY_CODE.get(code, kind) if isinstance(code, str) else kind
    unknown = executed is True or code == "still_running" or (executed is not False and not 400 <= status < 500)
    is_archived = code == "order_archived"
    if mutates and unknown and not is_archived:
        kind = OutcomeUnknown
    retryable = fields.get("retryable", status in _RETRYABLE)
    return kind(
        _detail(fields) or (_REDIRECT if 300 <= status < 400 else "server error"),
        status=status,
        code=code if isinstance(code, str) else None,
        retryable=retryable is True and kind is not OutcomeUnknown,
        may_have_executed=kind is OutcomeUnknown or (is_archived and executed is True),
        retry_after=retry_after_seconds(retry_after),
    )


def outcome_unknown(document: Any) -> OutcomeUnknown:
    """Return the error for an order or a send whose server says itself that its outcome is unknown."""
    reason = _detail(document) or "it is not known yet whether it was executed; ask for its key before trying again"
    return OutcomeUnknown(reason, status=202, code="outcome_unknown")


def bad_answer(problem: ValueError, status: int, *, mutates: bool) -> APIError:
    """Return the error for a successful response that is not what was asked for."""
    kind = OutcomeUnknown if mutates else APIError
    return kind(f"the server's answer cannot be used: {problem}", status=status, code="bad_answer")


def _detail(document: Any) -> str | None:
    detail = document.get("detail") if isinstance(document, dict) else None
    return detail[:1000] if isinstance(detail, str) else None
