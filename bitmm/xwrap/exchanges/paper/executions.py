"""What the parts of an order cost together. Every rounding is against the user, and of all parts as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Self

from ...money import EXACT, ROUNDED, exact, mean, plain
from ..models import Level, Side

__all__ = ["Execution"]

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Execution:
    """What was executed of an order so far.

    `value` is the exact sum of amounts times prices, `charge` that of the fees. An order in many parts costs what it
    costs as a whole: what is posted of a part is the difference between two rounded sums.
    """

    side: Side
    money_step: Decimal
    filled: Decimal = _ZERO
    value: Decimal = _ZERO
    charge: Decimal = _ZERO

    @classmethod
    def of(cls, row: Mapping[str, Any], money_step: Decimal) -> Self:
        """Return what was executed of the order of a row."""
        filled, value, charge = (exact(row[name] or "0") for name in ("filled", "value", "charge"))
        return cls(row["side"], money_step, filled, value, charge)

    def and_parts(self, parts: Iterable[Level], fee: Decimal) -> Self:
        """Return it with these amounts at these prices, for which `fee`, a fraction of their value, is paid."""
        filled, value, charge = self.filled, self.value, self.charge
        for price, amount in parts:
            worth = EXACT.multiply(price, amount)
            filled, value = EXACT.add(filled, amount), EXACT.add(value, worth)
            charge = EXACT.add(charge, EXACT.multiply(worth, fee))
        return type(self)(self.side, self.money_step, filled, value, charge)

    @property
    def average(self) -> Decimal | None:
        """Return the mean price, to 28 digits; None when nothing was filled."""
        return mean(self.value, self.filled)

    @property
    def spent(self) -> Decimal:
        """Return what was paid of the currency, or got of it for a sell, without the fee."""
        return self.value.quantize(self.money_step, ROUND_CEILING if self.side == "buy" else ROUND_FLOOR, ROUNDED)

    @property
    def fee(self) -> Decimal:
        """Return the fee, in the currency."""
        return self.charge.quantize(self.money_step, ROUND_CEILING, ROUNDED)

    @property
    def given(self) -> Decimal:
        """Return what the order gave: of the currency with its fee, or of the asset for a sell."""
        return EXACT.add(self.spent, self.fee) if self.side == "buy" else self.filled

    def needed_for(self, parts: Iterable[Level], fee: Decimal) -> Decimal:
        """Return what these further parts need of what the order gives."""
        return EXACT.subtract(self.and_parts(parts, fee).given, self.given)

    def columns(self) -> dict[str, str]:
        """Return it as the columns of the order's row."""
        sums = {name: plain(getattr(self, name)) for name in ("filled", "value", "charge")}
        if (average := self.average) is not None:
            sums |= {"average": plain(average), "spent": plain(self.spent), "fee": plain(self.fee)}
        return sums
