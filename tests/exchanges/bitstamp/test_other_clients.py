"""A client that nobody here wrote trades on the local Bitstamp: ccxt. It is no dependency; skipped where it is not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue

ccxt = pytest.importorskip("ccxt", reason="ccxt is not installed")


class Local(ccxt.bitstamp):
    """ccxt signs the address without "https://": so it signs as if there was TLS, and sends without."""

    def sign(self, *arguments, **named):
        signed = super().sign(*arguments, **named)
        return {**signed, "url": signed["url"].replace("https://", "http://")}


VENUE = BitstampVenue


def account(venue, secret=None) -> Local:
    base = venue.url.replace("http://", "https://") + "/api"
    addresses = {"api": {"public": base, "private": base}}
    return Local({"apiKey": venue.key, "secret": secret or venue.secret, "urls": addresses, "enableRateLimit": False})


def test_ccxt_trades_on_the_venue(venue):
    exchange = account(venue)
    ticker = exchange.fetch_ticker("BTC/EUR")
    assert (ticker["ask"], ticker["bid"]) == (30010.0, 30000.0)
    assert exchange.fetch_balance()["EUR"]["free"] == 1_000_000
    bought = exchange.create_order("BTC/EUR", "market", "buy", 0.1, params={"clientOrderId": "mine"})
    told = exchange.fetch_order(bought["id"], "BTC/EUR")
    assert (told["status"], told["filled"], told["average"], told["fee"]["cost"]) == ("closed", 0.1, 30010.0, 12.0)
    instant = exchange.create_order("BTC/EUR", "instant", "buy", 100)
    assert exchange.fetch_order(instant["id"], "BTC/EUR")["cost"] == 100.0
    placed = exchange.create_order("BTC/EUR", "limit", "sell", 0.1, 35000)
    assert [row["id"] for row in exchange.fetch_open_orders("BTC/EUR")] == [placed["id"]]
    exchange.cancel_order(placed["id"], "BTC/EUR")
    assert exchange.fetch_open_orders("BTC/EUR") == []
    assert len(exchange.fetch_my_trades("BTC/EUR")) == 2
    assert exchange.fetch_deposit_address("BTC")["address"] == venue.address(venue.account, "BTC")
    venue.deposit("BTC", Decimal(1))
    exchange.withdraw("BTC", 0.1, "somewhere")
    assert [row["kind"] for row in venue.ledger()] == ["order", "order", "order", "withdrawal"]
    assert [row["client_id"] for row in venue.ledger()] == ["mine", None, None, None]


def test_ccxt_with_a_wrong_secret_is_refused(venue):
    with pytest.raises(ccxt.AuthenticationError, match="invalid signature"):
        account(venue, "wrong").fetch_balance()


def test_ccxt_reads_the_markets_of_the_venue(venue):
    exchange = account(venue)
    exchange.create_order("BTC/EUR", "market", "sell", 0.1)
    book = exchange.fetch_order_book("BTC/EUR")
    assert (book["bids"][0][0], book["asks"][0][0]) == (30000.0, 30010.0)
    (trade,) = exchange.fetch_trades("BTC/EUR")
    assert (trade["side"], trade["amount"], trade["price"]) == ("sell", 0.1, 30000.0)
    since = 1709164800000
    candles = exchange.fetch_ohlcv("BTC/EUR", "1h", since, 2)
    assert candles == [[since, 30000, 30010, 30000, 30000, 0.25], [since + 3600000, 30000, 30010, 30000, 30010, 1.5]]
    assert exchange.fetch_trading_fee("BTC/EUR")["taker"] == 0.4
