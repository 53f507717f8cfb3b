"""The rates of all exchanges at once, for which nobody needs an account."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import _arguments as arguments
from . import _parsing as parsing
from ._connected import Connected
from ._following import RateChanges

if TYPE_CHECKING:
    from .types import Amount, ExchangeRate, Side

__all__ = ["RateCalls"]


class RateCalls(Connected):
    """What an XWrap asks its server about rates."""

    def exchange_rates(
        self, currency: str, asset: str, *, amount: Amount | None = None, side: Side = "buy"
    ) -> list[ExchangeRate]:
        """Return the prices of one unit of `asset` in `currency`, a row for every exchange that answered in time.

        `amount`: the best exchange for an order of so many units comes first, by what is offered there and the
        published fees; with `side` "sell" by what it would bring. Each row then has the `total`, or a `reason`.
        """
        query, parse = arguments.pair_query(currency, asset), parsing.exchange_rates
        if amount is not None:
            query |= arguments.size_query(side, amount=amount)
            parse = parsing.ranked_rates
        return self._api.get(f"/exchange_rates/?{arguments.encode(query)}", parse)

    def follow_rates(self, currency: str, asset: str, *, timeout: float | None = None) -> Iterator[ExchangeRate]:
        """Return an iterator that gives the rate at each exchange as in `exchange_rates`, and then each that changes.

        It ends when none changed for `timeout` seconds, and may be gone on with then; without, it never ends. A rate
        that changes again before it is read is given once, as it is then. Lost connections and a server that starts
        again are waited for; whatever else fails is raised. The server asks each exchange once for all who wait, as
        often as it does for `exchange_rates`, every 10 seconds.
        """
        seconds = None if timeout is None else arguments.check_timeout(timeout)
        return RateChanges(self._api, "/exchange_rates/", arguments.pair_query(currency, asset), seconds)
