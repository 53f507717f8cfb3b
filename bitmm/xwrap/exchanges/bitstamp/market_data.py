"""The verbs of Bitstamp's markets: prices, offers, trades and fees."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

from ...money import parse_decimal
from ..base import Exchange, ExchangeContext
from ..http import parsing_errors
from ..models import Market, Rate
from ..orders import cost_of
from ..parsing import optional_time
from ..rules import find_market, no_rate
from .api import URL, BitstampAPI
from .parsing import market_symbol, markets_from_rows

__all__ = ["BitstampMarkets"]


class BitstampMarkets(Exchange):
    """Bitstamp's API, and what it tells about its markets."""

    def __init__(self, context: ExchangeContext) -> None:
        super().__init__(context)
        keys = context.credentials
        self.api = BitstampAPI(
            keys.apikey, keys.apisecret, url=context.url or URL, transport=context.transport, throttle=context.throttle
        )

    def rate(self, currency: str, asset: str) -> Rate:
        find_market(self.name, currency, asset, self._markets())  # an invented pair costs no call
        ticker = self.api.public(f"ticker/{market_symbol(currency, asset)}")
        with parsing_errors(self.name):
            buy, sell = parse_decimal(ticker["ask"]), parse_decimal(ticker["bid"])
            if not 0 < sell <= buy:
                raise no_rate(self.name, currency, asset)
            return Rate(buy=buy, sell=sell, time=optional_time(ticker.get("timestamp")) or datetime.now(UTC))

    def market_cost(self, currency: str, asset: str, amount: Decimal) -> Decimal:
        book = self.api.public(f"order_book/{market_symbol(currency, asset)}")
        with parsing_errors(self.name):
            return cost_of(self.name, amount, book["asks"], unit=asset)

    def markets(self) -> list[Market]:
        return [market for market in self._markets().values() if market is not None]

    def _markets(self) -> Mapping[tuple[str, str], Market | None]:
        """Return the spot markets by (currency, asset); None for one that is not open now."""
        return self._cached("markets", partial(self.api.public, "markets"), partial(markets_from_rows, self.name))
