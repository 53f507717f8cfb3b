"""The paper exchange as plainly as it can be written: each open order is held against each look, the oldest first.

It has no data base and no index, and adds up everything each time. What an order takes when it is placed and how sums
are rounded is asked of the exchange's own `plans` and `executions`, which have tests of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from bitmm.xwrap.exchanges.fillings import round_down
from bitmm.xwrap.exchanges.models import Level, NewOrder
from bitmm.xwrap.exchanges.paper.executions import Execution
from bitmm.xwrap.exchanges.paper.looks import Look, taken_of
from bitmm.xwrap.exchanges.paper.plans import BOOK_ENDED, plan_order

__all__ = ["NotEnough", "PlainOrder", "PlainPaper"]

Pair = tuple[str, str]


class NotEnough(Exception):
    """There is not enough of the currency or asset."""


@dataclass
class PlainOrder:
    """An order and what became of it; `stop`: the price that it waits for."""

    order: NewOrder
    amount: Decimal
    stop: Decimal | None
    executed: Execution
    status: str = "open"
    held: Decimal = Decimal(0)
    reason: str | None = None

    @property
    def pair(self) -> Pair:
        return self.order.currency, self.order.asset

    @property
    def gives(self) -> str:
        return self.order.currency if self.order.side == "buy" else self.order.asset

    @property
    def left(self) -> Decimal:
        return self.amount - self.executed.filled

    def end(self, reason: str | None) -> None:
        """Cancel what is left."""
        self.status = "partly_filled" if self.executed.filled else "canceled"
        self.held, self.reason = Decimal(0), reason


@dataclass
class PlainPaper:
    """The ledger of one registration. `fills`: client id, price and amount of each, in their order."""

    balances: dict[str, Decimal]
    orders: list[PlainOrder] = field(default_factory=list)
    fills: list[tuple[str, Decimal, Decimal]] = field(default_factory=list)
    #: What was used up of the offers of a look.
    used: defaultdict[tuple[Pair, str, float], Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    def open_orders(self) -> list[PlainOrder]:
        return [each for each in self.orders if each.status == "open"]

    def held(self, name: str) -> Decimal:
        return sum((each.held for each in self.open_orders() if each.gives == name), Decimal(0))

    def available(self, name: str) -> Decimal:
        return self.balances.get(name, Decimal(0)) - self.held(name)

    def catch_up(self, news: Mapping[Pair, Sequence[Look]], now: float) -> None:
        """Hold every open order against the looks since the last call, and end those that are over."""
        for each in self.open_orders():
            end = each.order.expires
            for look in news[each.pair]:
                if each.status == "open" and (end is None or look.time < end.timestamp()):
                    self._hold(each, look)
            if each.status == "open" and end is not None and end <= datetime.fromtimestamp(now, UTC):
                each.end("it expired")

    def place(self, order: NewOrder, look: Look) -> PlainOrder:
        """Return the order after it took what is offered. Raises NotEnough, and what `plan_order` raises."""
        plan = plan_order("plain", order, look)
        new = PlainOrder(order, plan.amount, order.stop if plan.waits else None, Execution(order.side, look.money_step))
        executed = new.executed.and_parts(plan.parts, look.taker)
        if plan.rest and plan.reason is None:
            price = order.price or order.stop or look.best(order.side)
            new.held = executed.needed_for([(price, plan.rest)], look.highest_fee)
        if self.available(new.gives) < (plan.amount if order.side == "sell" else executed.given + new.held):
            raise NotEnough
        self._execute(new, plan.parts, look.taker)
        if plan.reason is not None:
            new.end(plan.reason)
        elif not plan.rest:
            new.status = "filled"
        self.orders.append(new)
        return new

    def cancel(self, client_id: str) -> bool:
        """Cancel an order, and return whether it was open."""
        found = [each for each in self.open_orders() if each.order.client_id == client_id]
        for each in found:
            each.end(None)
        return bool(found)

    def cancel_all(self) -> int:
        """Cancel all open orders, and return how many there were."""
        found = self.open_orders()
        for each in found:
            each.end(None)
        return len(found)

    def add(self, name: str, amount: Decimal) -> None:
        """Add an amount to a balance, or take it when it is negative. Raises NotEnough."""
        if self.available(name) + amount < 0:
            raise NotEnough
        self.balances[name] = self.balances.get(name, Decimal(0)) + amount

    def _hold(self, order: PlainOrder, look: Look) -> None:
        """Let an open order take what a look offers it."""
        side, price = order.order.side, order.order.price
        offers = look.offers(side, price)
        if order.stop is not None:
            if not look.reaches_stop(side, order.stop):
                return
            parts, fee = taken_of(offers, order.left), look.taker
        else:
            used = order.pair, side, look.time
            offered = sum((amount for _, amount in offers), -self.used[used])
            part = (
                order.left if offered >= order.left else round_down(max(offered, Decimal(0)), look.market.amount_step)
            )
            if not part or price is None:
                return
            self.used[used] += part
            parts, fee = ((price, part),), look.maker
        after = order.executed.and_parts(parts, fee)
        left = order.amount - after.filled
        held = after.needed_for([(price, left)] if left and price is not None else [], look.highest_fee)
        if order.executed.needed_for(parts, fee) + held > self.available(order.gives) + order.held:
            what = "price" if order.stop is None else "stop"
            order.end(f"not enough {order.gives} when its {what} was reached")
            return
        self._execute(order, parts, fee)
        order.held, order.stop = held, order.stop if not left or price is None else None
        if not left:
            order.status = "filled"
        elif price is None:
            order.end(BOOK_ENDED)

    def _execute(self, order: PlainOrder, parts: Sequence[Level], fee: Decimal) -> None:
        """Move what these parts cost and bring, and note each as a fill."""
        before, order.executed = order.executed, order.executed.and_parts(parts, fee)
        sign = 1 if order.order.side == "buy" else -1
        currency, asset = order.pair
        paid = sign * (order.executed.spent - before.spent) + order.executed.fee - before.fee
        if parts:
            self.balances[currency] = self.balances.get(currency, Decimal(0)) - paid
            bought = sign * (order.executed.filled - before.filled)
            self.balances[asset] = self.balances.get(asset, Decimal(0)) + bought
        self.fills += [(order.order.client_id, price, amount) for price, amount in parts]
