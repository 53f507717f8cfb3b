"""Where the paper exchange keeps its books."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from .prices import Prices

__all__ = ["Ledger", "LedgerTransaction", "PaperConfig"]


class LedgerTransaction(Protocol):
    """A registration's page of the book, open for writing."""

    balances: dict[str, Decimal]

    def open_orders(self) -> list[dict[str, Any]]: ...
    def post_entry(self, kind: str, reference: str | None, currency: str, amount: Decimal) -> None: ...
    def add_order(self, values: Mapping[str, Any]) -> int: ...
    def change_order(self, id: int, values: Mapping[str, Any]) -> None: ...
    def add_send(self, values: Mapping[str, Any]) -> int: ...


class Ledger(Protocol):
    """Where a registration's balances, orders and entries are kept; the server's store has it."""

    def transaction(self) -> AbstractContextManager[LedgerTransaction]: ...
    def balances(self) -> dict[str, Decimal]: ...
    def open_orders(self) -> list[dict[str, Any]]: ...
    def order(self, client_id: str) -> dict[str, Any] | None: ...
    def orders(self, limit: int) -> list[dict[str, Any]]: ...
    def send(self, client_id: str) -> dict[str, Any] | None: ...
    def sends(self, limit: int) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class PaperConfig:
    """What the paper exchange stands on: its prices, what a new book opens with, where the books are kept, and the
    time.
    """

    prices: Prices
    opening: Mapping[str, Decimal]
    open_ledger: Callable[[int], Ledger]
    clock: Callable[[], float] = time.time
