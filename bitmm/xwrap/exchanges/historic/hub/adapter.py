"""The adapter of a hub: the operations of `Exchange`, done with `HubAPI`."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import ClassVar, Literal

from ....money import parse_decimal, plain
from ...base import Exchange, ExchangeContext, Field, RateLimit
from ...errors import Refused, Unsupported
from ...http import parsing_errors
from ...models import DepositAddress, Funds, NewOrder, NewWithdrawal, OrderRef, OrderState, Rate, Withdrawal
from .api import HubAPI
from .parsing import check_amount, funds_of, give_and_get, order_from_row, parse_amounts, parse_order_id

__all__ = ["Hub"]


class Hub(Exchange):
    """A hub at the administrator's address, for BTC.

    The protocol has limit orders alone and tells of an order only whether it is open: one that is not is "unknown".
    Prices are told by hubs with our extension `ticker`. A total is told only where nothing is pending, for the page
    does not say what "pending" means.
    """

    id: ClassVar[str] = "hub"
    name: ClassVar[str] = "Hub"
    description: ClassVar[str] = "Any server that speaks the account hub protocol of 2011"
    form: ClassVar[tuple[Field, ...]] = (
        Field("username", "the account's identifier (type 2: only if the hub gave one)", required=False),
        Field("apikey", "the token of the authkey (type 2)", required=False),
        Field("apisecret", "the key of the authkey (type 2), or the password (type 1)", secret=True),
        Field(
            "authentication", "the hub's authentication type: 1 (password) or 2 (signed; the default)", required=False
        ),
        Field("key_encoding", "how the key is written: utf-8 (the default) or base64", required=False),
    )
    requires_url: ClassVar[bool] = True
    order_lookup: ClassVar[Literal["all", "open", "none"]] = "none"
    #: The protocol is silent; one call a second (choice), and a few at once because one verb may need several.
    per_address = RateLimit(5, 1)

    def __init__(self, context: ExchangeContext) -> None:
        super().__init__(context)
        self._api = _create_api(context, context.url) if context.url else None

    @property
    def api(self) -> HubAPI:
        """The hub at the administrator's base URL. Raises Refused without one."""
        if self._api is None:
            raise Refused(
                "a hub has no address of its own; an administrator must name it, by the setting XWRAP_EXCHANGE_URL_HUB",
                code="exchange_url_missing",
            )
        return self._api

    def rate(self, currency: str, asset: str) -> Rate:
        ticker = self.api.ticker(asset, currency)
        with parsing_errors(self.name):
            buy, sell = parse_decimal(ticker["ask"]), parse_decimal(ticker["bid"])
            if not 0 < sell <= buy:
                raise ValueError("no bid below the ask")
            return Rate(buy=buy, sell=sell, time=datetime.now(UTC))

    def funds(self) -> dict[str, Funds]:
        answer = self.api.my_balance()
        with parsing_errors(self.name):
            free, waiting = parse_amounts(answer["available"]), parse_amounts(answer.get("pending", {}))
            return {
                name: funds_of(free.get(name, Decimal(0)), waiting.get(name, Decimal(0))) for name in free | waiting
            }

    def place(self, order: NewOrder) -> OrderState:
        """Give the cost for the amount, or the amount for the cost.

        The cost has at most eight decimals: rounded down for a buy and up for a sell, the price is never worse.
        """
        if order.asset != "BTC" or order.currency == "BTC":
            raise Refused("a hub trades BTC against another currency", code="unknown_market")
        if order.price is None:
            raise Refused("a hub has limit orders alone: give a price", code="price_required")
        if order.amount is None or order.cost is not None:
            raise Unsupported("a hub cannot trade for a given cost; give the amount")
        give, get = give_and_get(order.side, check_amount(order.amount), order.price)
        (trade_cur, for_cur) = (order.currency, order.asset) if order.side == "buy" else (order.asset, order.currency)
        answer = self.api.place_order(plain(give), trade_cur, plain(get), for_cur)
        with parsing_errors(self.name, mutates=True):
            return OrderState(
                parse_order_id(answer["oid"]),
                "open",
                side=order.side,
                currency=order.currency,
                asset=order.asset,
                amount=order.amount,
                price=order.price,
                client_id=order.client_id,
            )

    def order(self, ref: OrderRef) -> OrderState:
        """Open, or "unknown": what became of an order that is no longer open is not told."""
        oid = _order_id_of(ref)
        state = OrderState(oid, "unknown", ref.side, ref.currency, ref.asset, ref.amount, ref.price)
        told = {state.exchange_order_id: state for state in self.open_orders()}.get(oid)
        with parsing_errors(self.name):
            if told is not None:
                if (told.side, told.currency, told.asset) != (ref.side, ref.currency, ref.asset):
                    raise ValueError("another order")
                # The limit that was asked for; the hub's two amounts give it only rounded.
                state = replace(told, price=ref.price or told.price)
        return replace(state, client_id=ref.client_id)

    def open_orders(self) -> list[OrderState]:
        rows = self.api.my_open_orders()
        with parsing_errors(self.name):
            return [order_from_row(row) for row in rows]

    def cancel(self, ref: OrderRef) -> None:
        self._cancel(_order_id_of(ref))

    def cancel_all(self) -> int:
        """Each open order is cancelled by itself; a hub has no call for all."""
        canceled = 0
        for state in self.open_orders():
            try:
                self._cancel(state.exchange_order_id)
                canceled += 1
            except Refused as error:
                if error.code != "order_not_open":
                    raise
        return canceled

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        """A new address every time."""
        _require_bitcoin(asset, network)
        answer = self.api.new_btc_address()
        with parsing_errors(self.name):
            if not re.fullmatch(r"[0-9A-Za-z]{26,90}", answer["btc_address"], re.ASCII):
                raise ValueError("no address")
            return DepositAddress(asset, answer["btc_address"], network=network)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        """The id is the transaction where a hub tells it (choice), else it is ours."""
        _require_bitcoin(withdrawal.asset, withdrawal.network)
        if withdrawal.tag is not None:
            raise Refused("bitcoin addresses have no tag", code="invalid_request")
        amount = check_amount(withdrawal.amount)
        answer = self.api.send_btc(withdrawal.address, plain(amount))
        with parsing_errors(self.name, mutates=True):
            txid = answer.get("txid")
            if txid is not None and not re.fullmatch(r"[0-9a-f]{64}", txid, re.ASCII):
                raise ValueError("no transaction")
            return Withdrawal(
                txid or withdrawal.client_id,
                "BTC",
                amount,
                "done",
                address=withdrawal.address,
                network=withdrawal.network,
                txid=txid,
            )

    def _cancel(self, oid: str) -> None:
        try:
            self.api.cancel_order(oid)
        except Refused as error:
            if error.code == "order_not_found":
                raise Refused(error.words, code="order_not_open") from error
            raise


def _create_api(context: ExchangeContext, url: str) -> HubAPI:
    """The secret is a password only where the registration says so: a hub cannot make it one."""
    keys = context.credentials
    kind, encoding = keys.more.get("authentication") or "2", keys.more.get("key_encoding") or "utf-8"
    if kind not in ("1", "2"):
        raise Refused("a hub's authentication type is 1 or 2", code="invalid_request")
    if encoding not in ("utf-8", "base64"):
        raise Refused("a key is written as utf-8 or as base64", code="invalid_request")
    return HubAPI(
        url,
        account=keys.username,
        token=keys.apikey,
        password=keys.apisecret if kind == "1" else "",
        key=keys.apisecret if kind == "2" else "",
        key_encoding="base64" if encoding == "base64" else "utf-8",
        transport=context.transport,
        throttle=context.throttle,
        cache=context.cache,
    )


def _order_id_of(ref: OrderRef) -> str:
    if not ref.exchange_order_id:
        raise Refused("a hub knows orders by its own id alone", code="order_not_found")
    return ref.exchange_order_id


def _require_bitcoin(asset: str, network: str | None) -> None:
    if asset != "BTC" or network not in (None, "bitcoin"):
        raise Unsupported("a hub has addresses for BTC on the bitcoin network alone")
