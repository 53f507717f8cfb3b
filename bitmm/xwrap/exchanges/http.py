"""What the adapters share of HTTP: sending once, reading an answer, following an order until it is final."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import APIError, OutcomeUnknown
from .errors import Busy, ExchangeError, Refused, Unknown
from .models import OrderState

if TYPE_CHECKING:
    from ..transport import Request, Response, Transport


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


def poll(
    read: Callable[[], OrderState], *, seconds: float = 4.0, sleep: Callable[[float], None] = time.sleep
) -> OrderState:
    """Read a market order until it is no longer open, for at most `seconds`; the last state that was read."""
    deadline = time.monotonic() + seconds
    pause = 0.1
    while (state := read()).status == "open" and time.monotonic() + pause < deadline:
        sleep(pause)
        pause = min(2 * pause, 1.0)
    return state


def poll_until_final(placed: OrderState, read: Callable[[], OrderState]) -> OrderState:
    """The market order `placed`, read until it is final, or for a few seconds.

    It stands, so a state that cannot be read changes nothing; a rate limit ends the reading.
    """

    def attempt() -> OrderState:
        try:
            return read()
        except Busy:
            raise
        except Refused:
            return placed

    try:
        return poll(attempt)
    except Busy:
        return placed


@contextmanager
def parsing_errors(name: str, *, mutates: bool = False) -> Iterator[None]:
    """Around the reading of a good answer of the exchange called `name`: what does not fit is not believed.

    A missing field, a number that is none, another order than the one asked for: KeyError, TypeError, ValueError and
    their like become Unknown when the request `mutates` something, and Refused with code exchange_unavailable when not.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        words = f"{name}'s answer cannot be understood ({type(error).__name__}: {str(error)[:100]})"
        raise unknown_or_refused(words, mutates=mutates) from error


def unknown_or_refused(words: str, *, mutates: bool) -> ExchangeError:
    """What an answer is that tells no outcome: Unknown when the request `mutates` something, else a refused read."""
    if mutates:
        return Unknown(f"{words}; the outcome is unknown")
    return Refused(words, code="exchange_unavailable", retryable=True)


def retry_after(answer: Response, *, seconds: float) -> float:
    """The seconds that an answer's Retry-After asks to wait, ten minutes at most; `seconds` when it asks for none."""
    given = answer.headers.get("Retry-After", "")
    return min(float(given), 600.0) if given.isascii() and given.isdigit() else seconds
