"""What servers answer about markets; see `_parsing`."""

from __future__ import annotations

from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from ._records import Record, list_of, object_with, whole_number
from .money import parse_decimal, parse_decimals, total

if TYPE_CHECKING:
    from .types import BackendValue, Candle, Fees, Level, Market, Offer, OrderBook, Ticker, Trade, Value

__all__ = ["candles", "fees", "market", "markets", "offers", "order_book", "ticker", "trades", "value"]

market: Record[Market] = Record("Market", "currency", "asset")
_candle: Record[Candle] = Record("Candle", "time", "open", "high", "low", "close", "volume", whole=True)
_trade: Record[Trade] = Record("Trade", "id", "side", "amount", "price", "time", whole=True)
fees: Record[Fees] = Record("Fees", "maker", "taker", "source", whole=True)
_backend_total: Record[BackendValue] = Record("BackendValue", "id", "exchange", "total")
_offer: Record[Offer] = Record("Offer", "exchange", "amount", "total", "reason")
ticker: Record[Ticker] = Record("Ticker", "last", "high", "low", "volume", "bid", "ask", "time")


def markets(document: Any) -> list[Market]:
    return market.each(list_of(document))


def offers(document: Any) -> list[Offer]:
    rows = [_offer(row) for row in list_of(document)]
    for row in rows:
        whole_number(row["id"])
        if row["reason"] is None and (row["amount"] is None or row["total"] is None):
            raise ValueError("an offer without a reason has no total")
    return rows


def value(document: Any) -> Value:
    row = object_with(document, "currency", "total", "not_priced", "backends")
    backends = [_backend_value(each) for each in list_of(row["backends"])]
    value = {
        **row,
        "total": parse_decimal(row["total"]),
        "not_priced": _not_priced(row["not_priced"]),
        "backends": backends,
    }
    if total(each["total"] for each in backends if each["total"] is not None) != value["total"]:
        raise ValueError("its total is not the sum of those of the registrations")
    return cast("Value", value)


def _backend_value(document: Any) -> BackendValue:
    row = _backend_total(object_with(document, "not_priced"))
    row["not_priced"] = _not_priced(row["not_priced"])
    if row["total"] is None and "error" not in row:
        raise ValueError("a total is missing")
    return row


def _not_priced(document: Any) -> dict[str, Decimal | None]:
    rows = object_with(document).items()
    return {name: None if amount is None else parse_decimal(amount) for name, amount in rows}


def order_book(document: Any) -> OrderBook:
    book = object_with(document, "bids", "asks", "time")
    return cast("OrderBook", {**book, "bids": _levels(book["bids"]), "asks": _levels(book["asks"])})


def candles(document: Any) -> list[Candle]:
    return _candle.each(list_of(document))


def trades(document: Any) -> list[Trade]:
    return _trade.each(list_of(document))


def _levels(document: Any) -> list[Level]:
    rows = list_of(document)
    if not ({list}.issuperset(map(type, rows)) and {2}.issuperset(map(len, rows))):
        return [_level(row) for row in rows]
    numbers = parse_decimals(list(chain.from_iterable(rows)))
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _level(row: Any) -> Level:
    price, amount = list_of(row)
    return parse_decimal(price), parse_decimal(amount)
