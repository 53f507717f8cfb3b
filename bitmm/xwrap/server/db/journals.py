"""The journal of orders, and that of withdrawals: what is asked of one of them alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any, ClassVar

from sqlalchemy import (
    CompoundSelect,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal,
    not_,
    select,
    update,
)

from ..._addresses import is_caseless
from . import archive_tables as a
from . import tables as t
from .archive import key_digest
from .base import Database
from .id_lists import id_values, is_one_of
from .journal import Journal
from .notices import NoticeStore
from .records import Registration, is_in_place, now, time_text
from .registrations import LABELED_COLUMNS, can_be_seen, pop_registration
from .statements import StatementRunner

__all__ = ["OrderJournal", "WithdrawalJournal", "is_short"]

_OPEN_ORDERS_ANYWHERE = (
    select(t.orders, *LABELED_COLUMNS)
    .join(t.registrations)
    .where(t.OPEN, t.orders.c.exchange_order_id.is_not(None), can_be_seen(t.orders.c.created))
)
_OPEN_ORDERS = _OPEN_ORDERS_ANYWHERE.where(t.registrations.c.exchange == bindparam("exchange"))
#: Without an ORDER BY id: for that SQLite read the whole journal in its order, 36 ms a second at 300,000 orders
#: (2026-11-28), in place of the few rows of their index.
_OPEN_MARKET_ORDERS = _OPEN_ORDERS.where(t.OPEN_MARKET_ORDER)
_OPEN_RESTING_ORDERS = _OPEN_ORDERS.where(not_(and_(t.orders.c.type == "market", t.orders.c.stop.is_(None))))
_EXCHANGES = _OPEN_ORDERS_ANYWHERE.with_only_columns(t.registrations.c.exchange)

_BY_KEY = and_(t.orders.c.registration_id == bindparam("registration"), t.orders.c.key == bindparam("key"))
#: What stays of an order that was archived, in the columns that `Journal.by_key` gives of it.
_ARCHIVED = (
    a.archived_keys.c.order_id.label("archived_id"),
    a.archived_keys.c.status.label("archived_status"),
    a.archived_keys.c.created.label("archived_created"),
    a.archives.c.name.label("archive"),
)
_ARCHIVED_BY_KEY = and_(
    a.archived_keys.c.registration_id == bindparam("registration"), a.archived_keys.c.digest == bindparam("digest")
)
#: One statement: each new order asks this.
_BY_KEY_OR_ARCHIVED = select(t.orders, *_ARCHIVED).select_from(
    select(literal(1).label("one"))
    .subquery()
    .outerjoin(t.orders, _BY_KEY)
    .outerjoin(a.archived_keys, _ARCHIVED_BY_KEY)
    .outerjoin(a.archives)
)
_ARCHIVED_BY_ID = (
    select(*_ARCHIVED)
    .join_from(a.archived_keys, a.archives)
    .where(
        a.archived_keys.c.order_id == bindparam("id"), a.archived_keys.c.registration_id == bindparam("registration")
    )
)

_UNDER_WAY = select(t.orders.c.id).where(
    t.orders.c.registration_id == bindparam("registration"),
    t.RUNNING_OR_UNKNOWN,
    t.orders.c.created > bindparam("since"),
)
_CHANGES = t.order_changes.c
#: The number that was taken last, for a row that there is, and for one that is added.
_NUMBER_OF_ROW = select(_CHANGES.number).where(_CHANGES.registration_id == t.orders.c.registration_id).scalar_subquery()
_NUMBER_OF_NEW = select(_CHANGES.number).where(_CHANGES.registration_id == bindparam("numbered")).scalar_subquery()
_REPLACEMENT = select(t.orders.c.id).where(
    t.IS_REPLACEMENT,
    t.orders.c.replaces == bindparam("replaced"),
    t.orders.c.registration_id == bindparam("registration"),
    t.orders.c.status != "rejected",
)
_NUMBERED = update(t.orders).values(change=_NUMBER_OF_ROW)
_SET_AMOUNT = _NUMBERED.where(
    t.orders.c.id == bindparam("row"), t.orders.c.created == bindparam("begun"), t.orders.c.status == "running"
)
_CHANGED = (
    select(t.orders)
    .where(t.orders.c.registration_id == bindparam("registration"), t.orders.c.change > bindparam("after"))
    .order_by(t.orders.c.change)
    .limit(bindparam("limit"))
)


@cache
def _last_changes(size: int) -> Select[Any]:
    return select(t.order_changes).where(is_one_of(t.order_changes.c.registration_id, size))


@cache
def _exchanges_to_follow(size: int | None) -> Select[Any] | CompoundSelect[Any]:
    if size is None:
        return _EXCHANGES.distinct()
    # Each part has an index, so that many orders that rest cost nothing.
    market_orders = _EXCHANGES.where(t.OPEN_MARKET_ORDER)
    if not size:
        return market_orders.distinct()
    return market_orders.union(_EXCHANGES.where(is_one_of(t.orders.c.registration_id, size)))


@cache
def _open_resting_orders(size: int) -> Select[Any]:
    return _OPEN_RESTING_ORDERS.where(is_one_of(t.orders.c.registration_id, size))


def _archived(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: row[f"archived_{name}"] for name in ("id", "status", "created")}
    return {**kept, "archive": row["archive"], "released": False}


def is_short(row: Mapping[str, Any]) -> bool:
    """Return whether an order is over soon by itself: it has neither a price nor a stop."""
    return row["type"] == "market" and row["stop"] is None


#: The order that was amended in place goes on in another row, which has all its fills from then on.
_END_AMENDED = _NUMBERED.where(
    t.orders.c.id == bindparam("row"), t.orders.c.exchange_order_id == bindparam("of")
).values(filled="0", average=None, spent="0", fee=None, fee_currency=None)


_Commit = Callable[[Mapping[str, Any], Mapping[str, Any]], bool]


def _amends(row: Mapping[str, Any], columns: Mapping[str, Any]) -> bool:
    """Return whether the outcome of a row is that another order was amended in place."""
    return is_in_place(row) and columns["status"] not in {"unknown", "rejected"}


class OrderJournal(Journal):
    """The journal of orders."""

    _added: ClassVar[Mapping[str, Any]] = {"change": _NUMBER_OF_NEW}
    _written: ClassVar[Mapping[str, Any]] = {"change": _NUMBER_OF_ROW}

    def __init__(self, database: Database, notices: NoticeStore) -> None:
        super().__init__(t.orders, database, notices)
        take = database.insert(t.order_changes)
        at_least = take.excluded.number
        self._take_number = take.on_conflict_do_update(
            index_elements=[_CHANGES.registration_id],
            set_={"number": case((at_least > _CHANGES.number, at_least), else_=_CHANGES.number + 1)},
        )

    def by_key(self, registration: int, key: str) -> dict[str, Any] | None:
        """Return the row of a registration that has this key.

        Of one that was archived its id, status and time of creation are left, and the name of its `archive`.
        """
        with self._database.reading() as runner:
            values = {"registration": registration, "key": key, "digest": key_digest(key)}
            row = runner.first(_BY_KEY_OR_ARCHIVED, values)
        if row is None or row["id"] is None:
            return None if row is None or row["archive"] is None else {"key": key, **_archived(row)}
        return {name: value for name, value in row.items() if name in t.orders.c}

    def archived(self, registration: int, id: int) -> dict[str, Any] | None:
        """Return what is left of an order of a registration that was archived, as `by_key` does."""
        with self._database.reading() as runner:
            row = runner.first(_ARCHIVED_BY_ID, {"registration": registration, "id": id})
        return None if row is None else _archived(row)

    def under_way(self, registration: int, seconds: float) -> set[int]:
        """Return the ids of the orders of the last so many seconds that may still reach their exchange."""
        with self._database.reading() as runner:
            rows = runner.rows(_UNDER_WAY, {"registration": registration, "since": now(seconds)})
        return {row["id"] for row in rows}

    def followed_at(self, registrations: Iterable[int] | None) -> set[str]:
        """Return the exchanges that have any of `open_market_orders`, or of `open_resting_orders` of these
        registrations (None: of all); one query for all exchanges.
        """
        ids = {} if registrations is None else id_values(registrations)
        statement = _exchanges_to_follow(None if registrations is None else len(ids))
        with self._database.reading() as runner:
            return {row["exchange"] for row in runner.rows(statement, ids)}

    def open_market_orders(self, exchange: str) -> list[tuple[Registration, dict[str, Any]]]:
        """Return every market order without a stop at an exchange that was open when it was read last, oldest first,
        with its registration.
        """
        with self._database.reading() as runner:
            rows = runner.rows(_OPEN_MARKET_ORDERS, {"exchange": exchange})
        rows.sort(key=itemgetter("id"))
        return [(pop_registration(row), row) for row in rows]

    def open_resting_orders(
        self, exchange: str, registrations: Iterable[int] | None
    ) -> list[tuple[Registration, dict[str, Any]]]:
        """Return the orders of these registrations (None: of all) at an exchange that were open when they were read
        last, and rest: those with a price or a stop.
        """
        ids = {} if registrations is None else id_values(registrations)
        if registrations is not None and not ids:
            return []
        statement = _OPEN_RESTING_ORDERS if registrations is None else _open_resting_orders(len(ids))
        with self._database.reading() as runner:
            rows = runner.rows(statement, {"exchange": exchange, **ids})
        return [(pop_registration(row), row) for row in rows]

    def last_changes(self, registrations: Iterable[int]) -> dict[int, int]:
        """Return the number of the last change of each of these registrations that has had an order; one query."""
        if not (ids := id_values(registrations)):
            return {}
        with self._database.reading() as runner:
            rows = runner.rows(_last_changes(len(ids)), ids)
        return {row["registration_id"]: row["number"] for row in rows}

    def replacement(self, registration: int, id: int) -> int | None:
        """Return the id of the order that takes the place of another one, and was not refused; None: there is none."""
        with self._database.reading() as runner:
            found = runner.value(_REPLACEMENT, {"registration": registration, "replaced": id})
        return None if found is None else int(found)

    def set_amount(self, row: Mapping[str, Any], amount: str) -> dict[str, Any]:
        """Write the amount of an order that is about to be placed; return the columns that changed.

        Raises RuntimeError when its row was given up meanwhile: then it must not be placed.
        """
        columns = {"amount": amount, "updated": now()}
        values = {"row": row["id"], "begun": row["created"], **columns}
        if self._write(row["registration_id"], _SET_AMOUNT, values) != 1:
            raise RuntimeError(f"order {row['id']} was given up before it was placed")
        return columns

    def finish(self, row: Mapping[str, Any], columns: Mapping[str, Any]) -> bool:
        """Commit the outcome of a row, as any journal does; and that an order was amended, in the same transaction."""
        return self._commit(super().finish, row, columns)

    def reconcile(self, row: Mapping[str, Any], columns: Mapping[str, Any]) -> bool:
        """Commit the outcome of a row that was unknown, as any journal does; and that an order was amended."""
        return self._commit(super().reconcile, row, columns)

    def _commit(self, work: _Commit, row: Mapping[str, Any], columns: Mapping[str, Any]) -> bool:
        """Commit an outcome with `work`, which says whether it counts, and what follows from it in one transaction."""
        if not _amends(row, columns):
            return work(row, columns)
        return self._database.write(lambda _: work(row, columns) and self._end_amended(row))

    def _end_amended(self, row: Mapping[str, Any]) -> bool:
        """End the row of the order that a row amended in place; return True."""
        reason = f"it was amended, and is order {row['id']} since then"
        values = {"row": row["replaces"], "of": row["exchange_order_id"]}
        values |= {"status": "canceled", "reason": reason, "updated": now()}
        self._write(row["registration_id"], _END_AMENDED, values)
        return True

    def changed(self, registration: int, after: int, limit: int) -> list[dict[str, Any]]:
        """Return the rows of a registration that changed after this number, in the order of their last changes."""
        with self._database.reading() as runner:
            return runner.rows(_CHANGED, {"registration": registration, "after": after, "limit": limit})

    def _number_change(self, runner: StatementRunner, registration: int) -> dict[str, Any]:
        """Take the number of a change: the time in microseconds, or one more than the last where that is not less.

        So a data base that was restored from a copy gives no number a second time, unless its clock went back.
        """
        runner.later(self._take_number, {"registration_id": registration, "number": time.time_ns() // 1000})
        runner.changes_orders = True
        return {"numbered": registration}


_SENDS = t.withdrawals.c
_OTHER_SENDS = select(t.withdrawals).where(
    _SENDS.registration_id.in_(select(t.registrations.c.id).where(t.registrations.c.exchange == bindparam("exchange"))),
    _SENDS.asset == bindparam("asset"),
    _SENDS.id != bindparam("id"),
    _SENDS.created.between(bindparam("since"), bindparam("until")),
)
_OTHER_TRANSFERS = _OTHER_SENDS.where(_SENDS.to_registration.is_not(None))
_SIMILAR_SENDS = _OTHER_SENDS.where(_SENDS.address == bindparam("address"))
_SIMILAR_SENDS_IN_ANY_CASE = _OTHER_SENDS.where(func.lower(_SENDS.address) == bindparam("address"))


class WithdrawalJournal(Journal):
    """The journal of sends."""

    def __init__(self, database: Database, notices: NoticeStore) -> None:
        super().__init__(t.withdrawals, database, notices)

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

    def other_transfers(
        self, exchange: str, row: Mapping[str, Any], since: datetime, until: datetime
    ) -> list[dict[str, Any]]:
        """Return the other transfers of the asset of `row` that were created in this time, of any registration."""
        values = {"id": row["id"], "asset": row["asset"], "exchange": exchange}
        values |= {"since": time_text(since), "until": time_text(until)}
        with self._database.reading() as runner:
            return runner.rows(_OTHER_TRANSFERS, values)
