"""Why an exchange did not do what it was asked: every failure of an adapter or an API class is one of these kinds.

    APIError
    └── ExchangeError        what an exchange, or the way to it, gave as the reason
        ├── Refused              certainly not executed
        │   ├── Unsupported          there is no such call
        │   ├── NoOffers             a market has no buyer, or no seller, now
        │   ├── NotListedYet         an order is not there now, which proves nothing yet
        │   └── Busy                 a rate limit (also a RateLimited); or no proof, see `refusal`
        └── Unknown              it may have been executed (also an OutcomeUnknown)

They are members of the one family of `bitmm.xwrap.errors`: a script that uses KrakenAPI alone and a program that uses
the client catch the same APIError. What was refused for want of funds says so by its `code`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ..errors import APIError, OutcomeUnknown, RateLimited

__all__ = ["Busy", "ExchangeError", "NoOffers", "NotListedYet", "Refused", "Unknown", "Unsupported", "malformed_key"]


class ExchangeError(APIError):
    """Why an exchange did not do what it was asked. `str(error)` is fit to show a person and holds no secret.

    `code` is one of ours (insufficient_funds, invalid_amount, unknown_market, ...). The exchange's own words are in
    `reason`; they are shown, bounded, and never guessed into something nicer.
    """

    code: str
    #: What the exchange answered, where an earlier delivery of the same request could have caused that answer (the
    #: nonce was used, the client id exists, too many requests). It is the outcome once the exchange was asked and has
    #: no such order. None: this error says all that there is.
    refusal: Refused | None = None

    def __init__(
        self,
        reason: str,
        *,
        code: str = "exchange_refused",
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason, code=code, retryable=retryable, retry_after=retry_after)


class Refused(ExchangeError):
    """Certainly not executed, but for a Busy that says otherwise. `details` may name the violated rule, as text.

    `retry_after`: the seconds that the exchange, or what stands before it, asks to wait; None where it does not ask.
    """

    def __init__(
        self,
        reason: str,
        *,
        code: str = "exchange_refused",
        retryable: bool = False,
        details: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason, code=code, retryable=retryable, retry_after=retry_after)
        self.details = dict(details or {})


def malformed_key(reason: str, field: Literal["apikey", "apisecret"]) -> Refused:
    """Return the refusal of a key that cannot be one, or that is missing: nothing was sent, the exchange saw nothing.

    `field`: the form's field that is wrong, which `reason` names.
    """
    return Refused(reason, code="invalid_request", details={"field": field})


class Unsupported(Refused):
    """This exchange has no such call."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, code="unsupported")


class NotListedYet(Refused):
    """The order is not there now, and that proves nothing yet: what the exchange lists lags behind. Ask again later."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, code="exchange_unavailable", retryable=True)


class NoOffers(Refused):
    """The exchange answered that a market has no buyer, or no seller, now: so it has no rate."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, code="exchange_unavailable", retryable=True)


class Busy(Refused, RateLimited):
    """A rate limit; certainly not executed, unless `may_have_executed`. `retry_after`: seconds to wait.

    `refusal`: the plain rate limit inside of one that an earlier delivery of the same request could have caused. Such a
    one may have been executed, and is not retryable.
    """

    retry_after: float

    def __init__(self, reason: str, *, retry_after: float, refusal: Busy | None = None) -> None:
        super().__init__(reason, code="rate_limited", retryable=refusal is None)
        self.retry_after = retry_after
        self.refusal = refusal
        self.may_have_executed = refusal is not None


class Unknown(ExchangeError, OutcomeUnknown):
    """It may have been executed: the answer was lost, late, not to be understood, or no proof (see `refusal`)."""

    def __init__(self, reason: str, *, refusal: Refused | None = None) -> None:
        super().__init__(reason, code="outcome_unknown")
        self.refusal = refusal
