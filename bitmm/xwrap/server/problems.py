"""What goes wrong, as it is told to a caller: an HTTP status and {"detail", "code", "retryable", "may_have_executed",
...}.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from starlette.responses import JSONResponse, Response

from ..exchanges.errors import Busy, ExchangeError, Unknown

__all__ = ["Problem", "from_exchange", "response"]

#: The status of a refusal by an exchange, by its code; 422 for all others.
_REFUSALS = {
    "exchange_unavailable": 503,
    "exchange_url_missing": 503,
    "overview_refused": 503,
    "rate_limited": 429,
    "exchange_key_refused": 502,
    "permission_denied": 403,
    "order_not_found": 404,
}


class Problem(Exception):
    """A call that ends with an error. `detail` is fit to show a person; `more` are further members of the answer."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retryable: bool = False,
        may_have_executed: bool = False,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.body = {
            "detail": detail,
            "code": code,
            "retryable": retryable,
            "may_have_executed": may_have_executed,
            **more,
        }


def from_exchange(error: ExchangeError) -> Problem:
    """What an exchange's refusal (or silence) is to our caller."""
    more = getattr(error, "details", {})
    headers = {}
    if isinstance(error, Busy):
        headers["Retry-After"] = str(max(1, ceil(error.retry_after)))
    return Problem(
        504 if isinstance(error, Unknown) else _REFUSALS.get(error.code, 422),
        error.code,
        error.words[:500],
        retryable=error.retryable,
        may_have_executed=isinstance(error, Unknown),
        headers=headers,
        **more,
    )


def response(problem: Problem) -> Response:
    """The HTTP answer that tells a problem."""
    return JSONResponse(problem.body, problem.status, problem.headers)
