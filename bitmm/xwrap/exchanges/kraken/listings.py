"""What Kraken lists, each asked for once an hour: its assets and pairs, and what a caller means by a name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ..._names import name_among, pair_among
from ..base import Exchange, ExchangeContext
from ..rules import no_such_asset
from .api import URL, KrakenAPI
from .names import Pair, Pairs, assets_from_rows, pairs_from_rows

__all__ = ["KrakenListings"]


class KrakenListings(Exchange):
    """Kraken's API, and the lists that most calls need."""

    def __init__(self, context: ExchangeContext) -> None:
        """Raises Refused when the secret does not decode."""
        super().__init__(context)
        keys = context.credentials
        self.api = KrakenAPI(
            keys.apikey,
            keys.apisecret,
            url=context.url or URL,
            transport=context.transport,
            nonce=context.nonce,
            throttle=context.throttle,
        )

    def common_pair(self, currency: str, asset: str) -> tuple[str, str]:
        return pair_among(currency, asset, self._pairs().listed(), self._assets)

    def common_asset(self, asset: str) -> str:
        return name_among(asset, set(self._assets().values()), self._assets)

    def _assets(self) -> Mapping[str, str]:
        return self._cached("Assets", partial(self.api.public, "Assets"), assets_from_rows)

    def _pairs(self) -> Pairs:
        return self._cached("AssetPairs", partial(self.api.public, "AssetPairs"), pairs_from_rows)

    def _find_open_pair(self, currency: str, asset: str) -> Pair:
        listed = self._pairs().listed()
        pairs = {
            names: None if pair.is_closed_now else pair
            for names, pair in listed.items()
            if pair.takes_orders or pair.is_closed_now
        }
        return self._open_market(currency, asset, pairs, "AssetPairs")

    def _asset_key(self, name: str) -> str:
        """Return the key of the asset with this common name."""
        for key, common in self._assets().items():
            if common == name:
                return key
        raise no_such_asset(self.name, name)
