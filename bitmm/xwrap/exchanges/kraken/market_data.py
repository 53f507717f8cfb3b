"""The verbs of Kraken's markets: prices, offers, trades and fees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from ...money import parse_decimal
from ..errors import Refused
from ..http import parsing_errors
from ..models import Candle, Fees, Market, OrderBook, Rate, Ticker, Trade
from ..order_books import order_book
from ..orders import cost_of
from ..parsing import newest_first, readable_rows
from ..rules import find_market, history_unavailable, no_rate, no_such_interval
from .listings import KrakenListings
from .market_parsing import candle_from_row, fees_from_row, listed_rows, ticker_from_row, trade_from_row
from .names import Pair
from .parsing import only_entry

__all__ = ["KrakenMarketData"]

#: The most prices of a side that Kraken lists ("Get Order Book", count).
_MOST_LEVELS = 500
#: Minutes of each interval ("Get OHLC Data", interval).
_MINUTES = {
    "1m": 1,
    "5m": 5,
    "15m": 15,
    "30m": 30,
    "1h": 60,
    "4h": 240,
    "1d": 1440,
    "1w": 10080,
    "15d": 21600,
}
#: So many candles of each interval are kept ("Get OHLC Data"): older ones cannot be had, whatever `since` is.
_KEPT_CANDLES = 720


class KrakenMarketData(KrakenListings):
    """What Kraken tells about its markets."""

    def rate(self, currency: str, asset: str) -> Rate:
        rows = self.api.public("Ticker", {"pair": self._find_listed_pair(currency, asset).key})
        with parsing_errors(self.name):
            row = only_entry(rows)
            buy, sell = parse_decimal(row["a"][0]), parse_decimal(row["b"][0])
            if not buy >= sell > 0:
                raise no_rate(self.name, currency, asset)
        return Rate(buy, sell, datetime.now(UTC))

    def markets(self) -> list[Market]:
        return [pair.market for pair in self._pairs().open_ones().values()]

    def order_book(self, currency: str, asset: str, depth: int) -> OrderBook:
        pair = self._find_listed_pair(currency, asset)
        books = self.api.public("Depth", {"pair": pair.key, "count": min(depth, _MOST_LEVELS)})
        with parsing_errors(self.name):
            book = only_entry(books)
            # The rows have times of their own, and the book has none.
            now = datetime.now(UTC)
            return order_book(self.name, (currency, asset), book["bids"], book["asks"], depth=depth, time=now)

    def ticker(self, currency: str, asset: str) -> Ticker:
        rows = self.api.public("Ticker", {"pair": self._find_listed_pair(currency, asset).key})
        with parsing_errors(self.name):
            return ticker_from_row(only_entry(rows), datetime.now(UTC))

    def candle_intervals(self) -> tuple[str, ...]:
        return tuple(_MINUTES)

    def candles(self, currency: str, asset: str, interval: str, since: datetime | None, limit: int) -> list[Candle]:
        if interval not in _MINUTES:
            raise no_such_interval(self.name, interval, _MINUTES)
        pair = self._find_listed_pair(currency, asset)
        # All that are kept are asked for: only then it is seen whether those of `since` are among them. The `since` of
        # Kraken is exclusive, and the current candle comes whatever it is.
        result = self.api.public("OHLC", {"pair": pair.key, "interval": _MINUTES[interval]})
        with parsing_errors(self.name):
            rows = listed_rows(result)
            found = sorted(readable_rows(self.name, rows, candle_from_row), key=lambda candle: candle.time)
        if since is None:
            return found[-limit:]
        if len(rows) >= _KEPT_CANDLES and found[0].time - timedelta(minutes=_MINUTES[interval]) >= since:
            raise history_unavailable(self.name, interval, found[0].time)
        return [candle for candle in found if candle.time >= since][:limit]

    def trades(self, currency: str, asset: str, limit: int) -> list[Trade]:
        pair = self._find_listed_pair(currency, asset)
        # "Get Recent Trades", count: the latest so many, oldest first.
        result = self.api.public("Trades", {"pair": pair.key, "count": limit})
        with parsing_errors(self.name):
            found = readable_rows(self.name, reversed(listed_rows(result)), trade_from_row)
            return newest_first(found, lambda trade: trade.time)[:limit]

    def fees(self, currency: str, asset: str) -> Fees:
        """Return the account's fees; the published ones when the key has no right to ask for those, and no others do.

        Any other refusal, as that of a wrong key or of too many calls, is no reason to answer with other fees.
        """
        pair = self._find_listed_pair(currency, asset)
        try:
            result = self.api.private("TradeVolume", {"pair": pair.key})
        except Refused as error:
            maker, taker = pair.market.maker_fee, pair.market.taker_fee
            if error.code != "permission_denied" or maker is None or taker is None:
                raise
            return Fees(maker, taker, "published")
        with parsing_errors(self.name):
            return fees_from_row(result)

    def market_cost(self, currency: str, asset: str, amount: Decimal) -> Decimal:
        pair = self._find_open_pair(currency, asset)
        books = self.api.public("Depth", {"pair": pair.key, "count": _MOST_LEVELS})
        with parsing_errors(self.name):
            return cost_of(self.name, amount, only_entry(books)["asks"], unit=asset)

    def _find_listed_pair(self, currency: str, asset: str) -> Pair:
        return find_market(self.name, currency, asset, self._pairs().listed())
