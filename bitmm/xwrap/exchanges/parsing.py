"""Values in the rows of several exchanges. What does not fit raises ValueError or TypeError: see `parsing_errors`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from ..money import EXACT, parse_decimal, parse_unsigned
from .http import PARSING_ERRORS

__all__ = [
    "optional_amount",
    "readable_rows",
    "required_text",
    "step_from_places",
    "time_from_microseconds",
    "time_from_milliseconds",
    "time_from_seconds",
    "time_from_utc_text",
]

_log = logging.getLogger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_R = TypeVar("_R")
_T = TypeVar("_T")


def readable_rows(name: str, rows: Iterable[_R], read: Callable[[_R], _T]) -> list[_T]:
    """Return what `read` makes of each row of a list that the exchange called `name` answered.

    One odd row hides no other: a row that `read` cannot understand is left out, and logged without what is in it.
    Raises ValueError when there are rows and none can be understood. For lists that are shown only: where a row that is
    missing would prove something, as in a look-up, read the one row that is meant.
    """
    readable = []
    failure: Exception | None = None
    for row in rows:
        try:
            readable.append(read(row))
        except PARSING_ERRORS as error:
            failure = error
            _log.warning("%s: a row is left out: %s: %s", name, type(error).__name__, str(error)[:100])
    if failure is not None and not readable:
        raise ValueError(f"no row can be understood: {failure}") from failure
    return readable


def required_text(value: object) -> str:
    """Return a text that is not blank. Raises ValueError for anything else."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("not a text")
    return value


def optional_amount(value: object) -> Decimal | None:
    """Return the amount, which is never below zero; None where none is given."""
    return None if value is None else parse_unsigned(value)


def step_from_places(places: int) -> Decimal:
    """Return the step of a number with so many decimal places: 0.01 for 2."""
    return Decimal((0, (1,), -places))


def time_from_seconds(value: object) -> datetime:
    """Return the time that is so many seconds after 1970, to the microsecond."""
    return _after_1970(value, microseconds=1_000_000)


def time_from_milliseconds(value: object) -> datetime:
    """Return the time that is so many milliseconds after 1970, to the microsecond."""
    return _after_1970(value, microseconds=1000)


def time_from_microseconds(value: object) -> datetime:
    """Return the time that is so many microseconds after 1970."""
    return _after_1970(value, microseconds=1)


def time_from_utc_text(text: str) -> datetime:
    """Return the time of an ISO 8601 text that is in UTC without saying so."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _after_1970(value: object, *, microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=int(EXACT.multiply(parse_decimal(value), Decimal(microseconds))))
