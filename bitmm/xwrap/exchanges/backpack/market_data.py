"""The verbs of Backpack's markets: prices, offers, trades and fees."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from ..._names import name_among, pair_among
from ...money import parse_decimal
from ..base import Exchange, ExchangeContext
from ..http import parsing_errors
from ..models import Market, Rate
from ..orders import cost_of
from ..parsing import optional_time
from ..rules import find_market, no_rate
from .api import URL, BackpackAPI
from .parsing import market_symbol, markets_from_rows, tokens_from_rows

__all__ = ["BackpackMarkets"]


class BackpackMarkets(Exchange):
    """Backpack's API, and what it tells about its markets."""

    def __init__(self, context: ExchangeContext) -> None:
        super().__init__(context)
        keys = context.credentials
        self.api = BackpackAPI(
            keys.apikey, keys.apisecret, url=context.url or URL, transport=context.transport, throttle=context.throttle
        )

    def common_pair(self, currency: str, asset: str) -> tuple[str, str]:
        return pair_among(currency, asset, self._markets())

    def common_asset(self, asset: str) -> str:
        return name_among(asset, self._assets())

    def rate(self, currency: str, asset: str) -> Rate:
        find_market(self.name, currency, asset, self._markets())  # an invented pair costs no call
        book = self.api.depth(market_symbol(currency, asset), limit=5)
        with parsing_errors(self.name):
            asks = [parse_decimal(level[0]) for level in book["asks"] or ()]
            bids = [parse_decimal(level[0]) for level in book["bids"] or ()]
            # Both sides ascend in the documentation's examples; nothing promises it, so position says nothing.
            if not asks or not bids or not 0 < max(bids) <= min(asks):
                raise no_rate(self.name, currency, asset)
            time = optional_time(book.get("timestamp")) or datetime.now(UTC)
            return Rate(buy=min(asks), sell=max(bids), time=time)

    def market_cost(self, currency: str, asset: str, amount: Decimal) -> Decimal:
        book = self.api.depth(market_symbol(currency, asset))
        with parsing_errors(self.name):
            return cost_of(self.name, amount, book["asks"] or (), unit=asset)

    def markets(self) -> list[Market]:
        return [market for market in self._markets().values() if market is not None]

    def _markets(self) -> Mapping[tuple[str, str], Market | None]:
        """Return the spot markets by (currency, asset); None for one that takes no orders now."""
        return self._cached("markets", self.api.markets, partial(markets_from_rows, self.name))

    def _assets(self) -> Mapping[str, list[Mapping[str, Any]]]:
        """Return the tokens of each asset, one a blockchain."""
        return self._cached("assets", self.api.assets, partial(tokens_from_rows, self.name))
