"""The code broken on purpose, so that it is seen that the simulation finds such mistakes: `--break NAME`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import true

from . import parts


def _wrap_execution(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    for kind in parts.EXCHANGES.values():
        for name in ("place", "withdraw"):
            setattr(kind, name, wrap(getattr(kind, name)))


def _refusals_are_proof() -> None:
    """An answer that an earlier delivery of the same request could have caused counts as a refusal."""

    def wrap(execute: Callable[..., Any]) -> Callable[..., Any]:
        def believe(self: Any, request: Any) -> Any:
            try:
                return execute(self, request)
            except parts.ExchangeError as error:
                if error.refusal is None:
                    raise
                raise error.refusal from None

        return believe

    _wrap_execution(wrap)


def _blind_resend() -> None:
    """A lost answer of the exchange makes the server send the order again."""

    def wrap(execute: Callable[..., Any]) -> Callable[..., Any]:
        def resend(self: Any, request: Any) -> Any:
            try:
                return execute(self, request)
            except parts.Unknown:
                return execute(self, request)

        return resend

    _wrap_execution(wrap)


def _no_grace() -> None:
    """The reconciler believes at once that an order which is not at the exchange will never come there."""
    parts.other_settings["reconcile_grace_seconds"] = 0.0
    for kind in parts.EXCHANGES.values():
        kind.valid_seconds = 0.0


def _others_are_dead() -> None:
    """A server takes every other one for dead, and the calls that those carry out for over: no lock shows presence."""
    parts.postgresql.PostgreSQL.is_dead = lambda _self, _server: true()
    question_times = parts.question_times

    def latest_signing(_self: Any, row: Any) -> Any:
        return question_times._parse_time(row["created"]) + timedelta(0)

    question_times.TimesOfRows._latest_signing = latest_signing


def _nonces_by_process() -> None:
    """Each server counts the nonces of a key by itself."""
    last: WeakKeyDictionary[Any, dict[str, int]] = WeakKeyDictionary()

    def next_nonce(self: Any, queue: str, at_least: int) -> int:
        mine = last.setdefault(self, {})
        mine[queue] = max(at_least, mine.get(queue, 0) + 1)
        return mine[queue]

    parts.CounterStore.next_nonce = next_nonce


def _no_queue_between_servers() -> None:
    """The lock that lets one server at a time send with a key lets all of them."""
    parts.CounterStore.lock = lambda *_: nullcontext()


#: Name -> what breaks the code of this process.
BREAKAGES: dict[str, Callable[[], None]] = {
    "refusals-are-proof": _refusals_are_proof,
    "blind-resend": _blind_resend,
    "no-grace": _no_grace,
    "others-are-dead": _others_are_dead,
    "nonces-by-process": _nonces_by_process,
    "no-queue-between-servers": _no_queue_between_servers,
}
#: Those that only several servers show.
OF_MANY = {"others-are-dead", "nonces-by-process", "no-queue-between-servers"}
