"""What an order would get of an order book as it is now. Everything is exact; fees are left aside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from ..money import EXACT, ROUNDED, mean
from .models import Level

__all__ = ["Filling", "fill_amount", "fill_cost", "round_down"]

_ZERO = Decimal(0)
#: To what a part of a level is rounded down where the market has no step of its own.
_SMALLEST = Decimal("1e-18")


@dataclass(frozen=True, slots=True)
class Filling:
    """`amount` units of the asset that change hands for `spent` units of the currency; `worst`: the last price."""

    amount: Decimal
    spent: Decimal
    worst: Decimal | None

    @property
    def average(self) -> Decimal | None:
        """The mean price, to 28 digits; None when nothing changes hands."""
        return mean(self.spent, self.amount)


def fill_amount(levels: Iterable[Level], amount: Decimal) -> Filling:
    """Return what an order of `amount` units gets of `levels`, best first: all of it, or as much as is listed."""
    filled, spent, worst = _ZERO, _ZERO, None
    for price, offered in levels:
        taken = min(EXACT.subtract(amount, filled), offered)
        filled, spent, worst = EXACT.add(filled, taken), EXACT.add(spent, EXACT.multiply(taken, price)), price
        if filled == amount:
            break
    return Filling(filled, spent, worst)


def fill_cost(levels: Iterable[Level], cost: Decimal, step: Decimal | None = None) -> Filling:
    """Return what `cost` units of the currency buy at `levels`, best first, or as much of it as is listed.

    Of the last level so many multiples of `step` are taken as the cost still pays for, so `spent` may be a little less.
    """
    filled, spent, worst = _ZERO, _ZERO, None
    for price, offered in levels:
        left = EXACT.subtract(cost, spent)
        taken = min(round_down(ROUNDED.divide(left, price), step), offered)
        if not taken:
            break
        filled, spent, worst = EXACT.add(filled, taken), EXACT.add(spent, EXACT.multiply(taken, price)), price
    return Filling(filled, spent, worst)


def round_down(amount: Decimal, step: Decimal | None) -> Decimal:
    """Return the largest multiple of `step` that is not above `amount`."""
    step = step or _SMALLEST
    return EXACT.multiply(ROUNDED.divide(amount, step).to_integral_value(ROUND_FLOOR), step)
