"""Exact numbers: Decimal in, plain digits out, and JSON that loses none of them.

Nothing here depends on the program's decimal context: a program may work with three digits or with traps of its own,
and an amount still has all the digits it came with.
"""

from __future__ import annotations

import decimal
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import chain, repeat
from math import isfinite
from operator import not_
from typing import Any

from .errors import InvalidRequest

__all__ = [
    "EXACT",
    "ROUNDED",
    "above_zero",
    "advice",
    "decode",
    "exact",
    "mean",
    "not_above_zero",
    "parse_decimal",
    "parse_decimals",
    "parse_unsigned",
    "plain",
    "total",
]

#: Amounts have at most this many digits, and exponents of this size at most; a longer number only costs time.
MAX_DIGITS = 100

#: JSON is nested this deep at most.
MAX_DEPTH = 100
_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"

#: For sums and products of amounts: nothing is rounded silently, an inexact step raises decimal.Inexact.
EXACT = decimal.Context(
    prec=1000,
    traps=[decimal.Inexact, decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)

#: For the one step where a rounding is asked for by name: quantize(step, rounding, ROUNDED).
ROUNDED = decimal.Context(prec=1000, traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow])

_TOO_LONG = f"has more than {MAX_DIGITS} digits"
#: Digits and places that are within the bounds of MAX_DIGITS together.
_SHORT = MAX_DIGITS // 2
#: How much of a caller's text an error shows.
_SHOWN = 40

#: With marks between thousands, as "1,234,567.50"; and what makes such a number of "1.234.567,50".
_THOUSANDS = r"(?a)[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?"
_SWAPPED = str.maketrans(",.", ".,")

_NUMBER = r"(?a)[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?"
#: What nearly all amounts are: it needs no look at their digits.
_is_ordinary = re.compile(r"-?\d{1,40}(?:\.\d{1,40})?", re.ASCII).fullmatch


def exact(text: str) -> Decimal:
    """Return the number that `text` spells, with every digit.

    Raises ValueError for anything but a finite number of at most 100 digits.
    """
    if _is_ordinary(text):
        return Decimal(text)
    if len(text) > 2 * MAX_DIGITS or not re.fullmatch(_NUMBER, text):
        raise ValueError("not a decimal number")
    number = Decimal(text)
    if len(text) <= MAX_DIGITS and "e" not in text and "E" not in text:
        return number
    _, digits, exponent = number.as_tuple()
    if len(digits) > MAX_DIGITS or abs(int(exponent)) > MAX_DIGITS:
        raise ValueError(f"a number with more than {MAX_DIGITS} digits")
    return number


def parse_decimal(value: object) -> Decimal:
    """Return the amount in a decoded JSON document, a text or a number. Raises ValueError for anything else."""
    if type(value) is str:
        return Decimal(value) if _is_ordinary(value) else exact(value)
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("not a decimal number")  # noqa: TRY004 - callers catch one error for a bad document
    return Decimal(value)


def parse_decimals(values: Sequence[Any]) -> list[Decimal]:
    """Return the amounts in `values`, each as `parse_decimal` returns it. Raises its ValueError for the first bad one.

    Of digits, points and signs Decimal takes what `exact` takes, so that all texts together are looked at once.
    """
    try:
        digits = "".join(values).replace(".", "").replace("-", "")
        if digits.isdecimal() and digits.isascii() and max(map(len, values)) <= MAX_DIGITS:
            return list(map(Decimal, values, repeat(EXACT)))
    except (TypeError, decimal.InvalidOperation):
        pass  # One is no text, or none that is a number.
    return [parse_decimal(value) for value in values]


def plain(amount: Decimal | int | str, name: str = "amount") -> str:
    """Return `amount` in plain digits, never 1E-8.

    `name` is what the error calls it. Raises InvalidRequest for a float (its digits were lost before it came here),
    for NaN, infinity, text that is not a number, and numbers of more than 100 digits.
    """
    if isinstance(amount, Decimal) and amount.is_finite():
        text = str(amount)
        # A decimal context may ask for a small "e".
        if len(text) <= MAX_DIGITS and "E" not in text and "e" not in text:
            return text
        # Such a number is within the bounds, too: 1E-8, a satoshi.
        if len(text) <= _SHORT and abs(amount.adjusted()) <= _SHORT:
            return format(amount, "f")
    if isinstance(amount, float) and not isfinite(amount):
        raise InvalidRequest(f"{name} is the float {amount}; write digits, like '0.1'", code="invalid_amount")
    if isinstance(amount, float):
        raise InvalidRequest(
            f"{name} is the float {amount!r}, and a float is rarely the number one wrote; "
            f"pass Decimal('{amount!r}') or '{amount!r}'",
            code="invalid_amount",
        )
    if isinstance(amount, bool) or not isinstance(amount, (Decimal, int, str)):
        given = repr(amount) if amount is None or isinstance(amount, bool) else f"a {type(amount).__name__}"
        raise InvalidRequest(
            f"{name} is {given}; pass a Decimal, an int or decimal text, like '0.1'", code="invalid_amount"
        )
    try:
        number = _bounded(amount) if isinstance(amount, int) else exact(str(amount))
    except ValueError:
        given = _TOO_LONG if isinstance(amount, int) else advice(str(amount))
        raise InvalidRequest(f"{name} {given}", code="invalid_amount") from None
    return format(number, "f")


def above_zero(amount: Decimal | int | str, name: str) -> str:
    """Return `amount` in plain digits, as `plain` does. Raises InvalidRequest for zero and less, too."""
    text = plain(amount, name)
    # Not by `exact`: the number has come through its bounds, and may have more digits when none stands as an exponent.
    if (number := Decimal(text)) <= 0:
        raise InvalidRequest(f"{name} {not_above_zero(number, name)}", code="invalid_amount")
    return text


def not_above_zero(number: Decimal, name: str) -> str:
    """Return what is wrong with a number that is zero or less; it goes on after its `name`: amount, cost or price."""
    shown = format(number, "f")[:_SHOWN]
    if number < 0 and name != "price":
        return f"is {shown}; it must be above zero: whether you buy, sell or send is said by the call"
    return f"is {shown}; it must be above zero"


def advice(text: str) -> str:
    """Return what is wrong with `text`, which `exact` does not read, and what to write instead.

    It goes on after the name of the amount: 'is "0,1"; decimals have a point: write "0.1"'.
    """
    if not text:
        return "is empty; write digits, like 0.1"
    if len(text) > 2 * MAX_DIGITS or re.fullmatch(_NUMBER, text):
        return _TOO_LONG
    shown = f'"{text[:_SHOWN]}"' if text.isprintable() else ascii(text[:_SHOWN])
    marks = text.strip().replace("_", "")
    if re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", marks, re.ASCII):
        return f'is {shown}; write "{marks.replace(",", "")}", or "{marks.replace(",", ".")}" if the comma is a point'
    if re.fullmatch(_THOUSANDS, marks):
        wanted = marks.replace(",", "")
    elif re.fullmatch(_THOUSANDS, marks.translate(_SWAPPED)):
        wanted = marks.replace(".", "").replace(",", ".")
    else:
        wanted = marks.replace(",", ".")
    if re.fullmatch(_NUMBER, wanted) and len(wanted) <= _SHOWN:
        return f'is {shown}; an amount has digits and at most one point: write "{wanted}"'
    return f"is {shown}, which is no number in the digits 0 to 9; write it like 0.1"


def parse_unsigned(value: object) -> Decimal:
    """Return the amount in a decoded document. Raises ValueError when it is below zero, or no number."""
    amount = parse_decimal(value)
    if amount < 0:
        raise ValueError("a negative amount")
    return amount


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Return the exact sum."""
    result = Decimal(0)
    for amount in amounts:
        result = EXACT.add(result, amount)
    return result


def mean(cost: Decimal, amount: Decimal) -> Decimal | None:
    """Return the mean price of `amount` units that cost `cost`, to 28 digits; None for no units."""
    return decimal.Context(prec=28, rounding=decimal.ROUND_HALF_EVEN, traps=[]).divide(cost, amount) if amount else None


def _bounded(whole: int) -> Decimal:
    if abs(whole) >= 10**MAX_DIGITS:
        raise ValueError(f"a number with more than {MAX_DIGITS} digits")
    return Decimal(whole)


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS and len(digits.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"a number with more than {MAX_DIGITS} digits")
    return int(digits)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a JSON object names a key twice")
    return result


_NUMBERS: dict[str, Any] = {"parse_float": exact, "parse_int": _whole, "parse_constant": _refuse_constant}
_DECODER = json.JSONDecoder(**_NUMBERS, object_pairs_hook=_unique)
#: It takes 0.6 of the time (2026-11-28). Of a key named twice it keeps the last value, and does not say so.
_UNSURE_DECODER = json.JSONDecoder(**_NUMBERS)
#: From so many characters on that is worth the look which it needs.
_LONG = 4000


def decode(text: str) -> Any:
    """Return the JSON document `text`; fractions come as Decimal with all their digits, whole numbers as int.

    Raises ValueError for text that is not JSON, NaN and Infinity, a key named twice, numbers of more than 100 digits,
    nesting of more than 100 levels, and half a surrogate pair (text that could be neither sent nor printed).
    """
    if len(text) >= _LONG and (document := _decode_ordinary(text)) is not None:
        return document
    try:
        document = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and sum(1 for _ in _levels(document)) > MAX_DEPTH:
        raise ValueError(_TOO_DEEP)
    if "\\u" in text:
        _check_surrogates(document)
    return document


def _decode_ordinary(text: str) -> Any:
    """Return the JSON document `text`; None where something may be wrong with it."""
    try:
        document = _UNSURE_DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    # A search for one character takes a tenth of one for two (2026-11-28).
    has_escapes = "\\" in text
    if not _is_complete(document, text, has_escapes):
        return None
    if has_escapes and "\\u" in text:
        _check_surrogates(document)
    return document


def _is_complete(document: Any, text: str, has_escapes: bool) -> bool:
    """Return whether nothing of `text` is missing in its document, which is nested 100 levels deep at most.

    A container has an opening bracket in the text, and a comma before each item but the first. What was lost of a key
    named twice took its marks with it, so the text has more of them than the document; it also has those within texts.
    """
    left = _count_marks(text)
    for depth, level in enumerate(_levels(document), 1):
        if depth > MAX_DEPTH:
            return False
        left -= sum(map(len, level)) + sum(map(not_, level))
        if not left:
            return True
    # An escape may spell a mark, as \\u002c.
    return not left or (not has_escapes and left == sum(map(_count_marks, _texts(document))))


def _count_marks(text: str) -> int:
    """Return how many commas and opening brackets a text has."""
    # Half the time of three calls of `count` (2026-11-28).
    data = text.encode(errors="surrogatepass")
    return len(data) - len(data.translate(None, b",[{"))


def _levels(document: Any) -> Iterator[list[Any]]:
    """Return the containers of a document, level by level."""
    level = [item for item in (document,) if type(item) is dict or type(item) is list]
    while level:
        yield level
        level = [item for item in _items(level) if type(item) is dict or type(item) is list]


def _items(containers: list[Any]) -> Iterator[Any]:
    """Return what is in the containers: the values of objects, the items of lists."""
    return chain.from_iterable(each.values() if type(each) is dict else each for each in containers)


def _texts(document: Any) -> Iterator[str]:
    """Return the texts of a document and the names of its fields, joined level by level."""
    if isinstance(document, str):
        yield document
    for level in _levels(document):
        yield "".join(chain.from_iterable(each for each in level if type(each) is dict))
        yield "".join([item for item in _items(level) if type(item) is str])


def _check_surrogates(document: Any) -> None:
    """Raise ValueError when a text of the document, or the name of a field, holds half a surrogate pair."""
    try:
        for texts in _texts(document):
            texts.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half a surrogate pair") from None
