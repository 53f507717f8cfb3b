"""The exchanges an XWrap knows, each loaded on first use."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Exchange

#: id -> module:class
EXCHANGES = {
    "paper": "bitmm.xwrap.exchanges.paper:Paper",
    "kraken": "bitmm.xwrap.exchanges.kraken:Kraken",
    "bitstamp": "bitmm.xwrap.exchanges.bitstamp:Bitstamp",
    "backpack": "bitmm.xwrap.exchanges.backpack:Backpack",
    "mtgox": "bitmm.xwrap.exchanges.historic.mtgox:MtGox",
    "hub": "bitmm.xwrap.exchanges.historic.hub:Hub",
}

#: Exchanges that are asked for and are closed for good: the letters of its name -> what became of it.
DEAD = {
    "btce": "BTC-e was seized in July 2017 and is dead",
    "wex": "WEX, the former BTC-e, collapsed in 2018 and is dead",
    "vircurex": "Vircurex froze its balances in March 2014 and is dead",
}


def load(id: str) -> type[Exchange]:
    """Return the class of the exchange `id`, one of the table or "ccxt:ID". Raises KeyError for an unknown id.

    With "ccxt:ID" it also raises Refused, when ccxt is not installed or loses digits there.
    """
    if id.startswith("ccxt:"):
        from .ccxt import exchange_class

        return exchange_class(id)
    module, _, name = EXCHANGES[id].partition(":")
    exchange: type[Exchange] = getattr(import_module(module), name)
    return exchange


def ccxt_ids() -> list[str]:
    """Return the ids, as "ccxt:kraken", for which the installed ccxt has a class; none without ccxt.

    ccxt is not imported for that, which takes a third of a second: it has one module for each exchange.
    """
    library = find_spec("ccxt")
    folders = None if library is None else library.submodule_search_locations
    return [f"ccxt:{module.name}" for module in iter_modules(folders or []) if not module.ispkg]
