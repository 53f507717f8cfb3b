"""Our verbs in ccxt's unified calls."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Literal

from ...money import EXACT, exact, mean, parse_decimal, plain, total
from ..base import Credentials, Exchange, ExchangeContext
from ..errors import Refused, Unknown
from ..http import parsing_errors
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
    Withdrawal,
)
from ..orders import poll_until_final
from ..rules import check, no_such_market
from .instance import Instance, Markets, instance_for
from .parsing import (
    EPOCH,
    SIDES,
    _moment,
    _text,
    _told,
    deposit_from_row,
    fee_fields,
    fill_from_row,
    is_spot_symbol,
    order_status,
    pair_of_symbol,
    spot_markets,
    withdrawal_from_row,
)

#: Exchanges where ccxt sends a withdrawal's tag as something else. Backpack gets it as the client's id.
_NO_TAGS = {"backpack"}
#: Calls without a key.
_UNSIGNED = {"fetch_ticker", "fetch_order_book"}
#: Seconds for which the markets are not read again.
_LISTED = 3600.0


class CcxtExchange(Exchange):
    """Our verbs in ccxt's unified calls; `exchange_class` takes away those that an exchange lacks.

    Where an exchange tells no cost, `spent` is ccxt's product of amount and mean price, unless the fills tell it.
    """

    kind: ClassVar[Any]
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
            rate = Rate(parse_decimal(buy), parse_decimal(sell), _moment(row.get("timestamp")) or datetime.now(UTC))
            if not rate.buy >= rate.sell > 0:
                raise ValueError(f"ask {buy}, bid {sell}")
            return rate

    def markets(self) -> list[Market]:
        return list(self._markets().markets.values())

    def funds(self) -> dict[str, Funds]:
        rows = self._call("fetch_balance")
        with parsing_errors(self.name):
            return {
                name: Funds(
                    total=_told(rows["total"][name]),
                    available=_told(rows["free"].get(name)),
                    held=_told(rows["used"].get(name)),
                )
                for name in rows["total"]
            }

    def place(self, order: NewOrder) -> OrderState:
        symbol = self._symbol(order.currency, order.asset)
        self._refuse_rounding(order, symbol)
        extra = {"clientOrderId": order.client_id} if type(self).order_lookup != "none" else {}
        if order.cost is not None:
            call: tuple[Any, ...] = ("create_market_buy_order_with_cost", symbol, plain(order.cost), extra)
            needs = "createMarketBuyOrderWithCost"
        else:
            kind, price = ("market", None) if order.price is None else ("limit", plain(order.price))
            call = ("create_order", symbol, kind, order.side, plain(order.amount or 0), price, extra)
            needs = "createMarketOrder" if price is None else "createLimitOrder"
        if needs not in self.has:
            raise Refused(f"{self.name} takes no such order", code="unsupported")
        row = self._call(*call, mutates=True)
        ref = OrderRef(order.side, order.currency, order.asset, order.client_id, amount=order.amount, price=order.price)
        with parsing_errors(self.name, mutates=True):
            ref = replace(ref, exchange_order_id=_text(row["id"]))
            placed = self._state(row, ref)
        if order.price is None and placed.status == "open" and type(self).order is not Exchange.order:
            placed = poll_until_final(placed, lambda: self._fetch_order(ref))
        return self._with_fills(placed, patient=True)

    def order(self, ref: OrderRef) -> OrderState:
        return self._with_fills(self._fetch_order(ref))

    def find(self, ref: OrderRef) -> OrderState | None:
        """Open orders are asked first: an order that is filled between the two questions is seen by the second."""
        asked = {"clientOrderId": ref.client_id}
        for method in ("fetch_open_orders", "fetch_closed_orders"):
            rows = self._call(method, params=asked)
            with parsing_errors(self.name):
                if any(row["clientOrderId"] != ref.client_id for row in rows):
                    raise ValueError("orders with other ids than the one asked for")
                if rows:
                    return self._state(rows[0], ref)
        return None

    def open_orders(self) -> list[OrderState]:
        rows = self._call("fetch_open_orders")
        with parsing_errors(self.name):
            return [self._state(row) for row in rows if is_spot_symbol(row["symbol"])]

    def cancel(self, ref: OrderRef) -> None:
        if ref.exchange_order_id is None:
            found = self.find(ref)
            if found is None:
                raise Refused(f"{self.name} knows no such order", code="order_not_open")
            ref = replace(ref, exchange_order_id=found.exchange_order_id)
        try:
            self._call("cancel_order", ref.exchange_order_id, self._symbol(ref.currency, ref.asset), mutates=True)
        except Refused as refusal:
            if refusal.code == "order_not_found":
                raise Refused(refusal.reason, code="order_not_open") from None
            raise

    def cancel_all(self) -> int:
        """Counted are the orders that are open before and not after, for ccxt's answers differ."""
        before = {state.exchange_order_id: state for state in self.open_orders()}
        began = False
        try:
            for step in self._cancel_steps(before.values()):
                step()
                began = True
            left = {state.exchange_order_id for state in self.open_orders()} if before else set()
        except Refused as refusal:
            if not began:
                raise
            raise Unknown(f"some orders were canceled, then: {refusal}") from None
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
            return DepositAddress(asset, _text(row["address"]), row.get("tag") or None, row.get("network") or chosen)

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
            amount=self._withdrawal_amount(withdrawal),
            address=withdrawal.address,
            params=params,
            mutates=True,
            must_contain=withdrawal.tag,
            **tag,
        )
        with parsing_errors(self.name, mutates=True):
            made = withdrawal_from_row(row)
            # Some tell what leaves, some what arrives.
            net = EXACT.subtract(withdrawal.amount, made.fee or Decimal(0))
            if (
                made.asset != withdrawal.asset
                or made.address not in (None, withdrawal.address)
                or made.amount not in (None, withdrawal.amount, net)
            ):
                raise ValueError("another withdrawal")
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
            made = [deposit_from_row(row) for row in rows if asset in (None, row["currency"])]
        return sorted(made, key=lambda row: row.time or EPOCH, reverse=True)

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        rows = self._call("fetch_withdrawals", asset)
        with parsing_errors(self.name):
            made = [withdrawal_from_row(row) for row in rows if asset in (None, row["currency"])]
        return sorted(made, key=lambda row: row.created or EPOCH, reverse=True)

    # --- what the verbs share ---

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """A unified call, with all its requests under one throttle: its nonces and times are made in it."""
        listing = self._markets()
        with self.context.throttle(method, signed=method not in _UNSIGNED):
            return self._instance.call(self.context, listing, method, *arguments, **named)

    def _precise(self, field: str, *of: str) -> str:
        """What ccxt would make of a number; nothing is asked for this."""
        text: str = self._instance.call(self.context, self._markets(), f"{field}_to_precision", *of)
        return text

    def _markets(self) -> Markets:
        def fetch() -> Markets:
            instance = Instance(self.kind, self.name, self.context.url, Credentials())
            with self.context.throttle("load_markets", signed=False):
                instance.call(ExchangeContext(self.context.transport), None, "load_markets")
            with parsing_errors(self.name):
                return Markets(instance.ccxt, spot_markets(instance.ccxt))

        listing: Markets = self.context.cache.get_or_fetch("markets", fetch, seconds=_LISTED)
        return listing

    def _symbol(self, currency: str, asset: str) -> str:
        markets = self._markets().markets
        if (currency, asset) not in markets:
            raise no_such_market(self.name, currency, asset, markets)
        return f"{asset}/{currency}"

    def _refuse_rounding(self, order: NewOrder, symbol: str) -> None:
        """By the market's rules, and by what ccxt itself would make of the numbers."""
        listing = self._markets()
        check(order, listing.markets[order.currency, order.asset])
        precision = listing.ccxt.markets[symbol]["precision"]
        for field, value in (("amount", order.amount), ("price", order.price), ("cost", order.cost)):
            step = precision.get(field) or (precision.get("price") if field == "cost" else None)
            if value is not None and step is not None:
                self._refuse_change(field, value, self._precise(field, symbol, plain(value)))

    def _refuse_change(self, field: str, value: Decimal, kept: str) -> None:
        if exact(kept) != value:
            raise Refused(
                f"{self.name} would make {kept} of the {field} {plain(value)}",
                code=f"{field}_step",
                details={"field": field, "value": plain(value), "rule": f"{field}_step", "nearest": kept},
            )

    def _withdrawal_amount(self, withdrawal: NewWithdrawal) -> str:
        amount = plain(withdrawal.amount)
        if (self._markets().ccxt.currencies.get(withdrawal.asset) or {}).get("precision") is not None:
            self._refuse_change("amount", withdrawal.amount, self._precise("currency", withdrawal.asset, amount))
        return amount

    def _choose_network(self, asset: str, network: str | None, switch: Literal["deposit", "withdraw"]) -> str | None:
        """ccxt's name of the network; None where it lists none. A chain that it would choose by itself is not taken."""
        currency = self._markets().ccxt.currencies.get(asset)
        if currency is None:
            raise Refused(f"{self.name} does not list {asset}", code="unknown_asset")
        rows = currency.get("networks") or {}
        offered = {name: row for name, row in rows.items() if False not in (row.get(switch), row.get("active"))}
        if network is None and not rows:
            return None
        wanted: list[str] = [
            name
            for name, row in offered.items()
            if network is None or network.casefold() in (name.casefold(), str(row.get("id")).casefold())
        ]
        if len(wanted) != 1:
            words = ", ".join(offered) or "ccxt lists none there"
            raise Refused(f"name the network for {asset}: {words}"[:300], code="network_required")
        return wanted[0]

    def _fetch_order(self, ref: OrderRef) -> OrderState:
        """An order by its id; where no single order can be asked for, among the open ones and in the history."""
        id, symbol = ref.exchange_order_id, self._symbol(ref.currency, ref.asset)
        if "fetchOrder" in self.has:
            rows = [self._call("fetch_order", id, symbol)]
        else:
            history = "fetch_orders" if "fetchOrders" in self.has else "fetch_closed_orders"
            rows = [row for method in ("fetch_open_orders", history) for row in self._call(method, symbol)]
        with parsing_errors(self.name):
            for row in rows:
                if row["id"] == id:
                    return self._state(row, ref)
        raise Refused(f"{self.name} knows no order {id}", code="order_not_found")

    def _state(self, row: Mapping[str, Any], ref: OrderRef | None = None) -> OrderState:
        """An order of ccxt. Raises ValueError when it contradicts `ref`."""
        currency, asset = pair_of_symbol(row.get("symbol"))
        limit = row.get("type") == "limit" or (ref is not None and ref.price is not None)
        filled, spent = _told(row.get("filled")), _told(row.get("cost"))
        # A market buy for a cost has no amount, and some classes then tell the cost as one.
        amount = None if ref is not None and ref.amount is None else _told(row.get("amount"))
        client_id = row.get("clientOrderId") if type(self).order_lookup != "none" else None
        state = OrderState(
            exchange_order_id=_text(row["id"]),
            status=order_status(row.get("status"), amount, filled),
            side=None if row.get("side") is None else SIDES[row["side"]],
            currency=currency,
            asset=asset,
            amount=amount,
            price=_told(row.get("price")) if limit else None,
            filled=filled,
            average=mean(spent, filled) if spent and filled else None,
            spent=spent,
            client_id=client_id or None,
            created=_moment(row.get("timestamp")),
        )
        state = replace(state, **(fee_fields(row) or {}))
        if ref is not None:
            told = (state.exchange_order_id, state.side, currency, asset, amount, state.price)
            known = (ref.exchange_order_id, ref.side, ref.currency, ref.asset, ref.amount, ref.price)
            if any(None not in (one, other) and one != other for one, other in zip(told, known, strict=True)):
                raise ValueError("another order than the one asked for")
        return state

    def _with_fills(self, state: OrderState, *, patient: bool = False) -> OrderState:
        """The order with what its fills tell, when all of them can be read; `patient`: wait for them for a moment."""
        if not state.filled or type(self).fills is Exchange.fills or state.asset is None or state.currency is None:
            return state
        symbol = f"{state.asset}/{state.currency}"
        for pause in (0.0, 0.2, 0.4, 0.8) if patient and state.fee is None else (0.0,):
            time.sleep(pause)
            try:
                rows = self._call("fetch_my_trades", symbol)
                with parsing_errors(self.name):
                    rows = [row for row in rows if row["order"] == state.exchange_order_id]
                    if total(parse_decimal(row["amount"]) for row in rows) == state.filled:
                        spent = total(parse_decimal(row["cost"]) for row in rows)
                        state = replace(state, spent=spent, average=mean(spent, state.filled))
                        fees = [fee for row in rows for fee in row.get("fees") or [row.get("fee")]]
                        return replace(state, **(fee_fields({"fees": fees}) or {}))
            except Refused:
                return state
        return state

    def _cancel_steps(self, states: Iterable[OrderState]) -> list[Callable[[], object]]:
        """The steps that cancel all these orders: one a market where there is such a call, or else one an order."""
        pairs = {(state.currency, state.asset) for state in states}
        if "cancelAllOrders" in self.has:
            symbols = sorted(f"{asset}/{currency}" for currency, asset in pairs)
            return [partial(self._call, "cancel_all_orders", symbol, mutates=True) for symbol in symbols]
        return [partial(self._cancel_if_open, state) for state in states]

    def _cancel_if_open(self, state: OrderState) -> None:
        symbol = f"{state.asset}/{state.currency}"
        try:
            self._call("cancel_order", state.exchange_order_id, symbol, mutates=True)
        except Refused as refusal:
            if refusal.code != "order_not_found":
                raise
