"""Prices as texts that sort as the prices do, so that an index finds the orders which a price reaches."""

from __future__ import annotations

from decimal import Decimal

__all__ = ["price_key"]

#: Makes the exponents of all prices numbers of three digits: they have at most 100 digits, and exponents of that size.
_OFFSET = 500


def price_key(price: Decimal) -> str:
    """Return the exponent and the digits of a price that is not negative, as "50310250" for 1025.0.

    There are digits alone in it, which every data base sorts alike whatever its language.
    """
    if not price:
        return ""
    digits = "".join(map(str, price.as_tuple().digits))
    return f"{price.adjusted() + _OFFSET}{digits.rstrip('0')}"
