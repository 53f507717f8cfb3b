"""Clients that nobody here wrote trade on the local Backpack: bpx-py and ccxt.

They are no dependencies, and cannot live in one environment: bpx-py 2.0.11 wants cryptography < 44, ccxt 4.5.90 >= 50.
`pip install bpx-py pytest requests` (or ccxt) into an environment of its own, and run this file there.
"""

from __future__ import annotations

import importlib
from decimal import Decimal

import pytest

from bitmm.xwrap.testing.exchanges.backpack import BackpackVenue, keys

STRANGER = keys(bytes(range(32)))


VENUE = BackpackVenue


@pytest.fixture
def bpx(venue, monkeypatch):
    """A function that makes an Account; the address of the exchange can only be changed in two class attributes."""
    pytest.importorskip("bpx", reason="bpx-py is not installed")
    monkeypatch.setattr(importlib.import_module("bpx.base.base_account").BaseAccount, "BPX_API_URL", f"{venue.url}/")
    monkeypatch.setattr(importlib.import_module("bpx.base.base_public").BasePublic, "BASE_URL", f"{venue.url}/")
    return importlib.import_module("bpx.account").Account


def test_bpx_reads_ticker_best_prices_and_balances(venue, bpx):
    public = importlib.import_module("bpx.public").Public()
    assert {"SOL_USDC", "SOL_USDC_PERP"} & {market["symbol"] for market in public.get_markets()} == {"SOL_USDC"}
    assert public.get_ticker("SOL_USDC")["lastPrice"] == "100.00"
    book = public.get_depth("SOL_USDC")
    assert (book["asks"][0][0], book["bids"][-1][0]) == ("100.10", "100.00")
    balances = bpx(venue.key, venue.secret, window=5000).get_balances()
    assert balances["USDC"] == {"available": "1000000", "locked": "0", "staked": "0"}


def test_bpx_buys_at_the_market_and_sees_its_fill(venue, bpx):
    account = bpx(venue.key, venue.secret, window=5000)
    bought = account.execute_order("SOL_USDC", "Bid", "Market", quantity="0.5", client_id=4242)
    assert (bought["status"], bought["executedQuantity"], bought["executedQuoteQuantity"]) == (
        "Filled",
        "0.5",
        "50.05000000",
    )
    spent = account.execute_order("SOL_USDC", "Ask", "Market", quote_quantity="50")
    assert (spent["status"], spent["executedQuantity"]) == ("Filled", "0.50")
    fills = account.get_fill_history(symbol="SOL_USDC", limit=10)
    assert [(row["orderId"], row["price"], row["quantity"]) for row in fills] == [
        (spent["id"], "100.00", "0.50"),
        (bought["id"], "100.10", "0.5"),
    ]
    assert [row["id"] for row in account.get_order_history(symbol="SOL_USDC", limit=10)] == [spent["id"], bought["id"]]
    assert [row["client_id"] for row in venue.ledger()] == ["4242", None]


def test_bpx_sells_at_a_limit_sees_the_order_and_cancels_it(venue, bpx):
    account = bpx(venue.key, venue.secret, window=5000)
    placed = account.execute_order(
        "SOL_USDC", "Ask", "Limit", time_in_force="GTC", quantity="0.07", price="120.5", post_only=True, client_id=7
    )
    assert (placed["status"], placed["postOnly"]) == ("New", True)
    assert [row["id"] for row in account.get_open_orders(symbol="SOL_USDC")] == [placed["id"]]
    assert account.get_open_order("SOL_USDC", order_id=placed["id"])["price"] == "120.5"
    assert account.cancel_order("SOL_USDC", order_id=placed["id"])["status"] == "Cancelled"
    assert account.get_open_order("SOL_USDC", order_id=placed["id"])["code"] == "RESOURCE_NOT_FOUND"
    account.execute_order("SOL_USDC", "Bid", "Limit", time_in_force="GTC", quantity="0.07", price="85")
    assert [row["status"] for row in account.cancel_all_orders("SOL_USDC")] == ["Cancelled"]
    assert account.get_open_orders() == []


def test_bpx_gets_an_address_and_sends(venue, bpx):
    account = bpx(venue.key, venue.secret, window=5000)
    address = account.get_deposit_address("Solana")["address"]
    venue.deposit("SOL", Decimal("1.5"))
    (deposit,) = account.get_deposits(limit=10)
    assert (deposit["quantity"], deposit["toAddress"]) == ("1.5", address)
    sent = account.withdrawal("somewhere", "SOL", "Solana", "1.5")
    assert [row["id"] for row in account.get_withdrawals(limit=10)] == [sent["id"]]
    assert [row["kind"] for row in venue.ledger()] == ["withdrawal"]


def test_bpx_with_a_strange_key_or_a_wrong_secret_is_refused(venue, bpx):
    assert bpx(*STRANGER, window=5000).get_balances()["code"] == "UNAUTHORIZED"
    assert bpx(venue.key, STRANGER[1], window=5000).get_balances()["code"] == "INVALID_SIGNATURE"
    assert bpx(venue.key, venue.secret, window=60_001).get_balances()["code"] == "INVALID_CLIENT_REQUEST"


@pytest.fixture
def ccxt():
    return pytest.importorskip("ccxt", reason="ccxt is not installed")


def account(ccxt, venue, secret=None):
    addresses = {"api": {"public": venue.url, "private": venue.url}}
    return ccxt.backpack({"apiKey": venue.key, "secret": secret or venue.secret, "urls": addresses})


def test_ccxt_trades_on_the_venue(venue, ccxt):
    exchange = account(ccxt, venue)
    assert exchange.fetch_ticker("SOL/USDC")["last"] == 100.0
    assert exchange.fetch_balance()["USDC"]["free"] == 1_000_000
    bought = exchange.create_order("SOL/USDC", "market", "buy", 0.5, params={"clientOrderId": 4242})
    assert (bought["filled"], bought["average"], bought["status"]) == (0.5, 100.1, "closed")
    placed = exchange.create_order("SOL/USDC", "limit", "sell", 0.07, 120.5)
    assert [row["id"] for row in exchange.fetch_open_orders("SOL/USDC")] == [placed["id"]]
    exchange.cancel_order(placed["id"], "SOL/USDC")
    assert exchange.fetch_open_orders("SOL/USDC") == []
    (trade,) = exchange.fetch_my_trades("SOL/USDC")
    assert (trade["price"], trade["fee"]["currency"]) == (100.1, "SOL")
    assert exchange.fetch_deposit_address("SOL", {"network": "SOL"})["address"] == venue.address(venue.account, "SOL")
    assert len(venue.ledger()) == 2


def test_ccxt_with_a_wrong_secret_is_refused(venue, ccxt):
    with pytest.raises(ccxt.AuthenticationError, match="INVALID_SIGNATURE"):
        account(ccxt, venue, STRANGER[1]).fetch_balance()


def test_ccxt_reads_the_markets_of_the_venue(venue, ccxt):
    exchange = account(ccxt, venue)
    exchange.create_order("BTC/USDC", "market", "sell", 0.1)
    book = exchange.fetch_order_book("BTC/USDC", 5)
    assert (book["bids"][0][0], book["asks"][0][0]) == (30000.0, 30010.0)
    (trade,) = exchange.fetch_trades("BTC/USDC", limit=10)
    assert (trade["side"], trade["amount"], trade["price"]) == ("sell", 0.1, 30000.0)
    since = 1709164800000
    candles = exchange.fetch_ohlcv("BTC/USDC", "1h", since, 2)
    assert candles == [[since, 30000, 30010, 30000, 30000, 0.25], [since + 3600000, 30000, 30010, 30000, 30010, 1.5]]
