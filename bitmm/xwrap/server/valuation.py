"""What is owned, counted in one currency: what it brings now, and by name what has no price."""

from __future__ import annotations

import decimal
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ..exchanges.base import Exchange
from ..exchanges.errors import NoOffers, Refused, Unsupported
from ..exchanges.models import Funds, Rate
from ..money import EXACT, total
from .market_reads import read_rate

__all__ = ["Price", "Valuation", "add_up", "appraise", "read_valuation", "value_funds"]

#: The codes by which an exchange says that it has no such market.
_NOT_TRADED = {"unknown_market", "unknown_asset"}
#: For what is divided by a price, which has no end in most cases.
_QUOTIENT = decimal.Context(prec=28, rounding=decimal.ROUND_HALF_EVEN, traps=[decimal.InvalidOperation])

#: How much there is of each currency or asset; None: the exchange did not say it in a way that is understood.
Amounts = Mapping[str, Decimal | None]


@dataclass(frozen=True, slots=True)
class Price:
    """What one asset is counted at. `inverse`: the rate is that of the wanted currency, paid for with the asset."""

    rate: Rate
    inverse: bool = False

    def value(self, amount: Decimal) -> Decimal:
        """Return what `amount` units bring, exactly, or to 28 digits where a price divides them.

        What is owed, an amount below zero, counts what it costs to get.
        """
        owed = amount < 0
        if self.inverse:
            return _QUOTIENT.divide(amount, self.rate.sell if owed else self.rate.buy)
        return EXACT.multiply(amount, self.rate.buy if owed else self.rate.sell)


@dataclass(frozen=True, slots=True)
class Valuation:
    """What amounts are worth together: the `total` of those that have a price, and the others, `not_priced`."""

    total: Decimal
    not_priced: dict[str, Decimal | None]


def appraise(amounts: Amounts, currency: str, prices: Mapping[str, Price]) -> Valuation:
    """Return what `amounts` are worth in `currency`, which has the price 1. The sum is exact; nothing is guessed."""
    values: list[Decimal] = []
    not_priced: dict[str, Decimal | None] = {}
    for name, amount in amounts.items():
        if amount is None:
            not_priced[name] = None
        elif name == currency:
            values.append(amount)
        elif name in prices:
            values.append(prices[name].value(amount))
        elif amount:
            not_priced[name] = amount
    return Valuation(total(values), not_priced)


def add_up(parts: Iterable[Valuation]) -> Valuation:
    """Return the sum of valuations in the same currency. An amount that is not known in one of them is not in it."""
    parts = list(parts)
    not_priced: dict[str, Decimal | None] = {}
    for part in parts:
        for name, amount in part.not_priced.items():
            before = not_priced.get(name, Decimal(0))
            not_priced[name] = None if before is None or amount is None else EXACT.add(before, amount)
    return Valuation(total(part.total for part in parts), not_priced)


def read_valuation(exchange: Exchange, currency: str) -> Valuation:
    """Return what is owned at an exchange, open orders included, in `currency`, by its own prices of now.

    An asset without a market, or without a buyer, is not priced. Raises an ExchangeError when the exchange does not
    answer, or its rate limits leave no time for all prices: a total without what could have been priced would be wrong.
    """
    return value_funds(exchange, currency, exchange.funds())


def value_funds(exchange: Exchange, currency: str, owned: Mapping[str, Funds]) -> Valuation:
    """Return what is `owned` at an exchange, which it just said, in `currency`; as `read_valuation` does."""
    currency = exchange.common_asset(currency)
    amounts = {name: funds.total for name, funds in owned.items()}
    needed = [name for name, amount in amounts.items() if amount and name != currency]
    prices = {}
    if needed:
        pairs = _listed_pairs(exchange)
        found = {name: _read_price(exchange, currency, name, pairs) for name in needed}
        prices = {name: price for name, price in found.items() if price is not None}
    return appraise(amounts, currency, prices)


def _listed_pairs(exchange: Exchange) -> Collection[tuple[str, str]] | None:
    """Return the pairs (currency, asset) of an exchange; None: it lists none, and is asked for each."""
    try:
        return {(market.currency, market.asset) for market in exchange.markets()}
    except Unsupported:
        return None


def _read_price(
    exchange: Exchange, currency: str, name: str, pairs: Collection[tuple[str, str]] | None
) -> Price | None:
    """Return the price of what is called `name`; None: there is none."""
    for pair, inverse in (((currency, name), False), ((name, currency), True)):
        if pairs is not None and pair not in pairs:
            continue
        try:
            return Price(read_rate(exchange, *pair), inverse)
        except NoOffers:
            return None
        except Refused as error:
            if error.retryable:
                raise
            if error.code not in _NOT_TRADED:
                return None
    return None
