"""Backpack's rows and names, and what they are in ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from ...money import mean, parse_decimal, parse_unsigned, total
from ..models import (
    Deposit,
    Fill,
    Funds,
    Market,
    OrderRef,
    OrderState,
    Side,
    Status,
    Withdrawal,
)
from ..orders import check_same_order
from ..parsing import optional_amount, required_text, time_from_milliseconds, time_from_utc_text

_SIDES: dict[str, Side] = {"Bid": "buy", "Ask": "sell"}
_OPEN = {"New", "PartiallyFilled", "TriggerPending", "Triggered"}
_OVER = {"Cancelled", "Expired"}
_DEPOSITED: dict[str, Literal["pending", "done", "failed"]] = {
    **dict.fromkeys(("confirmed", "Completed"), "done"),
    **dict.fromkeys(("cancelled", "declined", "expired", "refunded"), "failed"),
}
_WITHDRAWN: dict[str, Literal["pending", "done"]] = {
    "confirmed": "done",
    **dict.fromkeys(("pending", "ownershipVerificationRequired"), "pending"),
}
#: Markets in these states take no new orders.
_SHUT = {"Closed", "CancelOnly"}
#: How far an order's time may be from ours; with clocks that far apart no request would be taken.
MAX_SKEW = timedelta(minutes=5)


def market_symbol(currency: str, asset: str) -> str:
    """Return the name of a spot market: "SOL_USDC"."""
    return f"{asset}_{currency}"


def client_number(client_id: str) -> int:
    """Return the exchange's client id for ours: 32 bits, random in UUIDs of version 4 and 7."""
    return int(client_id[-8:], 16)


def is_same_order(row: Mapping[str, Any], ref: OrderRef, client: int) -> bool:
    """Return whether an order with our client number is really the one that is looked for."""
    return (
        str(row["clientId"]) == str(client)
        and _SIDES[row["side"]] == ref.side
        and (ref.amount is None or parse_decimal(row["quantity"]) == ref.amount)
        and (ref.created is None or abs(time_from_field(row["createdAt"]) - ref.created) < MAX_SKEW)
    )


def markets_from_rows(rows: list[Mapping[str, Any]]) -> dict[tuple[str, str], Market]:
    """Return the spot markets that take orders by (currency, asset), from the answer to markets."""
    spot = [row for row in rows if row["marketType"] == "SPOT" and row["orderBookState"] not in _SHUT]
    return {(market.currency, market.asset): market for market in map(_market_from_row, spot)}


def tokens_from_rows(rows: list[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the tokens of each asset, one a blockchain, from the answer to assets."""
    return {row["symbol"]: row["tokens"] for row in rows}


def _market_from_row(row: Mapping[str, Any]) -> Market:
    price, quantity = row["filters"]["price"], row["filters"]["quantity"]
    return Market(
        currency=required_text(row["quoteSymbol"]),
        asset=required_text(row["baseSymbol"]),
        price_step=parse_decimal(price["tickSize"]),
        amount_step=parse_decimal(quantity["stepSize"]),
        amount_min=parse_decimal(quantity["minQuantity"]),
    )


def funds_from_row(row: Mapping[str, Any]) -> Funds:
    """Return a balance; what is staked is owned, and not available."""
    available = parse_unsigned(row["available"])
    held = total((parse_unsigned(row["locked"]), parse_unsigned(row["staked"])))
    return Funds(total=total((available, held)), available=available, held=held)


def order_from_row(row: Mapping[str, Any], ref: OrderRef | None = None) -> OrderState:
    """Return an order, live or of the history. Raises ValueError when it is not the one of `ref`."""
    asset, currency = _asset_and_currency(row["symbol"])
    filled, spent = parse_unsigned(row["executedQuantity"]), parse_unsigned(row["executedQuoteQuantity"])
    state = OrderState(
        exchange_order_id=required_text(row["id"]),
        status=_order_status(row["status"], filled),
        side=_SIDES[row["side"]],
        currency=currency,
        asset=asset,
        amount=optional_amount(row.get("quantity")),
        price=optional_amount(row.get("price")),
        filled=filled,
        average=mean(spent, filled),
        spent=spent,
        client_id=ref.client_id if ref else None,
        created=time_from_field(row["createdAt"]),
    )
    if ref is not None:
        check_same_order(state, ref)
    return state


def _order_status(word: str, filled: Decimal) -> Status:
    if word in _OPEN:
        return "open"
    if word == "Filled":
        return "filled"
    if word in _OVER:
        return "partly_filled" if filled else "canceled"
    return "rejected" if word == "TriggerFailed" else "unknown"


def fee_from_rows(rows: list[Mapping[str, Any]], state: OrderState) -> tuple[Decimal | None, str | None] | None:
    """Return the fee of an order and what it counts, from its fills; None as long as some of them are missing.

    Neither is known (None, None) when the fills have fees in several currencies.
    """
    fills = [row for row in rows if row["orderId"] == state.exchange_order_id]
    if total(parse_unsigned(row["quantity"]) for row in fills) != state.filled:
        return None
    names = {row["feeSymbol"] for row in fills}
    if len(names) != 1:
        return None, None
    return total(parse_decimal(row["fee"]) for row in fills), names.pop()


def fill_from_row(row: Mapping[str, Any]) -> Fill:
    """Return a row of the fill history."""
    asset, currency = row["symbol"].split("_")
    return Fill(
        id=_number_as_text(row["tradeId"]),
        exchange_order_id=row["orderId"],
        side=_SIDES[row["side"]],
        currency=currency,
        asset=asset,
        amount=parse_unsigned(row["quantity"]),
        price=parse_unsigned(row["price"]),
        fee=parse_decimal(row["fee"]),
        fee_currency=row["feeSymbol"],
        time=time_from_field(row["timestamp"]),
    )


def deposit_from_row(row: Mapping[str, Any]) -> Deposit:
    """Return a row of the deposits."""
    return Deposit(
        id=_number_as_text(row["id"]),
        asset=required_text(row["symbol"]),
        amount=parse_unsigned(row["quantity"]),
        status=_DEPOSITED.get(row["status"], "pending"),
        address=row.get("toAddress"),
        tag=row.get("platformMemo"),
        network=row.get("source"),
        txid=row.get("transactionHash"),
        time=time_from_field(row["createdAt"]),
    )


def withdrawal_from_row(row: Mapping[str, Any]) -> Withdrawal:
    """Return a row of the withdrawals."""
    return Withdrawal(
        id=_number_as_text(row["id"]),
        asset=required_text(row["symbol"]),
        amount=parse_unsigned(row["quantity"]),
        status=_WITHDRAWN.get(row["status"], "unknown"),
        address=row.get("toAddress"),
        network=row.get("blockchain"),
        fee=optional_amount(row.get("fee")),
        txid=row.get("transactionHash"),
        client_id=row.get("clientId"),
        created=time_from_field(row["createdAt"]),
    )


def _asset_and_currency(symbol: str) -> tuple[str | None, str | None]:
    """Return asset and currency of a spot market; futures have a third part ("ETH_USDC_PERP") and no pair here."""
    parts = symbol.split("_")
    return (parts[0], parts[1]) if len(parts) == 2 else (None, None)


def list_of_rows(answer: Any) -> list[Any]:
    """Return a list, perhaps an empty one; anything else is not taken for one."""
    if not isinstance(answer, list):
        raise TypeError("no list")
    return answer


def _number_as_text(value: object) -> str:
    """Return the number of a trade or a transfer, as text."""
    return str(int(str(value)))


def time_from_field(value: object) -> datetime:
    """Return the time of a field: in milliseconds since 1970, or a text in UTC without saying so."""
    if isinstance(value, str) and not value.isdigit():
        return time_from_utc_text(value)
    return time_from_milliseconds(value)
