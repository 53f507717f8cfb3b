"""What the lines of one call in the log have in common: its id, who calls, what is ordered, and how long it took.

The fields are in a context variable, which goes with a call into its thread (`threads`). Whatever is logged meanwhile,
also by code that knows nothing of calls, gets them in `logs`. Values are names, ids, amounts and times: never a secret.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

__all__ = ["CallLog", "begin_call", "current_call", "current_fields", "log_outcome", "log_with", "note", "with_fields"]


@dataclass(slots=True)
class CallLog:
    """One call, or one piece of work that no caller waits for: then its id is empty."""

    id: str = ""
    #: Of each of its lines, by their names.
    fields: dict[str, Any] = field(default_factory=dict)
    #: When it began, of time.perf_counter().
    began: float = field(default_factory=perf_counter)
    #: How long its requests to exchanges took, together.
    exchange_seconds: float = 0.0
    #: What became of it stands in the log already.
    has_outcome: bool = False

    def times(self) -> dict[str, float]:
        """Return the milliseconds since it began, and of them those at the exchange, if it was asked."""
        times = {"ms": _milliseconds(perf_counter() - self.began)}
        return times | {"exchange_ms": _milliseconds(self.exchange_seconds)} if self.exchange_seconds else times


_current: ContextVar[CallLog | None] = ContextVar("xwrap_call", default=None)


def begin_call() -> CallLog:
    """Return the log of a new call, which is the current one for all that this call does."""
    # Not of the system: to ask it lets another thread run, and a read with eight callers took a quarter more CPU
    # (measured 2026-11-28).
    id = f"{random.getrandbits(48):012x}"
    call = CallLog(id, {"request_id": id})
    _current.set(call)
    return call


def current_call() -> CallLog | None:
    """Return the log of the call to which what runs now belongs; None where it belongs to none."""
    return _current.get()


def current_fields() -> Mapping[str, Any]:
    """Return the fields that a line has that is logged now."""
    call = _current.get()
    return {} if call is None else call.fields


def note(**fields: Any) -> None:
    """Add fields to the further lines of the current call."""
    if (call := _current.get()) is not None:
        call.fields |= fields


@contextmanager
def with_fields(**fields: Any) -> Iterator[None]:
    """Give the lines of a piece of work that no caller waits for these fields."""
    token = _current.set(CallLog(fields=fields))
    try:
        yield
    finally:
        _current.reset(token)


def log_with(log: logging.Logger, level: int, sentence: str, **fields: Any) -> None:
    """Log a sentence with fields of this line alone; of those that the call has, too, these are shown."""
    if log.isEnabledFor(level):
        log.log(level, sentence, extra={"fields": fields}, stacklevel=2)


def log_outcome(log: logging.Logger, level: int, sentence: str, **fields: Any) -> None:
    """Log what became of the current call, with its times: the line that says that it was answered says no more."""
    times: dict[str, float] = {}
    if (call := _current.get()) is not None:
        call.has_outcome = True
        times = call.times()
    if log.isEnabledFor(level):
        log.log(level, sentence, extra={"fields": fields | times}, stacklevel=2)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
