"""The code broken on purpose, so that it is seen that the simulation finds such mistakes: `--break NAME`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


#: Name -> what breaks the code of this process.
BREAKAGES: dict[str, Callable[[], None]] = {
    "refusals-are-proof": _refusals_are_proof,
    "blind-resend": _blind_resend,
    "no-grace": _no_grace,
}
