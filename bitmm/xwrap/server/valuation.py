"""What an account's balances are worth now, in one currency: nothing is guessed, and what has no price is named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ..exchanges.base import Exchange
from ..exchanges.errors import Busy, Refused, Unsupported
from ..money import EXACT, mean, total
from .market_reads import read_rate

__all__ = ["Valuation", "sum_of", "value_of"]

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Valuation:
    """The `total` in the currency, and the amounts that it does not have, by name: no market here prices them."""

    total: Decimal
    not_priced: Mapping[str, Decimal]


def value_of(exchange: Exchange, currency: str) -> Valuation:
    """Return what the balances at an exchange would bring there now, without fees. Raises an ExchangeError.

    An asset counts what its market with the currency pays for it. Where only the other direction is traded (EUR counted
    in BTC, with a market for BTC in EUR), its amount is divided by what the currency costs there, to 28 digits.
    """
    currency = exchange.common_asset(currency)
    pairs = _pairs(exchange)
    values, not_priced = [], {}
    for name, amount in exchange.balance().items():
        value = amount if name == currency or not amount else _value(exchange, pairs, currency, name, amount)
        if value is None:
            not_priced[name] = amount
        else:
            values.append(value)
    return Valuation(total(values), not_priced)


def sum_of(valuations: Iterable[Valuation]) -> Valuation:
    """Return what several exchanges have together."""
    valuations = list(valuations)
    not_priced: dict[str, Decimal] = {}
    for each in valuations:
        for name, amount in each.not_priced.items():
            not_priced[name] = EXACT.add(not_priced.get(name, _ZERO), amount)
    return Valuation(total(each.total for each in valuations), not_priced)


def _pairs(exchange: Exchange) -> set[tuple[str, str]] | None:
    """Return the pairs (currency, asset) that an exchange lists; None where it has no list."""
    try:
        return {(market.currency, market.asset) for market in exchange.markets()}
    except Unsupported:
        return None


def _value(
    exchange: Exchange, pairs: set[tuple[str, str]] | None, currency: str, name: str, amount: Decimal
) -> Decimal | None:
    """Return what `amount` units of `name` are worth; None where it has no price now."""
    try:
        if pairs is None or (currency, name) in pairs:
            return EXACT.multiply(amount, read_rate(exchange, currency, name).sell)
        if (name, currency) in pairs:
            return mean(amount, read_rate(exchange, name, currency).buy)
    except Busy:
        raise
    except Refused:
        return None
    return None
