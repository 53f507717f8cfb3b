"""The paper exchange's own book: what really happened there, apart from our journals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Insert, Select, bindparam, insert, select, update

from ...money import EXACT, exact, plain
from . import tables as t
from .base import Database, Link
from .records import now

__all__ = ["PaperBook", "PaperPage"]

T = TypeVar("T")

#: Rows that refer to a registration can be added meanwhile.
_LOCK_REGISTRATION = (
    select(t.registrations.c.id).where(t.registrations.c.id == bindparam("id")).with_for_update(key_share=True)
)
_MINE = t.paper_orders.c.registration_id == bindparam("registration")
_PAPER_ORDER = select(t.paper_orders).where(_MINE, t.paper_orders.c.client_id == bindparam("client_id"))
_PAPER_ORDERS = select(t.paper_orders).where(_MINE).order_by(t.paper_orders.c.id.desc()).limit(bindparam("limit"))
_PAPER_OPEN = select(t.paper_orders).where(_MINE, t.OPEN).order_by(t.paper_orders.c.id)
_PAPER_CHANGE = update(t.paper_orders).where(t.paper_orders.c.id == bindparam("row"))
_MY_SENDS = select(t.paper_sends).where(t.paper_sends.c.registration_id == bindparam("registration"))
_PAPER_SEND = _MY_SENDS.where(t.paper_sends.c.client_id == bindparam("client_id"))
_PAPER_SENDS = _MY_SENDS.order_by(t.paper_sends.c.id.desc()).limit(bindparam("limit"))
_PAPER_BALANCES = select(t.paper_balances.c.currency, t.paper_balances.c.total).where(
    t.paper_balances.c.registration_id == bindparam("registration")
)
_ADD_BALANCES = insert(t.paper_balances)
_SET_BALANCES = update(t.paper_balances).where(
    t.paper_balances.c.registration_id == bindparam("registration"), t.paper_balances.c.currency == bindparam("of")
)


class PaperBook:
    """One registration's page of the paper exchange: balances, orders, and every entry that led to them."""

    def __init__(self, database: Database, registration: int) -> None:
        self._database, self._registration = database, registration

    def change(self, work: Callable[[PaperPage], T]) -> T:
        """What `work` returns, done on the page while nobody else can; kept whole, or not at all when it raises."""

        def on_page(link: Link) -> T:
            self._database.lock(link, _LOCK_REGISTRATION, {"id": self._registration})
            page = PaperPage(link, self._registration, self.balances())
            result = work(page)
            page.keep()
            return result

        return self._database.write(on_page)

    def balances(self) -> dict[str, Decimal]:
        """What is owned, by currency; empty before the opening."""
        return {row["currency"]: exact(row["total"]) for row in self._rows(_PAPER_BALANCES)}

    def open_orders(self) -> list[dict[str, Any]]:
        """The orders that wait for their price, oldest first."""
        return self._rows(_PAPER_OPEN)

    def order(self, client_id: str) -> dict[str, Any] | None:
        """The order that carries `client_id`."""
        return next(iter(self._rows(_PAPER_ORDER, client_id=client_id)), None)

    def orders(self, limit: int) -> list[dict[str, Any]]:
        """The latest orders, newest first."""
        return self._rows(_PAPER_ORDERS, limit=limit)

    def send(self, client_id: str) -> dict[str, Any] | None:
        """The send that carries `client_id`."""
        return next(iter(self._rows(_PAPER_SEND, client_id=client_id)), None)

    def sends(self, limit: int) -> list[dict[str, Any]]:
        """The latest sends, newest first."""
        return self._rows(_PAPER_SENDS, limit=limit)

    def _rows(self, query: Select[Any], **asked: Any) -> list[dict[str, Any]]:
        with self._database.reading() as link:
            return link.rows(query, {"registration": self._registration, **asked})


class PaperPage:
    """A page of the book, open for writing."""

    def __init__(self, link: Link, registration: int, balances: dict[str, Decimal]) -> None:
        self._link, self._registration = link, registration
        self._moment = now()
        self._known = set(balances)
        self._entries: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] | None = None
        self.balances = balances

    def open_orders(self) -> list[dict[str, Any]]:
        """The orders that wait for their price, oldest first."""
        if self._open is None:
            self._open = self._link.rows(_PAPER_OPEN, {"registration": self._registration})
        return self._open

    def enter(self, kind: str, reference: str | None, currency: str, amount: Decimal) -> None:
        """Add `amount` (negative: take) to the balance of `currency`, with an entry that says why."""
        self.balances[currency] = EXACT.add(self.balances.get(currency, Decimal(0)), amount)
        entry = {"kind": kind, "reference": reference, "currency": currency, "amount": plain(amount)}
        self._entries.append(self._stamped(entry))

    def add_order(self, values: Mapping[str, Any]) -> int:
        """Keep a new order; its number."""
        self._open = None
        return self._link.insert(t.paper_orders, self._stamped(values))

    def change_order(self, id: int, values: Mapping[str, Any]) -> None:
        """Keep what became of an order."""
        self._open = None
        self._link.change(_PAPER_CHANGE, {"row": id, **values})

    def add_send(self, values: Mapping[str, Any]) -> int:
        """Keep a send; its number."""
        return self._link.insert(t.paper_sends, self._stamped(values))

    def keep(self) -> None:
        """Write the entries and the balances that they changed."""
        changed = dict.fromkeys(entry["currency"] for entry in self._entries)
        totals = [(currency, plain(self.balances[currency])) for currency in changed]
        place = {"registration_id": self._registration}
        new = [{**place, "currency": name, "total": total} for name, total in totals if name not in self._known]
        old = [
            {"registration": self._registration, "of": name, "total": total}
            for name, total in totals
            if name in self._known
        ]
        if self._entries:
            named = {f"{name}_{at}": value for at, row in enumerate(self._entries) for name, value in row.items()}
            self._link.change(_add_entries(len(self._entries)), named)
        for statement, rows in ((_ADD_BALANCES, new), (_SET_BALANCES, old)):
            self._link.change_each(statement, rows)

    def _stamped(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"registration_id": self._registration, "created": self._moment, **values}


@cache
def _add_entries(count: int) -> Insert:
    """One statement for so many entries, whose values are named like `amount_0`."""
    names = [column.name for column in t.paper_entries.c if column.name != "id"]
    return insert(t.paper_entries).values([{name: bindparam(f"{name}_{at}") for name in names} for at in range(count)])
