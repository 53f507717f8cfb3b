"""Which exchange supports which operation: the table of the README and of `xwrap exchanges`, made from the classes."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Exchange
from .conditions import offered_in_words

__all__ = ["OPERATIONS", "lines", "supports"]

#: The verbs of an exchange, in the order of the table.
OPERATIONS = (
    "rate",
    "order_book",
    "ticker",
    "candles",
    "trades",
    "fees",
    "markets",
    "funds",
    "place",
    "order",
    "find",
    "open_orders",
    "amend",
    "cancel",
    "cancel_all",
    "deadman",
    "fills",
    "fills_page",
    "deposit_address",
    "withdraw",
    "find_withdrawal",
    "transfer",
    "deposits",
    "deposits_page",
    "withdrawals",
    "ledger_page",
    "permissions",
)
_LIFECYCLES = {"open": "open", "closed": "closed, for replicas", "paper": "no real money"}


def lines(kinds: Sequence[type[Exchange]]) -> list[str]:
    """Return the lines of a table in Markdown, which reads well on a terminal too: an exchange a column."""
    rows = [["", *(f"`{kind.id}`" for kind in kinds)]]
    rows.append(["", *(kind.name for kind in kinds)])
    rows.append(["", *(_LIFECYCLES[kind.lifecycle] for kind in kinds)])
    verbs = {kind.id: set(supports(kind)) for kind in kinds}
    rows += [[verb.replace("_", " "), *(_cell(verb, kind, verbs[kind.id]) for kind in kinds)] for verb in OPERATIONS]
    kinds_of_orders = {
        "many at once": _many_at_once,
        "post-only orders": _post_only,
        "time in force": _times_in_force,
        "stop orders": _stops,
        "sells for a cost": lambda kind: "yes" if kind.sells_by_cost else "-",
    }
    rows += [[title, *map(cell, kinds)] for title, cell in kinds_of_orders.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(kinds) + 1)]
    rows.insert(1, ["-" * width for width in widths])
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]


def _many_at_once(kind: type[Exchange]) -> str:
    return "-" if kind.place_many is Exchange.place_many else "yes"


def _post_only(kind: type[Exchange]) -> str:
    return "yes" if "post_only" in kind.order_conditions else "-"


def _stops(kind: type[Exchange]) -> str:
    return "yes" if "stop" in kind.order_conditions else "-"


def _times_in_force(kind: type[Exchange]) -> str:
    return offered_in_words(kind.order_conditions - {"post_only"}) or "-"


def _cell(verb: str, kind: type[Exchange], supported: set[str]) -> str:
    if verb == "order" and verb in supported and not kind.reads_closed_orders:
        return "open ones"
    return "yes" if verb in supported else "-"


def supports(exchange: type[Exchange]) -> list[str]:
    """Return the verbs that an exchange's class has, in the order of `OPERATIONS`."""
    return [verb for verb in OPERATIONS if getattr(exchange, verb) is not getattr(Exchange, verb)]
