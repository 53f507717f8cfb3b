"""What becomes of an open order on paper when the market is looked at.

A resting order is filled at its own price, at each look by as much as is offered there or better, and the rest stays
open. What is offered at one look is shared by the orders of a registration, the oldest first. One with a stop begins
when the best price reaches it, and takes then what is offered.

An order that no new look reaches and whose end has not come stays as it is. So the ledger is asked for the others
alone, by the extremes of the prices: what that costs depends on what is reached, and not on what is open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from math import inf
from typing import Any

from ...money import EXACT, exact, plain, total
from ..fillings import round_down
from ..models import Level
from .bookings import available_of, canceled, given_by, post_parts
from .executions import Execution
from .ledger import Ledger, LedgerTransaction, OpenMarket, PaperConfig
from .looks import Look, LookSource, PriceRange, taken_of
from .plans import BOOK_ENDED

__all__ = ["RestingOrders", "to_microseconds"]

_ZERO = Decimal(0)
Row = dict[str, Any]


class RestingOrders:
    """The open orders of one registration, in one transaction or for one read."""

    def __init__(self, config: PaperConfig, source: LookSource) -> None:
        self._source = source
        # Read before the looks, so that no minute is taken for checked whose look was not there yet.
        self._minute = config.minute()
        self._now = config.clock()
        #: What was used up of the offers of a look: (pair, side, time of the look) -> amount.
        self._used: defaultdict[tuple[str, str, str, float], Decimal] = defaultdict(Decimal)

    def are_due(self, ledger: Ledger) -> bool:
        """Return whether an order has ended or is reached, or they were not held against the prices of this minute."""
        return any(self._is_due(ledger, market) for market in ledger.markets())

    def _is_due(self, ledger: Ledger, market: OpenMarket) -> bool:
        if self._minute > market.checked or self._is_over(market.first_end):
            return True
        looks = self._news(market)
        return bool(looks) and ledger.is_reached(market, PriceRange.of(looks), self._before(looks))

    def update(self, transaction: LedgerTransaction) -> None:
        """Fill the open orders as far as the looks since the last ones reach their prices, and end those that are over.

        The oldest is first, with all of its looks.
        """
        due: dict[int, tuple[Row, Sequence[Look]]] = {}
        for market in transaction.markets:
            looks = self._news(market)
            rows = []
            if looks:
                rows = transaction.reached(market, PriceRange.of(looks), self._before(looks))
            if rows or self._minute > market.checked:
                looked = to_microseconds(looks[-1].time) if looks else market.looked
                transaction.note_checked(market, max(self._minute, market.checked), looked)
            if self._is_over(market.first_end):
                rows += transaction.ended(market, datetime.fromtimestamp(self._now, UTC))
            due |= {row["id"]: (row, looks) for row in rows}
        for id in sorted(due):
            self._hold(transaction, *due[id])

    def add(self, transaction: LedgerTransaction, row: Row) -> Row:
        """Return the row of an open order that was just added, after the looks that came since it was planned."""
        looks = self._source.looks_since(row["currency"], row["asset"], row["checked"])
        return self._hold(transaction, row, looks)

    def _news(self, market: OpenMarket) -> list[Look]:
        """Return the looks that the open orders of a market were not held against yet, oldest first."""
        looks = self._source.looks_since(market.currency, market.asset, market.checked)
        return [look for look in looks if to_microseconds(look.time) > market.looked]

    def _before(self, looks: Sequence[Look]) -> int:
        """Return the latest look of an order that may be held against the last of these, in microseconds since 1970."""
        return to_microseconds(looks[-1].time) - to_microseconds(self._source.seconds)

    def _hold(self, transaction: LedgerTransaction, row: Row, looks: Iterable[Look]) -> Row:
        """Return the row of an open order after these looks: it is filled as far as they reach its price before its
        end, and canceled when its end was first.
        """
        end = inf if row["expires"] is None else datetime.fromisoformat(row["expires"]).timestamp()
        first = (row["looked"] or 0) + to_microseconds(self._source.seconds)
        for look in looks:
            if first <= to_microseconds(look.time) and look.time < end:
                row = self._held_against(look, transaction, row)
                if row["status"] != "open":
                    return row
        if not self._is_over(row["expires"]):
            return row
        changes = canceled(row, "it expired")
        transaction.change_order(row, changes)
        return row | changes

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
        free = available_of(transaction, given_by(row))
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
        transaction.change_order(row, changes)
        return row | changes

    def _is_over(self, end: str | None) -> bool:
        return end is not None and datetime.fromisoformat(end).timestamp() <= self._now


def to_microseconds(seconds: float) -> int:
    """Return a time as the ledger keeps it."""
    return int(seconds * 1_000_000)
