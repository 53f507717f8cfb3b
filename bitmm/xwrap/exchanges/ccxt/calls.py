"""One unified call of ccxt under our throttle, and the markets that every call needs."""

from __future__ import annotations

from typing import Any, ClassVar

from ..._names import name_among, pair_among
from ..base import Credentials, Exchange, ExchangeContext
from ..errors import Refused
from ..http import refused_key_is_proof
from ..rules import find_market
from .client_ids import ClientIdRule
from .form import missing_credentials, missing_options
from .instance import Instance, Markets, instance_for
from .parsing import closed_pairs, spot_markets

__all__ = ["CcxtCalls"]

#: One of ccxt's precisionMode: a number is rounded to so many significant digits.
_SIGNIFICANT_DIGITS = 3
#: Calls without a key.
_UNSIGNED = {"fetch_ticker", "fetch_order_book", "fetch_ohlcv", "fetch_trades"}
#: Exchanges that list their markets, and tell their prices, for a key only.
_MARKETS_BEHIND_A_KEY = {"alpaca"}


class CcxtCalls(Exchange):
    """An exchange with a class of ccxt, without its verbs."""

    #: Our subclass of ccxt's class.
    kind: ClassVar[Any]
    #: The unified calls that ccxt has for it, in ccxt's names.
    has: ClassVar[frozenset[str]]
    #: How it takes our client id and finds an order by it; None: it cannot be asked.
    client_ids: ClassVar[ClientIdRule | None] = None

    def __init__(self, context: ExchangeContext) -> None:
        """Raises Refused when a credential that the exchange needs is missing."""
        super().__init__(context)
        keys = context.credentials
        missing = missing_credentials(self.form, self.kind.__name__, keys)
        if keys != Credentials() and missing:
            names = ", ".join(map(repr, missing))
            raise Refused(f"{self.name} needs {names}", code="invalid_request", details={"field": missing[0]})
        self._missing_options = missing_options(self.kind.__name__, keys)
        self._instance = instance_for(self.kind, self.id, self.name, context)

    def common_pair(self, currency: str, asset: str) -> tuple[str, str]:
        return pair_among(currency, asset, self._markets().spot, self._spellings)

    def common_asset(self, asset: str) -> str:
        markets = self._markets()
        listed = {*(markets.ccxt.currencies or {}), *(name for pair in markets.spot for name in pair)}
        return name_among(asset, listed, self._spellings)

    def _spellings(self) -> dict[str, str]:
        """Return ccxt's name of each currency and asset by the exchange's id of it."""
        rows = (self._markets().ccxt.currencies or {}).items()
        return {row["id"]: code for code, row in rows if isinstance(row.get("id"), str)}

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Return the answer to a unified call. All its requests are under one throttle: its nonces are made in it."""
        markets = self._markets()
        if named.get("mutates") and self._missing_options:
            names = ", ".join(map(repr, self._missing_options))
            words = f"{self.name} needs {names} for orders and sends; register a key with it"
            raise Refused(words, code="invalid_request", details={"field": self._missing_options[0]})
        with refused_key_is_proof(self.funds), self.context.throttle(method, signed=method not in _UNSIGNED):
            return self._instance.call(self.context, markets, method, *arguments, **named)

    def _stores_client_ids(self) -> bool:
        return self.client_ids is not None

    def _markets(self) -> Markets:
        def load() -> Any:
            keyed = self.kind.__name__ in _MARKETS_BEHIND_A_KEY
            keys = self.context.credentials if keyed else Credentials()
            if keyed and keys == Credentials():
                raise Refused(f"{self.name} lists its markets for a key only", code="exchange_key_refused")
            instance = Instance(self.kind, self.name, self.context.url, keys)
            context = self.context if keyed else ExchangeContext(self.context.transport)
            with self.context.throttle("load_markets", signed=keyed):
                instance.call(context, None, "load_markets")
            return instance.ccxt

        return self._cached("markets", load, lambda ccxt: Markets(ccxt, spot_markets(ccxt), closed_pairs(ccxt)))

    def _symbol(self, currency: str, asset: str) -> str:
        find_market(self.name, currency, asset, self._markets().spot)
        return f"{asset}/{currency}"

    def _symbol_if_listed(self, currency: str, asset: str) -> str | None:
        """Return the symbol of a market; None for one that the exchange no longer lists, whose orders are still there.

        Many calls of ccxt need no symbol; the others refuse the call before anything is sent.
        """
        return f"{asset}/{currency}" if (currency, asset) in self._markets().spot else None

    def _rounded(self, field: str, *arguments: str) -> str:
        """Return what ccxt would make of a number before it sends it; no request is sent for this."""
        markets = self._markets()
        if field == "cost" and markets.ccxt.precisionMode == _SIGNIFICANT_DIGITS:
            return arguments[-1]  # ccxt 4.5.90 has no such rounding, and sends a cost as it is
        text: str = self._instance.call(self.context, markets, f"{field}_to_precision", *arguments)
        return text
