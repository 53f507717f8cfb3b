"""The classes of exchanges, made from those of ccxt on first use."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from ..base import Exchange, RateLimit
from ..capabilities import OPERATIONS
from ..errors import Refused
from .adapter import CcxtExchange
from .additions import ADDITIONS
from .client_ids import CLIENT_IDS
from .exactness import EXACT_OVERRIDES, check_exactness
from .form import form_of
from .instance import AMOUNT_IS_COUNTED, NONCE_COUNTERS, SILENT_LOGGER
from .order_lookup import LookupCalls
from .orders import HISTORIES
from .placing import SELLS_BY_COST, STOPS
from .rows import ReadableRows
from .session import SessionAdapter

__all__ = ["exchange_class"]

#: Verbs that ccxt's unified call does not really have. Kraken sends to names of its address book only; CoinSpot tells
#: no id of an order, so that it could neither be read nor canceled. Derive wants a highest fee with each order. Lighter
#: signs by a library that ccxt does not bring.
_MISSING = {
    "coinspot": {"place"},
    "derive": {"place"},
    "kraken": {"withdraw"},
    "lighter": {"place", "order", "open_orders", "cancel", "cancel_all", "fills", "withdraw"},
}

#: Calls that a class has although ccxt says that it has not.
_HAS_ALSO = {"cryptomus": {"createMarketOrder"}, "woo": {"createMarketOrder"}}
#: Calls that a class has not although ccxt says that it has.
_HAS_NOT = {"btcbox": {"createMarketOrder"}, "nado": {"createMarketOrder"}}
#: Classes that list the open orders of one market only.
_LISTS_ONE_MARKET = {
    *("bigone", "bit2c", "bitbank", "bitbns", "bitflyer", "bitrue", "bitso", "bittrade", "coinbaseinternational"),
    *("coinone", "deepcoin", "deribit", "latoken", "lbank", "mercado", "nado", "p2b", "phemex", "tokocrypto"),
    "zebpay",
}

#: A verb -> the unified calls that it needs, in ccxt's names; one set must be there.
_NEEDED_CALLS: dict[str, tuple[set[str], ...]] = {
    "rate": ({"fetchTicker"}, {"fetchOrderBook"}),
    "markets": ({"fetchMarkets"},),
    "order_book": ({"fetchOrderBook"},),
    "ticker": ({"fetchTicker"},),
    "candles": ({"fetchOHLCV"},),
    "trades": ({"fetchTrades"},),
    "fees": ({"fetchTradingFee"}, {"fetchTradingFees"}),
    "funds": ({"fetchBalance"},),
    "place": ({"createOrder"},),
    # Where there are open orders alone, an order that is none of them is told as closed.
    "order": ({"fetchOrder"}, {"fetchOpenOrders"}),
    "open_orders": ({"fetchOpenOrders"},),
    "cancel": ({"cancelOrder"},),
    "cancel_all": ({"fetchOpenOrders", "cancelAllOrders"}, {"fetchOpenOrders", "cancelOrder"}),
    "fills": ({"fetchMyTrades"},),
    "deposit_address": ({"fetchDepositAddress"},),
    "withdraw": ({"withdraw"},),
    "deposits": ({"fetchDeposits"},),
    "withdrawals": ({"fetchWithdrawals"},),
}

#: ccxt names the milliseconds between two calls at each exchange (`rateLimit`), and no burst. So many calls may come at
#: once before they are that far apart, so that an order and the reading of its outcome do not wait.
_BURST = 5


@cache
def exchange_class(id: str) -> type[Exchange]:
    """Return the class of the exchange `id`, as "ccxt:kraken", with the verbs that ccxt has for it.

    Raises KeyError for an id that ccxt does not know, and Refused: `unsupported` when ccxt is not installed or has no
    spot markets there, `inexact` when this class of ccxt loses digits.
    """
    prefix, _, name = id.partition(":")
    if prefix != "ccxt":
        raise KeyError(id)
    library = _import_ccxt()
    if name not in library.exchanges:
        raise KeyError(id)
    bases = (*ADDITIONS.get(name, ()), LookupCalls, ReadableRows, getattr(library, name))
    kind: Any = type(name, bases, dict(EXACT_OVERRIDES))
    sample = kind({"session": SessionAdapter(name, name, None), "logger": SILENT_LOGGER})
    if not sample.has.get("spot"):
        words = f"{sample.name} has no spot markets in ccxt, and nothing else is traded here"
        raise Refused(words, code="unsupported")
    check_exactness(library, sample)
    has = _calls_of(library, sample)
    supported = _supported(name, has)
    if sample.fees["trading"].get("taker") is not None:
        supported |= {"fees"}  # the published ones, which ccxt has of each market
    client_ids = CLIENT_IDS.get(name)
    facts = {
        "id": id,
        "name": f"{sample.name} (ccxt)",
        "description": f"{sample.name}, spot markets, through the library ccxt",
        "form": form_of(name, sample.requiredCredentials),
        "client_ids": client_ids,
        "order_lookup": "none" if client_ids is None else "all",
        "valid_seconds": 0.0 if client_ids is None else client_ids.valid_seconds,
        "reads_closed_orders": bool(has & {"fetchOrder", *HISTORIES}),
        "lists_one_market": name in _LISTS_ONE_MARKET,
        "order_conditions": frozenset({"stop"}) if name in STOPS else frozenset(),
        "sells_by_cost": name in SELLS_BY_COST and "createMarketSellOrderWithCost" in has,
        "ordered": name in NONCE_COUNTERS,
        "per_address": RateLimit(_BURST, 1000 / sample.rateLimit),
        "kind": kind,
        "has": frozenset(has),
    }
    # An operation that the exchange lacks is the one of Exchange again, which says so.
    lacking = {verb: getattr(Exchange, verb) for verb in OPERATIONS if verb not in supported}
    return type(f"Ccxt_{name}", (CcxtExchange,), {"__doc__": facts["description"], **facts, **lacking})


def _calls_of(library: Any, sample: Any) -> set[str]:
    """Return the unified calls, in ccxt's names, that the class of `sample` really has."""
    kind, name = type(sample), type(sample).__name__
    has = {call for call, implemented in sample.has.items() if implemented}
    if sample.has.get("fetchOHLCV") == "emulated":
        has -= {"fetchOHLCV"}  # ccxt makes candles of the latest trades, which may be too few
    if kind.fetch_order is library.Exchange.fetch_order:
        has -= {"fetchOrder"}
    has |= getattr(kind, "added", frozenset()) | _HAS_ALSO.get(name, set())
    has -= _HAS_NOT.get(name, set())
    if kind.create_market_sell_order_with_cost is library.Exchange.create_market_sell_order_with_cost:
        has -= {"createMarketSellOrderWithCost"}  # it passes the cost as the amount
    return has if _has_real_cost_call(library, sample) else has - {"createMarketBuyOrderWithCost"}


def _supported(name: str, has: set[str]) -> set[str]:
    """Return the operations of the exchange called `name` for which ccxt has the calls."""
    supported = {verb for verb, needs in _NEEDED_CALLS.items() if any(need <= has for need in needs)}
    supported -= _MISSING.get(name, set())
    if name in _LISTS_ONE_MARKET:
        supported -= {"cancel_all"}
    return supported | {"find"} if name in CLIENT_IDS else supported


def _has_real_cost_call(library: Any, sample: Any) -> bool:
    """Return whether ccxt's class buys for a cost.

    The inherited call passes the cost as the amount, at a price of 1: an order for so many units of the asset, unless
    the class takes amount times price for the cost (seen: not Backpack's).
    """
    inherited = type(sample).create_market_buy_order_with_cost is library.Exchange.create_market_buy_order_with_cost
    return not inherited or sample.options.get(AMOUNT_IS_COUNTED) is True


def _import_ccxt() -> Any:
    """Return the library. Raises Refused with what to install."""
    try:
        return importlib.import_module("ccxt")
    except ImportError:
        raise Refused(
            "exchanges of ccxt need that library on the server; in a clone of bitmm: pip install '.[ccxt]'",
            code="unsupported",
        ) from None
