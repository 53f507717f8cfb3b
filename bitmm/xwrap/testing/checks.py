"""The checks of the contract: each raises AssertionError with the values that it saw.

An `assert` statement would show no values, for pytest rewrites only those of test modules and plugins, and would
check nothing under `python -O`.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar
from unittest import SkipTest

from ..exchanges.base import Exchange
from ..exchanges.capabilities import supports
from ..exchanges.errors import Refused, Unknown

__all__ = [
    "check",
    "check_equal",
    "check_in",
    "check_newest_first",
    "check_record",
    "check_stated",
    "expect_refusal",
    "has",
    "skip_without",
]

_Value = TypeVar("_Value")


def check(condition: object, message: str) -> None:
    """Raise AssertionError with the `message` unless the `condition` is true."""
    __tracebackhide__ = True  # pytest shows the line of the contract, not this one
    if not condition:
        raise AssertionError(message)


def check_equal(name: str, found: object, expected: object) -> None:
    """Raise AssertionError unless the value called `name` is the expected one."""
    __tracebackhide__ = True
    check(found == expected, f"{name} is {found!r}, expected {expected!r}")


def check_in(name: str, found: object, allowed: Container[object]) -> None:
    """Raise AssertionError unless the value called `name` is among those allowed."""
    __tracebackhide__ = True
    check(found in allowed, f"{name} is {found!r}, expected one of {allowed!r}")


def check_stated(name: str, found: _Value | None) -> _Value:
    """Return the value called `name`; raise AssertionError when it is None."""
    __tracebackhide__ = True
    if found is None:
        raise AssertionError(f"{name} is None, expected a value")
    return found


def check_record(record: _Value, kind: type[_Value]) -> _Value:
    """Return the `record`, which is exactly of this `kind` and has finite Decimals, times in UTC and no empty text."""
    __tracebackhide__ = True
    check(type(record) is kind, f"{record!r} is of {type(record).__name__}, expected {kind.__name__}")
    for field in fields(kind):  # type: ignore[arg-type]  # every record is a dataclass
        value, declared = getattr(record, field.name), str(field.type)
        found = f"{kind.__name__}.{field.name} is {value!r}, expected"
        if value is None:
            check("None" in declared, f"{found} a value")
        elif "Decimal" in declared:
            check(type(value) is Decimal and value.is_finite(), f"{found} a finite Decimal")
        elif "datetime" in declared:
            check(isinstance(value, datetime) and value.utcoffset() == timedelta(0), f"{found} a time in UTC")
        else:
            check(type(value) is str and value, f"{found} a text that is not empty")
    return record


def check_newest_first(name: str, times: list[datetime]) -> None:
    """Raise AssertionError unless the times of what is called `name` fall."""
    __tracebackhide__ = True
    check_equal(f"the order of times in {name}", times, sorted(times, reverse=True))


def has(exchange: Exchange, operation: str) -> bool:
    """Return whether an exchange supports an operation."""
    return operation in supports(type(exchange))


def skip_without(exchange: Exchange, *operations: str) -> None:
    """Skip the test of an exchange that lacks one of the operations."""
    for operation in operations:
        if not has(exchange, operation):
            raise SkipTest(f"{type(exchange).name} has no call for '{operation}'")


@contextmanager
def expect_refusal(*codes: str, proved: bool = True) -> Iterator[list[Refused]]:
    """Check that what stands inside is refused with one of the `codes`; the list holds the refusal afterwards.

    Not `proved`: one that may have been executed is right, too, with the refusal inside: a second delivery could get
    that answer.
    """
    __tracebackhide__ = True
    refusals: list[Refused] = []
    try:
        yield refusals
    except (Refused, Unknown) as error:
        if proved and error.may_have_executed:
            raise
        refusal = error if isinstance(error, Refused) else error.refusal
        if refusal is None:
            raise
        refusals.append(refusal)
    check(refusals, f"it was not refused, expected a refusal with one of {codes!r}")
    code, words = refusals[0].code, str(refusals[0])
    check_in(f"the code of the refusal {words!r}", code, codes)
    check(words.strip() and len(words) <= 500, f"the refusal says {words!r}, expected 1 to 500 characters")
