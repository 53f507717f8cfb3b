"""How a record in an answer is read: which type it has, and what stands in it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cached_property
from operator import itemgetter
from types import ModuleType
from typing import Any, Generic, NotRequired, TypeVar, cast, get_args

from .money import parse_decimal, parse_decimals

__all__ = ["Record", "list_of", "load", "object_with", "types", "whole_number"]

_R = TypeVar("_R")

#: A list of fewer rows is parsed sooner one row after the other (2026-11-28).
_FEW = 4


class Record(Generic[_R]):
    """Parses one kind of record: an object that has the `required` fields, whose amounts become Decimal.

    `kind`: the name of its type in `types`. `statuses`: the name of a Literal there of those that a record may have; a
    record with another status is not understood, so it is none. `whole`: no amount may be None or missing.
    """

    def __init__(self, kind: str, *required: str, statuses: str | None = None, whole: bool = False) -> None:
        self._kind = kind
        self._required = required
        self._status_names = statuses
        self._whole = whole

    def __call__(self, document: Any) -> _R:
        """Return the record in `document`."""
        record = dict(object_with(document, *self._required))
        if self._has_number:
            whole_number(record["id"])
        if self._statuses and record.get("status") not in self._statuses:
            raise ValueError("its status is none that is known here")
        for name in self.amounts:
            amount = record.get(name)
            if amount is not None:
                record[name] = parse_decimal(amount)
        if self._whole and any(record.get(name) is None for name in self.amounts):
            raise ValueError("an amount is missing")
        return cast("_R", record)

    def each(self, rows: list[Any], parse: Callable[[Any], _R] | None = None) -> list[_R]:
        """Return what `parse` returns for each of the rows, or raise what it raises for the first bad one.

        `parse`: a function that returns for a record of this kind what this one returns, which is used without one.
        The amounts may be set in the rows themselves: a copy of each would be a tenth of the time (2026-11-28).
        """
        if len(rows) >= _FEW:
            try:
                return self._by_fields(rows)
            except (LookupError, TypeError, ValueError):
                pass  # A row is none or an unusual one; which of them, and what is wrong with it, is said below.
        return [(parse or self)(row) for row in rows]

    def _by_fields(self, rows: list[Any]) -> list[_R]:
        """Return the records in rows as nearly all are, by a look at one field of all rows after the other.

        Raises LookupError, TypeError or ValueError where a row is no record, and where it is an unusual one.
        """
        if not {dict}.issuperset(map(type, rows)):
            raise TypeError
        for field in self._required:
            if not all(field in row for row in rows):
                raise LookupError
        if self._has_number and not {int}.issuperset(map(type, map(itemgetter("id"), rows))):
            raise TypeError
        if self._statuses and not frozenset(self._statuses).issuperset(map(itemgetter("status"), rows)):
            raise LookupError
        for name in self.amounts:
            amounts = [amount for row in rows if (amount := row.get(name)) is not None]
            all_have = len(amounts) == len(rows)
            if self._whole and not all_have:
                raise LookupError
            having = rows if all_have else [row for row in rows if row.get(name) is not None]
            for row, amount in zip(having, parse_decimals(amounts), strict=True):
                row[name] = amount
        return cast("list[_R]", rows)

    @cached_property
    def amounts(self) -> tuple[str, ...]:
        """The fields that the type annotates with Decimal, in its order; each may be None."""
        hints = (Decimal, Decimal | None, NotRequired[Decimal], NotRequired[Decimal | None])
        return tuple(name for name, hint in getattr(types(), self._kind).__annotations__.items() if hint in hints)

    @cached_property
    def _has_number(self) -> bool:
        """Whether its id must be there and is a number, ours; an exchange's is text."""
        return "id" in self._required and getattr(types(), self._kind).__annotations__["id"] is int

    @cached_property
    def _statuses(self) -> tuple[str, ...]:
        return get_args(getattr(types(), self._status_names)) if self._status_names else ()


def types() -> ModuleType:
    """Return the module `types`: see `load`."""
    from . import types

    return types


def load() -> None:
    """Import what an answer may need, so that nothing is imported within a call.

    It is not imported with the client: it would be a quarter of what that adds to the import of requests (2026-11-28).
    """
    from . import codes, types  # noqa: F401


def list_of(document: Any) -> list[Any]:
    """Return the document, which must be a list."""
    if not isinstance(document, list):
        raise ValueError("it is not a list")  # noqa: TRY004 - one error for a bad document
    return document


def object_with(document: Any, *fields: str) -> dict[str, Any]:
    """Return the document, which must be an object with these fields."""
    if not isinstance(document, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 - one error for a bad document
    for field in fields:
        if field not in document:
            raise ValueError(f"{field!r} is missing")
    return document


def whole_number(value: object) -> int:
    """Return an id or a count."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("an id or a count is not a whole number")
