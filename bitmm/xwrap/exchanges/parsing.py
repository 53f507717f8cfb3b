"""Values in the rows of several exchanges. What does not fit raises ValueError or TypeError: see `parsing_errors`."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from ..money import EXACT, parse_decimal, parse_unsigned
from .http import PARSING_ERRORS
from .models import Funds, Withdrawal

__all__ = [
    "address_and_tag",
    "consistent_funds",
    "id_from_number",
    "list_of_rows",
    "list_or_nothing",
    "listed_withdrawals",
    "newest_first",
    "optional",
    "optional_amount",
    "optional_time",
    "readable_rows",
    "required_text",
    "step_from_places",
    "time_from_field",
    "time_from_microseconds",
    "time_from_milliseconds",
    "time_from_seconds",
    "time_from_utc_text",
]

_log = logging.getLogger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: An address and the tag that some exchanges append to it: "rN7...?dt=123" (XRP), "GA5...?memoId=123" (Stellar).
_TAGGED = re.compile(
    r"(?P<address>[^?]*)\?(?:dt|destination_?tag|memo(?:_?id)?|tag|transfer_?id)=(?P<tag>[^&]*)",
    re.ASCII | re.IGNORECASE,
)
#: The numbers below which a time counts seconds, milliseconds or microseconds since 1970. What counts less than about
#: three years is no time of an exchange.
_FIRST_SECOND = Decimal(10**8)
_UNITS = ((Decimal(10**11), 1_000_000), (Decimal(10**14), 1000), (Decimal(10**17), 1))
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


def listed_withdrawals(
    name: str, rows: list[_R], read: Callable[[_R], Withdrawal], asset: str | None, *, among_others: bool = False
) -> list[Withdrawal]:
    """Return the sends that `read` makes of the rows that the exchange called `name` lists, asked for `asset` or all.

    A row that cannot be understood hides no other, and it does not vanish, since it may be a send of ours, and a send
    that is not listed may be sent again: nothing is told of it but that it is there, as a send without an id. Raises
    ValueError when there are rows and none can be understood, unless they stood `among_others` that were, and TypeError
    for what is no list.
    """
    odd = Withdrawal("", asset or "", None, "unknown")

    def read_or_odd(row: _R) -> Withdrawal:
        try:
            return read(row)
        except PARSING_ERRORS as error:
            _log.warning("%s: a send cannot be understood: %s: %s", name, type(error).__name__, str(error)[:100])
            return odd

    withdrawals = [read_or_odd(row) for row in list_of_rows(rows)]
    if withdrawals and not among_others and all(withdrawal is odd for withdrawal in withdrawals):
        raise ValueError("no row can be understood")
    return withdrawals


def list_of_rows(answer: Any) -> list[Any]:
    """Return a list, perhaps an empty one. Raises TypeError for anything else, as null and {}: a look-up would take
    what is not in it for something that is not there.
    """
    if not isinstance(answer, list):
        raise TypeError("no list")
    return answer


def newest_first(rows: Iterable[_T], time_of: Callable[[_T], datetime | None]) -> list[_T]:
    """Return the rows by their times, newest first; those without a time come last."""
    return sorted(rows, key=lambda row: time_of(row) or datetime.min.replace(tzinfo=UTC), reverse=True)


def list_or_nothing(answer: Any) -> list[Any]:
    """Return the rows of a list that is shown; null and {} are answers of exchanges that have nothing to list.

    Not for look-ups, where a row that is missing proves something. Raises TypeError for anything else.
    """
    return [] if answer is None or answer == {} else list_of_rows(answer)


def consistent_funds(
    total: Decimal | None, available: Decimal | None, held: Decimal | None, earning: Decimal | None = None
) -> Funds:
    """Return what is owned, what of it is available, is held and earns; None where none is told and none follows.

    Where `earning` is given, `total` and `available` are too: nothing follows from one that is not told.

    What is owned may be below zero (a fee, a loan). Available is never below zero and never more than what is owned,
    and no less than nothing is held, whatever the exchange tells. Raises ValueError when nothing is told.
    """
    if total is None and available is None:
        raise ValueError("no amount")
    if total is None and available is not None and held is not None:
        total = EXACT.add(available, held)
    elif available is None and total is not None and held is not None:
        available = EXACT.subtract(total, held)
    elif held is None and total is not None and available is not None:
        held = EXACT.subtract(total, available)
    if available is not None:
        most = available if total is None else min(available, total)
        available = max(most, Decimal(0))
    return Funds(total, available, None if held is None else max(held, Decimal(0)), earning)


def address_and_tag(text: str | None) -> tuple[str | None, str | None]:
    """Return the address and the tag that an exchange wrote behind it; None for what is not there."""
    if not text:
        return None, None
    tagged = _TAGGED.fullmatch(text)
    return (tagged["address"] or None, tagged["tag"] or None) if tagged else (text, None)


def required_text(value: object) -> str:
    """Return a text that is not blank. Raises ValueError for anything else."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("not a text")
    return value


def id_from_number(value: object) -> str:
    """Return an id that is a whole number, given as a number or as text, as text. Raises ValueError for another one."""
    return str(int(str(value)))


def optional(read: Callable[[Any], _T], value: Any) -> _T | None:
    """Return what `read` makes of a value; None where none is given."""
    return None if value is None else read(value)


def optional_amount(value: object) -> Decimal | None:
    """Return the amount, which is never below zero; None where none is given."""
    return optional(parse_unsigned, value)


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
    """Return the time of an ISO 8601 text, which is in UTC where it names no other zone."""
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def time_from_field(value: object) -> datetime:
    """Return the time of a field that is an ISO 8601 text, or counts seconds, milli- or microseconds since 1970.

    For exchanges that use several of them. The size of a number tells its unit.
    """
    if isinstance(value, str) and not value.replace(".", "", 1).isdecimal():
        return time_from_utc_text(value)
    number = parse_decimal(value)
    if number >= _FIRST_SECOND:
        for end, microseconds in _UNITS:
            if number < end:
                return _after_1970(number, microseconds=microseconds)
    raise ValueError("not a time")


def optional_time(value: object) -> datetime | None:
    """Return the time of a field as `time_from_field` does; None where none is given, or an empty text."""
    return None if value is None or value == "" else time_from_field(value)


def _after_1970(value: object, *, microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=int(EXACT.multiply(parse_decimal(value), Decimal(microseconds))))
