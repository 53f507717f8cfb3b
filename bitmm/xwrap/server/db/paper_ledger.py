"""The ledgers of the paper exchange: what really happened there, apart from the journals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, bindparam, insert, select, update

from ...money import EXACT, exact, plain
from . import tables as t
from .base import Database, StatementRunner
from .records import now, time_text

__all__ = ["PaperLedger", "PaperTransaction", "open_markets"]

#: Rows that refer to the registration can be added by others meanwhile.
_LOCK_REGISTRATION = (
    select(t.registrations.c.id).where(t.registrations.c.id == bindparam("id")).with_for_update(key_share=True)
)
_OF_REGISTRATION = t.paper_orders.c.registration_id == bindparam("registration")
_ORDER_BY_CLIENT_ID = select(t.paper_orders).where(
    _OF_REGISTRATION, t.paper_orders.c.client_id == bindparam("client_id")
)
#: With what the order of each fill is.
_LATEST_FILLS = (
    select(t.paper_fills, t.paper_orders.c.side, t.paper_orders.c.currency, t.paper_orders.c.asset)
    .join(t.paper_orders, t.paper_orders.c.id == t.paper_fills.c.order_id)
    .where(
        t.paper_fills.c.registration_id == bindparam("registration"),
        t.paper_fills.c.id < bindparam("before"),
        t.paper_orders.c.currency == bindparam("currency"),
        t.paper_orders.c.asset == bindparam("asset"),
    )
    .order_by(t.paper_fills.c.id.desc())
    .limit(bindparam("limit"))
)
_OPEN_ORDERS = select(t.paper_orders).where(_OF_REGISTRATION, t.OPEN).order_by(t.paper_orders.c.id)
_CHANGE_ORDER = update(t.paper_orders).where(t.paper_orders.c.id == bindparam("row"))
_ENTRIES = (
    select(t.paper_entries)
    .where(
        t.paper_entries.c.registration_id == bindparam("registration"),
        t.paper_entries.c.id > bindparam("after"),
        t.paper_entries.c.created >= bindparam("since"),
    )
    .order_by(t.paper_entries.c.id)
    .limit(bindparam("limit"))
)
_ALL_SENDS = select(t.paper_sends).where(t.paper_sends.c.registration_id == bindparam("registration"))
_SEND_BY_CLIENT_ID = _ALL_SENDS.where(t.paper_sends.c.client_id == bindparam("client_id"))
_LATEST_SENDS = _ALL_SENDS.order_by(t.paper_sends.c.id.desc()).limit(bindparam("limit"))
_BALANCES = select(t.paper_balances.c.currency, t.paper_balances.c.total).where(
    t.paper_balances.c.registration_id == bindparam("registration")
)
_ADD_ENTRIES, _ADD_BALANCES, _ADD_FILLS = insert(t.paper_entries), insert(t.paper_balances), insert(t.paper_fills)
#: The markets in which orders are open, by registration.
_OPEN_MARKETS = (
    select(t.paper_orders.c.registration_id, t.paper_orders.c.currency, t.paper_orders.c.asset).where(t.OPEN).distinct()
)
_SET_BALANCES = update(t.paper_balances).where(
    t.paper_balances.c.registration_id == bindparam("registration"), t.paper_balances.c.currency == bindparam("of")
)


def open_markets(database: Database) -> list[dict[str, Any]]:
    """Return the markets in which orders are open: the registration, the currency and the asset of each."""
    with database.reading() as runner:
        return runner.rows(_OPEN_MARKETS, {})


class PaperLedger:
    """The ledger of one registration: see `exchanges.paper.Ledger`."""

    def __init__(self, database: Database, registration: int) -> None:
        self._database, self._registration = database, registration

    @contextmanager
    def transaction(self) -> Iterator[PaperTransaction]:
        """Open a transaction: written whole at the end of the block, or not at all when the block raises.

        Within a write it is a part of that one, so an order on paper and its row in the journal are one write.
        """
        with self._database.writing() as runner:
            self._database.lock_rows(runner, _LOCK_REGISTRATION, {"id": self._registration})
            transaction = PaperTransaction(runner, self._registration, self.balances())
            yield transaction
            transaction.flush()

    def balances(self) -> dict[str, Decimal]:
        """Return what is owned, by currency; empty before the opening."""
        return {row["currency"]: exact(row["total"]) for row in self._rows(_BALANCES)}

    def open_orders(self) -> list[dict[str, Any]]:
        """Return the orders that are open, oldest first."""
        return self._rows(_OPEN_ORDERS)

    def order(self, client_id: str) -> dict[str, Any] | None:
        """Return the order with this id of ours."""
        return next(iter(self._rows(_ORDER_BY_CLIENT_ID, client_id=client_id)), None)

    def fills(self, currency: str, asset: str, limit: int, before: int | None = None) -> list[dict[str, Any]]:
        """Return the latest fills of a pair, newest first, of those with ids below `before`; with what their orders
        are.
        """
        first = 2**63 - 1 if before is None else before
        return self._rows(_LATEST_FILLS, currency=currency, asset=asset, limit=limit, before=first)

    def entries(self, since: datetime | None, after: int, limit: int) -> list[dict[str, Any]]:
        """Return the entries, oldest first, of those with ids above `after`; those since a time where one is given."""
        text = "" if since is None else time_text(since)
        return self._rows(_ENTRIES, since=text, after=after, limit=limit)

    def send(self, client_id: str) -> dict[str, Any] | None:
        """Return the send with this id of ours."""
        return next(iter(self._rows(_SEND_BY_CLIENT_ID, client_id=client_id)), None)

    def sends(self, limit: int) -> list[dict[str, Any]]:
        """Return the latest sends, newest first."""
        return self._rows(_LATEST_SENDS, limit=limit)

    def _rows(self, statement: Select[Any], **values: Any) -> list[dict[str, Any]]:
        with self._database.reading() as runner:
            return runner.rows(statement, {"registration": self._registration, **values})


class PaperTransaction:
    """A transaction on a ledger: see `exchanges.paper.LedgerTransaction`. `flush` writes it."""

    def __init__(self, runner: StatementRunner, registration: int, balances: dict[str, Decimal]) -> None:
        self._runner, self._registration = runner, registration
        #: What every new row begins with.
        self._columns = {"registration_id": registration, "created": now()}
        self._known = set(balances)
        self._entries: list[dict[str, Any]] = []
        self._fills: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] | None = None
        self.balances = balances

    def open_orders(self) -> list[dict[str, Any]]:
        """Return the orders that are open, oldest first."""
        if self._open is None:
            self._open = self._runner.rows(_OPEN_ORDERS, {"registration": self._registration})
        return self._open

    def post_entry(self, kind: str, reference: str | None, currency: str, amount: Decimal) -> None:
        """Add `amount` (negative: take) to the balance of `currency`, by an entry that says why."""
        self.balances[currency] = EXACT.add(self.balances.get(currency, Decimal(0)), amount)
        entry = {"kind": kind, "reference": reference, "currency": currency, "amount": plain(amount)}
        self._entries.append({**self._columns, **entry})

    def add_order(self, values: Mapping[str, Any]) -> int:
        """Add an order and return its id."""
        self._open = None
        return self._runner.insert(t.paper_orders, {**self._columns, **values})

    def change_order(self, id: int, values: Mapping[str, Any]) -> None:
        """Write these columns of an order."""
        self._open = None
        self._runner.change(_CHANGE_ORDER, {"row": id, **values})

    def add_fill(self, values: Mapping[str, Any]) -> None:
        """Add a fill of an order."""
        self._fills.append({**self._columns, **values})

    def add_send(self, values: Mapping[str, Any]) -> int:
        """Add a send and return its id."""
        return self._runner.insert(t.paper_sends, {**self._columns, **values})

    def flush(self) -> None:
        """Write the fills, the entries and the balances that they changed."""
        added: list[dict[str, Any]] = []
        changed: list[dict[str, Any]] = []
        for currency in dict.fromkeys(entry["currency"] for entry in self._entries):
            total = plain(self.balances[currency])
            if currency in self._known:
                changed.append({"registration": self._registration, "of": currency, "total": total})
            else:
                added.append({"registration_id": self._registration, "currency": currency, "total": total})
        self._runner.change_each(_ADD_ENTRIES, self._entries)
        self._runner.change_each(_ADD_FILLS, self._fills)
        self._runner.change_each(_ADD_BALANCES, added)
        self._runner.change_each(_SET_BALANCES, changed)
