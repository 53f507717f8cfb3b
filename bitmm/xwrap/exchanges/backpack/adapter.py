"""The adapter of Backpack: the verbs of `Exchange` by calls of its API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Literal

from ..base import Field, RateLimit
from ..batches import Found, Outcome, find_each, place_each, place_in_batches, read_outcomes
from ..conditions import check_placed, ends_at_once
from ..cursors import page_by_offset
from ..errors import ExchangeError, Refused, Unknown
from ..http import PARSING_ERRORS, parsing_errors
from ..models import Fill, Funds, HistoryPage, NewOrder, OrderRef, OrderState
from ..orders import cancel_errors, listed_order, poll_fills, poll_until_final
from ..parsing import list_of_rows, list_or_nothing, readable_rows
from ..rules import check
from .answers import row_error
from .funding import BackpackFunding
from .ledger import PAGE
from .parsing import (
    client_number,
    fee_from_rows,
    fill_from_row,
    funds_from_answers,
    is_same_order,
    market_symbol,
    new_order_fields,
    order_from_row,
    order_id_text,
)


class Backpack(BackpackFunding):
    """Spot markets of Backpack. It cannot tell what a key may do. Funds cost two calls: what is lent is told apart.

    A client id is a number of 32 bits there: the last eight digits of ours. It protects from nothing (the same one
    twice is two orders), and other orders may have it, so `find` also compares market, side, amount and time.
    """

    id: ClassVar[str] = "backpack"
    name: ClassVar[str] = "Backpack"
    description: ClassVar[str] = "Spot exchange, since 2023, in USDC"
    form: ClassVar[tuple[Field, ...]] = (
        Field("apikey", "the API key: the ed25519 public key in base64"),
        Field("apisecret", "the API secret: the ed25519 private key in base64", secret=True),
    )
    #: "Execute order": `timeInForce` and `postOnly`; no order ends at a given time.
    order_conditions = frozenset({"post_only", "GTC", "IOC", "FOK"})
    #: "Execute order": `quoteQuantity`, what a market order spends or receives at most.
    sells_by_cost = True
    order_lookup: ClassVar[Literal["all", "open", "none"]] = "all"
    #: No number is published; ccxt sends 20 a second at most, and so does this.
    per_address = RateLimit(10, 10)

    def funds(self) -> dict[str, Funds]:
        """Return the funds, with what is lent; where Backpack tells nothing of loans there are none."""
        balances, account = self.api.balances(), None
        try:
            account = self.api.collateral()
        except Refused as error:
            if error.retryable:
                raise
        with parsing_errors(self.name):
            return funds_from_answers(self.name, balances, account)

    def place(self, order: NewOrder) -> OrderState:
        self._check(order)
        row = self.api.private("POST", "api/v1/order", "orderExecute", new_order_fields(order))
        return self._placed(order, row)

    def place_many(self, orders: Sequence[NewOrder]) -> list[Outcome]:
        """Place them with one request; of a single one it is that of `place`."""
        return place_in_batches(orders, self._check, self._place_together)

    def _check(self, order: NewOrder) -> None:
        """Raise Refused for an order that breaks the rules of its market, or is of a kind that is not taken."""
        check(order, self._open_market(order.currency, order.asset, self._markets(), "markets"))
        self.check_kind(order)

    def _place_together(self, group: None, orders: Sequence[NewOrder]) -> list[Outcome]:
        if len(orders) == 1:
            return place_each(self.place, orders)
        try:
            rows = self.api.execute_orders([new_order_fields(order) for order in orders])
        except ExchangeError as error:
            return [error] * len(orders)

        def read(order: NewOrder, row: Any) -> OrderState:
            if row["operation"] == "Err":
                raise row_error(row)
            return self._placed(order, row)

        return read_outcomes(self.name, orders, lambda: rows, read)

    def _placed(self, order: NewOrder, row: Any) -> OrderState:
        """Return the state of an order by the row that answers it; one that is over at once is read until it is."""
        with parsing_errors(self.name, mutates=True):
            if str(row["clientId"]) != str(client_number(order.client_id)):
                raise ValueError("another order than the one asked for")
            ref = OrderRef(order.side, order.currency, order.asset, order.client_id)
            placed = order_from_row(row, ref)
        if placed.status == "unknown":
            # The order stands; a word for its status that is not known says no more.
            placed = replace(placed, status="open")
        if (order.price is None or ends_at_once(order)) and placed.status == "open":
            ref = replace(ref, exchange_order_id=placed.exchange_order_id)
            state = poll_until_final(placed, lambda: self._read_order(ref))
            placed = placed if state.status == "unknown" else state
        # The order stands; only its fee or its reason may not be readable.
        with suppress(Refused):
            placed = self._with_reason(self._with_fee(placed, patient=True))
        return check_placed(self.name, order, placed)

    def order(self, ref: OrderRef) -> OrderState:
        return self._with_fee(self._read_order(ref))

    def find(self, ref: OrderRef) -> OrderState | None:
        found = self._find_open(ref)
        return found or self._find_listed(self._order_history(ref.currency, ref.asset, ref.created), ref)

    def find_many(self, refs: Sequence[OrderRef]) -> list[Found]:
        """Ask about each one whether it is open, and then read the history of each market once."""
        found = find_each(self._find_open, refs)
        missing = [ref for ref, one in zip(refs, found, strict=True) if one is None]
        histories: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for pair in {(ref.currency, ref.asset) for ref in missing}:
            times = [ref.created for ref in missing if (ref.currency, ref.asset) == pair]
            since = min(filter(None, times)) if all(times) else None
            histories[pair] = list(self._order_history(*pair, since))
        listed = iter(find_each(lambda ref: self._find_listed(histories[ref.currency, ref.asset], ref), missing))
        return [next(listed) if one is None else one for one in found]

    def _find_open(self, ref: OrderRef) -> OrderState | None:
        client = client_number(ref.client_id)
        try:
            row = self.api.order(market_symbol(ref.currency, ref.asset), client_id=client)
        except Refused as error:
            if error.code != "order_not_found":
                raise
            return None
        with parsing_errors(self.name):
            return self._with_fee(order_from_row(row, ref)) if is_same_order(row, ref, client) else None

    def _find_listed(self, history: Iterable[Mapping[str, Any]], ref: OrderRef) -> OrderState | None:
        """Return an order that is not open from the history; None: it is not there, and has had the time to be."""
        client = client_number(ref.client_id)
        for row in history:
            with parsing_errors(self.name):
                if is_same_order(row, ref, client):
                    return self._with_fee(order_from_row(row, ref))
        self._refuse_too_early(ref.missed_since)
        return None

    def _order_history(self, currency: str, asset: str, since: datetime | None) -> Iterable[Mapping[str, Any]]:
        return self._history_since(since, partial(self.api.order_history, market_symbol(currency, asset)))

    def open_orders(self) -> list[OrderState]:
        rows = self.api.open_orders(market_type="SPOT")
        with parsing_errors(self.name):
            return [
                listed_order(self.name, order_id_text(row["id"]), partial(order_from_row, row))
                for row in list_or_nothing(rows)
            ]

    def cancel(self, ref: OrderRef) -> None:
        symbol, order_id = market_symbol(ref.currency, ref.asset), ref.exchange_order_id
        client = None if order_id else client_number(ref.client_id)
        with cancel_errors():
            row = self.api.cancel_order(symbol, order_id=order_id, client_id=client)
        with parsing_errors(self.name, mutates=True):
            if row is not None and order_id and order_id_text(row["id"]) != order_id:
                raise ValueError("another order than the one asked for")

    def cancel_all(self) -> int:
        """Cancel market by market, for want of another call. Raises Unknown when one fails after another one worked."""
        count = 0
        waiting = self.api.open_orders(market_type="SPOT")
        with parsing_errors(self.name):
            symbols = [row["symbol"] for row in list_of_rows(waiting)]
        for symbol in sorted(set(symbols)):
            try:
                rows = self.api.cancel_open_orders(symbol)
            except (Refused, Unknown) as error:
                if not count:
                    raise
                raise Unknown(f"{count} orders were canceled, then: {error}") from error
            with parsing_errors(self.name, mutates=True):
                count += symbols.count(symbol) if rows is None else len(rows)
        return count

    def fills(self, currency: str, asset: str) -> list[Fill]:
        return self._fills(currency, asset, 0)[0]

    def fills_page(self, currency: str, asset: str, cursor: str | None = None) -> HistoryPage[Fill]:
        return page_by_offset(self.name, cursor, PAGE, partial(self._fills, currency, asset))

    def _fills(self, currency: str, asset: str, offset: int) -> tuple[list[Fill], int]:
        """Return the executions of a page of the history, and how many rows it had."""
        rows = self.api.fill_history(market_symbol(currency, asset), limit=PAGE, offset=offset or None)
        with parsing_errors(self.name):
            listed = list_or_nothing(rows)
            return readable_rows(self.name, listed, fill_from_row), len(listed)

    def _read_order(self, ref: OrderRef) -> OrderState:
        """Return an order by its id, from the open ones or else from the history."""
        symbol, order_id = market_symbol(ref.currency, ref.asset), ref.exchange_order_id
        try:
            rows = [self.api.order(symbol, order_id=order_id)]
        except Refused as error:
            if error.code != "order_not_found":
                raise
            rows = self.api.order_history(symbol, order_id=order_id, limit=1)
        with parsing_errors(self.name):
            if list_of_rows(rows):
                return order_from_row(rows[0], ref)
        # The exchange gave its id, so it was there then; a market order was over at once.
        self._refuse_too_early(ref.created if ref.price is None else ref.missed_since)
        raise Refused(f"{self.name} knows no order {order_id}", code="order_not_found")

    def _with_fee(self, state: OrderState, *, patient: bool = False) -> OrderState:
        """Return the order with its fee, which only its fills tell; without it while some of them are missing.

        `patient`: wait for them, for a second or two. Fills that cannot be understood, or are not shown, do not hide
        the order: its fee is unknown then.
        """
        if not state.filled or state.asset is None or state.currency is None:
            return state
        symbol = market_symbol(state.currency, state.asset)

        def read_fee() -> tuple[Decimal | None, str | None] | None:
            try:
                rows = self.api.fill_history(symbol, order_id=state.exchange_order_id, limit=PAGE)
                return fee_from_rows(rows, state)
            except PARSING_ERRORS:
                return None, None
            except Refused as error:
                if error.retryable:
                    raise
                return None, None

        fee, fee_currency = poll_fills(read_fee, patient=patient) or (None, None)
        return replace(state, fee=fee, fee_currency=fee_currency)

    def _with_reason(self, state: OrderState) -> OrderState:
        """Return an order that was over at once with the reason, if it was not filled, which only the history tells.

        Waits for a second or two until it is listed there.
        """
        if state.status not in {"canceled", "partly_filled"} or state.asset is None or state.currency is None:
            return state
        symbol = market_symbol(state.currency, state.asset)

        def read_listed() -> OrderState | None:
            rows = self.api.order_history(symbol, order_id=state.exchange_order_id, limit=1)
            with parsing_errors(self.name):
                return next(
                    (order_from_row(row) for row in rows if order_id_text(row["id"]) == state.exchange_order_id), None
                )

        try:
            listed = poll_fills(read_listed, patient=True)
        except Refused:
            return state
        return state if listed is None else replace(state, reason=listed.reason)
