"""Which exchange a caller means: its id, however it is written, or why it is not here and what to do."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches

from ..exchanges import DEAD, EXCHANGES, ccxt_ids, load
from .problems import Problem

__all__ = ["find_exchange", "nearest_names", "no_such_exchange"]

#: Names that an exchange had -> what it is called today.
_FORMER_NAMES = {"bitcoincentral": "paymium", "bitcoincentralnet": "paymium"}
#: Of so many exchanges at most the names are listed.
_MOST_LISTED = 12
#: A longer name is compared with none: that would take time, and it is no mistyped one.
_MAX_NAME = 40


def find_exchange(name: str, offered: Collection[str]) -> str:
    """Return the id among those `offered` that is written `name`, in any case, with or without its marks.

    Raises Problem 422: `exchange_dead`, or `unknown_exchange` with the way to it or the nearest names.
    """
    if name in offered:
        return name
    found = [id for id in offered if _letters(id) == _letters(name)]
    if len(found) != 1:
        raise no_such_exchange(name, offered)
    return found[0]


def no_such_exchange(name: str, offered: Collection[str]) -> Problem:
    """Return the problem of an exchange that is not `offered`."""
    letters = _letters(name)
    reason = {_letters(id): reason for id, reason in DEAD.items()}.get(letters)
    if reason is not None:
        return Problem(422, "exchange_dead", f"{reason}; it cannot be offered", field="exchange")
    detail = f"{_way_to(letters, offered) or nearest_names(name, offered)}; offered are {_listed(offered)}"
    return Problem(422, "unknown_exchange", detail, field="exchange")


def _way_to(letters: str, offered: Collection[str]) -> str | None:
    """Return how the exchange with this name can be had; None when no exchange is called so."""
    if letters in _FORMER_NAMES:
        today = _FORMER_NAMES[letters]
        return f"{today} is what this exchange is called today, and {_way_to(today, offered)}"
    for id in offered:
        if letters in (_letters(id), _letters(id.removeprefix("ccxt:"))):
            return f"it is offered here as '{id}'"
    adapters = {_letters(id): id for id in EXCHANGES}
    # Paymium is spoken to through ccxt also where ccxt is not installed yet.
    bridged = {_letters(id.removeprefix("ccxt:")): id for id in ["ccxt:paymium", *ccxt_ids()]}
    if letters in adapters:
        id = adapters[letters]
    elif letters.removeprefix("ccxt:") in bridged:
        id = bridged[letters.removeprefix("ccxt:")]
    else:
        return None
    others = list(offered) if len(offered) <= _MOST_LISTED else ["..."]
    way = f"XWRAP_EXCHANGES={','.join([*others, id])}"
    if id in EXCHANGES and load(id).requires_url:
        way += f" and where it is, XWRAP_EXCHANGE_URL_{id.upper()}"
    if id not in EXCHANGES and not ccxt_ids():
        way += " and the library ccxt (in a clone of bitmm: pip install '.[ccxt]')"
    return f"this server does not offer '{id}'; its administrator can, by the setting {way}"


def nearest_names(name: str, offered: Iterable[str]) -> str:
    """Return that no exchange has this name, and which names that are known or `offered` are near to it."""
    known = {_letters(id): id for id in (*ccxt_ids(), *EXCHANGES, *offered)}
    # A name of ccxt's without the prefix is near to the one with it.
    known |= {_letters(id.removeprefix("ccxt:")): id for id in ccxt_ids() if id.removeprefix("ccxt:") not in EXCHANGES}
    near = get_close_matches(_letters(name), known, n=2, cutoff=0.75) if len(name) <= _MAX_NAME else []
    meant = f" (did you mean {' or '.join(repr(known[letters]) for letters in near)}?)" if near else ""
    shown = f"'{name[:_MAX_NAME]}'" if name.isprintable() else "of this name"
    return f"no exchange {shown} here{meant}"


def _listed(ids: Collection[str]) -> str:
    more = len(ids) - _MOST_LISTED
    return ", ".join(list(ids)[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _letters(name: str) -> str:
    """Return what tells one exchange's name from another's: its letters and digits, and the colon after "ccxt"."""
    return re.sub(r"[^\w:]|_", "", name).casefold()
