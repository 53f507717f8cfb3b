"""The numbers of an order or a withdrawal before ccxt gets them: it would round them to the exchange's steps, unasked.

What it would change is refused, so what is sent is what the caller gave.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from typing import Any

from ...money import exact, plain
from ..errors import Refused
from ..models import NewOrder, NewWithdrawal

__all__ = ["check_order_digits", "long_numbers", "withdrawal_amount"]

#: Enough for any amount that gets here.
_EXACT_CONTEXT = Context(prec=200)
#: Returns what ccxt would send for a number: by the kind of its steps, the market or currency, and the number.
_Round = Callable[[str, str, str], str]


def check_order_digits(name: str, order: NewOrder, symbol: str, precision: Mapping[str, Any], rounded: _Round) -> None:
    """Raise Refused for an order whose numbers ccxt would change. `precision`: ccxt's, of the market `symbol`."""
    for field, kind, value in (
        ("amount", "amount", order.amount),
        ("price", "price", order.price),
        ("stop", "price", order.stop),
        ("cost", "cost", order.cost),
    ):
        step = precision.get(kind) or (precision.get("price") if kind == "cost" else None)
        if value is not None and step is not None:
            _check_unchanged(name, field, value, rounded(kind, symbol, plain(value)), rule=f"{kind}_step")


def withdrawal_amount(
    name: str, withdrawal: NewWithdrawal, currencies: Mapping[str, Mapping[str, Any] | None], rounded: _Round
) -> str:
    """Return the amount in plain digits. Raises Refused when ccxt, whose `currencies` these are, would change it."""
    amount = plain(withdrawal.amount)
    if (currencies.get(withdrawal.asset) or {}).get("precision") is not None:
        sent = rounded("currency", withdrawal.asset, amount)
        _check_unchanged(name, "amount", withdrawal.amount, sent, rule="amount_step")
    return amount


def long_numbers(*numbers: Decimal | None) -> list[str]:
    """Return in plain digits those numbers that have more significant digits than a float is sure to keep.

    Some classes send a float (seen: BingX, Bit2C, HTX's withdrawals). A request without these digits does not leave.
    """
    reduced = (number.normalize(_EXACT_CONTEXT) for number in numbers if number is not None)
    return [plain(number) for number in reduced if len(number.as_tuple().digits) > sys.float_info.dig]


def _check_unchanged(name: str, field: str, value: Decimal, rounded: str, *, rule: str) -> None:
    if exact(rounded) != value:
        raise Refused(
            f"{name} would make {rounded} of the {field} {plain(value)}",
            code=rule,
            details={"field": field, "value": plain(value), "rule": rule, "nearest": rounded},
        )
