"""What a hub answers, read into our records; and amounts as a hub takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from typing import Any

from ....money import EXACT, mean, parse_decimal, plain
from ...errors import Refused
from ...models import Funds, OrderState, Side
from ...parsing import time_from_milliseconds

__all__ = ["check_amount", "give_and_get", "order_from_row", "parse_funds", "parse_order_id"]

#: Choice: amounts have at most eight decimals, in every currency.
_STEP = Decimal("1E-8")
_WIDE = Context(prec=300)


def check_amount(amount: Decimal) -> Decimal:
    """Return `amount` when it has at most eight decimals. Raises Refused otherwise; nothing is rounded."""
    nearest = amount.quantize(_STEP, ROUND_HALF_UP, _WIDE)
    if amount > 0 and nearest == amount:
        return amount
    nearest = max(nearest, _STEP)
    raise Refused(
        f"the amount {plain(amount)} has more than eight decimals or is not above zero; the nearest allowed is"
        f" {plain(nearest)}",
        code="invalid_amount",
        details={"field": "amount", "nearest": plain(nearest)},
    )


def give_and_get(side: Side, amount: Decimal, price: Decimal) -> tuple[Decimal, Decimal]:
    """Return what is given at most and got at least. Raises Refused for a price of 0 or a cost below 1E-8."""
    if price <= 0:
        raise Refused(f"the price {plain(price)} is not above zero", code="invalid_price", details={"field": "price"})
    cost = EXACT.multiply(amount, price)
    if side == "sell":
        return amount, cost.quantize(_STEP, ROUND_CEILING, _WIDE)
    give = cost.quantize(_STEP, ROUND_FLOOR, _WIDE)
    if not give:
        raise Refused("the order costs less than the smallest unit", code="invalid_amount", details={"field": "amount"})
    return give, amount


def parse_funds(available: Mapping[str, Any], pending: Mapping[str, Any]) -> dict[str, Funds]:
    """Return the funds by currency; the total is None where something is pending."""
    free, held = _amounts(available), _amounts(pending)
    return {name: _funds(free.get(name, Decimal(0)), held.get(name, Decimal(0))) for name in free | held}


def _funds(free: Decimal, held: Decimal) -> Funds:
    return Funds(total=None if held else free, available=free, held=held)


def _amounts(document: Mapping[str, Any]) -> dict[str, Decimal]:
    amounts = {name.upper(): parse_decimal(amount) for name, amount in document.items()}
    if len(amounts) != len(document) or any(amount < 0 for amount in amounts.values()):
        raise ValueError("a negative balance, or a currency named twice")
    return amounts


def order_from_row(row: Mapping[str, Any]) -> OrderState:
    """Return an open order. One of its sides is BTC; giving it is a sell. What is filled counts what is given."""
    give, get = parse_decimal(row["trade_amt"]), parse_decimal(row["for_amt"])
    currencies = row["trade_cur"].upper(), row["for_cur"].upper()
    sells = currencies[0] == "BTC"
    if sells == (currencies[1] == "BTC"):
        raise ValueError("an order without BTC")
    amount, cost = (give, get) if sells else (get, give)
    left = parse_decimal(row["remaining_trade_amt"]) if "remaining_trade_amt" in row else None
    gone = None if left is None else EXACT.subtract(give, left)
    return OrderState(
        parse_order_id(row["oid"]),
        "open",
        side="sell" if sells else "buy",
        currency=currencies[1] if sells else currencies[0],
        asset="BTC",
        amount=amount,
        price=mean(cost, amount),
        filled=gone if sells else None,
        spent=None if sells else gone,
        created=time_from_milliseconds(row["created_ms"]) if "created_ms" in row else None,
    )


def parse_order_id(text: object) -> str:
    """Return the id of an order: up to 128 printable ASCII characters. Raises ValueError for anything else."""
    if not isinstance(text, str) or not re.fullmatch(r"[!-~]{1,128}", text):
        raise ValueError("no order id")
    return text
