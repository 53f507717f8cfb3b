"""Bitstamp's rows and names, and what they are in ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal

from ...money import EXACT, mean, parse_decimal, parse_unsigned, total
from ..errors import Refused
from ..models import (
    Deposit,
    Fill,
    Funds,
    Market,
    NewOrder,
    OrderState,
    Side,
    Status,
    Withdrawal,
)
from ..orders import accepted_order
from ..parsing import required_text, step_from_places, time_from_seconds, time_from_utc_text
from .api import Value

_SIDES: dict[str, Side] = {"0": "buy", "1": "sell"}
#: "Order status" of the documentation; "In Queue" and "Cancel pending" were seen by client libraries.
_OPEN = {"Open", "In Queue", "Cancel pending"}
_OVER = {"Canceled", "Expired"}
_WITHDRAWN: dict[str, Literal["pending", "done", "failed"]] = {
    **dict.fromkeys(("0", "1"), "pending"),
    "2": "done",
    **dict.fromkeys(("3", "4", "11"), "failed"),
}
_DEPOSITED: dict[str, Literal["pending", "done", "failed"]] = {
    "FINALIZED": "done",
    "REVERTED": "failed",
    "REJECTED": "failed",
}
#: Rows of before 2019 name no currency, only the type of the withdrawal.
_WITHDRAWAL_TYPES = {"0": "EUR", "1": "BTC", "14": "XRP", "15": "LTC", "16": "ETH"}


def currency_code(name: str) -> str:
    """Return the path's word for a currency. Raises Refused for anything that may not come into a path."""
    if not re.fullmatch(r"[A-Za-z0-9]{1,20}", name, re.ASCII):
        raise Refused("no currency has this name", code="unknown_market")
    return name.lower()


def market_symbol(currency: str, asset: str) -> str:
    """Return the path's word for a market: "btceur"."""
    return currency_code(asset) + currency_code(currency)


def new_order_call(order: NewOrder) -> tuple[str, dict[str, Value]]:
    """Return the call and the form of a new order ("Orders": limit, market, instant)."""
    symbol = market_symbol(order.currency, order.asset)
    form: dict[str, Value] = {"amount": order.amount, "client_order_id": order.client_id}
    if order.cost is not None:
        return f"buy/instant/{symbol}", {**form, "amount": order.cost}
    if order.price is not None:
        return f"{order.side}/{symbol}", {**form, "price": order.price}
    return f"{order.side}/market/{symbol}", form


def markets_from_rows(rows: list[Mapping[str, Any]]) -> dict[tuple[str, str], Market]:
    """Return the spot markets that are open by (currency, asset), from the answer to markets."""
    spot = [_market_from_row(row) for row in rows if row["market_type"] == "SPOT" and row["trading"] == "Enabled"]
    return {(market.currency, market.asset): market for market in spot}


def currency_types_from_rows(rows: list[Mapping[str, Any]]) -> dict[str, str]:
    """Return the type, "fiat" or "crypto", of each currency and asset, from the answer to currencies."""
    return {row["currency"].upper(): required_text(row["type"]) for row in rows}


def _market_from_row(row: Mapping[str, Any]) -> Market:
    least = parse_decimal(row["minimum_order_amount"]) if row.get("minimum_order_amount") else None
    return Market(
        currency=required_text(row["counter_currency"]),
        asset=required_text(row["base_currency"]),
        price_step=parse_decimal(row["tick_size"])
        if row.get("tick_size")
        else step_from_places(row["counter_decimals"]),
        amount_step=step_from_places(row["base_decimals"]),
        amount_min=least,
        cost_min=parse_decimal(row["minimum_order_value"]),
    )


def funds_from_row(row: Mapping[str, Any]) -> Funds:
    """Return a row of account_balances."""
    return Funds(parse_unsigned(row["total"]), parse_unsigned(row["available"]), parse_unsigned(row["reserved"]))


def placed_from_row(row: Mapping[str, Any], order: NewOrder) -> OrderState:
    """Return the answer to a new order; `price` and `amount` of a market order are not those of its fills."""
    if _SIDES[str(row["type"])] != order.side or row.get("client_order_id", order.client_id) != order.client_id:
        raise ValueError("another order than the one asked for")
    return accepted_order(order, order_id(row["id"]), time_from_utc_text(row["datetime"]))


def order_from_row(row: Mapping[str, Any]) -> OrderState:
    """Return an answer of order_status; filled, average, spent and fee come from the order's transactions."""
    asset, currency = _asset_and_currency(row["market"])
    fills = [
        (
            parse_unsigned(fill[asset.lower()]),
            parse_unsigned(fill[currency.lower()]),
            parse_unsigned(fill["price"]),
            parse_decimal(fill["fee"]),
        )
        for fill in row["transactions"]
    ]
    filled = total(amount for amount, _, _, _ in fills)
    return OrderState(
        exchange_order_id=order_id(row["id"]),
        status=_order_status(row["status"], filled),
        side=_SIDES[str(row["type"])],
        currency=currency,
        asset=asset,
        amount=EXACT.add(filled, parse_unsigned(row["amount_remaining"])),
        filled=filled,
        average=mean(total(EXACT.multiply(amount, price) for amount, _, price, _ in fills), filled),
        spent=total(cost for _, cost, _, _ in fills),
        fee=total(fee for _, _, _, fee in fills),
        fee_currency=currency,
        client_id=row.get("client_order_id") or None,
        created=time_from_utc_text(row["datetime"]),
    )


def _order_status(word: str, filled: Decimal) -> Status:
    if word in _OPEN:
        return "open"
    if word == "Finished":
        return "filled"
    if word in _OVER:
        return "partly_filled" if filled else "canceled"
    return "unknown"


def open_order_from_row(row: Mapping[str, Any]) -> OrderState:
    """Return a row of open_orders; its `amount` is what remains."""
    asset, currency = _asset_and_currency(row["market"])
    amount = parse_unsigned(row["amount_at_create"])
    return OrderState(
        exchange_order_id=order_id(row["id"]),
        status="open",
        side=_SIDES[str(row["type"])],
        currency=currency,
        asset=asset,
        amount=amount,
        price=parse_unsigned(row["price"]),
        filled=parse_unsigned(EXACT.subtract(amount, parse_unsigned(row["amount"]))),
        client_id=row.get("client_order_id") or None,
        created=time_from_utc_text(row["datetime"]),
    )


def fill_from_row(row: Mapping[str, Any], currency: str, asset: str) -> Fill:
    """Return a trade among the user's transactions; only the currency has its sign in old and new rows alike."""
    spent = parse_decimal(row[currency.lower()])
    return Fill(
        id=str(row["id"]),
        exchange_order_id=str(row["order_id"]) if row.get("order_id") else None,
        side="buy" if spent < 0 else "sell",
        currency=currency,
        asset=asset,
        amount=parse_decimal(row[asset.lower()]).copy_abs(),
        price=parse_decimal(row[f"{asset}_{currency}".lower()]).copy_abs(),
        fee=parse_decimal(row["fee"]),
        fee_currency=currency,
        time=time_from_utc_text(row["datetime"]),
    )


def deposit_from_row(row: Mapping[str, Any]) -> Deposit:
    """Return a row of the deposits among crypto-transactions."""
    address, tag = _address_and_tag(row.get("destinationAddress"))
    return Deposit(
        id=str(row["id"]),
        asset=required_text(row["currency"]).upper(),
        amount=parse_unsigned(row["amount"]),
        status=_DEPOSITED.get(row["status"], "pending"),
        address=address,
        tag=tag,
        network=row.get("network"),
        txid=row.get("txid"),
        time=time_from_seconds(row["datetime"]),
    )


def money_deposits_from_row(row: Mapping[str, Any], money: Iterable[str]) -> Iterable[Deposit]:
    """Yield the deposits, of the currencies `money`, in a row of the user's transactions."""
    for asset in money:
        amount = parse_decimal(row.get(asset.lower(), 0))
        if amount > 0:
            yield Deposit(str(row["id"]), asset, amount, "done", time=time_from_utc_text(row["datetime"]))


def withdrawal_from_row(row: Mapping[str, Any]) -> Withdrawal:
    """Return a row of withdrawal-requests."""
    address, tag = _address_and_tag(row.get("address"))
    return Withdrawal(
        id=str(row["id"]),
        asset=required_text(row.get("currency") or _WITHDRAWAL_TYPES[str(row["type"])]).upper(),
        amount=parse_unsigned(row["amount"]),
        status=_WITHDRAWN.get(str(row["status"]), "unknown"),
        address=address,
        tag=tag,
        network=row.get("network"),
        txid=row.get("transaction_id") or None,
        created=time_from_utc_text(row["datetime"]),
    )


def _address_and_tag(text: str | None) -> tuple[str | None, str | None]:
    """Return address and tag: a destination tag is appended to an XRP address as `?dt=`."""
    address, _, tag = (text or "").partition("?dt=")
    return address or None, tag or None


def _asset_and_currency(market: str) -> tuple[str, str]:
    asset, currency = market.split("/")
    return asset, currency


def order_id(id: object) -> str:
    """Return an order's id: a text of digits when placing, a number elsewhere."""
    return str(int(str(id)))
