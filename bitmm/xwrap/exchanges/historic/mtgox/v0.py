"""The calls of version 0 that the adapter needs, their answers read: the ones of `calls.Calls`, in the oldest form.

Version 0 has no envelope and sends prices as binary floats. It answers with all open orders when one is placed or
canceled, and has no call for what became of an order.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar

from ....money import parse_decimal, plain
from ...errors import Unsupported
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
from .parsing import order_from_row, parse_order_id, rate_from_ticker, to_units, unit_of

__all__ = ["CallsV0"]

#: The number of an order's type -> its name in the later versions.
_TYPES = {"2": "bid", "1": "ask"}


class CallsV0:
    """The calls, made with `api`. An answer that cannot be understood is Refused, or Unknown after one that moves."""

    #: The trades of an order that is no longer open can be read.
    reads_closed_orders: ClassVar[bool] = False

    def __init__(self, api: MtGoxAPI) -> None:
        self.api = api

    def rate(self, currency: str, asset: str) -> Rate:
        """Return the current prices."""
        document = self.api.public("data/ticker.php", {"Currency": currency})
        with parsing_errors(self.api.name):
            ticker = document["ticker"]
            return rate_from_ticker(
                ticker,
                best_bid=_nearest_unit(ticker["buy"], currency),
                best_ask=_nearest_unit(ticker["sell"], currency),
            )

    def market_cost(self, currency: str, asset: str, amount: Decimal) -> Decimal:
        """Return what `amount` costs at the order book as it is now. Raises Refused when it lists less."""
        book = self.api.public("data/getDepth.php", {"Currency": currency})
        with parsing_errors(self.api.name):
            return cost_of(self.api.name, amount, _levels(book["asks"], currency, asset), unit=asset)

    def order_book(self, currency: str, asset: str, depth: int) -> OrderBook:
        """Return the best `depth` levels of each side."""
        book = self.api.public("data/getDepth.php", {"Currency": currency})
        with parsing_errors(self.api.name):
            bids, asks = (_levels(book[side], currency, asset) for side in ("bids", "asks"))
            return order_book(self.api.name, (currency, asset), bids, asks, depth=depth, time=datetime.now(UTC))

    def ticker(self, currency: str, asset: str) -> Ticker:
        """Return the figures of a day."""
        document = self.api.public("data/ticker.php", {"Currency": currency})
        with parsing_errors(self.api.name):
            return ticker_from_document(document["ticker"], currency, _nearest_unit)

    def market_trades(self, currency: str, asset: str, limit: int) -> list[Trade]:
        """Return the latest trades of everybody, newest first: those of the last 24 hours, without "since" (v0)."""
        rows = self.api.public("data/getTrades.php", {"Currency": currency})
        with parsing_errors(self.api.name):
            return trades_from_rows(self.api.name, rows, currency, limit)

    def info(self) -> Mapping[str, Any]:
        """Return the account's wallets and the key's rights, as they came."""
        answer: Mapping[str, Any] = self.api.private("info.php")
        return answer

    def open_orders(self) -> list[OrderState]:
        """Return the open orders."""
        document = self.api.private("getOrders.php")
        with parsing_errors(self.api.name):
            return _orders(document)

    def place(self, order: NewOrder, amount: Decimal) -> str:
        """Place `order`, of this `amount`; return its id. Raises Refused for what is no whole number of units.

        The answer lists all open orders. Ours was not there before and is what was asked for; when there is none or
        several, Unknown.
        """
        to_units(amount, order.asset, "amount")
        form = {"amount": plain(amount)}
        if order.price is not None:
            to_units(order.price, order.currency, "price")
            form["price"] = plain(order.price)
        form["Currency"] = order.currency
        before = {state.exchange_order_id for state in self.open_orders()}
        answer = self.api.private("buyBTC.php" if order.side == "buy" else "sellBTC.php", form)
        with parsing_errors(self.api.name, mutates=True):
            asked = (order.side, order.currency, order.asset, order.amount, order.price)
            found = [
                state.exchange_order_id
                for state in _orders(answer)
                if state.exchange_order_id not in before
                and (state.side, state.currency, state.asset, state.amount, state.price) == asked
            ]
            if len(found) != 1:
                raise ValueError(f"{len(found)} new orders in the list")
            return found[0]

    def cancel(self, order_id: str, currency: str, asset: str) -> None:
        """Cancel an order. Raises Refused `order_not_found` also for one that is over."""
        self.api.private("cancelOrder.php", {"oid": order_id})

    def trades(self, ref: OrderRef) -> Mapping[str, Any] | None:
        """Return None: version 0 has no call for the trades of an order."""
        return None

    def history(self, currency: str) -> Any:
        """Raise Unsupported: the history of version 0 is a CSV text."""
        raise Unsupported("version 0 of Mt.Gox's API has no call for this")

    def bitcoin_address(self) -> str:
        """Return the current address for deposits."""
        answer = self.api.private("btcAddress.php")
        with parsing_errors(self.api.name):
            return parse_bitcoin_address(answer["addr"])

    def send(self, withdrawal: NewWithdrawal) -> Withdrawal:
        """Send bitcoins. The id is the caller's and the status "unknown".

        The answer is a sentence for people and the balances; what the sentence was is not recorded anywhere.
        """
        to_units(withdrawal.amount, "BTC", "amount")
        self.api.private(
            "withdraw.php", {"group1": "BTC", "btca": withdrawal.address, "amount": plain(withdrawal.amount)}
        )
        return Withdrawal(
            withdrawal.client_id,
            "BTC",
            withdrawal.amount,
            "unknown",
            address=withdrawal.address,
            network=withdrawal.network,
        )


def _nearest_unit(value: object, currency: str) -> Decimal:
    """Return a price that came as a binary float (16.800000000000001), rounded to whole units of the currency."""
    return parse_decimal(value).quantize(unit_of(currency), context=decimal.Context(prec=60))


def _levels(rows: Iterable[tuple[object, object]], currency: str, asset: str) -> list[Level]:
    """Return the prices and amounts of one side of an order book."""
    return [(_nearest_unit(price, currency), _nearest_unit(amount, asset)) for price, amount in rows]


def _orders(document: Mapping[str, Any]) -> list[OrderState]:
    def parse(row: Mapping[str, Any]) -> OrderState:
        return order_from_row(_later_row(row))

    rows = list_of_rows(document["orders"])
    return [listed_order(MtGoxAPI.name, parse_order_id(row["oid"]), partial(parse, row)) for row in rows]


def _later_row(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row of the open orders as the later versions have it: types are names, amounts are money objects."""
    money = {"amount": {"value_int": row["amount_int"], "currency": row["item"]}}
    if row.get("price") is not None:
        money["price"] = {"value_int": row["price_int"], "currency": row["currency"]}
    return {**row, **money, "type": _TYPES[str(row["type"])]}
