"""The rules of markets and assets: what is checked before an order leaves, and the refusals. Nothing is rounded."""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from ..money import EXACT, plain
from .errors import NoOffers, Refused
from .models import Market, NewOrder

__all__ = [
    "check",
    "find_market",
    "history_unavailable",
    "market_closed",
    "network_required",
    "no_rate",
    "no_such_asset",
    "no_such_interval",
    "no_such_market",
    "not_enough",
]

_M = TypeVar("_M")

#: So many names at most are listed in a refusal.
_MOST_LISTED = 20


def find_market(name: str, currency: str, asset: str, offered: Mapping[tuple[str, str], _M]) -> _M:
    """Return the market of this pair among those `offered` by the exchange called `name`, by (currency, asset).

    Raises Refused `unknown_market`, which says what is offered instead.
    """
    try:
        return offered[currency, asset]
    except KeyError:
        raise no_such_market(name, currency, asset, offered) from None


def no_such_market(name: str, currency: str, asset: str, offered: Iterable[tuple[str, str]]) -> Refused:
    """Return the refusal of a pair that is not among `offered` (currency, asset); it says what is offered instead."""
    instead = traded_instead(currency, asset, offered, "there")
    return Refused(f"{name} has no market {asset}/{currency}; {instead}", code="unknown_market")


def no_such_interval(name: str, interval: str, offered: Iterable[str]) -> Refused:
    """Return the refusal of candles of an `interval` that is not among those `offered`."""
    return Refused(
        f"{name} has no candles of '{interval}'; it has {', '.join(offered)}",
        code="unknown_interval",
        details={"field": "interval"},
    )


def history_unavailable(name: str, interval: str, earliest: datetime) -> Refused:
    """Return the refusal of candles from before the `earliest` one that the exchange keeps of this interval."""
    return Refused(
        f"{name} keeps candles of {interval} from {earliest:%Y-%m-%d %H:%M} UTC on; ask for those since then, or for"
        " longer ones",
        code="history_unavailable",
        details={"field": "since"},
    )


def traded_instead(currency: str, asset: str, offered: Iterable[tuple[str, str]], where: str) -> str:
    """Return what is traded among `offered` (currency, asset) that is nearest to this pair, in bounded words."""
    pairs = set(offered)
    if (asset, currency) in pairs:
        return f"{currency} is traded {where} in {asset}: the currency is {asset}, and the asset is {currency}"
    if currencies := {money for money, thing in pairs if thing == asset}:
        return f"{asset} is traded {where} in {_listed(currencies)}"
    if assets := {thing for money, thing in pairs if money == currency}:
        return f"{asset} is not traded {where}; in {currency} there are {_listed(assets)}"
    if pairs:
        return f"{asset} is not traded {where}; there are {_listed(f'{thing}/{money}' for money, thing in pairs)}"
    return f"{asset} is not traded {where}"


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - _MOST_LISTED
    return ", ".join(ordered[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def no_rate(name: str, currency: str, asset: str) -> NoOffers:
    """Return the refusal of a rate at an exchange, called `name`, where one side of the order book is empty."""
    words = f"{name} has no buyer or no seller for {asset}/{currency} now; try again later"
    return NoOffers(words)


def market_closed(name: str, currency: str, asset: str) -> Refused:
    """Return the refusal of an order in a market that the exchange called `name` lists, and that takes none now."""
    words = f"{name} takes no new orders for {asset}/{currency} now; try again later"
    return Refused(words, code="exchange_unavailable", retryable=True)


def no_such_asset(name: str, asset: str) -> Refused:
    """Return the refusal of an asset that the exchange called `name` does not list."""
    return Refused(f"{name} does not list {asset}; markets() names what it trades", code="unknown_asset")


def network_required(asset: str, networks: Iterable[str]) -> Refused:
    """Return the refusal of a transfer that could take several `networks`; the words name them."""
    return Refused(f"name the network for {asset}: {', '.join(networks)}"[:300], code="network_required")


def not_enough(name: str, *, needed: Decimal, available: Decimal) -> Refused:
    """Return the refusal of an order or a send that is not covered, of the currency or asset `name`."""
    return Refused(
        f"not enough {name}: {plain(needed)} needed, {plain(available)} available", code="insufficient_funds"
    )


def check(order: NewOrder, market: Market) -> None:
    """Raise Refused for an order that makes no sense or breaks the rules of its market; nothing is rounded.

    The refusal's `details`: the `field`, its `value`, the `rule` (amount_step, price_step, amount_min or cost_min), the
    rule's `limit` and the `nearest` allowed value; the code is the rule's name.
    """
    if (order.amount is None) == (order.cost is None):
        given = "neither is" if order.amount is None else "both are"
        raise Refused(f"an order has either an amount or a cost; {given} given", code="invalid_amount")
    if order.cost is not None and order.price is not None:
        words = "a cost is for market orders only, and this is an order with a price; give the amount"
        raise Refused(words, code="unsupported")
    for name, rule, value, step in (
        ("amount", "amount_step", order.amount, market.amount_step),
        ("price", "price_step", order.price, market.price_step),
        ("stop", "price_step", order.stop, market.price_step),
    ):
        if value is not None and step and _WIDE.remainder(value, step):
            nearest = _WIDE.multiply(_WIDE.quantize(_WIDE.divide(value, step), Decimal(1)), step) or step
            raise _broken(name, value, rule, step, nearest, "is no multiple of")
    cost = order.cost
    if order.amount is not None and order.price is not None:
        cost = EXACT.multiply(order.amount, order.price)
    for name, rule, value, least in (
        ("amount", "amount_min", order.amount, market.amount_min),
        ("cost", "cost_min", cost, market.cost_min),
    ):
        if value is not None and least is not None and value < least:
            raise _broken(name, value, rule, least, least, "is less than")


#: For finding the nearest allowed value; what is sent is never rounded.
_WIDE = decimal.Context(prec=250, traps=[])


def _broken(name: str, value: Decimal, rule: str, limit: Decimal, nearest: Decimal, relation: str) -> Refused:
    return Refused(
        f"the {name} {plain(value)} {relation} {plain(limit)}; the nearest allowed is {plain(nearest)}",
        code=rule,
        details={
            "field": name,
            "value": plain(value),
            "rule": rule,
            "limit": plain(limit),
            "nearest": plain(nearest),
        },
    )
