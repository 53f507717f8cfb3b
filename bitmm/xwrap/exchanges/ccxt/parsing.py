"""Reading what ccxt tells: markets, orders, fills and transfers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from ...money import parse_decimal, parse_unsigned, total
from ..models import Deposit, Fill, Market, Side, Status, Withdrawal

SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}
_OVER = {"canceled", "expired", "rejected"}
_DEPOSITED: dict[str, Literal["pending", "done", "failed"]] = {"ok": "done", "failed": "failed", "canceled": "failed"}
_WITHDRAWN: dict[str, Literal["pending", "done", "failed"]] = {**_DEPOSITED, "pending": "pending"}

#: ccxt's precisionMode: the number of decimals, or the size of a step. Significant digits (3) are no step.
_DECIMALS, _STEPS = 2, 4

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def spot_markets(ccxt: Any) -> dict[tuple[str, str], Market]:
    """(currency, asset) -> market, of the spot markets that take orders."""
    markets = {}
    for symbol, row in ccxt.markets.items():
        if row["spot"] and row["active"] is not False and symbol == f"{row['base']}/{row['quote']}":
            markets[row["quote"], row["base"]] = Market(
                currency=row["quote"],
                asset=row["base"],
                price_step=_step(row["precision"].get("price"), ccxt.precisionMode),
                amount_step=_step(row["precision"].get("amount"), ccxt.precisionMode),
                amount_min=_told(row["limits"]["amount"].get("min")),
                cost_min=_told(row["limits"]["cost"].get("min")),
            )
    return markets


def _step(precision: object, mode: int) -> Decimal | None:
    if precision is None or mode not in (_DECIMALS, _STEPS):
        return None
    value = parse_decimal(str(precision))
    return Decimal(1).scaleb(-int(value)) if mode == _DECIMALS else value or None


def _told(value: object) -> Decimal | None:
    return None if value is None else parse_unsigned(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("no text")
    return value


def _moment(milliseconds: object) -> datetime | None:
    return None if milliseconds is None else EPOCH + timedelta(milliseconds=int(parse_decimal(milliseconds)))


def is_spot_symbol(symbol: object) -> bool:
    return isinstance(symbol, str) and ":" not in symbol


def pair_of_symbol(symbol: object) -> tuple[str | None, str | None]:
    """Currency and asset of a spot symbol ("BTC/EUR"); futures ("BTC/EUR:EUR") are not ours to name."""
    if not isinstance(symbol, str) or not is_spot_symbol(symbol):
        return None, None
    asset, _, currency = symbol.partition("/")
    return currency or None, asset or None


def order_status(word: object, amount: Decimal | None, filled: Decimal | None) -> Status:
    """ccxt's "closed" says that an order is over. An order that was accepted without a word is open."""
    if word in (None, "open", "canceling"):
        return "open"
    if word == "closed":
        if amount is None or filled is None or filled >= amount:
            return "filled"
        return "partly_filled" if filled else "canceled"
    if word in _OVER:
        return "partly_filled" if filled else "rejected" if word == "rejected" else "canceled"
    return "unknown"


def fee_fields(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields `fee` and `fee_currency`; None when the fees are not told, or not in one currency."""
    rows = row.get("fees") or [row.get("fee")]
    names = {fee.get("currency") if fee and fee.get("cost") is not None else None for fee in rows}
    if len(names) != 1 or None in names:
        return None
    return {"fee": total(parse_decimal(fee["cost"]) for fee in rows), "fee_currency": names.pop()}


def fill_from_row(row: Mapping[str, Any], symbol: str) -> Fill:
    asset, _, currency = symbol.partition("/")
    amount, price, time = _told(row["amount"]), _told(row["price"]), _moment(row["timestamp"])
    if amount is None or price is None or time is None:
        raise ValueError("a fill without amount, price or time")
    return Fill(
        id=_text(row["id"]),
        exchange_order_id=row.get("order"),
        side=SIDES[row["side"]],
        currency=currency,
        asset=asset,
        amount=amount,
        price=price,
        time=time,
        **(fee_fields(row) or {"fee": None, "fee_currency": None}),
    )


def _transfer_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": _text(row.get("id") or row.get("txid")),
        "asset": _text(row["currency"]),
        "amount": _told(row.get("amount")),
        "address": row.get("address") or row.get("addressTo") or None,
        "tag": row.get("tag") or row.get("tagTo") or None,
        "network": row.get("network") or None,
        "txid": row.get("txid") or None,
    }


def deposit_from_row(row: Mapping[str, Any]) -> Deposit:
    facts = _transfer_fields(row)
    if facts["amount"] is None:
        raise ValueError("a deposit without an amount")
    return Deposit(**facts, status=_DEPOSITED.get(row.get("status", ""), "pending"), time=_moment(row.get("timestamp")))


def withdrawal_from_row(row: Mapping[str, Any]) -> Withdrawal:
    return Withdrawal(
        **_transfer_fields(row),
        status=_WITHDRAWN.get(row.get("status", ""), "unknown"),
        fee=(fee_fields(row) or {}).get("fee"),
        created=_moment(row.get("timestamp")),
    )
