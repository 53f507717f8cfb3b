"""The verbs of Kraken's markets: prices, offers, trades and fees."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from ...money import EXACT, parse_decimal
from ..http import parsing_errors
from ..models import Estimate, Market, NewOrder, Rate
from ..orders import cost_of
from ..rules import find_market, no_rate
from .listings import KrakenListings
from .parsing import only_entry

__all__ = ["KrakenMarketData"]

#: The most prices of a side that Kraken lists ("Get Order Book", count).
_MOST_LEVELS = 500


class KrakenMarketData(KrakenListings):
    """What Kraken tells about its markets."""

    def rate(self, currency: str, asset: str) -> Rate:
        pair = find_market(self.name, currency, asset, self._pairs().listed())
        rows = self.api.public("Ticker", {"pair": pair.key})
        with parsing_errors(self.name):
            row = only_entry(rows)
            buy, sell = parse_decimal(row["a"][0]), parse_decimal(row["b"][0])
            if not buy >= sell > 0:
                raise no_rate(self.name, currency, asset)
        return Rate(buy, sell, datetime.now(UTC))

    def markets(self) -> list[Market]:
        return [pair.market for pair in self._pairs().open_ones().values()]

    def estimate(self, order: NewOrder) -> Estimate:
        """Return what the order would cost, with the fee of one executed at once by an account without a volume."""
        estimate = super().estimate(order)
        percent = self._find_open_pair(order.currency, order.asset).fee_percent
        if percent is None or estimate.spent is None:
            return estimate
        fee = EXACT.multiply(EXACT.multiply(estimate.spent, percent), Decimal("0.01"))
        return replace(estimate, fee=fee, fee_currency=order.currency)

    def market_cost(self, currency: str, asset: str, amount: Decimal) -> Decimal:
        pair = self._find_open_pair(currency, asset)
        books = self.api.public("Depth", {"pair": pair.key, "count": _MOST_LEVELS})
        with parsing_errors(self.name):
            return cost_of(self.name, amount, only_entry(books)["asks"], unit=asset)
