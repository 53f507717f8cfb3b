"""The part of an exchange's contract that is about many orders at once, as tests to inherit; see
`exchange_contract.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

from ..exchanges.base import Exchange
from ..exchanges.errors import ExchangeError
from ..exchanges.models import NewOrder, OrderState, Side
from ..money import EXACT
from .checks import check, check_equal, check_in, check_record, check_stated, has, skip_without
from .deliveries import DeliverTwice, Ledger

__all__ = ["BatchContract"]


class BatchContract:
    """The promises of `Exchange.place_many` as tests; each gets the fixtures `exchange` and `ledger`."""

    currency: ClassVar[str] = "EUR"
    asset: ClassVar[str] = "BTC"
    amount: ClassVar[Decimal] = Decimal("0.01")
    takes: ClassVar[frozenset[str]] = frozenset({"market", "limit", "cost"})

    def pause(self) -> None:
        """Let the exchange's caches expire."""

    def _far_price(self, exchange: Exchange) -> Decimal:
        raise NotImplementedError

    def test_of_many_orders_each_has_its_own_outcome_in_their_order(self, exchange: Exchange, ledger: Ledger) -> None:
        orders = self._resting_orders(exchange, 3)
        if "market" in self.takes:
            orders.insert(1, self._order("buy"))
        orders.insert(2, self._order("buy", asset="NOSUCH"))
        outcomes = exchange.place_many(orders)
        check_equal("the number of outcomes", len(outcomes), len(orders))
        for order, outcome in zip(orders, outcomes, strict=True):
            if order.asset == "NOSUCH":
                check(isinstance(outcome, ExchangeError), f"an unknown market was taken: {outcome!r}")
                check_in("code", getattr(outcome, "code", None), ("unknown_market", "unknown_asset"))
                continue
            state = check_record(_state(outcome), OrderState)
            check_stated("exchange_order_id", state.exchange_order_id)
            # What `place` itself tells of a market order is the promise of another test.
            check_in("status", state.status, ("filled", "open") if order.price is None else ("open",))
            for name in ("side", "currency", "asset", "amount", "client_id", "price"):
                check_in(name, getattr(state, name), (None, getattr(order, name)))
        check_equal("the rows of the ledger", len(ledger()), len(orders) - 1)
        self._check_found(exchange, orders, outcomes)

    def test_an_order_that_is_refused_for_funds_stops_no_other(self, exchange: Exchange, ledger: Ledger) -> None:
        orders = self._resting_orders(exchange, 2)
        price = self._far_price(exchange)
        orders.insert(1, self._order("sell", amount=self.amount * 10**6, price=price))
        outcomes = exchange.place_many(orders)
        kinds = [isinstance(outcome, OrderState) for outcome in outcomes]
        check_equal("which orders stand", kinds, [True, False, True])
        code = getattr(getattr(outcomes[1], "refusal", None) or outcomes[1], "code", None)
        check_in("code", code, ("insufficient_funds", "invalid_amount", "exchange_refused"))
        check_equal("the rows of the ledger", len(ledger()), 2)

    def test_no_orders_and_one_order_are_placed_as_well(self, exchange: Exchange, ledger: Ledger) -> None:
        orders = self._resting_orders(exchange, 1)
        check_equal("the outcomes of no orders", exchange.place_many([]), [])
        [outcome] = exchange.place_many(orders)
        check_equal("status", _state(outcome).status, "open")
        check_equal("the rows of the ledger", len(ledger()), 1)

    def test_many_orders_that_are_delivered_twice_are_not_called_refused(
        self, exchange: Exchange, ledger: Ledger
    ) -> None:
        """The second delivery may be refused for a used nonce or for want of funds, which the first one took."""
        skip_without(exchange, "place", "funds")
        available = check_stated("what is there", exchange.funds()[self.asset].available)
        price = self._far_price(exchange)
        rest = EXACT.subtract(available, self.amount)
        orders = [self._order("sell", amount=amount, price=price) for amount in (self.amount, rest)]
        transport = DeliverTwice(exchange.context.transport, ledger)
        outcomes = exchange.with_context(replace(exchange.context, transport=transport)).place_many(orders)
        executed = len(ledger())
        check(executed, "nothing was executed")
        for outcome in outcomes[:executed]:
            if isinstance(outcome, ExchangeError):
                check(outcome.may_have_executed, f"{outcome!r}, and these were executed: {ledger()!r}")

    def _check_found(self, exchange: Exchange, orders: Sequence[NewOrder], outcomes: Sequence[object]) -> None:
        if not has(exchange, "open_orders"):
            return
        self.pause()
        found = {state.exchange_order_id for state in exchange.open_orders()}
        placed = {
            _state(outcome).exchange_order_id
            for order, outcome in zip(orders, outcomes, strict=True)
            if order.price is not None
        }
        check(placed <= found, f"placed and not open: {placed - found}")

    def _resting_orders(self, exchange: Exchange, count: int) -> list[NewOrder]:
        skip_without(exchange, "place")
        price = self._far_price(exchange)
        return [self._order("sell", amount=self.amount, price=price) for _ in range(count)]

    def _order(self, side: Side, *, asset: str | None = None, **fields: Any) -> NewOrder:
        fields = fields or {"amount": self.amount}
        return NewOrder(side, self.currency, asset or self.asset, uuid.uuid4().hex, **fields)


def _state(outcome: object) -> OrderState:
    if isinstance(outcome, ExchangeError):
        raise outcome
    check(isinstance(outcome, OrderState), f"expected an order, got {outcome!r}")
    return outcome  # type: ignore[return-value]  # checked in the line above
