"""What a hub answers, read into our records; and amounts as a hub takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from typing import Any

from ....money import EXACT, mean, parse_decimal, plain
from ...errors import Refused
from ...models import Funds, OrderState, Side
from ...parsing import optional, optional_amount, readable_rows, time_from_milliseconds

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
        words = (
            f"{plain(amount)} at {plain(price)} cost less than the smallest unit, {plain(_STEP)}; give a larger amount"
        )
        raise Refused(words, code="invalid_amount", details={"field": "amount"})
    return give, amount


def parse_funds(name: str, available: Any, pending: Any) -> dict[str, Funds]:
    """Return the funds by currency; the total is None where something is pending.

    A currency that is not there is 0. An amount that cannot be understood hides that of its own currency alone. `name`:
    the hub's.
    """
    free, held = _by_currency(available), _by_currency(pending)

    def read(currency: str) -> tuple[str, Funds]:
        return currency, _funds(_amount(free.get(currency, [])), _amount(held.get(currency, [])))

    return dict(readable_rows(name, list(free | held), read))


def _funds(free: Decimal, held: Decimal) -> Funds:
    """Return the funds of a currency: what is usable is never below 0; what is pending may be on its way out."""
    return Funds(total=None if held else free, available=max(free, Decimal(0)), held=None if held < 0 else held)


def _by_currency(amounts: Any) -> dict[str, list[Any]]:
    """Return all that a mapping has under each currency, in upper case; null, or an empty list, is an empty mapping."""
    found: dict[str, list[Any]] = {}
    for name, amount in (amounts or {}).items():
        found.setdefault(name.upper(), []).append(amount)
    return found


def _amount(found: list[Any]) -> Decimal:
    if len(found) > 1:
        raise ValueError("a currency named twice")
    return parse_decimal(found[0]) if found else Decimal(0)


def order_from_row(row: Mapping[str, Any]) -> OrderState:
    """Return an open order. One of its sides is BTC; giving it is a sell. What is filled counts what is given."""
    give, get = parse_decimal(row["trade_amt"]), parse_decimal(row["for_amt"])
    currencies = row["trade_cur"].upper(), row["for_cur"].upper()
    sells = currencies[0] == "BTC"
    if sells == (currencies[1] == "BTC"):
        raise ValueError("an order without BTC")
    amount, cost = (give, get) if sells else (get, give)
    left = optional_amount(row.get("remaining_trade_amt"))
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
        created=optional(time_from_milliseconds, row.get("created_ms")),
    )


def parse_order_id(text: object) -> str:
    """Return the id of an order: up to 128 printable ASCII characters. Raises ValueError for anything else."""
    if not isinstance(text, str) or not re.fullmatch(r"[!-~]{1,128}", text):
        raise ValueError("no order id")
    return text
