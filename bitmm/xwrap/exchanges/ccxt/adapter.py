"""The adapter of any exchange that ccxt knows: the verbs of `Exchange` by ccxt's unified calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar, Literal

from ...money import parse_decimal, plain
from ..base import Credentials, Exchange, ExchangeContext
from ..errors import Busy, Refused, Unknown
from ..http import parsing_errors, refused_key_is_proof
from ..models import (
    Deposit,
    DepositAddress,
    Fill,
    Funds,
    Market,
    NewOrder,
    NewWithdrawal,
    OrderRef,
    OrderState,
    Rate,
    Side,
    Withdrawal,
)
from ..orders import cancel_errors, check_listed_by_now, closed_order, poll_fills, poll_until_final
from ..parsing import optional_amount, required_text
from ..rules import check, find_market, no_such_asset
from .instance import Instance, Markets, instance_for
from .parsing import (
    check_same_withdrawal,
    choose_network,
    deposit_from_row,
    fill_from_row,
    open_orders_from_rows,
    optional_time,
    order_from_remaining,
    order_from_row,
    order_with_fills,
    spot_markets,
    symbol_of,
    withdrawal_from_row,
)
from .precision import check_order_digits, withdrawal_amount

__all__ = ["CcxtExchange"]

#: Exchanges where ccxt sends a withdrawal's tag as something else. Backpack gets it as the client's id.
_NO_TAGS = {"backpack"}
#: Exchanges whose class of ccxt wants the side of an order to cancel it.
_CANCELS_BY_SIDE = {"bithumb", "coinspot", "indodax"}
#: Exchanges that list of an open order what is left of it, which ccxt takes for its amount.
_LISTS_WHAT_IS_LEFT = {"coincheck"}
#: Calls without a key.
_UNSIGNED = {"fetch_ticker", "fetch_order_book"}
#: Where a transfer without a time stands among others.
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class CcxtExchange(Exchange):
    """The verbs of an exchange by its class of ccxt; `exchange_class` takes away those that the exchange lacks."""

    #: Our subclass of ccxt's class.
    kind: ClassVar[Any]
    #: The unified calls that ccxt has for it, in ccxt's names.
    has: ClassVar[frozenset[str]]

    def __init__(self, context: ExchangeContext) -> None:
        """Raises Refused when a credential that the exchange needs is missing."""
        super().__init__(context)
        keys = context.credentials
        given = {"apikey": keys.apikey, "apisecret": keys.apisecret, **keys.more}
        missing = [field.name for field in self.form if not given.get(field.name)]
        if keys != Credentials() and missing:
            raise Refused(f"{self.name} needs {', '.join(missing)}", code="exchange_key_refused")
        self._instance = instance_for(self.kind, self.id, self.name, context)

    def rate(self, currency: str, asset: str) -> Rate:
        symbol = self._symbol(currency, asset)
        row = self._call("fetch_ticker", symbol) if "fetchTicker" in self.has else {}
        with parsing_errors(self.name):
            buy, sell = row.get("ask"), row.get("bid")
        if (buy is None or sell is None) and "fetchOrderBook" in self.has:
            row = self._call("fetch_order_book", symbol)
            with parsing_errors(self.name):
                buy, sell = row["asks"][0][0], row["bids"][0][0]
        with parsing_errors(self.name):
            time = optional_time(row.get("timestamp")) or datetime.now(UTC)
            rate = Rate(parse_decimal(buy), parse_decimal(sell), time)
            if not rate.buy >= rate.sell > 0:
                raise ValueError(f"ask {buy}, bid {sell}")
            return rate

    def markets(self) -> list[Market]:
        return list(self._markets().spot.values())

    def funds(self) -> dict[str, Funds]:
        rows = self._call("fetch_balance")
        with parsing_errors(self.name):
            return {
                name: Funds(
                    total=optional_amount(rows["total"][name]),
                    available=optional_amount(rows["free"].get(name)),
                    held=optional_amount(rows["used"].get(name)),
                )
                for name in rows["total"]
            }

    def place(self, order: NewOrder) -> OrderState:
        symbol = self._symbol(order.currency, order.asset)
        markets = self._markets()
        check(order, markets.spot[order.currency, order.asset])
        check_order_digits(self.name, order, symbol, markets.ccxt.markets[symbol]["precision"], self._rounded)
        params = {"clientOrderId": order.client_id} if self._stores_client_ids() else {}
        if order.cost is not None:
            call: tuple[Any, ...] = ("create_market_buy_order_with_cost", symbol, plain(order.cost), params)
            needed = "createMarketBuyOrderWithCost"
        else:
            kind, price = ("market", None) if order.price is None else ("limit", plain(order.price))
            call = ("create_order", symbol, kind, order.side, plain(order.amount or 0), price, params)
            needed = "createMarketOrder" if price is None else "createLimitOrder"
        if needed not in self.has:
            raise Refused(f"{self.name} takes no such order", code="unsupported")
        ref = OrderRef(
            *(order.side, order.currency, order.asset, order.client_id),
            created=datetime.now(UTC),
            amount=order.amount,
            price=order.price,
        )
        row = self._call(*call, mutates=True)
        with parsing_errors(self.name, mutates=True):
            ref = replace(ref, exchange_order_id=required_text(row["id"]))
            placed = order_from_row(row, ref, with_client_id=self._stores_client_ids())
        if order.price is None and placed.status == "open" and type(self).order is not Exchange.order:
            placed = poll_until_final(placed, lambda: self._fetch_order(ref))
        if placed.status == "unknown":
            placed = replace(placed, status="open")  # it was taken, and ccxt does not know the exchange's word
        return self._with_fills(placed, patient=True)

    def order(self, ref: OrderRef) -> OrderState:
        return self._with_fills(self._fetch_order(ref), patient=False)

    def find(self, ref: OrderRef) -> OrderState | None:
        """Look among the open orders first: one that is filled between the two questions is seen by the second."""
        params = {"clientOrderId": ref.client_id}
        for method in ("fetch_open_orders", "fetch_closed_orders"):
            rows = self._call(method, params=params)
            with parsing_errors(self.name):
                if any(row["clientOrderId"] != ref.client_id for row in rows):
                    raise ValueError("orders with other ids than the one asked for")
                if rows:
                    return order_from_row(rows[0], ref, with_client_id=True)
        return None

    def open_orders(self) -> list[OrderState]:
        rows = self._call("fetch_open_orders")
        with parsing_errors(self.name):
            return open_orders_from_rows(self.name, rows, self._open_order)

    def cancel(self, ref: OrderRef) -> None:
        if ref.exchange_order_id is None:
            found = self.find(ref)
            if found is None:
                raise Refused(f"{self.name} knows no such order", code="order_not_open")
            ref = replace(ref, exchange_order_id=found.exchange_order_id)
        symbol = self._symbol(ref.currency, ref.asset)
        with cancel_errors():
            try:
                self._cancel(ref.exchange_order_id, symbol, ref.side)
            except (Refused, Unknown) as error:
                # Few exchanges say in words that ccxt knows that an order is over.
                refusal = error if isinstance(error, Refused) else error.refusal
                if refusal is None or isinstance(refusal, Busy) or not self._is_over(ref):
                    raise
                raise Refused(refusal.reason, code="order_not_open") from None

    def cancel_all(self) -> int:
        """Cancel all orders; return how many are open before and not after, because ccxt's answers differ."""
        before = {state.exchange_order_id: state for state in self.open_orders()}
        began = False
        try:
            for cancel in self._cancel_steps(before.values()):
                cancel()
                began = True
            left = {state.exchange_order_id for state in self.open_orders()} if before else set()
        except (Refused, Unknown) as error:
            if not began:
                raise
            raise Unknown(f"some orders were canceled, then: {error}") from None
        return len(before.keys() - left)

    def fills(self, currency: str, asset: str) -> list[Fill]:
        symbol = self._symbol(currency, asset)
        rows = self._call("fetch_my_trades", symbol)
        with parsing_errors(self.name):
            fills = [fill_from_row(row, symbol) for row in rows if row["symbol"] == symbol]
        return sorted(fills, key=lambda fill: fill.time, reverse=True)

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        chosen = self._choose_network(asset, network, "deposit")
        row = self._call("fetch_deposit_address", asset, {"network": chosen} if chosen else {})
        with parsing_errors(self.name):
            if row.get("currency") not in (None, asset):
                raise ValueError("another asset")
            address, tag = required_text(row["address"]), row.get("tag") or None
            return DepositAddress(asset, address, tag, row.get("network") or chosen)

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
            must_contain=withdrawal.tag,
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
            deposits = [deposit_from_row(row) for row in rows if asset in (None, row["currency"])]
        return sorted(deposits, key=lambda deposit: deposit.time or _LONG_AGO, reverse=True)

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        rows = self._call("fetch_withdrawals", asset)
        with parsing_errors(self.name):
            withdrawals = [withdrawal_from_row(row) for row in rows if asset in (None, row["currency"])]
        return sorted(withdrawals, key=lambda withdrawal: withdrawal.created or _LONG_AGO, reverse=True)

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Return the answer to a unified call. All its requests are under one throttle: its nonces are made in it."""
        markets = self._markets()
        with refused_key_is_proof(self.funds), self.context.throttle(method, signed=method not in _UNSIGNED):
            return self._instance.call(self.context, markets, method, *arguments, **named)

    def _stores_client_ids(self) -> bool:
        return type(self).order_lookup != "none"

    def _markets(self) -> Markets:
        def load() -> Any:
            instance = Instance(self.kind, self.name, self.context.url, Credentials())
            with self.context.throttle("load_markets", signed=False):
                instance.call(ExchangeContext(self.context.transport), None, "load_markets")
            return instance.ccxt

        return self._cached("markets", load, lambda ccxt: Markets(ccxt, spot_markets(ccxt)))

    def _symbol(self, currency: str, asset: str) -> str:
        find_market(self.name, currency, asset, self._markets().spot)
        return f"{asset}/{currency}"

    def _rounded(self, field: str, *arguments: str) -> str:
        """Return what ccxt would make of a number before it sends it; no request is sent for this."""
        text: str = self._instance.call(self.context, self._markets(), f"{field}_to_precision", *arguments)
        return text

    def _choose_network(self, asset: str, network: str | None, use: Literal["deposit", "withdraw"]) -> str | None:
        """Return ccxt's name of the network; None where it lists none.

        Raises Refused `network_required` when several are meant: the one that ccxt would choose is not taken.
        """
        currency = self._markets().ccxt.currencies.get(asset)
        if currency is None:
            raise no_such_asset(self.name, asset)
        return choose_network(currency.get("networks") or {}, asset, network, use)

    def _fetch_order(self, ref: OrderRef) -> OrderState:
        """Return the order with the id of `ref`: by itself, or where there is no such call, from the open ones and the
        history. Raises Refused `order_not_found`.
        """
        id, symbol = ref.exchange_order_id, self._symbol(ref.currency, ref.asset)
        history = next((call for call in ("fetchOrders", "fetchClosedOrders") if call in self.has), None)
        if "fetchOrder" in self.has:
            rows = [self._call("fetch_order", id, symbol)]
        elif history is None:
            return self._fetch_open_order(ref, symbol)
        else:
            calls = ("fetch_open_orders", "fetch_orders" if history == "fetchOrders" else "fetch_closed_orders")
            rows = [row for call in calls for row in self._call(call, symbol)]
        with parsing_errors(self.name):
            for row in rows:
                if row["id"] == id:
                    return order_from_row(row, ref, with_client_id=self._stores_client_ids())
        raise Refused(f"{self.name} knows no order {id}", code="order_not_found")

    def _fetch_open_order(self, ref: OrderRef, symbol: str) -> OrderState:
        """Return an order of an exchange that lists open ones alone: "filled" when its fills add up to its amount, else
        "closed", when it is not among them. Raises NotListedYet a moment after it was placed.
        """
        rows = self._call("fetch_open_orders", symbol)
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

    def _cancel(self, id: str | None, symbol: str | None, side: Side | None) -> None:
        params = ({"side": side},) if self._instance.ccxt.id in _CANCELS_BY_SIDE else ()
        self._call("cancel_order", id, symbol, *params, mutates=True)

    def _cancel_if_open(self, state: OrderState) -> None:
        try:
            self._cancel(state.exchange_order_id, symbol_of(state), state.side)
        except Refused as refusal:
            if refusal.code != "order_not_found":
                raise
