"""Text for a terminal: made harmless where it came from elsewhere, amounts in plain digits, the nearest names."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from difflib import get_close_matches

__all__ = ["did_you_mean", "in_plain", "printable"]

#: How much of a caller's text an error shows.
_SHOWN = 40


def printable(text: str) -> str:
    """Return `text` with every character escaped that a terminal would act on, or that would turn other text around."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def in_plain(value: object) -> str:
    """Return a value of the client's as text: amounts in all their digits, nothing for what is not known."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))


def did_you_mean(what: str, name: str, known: Iterable[str]) -> str:
    """Return the words for a name that is not among the `known` ones, with the nearest of them."""
    spelled = {each.casefold(): each for each in known}
    near = [spelled[each] for each in get_close_matches(name.casefold(), spelled, 2)]
    meant = f" (did you mean {' or '.join(repr(each) for each in near)}?)" if near else ""
    return f"there is no {what} '{name[:_SHOWN]}'{meant}"
