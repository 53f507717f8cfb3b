"""The adapter of Bitstamp: the verbs of `Exchange` by calls of its API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar, Literal

from ...money import parse_decimal, plain
from ..base import Exchange, ExchangeContext, Field, RateLimit
from ..errors import Refused, Unsupported
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
from ..orders import cancel_errors, check_same_order, listed_order, poll_until_final
from ..parsing import required_text, time_from_seconds
from ..rules import check, find_market, no_such_asset
from .api import URL, BitstampAPI
from .parsing import (
    currency_code,
    currency_types_from_rows,
    deposit_from_row,
    fill_from_row,
    funds_from_row,
    market_symbol,
    markets_from_rows,
    money_deposits_from_row,
    new_order_call,
    open_order_from_row,
    order_from_row,
    order_id,
    placed_from_row,
    withdrawal_from_row,
)

#: What a tag is called, by asset ("Crypto withdrawals").
_TAGS = {"XRP": "destination_tag", "CSPR": "transfer_id"} | dict.fromkeys(("XLM", "HBAR", "ATOM"), "memo_id")
#: Seconds that withdrawal-requests looks back, the most that it takes.
_TIME_BACK = 50_000_000


class Bitstamp(Exchange):
    """Spot markets of Bitstamp. Market buys by cost are its "instant" orders.

    Open orders are up to 10 s old (Bitstamp caches them); `order` and `find` tell the truth of the moment, for 30 days
    after an order is over. Bitstamp takes the same client order id twice, so it protects from nothing, and it cannot
    tell what a key may do.
    """

    id: ClassVar[str] = "bitstamp"
    name: ClassVar[str] = "Bitstamp"
    description: ClassVar[str] = "Spot exchange, since 2011, in EUR, USD and GBP"
    form: ClassVar[tuple[Field, ...]] = (
        Field("apikey", "the API key"),
        Field("apisecret", "the secret that Bitstamp showed with the key", secret=True),
    )
    order_lookup: ClassVar[Literal["all", "open", "none"]] = "all"
    #: Documentation, "Authentication": a timestamp may be 150 s off, and ours may be 150 s ahead when it is signed.
    valid_seconds = 300.0
    #: Documentation, "Request limits": 400 a second and 10,000 in ten minutes; this stays below both.
    per_address = RateLimit(385, 15)

    def __init__(self, context: ExchangeContext) -> None:
        super().__init__(context)
        keys = context.credentials
        self.api = BitstampAPI(
            keys.apikey, keys.apisecret, url=context.url or URL, transport=context.transport, throttle=context.throttle
        )

    def rate(self, currency: str, asset: str) -> Rate:
        ticker = self.api.public(f"ticker/{market_symbol(currency, asset)}")
        with parsing_errors(self.name):
            buy, sell = parse_decimal(ticker["ask"]), parse_decimal(ticker["bid"])
            if not 0 < sell <= buy:
                raise Refused(f"{self.name} has no buyer or no seller now", code="exchange_unavailable", retryable=True)
            return Rate(buy=buy, sell=sell, time=time_from_seconds(ticker["timestamp"]))

    def markets(self) -> list[Market]:
        return list(self._markets().values())

    def funds(self) -> dict[str, Funds]:
        rows = self.api.private("account_balances")
        with parsing_errors(self.name):
            return {row["currency"].upper(): funds_from_row(row) for row in rows}

    def place(self, order: NewOrder) -> OrderState:
        check(order, find_market(self.name, order.currency, order.asset, self._markets()))
        path, form = new_order_call(order)
        row = self.api.private(path, form)
        with parsing_errors(self.name, mutates=True):
            placed = placed_from_row(row, order)
        if order.price is not None:
            return placed
        ref = OrderRef(order.side, order.currency, order.asset, order.client_id, placed.exchange_order_id)
        return poll_until_final(placed, lambda: self.order(ref))

    def order(self, ref: OrderRef) -> OrderState:
        return self._read_order(ref, {"id": ref.exchange_order_id})

    def find(self, ref: OrderRef) -> OrderState | None:
        try:
            return self._read_order(ref, {"client_order_id": ref.client_id})
        except Refused as error:
            if error.code == "order_not_found":
                return None
            raise

    def open_orders(self) -> list[OrderState]:
        rows = self.api.private("open_orders")
        with parsing_errors(self.name):
            return [listed_order(self.name, order_id(row["id"]), partial(open_order_from_row, row)) for row in rows]

    def cancel(self, ref: OrderRef) -> None:
        id = ref.exchange_order_id
        with cancel_errors():
            row = self.api.private("cancel_order", {"id": id} if id else {"client_order_id": ref.client_id})
        with parsing_errors(self.name, mutates=True):
            if id and str(row["id"]) != id:
                raise ValueError("another order than the one asked for")

    def cancel_all(self) -> int:
        answer = self.api.private("cancel_all_orders")
        with parsing_errors(self.name, mutates=True):
            if answer["success"] is not True:
                raise ValueError("not all were canceled")
            return len(answer["canceled"])

    def fills(self, currency: str, asset: str) -> list[Fill]:
        rows = self.api.private(f"user_transactions/{market_symbol(currency, asset)}", {"limit": 1000, "sort": "desc"})
        with parsing_errors(self.name):
            return [fill_from_row(row, currency, asset) for row in rows if str(row["type"]) == "2"]

    def deposit_address(self, asset: str, network: str | None = None) -> DepositAddress:
        self._asset_type(asset)
        row = self.api.private(f"{currency_code(asset)}_address", {"network": network})
        with parsing_errors(self.name):
            names = [_TAGS.get(asset, "memo_id"), "memo_id", "destination_tag", "transfer_id"]
            tag = next((str(row[name]) for name in names if row.get(name) not in (None, "")), None)
            return DepositAddress(asset=asset, address=required_text(row["address"]), tag=tag, network=network)

    def withdraw(self, withdrawal: NewWithdrawal) -> Withdrawal:
        asset, tag = withdrawal.asset, withdrawal.tag
        if self._asset_type(asset) == "fiat":
            raise Unsupported(f"{self.name} sends {asset} to bank accounts only")
        if tag is not None and asset not in _TAGS:
            raise Refused(f"{self.name} takes no tag for {asset}", code="invalid_request")
        form = {
            "amount": plain(withdrawal.amount),
            "address": withdrawal.address,
            "network": withdrawal.network,
            **({_TAGS[asset]: tag} if tag is not None else {}),
        }
        row = self.api.private(f"{currency_code(asset)}_withdrawal", form)
        with parsing_errors(self.name, mutates=True):
            return Withdrawal(
                id=str(int(row["id"])),
                asset=asset,
                amount=withdrawal.amount,
                status="pending",
                address=withdrawal.address,
                tag=tag,
                network=withdrawal.network,
            )

    def deposits(self, asset: str | None = None) -> list[Deposit]:
        """Return what came in. Crypto deposits have a list of their own; money stands among the user's transactions."""
        kind = None if asset is None else self._asset_type(asset)
        found: list[Deposit] = []
        if kind != "fiat":
            rows = self.api.private("crypto-transactions", {"limit": 1000})
            with parsing_errors(self.name):
                found += [deposit_from_row(row) for row in rows["deposits"]]
        if kind != "crypto":
            money = [name for name, kind in self._currencies().items() if kind == "fiat"]
            rows = self.api.private("user_transactions", {"limit": 1000, "sort": "desc"})
            with parsing_errors(self.name):
                found += [
                    deposit
                    for row in rows
                    if str(row["type"]) == "0"
                    for deposit in money_deposits_from_row(row, money)
                ]
        found.sort(key=lambda deposit: deposit.time or datetime.min.replace(tzinfo=UTC), reverse=True)
        return [deposit for deposit in found if asset in (None, deposit.asset)]

    def withdrawals(self, asset: str | None = None) -> list[Withdrawal]:
        rows = self.api.private("withdrawal-requests", {"timedelta": _TIME_BACK})
        with parsing_errors(self.name):
            found = [withdrawal_from_row(row) for row in rows]
        return [withdrawal for withdrawal in found if asset in (None, withdrawal.asset)]

    def _markets(self) -> Mapping[tuple[str, str], Market]:
        """Return the spot markets that are open by (currency, asset)."""
        return self._cached("markets", partial(self.api.public, "markets"), markets_from_rows)

    def _currencies(self) -> Mapping[str, str]:
        """Return the type, "fiat" or "crypto", of each currency and asset."""
        return self._cached("currencies", partial(self.api.public, "currencies"), currency_types_from_rows)

    def _asset_type(self, asset: str) -> str:
        """Return its type. Raises Refused for what is not listed: its name would become part of a path."""
        try:
            return self._currencies()[asset]
        except KeyError:
            raise no_such_asset(self.name, asset) from None

    def _read_order(self, ref: OrderRef, form: Mapping[str, str | None]) -> OrderState:
        """Return the state of the order that `form` names; it must be the one of `ref`."""
        row = self.api.private("order_status", form)
        with parsing_errors(self.name):
            state = order_from_row(row)
            check_same_order(state, ref)
            return state
