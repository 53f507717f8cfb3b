"""The journal of orders, and that of withdrawals: what is asked of one of them alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select

from ..._addresses import is_caseless
from . import tables as t
from .base import Database
from .journal import Journal, can_be_seen
from .records import Registration, now, time_text
from .registrations import LABELED_COLUMNS, pop_registration

__all__ = ["OrderJournal", "WithdrawalJournal"]

_OPEN_MARKET_ORDERS = (
    select(t.orders, *LABELED_COLUMNS)
    .join(t.registrations)
    .where(
        t.registrations.c.exchange == bindparam("exchange"),
        t.OPEN,
        t.orders.c.type == "market",
        t.orders.c.exchange_order_id.is_not(None),
        can_be_seen(t.orders.c.created),
    )
    .order_by(t.orders.c.id)
)


_UNDER_WAY = select(t.orders.c.id).where(
    t.orders.c.registration_id == bindparam("registration"),
    t.RUNNING_OR_UNKNOWN,
    t.orders.c.created > bindparam("since"),
)


class OrderJournal(Journal):
    """The journal of orders."""

    def __init__(self, database: Database) -> None:
        super().__init__(t.orders, database)

    def under_way(self, registration: int, seconds: float) -> set[int]:
        """Return the ids of the orders of the last so many seconds that may still reach their exchange."""
        with self._database.reading() as runner:
            rows = runner.rows(_UNDER_WAY, {"registration": registration, "since": now(seconds)})
        return {row["id"] for row in rows}

    def open_market_orders(self, exchange: str) -> list[tuple[Registration, dict[str, Any]]]:
        """Return every market order at an exchange that was open when it was read last, with its registration."""
        with self._database.reading() as runner:
            rows = runner.rows(_OPEN_MARKET_ORDERS, {"exchange": exchange})
        return [(pop_registration(row), row) for row in rows]


_SENDS = t.withdrawals.c
_OTHER_SENDS = select(t.withdrawals).where(
    _SENDS.registration_id.in_(select(t.registrations.c.id).where(t.registrations.c.exchange == bindparam("exchange"))),
    _SENDS.asset == bindparam("asset"),
    _SENDS.id != bindparam("id"),
    _SENDS.created.between(bindparam("since"), bindparam("until")),
)
_SIMILAR_SENDS = _OTHER_SENDS.where(_SENDS.address == bindparam("address"))
_SIMILAR_SENDS_IN_ANY_CASE = _OTHER_SENDS.where(func.lower(_SENDS.address) == bindparam("address"))


class WithdrawalJournal(Journal):
    """The journal of sends."""

    def __init__(self, database: Database) -> None:
        super().__init__(t.withdrawals, database)

    def similar(self, exchange: str, row: Mapping[str, Any], since: datetime, until: datetime) -> list[dict[str, Any]]:
        """Return the other sends of the asset of `row` to its address that were created in this time.

        They may be of any registration: two registrations may have the same key.
        """
        values = {name: row[name] for name in ("id", "asset", "address")}
        statement = _SIMILAR_SENDS
        if is_caseless(row["address"]):
            statement, values["address"] = _SIMILAR_SENDS_IN_ANY_CASE, row["address"].lower()
        values |= {"exchange": exchange, "since": time_text(since), "until": time_text(until)}
        with self._database.reading() as runner:
            return runner.rows(statement, values)
