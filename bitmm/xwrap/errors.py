"""Everything that can go wrong, as one family.

    APIError                 the base: anything that failed, with words to show a person
    ├── AuthenticationError  401: no credentials, or wrong ones
    ├── PermissionDenied     403: these credentials may not do this
    ├── NotFound             404: no such thing, or not yours
    ├── InvalidRequest       the request is wrong and stays wrong; nothing was sent, or the server refused it
    │   └── InsufficientFunds    not enough of the currency or asset
    ├── RateLimited          429: nothing happened; `retry_after` says when to come back
    ├── Unavailable          nobody answered and certainly nothing happened
    └── OutcomeUnknown       it may have happened; ask again with `key`, never order anew

A class exists only where a program would act differently.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = [
    "APIError",
    "AuthenticationError",
    "InsufficientFunds",
    "InvalidRequest",
    "NotFound",
    "OutcomeUnknown",
    "PermissionDenied",
    "RateLimited",
    "Unavailable",
    "refusal",
    "undecided",
]


class APIError(Exception):
    """The reason why a call failed, in words fit to show a person: `str(error)`.

    `reason`: the words. `status`: the HTTP status, None when no answer came. `code`: the stable name of the reason,
    None when the server gave none. `retryable`: the same call may work later. `may_have_executed`: an order or a send
    may have reached the exchange. `key`: the idempotency key of an order or a send. `retry_after`: seconds to wait.
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retryable: bool = False,
        may_have_executed: bool = False,
        key: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.code = code
        self.retryable = retryable
        self.may_have_executed = may_have_executed
        self.key = key
        self.retry_after = retry_after


class AuthenticationError(APIError):
    """No credentials, or wrong ones."""


class PermissionDenied(APIError):
    """These credentials may not do this."""


class NotFound(APIError):
    """There is no such thing, or it is another account's."""


class InvalidRequest(APIError):
    """The request is wrong and stays wrong; nothing was executed."""


class InsufficientFunds(InvalidRequest):
    """Not enough of the currency or asset; nothing was executed."""


class RateLimited(APIError):
    """Too many calls; nothing was executed; `retry_after` says when to come back."""


class Unavailable(APIError):
    """Nobody could be reached; certainly nothing was executed."""


class OutcomeUnknown(APIError):
    """The order or send may have been executed; look it up by `key` before anything else."""

    def __init__(self, reason: str, **facts: Any) -> None:
        super().__init__(reason, **{"may_have_executed": True, **facts})


#: What a status means; any other one is an APIError.
STATUS: dict[int, type[APIError]] = {
    400: InvalidRequest,
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    405: InvalidRequest,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
_PASSING = (429, 502, 503, 504)


def refusal(status: int, document: Any, retry_after: str | None, *, mutates: bool = False) -> APIError:
    """The error that an answer with this status tells; `document` is what its body says, if anything.

    `mutates`: it answers an order or a send. That was not executed when the status is 4xx or the document says so;
    a redirect, or a 5xx from anybody on the way, leaves it open.
    """
    told = document if isinstance(document, dict) else {}
    kind = STATUS.get(status, APIError)
    executed = told.get("may_have_executed")
    code = told.get("code")
    if code == "insufficient_funds":
        kind = InsufficientFunds
    open_end = executed is True or code == "still_running" or (executed is not False and not 400 <= status < 500)
    if mutates and open_end:
        kind = OutcomeUnknown
    retryable = told.get("retryable", status in _PASSING)
    return kind(
        _detail(told) or (_REDIRECT if 300 <= status < 400 else "server error"),
        status=status,
        code=code if isinstance(code, str) else None,
        retryable=retryable is True and kind is not OutcomeUnknown,
        may_have_executed=kind is OutcomeUnknown,
        retry_after=_seconds(retry_after),
    )


def undecided(document: Any) -> OutcomeUnknown:
    """The error for an order whose server says itself that nobody knows yet."""
    return OutcomeUnknown(
        _detail(document) or "nobody knows yet whether it was executed", status=202, code="outcome_unknown"
    )


_REDIRECT = "the server sent the call elsewhere, and redirects are never followed"


def _detail(document: Any) -> str | None:
    detail = document.get("detail") if isinstance(document, dict) else None
    return detail[:1000] if isinstance(detail, str) else None


def _seconds(retry_after: str | None) -> float | None:
    """The header Retry-After (RFC 9110, 10.2.3): seconds, or a date."""
    if retry_after is None:
        return None
    if retry_after.isdecimal():
        return float(retry_after[:9])
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
