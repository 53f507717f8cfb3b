"""What ccxt tells of markets is, digit by digit, what our own adapters tell at the same local exchanges."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.backpack import Backpack
from bitmm.xwrap.exchanges.ccxt import exchange_class
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.exchanges.models import Fees
from tests.exchanges.ccxt.support import connected, order
from tests.support.exchanges import change_answers, connect

pytest.importorskip("ccxt", reason="ccxt is not installed")
PAIRS = {"kraken": ("USD", "BTC"), "backpack": ("USDC", "BTC")}


@pytest.fixture(params=PAIRS)
def both(request, transport):
    """The exchange by ccxt and by our own adapter, with a pair, and the local exchange itself."""
    venue = request.getfixturevalue(request.param)
    own = connect({"kraken": Kraken, "backpack": Backpack}[request.param], venue, transport)
    return connected(venue, transport), own, PAIRS[request.param], venue


def test_an_order_book_is_the_same(both):
    by_ccxt, own, pair, _venue = both
    ours, theirs = own.order_book(*pair, 20), by_ccxt.order_book(*pair, 20)
    assert (theirs.bids, theirs.asks) == (ours.bids, ours.asks)


def test_candles_are_the_same(both):
    by_ccxt, own, pair, _venue = both
    ours = own.candles(*pair, "1h", None, 10)
    assert by_ccxt.candles(*pair, "1h", None, 10) == ours
    since = ours[3].time - timedelta(minutes=1)
    assert by_ccxt.candles(*pair, "1h", since, 4) == own.candles(*pair, "1h", since, 4) == ours[3:7]


def test_trades_are_the_same(both):
    by_ccxt, own, pair, _venue = both
    for side in ("buy", "sell"):
        own.place(order(side, "0.1", currency=pair[0]))
    ours, theirs = own.trades(*pair, 20), by_ccxt.trades(*pair, 20)
    assert ours

    def without_microseconds(trades):
        return [replace(trade, time=trade.time.replace(microsecond=0), id=None) for trade in trades]

    assert without_microseconds(theirs) == without_microseconds(ours)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_of_trades_of_one_millisecond_the_newest_is_first(kraken, transport, monkeypatch, limit):
    exchange = connected(kraken, transport)
    rows = [
        {"id": id, "side": "buy", "amount": "1", "price": "2", "timestamp": 1_700_000_000_000} for id in ("1", "2", "3")
    ]
    monkeypatch.setattr(exchange, "_call", lambda *_arguments: rows)
    assert [trade.id for trade in exchange.trades("EUR", "BTC", limit)] == ["3", "2", "1"][:limit]


def test_a_ticker_has_the_same_figures(both):
    by_ccxt, own, pair, _venue = both
    ours, theirs = own.ticker(*pair), by_ccxt.ticker(*pair)
    assert (theirs.last, theirs.high, theirs.low, theirs.volume) == (ours.last, ours.high, ours.low, ours.volume)
    assert isinstance(theirs.time, datetime)


def test_the_digits_of_a_candle_are_not_those_of_a_float(kraken, transport):
    exact = "27850.123456789012345678"

    def change(answer):
        if "last" in answer["result"]:  # the other public calls come this way, too
            for row in next(rows for name, rows in answer["result"].items() if name != "last"):
                row[2] = exact
        return answer

    change_answers(kraken, "GET", "/0/public/OHLC", change)
    candles = connected(kraken, transport).candles("EUR", "BTC", "1h", None, 2)
    assert [str(candle.high) for candle in candles] == [exact, exact]


@pytest.mark.parametrize("odd", [{}, [], ["x"], None, 5, ["5", "1"], ["5", "1", "no time", "b", "m", "", "7"]])
def test_one_odd_row_hides_no_trade_of_an_exchange_whose_trades_have_no_ids(odd):
    """The rows are those of Kraken, without the seventh field, which is the id."""
    ccxt = exchange_class("ccxt:kraken").kind({"markets": {}})
    rows = [[f"{number}.5", "2", 1_700_000_000 + number, "b", "m", ""] for number in (1, 2)]
    found = ccxt.parse_trades([rows[0], odd, rows[1]], ccxt.safe_market_structure({"symbol": "BTC/EUR"}))
    assert [(row["price"], row["id"]) for row in found] == [("1.5", None), ("2.5", None)]


def test_a_fee_that_is_no_part_of_the_value_is_not_told_as_one(kraken, transport, monkeypatch):
    exchange = connected(kraken, transport)
    row = {"maker": "0.5", "taker": "1", "percentage": False}
    monkeypatch.setattr(exchange, "_call", lambda *_arguments: row)
    with pytest.raises(Refused, match="no part of a trade's value") as caught:
        exchange.fees("EUR", "BTC")
    assert caught.value.code == "unsupported"
    row["percentage"] = None
    assert exchange.fees("EUR", "BTC") == Fees(Decimal("0.5"), Decimal(1), "account")


def test_fees_of_the_account_come_before_those_that_are_published(kraken, transport):
    exchange = connected(kraken, transport)
    market = next(one for one in exchange.markets() if (one.currency, one.asset) == ("EUR", "BTC"))
    kraken.fee_tier = 1
    found = exchange.fees("EUR", "BTC")
    assert found.source == "account"
    assert found == Fees(found.maker, found.taker, "account")
    assert found.taker < market.taker_fee
