"""Why an exchange did not do what it was asked: every failure of an adapter is one of these kinds."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Busy", "ExchangeError", "Refused", "Unknown", "Unsupported"]


class ExchangeError(Exception):
    """Why an exchange did not do what it was asked. `str(error)` is fit to show a person and holds no secret.

    `code` is one of those in codes.py (insufficient_funds, invalid_amount, unknown_market, ...). The exchange's own
    words are in `words`; they are shown, bounded, and never guessed into something nicer.
    """

    def __init__(self, words: str, *, code: str = "exchange_refused", retryable: bool = False) -> None:
        super().__init__(words)
        self.words = words
        self.code = code
        self.retryable = retryable


class Refused(ExchangeError):
    """Certainly not executed. `details` may name the violated rule and the nearest allowed value, as text."""

    def __init__(
        self,
        words: str,
        *,
        code: str = "exchange_refused",
        retryable: bool = False,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(words, code=code, retryable=retryable)
        self.details = dict(details or {})


class Unsupported(Refused):
    """This exchange has no such call."""

    def __init__(self, words: str) -> None:
        super().__init__(words, code="unsupported")


class Busy(Refused):
    """A rate limit; certainly not executed. `retry_after`: seconds to wait."""

    def __init__(self, words: str, *, retry_after: float) -> None:
        super().__init__(words, code="rate_limited", retryable=True)
        self.retry_after = retry_after


class Unknown(ExchangeError):
    """It may have been executed: the answer was lost, late, or not to be understood."""

    def __init__(self, words: str) -> None:
        super().__init__(words, code="outcome_unknown")
