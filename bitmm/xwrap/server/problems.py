"""Error answers: an HTTP status and {"detail", "code", "retryable", "may_have_executed", ...}.

The members are those of RFC 9457 (Problem Details for HTTP APIs) as far as both have them: `detail` is the sentence for
a person; `code` takes the place of `type`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from math import ceil
from typing import Any

from starlette.responses import Response

from ..codes import CODES
from ..exchanges.errors import ExchangeError
from .call_log import current_call, note
from .encoding import JSONAnswer

__all__ = ["DELAY", "ON_END", "Problem", "from_exchange", "log_failure", "problem_response", "too_busy"]

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="XWrap", charset="UTF-8"'}
#: Where in an ASGI scope the seconds are for which the answer is held back.
DELAY = "xwrap.delay"
#: Where a call that waits has what is to be called when its caller is gone.
ON_END = "xwrap.on_end"


class Problem(Exception):
    """An error that ends a call. `detail` is a sentence to show a person; `more` are further members of the answer.

    `delay`: for so many seconds the answer is held back, after the call is over; see `protocol`. A 401 names how to log
    in, as RFC 9110 wants of each.
    """

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
        self.may_have_executed = may_have_executed
        self.delay = 0.0
        self.headers = {**(_CHALLENGE if status == 401 else {}), **(headers or {})}
        self.more = more
        self.body = {
            "detail": detail,
            "code": code,
            "retryable": retryable,
            "may_have_executed": may_have_executed,
            **more,
        }


def from_exchange(error: ExchangeError, words: str = "") -> Problem:
    """Return the problem that answers our caller when an exchange refused, was busy, or did not answer.

    `words`: what they mean for the call; they stand before those of the exchange.
    """
    more = getattr(error, "details", {})
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, ceil(error.retry_after)))
    return Problem(
        _status(error.code),
        error.code,
        f"{words}: {error.reason}"[:500] if words else error.reason[:500],
        retryable=error.retryable,
        may_have_executed=error.may_have_executed,
        headers=headers,
        **more,
    )


def _status(code: str) -> int:
    """Return the status of an error with this code; a plugin's exchange may have codes of its own."""
    known = CODES.get(code)
    return 422 if known is None or known.status is None else known.status


def too_busy(code: str, detail: str) -> Problem:
    """Return the problem of a call that was given up before anything was sent; it may be repeated in a second."""
    return Problem(503, code, detail, retryable=True, headers={"Retry-After": "1"})


def log_failure(log: logging.Logger, error: Exception, message: str) -> None:
    """Log that an exchange could not be asked: in one line, or with the traceback where nobody foresaw the error."""
    if isinstance(error, ExchangeError | Problem):
        log.info("%s: %s", message, error)
    else:
        log.error("%s", message, exc_info=error)


def problem_response(problem: Problem) -> Response:
    """Return the HTTP response of a problem, which has the id of the call that it ends."""
    note(code=problem.code)
    call = current_call()
    body = problem.body if call is None else {**problem.body, "request_id": call.id}
    return JSONAnswer(body, problem.status, problem.headers)
