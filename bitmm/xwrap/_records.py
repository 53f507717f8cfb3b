"""How a record in an answer is read: which type it has, and what stands in it."""

from __future__ import annotations

from decimal import Decimal
from functools import cached_property
from types import ModuleType
from typing import Any, Generic, NotRequired, TypeVar, cast, get_args

from .money import parse_decimal

__all__ = ["Record", "list_of", "load", "object_with", "types", "whole_number"]

_R = TypeVar("_R")


class Record(Generic[_R]):
    """Parses one kind of record: an object that has the `required` fields, whose amounts become Decimal.

    `kind`: the name of its type in `types`. `statuses`: the name of a Literal there of those that a record may have; a
    record with another status is not understood, so it is none.
    """

    def __init__(self, kind: str, *required: str, statuses: str | None = None) -> None:
        self._kind = kind
        self._required = required
        self._status_names = statuses

    def __call__(self, document: Any) -> _R:
        """Return the record in `document`."""
        record = dict(object_with(document, *self._required))
        if "id" in self._required:
            whole_number(record["id"])
        if self._statuses and record.get("status") not in self._statuses:
            raise ValueError("its status is none that is known here")
        for name in self.amounts:
            amount = record.get(name)
            if amount is not None:
                record[name] = parse_decimal(amount)
        return cast("_R", record)

    @cached_property
    def amounts(self) -> tuple[str, ...]:
        """The fields that the type annotates with Decimal, in its order; each may be None."""
        hints = (Decimal, Decimal | None, NotRequired[Decimal], NotRequired[Decimal | None])
        return tuple(name for name, hint in getattr(types(), self._kind).__annotations__.items() if hint in hints)

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
