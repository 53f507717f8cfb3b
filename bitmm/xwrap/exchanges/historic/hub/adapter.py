"""The adapter of a hub: the operations of `Exchange`, done with `HubAPI`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import ClassVar, Literal

from ....money import parse_decimal, plain
from ...base import Exchange, ExchangeContext, Field, RateLimit
from ...errors import Busy, Refused, Unsupported
from ...http import parsing_errors, refused_key_is_proof
from ...models import DepositAddress, Funds, NewOrder, NewWithdrawal, OrderRef, OrderState, Rate, Withdrawal
from ...orders import accepted_order, cancel_each, cancel_errors, find_open_or_closed, listed_order
from ...rules import no_rate
from ..common import order_id_of, parse_bitcoin_address, require_bitcoin, require_bitcoin_send
from .api import HubAPI
from .parsing import check_amount, give_and_get, order_from_row, parse_funds, parse_order_id

__all__ = ["Hub"]

#: How the words of a refusal begin.
_WHO = "a hub"


class Hub(Exchange):
    """A hub at the administrator's address, for BTC.

    The protocol has limit orders alone and only a list of the open ones: an order that is no longer in it is "closed".
    Prices come from hubs with our extension `ticker`. There is a total only where nothing is pending, because the page
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
    reads_closed_orders: ClassVar[bool] = False
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
                raise no_rate(self.name, currency, asset)
            return Rate(buy=buy, sell=sell, time=datetime.now(UTC))

    def funds(self) -> dict[str, Funds]:
        answer = self.api.my_balance()
        with parsing_errors(self.name):
            return parse_funds(self.name, answer["available"], answer.get("pending"))

    def check_kind(self, order: NewOrder) -> None:
        super().check_kind(order)
        if order.asset != "BTC" or order.currency == "BTC":
            words = f"a hub trades BTC against another currency, not {order.asset} for {order.currency}"
            raise Refused(words, code="unknown_market")
        if order.price is None:
            raise Refused("a hub has limit orders alone: give a price", code="price_required")
        if order.amount is None or order.cost is not None:
            raise Unsupported("a hub cannot trade for a given cost; give the amount")

    def place(self, order: NewOrder) -> OrderState:
        """Place a limit order: the cost is given for the amount, or the amount for the cost.

        The cost has at most eight decimals: rounded down for a buy and up for a sell, so the price is never worse.
        """
        self.check_kind(order)
        amount = check_amount(order.amount or Decimal(0))
        give, get = give_and_get(order.side, amount, order.price or Decimal(0))
        (trade_cur, for_cur) = (order.currency, order.asset) if order.side == "buy" else (order.asset, order.currency)
        with refused_key_is_proof(self.api.my_balance):
            answer = self.api.place_order(plain(give), trade_cur, plain(get), for_cur)
        with parsing_errors(self.name, mutates=True):
            return accepted_order(order, parse_order_id(answer["oid"]))

    def order(self, ref: OrderRef) -> OrderState:
        """Return an open order; "closed" when it is not open, because a hub does not say what became of it."""
        order_id_of(ref, parse_order_id, _WHO)
        return _order_among(self.open_orders(), ref)

    def read_orders(self, refs: Sequence[OrderRef]) -> dict[str, OrderState]:
        """Read all of them with one question: the list of the open ones."""
        try:
            orders = self.open_orders()
        except Busy:
            raise
        except Refused:
            return {}
        states: dict[str, OrderState] = {}
        for ref in refs:
            with suppress(Refused):
                states[order_id_of(ref, parse_order_id, _WHO)] = _order_among(orders, ref)
        return states

    def open_orders(self) -> list[OrderState]:
        rows = self.api.my_open_orders()
        with parsing_errors(self.name):
            return [listed_order(_WHO, parse_order_id(row["oid"]), partial(order_from_row, row)) for row in rows]

    def cancel(self, ref: OrderRef) -> None:
        self._cancel(order_id_of(ref, parse_order_id, _WHO))

    def cancel_all(self) -> int:
        return cancel_each(self.open_orders(), lambda state: self._cancel(state.exchange_order_id))

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        """Return a new address every time."""
        require_bitcoin(asset, network, _WHO)
        answer = self.api.new_btc_address()
        with parsing_errors(self.name):
            return DepositAddress(asset, parse_bitcoin_address(answer["btc_address"]), network=network)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        """Send bitcoins. The id is the transaction where the hub's answer has it (choice), else the caller's."""
        require_bitcoin_send(withdrawal, _WHO)
        amount = check_amount(withdrawal.amount)
        with refused_key_is_proof(self.api.my_balance):
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

    def _cancel(self, order_id: str) -> None:
        with cancel_errors(), refused_key_is_proof(self.api.my_balance):
            self.api.cancel_order(order_id)


def _order_among(orders: Iterable[OrderState], ref: OrderRef) -> OrderState:
    """Return the order of `ref` as it is among the open ones."""
    state = find_open_or_closed(orders, ref, _WHO)
    # The price that was asked for: the quotient of the hub's two amounts is rounded.
    return replace(state, price=ref.price or state.price, client_id=ref.client_id)


def _create_api(context: ExchangeContext, url: str) -> HubAPI:
    """Return the API. The secret is a password only where the registration says so: a hub cannot make it one."""
    keys = context.credentials
    kind, encoding = keys.more.get("authentication") or "2", keys.more.get("key_encoding") or "utf-8"
    if kind not in ("1", "2"):
        words = f"'authentication' is '{kind}'; a hub's is 1 (password) or 2 (signed)"
        raise Refused(words, code="invalid_request", details={"field": "authentication"})
    if encoding not in ("utf-8", "base64"):
        words = f"'key_encoding' is '{encoding}'; a key is written as utf-8 or as base64"
        raise Refused(words, code="invalid_request", details={"field": "key_encoding"})
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
