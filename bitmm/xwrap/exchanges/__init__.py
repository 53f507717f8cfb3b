"""The exchanges an XWrap knows, each loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Exchange

#: id -> module:class
EXCHANGES = {
    "paper": "bitmm.xwrap.exchanges.paper:Paper",
}


def load(id: str) -> type[Exchange]:
    """The class of the exchange `id`. Raises KeyError for an exchange that is not in the table."""
    module, _, name = EXCHANGES[id].partition(":")
    exchange: type[Exchange] = getattr(import_module(module), name)
    return exchange
