"""Backpack's rows and names, and what they are in ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from ...money import mean, parse_decimal, parse_unsigned, total
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
from ..orders import check_same_order
from ..parsing import (
    address_and_tag,
    consistent_funds,
    id_from_number,
    list_or_nothing,
    optional,
    optional_amount,
    optional_time,
    readable_rows,
    required_text,
    time_from_field,
    time_from_utc_text,
)
from .signing import Value

_SIDES: dict[str, Side] = {"Bid": "buy", "Ask": "sell"}
_SIDE_WORDS = {side: word for word, side in _SIDES.items()}
_OPEN = {"New", "PartiallyFilled", "TriggerPending", "Triggered"}
_OVER = {"Cancelled", "Expired"}
_DEPOSITED: dict[str, Literal["pending", "done", "failed"]] = {
    **dict.fromkeys(("confirmed", "Completed"), "done"),
    **dict.fromkeys(("cancelled", "declined", "expired", "refunded"), "failed"),
}
_WITHDRAWN: dict[str, Literal["pending", "done"]] = {
    "confirmed": "done",
    **dict.fromkeys(("pending", "ownershipVerificationRequired"), "pending"),
    **dict.fromkeys(("recipientInformationRequired", "recipientInformationProvided"), "pending"),
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


def new_order_fields(order: NewOrder) -> dict[str, Value]:
    """Return the body of an order ("Execute order"); what is None is left to the exchange."""
    return {
        "symbol": market_symbol(order.currency, order.asset),
        "side": _SIDE_WORDS[order.side],
        "orderType": "Market" if order.price is None else "Limit",
        "quantity": order.amount,
        "quoteQuantity": order.cost,
        "price": order.price,
        # `check_kind` refuses GTD.
        "timeInForce": order.time_in_force,
        "postOnly": order.post_only or None,
        "clientId": client_number(order.client_id),
    }


def is_same_order(row: Mapping[str, Any], ref: OrderRef, client: int) -> bool:
    """Return whether an order with our client number is really the one that is looked for.

    Raises ValueError for one that does not say whether it has our client number, and is like ours in all else: it may
    be ours. (null says that it has none.)
    """
    if "clientId" in row and str(row["clientId"]) != str(client):
        return False
    quantity = optional_amount(row.get("quantity"))
    is_alike = (
        _SIDES[row["side"]] == ref.side
        and (ref.amount is None or quantity is None or quantity == ref.amount)
        and (ref.created is None or abs(time_from_field(row["createdAt"]) - ref.created) < MAX_SKEW)
    )
    if is_alike and "clientId" not in row:
        raise ValueError("an order that does not tell its client id")
    return is_alike


def is_same_withdrawal(row: Mapping[str, Any], client_id: str, since: datetime, until: datetime) -> bool:
    """Return whether this withdrawal carries our id. Raises ValueError when it does not say, and it may be ours."""
    if "clientId" in row:
        return bool(row["clientId"] == client_id)
    if since - MAX_SKEW <= time_from_field(row["createdAt"]) <= until + MAX_SKEW:
        raise ValueError("a withdrawal that does not tell its client id")
    return False


def markets_from_rows(name: str, rows: list[Mapping[str, Any]]) -> dict[tuple[str, str], Market | None]:
    """Return the spot markets by (currency, asset), from the answer to markets; None for one that takes no orders."""
    return dict(named for named in readable_rows(name, rows, _named_market_from_row) if named is not None)


def _named_market_from_row(row: Mapping[str, Any]) -> tuple[tuple[str, str], Market | None] | None:
    """Return a market with its pair; None for one that is no spot market."""
    # Answers of 2024 name no type. The symbol of a spot market has two parts, that of a future three.
    if row.get("marketType") not in (None, "SPOT") or row["symbol"].count("_") != 1:
        return None
    currency, asset = required_text(row["quoteSymbol"]), required_text(row["baseSymbol"])
    if row.get("orderBookState") in _SHUT:
        return (currency, asset), None
    price, quantity = row["filters"]["price"], row["filters"]["quantity"]
    market = Market(
        currency=currency,
        asset=asset,
        price_step=optional_amount(price.get("tickSize")),
        amount_step=optional_amount(quantity.get("stepSize")),
        amount_min=optional_amount(quantity.get("minQuantity")),
    )
    return (currency, asset), market


def ticker_from_row(row: Mapping[str, Any], time: datetime) -> Ticker:
    """Return the answer to ticker, which has neither bid nor ask, nor a time: it was asked for at `time`."""
    last, high, low, volume = (optional_amount(row.get(name)) for name in ("lastPrice", "high", "low", "volume"))
    return Ticker(last, high, low, volume, bid=None, ask=None, time=time)


def candle_from_row(row: Mapping[str, Any]) -> Candle | None:
    """Return a row of the answer to klines; None for one without prices, of an interval in which nothing was traded."""
    opening, high, low, close = (optional_amount(row.get(name)) for name in ("open", "high", "low", "close"))
    if opening is None or high is None or low is None or close is None:
        return None
    return Candle(time_from_utc_text(row["start"]), opening, high, low, close, parse_unsigned(row["volume"]))


def trade_from_row(row: Mapping[str, Any]) -> Trade:
    """Return a public trade. Who took the offer sold when the buyer was the maker."""
    return Trade(
        id=id_from_number(row["id"]),
        side="sell" if _is_true(row["isBuyerMaker"]) else "buy",
        amount=parse_unsigned(row["quantity"]),
        price=parse_unsigned(row["price"]),
        time=time_from_field(row["timestamp"]),
    )


def _is_true(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


def tokens_from_rows(name: str, rows: list[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the tokens of each asset, one a blockchain, from the answer to assets."""
    return dict(readable_rows(name, rows, lambda row: (required_text(row["symbol"]), row.get("tokens") or [])))


def open_chain_from_row(row: Mapping[str, Any], switch: str) -> tuple[str, bool]:
    """Return the blockchain of a token, and whether its `switch` ("depositEnabled", "withdrawEnabled") is not off."""
    return required_text(row["blockchain"]), row.get(switch) is not False


def funds_from_answers(name: str, balances: Any, account: Any) -> dict[str, Funds]:
    """Return the funds by asset, from the balances and the margin account: what is lent is in the latter alone.

    What is staked or lent (an account may lend by itself, "autoLend") is owned, and not available: it is `earning`.
    """
    lent = dict(readable_rows(name, list_or_nothing(account and account.get("collateral")), _named_lent_from_row))
    rows = {asset: {} for asset, amount in lent.items() if amount} | (balances or {})
    return dict(readable_rows(name, rows.items(), lambda row: (row[0], _funds_from_row(row[1], lent.get(row[0])))))


def _named_lent_from_row(row: Mapping[str, Any]) -> tuple[str, Decimal]:
    return required_text(row["symbol"]), max(parse_decimal(row.get("lendQuantity") or 0), Decimal(0))


def _funds_from_row(row: Mapping[str, Any], lent: Decimal | None) -> Funds:
    if lent is None and all(row.get(name) is None for name in ("available", "locked", "staked")):
        raise ValueError("no amount")
    available, locked, staked = (parse_decimal(row.get(name) or 0) for name in ("available", "locked", "staked"))
    earning = max(total((staked, lent or Decimal(0))), Decimal(0))
    return consistent_funds(total((available, locked, earning)), available, locked, earning)


def order_from_row(row: Mapping[str, Any], ref: OrderRef | None = None) -> OrderState:
    """Return an order, live or of the history, where much is optional (schema "Order"): what is not there is None.

    Raises ValueError when it is not the one of `ref`.
    """
    asset, currency = _asset_and_currency(row["symbol"])
    filled, spent = optional_amount(row.get("executedQuantity")), optional_amount(row.get("executedQuoteQuantity"))
    amount = optional_amount(row.get("quantity"))
    if filled is None and row["status"] == "Filled":
        filled = amount
    status, reason = _order_status(row["status"], filled, spent), row.get("expiryReason")
    if status in {"canceled", "partly_filled"} and filled is None and reason is None:
        reason = "Backpack does not say how much of it was filled before"
    state = OrderState(
        exchange_order_id=order_id_text(row["id"]),
        status=status,
        side=_SIDES[row["side"]],
        currency=currency,
        asset=asset,
        amount=amount,
        price=optional_amount(row.get("price")),
        filled=filled,
        average=None if filled is None or spent is None else mean(spent, filled),
        spent=spent,
        client_id=ref.client_id if ref else None,
        created=optional_time(row.get("createdAt")),
        reason=reason,
    )
    if ref is not None:
        check_same_order(state, ref)
    return state


def _order_status(word: str, filled: Decimal | None, spent: Decimal | None) -> Status:
    if word in _OPEN:
        return "open"
    if word == "Filled":
        return "filled"
    if word in _OVER:
        return "partly_filled" if filled or spent else "canceled"
    return "rejected" if word == "TriggerFailed" else "unknown"


def fee_from_rows(rows: list[Mapping[str, Any]], state: OrderState) -> tuple[Decimal | None, str | None] | None:
    """Return the fee of an order and what it counts, from its fills; None as long as some of them are missing.

    Neither is known (None, None) when the fills have fees in several currencies, or one does not tell its fee.
    """
    fills = [row for row in rows if str(row["orderId"]) == state.exchange_order_id]
    if total(parse_unsigned(row["quantity"]) for row in fills) != state.filled:
        return None
    names, fees = {row.get("feeSymbol") for row in fills}, [row.get("fee") for row in fills]
    if len(names) != 1 or None in names or None in fees:
        return None, None
    return total(map(parse_decimal, fees)), names.pop()


def fill_from_row(row: Mapping[str, Any]) -> Fill:
    """Return a row of the fill history. One without a number (`tradeId` is optional) is named by its order and time."""
    asset, currency = row["symbol"].split("_")
    number, order, fee = row.get("tradeId"), row.get("orderId"), row.get("fee")
    return Fill(
        id=f"{order}-{row['timestamp']}" if number is None else id_from_number(number),
        exchange_order_id=None if order is None else str(order),
        side=_SIDES[row["side"]],
        currency=currency,
        asset=asset,
        amount=parse_unsigned(row["quantity"]),
        price=parse_unsigned(row["price"]),
        fee=optional(parse_decimal, fee),
        fee_currency=None if fee is None else row.get("feeSymbol"),
        time=time_from_field(row["timestamp"]),
    )


def deposit_from_row(row: Mapping[str, Any]) -> Deposit:
    """Return a row of the deposits."""
    address, tag = address_and_tag(row.get("toAddress"))
    return Deposit(
        id=id_from_number(row["id"]),
        asset=required_text(row["symbol"]),
        amount=parse_unsigned(row["quantity"]),
        status=_DEPOSITED.get(str(row.get("status")), "pending"),
        address=address,
        tag=row.get("platformMemo") or tag,
        network=row.get("source"),
        txid=row.get("transactionHash"),
        time=optional_time(row.get("createdAt")),
    )


def withdrawal_from_row(row: Mapping[str, Any]) -> Withdrawal:
    """Return a row of the withdrawals."""
    address, tag = address_and_tag(row.get("toAddress"))
    return Withdrawal(
        id=id_from_number(row["id"]),
        asset=required_text(row["symbol"]),
        amount=optional_amount(row.get("quantity")),
        status=_WITHDRAWN.get(str(row.get("status")), "unknown"),
        address=address,
        tag=tag,
        network=row.get("blockchain"),
        fee=optional_amount(row.get("fee")),
        txid=row.get("transactionHash"),
        client_id=row.get("clientId"),
        created=optional_time(row.get("createdAt")),
    )


def _asset_and_currency(symbol: str) -> tuple[str | None, str | None]:
    """Return asset and currency of a spot market; futures have a third part ("ETH_USDC_PERP") and no pair here."""
    parts = symbol.split("_")
    return (parts[0], parts[1]) if len(parts) == 2 else (None, None)


def order_id_text(value: object) -> str:
    """Return an order's id, which is a text of digits, or a number. Raises ValueError for anything else."""
    return str(value) if isinstance(value, int) and value > 0 and value is not True else required_text(value)
