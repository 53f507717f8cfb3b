"""The recorded prices as a source: one market, whose price is another one each minute, with any amount at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from ..errors import Refused
from ..models import Level
from .ledger import PaperConfig
from .looks import Look
from .matching import ASSET, CENT, CURRENCY, MARKET

__all__ = ["RecordedPrices", "check_pair"]

#: Whoever trades on paper gets any amount at one price: more than the bitcoins that there will ever be.
_OFFERED = Decimal(21_000_000)


@dataclass(frozen=True, slots=True)
class RecordedPrices:
    """The looks at the recorded prices of a configuration, by its clock; see `looks.LookSource`."""

    config: PaperConfig
    #: Minutes are looked at.
    seconds: float = 60.0

    def look(self, currency: str, asset: str) -> Look:
        """Return the market in this minute. Raises Refused for any other pair than the recorded one."""
        check_pair(currency, asset)
        return self.look_at(self.config.minute())

    def looks_since(self, currency: str, asset: str, minute: int) -> Iterator[Look]:
        """Return the market in each minute after `minute`, this one included; after a round of prices each was seen."""
        if (currency, asset) != (CURRENCY, ASSET):
            return
        now = self.config.minute()
        for passed in range(max(minute, now - self.config.prices.period) + 1, now + 1):
            yield self.look_at(passed)

    def pause(self, currency: str, asset: str) -> str | None:
        """Return why an order waits that was placed when paper had other prices."""
        if (currency, asset) == (CURRENCY, ASSET):
            return None
        return f"the recorded prices, at which paper trades now, have no market {asset}/{currency}; it waits"

    def look_at(self, minute: int) -> Look:
        """Return the market in a minute (since 1970)."""
        quote = self.config.prices.quote(minute)
        return Look(minute * 60, MARKET, _offer(quote.bid), _offer(quote.ask), CENT)


@lru_cache(maxsize=10_000)
def _offer(price: Decimal) -> tuple[Level, ...]:
    """Return all that is offered on a side at a price; the looks of many minutes share it."""
    return ((price, _OFFERED),)


def check_pair(currency: str, asset: str) -> None:
    """Raise Refused for any other pair than the one of the recorded prices."""
    field = "asset" if currency == CURRENCY else "currency"
    if (currency, asset) != (CURRENCY, ASSET):
        way = (
            f": the currency is {CURRENCY}, and the asset is {ASSET}" if (asset, currency) == (CURRENCY, ASSET) else ""
        )
        raise Refused(
            f"the paper exchange trades {ASSET} for {CURRENCY}, not '{asset}' for '{currency}'{way}",
            code="unknown_market",
            details={"field": field},
        )
