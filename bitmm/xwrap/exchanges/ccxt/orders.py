"""Reading, finding and canceling orders by ccxt's unified calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from ...money import plain
from ..base import Exchange
from ..errors import Busy, NotListedYet, Refused, Unknown, Unsupported
from ..http import parsing_errors
from ..models import NewOrder, OrderRef, OrderState
from ..orders import cancel_errors, check_listed_by_now, closed_order, poll_fills
from .client_ids import ClientIdRule
from .market_data import CcxtMarkets
from .order_lookup import Lookup, Question, field_of
from .parsing import open_orders_from_rows, order_from_remaining, order_from_row, order_with_fills, symbol_of
from .placing import BUYS_BY_COST

__all__ = ["HISTORIES", "CcxtOrders"]

#: Exchanges whose class of ccxt wants the side of an order to cancel it.
_CANCELS_BY_SIDE = {"bithumb", "coinspot", "indodax"}
#: Exchanges whose class of ccxt wants price, amount and side of an order to cancel it.
_CANCELS_BY_DETAILS = {"coinone"}
#: ccxt's calls that list the orders that are over, the fullest first.
HISTORIES = {
    "fetchOrders": "fetch_orders",
    "fetchCanceledAndClosedOrders": "fetch_canceled_and_closed_orders",
    "fetchClosedOrders": "fetch_closed_orders",
}
#: Exchanges that list of an open order what is left of it, which ccxt takes for its amount.
_LISTS_WHAT_IS_LEFT = {"coincheck"}
#: How far an exchange's clock may be behind ours when it says when an order was made.
_CLOCK_SKEW = timedelta(minutes=1)


class CcxtOrders(CcxtMarkets):
    """The verbs about orders that were placed."""

    def order(self, ref: OrderRef) -> OrderState:
        return self._with_fills(self._fetch_order(self._as_sent(ref)), patient=False)

    def find(self, ref: OrderRef) -> OrderState | None:
        """Ask what `client_ids` names. A question that fails hides no order that another one shows, and proves nothing.

        Raises Unsupported for an order that is not there and so old that the exchange may have forgotten it.
        """
        rule = self.client_ids
        if rule is None:
            raise self._lacks("find")
        lookup = Lookup(
            rule.form(ref.client_id),
            self._symbol(ref.currency, ref.asset),
            _milliseconds(ref.created or ref.not_before),
        )
        unanswered: Refused | None = None
        for question in rule.questions:
            try:
                if (state := self._find_by(question, lookup, ref, rule)) is not None:
                    return self._with_fills(state, patient=False)
            except Busy:
                raise
            except Refused as refusal:
                unanswered = unanswered or refusal
        if unanswered is not None:
            raise unanswered
        self._check_that_absence_is_proof(ref, rule)
        return None

    def _find_by(self, question: Question, lookup: Lookup, ref: OrderRef, rule: ClientIdRule) -> OrderState | None:
        """Return the order as one question shows it. An order with another id is not believed."""
        rows = self._call("look_up", question, lookup)
        with parsing_errors(self.name):
            if any(field_of(row, rule.field) != str(lookup.id) for row in rows):
                raise ValueError("another order than the one asked for")
            if not rows:
                return None
            # A market buy may have been sent as a cost, so that its amount is another one there.
            known = replace(ref, amount=None) if ref.price is None and ref.side == "buy" else ref
            state = order_from_row(rows[0], known, with_client_id=True)
            if ref.stop not in (None, state.stop):
                raise ValueError("an order with another stop")
            return replace(state, client_id=ref.client_id, amount=ref.amount if state.amount is None else state.amount)

    def _check_that_absence_is_proof(self, ref: OrderRef, rule: ClientIdRule) -> None:
        """Raise Unsupported, or NotListedYet, when an order that is not found may be there all the same."""
        now, since = datetime.now(UTC), ref.created or ref.not_before
        if rule.listed is not None and (since is None or now - since > rule.listed):
            raise Unsupported(f"{self.name} may have forgotten an order of that time")
        if rule.lag and (ref.missed_since is None or now - ref.missed_since < rule.lag):
            raise NotListedYet(f"{self.name} does not list this order now, and its lists lag behind; ask again")

    def open_orders(self) -> list[OrderState]:
        if self.lists_one_market:
            raise Unsupported(f"{self.name} lists the open orders of one market only; nothing was sent")
        return self._list_open_orders()

    def open_orders_in(self, pairs: Iterable[tuple[str, str]]) -> list[OrderState]:
        if not self.lists_one_market:
            return self.open_orders()
        return [state for pair in pairs for state in self._list_open_orders(self._symbol(*pair))]

    def _list_open_orders(self, *symbol: str) -> list[OrderState]:
        return self._read_open_orders(self._call("fetch_open_orders", *symbol))

    def _open_orders_by_id(self) -> dict[str, OrderState]:
        """Return all open orders by their ids. Raises Refused for an answer without a list, which shows nothing."""
        rows = self._call("listed", "fetch_open_orders")
        return {state.exchange_order_id: state for state in self._read_open_orders(rows)}

    def _read_open_orders(self, rows: Any) -> list[OrderState]:
        with parsing_errors(self.name):
            return open_orders_from_rows(self.name, rows, self._open_order)

    def _as_sent(self, ref: OrderRef) -> OrderRef:
        """Return what the exchange may know of an order: no amount where a market buy is sent as its cost."""
        return replace(ref, amount=None) if self._is_sent_by_cost(ref) else ref

    def _is_sent_by_cost(self, order: NewOrder | OrderRef) -> bool:
        """Return whether an order has an amount that its exchange does not take."""
        by_amount = order.side == "buy" and order.price is None and order.amount is not None
        return by_amount and self._instance.ccxt.id in BUYS_BY_COST

    def cancel(self, ref: OrderRef) -> None:
        if ref.exchange_order_id is None:
            found = self.find(ref)
            if found is None:
                raise Refused(f"{self.name} knows no such order", code="order_not_open")
            ref = replace(ref, exchange_order_id=found.exchange_order_id)
        symbol = self._symbol_if_listed(ref.currency, ref.asset)
        with cancel_errors():
            try:
                self._cancel(ref, symbol)
            except (Refused, Unknown) as error:
                # Few exchanges say in words that ccxt knows that an order is over.
                refusal = error if isinstance(error, Refused) else error.refusal
                if refusal is None or isinstance(refusal, Busy) or not self._is_over(ref):
                    raise
                raise Refused(refusal.reason, code="order_not_open") from None

    def cancel_all(self) -> int:
        """Cancel all orders; return how many are open before and not after, because ccxt's answers differ."""
        before = self._open_orders_by_id()
        began = False
        try:
            for cancel in self._cancel_steps(before.values()):
                cancel()
                began = True
            left = self._open_orders_by_id().keys() if before else set()
        except (Refused, Unknown) as error:
            if not began:
                raise
            raise Unknown(f"some orders were canceled, then: {error}") from None
        return len(before.keys() - left)

    def _fetch_order(self, ref: OrderRef) -> OrderState:
        """Return the order with the id of `ref`: by itself, or where there is no such call, from the open ones and the
        history. Raises Refused `order_not_found`.
        """
        id, symbol = ref.exchange_order_id, self._symbol_if_listed(ref.currency, ref.asset)
        history = next((method for call, method in HISTORIES.items() if call in self.has), None)
        if "fetchOrder" in self.has:
            rows = [self._call("fetch_order", id, symbol)]
        elif history is None:
            return self._fetch_open_order(ref, symbol)
        else:
            rows = [row for call in ("fetch_open_orders", history) for row in self._call("listed", call, symbol)]
        with parsing_errors(self.name):
            for row in rows:
                if row["id"] == id:
                    return order_from_row(row, ref, with_client_id=self._stores_client_ids())
        raise Refused(f"{self.name} knows no order {id}", code="order_not_found")

    def _fetch_open_order(self, ref: OrderRef, symbol: str | None) -> OrderState:
        """Return an order of an exchange that lists open ones alone: "filled" when its fills add up to its amount, else
        "closed", when it is not among them. Raises NotListedYet a moment after it was placed.
        """
        rows = self._call("listed", "fetch_open_orders", symbol)
        with parsing_errors(self.name):
            for row in rows:
                if row["id"] == ref.exchange_order_id:
                    return self._open_order(row, ref)
        state = closed_order(ref, self.name)
        with suppress(Refused):
            rows = self._call("fetch_my_trades", symbol) if type(self).fills is not Exchange.fills else []
            with parsing_errors(self.name):
                if (found := order_with_fills(state, rows)) is not None:
                    return found
        check_listed_by_now(ref, self.name)
        return state

    def _open_order(self, row: Mapping[str, Any], ref: OrderRef | None = None) -> OrderState:
        """Return a row of the open orders; `ref`: what is known of it."""
        parse = order_from_remaining if self._instance.ccxt.id in _LISTS_WHAT_IS_LEFT else order_from_row
        return parse(row, ref, with_client_id=self._stores_client_ids())

    def _with_fills(self, state: OrderState, *, patient: bool) -> OrderState:
        """Return the order with what its fills add up to, when all of them can be read; `patient`: after some waiting,
        when the order itself reports no fee.
        """
        says_more = state.filled or (state.status == "closed" and self.reads_closed_orders)
        if not says_more or type(self).fills is Exchange.fills or state.asset is None or state.currency is None:
            return state
        symbol = f"{state.asset}/{state.currency}"

        def read() -> OrderState | None:
            try:
                rows = self._call("fetch_my_trades", symbol)
                with parsing_errors(self.name):
                    return order_with_fills(state, rows)
            except Refused:
                return state

        return poll_fills(read, patient=patient and state.fee is None) or state

    def _cancel_steps(self, states: Iterable[OrderState]) -> list[Callable[[], object]]:
        """Return the calls that cancel all these orders: one a market where there is such a call, else one an order."""
        if "cancelAllOrders" in self.has:
            symbols = sorted({symbol for state in states if (symbol := symbol_of(state)) is not None})
            return [partial(self._call, "cancel_all_orders", symbol, mutates=True) for symbol in symbols]
        return [partial(self._cancel_if_open, state) for state in states]

    def _is_over(self, ref: OrderRef) -> bool:
        """Return whether the exchange says that an order is over."""
        try:
            return self.order(ref).status not in {"open", "unknown"}
        except Refused:
            return False

    def _cancel(self, order: OrderRef | OrderState, symbol: str | None) -> None:
        params: dict[str, Any] = {}
        if self._instance.ccxt.id in _CANCELS_BY_SIDE:
            params["side"] = order.side
        if self._instance.ccxt.id in _CANCELS_BY_DETAILS and None not in (order.price, order.amount):
            params |= {"price": plain(order.price or 0), "qty": plain(order.amount or 0)}
            params["is_ask"] = int(order.side == "sell")
        self._call("cancel_order", order.exchange_order_id, symbol, *([params] if params else []), mutates=True)

    def _cancel_if_open(self, state: OrderState) -> None:
        try:
            self._cancel(state, symbol_of(state))
        except Refused as refusal:
            if refusal.code != "order_not_found":
                raise


def _milliseconds(created: datetime | None) -> int | None:
    """Return the time from which on an order that was `created` then is listed, in milliseconds since 1970."""
    return None if created is None else int((created - _CLOCK_SKEW).timestamp() * 1000)
