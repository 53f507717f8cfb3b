"""What the paper exchange works on: its prices, and a double-entry ledger for each registration.

A ledger holds the balances of its registration, every entry that led to them, its orders and its sends. A row of an
order or a send is a dict with the columns of its table; amounts in it are decimal text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from .live_prices import LivePrices
from .prices import PriceSource

__all__ = ["Ledger", "LedgerTransaction", "PaperConfig"]


class LedgerTransaction(Protocol):
    """A transaction on the ledger of one registration, which no other transaction on it overlaps."""

    #: By currency or asset, with the entries of this transaction; empty before the opening.
    balances: dict[str, Decimal]

    def open_orders(self) -> list[dict[str, Any]]:
        """Return the orders that are open, oldest first."""
        ...

    def post_entry(self, kind: str, reference: str | None, currency: str, amount: Decimal) -> None:
        """Add `amount` (negative: take) to the balance of `currency`, by an entry that says why."""
        ...

    def add_order(self, values: Mapping[str, Any]) -> int:
        """Add an order and return its id."""
        ...

    def change_order(self, id: int, values: Mapping[str, Any]) -> None:
        """Write these columns of an order."""
        ...

    def add_fill(self, values: Mapping[str, Any]) -> None:
        """Add a fill of an order."""
        ...

    def add_send(self, values: Mapping[str, Any]) -> int:
        """Add a send and return its id."""
        ...


class Ledger(Protocol):
    """The ledger of one registration; the server keeps it in its data base."""

    def transaction(self) -> AbstractContextManager[LedgerTransaction]:
        """Open a transaction: written whole at the end of the block, or not at all when the block raises."""
        ...

    def balances(self) -> dict[str, Decimal]:
        """Return what is owned, by currency or asset; empty before the opening."""
        ...

    def open_orders(self) -> list[dict[str, Any]]:
        """Return the orders that are open, oldest first."""
        ...

    def order(self, client_id: str) -> dict[str, Any] | None:
        """Return the order with this id of ours; None: there is none."""
        ...

    def fills(self, currency: str, asset: str, limit: int, before: int | None = None) -> list[dict[str, Any]]:
        """Return the latest fills of a pair, newest first, of those with ids below `before`; with what their orders
        are.
        """
        ...

    def entries(self, since: datetime | None, after: int, limit: int) -> list[dict[str, Any]]:
        """Return the entries, oldest first, of those with ids above `after`; those since a time where one is given."""
        ...

    def send(self, client_id: str) -> dict[str, Any] | None:
        """Return the send with this id of ours; None: there is none."""
        ...

    def sends(self, limit: int) -> list[dict[str, Any]]:
        """Return the latest sends, newest first."""
        ...


@dataclass(frozen=True, slots=True)
class PaperConfig:
    """What a paper exchange is made with.

    `opening`: the balances that a new ledger begins with. `open_ledger`: returns the ledger of a registration, by its
    id. `clock`: Unix seconds. `live`: the prices of another exchange now, in place of the recorded `prices`.
    """

    prices: PriceSource
    opening: Mapping[str, Decimal]
    open_ledger: Callable[[int], Ledger]
    clock: Callable[[], float] = time.time
    live: LivePrices | None = None

    def minute(self) -> int:
        """Return the minute since 1970."""
        return int(self.clock() // 60)
