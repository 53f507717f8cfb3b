"""A way to an exchange on which what executes something arrives twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..transport import Request, Response, Transport

__all__ = ["DeliverTwice", "Ledger"]

#: Returns what was really executed, one row for each order and send.
Ledger = Callable[[], Sequence[Mapping[str, Any]]]


class DeliverTwice(Transport):
    """Delivers each request that executes something twice; the answer is that to the second delivery."""

    def __init__(self, transport: Transport, ledger: Ledger) -> None:
        """Open no connections; those of `transport` are used."""
        self._transport = transport
        self._ledger = ledger

    def send(self, request: Request, *, timeout: float | None = None) -> Response:
        executed = len(self._ledger())
        answer = self._transport.send(request, timeout=timeout)
        return answer if len(self._ledger()) == executed else self._transport.send(request, timeout=timeout)
