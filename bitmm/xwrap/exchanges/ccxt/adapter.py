"""The adapter of any exchange that ccxt knows: the verbs of `Exchange` by ccxt's unified calls."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Literal

from ...money import EXACT, parse_decimal, plain
from ..base import Exchange
from ..conditions import check_placed
from ..errors import Refused
from ..http import parsing_errors
from ..models import (
    Deposit,
    DepositAddress,
    Fill,
    Funds,
    NewOrder,
    NewWithdrawal,
    OrderRef,
    OrderState,
    Withdrawal,
)
from ..orders import cost_of, poll_until_final
from ..parsing import listed_withdrawals, newest_first, readable_rows, required_text
from ..rules import check, market_closed, no_such_asset
from .expiry import is_expired
from .order_lookup import field_of
from .orders import CcxtOrders
from .parsing import (
    check_same_withdrawal,
    choose_network,
    deposit_address_from_row,
    deposit_from_row,
    fill_from_row,
    funds_from_rows,
    order_from_row,
    withdrawal_from_row,
)
from .placing import BOUNDED_BY_PRICE, cost_field, placing_call
from .precision import check_order_digits, long_numbers, withdrawal_amount

__all__ = ["CcxtExchange"]

#: Exchanges where ccxt sends a withdrawal's tag as something else. Backpack gets it as the client's id.
_NO_TAGS = {"backpack"}


class CcxtExchange(CcxtOrders):
    """The verbs of an exchange by its class of ccxt; `exchange_class` takes away those that the exchange lacks."""

    def funds(self) -> dict[str, Funds]:
        rows = self._call("fetch_balance")
        with parsing_errors(self.name):
            return dict(readable_rows(self.name, rows["total"], partial(funds_from_rows, rows)))

    def check_kind(self, order: NewOrder) -> None:
        super().check_kind(order)
        if self._is_sent_by_cost(order):
            if "fetchOrderBook" not in self.has:
                raise Refused(
                    f"{self.name} takes a cost for a market buy, and ccxt reads no order book there to calculate it"
                    " from; say the cost, or a price",
                    code="unsupported",
                )
            order = replace(order, amount=None, cost=order.amount)  # the kind alone counts here
        call = placing_call(self._instance.ccxt.id, f"{order.asset}/{order.currency}", order, {})
        if call.needed not in self.has:
            raise Refused(f"{self.name} takes no {call.words}", code="unsupported")

    def place(self, order: NewOrder) -> OrderState:
        """Place an order. Where a market buy takes a cost only, an amount is sent as what it costs in the book now.

        What is bought for that may differ from the amount; the order's `reason` says so.
        """
        symbol = self._symbol(order.currency, order.asset)
        markets = self._markets()
        if (order.currency, order.asset) in markets.closed:
            raise market_closed(self.name, order.currency, order.asset)
        market, precision = markets.spot[order.currency, order.asset], markets.ccxt.markets[symbol]["precision"]
        check(order, market)
        self.check_kind(order)
        if not self._is_sent_by_cost(order):
            return self._place_as_it_is(order, symbol, precision)
        sent = replace(order, amount=None, cost=self._cost_in_book(order, symbol, precision))
        check(sent, market)
        placed = self._place_as_it_is(sent, symbol, precision)
        words = (
            f"sent as a market buy for {plain(sent.cost or 0)} {order.currency}: {self.name} takes no amount for"
            f" one, and {plain(order.amount or 0)} {order.asset} cost that in its order book"
        )
        return replace(placed, reason=words if placed.reason is None else f"{words}; {placed.reason}")

    def _place_as_it_is(self, order: NewOrder, symbol: str, precision: Mapping[str, Any]) -> OrderState:
        """Place an order whose market's rules were checked, with its amount or its cost, and return its state."""
        check_order_digits(self.name, order, symbol, precision, self._rounded)
        rule = self.client_ids
        sent_id = None if rule is None else rule.form(order.client_id)
        params = {} if rule is None else {rule.parameter: sent_id}
        call = placing_call(self._instance.ccxt.id, symbol, order, params, self._bound(order))
        ref = OrderRef(
            *(order.side, order.currency, order.asset, order.client_id),
            created=datetime.now(UTC),
            amount=order.amount,
            price=order.price,
        )
        # An order that left without the id would be looked up in vain, and then be placed again.
        must_contain = [
            *long_numbers(order.amount, order.price, order.cost),
            *([plain(order.stop.normalize(EXACT))] if order.stop is not None else []),
            # KuCoin's class rounds what a sell is to bring to a step that is not among the market's precisions.
            *([plain(order.cost.normalize(EXACT))] if order.cost is not None and order.side == "sell" else []),
            *([] if sent_id is None else [str(sent_id)]),
        ]
        row = self._call(call.method, *call.arguments, mutates=True, must_contain=must_contain)
        with parsing_errors(self.name, mutates=True):
            if rule is not None and field_of(row, rule.field) not in (None, str(sent_id)):
                raise ValueError("another order than the one placed")
            ref = replace(ref, exchange_order_id=required_text(row["id"]))
            placed = order_from_row(row, ref, with_client_id=self._stores_client_ids())
        if order.stop is not None:
            return self._read_stop(order, placed, ref)
        return self._read_until_final(placed, ref)

    def _read_stop(self, order: NewOrder, placed: OrderState, ref: OrderRef) -> OrderState:
        """Return an order with a stop that was taken, as it is. Raises Unknown when it has another stop, or none.

        The answer to a new order may say nothing of its stop, so the order is read once.
        """
        if placed.stop is None:
            placed = replace(placed, stop=order.stop)
        state = poll_until_final(placed, lambda: self._fetch_order(ref), seconds=0.0)
        if state.status == "unknown":
            state = replace(state, status="open")  # it was taken, and ccxt does not know the exchange's word
        return self._with_fills(check_placed(self.name, order, state), patient=True)

    def _bound(self, order: NewOrder) -> Decimal | None:
        """Return the price that a class wants with a market order, to bound what it costs; None where it wants none."""
        if order.price is not None or self._instance.ccxt.id not in BOUNDED_BY_PRICE:
            return None
        rate = self.rate(order.currency, order.asset)
        return rate.buy if order.side == "buy" else rate.sell

    def _read_until_final(self, placed: OrderState, ref: OrderRef) -> OrderState:
        """Return what became of an order that was taken: a market order is read until it is final, or for seconds."""
        # Where open orders are all that is listed, an order is known to be filled by its amount alone.
        knows_the_end = self.reads_closed_orders or ref.amount is not None
        if knows_the_end and ref.price is None and placed.status == "open" and type(self).order is not Exchange.order:
            placed = poll_until_final(placed, lambda: self._fetch_order(ref))
        if placed.status == "unknown":
            placed = replace(placed, status="open")  # it was taken, and ccxt does not know the exchange's word
        return self._with_fills(placed, patient=True)

    def _cost_in_book(self, order: NewOrder, symbol: str, precision: Mapping[str, Any]) -> Decimal:
        """Return what a market buy of an amount costs now, rounded down to the step of costs there.

        Raises Refused when the order book cannot be read, or lists less than the amount.
        """
        row = self._call("fetch_order_book", symbol)
        with parsing_errors(self.name):
            cost = cost_of(self.name, order.amount or Decimal(0), row["asks"], unit=order.asset).normalize(EXACT)
        field = cost_field(self._instance.ccxt.id)
        if precision.get(field) is None and (field == "amount" or precision.get("price") is None):
            return cost
        return parse_decimal(self._rounded(field, symbol, plain(cost)))

    def fills(self, currency: str, asset: str) -> list[Fill]:
        symbol = self._symbol(currency, asset)
        rows = self._call("fetch_my_trades", symbol)
        with parsing_errors(self.name):
            mine = [row for row in rows if row.get("symbol") == symbol]
            fills = readable_rows(self.name, mine, lambda row: fill_from_row(row, symbol))
        return sorted(fills, key=lambda fill: fill.time, reverse=True)

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        chosen = self._choose_network(asset, network, "deposit")
        row = self._call("fetch_deposit_address", asset, {"network": chosen} if chosen else {})
        with parsing_errors(self.name):
            made = deposit_address_from_row(row, asset, chosen)
            expired = is_expired(row.get("info"))
        if expired:
            words = f"the address that {self.name} has for {asset} is no longer valid; make a new one there"
            raise Refused(words, code="exchange_refused")
        return made

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        chosen = self._choose_network(withdrawal.asset, withdrawal.network, "withdraw")
        params = {"network": chosen} if chosen else {}
        tag: dict[str, str] = {}
        if withdrawal.tag is not None:
            if self._instance.ccxt.id in _NO_TAGS:
                raise Refused(f"{self.name} takes no tag with a withdrawal", code="invalid_request")
            # A parameter of its own up to ccxt 4.5.64, one of `params` in 4.5.90.
            own = "tag" in inspect.signature(self._instance.ccxt.withdraw).parameters
            (tag if own else params)["tag"] = withdrawal.tag
        row = self._call(
            "withdraw",
            code=withdrawal.asset,
            amount=withdrawal_amount(self.name, withdrawal, self._markets().ccxt.currencies, self._rounded),
            address=withdrawal.address,
            params=params,
            mutates=True,
            must_contain=[*([] if withdrawal.tag is None else [withdrawal.tag]), *long_numbers(withdrawal.amount)],
            **tag,
        )
        with parsing_errors(self.name, mutates=True):
            made = withdrawal_from_row(row)
            check_same_withdrawal(made, withdrawal)
            return replace(
                made,
                amount=withdrawal.amount,
                address=withdrawal.address,
                tag=withdrawal.tag,
                network=made.network or chosen,
            )

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        rows = self._call("fetch_deposits", asset)
        with parsing_errors(self.name):
            mine = [row for row in rows if asset in (None, row.get("currency")) or row.get("currency") is None]
            deposits = readable_rows(self.name, mine, deposit_from_row)
        return newest_first(deposits, lambda deposit: deposit.time)

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        rows = self._call("listed", "fetch_withdrawals", asset)
        with parsing_errors(self.name):
            mine = [row for row in rows if asset in (None, row.get("currency")) or row.get("currency") is None]
            withdrawals = listed_withdrawals(self.name, mine, withdrawal_from_row, asset)
        return newest_first(withdrawals, lambda withdrawal: withdrawal.created)

    def _choose_network(self, asset: str, network: str | None, use: Literal["deposit", "withdraw"]) -> str | None:
        """Return ccxt's name of the network; None where it lists none.

        Raises Refused `network_required` when several are meant: the one that ccxt would choose is not taken.
        """
        currency = self._markets().ccxt.currencies.get(asset)
        if currency is None:
            raise no_such_asset(self.name, asset)
        return choose_network(currency.get("networks") or {}, asset, network, use)
