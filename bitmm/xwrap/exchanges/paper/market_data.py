"""The market of the paper exchange: its recorded prices, as the verbs of markets tell them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from ..base import Exchange, ExchangeContext
from ..errors import Refused
from ..models import Candle, Fees, Market, OrderBook, Rate, Ticker
from ..rules import no_such_interval
from .ledger import PaperConfig
from .matching import ASSET, CURRENCY, FEE, MARKET, Quote, execute

__all__ = ["PaperMarkets", "check_pair"]

#: Whoever trades on paper gets any amount at one price: more than the bitcoins that there will ever be.
_OFFERED = Decimal(21_000_000)
#: The lengths of candles, in minutes.
_INTERVALS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}
_DAY_MINUTES = 1440
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class PaperMarkets(Exchange):
    """The market of an exchange whose price is a recorded one, and changes every minute."""

    def __init__(self, context: ExchangeContext, config: PaperConfig) -> None:
        super().__init__(context)
        self._config = config

    def rate(self, currency: str, asset: str) -> Rate:
        check_pair(currency, asset)
        quote, time = self._quote_now()
        return Rate(quote.ask, quote.bid, time)

    def markets(self) -> list[Market]:
        return [MARKET]

    def order_book(self, currency: str, asset: str, depth: int) -> OrderBook:
        """Return one level of each side: every amount is traded at one price."""
        check_pair(currency, asset)
        quote, time = self._quote_now()
        return OrderBook(((quote.bid, _OFFERED),), ((quote.ask, _OFFERED),), time)

    def ticker(self, currency: str, asset: str) -> Ticker:
        """Return the prices of the last 24 hours; what others would have traded was not recorded."""
        check_pair(currency, asset)
        quote, time = self._quote_now()
        minute = self._minute()
        closes = self._config.prices.between(minute - _DAY_MINUTES + 1, minute + 1)
        return Ticker(closes[-1], max(closes), min(closes), None, quote.bid, quote.ask, time)

    def candle_intervals(self) -> tuple[str, ...]:
        return tuple(_INTERVALS)

    def candles(self, currency: str, asset: str, interval: str, since: datetime | None, limit: int) -> list[Candle]:
        """Return candles without a volume: nobody else trades here."""
        check_pair(currency, asset)
        if interval not in _INTERVALS:
            raise no_such_interval(self.name, interval, _INTERVALS)
        length, now = _INTERVALS[interval], self._minute()
        last = now // length
        first = last - limit + 1 if since is None else -((_BEGINNING - since) // timedelta(minutes=length))
        # The counting of minutes begins in 1970, and so do the candles.
        first = max(first, 0)
        numbers = range(first, min(first + limit - 1, last) + 1)
        return [self._candle(number * length, min((number + 1) * length, now + 1)) for number in numbers]

    def fees(self, currency: str, asset: str) -> Fees:
        check_pair(currency, asset)
        return Fees(FEE, FEE, "published")

    def market_cost(self, currency: str, asset: str, amount: Decimal) -> Decimal:
        check_pair(currency, asset)
        return execute("buy", amount, self._quote(self._minute()).ask).spent

    def _candle(self, start: int, end: int) -> Candle:
        """Return the candle of the minutes from `start` to before `end`."""
        closes = self._config.prices.between(start, end)
        time = _BEGINNING + timedelta(minutes=start)
        return Candle(time, closes[0], max(closes), min(closes), closes[-1], Decimal(0))

    def _minute(self) -> int:
        return int(self._config.clock() // 60)

    def _quote(self, minute: int) -> Quote:
        return self._config.prices.quote(minute)

    def _quote_now(self) -> tuple[Quote, datetime]:
        time = self._config.clock()
        return self._quote(int(time // 60)), datetime.fromtimestamp(time, UTC)


def check_pair(currency: str, asset: str) -> None:
    """Raise Refused for any other pair than the one of the recorded prices."""
    field = "asset" if currency == CURRENCY else "currency"
    if (currency, asset) != (CURRENCY, ASSET):
        raise Refused(
            f"the paper exchange trades {ASSET} for {CURRENCY}, not '{asset}' for '{currency}'",
            code="unknown_market",
            details={"field": field},
        )
