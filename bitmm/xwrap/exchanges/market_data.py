"""The part of the contract that is about markets: what an exchange can be asked about prices, offers, trades and fees.

All of it but the fees is public and needs no credentials. `base.py` has the rest of the contract.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from .errors import Unsupported
from .models import Candle, Fees, Market, OrderBook, Rate, Ticker, Trade

__all__ = ["MarketData"]


class MarketData:
    """The verbs of an exchange's markets. A class overrides those that its exchange has; the others raise Unsupported.

    A pair that is not traded is Refused with `unknown_market` or `unknown_asset`.
    """

    name: ClassVar[str]
    #: The fee of a buy is taken in the asset that is bought, and not in the currency.
    buy_fee_in_asset: ClassVar[bool] = False

    def rate(self, currency: str, asset: str) -> Rate:
        """Return the current prices of one unit of `asset` in `currency`."""
        raise self._lacks("rate")

    def markets(self) -> list[Market]:
        """Return every pair that can be traded, with its rules."""
        raise self._lacks("markets")

    def order_book(self, currency: str, asset: str, depth: int) -> OrderBook:
        """Return at most `depth` prices of each side, best first; fewer where there are, or the exchange shows, fewer.

        Raises Refused where the best bid is above the best ask, which no market has for long.
        """
        raise self._lacks("order_book")

    def ticker(self, currency: str, asset: str) -> Ticker:
        """Return the last price and the figures of the last 24 hours."""
        raise self._lacks("ticker")

    def candle_intervals(self) -> tuple[str, ...]:
        """Return the lengths of the candles that the exchange has, the shortest first: "1m", "4h", "1d", "1w", "1M"."""
        raise self._lacks("candles")

    def candles(self, currency: str, asset: str, interval: str, since: datetime | None, limit: int) -> list[Candle]:
        """Return the first `limit` candles that begin at or after `since`, oldest first; without `since` the latest.

        The last one may still be under way. An interval in which nothing was traded has no candle, unless the exchange
        makes one. Raises Refused `unknown_interval`, which names `candle_intervals()`, and `history_unavailable` when
        the exchange does not keep candles as old as `since`; the words say from when on it does.
        """
        raise self._lacks("candles")

    def trades(self, currency: str, asset: str, limit: int) -> list[Trade]:
        """Return the latest trades of everybody, newest first, `limit` at most, or as many as it tells."""
        raise self._lacks("trades")

    def fees(self, currency: str, asset: str) -> Fees:
        """Return what a trade costs now: the account's own fees where the exchange tells them, else published ones."""
        raise self._lacks("fees")

    def market_cost(self, currency: str, asset: str, amount: Decimal) -> Decimal:
        """Return what a market buy of `amount` costs at the order book as it is now.

        Raises Refused when the book lists less than that. What such an order costs in the end may be more: others buy,
        and sellers leave.
        """
        raise self._lacks("market_cost")

    def _lacks(self, verb: str) -> Unsupported:
        return Unsupported(f"{self.name} has no call for '{verb}'; list_exchanges() tells what each exchange can do")
