"""Bitstamp's rows and names, and what they are in ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from ...money import EXACT, mean, parse_decimal, parse_unsigned, total
from ..errors import Refused
from ..models import (
    Candle,
    Deposit,
    Fill,
    Funds,
    Market,
    NewOrder,
    OrderRef,
    OrderState,
    Side,
    Status,
    Ticker,
    Trade,
    Withdrawal,
)
from ..orders import accepted_order
from ..parsing import (
    address_and_tag,
    consistent_funds,
    id_from_number,
    optional,
    optional_amount,
    optional_time,
    readable_rows,
    required_text,
    step_from_places,
    time_from_field,
)
from .api import Value

_SIDES: dict[str, Side] = {"0": "buy", "1": "sell"}
#: "Order status" of the documentation; "In Queue" and "Cancel pending" were seen by client libraries.
_OPEN = {"Open", "In Queue", "Cancel pending"}
_OVER = {"Canceled", "Cancelled", "Expired"}
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
#: Rows of before 2019 name no currency, only the type of the withdrawal. Others were seen, as 6 and 7, that are not
#: documented.
_WITHDRAWAL_TYPES = {"0": "EUR", "1": "BTC", "14": "XRP", "15": "LTC", "16": "ETH"}


#: What stands for no amount of a currency; the word was seen by Bitstamp.Net.
NOTHING = (None, "", "None")


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
        # A buy counts the currency anyway; for a sell that is an option.
        in_currency: dict[str, Value] = {"amount_in_counter": True} if order.side == "sell" else {}
        return f"{order.side}/instant/{symbol}", {**form, "amount": order.cost, **in_currency}
    if order.price is not None:
        return f"{order.side}/{symbol}", {**form, "price": order.price, **_conditions(order)}
    return f"{order.side}/market/{symbol}", form


def _conditions(order: NewOrder) -> dict[str, Value]:
    """Return the fields for the conditions of a limit order ("Buy limit order"); a plain one is GTC there."""
    words = {"IOC": "ioc_order", "FOK": "fok_order", "GTD": "gtd_order"}
    form: dict[str, Value] = {words[order.time_in_force]: True} if order.time_in_force in words else {}
    if order.expires is not None:
        # In milliseconds since 1970.
        form["expire_time"] = int(order.expires.timestamp()) * 1000
    # "Maker or cancel".
    return {**form, "moc_order": True} if order.post_only else form


def markets_from_rows(name: str, rows: list[Mapping[str, Any]]) -> dict[tuple[str, str], Market | None]:
    """Return the spot markets by (currency, asset), from the answer to markets; None for one that is not open now."""
    return dict(named for named in readable_rows(name, rows, _named_market_from_row) if named is not None)


def _named_market_from_row(row: Mapping[str, Any]) -> tuple[tuple[str, str], Market | None] | None:
    """Return a market with its pair; None for one that is no spot market."""
    if row.get("market_type") not in (None, "SPOT"):
        return None
    currency, asset = required_text(row["counter_currency"]).upper(), required_text(row["base_currency"]).upper()
    if row.get("trading") not in (None, "Enabled"):
        return (currency, asset), None
    price_step = optional_amount(row.get("tick_size") or None)
    market = Market(
        currency=currency,
        asset=asset,
        price_step=step_from_places(int(str(row["counter_decimals"]))) if price_step is None else price_step,
        amount_step=step_from_places(int(str(row["base_decimals"]))),
        amount_min=optional_amount(row.get("minimum_order_amount") or None),
        cost_min=optional_amount(row.get("minimum_order_value") or None),
    )
    return (currency, asset), market


def ticker_from_row(row: Mapping[str, Any]) -> Ticker:
    """Return the answer to ticker."""
    last, high, low, volume, bid, ask = (
        optional_amount(row.get(name) or None) for name in ("last", "high", "low", "volume", "bid", "ask")
    )
    return Ticker(last, high, low, volume, bid, ask, optional_time(row.get("timestamp")) or datetime.now(UTC))


def candle_from_row(row: Mapping[str, Any]) -> Candle:
    """Return a row of the answer to ohlc."""
    opening, high, low, close, volume = (
        parse_unsigned(row[name]) for name in ("open", "high", "low", "close", "volume")
    )
    return Candle(time_from_field(row["timestamp"]), opening, high, low, close, volume)


def trade_from_row(row: Mapping[str, Any]) -> Trade:
    """Return a row of the answer to transactions. Those of API v1 told no side."""
    kind = row.get("type")
    return Trade(
        id=id_from_number(row["tid"]),
        side=None if kind is None else _SIDES[str(kind)],
        amount=parse_unsigned(row["amount"]),
        price=parse_unsigned(row["price"]),
        time=time_from_field(row["date"]),
    )


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency or an asset: "fiat" or "crypto", and for its networks whether they take deposits and withdrawals now.

    None: no networks are listed.
    """

    kind: str
    deposit: Mapping[str, bool] | None
    withdrawal: Mapping[str, bool] | None


def currencies_from_rows(name: str, rows: list[Mapping[str, Any]]) -> dict[str, Currency]:
    """Return each currency and asset by its name, from the answer to currencies."""
    return dict(readable_rows(name, rows, _named_currency_from_row))


def _named_currency_from_row(row: Mapping[str, Any]) -> tuple[str, Currency]:
    currency = Currency(
        kind=required_text(row["type"]),
        deposit=_networks_that_take(row, "deposit"),
        withdrawal=_networks_that_take(row, "withdrawal"),
    )
    return required_text(row["currency"]).upper(), currency


def _networks_that_take(row: Mapping[str, Any], direction: str) -> dict[str, bool] | None:
    if row.get(direction) == "Disabled":
        return {}
    named = [one for one in row.get("networks") or () if one.get("network")]
    return {one["network"]: one.get(direction) != "Disabled" for one in named} or None


def funds_from_rows(name: str, rows: list[Mapping[str, Any]]) -> dict[str, Funds]:
    """Return the funds by currency or asset, from the answer to account_balances."""
    return dict(readable_rows(name, rows, _named_funds_from_row))


def _named_funds_from_row(row: Mapping[str, Any]) -> tuple[str, Funds]:
    amounts = [optional(parse_decimal, row.get(name)) for name in ("total", "available", "reserved")]
    return required_text(row["currency"]).upper(), consistent_funds(*amounts)


def placed_from_row(row: Mapping[str, Any], order: NewOrder) -> OrderState:
    """Return the answer to a new order; `price` and `amount` of a market order are not those of its fills."""
    side = _SIDES[str(row["type"])] if row.get("type") is not None else order.side
    if side != order.side or (client_order_id(row) or order.client_id) != order.client_id:
        raise ValueError("another order than the one asked for")
    return accepted_order(order, id_from_number(row["id"]), optional_time(row.get("datetime")))


def order_from_row(row: Mapping[str, Any], ref: OrderRef) -> OrderState:
    """Return an answer of order_status about `ref`; filled, average, spent and fee come from the order's transactions.

    Answers of 2021 and before have neither market nor type, and no time (knowm/XChange#4125): they are those of `ref`.
    Raises ValueError when nothing in the answer says that it is about the order of `ref`.
    """
    market, client_id = _market_name(row), client_order_id(row)
    if market is None and client_id is None and ref.exchange_order_id is None:
        raise ValueError("no word of the order that was asked for")
    is_named = market is not None and market.lower() != market_symbol(ref.currency, ref.asset)
    asset, currency = _asset_and_currency(market) if market is not None and is_named else (ref.asset, ref.currency)
    remaining = optional_amount(row.get("amount_remaining"))
    filled, average, spent, fee = _executed(row.get("transactions"), ref, remaining, currency, asset)
    return OrderState(
        exchange_order_id=id_from_number(row["id"]),
        status=_order_status(row["status"], filled),
        side=_SIDES[str(row["type"])] if row.get("type") is not None else ref.side,
        currency=currency,
        asset=asset,
        amount=ref.amount if remaining is None or filled is None else EXACT.add(filled, remaining),
        filled=filled,
        average=average,
        spent=spent,
        fee=fee,
        fee_currency=None if fee is None else currency,
        client_id=client_id,
        created=optional_time(row.get("datetime")),
        reason="it expired" if row["status"] == "Expired" else None,
    )


def _executed(
    transactions: Any, ref: OrderRef, remaining: Decimal | None, currency: str, asset: str
) -> tuple[Decimal | None, Decimal | None, Decimal | None, Decimal | None]:
    """Return filled, average, spent and fee of an order from its transactions.

    Where they are left out, as for `omit_transactions`, what was filled is what no longer remains.
    """
    if transactions is None:
        if ref.amount is None or remaining is None:
            return None, None, None, None
        return parse_unsigned(EXACT.subtract(ref.amount, remaining)), None, None, None
    fills = [_transaction_amounts(fill, currency, asset) for fill in transactions]
    filled, spent = total(amount for amount, _, _, _ in fills), total(cost for _, cost, _, _ in fills)
    average = mean(total(EXACT.multiply(amount, price) for amount, _, price, _ in fills), filled)
    fees = [fee for _, _, _, fee in fills if fee is not None]
    return filled, average, spent, total(fees) if len(fees) == len(fills) else None


def _transaction_amounts(
    fill: Mapping[str, Any], currency: str, asset: str
) -> tuple[Decimal, Decimal, Decimal, Decimal | None]:
    """Return amount, cost, price and fee of one of an order's transactions; fees are paid in the currency."""
    return (
        parse_unsigned(fill[asset.lower()]),
        parse_unsigned(fill[currency.lower()]),
        parse_unsigned(fill["price"]),
        optional(parse_decimal, fill.get("fee")),
    )


def _order_status(word: str, filled: Decimal | None) -> Status:
    if word in _OPEN:
        return "open"
    if word == "Finished":
        return "filled"
    if word in _OVER:
        return "partly_filled" if filled else "canceled"
    return "unknown"


def open_order_from_row(row: Mapping[str, Any]) -> OrderState:
    """Return a row of open_orders; its `amount` is what remains. What it does not tell is None."""
    market = _market_name(row)
    # An order of a perpetual ("BTC/USD-PERP") has no pair of a spot market.
    asset, currency = (None, None) if market is None or market.endswith("-PERP") else _asset_and_currency(market)
    amount, remaining = optional_amount(row.get("amount_at_create")), optional_amount(row.get("amount"))
    filled = None if amount is None or remaining is None else parse_unsigned(EXACT.subtract(amount, remaining))
    return OrderState(
        exchange_order_id=id_from_number(row["id"]),
        status="open",
        side=_SIDES[str(row["type"])],
        currency=currency,
        asset=asset,
        amount=amount,
        price=optional_amount(row.get("price")),
        filled=filled,
        client_id=client_order_id(row),
        created=optional_time(row.get("datetime")),
    )


def fill_from_row(row: Mapping[str, Any], currency: str, asset: str) -> Fill | None:
    """Return a trade among the user's transactions, None for a row that is no trade.

    Only the currency has its sign in old and new rows alike; what costs less than a cent has none.
    """
    if str(row["type"]) != "2":
        return None
    spent, amount = parse_decimal(row[currency.lower()]), parse_decimal(row[asset.lower()])
    price, fee = row.get(f"{asset}_{currency}".lower()), row.get("fee")
    if price is None and (price := mean(spent.copy_abs(), amount.copy_abs())) is None:
        raise ValueError("a trade of nothing")
    return Fill(
        id=id_from_number(row["id"]),
        exchange_order_id=str(row["order_id"]) if row.get("order_id") else None,
        side="buy" if spent < 0 or (not spent and amount > 0) else "sell",
        currency=currency,
        asset=asset,
        amount=amount.copy_abs(),
        price=parse_decimal(price).copy_abs(),
        fee=optional(parse_decimal, fee),
        fee_currency=None if fee is None else currency,
        time=time_from_field(row["datetime"]),
    )


def deposit_from_row(row: Mapping[str, Any]) -> Deposit:
    """Return a row of the deposits among crypto-transactions."""
    address, tag = address_and_tag(row.get("destinationAddress"))
    return Deposit(
        id=id_from_number(row["id"]),
        asset=required_text(row["currency"]).upper(),
        amount=parse_unsigned(row["amount"]),
        status=_DEPOSITED.get(str(row.get("status")), "pending"),
        address=address,
        tag=tag,
        network=row.get("network"),
        txid=row.get("txid"),
        time=optional_time(row.get("datetime")),
    )


def money_deposits_from_row(row: Mapping[str, Any], money: Iterable[str]) -> list[Deposit]:
    """Return the deposits, of the currencies `money`, in a row of the user's transactions."""
    if str(row["type"]) != "0":
        return []
    amounts = {asset: parse_decimal(row[asset.lower()]) for asset in money if row.get(asset.lower()) not in NOTHING}
    return [
        Deposit(id_from_number(row["id"]), asset, amount, "done", time=optional_time(row.get("datetime")))
        for asset, amount in amounts.items()
        if amount > 0
    ]


def withdrawal_from_row(row: Mapping[str, Any]) -> Withdrawal:
    """Return a row of withdrawal-requests; its asset is empty where neither a currency nor the type names it."""
    asset = row.get("currency") or _WITHDRAWAL_TYPES.get(str(row.get("type")), "")
    address, tag = address_and_tag(row.get("address"))
    return Withdrawal(
        id=id_from_number(row["id"]),
        asset=asset.upper(),
        amount=optional_amount(row.get("amount")),
        status=_WITHDRAWN.get(str(row.get("status")), "unknown"),
        address=address,
        tag=tag,
        network=row.get("network"),
        txid=row.get("transaction_id") or None,
        created=optional_time(row.get("datetime")),
    )


def _market_name(row: Mapping[str, Any]) -> str | None:
    """Return the display name of an order's market; `currency_pair` is what the field was called before."""
    return row.get("market") or row.get("currency_pair") or None


def client_order_id(row: Mapping[str, Any]) -> str | None:
    """Return our id of an order, which is an empty text where it was given none."""
    return row.get("client_order_id") or None


def _asset_and_currency(market: str) -> tuple[str, str]:
    asset, currency = market.split("/")
    return asset, currency
