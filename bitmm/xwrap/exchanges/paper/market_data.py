"""The market of the paper exchange: its recorded prices, as the verbs of markets tell them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from ..errors import Refused
from ..models import Candle, Fees, Market, OrderBook, Rate, Ticker
from ..rules import no_such_interval
from .adapter import PaperExchange
from .looks import Look
from .matching import ASSET, CURRENCY, FEE, MARKET, MONEY
from .recorded_prices import RecordedPrices, check_pair

__all__ = ["Paper"]

#: The lengths of candles, in minutes.
_INTERVALS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}
_DAY_MINUTES = 1440
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class Paper(PaperExchange):
    """Trades at the recorded price of the minute, at which there is any amount; fee 0.26 % in USD, rounded to the cent.

    Every order is filled whole, so IOC and FOK are the same. A limit order is held against each minute's price, also
    of those minutes in which no program looked.
    """

    description = "An exchange without real money, at recorded BTC/USD prices: for trying, teaching and tests"
    answers_at_once = True

    @property
    def _source(self) -> RecordedPrices:
        return RecordedPrices(self._config)

    def rate(self, currency: str, asset: str) -> Rate:
        look, time = self._look_now(currency, asset)
        return Rate(look.best("buy"), look.best("sell"), time)

    def markets(self) -> list[Market]:
        return [MARKET]

    def order_book(self, currency: str, asset: str, depth: int) -> OrderBook:
        """Return one level of each side: every amount is traded at one price."""
        look, time = self._look_now(currency, asset)
        return OrderBook(look.bids, look.asks, time)

    def ticker(self, currency: str, asset: str) -> Ticker:
        """Return the prices of the last 24 hours; what others would have traded was not recorded."""
        look, time = self._look_now(currency, asset)
        minute = self._config.minute()
        closes = self._config.prices.between(minute - _DAY_MINUTES + 1, minute + 1)
        return Ticker(closes[-1], max(closes), min(closes), None, look.best("sell"), look.best("buy"), time)

    def candle_intervals(self) -> tuple[str, ...]:
        return tuple(_INTERVALS)

    def candles(self, currency: str, asset: str, interval: str, since: datetime | None, limit: int) -> list[Candle]:
        """Return candles without a volume: nobody else trades here."""
        check_pair(currency, asset)
        if interval not in _INTERVALS:
            raise no_such_interval(self.name, interval, _INTERVALS)
        length, now = _INTERVALS[interval], self._config.minute()
        last = now // length
        first = last - limit + 1 if since is None else -((_BEGINNING - since) // timedelta(minutes=length))
        # The counting of minutes begins in 1970, and so do the candles.
        first = max(first, 0)
        numbers = range(first, min(first + limit - 1, last) + 1)
        return [self._candle(number * length, min((number + 1) * length, now + 1)) for number in numbers]

    def fees(self, currency: str, asset: str) -> Fees:
        check_pair(currency, asset)
        return Fees(FEE, FEE, "published")

    def _rules_of(self, asset: str) -> Market:
        rules = {ASSET: MARKET, CURRENCY: MONEY}.get(asset)
        if rules is None:
            raise Refused(f"the paper exchange has no {asset}", code="unknown_asset", details={"field": "asset"})
        return rules

    def _candle(self, start: int, end: int) -> Candle:
        """Return the candle of the minutes from `start` to before `end`."""
        closes = self._config.prices.between(start, end)
        time = _BEGINNING + timedelta(minutes=start)
        return Candle(time, closes[0], max(closes), min(closes), closes[-1], Decimal(0))

    def _look_now(self, currency: str, asset: str) -> tuple[Look, datetime]:
        """Return the market in this minute, and the time now."""
        return self._source.look(currency, asset), datetime.fromtimestamp(self._config.clock(), UTC)
