"""The calls of versions 1 and 2 that the adapter needs, their answers read; the versions differ in the paths alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar

from ...errors import Refused
from ...http import parsing_errors
from ...models import (
    Level,
    NewOrder,
    NewWithdrawal,
    OrderBook,
    OrderRef,
    OrderState,
    Rate,
    Ticker,
    Trade,
    Withdrawal,
)
from ...order_books import order_book
from ...orders import cost_of, listed_order
from ...parsing import list_of_rows
from ..common import parse_bitcoin_address
from .api import MtGoxAPI
from .market_parsing import ticker_from_document, trades_from_rows
from .parsing import (
    TYPES_BY_SIDE,
    from_units,
    money_amount,
    order_from_row,
    parse_order_id,
    rate_from_ticker,
    to_units,
)

__all__ = ["Calls"]

#: Version -> call -> path.
_PATHS = {
    1: {
        "ticker": "{pair}/ticker",
        "depth": "{pair}/depth/fetch",
        "trades": "{pair}/trades/fetch",
        "info": "generic/info",
        "orders": "generic/orders",
        "add": "{pair}/order/add",
        "cancel": "{pair}/order/cancel",
        "result": "generic/order/result",
        "history": "generic/wallet/history",
        "address": "generic/bitcoin/address",
        "send": "generic/bitcoin/send_simple",
    },
    2: {
        "ticker": "{pair}/money/ticker",
        "depth": "{pair}/money/depth/fetch",
        "trades": "{pair}/money/trades/fetch",
        "info": "money/info",
        "orders": "money/orders",
        "add": "{pair}/money/order/add",
        "cancel": "money/order/cancel",
        "result": "money/order/result",
        "history": "money/wallet/history",
        "address": "money/bitcoin/address",
        "send": "money/bitcoin/send_simple",
    },
}


class Calls:
    """The calls, made with `api`. An answer that cannot be understood is Refused, or Unknown after one that moves."""

    #: The trades of an order that is no longer open can be read.
    reads_closed_orders: ClassVar[bool] = True

    def __init__(self, api: MtGoxAPI) -> None:
        self.api = api

    def rate(self, currency: str, asset: str) -> Rate:
        """Return the current prices."""
        ticker = self.api.public(self._path("ticker", currency, asset))
        with parsing_errors(self.api.name):
            return rate_from_ticker(
                ticker, best_bid=money_amount(ticker["buy"], currency), best_ask=money_amount(ticker["sell"], currency)
            )

    def market_cost(self, currency: str, asset: str, amount: Decimal) -> Decimal:
        """Return what `amount` costs at the order book as it is now. Raises Refused when it lists less."""
        book = self.api.public(self._path("depth", currency, asset))
        with parsing_errors(self.api.name):
            return cost_of(self.api.name, amount, _levels(book["asks"], currency, asset), unit=asset)

    def order_book(self, currency: str, asset: str, depth: int) -> OrderBook:
        """Return the best `depth` levels of each side."""
        book = self.api.public(self._path("depth", currency, asset))
        with parsing_errors(self.api.name):
            bids, asks = (_levels(book[side], currency, asset) for side in ("bids", "asks"))
            return order_book(self.api.name, (currency, asset), bids, asks, depth=depth, time=datetime.now(UTC))

    def ticker(self, currency: str, asset: str) -> Ticker:
        """Return the figures of a day."""
        document = self.api.public(self._path("ticker", currency, asset))
        with parsing_errors(self.api.name):
            return ticker_from_document(document, currency, money_amount)

    def market_trades(self, currency: str, asset: str, limit: int) -> list[Trade]:
        """Return the latest trades of everybody, newest first."""
        rows = self.api.public(self._path("trades", currency, asset))
        with parsing_errors(self.api.name):
            return trades_from_rows(self.api.name, rows, currency, limit)

    def info(self) -> Mapping[str, Any]:
        """Return the account's wallets and the key's rights, as they came."""
        answer: Mapping[str, Any] = self.api.private(self._path("info"))
        return answer

    def open_orders(self) -> list[OrderState]:
        """Return the open orders."""
        rows = self.api.private(self._path("orders"))
        with parsing_errors(self.api.name):
            return [
                listed_order(self.api.name, parse_order_id(row["oid"]), partial(order_from_row, row))
                for row in list_of_rows(rows)
            ]

    def place(self, order: NewOrder, amount: Decimal) -> str:
        """Place `order`, of this `amount`; return its id. Raises Refused for what is no whole number of units."""
        form = {"type": TYPES_BY_SIDE[order.side], "amount_int": to_units(amount, order.asset, "amount")}
        if order.price is not None:
            form["price_int"] = to_units(order.price, order.currency, "price")
        answer = self.api.private(self._path("add", order.currency, order.asset), form)
        with parsing_errors(self.api.name, mutates=True):
            return parse_order_id(answer)

    def cancel(self, order_id: str, currency: str, asset: str) -> None:
        """Cancel an order. Raises Refused `order_not_found` also for one that is over."""
        answer = self.api.private(self._path("cancel", currency, asset), {"oid": order_id})
        with parsing_errors(self.api.name, mutates=True):
            if answer["oid"] != order_id:
                raise ValueError("another order")

    def trades(self, ref: OrderRef) -> Mapping[str, Any] | None:
        """Return the trades of an order with their sums; None when there are none (yet).

        The exchange says "Order not found" then.
        """
        form = {"type": TYPES_BY_SIDE[ref.side], "order": ref.exchange_order_id or ""}
        try:
            result: Mapping[str, Any] = self.api.private(self._path("result"), form)
        except Refused as error:
            if error.code == "order_not_found":
                return None
            raise
        with parsing_errors(self.api.name):
            if result.get("order_id") not in (None, form["order"]):
                raise ValueError("another order")
            return result if result["trades"] else None

    def history(self, currency: str) -> Any:
        """Return the newest 50 rows of a wallet's history; it may be null, or absent, where there are none."""
        answer = self.api.private(self._path("history"), {"currency": currency})
        with parsing_errors(self.api.name):
            return answer.get("result")

    def bitcoin_address(self) -> str:
        """Return the current address for deposits."""
        answer = self.api.private(self._path("address"))
        with parsing_errors(self.api.name):
            return parse_bitcoin_address(answer["addr"])

    def send(self, withdrawal: NewWithdrawal) -> Withdrawal:
        """Send bitcoins. The id is the bitcoin transaction, or a UUID for a transfer inside Mt.Gox."""
        form = {"address": withdrawal.address, "amount_int": to_units(withdrawal.amount, "BTC", "amount")}
        answer = self.api.private(self._path("send"), form)
        with parsing_errors(self.api.name, mutates=True):
            trx = answer["trx"]
            if not re.fullmatch(r"[0-9a-f]{64}|[0-9a-f-]{36}", trx, re.ASCII):
                raise ValueError("no transaction")
            return Withdrawal(
                trx,
                "BTC",
                withdrawal.amount,
                "done",
                address=withdrawal.address,
                network=withdrawal.network,
                txid=trx if len(trx) == 64 else None,
            )

    def _path(self, call: str, currency: str = "", asset: str = "") -> str:
        path, pair = _PATHS[self.api.version][call], asset + currency
        # That it is in the documentation is asked of a new order: one of another market can be canceled.
        if "{pair}" in path and not re.fullmatch(r"[A-Z]{6,10}", pair, re.ASCII):
            raise Refused("Mt.Gox knows a market by two codes, as BTC and USD", code="unknown_market")
        return path.format(pair=pair)


def _levels(rows: Iterable[Mapping[str, Any]], currency: str, asset: str) -> list[Level]:
    """Return the prices and amounts of one side of an order book."""
    return [(from_units(row["price_int"], currency), from_units(row["amount_int"], asset)) for row in rows]
