"""What the paper exchange works on: its prices, and a double-entry ledger for each registration.

A ledger holds the balances of its registration, every entry that led to them, its orders and its sends. A row of an
order or a send is a dict with the columns of its table; amounts in it are decimal text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from ...money import EXACT
from .live_prices import LivePrices
from .looks import PriceRange
from .prices import PriceSource

__all__ = ["Balance", "Ledger", "LedgerTransaction", "OpenMarket", "PaperConfig"]


@dataclass(frozen=True, slots=True)
class Balance:
    """How much is owned of a currency or asset, and how much of that open orders hold."""

    total: Decimal = Decimal(0)
    held: Decimal = Decimal(0)

    @property
    def available(self) -> Decimal:
        """Return what no open order holds."""
        return EXACT.subtract(self.total, self.held)


@dataclass(frozen=True, slots=True)
class OpenMarket:
    """A market in which a registration has open orders.

    All of them were held against the prices of minutes up to `checked` (since 1970), and against the looks at the
    market up to `looked` (microseconds since 1970). `first_end`: the earliest end of one of them, as its row has it.
    """

    currency: str
    asset: str
    open_orders: int
    checked: int
    looked: int
    first_end: str | None = None


class LedgerTransaction(Protocol):
    """A transaction on the ledger of one registration, which no other transaction on it overlaps."""

    @property
    def balances(self) -> Mapping[str, Balance]:
        """Return what is owned, by currency or asset, with the entries of this transaction; empty before the opening.

        A currency or asset of which nothing was ever owned is not in it.
        """
        ...

    @property
    def markets(self) -> list[OpenMarket]:
        """Return the markets in which orders are open."""
        ...

    def reached(self, market: OpenMarket, prices: PriceRange, looked: int) -> list[dict[str, Any]]:
        """Return the open orders whose limit or stop these prices reach, and whose last look was not after `looked`."""
        ...

    def ended(self, market: OpenMarket, time: datetime) -> list[dict[str, Any]]:
        """Return the open orders whose end is not after this time."""
        ...

    def order(self, client_id: str) -> dict[str, Any] | None:
        """Return the order with this id of ours; None: there is none."""
        ...

    def note_checked(self, market: OpenMarket, checked: int, looked: int) -> None:
        """Note up to which minute and look the open orders of a market were held against its prices."""
        ...

    def post_entry(self, kind: str, reference: str | None, currency: str, amount: Decimal) -> None:
        """Add `amount` (negative: take) to the balance of `currency`, by an entry that says why."""
        ...

    def add_order(self, row: Mapping[str, Any]) -> int:
        """Add an order and return its id; what an open one holds is held from now on."""
        ...

    def change_order(self, row: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
        """Write these columns of an order, which `row` is until now; `held` follows."""
        ...

    def cancel_orders(self) -> int:
        """Cancel all open orders, and return how many there were."""
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

    def balances(self) -> dict[str, Balance]:
        """Return what is owned, by currency or asset; empty before the opening."""
        ...

    def markets(self) -> list[OpenMarket]:
        """Return the markets in which orders are open."""
        ...

    def is_reached(self, market: OpenMarket, prices: PriceRange, looked: int) -> bool:
        """Return whether there is an order as `LedgerTransaction.reached` returns them."""
        ...

    def open_orders(self) -> list[dict[str, Any]]:
        """Return the orders that are open, oldest first."""
        ...

    def orders(self, ids: Iterable[int]) -> list[dict[str, Any]]:
        """Return the orders with these ids of the exchange."""
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
    `most_open`: so many orders of a registration may be open.
    """

    prices: PriceSource
    opening: Mapping[str, Decimal]
    open_ledger: Callable[[int], Ledger]
    clock: Callable[[], float] = time.time
    live: LivePrices | None = None
    most_open: int = 10_000

    def minute(self) -> int:
        """Return the minute since 1970."""
        return int(self.clock() // 60)
