"""The part of an exchange's contract that is about amendments in place, as tests to inherit; see
`exchange_contract.py`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import ClassVar

from ..exchanges.base import Exchange
from ..exchanges.models import NewOrder, OrderRef, OrderState
from ..money import EXACT
from .checks import check, check_equal, check_in, check_record, check_stated, expect_refusal, skip_without
from .deliveries import Ledger

__all__ = ["AmendmentContract"]


class AmendmentContract:
    """The promises of `Exchange.amend` and `find_amendment`; each gets the fixtures `exchange` and `ledger`."""

    amount: ClassVar[Decimal] = Decimal("0.01")

    def _resting_order(self, exchange: Exchange) -> NewOrder:
        raise NotImplementedError

    def test_an_order_that_is_amended_in_place_is_the_same_order(self, exchange: Exchange, ledger: Ledger) -> None:
        order, ref = self._placed(exchange)
        wanted = replace(order, amount=EXACT.multiply(self.amount, Decimal(2)))
        amended = check_record(exchange.amend(ref, wanted), OrderState)
        check_equal("exchange_order_id", amended.exchange_order_id, ref.exchange_order_id)
        check_equal("status", amended.status, "open")
        state = exchange.order(ref)
        check_equal("what it is", (state.amount, state.price), (wanted.amount, wanted.price))
        check_equal("client_id", state.client_id, order.client_id)
        check_equal("the rows of the ledger", len(ledger()), 1)

    def test_the_last_amendment_is_found_and_no_other(self, exchange: Exchange) -> None:
        order, ref = self._placed(exchange)
        check(exchange.find_amendment(ref) is None, "an order that was not amended was found to be")
        amounts = [EXACT.multiply(self.amount, Decimal(times)) for times in (2, 3)]
        for amount in amounts:
            exchange.amend(ref, replace(order, amount=amount))
        found = [exchange.find_amendment(replace(ref, amount=amount)) for amount in amounts]
        check(found[0] is None, "the amendment before the last was found")
        last = check_record(check_stated("the last amendment", found[1]), OrderState)
        check_equal("what was found", (last.exchange_order_id, last.amount), (ref.exchange_order_id, amounts[1]))

    def test_an_order_that_is_over_is_not_amended(self, exchange: Exchange) -> None:
        order, ref = self._placed(exchange)
        exchange.cancel(ref)
        with expect_refusal("order_not_open"):
            exchange.amend(ref, replace(order, amount=EXACT.multiply(self.amount, Decimal(2))))

    def _placed(self, exchange: Exchange) -> tuple[NewOrder, OrderRef]:
        skip_without(exchange, "amend")
        order = self._resting_order(exchange)
        placed = exchange.place(order)
        check_in("status", placed.status, ("open",))
        id = check_stated("exchange_order_id", placed.exchange_order_id)
        ref = OrderRef(order.side, order.currency, order.asset, order.client_id, id, datetime.now(UTC))
        return order, replace(ref, amount=order.amount, price=order.price)
