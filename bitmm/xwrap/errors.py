"""Everything that can go wrong, as one family.

    APIError                 the base: anything that failed, with words to show a person
    ├── AuthenticationError  401: no credentials, or wrong ones
    ├── PermissionDenied     403: these credentials may not do this, or the exchange refuses its key
    ├── NotFound             404: no such thing, or not yours
    ├── InvalidRequest       the request is wrong and stays wrong; nothing was sent, or the server refused it
    │   └── InsufficientFunds    not enough of the currency or asset
    ├── RateLimited          429: nothing happened (but see `may_have_executed`); `retry_after` says when to come back
    ├── Unavailable          no connection, or no service: certainly nothing happened
    ├── OutcomeUnknown       it may have happened; ask again with `key`, never order anew
    └── NotFinal             the time of `Backend.wait` was up before the order was final; a TimeoutError, too

A class exists only where a program would act differently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .codes import ErrorCode

__all__ = [
    "APIError",
    "AuthenticationError",
    "InsufficientFunds",
    "InvalidRequest",
    "NotFinal",
    "NotFound",
    "OutcomeUnknown",
    "PermissionDenied",
    "RateLimited",
    "Unavailable",
]


class APIError(Exception):
    """The reason why a call failed, in words fit to show a person: `str(error)`.

    `reason`: the words. `status`: the HTTP status, None when no answer came. `code`: the stable name of the reason, one
    of `codes` or of a newer server's own, None when the server gave none. `retryable`: the same call may work later.
    `may_have_executed`: an order or a send may have reached the exchange. `key`: the idempotency key of an order or a
    send. `retry_after`: seconds to wait. `request_id`: the id that the server gave the call, under which its log has
    it; None when no answer came.
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        code: ErrorCode | str | None = None,
        retryable: bool = False,
        may_have_executed: bool = False,
        key: str | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.code = code
        self.retryable = retryable
        self.may_have_executed = may_have_executed
        self.key = key
        self.retry_after = retry_after
        self.request_id = request_id


class AuthenticationError(APIError):
    """No credentials, or wrong ones."""


class PermissionDenied(APIError):
    """These credentials may not do this, or the exchange does not accept the key that is registered with it."""


class NotFound(APIError):
    """There is no such thing, or it is another account's."""


class InvalidRequest(APIError):
    """The request is wrong and stays wrong; nothing was executed."""


class InsufficientFunds(InvalidRequest):
    """Not enough of the currency or asset; nothing was executed."""


class RateLimited(APIError):
    """Too many calls; nothing was executed, unless `may_have_executed`; `retry_after` says when to come back."""


class Unavailable(APIError):
    """The server or the exchange could not be reached, or does not serve now; certainly nothing was executed."""


class OutcomeUnknown(APIError):
    """The order or send may have been executed; look it up by `key` before anything else."""

    def __init__(self, reason: str, **facts: Any) -> None:
        super().__init__(reason, **{"may_have_executed": True, **facts})


class NotFinal(APIError, TimeoutError):
    """An order that was waited for was not final in time; it goes on."""
