"""The ledgers of the paper exchange: what really happened there, apart from the journals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, case, delete, func, insert, select, update
from sqlalchemy.sql.elements import TextClause

from ...exchanges.paper.bookings import given_by
from ...exchanges.paper.ledger import Balance, OpenMarket
from ...exchanges.paper.looks import PriceRange
from ...money import EXACT, exact, plain
from . import paper_tables as paper
from . import tables as t
from .base import Database
from .id_lists import is_one_of, many_id_values
from .price_keys import price_key
from .records import now, time_text
from .statements import Statement, StatementRunner

__all__ = ["PaperLedger", "PaperTransaction", "open_markets"]

#: Rows that refer to the registration can be added by others meanwhile.
_LOCK_REGISTRATION = (
    select(t.registrations.c.id).where(t.registrations.c.id == bindparam("id")).with_for_update(key_share=True)
)
_P, _B, _M = paper.orders.c, paper.balances.c, paper.markets.c
_OF_REGISTRATION = _P.registration_id == bindparam("registration")
_ORDER_BY_CLIENT_ID = select(paper.orders).where(_OF_REGISTRATION, _P.client_id == bindparam("client_id"))
#: With what the order of each fill is.
_LATEST_FILLS = (
    select(paper.fills, _P.side, _P.currency, _P.asset)
    .join(paper.orders, _P.id == paper.fills.c.order_id)
    .where(
        paper.fills.c.registration_id == bindparam("registration"),
        paper.fills.c.id < bindparam("before"),
        _P.currency == bindparam("currency"),
        _P.asset == bindparam("asset"),
    )
    .order_by(paper.fills.c.id.desc())
    .limit(bindparam("limit"))
)
_OPEN_ORDERS = select(paper.orders).where(_OF_REGISTRATION, t.OPEN).order_by(_P.id)


@cache
def _orders_of(size: int) -> Select[Any]:
    # Without the registration: by that SQLite would read all of its orders. Their ids are looked up.
    return select(paper.orders).where(is_one_of(_P.id, size))


_CHANGE_ORDER = update(paper.orders).where(_P.id == bindparam("row"))
#: As `exchanges.paper.bookings.canceled` says it of one; only what was filled has an average.
_CANCEL_ORDERS = (
    update(paper.orders)
    .where(_OF_REGISTRATION, t.OPEN)
    .values(
        status=case((_P.average.is_(None), "canceled"), else_="partly_filled"), held="0", reason=None, price_key=None
    )
)
_OF_MARKET = _OF_REGISTRATION, _P.currency == bindparam("currency"), _P.asset == bindparam("asset")
_ENDED = select(paper.orders).where(*_OF_MARKET, paper.OPEN_WITH_END, _P.expires <= bindparam("time"))


def _waiting(kind: TextClause, side: str, reached: ColumnElement[bool]) -> Select[Any]:
    """Return the open orders of a kind and side in a market that a price reached."""
    looked = func.coalesce(_P.looked, 0) <= bindparam("looked")
    return select(paper.orders).where(*_OF_MARKET, kind, _P.side == side, reached, looked)


#: Each part is a range of an index. A limit waits for a price that is better, a stop for one that is worse.
_REACHED = _waiting(paper.OPEN_LIMITS, "buy", _P.price_key >= bindparam("lowest_ask")).union_all(
    _waiting(paper.OPEN_LIMITS, "sell", _P.price_key <= bindparam("highest_bid")),
    _waiting(paper.OPEN_STOPS, "buy", _P.price_key <= bindparam("highest_ask")),
    _waiting(paper.OPEN_STOPS, "sell", _P.price_key >= bindparam("lowest_bid")),
)
_ONE_REACHED = _REACHED.limit(1)
_ENTRIES = (
    select(paper.entries)
    .where(
        paper.entries.c.registration_id == bindparam("registration"),
        paper.entries.c.id > bindparam("after"),
        paper.entries.c.created >= bindparam("since"),
    )
    .order_by(paper.entries.c.id)
    .limit(bindparam("limit"))
)
_ALL_SENDS = select(paper.sends).where(paper.sends.c.registration_id == bindparam("registration"))
_SEND_BY_CLIENT_ID = _ALL_SENDS.where(paper.sends.c.client_id == bindparam("client_id"))
_LATEST_SENDS = _ALL_SENDS.order_by(paper.sends.c.id.desc()).limit(bindparam("limit"))
_BALANCES = select(_B.currency, _B.total, _B.held).where(_B.registration_id == bindparam("registration"))
_SET_BALANCES = update(paper.balances).where(
    _B.registration_id == bindparam("registration"), _B.currency == bindparam("of")
)
_FIRST_END = (
    select(func.min(_P.expires))
    .where(
        *(_P[name] == _M[name] for name in ("registration_id", "currency", "asset")),
        paper.OPEN_WITH_END,
    )
    .scalar_subquery()
)
_MARKETS = select(_M.currency, _M.asset, _M.open_orders, _M.checked, _M.looked, _FIRST_END.label("first_end")).where(
    _M.registration_id == bindparam("registration")
)
_THIS_MARKET = (
    _M.registration_id == bindparam("registration"),
    _M.currency == bindparam("of_currency"),
    _M.asset == bindparam("of_asset"),
)
_SET_MARKETS, _REMOVE_MARKETS = (command(paper.markets).where(*_THIS_MARKET) for command in (update, delete))
_ADD_ENTRIES, _ADD_FILLS, _ADD_BALANCES, _ADD_MARKETS = map(
    insert, (paper.entries, paper.fills, paper.balances, paper.markets)
)
#: Of all registrations.
_OPEN_MARKETS = select(_M.registration_id, _M.currency, _M.asset)


def open_markets(database: Database) -> list[dict[str, Any]]:
    """Return the markets in which orders are open: the registration, the currency and the asset of each."""
    with database.reading() as runner:
        return runner.rows(_OPEN_MARKETS)


def _range_values(market: OpenMarket, prices: PriceRange, looked: int) -> dict[str, Any]:
    """Return the values of `_REACHED`."""
    return {
        "currency": market.currency,
        "asset": market.asset,
        "looked": looked,
        "lowest_ask": price_key(prices.lowest_ask),
        "highest_ask": price_key(prices.highest_ask),
        "lowest_bid": price_key(prices.lowest_bid),
        "highest_bid": price_key(prices.highest_bid),
    }


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
            mine = {"registration": self._registration}
            balances, markets = runner.rows_of_each((_BALANCES, mine), (_MARKETS, mine))
            transaction = PaperTransaction(runner, self._registration, _balances(balances), _markets(markets))
            yield transaction
            transaction.flush()

    def balances(self) -> dict[str, Balance]:
        """Return what is owned, by currency or asset; empty before the opening."""
        return _balances(self._rows(_BALANCES))

    def markets(self) -> list[OpenMarket]:
        """Return the markets in which orders are open."""
        return _markets(self._rows(_MARKETS))

    def is_reached(self, market: OpenMarket, prices: PriceRange, looked: int) -> bool:
        """Return whether these prices reach an open order whose last look was not after `looked`."""
        return bool(self._rows(_ONE_REACHED, **_range_values(market, prices, looked)))

    def open_orders(self) -> list[dict[str, Any]]:
        """Return the orders that are open, oldest first."""
        return self._rows(_OPEN_ORDERS)

    def orders(self, ids: Iterable[int]) -> list[dict[str, Any]]:
        """Return the orders with these ids of the exchange."""
        rows = [row for some in many_id_values(ids) for row in self._rows(_orders_of(len(some)), **some)]
        return [row for row in rows if row["registration_id"] == self._registration]

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

    def _rows(self, statement: Statement, **values: Any) -> list[dict[str, Any]]:
        with self._database.reading() as runner:
            return runner.rows(statement, {"registration": self._registration, **values})


def _balances(rows: Iterable[Mapping[str, Any]]) -> dict[str, Balance]:
    return {row["currency"]: Balance(exact(row["total"]), exact(row["held"])) for row in rows}


def _markets(rows: Iterable[Mapping[str, Any]]) -> list[OpenMarket]:
    return [OpenMarket(**row) for row in rows]


class PaperTransaction:
    """A transaction on a ledger: see `exchanges.paper.LedgerTransaction`. `flush` writes it.

    What the open orders hold, how many there are and the keys of their prices follow from the rows that are written.
    """

    def __init__(
        self, runner: StatementRunner, registration: int, balances: dict[str, Balance], markets: list[OpenMarket]
    ) -> None:
        self._runner, self._registration = runner, registration
        #: What every new row begins with.
        self._columns = {"registration_id": registration, "created": now()}
        self._entries: list[dict[str, Any]] = []
        self._fills: list[dict[str, Any]] = []
        self._old_markets = {(market.currency, market.asset): market for market in markets}
        self._markets = dict(self._old_markets)
        self._old_balances = balances
        self.balances = dict(balances)

    @property
    def markets(self) -> list[OpenMarket]:
        """Return the markets in which orders are open."""
        return [market for market in self._markets.values() if market.open_orders]

    def reached(self, market: OpenMarket, prices: PriceRange, looked: int) -> list[dict[str, Any]]:
        """Return the open orders whose limit or stop these prices reach, and whose last look was not after `looked`."""
        return self._rows(_REACHED, _range_values(market, prices, looked))

    def ended(self, market: OpenMarket, time: datetime) -> list[dict[str, Any]]:
        """Return the open orders whose end is not after this time."""
        # The ends are whole seconds, in this form.
        text = time.astimezone(UTC).isoformat(timespec="seconds")
        return self._rows(_ENDED, {"currency": market.currency, "asset": market.asset, "time": text})

    def order(self, client_id: str) -> dict[str, Any] | None:
        """Return the order with this id of ours."""
        return next(iter(self._rows(_ORDER_BY_CLIENT_ID, {"client_id": client_id})), None)

    def note_checked(self, market: OpenMarket, checked: int, looked: int) -> None:
        """Note up to which minute and look the open orders of a market were held against its prices."""
        pair = market.currency, market.asset
        self._markets[pair] = replace(self._markets[pair], checked=checked, looked=looked)

    def post_entry(self, kind: str, reference: str | None, currency: str, amount: Decimal) -> None:
        """Add `amount` (negative: take) to the balance of `currency`, by an entry that says why."""
        balance = self.balances.get(currency, Balance())
        self.balances[currency] = Balance(EXACT.add(balance.total, amount), balance.held)
        entry = {"kind": kind, "reference": reference, "currency": currency, "amount": plain(amount)}
        self._entries.append({**self._columns, **entry})

    def add_order(self, row: Mapping[str, Any]) -> int:
        """Add an order and return its id; what an open one holds is held from now on."""
        self._count(row, 1)
        return self._runner.insert(paper.orders, {**self._columns, **row, "price_key": _key_of(row)})

    def change_order(self, row: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
        """Write these columns of an order, which `row` is until now; `held` follows."""
        after = {**row, **changes}
        self._count(row, -1)
        self._count(after, 1)
        self._runner.change(_CHANGE_ORDER, {"row": row["id"], **changes, "price_key": _key_of(after)})

    def cancel_orders(self) -> int:
        """Cancel all open orders, and return how many there were."""
        count = self._runner.change(_CANCEL_ORDERS, {"registration": self._registration})
        for name, balance in self.balances.items():
            if balance.held:
                self.balances[name] = replace(balance, held=Decimal(0))
        for pair, market in self._markets.items():
            self._markets[pair] = replace(market, open_orders=0)
        return count

    def add_fill(self, values: Mapping[str, Any]) -> None:
        """Add a fill of an order."""
        self._fills.append({**self._columns, **values})

    def add_send(self, values: Mapping[str, Any]) -> int:
        """Add a send and return its id."""
        return self._runner.insert(paper.sends, {**self._columns, **values})

    def flush(self) -> None:
        """Write the fills, the entries, and the balances and markets that were changed."""
        self._runner.change_each(_ADD_ENTRIES, self._entries)
        self._runner.change_each(_ADD_FILLS, self._fills)
        self._flush_balances()
        self._flush_markets()

    def _flush_balances(self) -> None:
        added, changed = [], []
        for name, balance in self.balances.items():
            if balance is self._old_balances.get(name):
                continue
            values = {"total": plain(balance.total), "held": plain(balance.held)}
            if name in self._old_balances:
                changed.append({"registration": self._registration, "of": name, **values})
            else:
                added.append({"registration_id": self._registration, "currency": name, **values})
        self._runner.change_each(_ADD_BALANCES, added)
        self._runner.change_each(_SET_BALANCES, changed)

    def _flush_markets(self) -> None:
        added, changed, removed = [], [], []
        for pair, market in self._markets.items():
            old = self._old_markets.get(pair)
            if market is old or not (old or market.open_orders):
                continue
            values = {"open_orders": market.open_orders, "checked": market.checked, "looked": market.looked}
            key = {"registration": self._registration, "of_currency": market.currency, "of_asset": market.asset}
            if old is None:
                currency, asset = pair
                new = {"registration_id": self._registration, "currency": currency, "asset": asset}
                added.append({**new, **values})
            elif market.open_orders:
                changed.append({**key, **values})
            else:
                removed.append(key)
        self._runner.change_each(_ADD_MARKETS, added)
        self._runner.change_each(_SET_MARKETS, changed)
        self._runner.change_each(_REMOVE_MARKETS, removed)

    def _count(self, row: Mapping[str, Any], count: int) -> None:
        """Add an order, if it is open, to what is held and to its market (`count` is 1), or take it off (-1)."""
        if row["status"] != "open":
            return
        name, pair = given_by(row), (row["currency"], row["asset"])
        balance = self.balances.get(name, Balance())
        held = EXACT.add(balance.held, EXACT.multiply(exact(row["held"]), Decimal(count)))
        self.balances[name] = replace(balance, held=held or Decimal(0))
        market = self._markets.get(pair) or OpenMarket(*pair, 0, row["checked"], row["looked"])
        self._markets[pair] = replace(market, open_orders=market.open_orders + count)

    def _rows(self, statement: Statement, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self._runner.rows(statement, {"registration": self._registration, **values})


def _key_of(row: Mapping[str, Any]) -> str | None:
    """Return the key of the price that an order waits for; None: it waits for none."""
    return price_key(exact(row["stop"] or row["price"])) if row["status"] == "open" else None
