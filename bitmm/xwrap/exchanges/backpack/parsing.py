"""Backpack's rows and names, and what they are in ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
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
#: How far an order's time may be from ours; with clocks that far apart no request would be taken.
MAX_SKEW = timedelta(minutes=5)


def market_symbol(currency: str, asset: str) -> str:
    return f"{asset}_{currency}"


def client_number(client_id: str) -> int:
    """The exchange's client id for ours: 32 bits, random in UUIDs of version 4 and 7."""
    return int(client_id[-8:], 16)


def is_same_order(row: Mapping[str, Any], ref: OrderRef, client: int) -> bool:
    """Whether an order with our client number is really the one that is looked for."""
    return (
        str(row["clientId"]) == str(client)
        and _SIDES[row["side"]] == ref.side
        and (ref.amount is None or parse_decimal(row["quantity"]) == ref.amount)
        and (ref.created is None or abs(time_from_field(row["createdAt"]) - ref.created) < MAX_SKEW)
    )


def _market_from_row(row: Mapping[str, Any]) -> Market:
    price, quantity = row["filters"]["price"], row["filters"]["quantity"]
    return Market(
        currency=_text(row["quoteSymbol"]),
        asset=_text(row["baseSymbol"]),
        price_step=parse_decimal(price["tickSize"]),
        amount_step=parse_decimal(quantity["stepSize"]),
        amount_min=parse_decimal(quantity["minQuantity"]),
    )


def funds_from_row(row: Mapping[str, Any]) -> Funds:
    """What is staked is owned, and not available."""
    available, held = (
        parse_unsigned(row["available"]),
        total((parse_unsigned(row["locked"]), parse_unsigned(row["staked"]))),
    )
    return Funds(total=total((available, held)), available=available, held=held)


def order_from_row(row: Mapping[str, Any], ref: OrderRef | None = None) -> OrderState:
    """An order, live or of the history. Raises ValueError when it is not the one of `ref`."""
    asset, currency = _asset_and_currency(row["symbol"])
    filled, spent = parse_unsigned(row["executedQuantity"]), parse_unsigned(row["executedQuoteQuantity"])
    state = OrderState(
        exchange_order_id=_text(row["id"]),
        status=_order_status(row["status"], filled),
        side=_SIDES[row["side"]],
        currency=currency,
        asset=asset,
        amount=_number(row.get("quantity")),
        price=_number(row.get("price")),
        filled=filled,
        average=mean(spent, filled),
        spent=spent,
        client_id=ref.client_id if ref else None,
        created=time_from_field(row["createdAt"]),
    )
    if ref is not None:
        asked = (ref.side, ref.currency, ref.asset, ref.exchange_order_id or state.exchange_order_id)
        if asked != (state.side, state.currency, state.asset, state.exchange_order_id):
            raise ValueError("another order")
    return state


def _order_status(word: str, filled: Decimal) -> Status:
    if word in _OPEN:
        return "open"
    if word == "Filled":
        return "filled"
    if word in _OVER:
        return "partly_filled" if filled else "canceled"
    return "rejected" if word == "TriggerFailed" else "unknown"


def fill_from_row(row: Mapping[str, Any]) -> Fill:
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
    return Deposit(
        id=_number_as_text(row["id"]),
        asset=_text(row["symbol"]),
        amount=parse_unsigned(row["quantity"]),
        status=_DEPOSITED.get(row["status"], "pending"),
        address=row.get("toAddress"),
        tag=row.get("platformMemo"),
        network=row.get("source"),
        txid=row.get("transactionHash"),
        time=time_from_field(row["createdAt"]),
    )


def withdrawal_from_row(row: Mapping[str, Any]) -> Withdrawal:
    return Withdrawal(
        id=_number_as_text(row["id"]),
        asset=_text(row["symbol"]),
        amount=parse_unsigned(row["quantity"]),
        status=_WITHDRAWN.get(row["status"], "unknown"),
        address=row.get("toAddress"),
        network=row.get("blockchain"),
        fee=_number(row.get("fee")),
        txid=row.get("transactionHash"),
        client_id=row.get("clientId"),
        created=time_from_field(row["createdAt"]),
    )


def _asset_and_currency(symbol: str) -> tuple[str | None, str | None]:
    """Asset and currency of a spot market; futures have a third part ("ETH_USDC_PERP") and are not ours to name."""
    parts = symbol.split("_")
    return (parts[0], parts[1]) if len(parts) == 2 else (None, None)


def list_of_rows(answer: Any) -> list[Any]:
    """A list, perhaps an empty one; anything else is not taken for one."""
    if not isinstance(answer, list):
        raise TypeError("no list")
    return answer


def _number(value: object) -> Decimal | None:
    return None if value is None else parse_unsigned(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")
    return value


def _number_as_text(value: object) -> str:
    """The number of a trade or a transfer, as text."""
    return str(int(str(value)))


def time_from_field(value: object) -> datetime:
    """A time in milliseconds since 1970, or in UTC without saying so."""
    if isinstance(value, str) and not value.isdigit():
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    milliseconds = int(parse_decimal(value))
    return datetime.fromtimestamp(milliseconds // 1000, UTC) + timedelta(milliseconds=milliseconds % 1000)
