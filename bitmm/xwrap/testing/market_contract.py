"""The part of an exchange's contract that is about markets, as tests to inherit; see `exchange_contract.py`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import ClassVar
from unittest import SkipTest

from ..exchanges.base import Exchange
from ..exchanges.errors import Unsupported
from ..exchanges.models import Candle, Fees, Market, OrderBook, Rate, Ticker, Trade
from ..money import EXACT
from .checks import (
    check,
    check_equal,
    check_in,
    check_newest_first,
    check_record,
    check_stated,
    expect_refusal,
    has,
    skip_without,
)

__all__ = ["MarketContract"]

_ZERO = Decimal(0)


class MarketContract:
    """The promises of exchanges/market_data.py as tests; each gets the fixture `exchange` of the subclass."""

    currency: ClassVar[str] = "EUR"
    asset: ClassVar[str] = "BTC"
    #: An amount of the asset that the exchange takes.
    amount: ClassVar[Decimal] = Decimal("0.01")
    #: Whose fees `fees` tells with the key of the fixture.
    fees_of: ClassVar[str] = "account"
    #: The rate and the order book are of one moment; recorded answers may not be.
    of_one_moment: ClassVar[bool] = True

    def test_the_user_buys_at_the_higher_price_and_sells_at_the_lower(self, exchange: Exchange) -> None:
        skip_without(exchange, "rate")
        rate = check_record(exchange.rate(self.currency, self.asset), Rate)
        check(rate.buy >= rate.sell > 0, f"expected buy >= sell > 0, got {rate!r}")
        _check_recent("the rate", rate.time)

    def test_what_is_asked_about_an_unknown_market_is_refused(self, exchange: Exchange) -> None:
        interval = exchange.candle_intervals()[0] if has(exchange, "candles") else ""
        for verb, more in (
            ("rate", ()),
            ("order_book", (10,)),
            ("ticker", ()),
            ("candles", (interval, None, 10)),
            ("trades", (10,)),
            ("fees", ()),
        ):
            if has(exchange, verb):
                with expect_refusal("unknown_market", "unknown_asset"):
                    getattr(exchange, verb)(self.currency, "NOSUCH", *more)

    def test_an_order_book_has_the_best_prices_first_and_each_once(self, exchange: Exchange) -> None:
        skip_without(exchange, "order_book")
        book = exchange.order_book(self.currency, self.asset, 100)
        check(type(book) is OrderBook and book.asks and book.bids, f"expected offers on both sides, got {book!r}")
        for name, levels, falling in (("bids", book.bids, True), ("asks", book.asks, False)):
            prices = [price for price, _ in levels]
            check_equal(f"the order of the {name}", prices, sorted(set(prices), reverse=falling))
            check(len(levels) <= 100, f"there are {len(levels)} {name}, asked for 100")
            for level in levels:
                check(
                    all(type(number) is Decimal and number > 0 for number in level), f"one of the {name} is {level!r}"
                )
        check(book.bids[0][0] <= book.asks[0][0], f"the best bid is above the best ask: {book!r}")
        _check_recent("the order book", book.time)
        best = exchange.order_book(self.currency, self.asset, 1)
        check_equal("how many are listed, asked for one", (len(best.bids), len(best.asks)), (1, 1))

    def test_a_rate_is_the_top_of_the_order_book(self, exchange: Exchange) -> None:
        skip_without(exchange, "rate", "order_book")
        if not self.of_one_moment:
            raise SkipTest("its rate and its order book were recorded at different times")
        book, rate = exchange.order_book(self.currency, self.asset, 1), exchange.rate(self.currency, self.asset)
        check_equal("the best prices of the book", (book.asks[0][0], book.bids[0][0]), (rate.buy, rate.sell))

    def test_a_ticker_has_the_figures_of_a_day(self, exchange: Exchange) -> None:
        skip_without(exchange, "ticker")
        ticker = check_record(exchange.ticker(self.currency, self.asset), Ticker)
        last, low, high = check_stated("last", ticker.last), ticker.low, ticker.high
        check(last > 0, f"the last price is not above zero: {ticker!r}")
        check(low is None or high is None or low <= high, f"low is above high: {ticker!r}")
        check(ticker.volume is None or ticker.volume >= 0, f"the volume is negative: {ticker!r}")
        check(ticker.bid is None or ticker.ask is None or ticker.bid <= ticker.ask, f"bid is above ask: {ticker!r}")
        _check_recent("the ticker", ticker.time)

    def test_candles_come_in_order_within_what_was_asked_for(self, exchange: Exchange) -> None:
        skip_without(exchange, "candles")
        intervals = exchange.candle_intervals()
        check_in("an interval", "1h", intervals)
        for interval in intervals:
            self._check_candles(exchange.candles(self.currency, self.asset, interval, None, 10), 10)
        hours = exchange.candles(self.currency, self.asset, "1h", None, 5)
        check(hours, "there are no candles of an hour")
        for candle in hours:
            check_equal("the minutes and seconds of a candle of an hour", candle.time.strftime("%M:%S"), "00:00")
        since = hours[-1].time - timedelta(minutes=30)
        later = exchange.candles(self.currency, self.asset, "1h", since, 5)
        self._check_candles(later, 5)
        check(all(candle.time >= since for candle in later), f"a candle is from before {since}: {later!r}")
        check(later and later[0].time == hours[-1].time, f"expected the one of {hours[-1].time} first, got {later!r}")

    def _check_candles(self, candles: list[Candle], limit: int) -> None:
        check(len(candles) <= limit, f"there are {len(candles)} candles, asked for {limit}")
        times = [candle.time for candle in candles]
        check_equal("the order of the candles", times, sorted(set(times)))
        for candle in candles:
            check_record(candle, Candle)
            low, high = min(candle.open, candle.close), max(candle.open, candle.close)
            check(0 < candle.low <= low <= high <= candle.high, f"the prices of a candle contradict: {candle!r}")
            check(candle.volume >= 0, f"the volume is negative: {candle!r}")

    def test_an_interval_that_the_exchange_lacks_is_refused_with_those_that_it_has(self, exchange: Exchange) -> None:
        skip_without(exchange, "candles")
        with expect_refusal("unknown_interval") as refusals:
            exchange.candles(self.currency, self.asset, "7s", None, 10)
        check_in("the shortest one", exchange.candle_intervals()[0], str(refusals[0]))

    def test_trades_are_told_newest_first(self, exchange: Exchange) -> None:
        skip_without(exchange, "trades")
        trades = [check_record(trade, Trade) for trade in exchange.trades(self.currency, self.asset, 5)]
        check(len(trades) <= 5, f"there are {len(trades)} trades, asked for 5")
        check_newest_first("trades()", [trade.time for trade in trades])
        for trade in trades:
            check(trade.amount > 0 and trade.price > 0, f"a trade is not above zero: {trade!r}")
            check_in("the side of a trade", trade.side, ("buy", "sell", None))
        ids = [trade.id for trade in trades if trade.id is not None]
        check(len(set(ids)) == len(ids), f"a trade is listed twice: {ids!r}")

    def test_fees_are_fractions_and_say_whose_they_are(self, exchange: Exchange) -> None:
        skip_without(exchange, "fees")
        fees = check_record(exchange.fees(self.currency, self.asset), Fees)
        check(0 <= fees.taker < 1 and -1 < fees.maker <= fees.taker, f"expected fractions, got {fees!r}")
        check_equal("the source of the fees", fees.source, self.fees_of)

    def test_a_market_buy_costs_what_the_order_book_says_and_one_above_all_that_it_lists_is_refused(
        self, exchange: Exchange
    ) -> None:
        try:
            cost = exchange.market_cost(self.currency, self.asset, self.amount)
        except Unsupported:
            return
        best = EXACT.multiply(self.amount, exchange.rate(self.currency, self.asset).buy)
        check(best <= cost <= best * 2, f"{self.amount} cost {cost}, at the best price {best}")
        twice = EXACT.multiply(self.amount, Decimal(2))
        dearer = exchange.market_cost(self.currency, self.asset, twice)
        check(dearer >= cost * 2 - Decimal("0.01"), f"{twice} cost {dearer}, and half of it {cost}")
        if exchange.lifecycle != "paper":
            with expect_refusal("unsupported"):
                exchange.market_cost(self.currency, self.asset, Decimal(10**12))

    def test_the_pair_is_among_the_markets_with_rules_that_can_be_kept(self, exchange: Exchange) -> None:
        skip_without(exchange, "markets")
        markets = [check_record(market, Market) for market in exchange.markets()]
        names = [(market.currency, market.asset) for market in markets]
        check_in("the pair", (self.currency, self.asset), names)
        check(len(names) == len(set(names)), f"a pair is listed twice: {names!r}")
        for market in markets:
            for rule in (market.price_step, market.amount_step, market.amount_min, market.cost_min):
                check(rule is None or rule >= 0, f"a rule is negative: {market!r}")
            check(_ZERO not in (market.amount_step, market.price_step), f"a step is zero: {market!r}")
            for fee in (market.maker_fee, market.taker_fee):
                check(fee is None or abs(fee) < 1, f"a fee is no fraction: {market!r}")


def _check_recent(name: str, time: datetime) -> None:
    """Raise AssertionError unless a time is near; recorded answers may be as old as the first exchanges."""
    age = abs(datetime.now(UTC) - time)
    check(age < timedelta(days=366 * 20), f"the time of {name} is {time}, {age} from now")
