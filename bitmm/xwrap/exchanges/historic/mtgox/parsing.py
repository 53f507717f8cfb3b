"""What Mt.Gox answers, read into our records; and amounts as Mt.Gox counts them."""

from __future__ import annotations

import decimal
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from ....money import EXACT, mean, parse_decimal, plain, total
from ...errors import Refused
from ...models import (
    Fill,
    Funds,
    Market,
    OrderState,
    Rate,
    Side,
    Status,
)

#: "value_int" counts 10^-8 BTC, 10^-3 of these, and 10^-5 of every other currency (mtgox-doc, inc_money_autogen.tex).
_DIGITS = {"BTC": 8, "JPY": 3, "SEK": 3}
CURRENCIES = (
    *("AUD", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD"),
    *("JPY", "NOK", "NZD", "PLN", "RUB", "SEK", "SGD", "THB", "USD"),
)


def decimals_of(currency: str) -> int:
    return _DIGITS.get(currency, 5)


def to_units(amount: Decimal, currency: str, field: Literal["amount", "price"]) -> str:
    """`amount` as a whole number of the currency's units. Raises Refused when it is none; nothing is rounded."""
    units = amount.scaleb(decimals_of(currency), EXACT)
    whole = units.to_integral_value(decimal.ROUND_HALF_UP)
    if units > 0 and units == whole:
        return f"{whole:f}"
    nearest = plain(max(whole, Decimal(1)).scaleb(-decimals_of(currency), EXACT))
    raise Refused(
        f"the {field} {plain(amount)} {currency} is not a whole number of 10^-{decimals_of(currency)} {currency};"
        f" the nearest allowed is {nearest}",
        code=f"invalid_{field}",
        details={"field": field, "nearest": nearest},
    )


def from_units(units: object, currency: str) -> Decimal:
    """The amount of a `value_int`, `amount_int` or `price_int`."""
    if not re.fullmatch(r"-?\d{1,30}", str(units), re.ASCII):
        raise ValueError("not a whole number of units")
    return Decimal(str(units)).scaleb(-decimals_of(currency), EXACT)


def money_amount(thing: Mapping[str, Any], currency: str) -> Decimal:
    """The amount of a money object, which must be in `currency`. "value" may have more digits, "display" fewer."""
    if thing["currency"] != currency:
        raise ValueError("another currency")
    return from_units(thing["value_int"], currency)


def nearest_unit(value: object, currency: str) -> Decimal:
    """A number of version 0, which sent binary floats (16.800000000000001): the nearest whole number of units."""
    return parse_decimal(value).quantize(Decimal(1).scaleb(-decimals_of(currency)), context=decimal.Context(prec=60))


def time_from_microseconds(microseconds: object) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(str(microseconds)))


_SIDES_BY_TYPE: dict[str, Side] = {"bid": "buy", "ask": "sell", "2": "buy", "1": "sell"}
#: Wallet history: the type of the row that books the asset of a trade -> our side.
_SIDES_BY_ROW_TYPE: dict[str, Side] = {"in": "buy", "out": "sell"}


def market_of(currency: str) -> Market:
    return Market(currency, "BTC", price_step=Decimal(1).scaleb(-decimals_of(currency)), amount_step=Decimal("1E-8"))


def rate_from_ticker(ticker: Mapping[str, Any], currency: str) -> Rate:
    """Mt.Gox's "buy" is the best bid, what a seller gets; its "sell" is the best ask. Ours are the user's: swapped."""
    buy, sell = (
        money_amount(price, currency) if isinstance(price, dict) else nearest_unit(price, currency)
        for price in (ticker["sell"], ticker["buy"])
    )
    if not 0 < sell <= buy:
        raise ValueError("no bid below the ask")
    return Rate(
        buy=buy, sell=sell, time=time_from_microseconds(ticker["now"]) if "now" in ticker else datetime.now(UTC)
    )


def funds_from_wallet(wallet: Mapping[str, Any], currency: str) -> Funds:
    """Answers of 2012 lack Open_Orders. Orders needed no funds, so they may hold more than there is."""
    owned = money_amount(wallet["Balance"], currency)
    held = money_amount(wallet["Open_Orders"], currency) if "Open_Orders" in wallet else None
    if owned < 0 or (held is not None and held < 0):
        raise ValueError("a negative balance")
    free = None if held is None or held > owned else EXACT.subtract(owned, held)
    return Funds(owned, free, held)


def order_from_row(row: Mapping[str, Any]) -> OrderState:
    """A row of the open orders. Whatever its status word, it is open: also "invalid", which waits for funds."""
    currency, asset = row["currency"], row["item"]
    return OrderState(
        parse_order_id(row["oid"]),
        "open",
        side=_SIDES_BY_TYPE[str(row["type"])],
        currency=currency,
        asset=asset,
        amount=_order_amount(row, "amount", asset),
        price=_order_amount(row, "price", currency) if "price" in row else None,
        created=datetime.fromtimestamp(int(row["date"]), UTC),
    )


def _order_amount(row: Mapping[str, Any], field: str, currency: str) -> Decimal:
    """An amount of an order: a money object, or in version 0 plain fields."""
    return (
        money_amount(row[field], currency)
        if isinstance(row[field], dict)
        else from_units(row[f"{field}_int"], currency)
    )


def with_trades(state: OrderState, result: Mapping[str, Any]) -> OrderState:
    """The average is that of the trades; "avg_cost" is made of the rounded sum."""
    currency, asset = state.currency or "", state.asset or ""
    trades = [
        (money_amount(trade["amount"], asset), money_amount(trade["price"], currency)) for trade in result["trades"]
    ]
    filled = money_amount(result["total_amount"], asset)
    if filled != total(amount for amount, _ in trades):
        raise ValueError("a sum that is not the sum of the trades")
    if state.status != "open" and state.amount is not None and filled > state.amount:
        raise ValueError("more than was ordered")
    status: Status = state.status
    if status != "open" and state.amount is not None:
        status = "filled" if filled == state.amount else "partly_filled"
    return replace(
        state,
        status=status,
        filled=filled,
        spent=money_amount(result["total_spent"], currency),
        average=mean(total(EXACT.multiply(amount, price) for amount, price in trades), filled),
    )


def fills_from_history(
    things: list[Mapping[str, Any]], money: list[Mapping[str, Any]], currency: str, asset: str
) -> list[Fill]:
    """Trades by both sides of the booking; the price stands only in the sentence of the asset's row."""
    paid = {trade_id(row) for row in money if row["Type"] != "fee"}
    fees = {
        trade_id(row): (money_amount(row["Value"], name), name)
        for rows, name in ((things, asset), (money, currency))
        for row in rows
        if row["Type"] == "fee"
    }
    fills = []
    for row in things:
        trade = trade_id(row)
        if row["Type"] not in _SIDES_BY_ROW_TYPE or trade is None or trade not in paid:
            continue
        fee, fee_currency = fees.get(trade, (None, None))
        fills.append(
            Fill(
                id=trade,
                exchange_order_id=row["Trade"].get("oid"),
                side=_SIDES_BY_ROW_TYPE[row["Type"]],
                currency=currency,
                asset=asset,
                amount=money_amount(row["Value"], asset),
                price=_price_from_sentence(row["Info"], currency),
                fee=fee,
                fee_currency=fee_currency,
                time=row_time(row),
            )
        )
    return sorted(fills, key=lambda fill: (fill.time, int(fill.id)), reverse=True)


def _price_from_sentence(sentence: str, currency: str) -> Decimal:
    """The price in "BTC bought: [tid:1366034751500724] 0.00010789 BTC at $97.96898 (0.6% fee)"; the sign varies."""
    found = re.search(r" at ([^(]+)", sentence)
    text = re.sub(r"[^0-9.]", "", found[1]) if found else ""
    if not re.fullmatch(rf"\d{{1,15}}\.\d{{{decimals_of(currency)}}}", text, re.ASCII):
        raise ValueError("no price in the sentence")
    return Decimal(text)


def parse_order_id(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[0-9A-Za-z-]{8,64}", text, re.ASCII):
        raise ValueError("no order id")
    return text


def trade_id(row: Mapping[str, Any]) -> str | None:
    trade = row.get("Trade")
    return str(trade["tid"]) if trade else None


def transfer_id(row: Mapping[str, Any]) -> str:
    """The bitcoin transaction where the row names it, as the answer to the send did; else the row's own id."""
    return transaction_id(row) or str(row["Link"][0])


def transaction_id(row: Mapping[str, Any]) -> str | None:
    return next((text for text in row["Link"] if re.fullmatch(r"[0-9a-f]{64}", text, re.ASCII)), None)


def row_time(row: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(int(row["Date"]), UTC)


def transfer_address(row: Mapping[str, Any]) -> str | None:
    """The sentence of a bitcoin transfer is its address alone."""
    return row["Info"] if re.fullmatch(r"[13][1-9A-HJ-NP-Za-km-z]{25,34}", row["Info"], re.ASCII) else None
