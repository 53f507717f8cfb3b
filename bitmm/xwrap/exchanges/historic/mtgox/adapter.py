"""The adapter of Mt.Gox: the operations of `Exchange`, done with `MtGoxAPI`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar, Literal

from ....money import plain, total
from ...base import Exchange, ExchangeContext, Field
from ...errors import Refused, Unsupported
from ...http import parsing_errors
from ...models import (
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
from ...orders import poll_until_final
from ...rules import no_such_market
from .api import MtGoxAPI, Version
from .parsing import (
    CURRENCIES,
    fills_from_history,
    funds_from_wallet,
    market_of,
    money_amount,
    order_from_row,
    parse_order_id,
    rate_from_ticker,
    row_time,
    to_units,
    trade_id,
    transaction_id,
    transfer_address,
    transfer_id,
    with_trades,
)

__all__ = ["MtGox"]


_VERSIONS: dict[str, Version] = {"0": 0, "1": 1, "2": 2, "": 2}


#: What we ask -> the call of each version.
_CALLS: dict[str, tuple[str | None, str, str]] = {
    "ticker": ("data/ticker.php", "{pair}/ticker", "{pair}/money/ticker"),
    "info": ("info.php", "generic/info", "money/info"),
    "orders": ("getOrders.php", "generic/orders", "money/orders"),
    "add": (None, "{pair}/order/add", "{pair}/money/order/add"),
    "cancel": ("cancelOrder.php", "{pair}/order/cancel", "money/order/cancel"),
    "result": (None, "generic/order/result", "money/order/result"),
    "history": (None, "generic/wallet/history", "money/wallet/history"),
    "address": ("btcAddress.php", "generic/bitcoin/address", "money/bitcoin/address"),
    "send": ("withdraw.php", "generic/bitcoin/send_simple", "money/bitcoin/send_simple"),
}
TYPES_BY_SIDE = {"buy": "bid", "sell": "ask"}
#: A right of the key -> what it allows. What withdraw_mgmt allowed is not documented: better too much than too little.
_PERMISSIONS = {"get_info": "read", "trade": "trade", "withdraw": "send", "withdraw_mgmt": "send"}


class MtGox(Exchange):
    """BTC against eighteen currencies.

    Orders carry no id of the caller, so nothing can be looked up after a lost answer. Mt.Gox accepted orders without
    funds and left them waiting: they are "open" here, for they trade as soon as funds arrive. An order that is neither
    open nor has trades was cancelled or is not booked yet, which cannot be told apart: "unknown". Version 0 tells
    nothing of an order that is no longer open.
    """

    id: ClassVar[str] = "mtgox"
    name: ClassVar[str] = "Mt.Gox"
    description: ClassVar[str] = "The exchange of 2010 to 2014, closed; for replicas, archives and teaching"
    lifecycle: ClassVar[Literal["open", "closed", "paper"]] = "closed"
    form: ClassVar[tuple[Field, ...]] = (
        Field("apikey", "the API key"),
        Field("apisecret", "the secret of the key, in base64", secret=True),
        Field("version", "of the HTTP API: 0, 1 or 2 (the default)", required=False),
    )
    requires_url: ClassVar[bool] = True
    order_lookup: ClassVar[Literal["all", "open", "none"]] = "none"
    ordered: ClassVar[bool] = True

    def __init__(self, context: ExchangeContext) -> None:
        super().__init__(context)
        self._api = _create_api(context, context.url) if context.url else None

    @property
    def api(self) -> MtGoxAPI:
        """The API at the administrator's base URL. Raises Refused without one."""
        if self._api is None:
            raise Refused(
                "Mt.Gox closed in February 2014; only an administrator can name a server that speaks its protocol,"
                " by the setting XWRAP_EXCHANGE_URL_MTGOX",
                code="exchange_url_missing",
            )
        return self._api

    def rate(self, currency: str, asset: str) -> Rate:
        self._pair(currency, asset)
        path = self._call("ticker", currency, asset)
        document = self.api.public(path, {"Currency": currency} if self.api.version == 0 else None)
        with parsing_errors(self.name):
            return rate_from_ticker(document["ticker"] if self.api.version == 0 else document, currency)

    def markets(self) -> list[Market]:
        """The pairs that Mt.Gox had, from its documentation: no call tells them."""
        _ = self.api  # refused without a base URL, as every verb
        return [market_of(currency) for currency in CURRENCIES]

    def funds(self) -> dict[str, Funds]:
        info = self.api.private(self._call("info"))
        with parsing_errors(self.name):
            return {currency: funds_from_wallet(wallet, currency) for currency, wallet in info["Wallets"].items()}

    def permissions(self) -> frozenset[str]:
        info = self.api.private(self._call("info"))
        with parsing_errors(self.name):
            return frozenset(_PERMISSIONS[right] for right in info["Rights"] if right in _PERMISSIONS)

    def place(self, order: NewOrder) -> OrderState:
        self._pair(order.currency, order.asset)
        if order.amount is None or order.cost is not None:
            raise Unsupported("Mt.Gox cannot buy for a given cost; give the amount")
        oid = self._placed_by_0(order, order.amount) if self.api.version == 0 else self._placed(order, order.amount)
        placed = OrderState(
            oid,
            "open",
            side=order.side,
            currency=order.currency,
            asset=order.asset,
            amount=order.amount,
            price=order.price,
            client_id=order.client_id,
        )
        if order.price is not None or self.api.version == 0:
            return placed
        ref = OrderRef(order.side, order.currency, order.asset, order.client_id, oid, amount=order.amount)

        def read() -> OrderState:
            state = self.order(ref)
            return placed if state.status == "unknown" else state

        return poll_until_final(placed, read)

    def order(self, ref: OrderRef) -> OrderState:
        oid = _order_id_of(ref)
        state = OrderState(oid, "unknown", ref.side, ref.currency, ref.asset, ref.amount, ref.price)
        told = {state.exchange_order_id: state for state in self.open_orders()}.get(oid)
        with parsing_errors(self.name):
            if told is not None:
                if (told.side, told.currency, told.asset) != (ref.side, ref.currency, ref.asset):
                    raise ValueError("another order")
                # The list counts down what is left of an order; the caller knows what it was.
                state = replace(told, amount=ref.amount or told.amount)
        state = replace(state, client_id=ref.client_id)
        if self.api.version == 0 or (result := self._result(ref)) is None:
            return state
        with parsing_errors(self.name):
            state = with_trades(state, result)
        return state if state.status == "open" else self._with_fee(state, result)

    def open_orders(self) -> list[OrderState]:
        document = self.api.private(self._call("orders"))
        with parsing_errors(self.name):
            rows = document["orders"] if self.api.version == 0 else document
            return [order_from_row(row) for row in rows]

    def cancel(self, ref: OrderRef) -> None:
        self._cancel(_order_id_of(ref), ref.currency, ref.asset)

    def cancel_all(self) -> int:
        """Each open order is cancelled by itself; Mt.Gox had no call for all."""
        canceled = 0
        for state in self.open_orders():
            try:
                self._cancel(state.exchange_order_id, str(state.currency), str(state.asset))
                canceled += 1
            except Refused as error:
                if error.code != "order_not_open":
                    raise
        return canceled

    def fills(self, currency: str, asset: str) -> list[Fill]:
        """The trades that both wallets have among their newest 50 rows of history."""
        self._pair(currency, asset)
        things, money = self._history(asset), self._history(currency)
        with parsing_errors(self.name):
            return fills_from_history(things, money, currency, asset)

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        """The current address; a new one only after it was used (mtgox-doc)."""
        _require_bitcoin(asset, network)
        answer = self.api.private(self._call("address"))
        with parsing_errors(self.name):
            if not re.fullmatch(r"[0-9A-Za-z]{26,90}", answer["addr"], re.ASCII):
                raise ValueError("no address")
            return DepositAddress(asset, answer["addr"], network=network)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        """The id is the bitcoin transaction, or a UUID for a transfer inside Mt.Gox; in version 0 it is ours."""
        _require_bitcoin(withdrawal.asset, withdrawal.network)
        if withdrawal.tag is not None:
            raise Refused("bitcoin addresses have no tag", code="invalid_request")
        units = to_units(withdrawal.amount, "BTC", "amount")
        form = {"address": withdrawal.address, "amount_int": units}
        if self.api.version == 0:
            form = {"group1": "BTC", "btca": withdrawal.address, "amount": plain(withdrawal.amount)}
        answer = self.api.private(self._call("send"), form)
        sent = Withdrawal(
            withdrawal.client_id,
            "BTC",
            withdrawal.amount,
            "unknown",
            address=withdrawal.address,
            network=withdrawal.network,
        )
        if self.api.version == 0:
            # The answer is a sentence for people and the balances; what the sentence was is not recorded anywhere.
            return sent
        with parsing_errors(self.name, mutates=True):
            trx = answer["trx"]
            if not re.fullmatch(r"[0-9a-f]{64}|[0-9a-f-]{36}", trx, re.ASCII):
                raise ValueError("no transaction")
            return replace(sent, id=trx, status="done", txid=trx if len(trx) == 64 else None)

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        rows = self._booked("deposit", asset)
        with parsing_errors(self.name):
            return [
                Deposit(
                    transfer_id(row),
                    name,
                    money_amount(row["Value"], name),
                    "done",
                    address=transfer_address(row),
                    time=row_time(row),
                )
                for name, row in rows
            ]

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        rows = self._booked("withdraw", asset)
        with parsing_errors(self.name):
            return [
                Withdrawal(
                    transfer_id(row),
                    name,
                    money_amount(row["Value"], name),
                    "done",
                    address=transfer_address(row),
                    txid=transaction_id(row),
                    created=row_time(row),
                )
                for name, row in rows
            ]

    def _call(self, what: str, currency: str = "", asset: str = "") -> str:
        """The path of a call in this version. Raises Unsupported when the version has none."""
        path = _CALLS[what][self.api.version]
        if path is None:
            raise Unsupported(f"version {self.api.version} of Mt.Gox's API has no call for this")
        return path.format(pair=self._pair(currency, asset)) if "{pair}" in path else path

    def _pair(self, currency: str, asset: str) -> str:
        if asset != "BTC" or currency not in CURRENCIES:
            raise no_such_market(self.name, currency, asset, [(name, "BTC") for name in CURRENCIES])
        return asset + currency

    def _placed(self, order: NewOrder, amount: Decimal) -> str:
        form = {"type": TYPES_BY_SIDE[order.side], "amount_int": to_units(amount, order.asset, "amount")}
        if order.price is not None:
            form["price_int"] = to_units(order.price, order.currency, "price")
        answer = self.api.private(self._call("add", order.currency, order.asset), form)
        with parsing_errors(self.name, mutates=True):
            return parse_order_id(answer)

    def _placed_by_0(self, order: NewOrder, amount: Decimal) -> str:
        """Version 0 answers with all open orders: ours was not there before, and is what was asked for."""
        to_units(amount, order.asset, "amount")
        form = {"amount": plain(amount)}
        if order.price is not None:
            to_units(order.price, order.currency, "price")
            form["price"] = plain(order.price)
        form["Currency"] = order.currency
        before = {state.exchange_order_id for state in self.open_orders()}
        answer = self.api.private("buyBTC.php" if order.side == "buy" else "sellBTC.php", form)
        with parsing_errors(self.name, mutates=True):
            asked = (order.side, order.currency, order.asset, order.amount, order.price)
            found = [
                state.exchange_order_id
                for state in map(order_from_row, answer["orders"])
                if state.exchange_order_id not in before
                and (state.side, state.currency, state.asset, state.amount, state.price) == asked
            ]
            if len(found) != 1:
                raise ValueError(f"{len(found)} new orders in the list")
            return found[0]

    def _cancel(self, oid: str, currency: str, asset: str) -> None:
        try:
            answer = self.api.private(self._call("cancel", currency, asset), {"oid": oid})
        except Refused as error:
            if error.code == "order_not_found":
                raise Refused(error.words, code="order_not_open") from error
            raise
        if self.api.version != 0:
            with parsing_errors(self.name, mutates=True):
                if answer["oid"] != oid:
                    raise ValueError("another order")

    def _result(self, ref: OrderRef) -> Any:
        """The trades of an order; None when there are none (yet): the exchange does not know the id then."""
        form = {"type": TYPES_BY_SIDE[ref.side], "order": _order_id_of(ref)}
        try:
            result = self.api.private(self._call("result"), form)
        except Refused as error:
            if error.code == "order_not_found":
                return None
            raise
        with parsing_errors(self.name):
            if result.get("order_id", form["order"]) != form["order"]:
                raise ValueError("another order")
            return result if result["trades"] else None

    def _with_fee(self, state: OrderState, result: Mapping[str, Any]) -> OrderState:
        """The fee is told by the wallet history alone: of the asset for a buy, of the currency for a sell."""
        where = (state.asset if state.side == "buy" else state.currency) or ""
        try:
            rows = self._history(where)
            with parsing_errors(self.name):
                wanted = {trade["trade_id"] for trade in result["trades"]}
                booked = [row for row in rows if trade_id(row) in wanted]
                fee = total(money_amount(row["Value"], where) for row in booked if row["Type"] == "fee")
        except Refused:
            return state
        if {trade_id(row) for row in booked} != wanted:
            return state
        return replace(state, fee=fee, fee_currency=where)

    def _history(self, currency: str) -> list[Mapping[str, Any]]:
        """The newest 50 rows of a wallet."""
        answer = self.api.private(self._call("history"), {"currency": currency})
        with parsing_errors(self.name):
            return list(answer["result"])

    def _booked(self, kind: str, asset: str | None) -> list[tuple[str, Mapping[str, Any]]]:
        """Rows of one type, newest first: of one wallet, or of all there are."""
        names = [asset] if asset is not None else sorted(self.funds())
        with parsing_errors(self.name):
            rows = [(name, row) for name in names for row in self._history(name) if row["Type"] == kind]
            return sorted(rows, key=lambda row: int(row[1]["Date"]), reverse=True)


def _create_api(context: ExchangeContext, url: str) -> MtGoxAPI:
    keys = context.credentials
    version = _VERSIONS.get(keys.more.get("version", ""))
    if version is None:
        raise Refused("the version of Mt.Gox's API is 0, 1 or 2", code="invalid_request")
    return MtGoxAPI(
        url,
        keys.apikey,
        keys.apisecret,
        version=version,
        transport=context.transport,
        nonce=context.nonce,
        throttle=context.throttle,
        cache=context.cache,
    )


def _order_id_of(ref: OrderRef) -> str:
    try:
        return parse_order_id(ref.exchange_order_id)
    except ValueError:
        raise Refused("Mt.Gox knows orders by its own id alone", code="order_not_found") from None


def _require_bitcoin(asset: str, network: str | None) -> None:
    if asset != "BTC" or network not in (None, "bitcoin"):
        raise Unsupported("Mt.Gox has addresses for BTC on the bitcoin network alone")
