"""What the adapters share of HTTP: sending once, and what an answer means that is no document of the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .._retry_after import retry_after_seconds
from ..errors import APIError, OutcomeUnknown
from .errors import Busy, ExchangeError, Refused, Unknown

if TYPE_CHECKING:
    from ..transport import Request, Response, Transport

__all__ = [
    "FORM",
    "JSON",
    "PARSING_ERRORS",
    "asked_pause",
    "parsing_errors",
    "refused_key_is_proof",
    "retry_after",
    "send",
    "unknown_or_refused",
    "unproved",
    "unreadable_answer",
]

#: Content types of a body.
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
#: What reading an answer raises when something in it is missing or is not what it should be.
PARSING_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def send(transport: Transport, request: Request, name: str, *, mutates: bool) -> Response:
    """Send `request` once to the exchange called `name`; whatever the status, the answer is for the adapter to read.

    `mutates`: the request places, cancels or sends. Raises Unknown when such a request may have arrived and no answer
    came back, and Refused with code exchange_unavailable when nothing was executed (a read executes nothing).
    """
    try:
        return transport.send(request)
    except OutcomeUnknown as error:
        if mutates:
            raise Unknown(f"no answer from {name}, the outcome is unknown: {error}") from error
        raise Refused(f"no answer from {name}: {error}", code="exchange_unavailable", retryable=True) from error
    except APIError as error:
        raise Refused(f"{name} cannot be reached: {error}", code="exchange_unavailable", retryable=True) from error


@contextmanager
def parsing_errors(name: str, *, mutates: bool = False) -> Iterator[None]:
    """Around the reading of a good answer of the exchange called `name`: what does not fit is not believed.

    A missing field, a number that is none, another order than the one asked for: `PARSING_ERRORS` become Unknown when
    the request `mutates` something, and Refused with code exchange_unavailable when not.
    """
    try:
        yield
    except PARSING_ERRORS as error:
        reason = f"{name}'s answer cannot be understood ({type(error).__name__}: {str(error)[:100]})"
        raise unknown_or_refused(reason, mutates=mutates) from error


def unknown_or_refused(reason: str, *, mutates: bool, answer: Response | None = None) -> ExchangeError:
    """Return what an `answer` is that tells no outcome: Unknown when the request `mutates` something, else Refused."""
    if mutates:
        return Unknown(f"{reason}; the outcome is unknown")
    pause = None if answer is None else asked_pause(answer)
    return Refused(reason, code="exchange_unavailable", retryable=True, retry_after=pause)


def unproved(refusal: Refused) -> Unknown | Busy:
    """Return what a refusal is that an earlier delivery of the same request could have caused: Unknown, with it inside.

    A rate limit stays Busy, so that its caller sees how long to wait, and says that it may have been executed.
    For requests that place, cancel or send: a proxy may deliver one twice, and only the second answer arrives here.
    """
    words = f"{refusal.reason}; this may be the answer to a second delivery, after the first one was executed"
    if isinstance(refusal, Busy):
        return Busy(words, retry_after=refusal.retry_after, refusal=refusal)
    return Unknown(words, refusal=refusal)


@contextmanager
def refused_key_is_proof(read: Callable[[], object]) -> Iterator[None]:
    """Around a call that places, cancels or sends, at an exchange that calls an expired time a refused key.

    Unknown with a refused key inside becomes that refusal when the signed `read` is refused for its key, too: then it
    is the key that is refused, and not this one request.
    """
    try:
        yield
    except Unknown as unknown:
        refusal = unknown.refusal
        if refusal is None or refusal.code != "exchange_key_refused" or not _is_key_refused(read):
            raise
    else:
        return
    raise refusal


def _is_key_refused(read: Callable[[], object]) -> bool:
    try:
        read()
    except Refused as refusal:
        return refusal.code == "exchange_key_refused"
    return False


def unreadable_answer(name: str, answer: Response, *, mutates: bool, pause: float) -> ExchangeError:
    """Return what an answer means that is none of the API's documents: HTML of a proxy, a cut text, a bare status.

    HTTP 429 is Busy, for `pause` seconds when it does not say how long, and no proof (see `unproved`) when the request
    `mutates` something: what counts requests in front of the API counted an earlier delivery, too. Any other answer
    tells no outcome.
    """
    if answer.status == 429:
        busy = Busy(f"{name} says: too many requests", retry_after=retry_after(answer, seconds=pause))
        return unproved(busy) if mutates else busy
    return unknown_or_refused(f"{name}'s answer (HTTP {answer.status}) cannot be read", mutates=mutates, answer=answer)


def asked_pause(answer: Response) -> float | None:
    """Return the seconds that an answer with HTTP 503 asks to wait (RFC 9110, 15.6.4); None where it asks for none."""
    return (retry_after(answer, seconds=0.0) or None) if answer.status == 503 else None


def retry_after(answer: Response, *, seconds: float) -> float:
    """Return the seconds that an answer's Retry-After asks to wait, at most 600; `seconds` when it asks for none."""
    asked = retry_after_seconds(answer.headers.get("Retry-After"))
    return seconds if asked is None else min(asked, 600.0)
