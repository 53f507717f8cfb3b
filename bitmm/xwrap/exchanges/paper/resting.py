"""What becomes of an open order on paper when the market is looked at.

A resting order is filled at its own price, at each look by as much as is offered there or better, and the rest stays
open. What is offered at one look is shared by the orders of a registration, the oldest first. One with a stop begins
when the best price reaches it, and takes then what is offered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from math import inf
from typing import Any

from ...money import EXACT, exact, plain, total
from ..fillings import round_down
from ..models import Level
from .bookings import available_of, canceled, given_by, post_parts
from .executions import Execution
from .ledger import LedgerTransaction, PaperConfig
from .looks import Look, LookSource, taken_of
from .plans import BOOK_ENDED

__all__ = ["RestingOrders", "to_microseconds"]

_ZERO = Decimal(0)
Row = dict[str, Any]


class RestingOrders:
    """The open orders of one registration, in one transaction or for one read."""

    def __init__(self, config: PaperConfig, source: LookSource) -> None:
        self._config = config
        self._source = source
        #: What was used up of the offers of a look: (pair, side, time of the look) -> amount.
        self._used: defaultdict[tuple[str, str, str, float], Decimal] = defaultdict(Decimal)

    def is_due(self, row: Row) -> bool:
        """Return whether an order has ended, is reached by a price, or was not held against those of this minute."""
        if self._is_expired(row):
            return True
        is_new = self._config.minute() > row["checked"]
        return any(is_new or self._reaches(look, row) for look in self._news(row))

    def update(self, transaction: LedgerTransaction, row: Row) -> None:
        """Fill an open order as far as the looks since the last one reach its price, before its end.

        It is canceled when its end was first.
        """
        for look in self._news(row):
            row = self._held_against(look, transaction, row)
            if row["status"] != "open":
                return
        minute = self._config.minute()
        if self._is_expired(row):
            transaction.change_order(row["id"], canceled(row, "it expired"))
        elif minute > row["checked"]:
            transaction.change_order(row["id"], {"checked": minute})

    def _news(self, row: Row) -> Iterator[Look]:
        """Return the looks that the order was not held against yet."""
        end = inf if row["expires"] is None else datetime.fromisoformat(row["expires"]).timestamp()
        first = (row["looked"] or 0) + to_microseconds(self._source.seconds)
        for look in self._source.looks_since(row["currency"], row["asset"], row["checked"]):
            if first <= to_microseconds(look.time) and look.time < end:
                yield look

    @staticmethod
    def _reaches(look: Look, row: Row) -> bool:
        if row["stop"] is not None:
            return look.reaches_stop(row["side"], exact(row["stop"]))
        return bool(look.offers(row["side"], exact(row["price"])))

    def _held_against(self, look: Look, transaction: LedgerTransaction, row: Row) -> Row:
        """Return the row of an open order after a look."""
        if not self._reaches(look, row):
            return row
        left = EXACT.subtract(exact(row["amount"]), exact(row["filled"] or "0"))
        price = None if row["price"] is None else exact(row["price"])
        if row["stop"] is not None:
            return self._filled(look, transaction, row, taken_of(look.offers(row["side"], price), left), look.taker)
        key = row["currency"], row["asset"], row["side"], look.time
        offered = EXACT.subtract(total(amount for _, amount in look.offers(row["side"], price)), self._used[key])
        part = left if offered >= left else round_down(max(offered, _ZERO), look.market.amount_step)
        if not part or price is None:
            return row
        self._used[key] = EXACT.add(self._used[key], part)
        return self._filled(look, transaction, row, ((price, part),), look.maker)

    def _filled(
        self, look: Look, transaction: LedgerTransaction, row: Row, parts: tuple[Level, ...], fee: Decimal
    ) -> Row:
        """Return the row after these parts were filled; it ends when it needs more than it holds and than is there."""
        before = Execution.of(row, look.money_step)
        after = before.and_parts(parts, fee)
        left = EXACT.subtract(exact(row["amount"]), after.filled)
        rest = ((exact(row["price"]), left),) if left and row["price"] is not None else ()
        held = after.needed_for(rest, look.highest_fee)
        free = available_of(transaction.balances, transaction.open_orders(), given_by(row))
        changes: Row = {"looked": to_microseconds(look.time)}
        if EXACT.add(before.needed_for(parts, fee), held) > EXACT.add(free, exact(row["held"])):
            reached = "stop" if row["stop"] is not None else "price"
            changes |= canceled(row, f"not enough {given_by(row)} when its {reached} was reached")
        else:
            changes |= {**after.columns(), "held": plain(held)}
            if not left:
                changes["status"] = "filled"
            elif rest:
                changes["stop"] = None
            else:
                changes |= canceled(changes, BOOK_ENDED)
            if parts:
                post_parts(transaction, row, before, parts, fee)
        transaction.change_order(row["id"], changes)
        return row | changes

    def _is_expired(self, row: Row) -> bool:
        if row["expires"] is None:
            return False
        return datetime.fromisoformat(row["expires"]).timestamp() <= self._config.clock()


def to_microseconds(seconds: float) -> int:
    """Return a time as the ledger keeps it."""
    return int(seconds * 1_000_000)
