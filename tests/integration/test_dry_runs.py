"""A dry run says what the order then costs: at local exchanges, by their order books and fees."""

from __future__ import annotations

from decimal import Decimal

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import InsufficientFunds, InvalidRequest, XWrap
from bitmm.xwrap.testing.exchanges.backpack import BackpackVenue
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue

#: An exchange, its pair, and an amount that takes more than the best level.
VENUES = {
    "kraken": (KrakenVenue, "EUR", "BTC", "3"),
    "bitstamp": (BitstampVenue, "EUR", "BTC", "0.5"),
    "backpack": (BackpackVenue, "USDC", "SOL", "5"),
}


@pytest.fixture(params=VENUES)
def traded(request, serving):
    """A local exchange, a backend there, a pair and an amount."""
    kind, *pair_and_amount = VENUES[request.param]
    with kind() as venue, serving(exchanges=(request.param,), exchange_urls={request.param: venue.url}) as server:
        keys = ("1", venue.key, venue.secret)
        backend = XWrap(server.url).create_backend(*server.account(), request.param, *keys, allow_send=True)
        yield venue, backend, *pair_and_amount


def test_what_a_dry_run_estimates_is_what_the_order_then_costs(traded):
    venue, backend, currency, asset, amount = traded
    before = backend.funds()[currency]["available"]
    tried = backend.buy(currency, asset, amount, dry_run=True)
    assert venue.ledger() == []
    placed = backend.buy(currency, asset, amount)
    assert placed["status"] == "filled"
    assert (tried["spent"], tried["average"]) == (placed["spent"], placed["average"])
    # Exchanges round each fee to some digits; the estimate does not.
    assert abs(tried["fee"] - placed["fee"]) < Decimal("0.01")
    assert tried["fee_currency"] == placed["fee_currency"]
    assert abs(tried["remaining"] - backend.funds()[currency]["available"]) < Decimal("0.01")
    assert tried["remaining"] < before
    best = tried["price"]
    assert abs(tried["slippage"] - (tried["average"] - best) / best) < Decimal("1e-20")


def test_what_a_dry_run_estimates_of_a_sell_for_a_cost_is_what_the_order_brings(traded):
    venue, backend, currency, asset, _amount = traded
    if type(venue) is KrakenVenue:
        with pytest.raises(InvalidRequest, match="takes no sells for a cost"):
            backend.sell(currency, asset, cost="200", dry_run=True)
        return
    before = backend.funds()[asset]["available"]
    tried = backend.sell(currency, asset, cost="200", dry_run=True)
    assert venue.ledger() == []
    placed = backend.sell(currency, asset, cost="200")
    assert (tried["cost"], tried["amount"], tried["spent"]) == (200, None, 200)
    assert (placed["status"], placed["cost"], placed["amount"]) == ("filled", 200, None)
    assert Decimal(199) < placed["spent"] <= 200
    assert abs(tried["fee"] - placed["fee"]) < Decimal("0.02")
    assert abs(tried["average"] - placed["average"]) < Decimal("0.01")
    assert abs(before - tried["remaining"] - placed["filled"]) < placed["filled"] / 100
    venue.account.balances[asset] = Decimal("0.0001")
    with pytest.raises(InsufficientFunds, match=f"not enough {asset}"):
        backend.sell(currency, asset, cost="200", dry_run=True)


def test_an_order_that_is_larger_than_the_book_is_refused_with_what_it_holds(traded):
    venue, backend, currency, asset, _amount = traded
    with pytest.raises(InvalidRequest, match="lists only") as caught:
        backend.sell(currency, asset, "100000000", dry_run=True)
    assert caught.value.code == "book_exhausted"
    assert venue.ledger() == []


def test_a_dry_run_with_a_stop_counts_with_the_stop_and_the_fees(serving):
    with KrakenVenue() as venue, serving(exchanges=("kraken",), exchange_urls={"kraken": venue.url}) as server:
        backend = XWrap(server.url).create_backend(
            *server.account(), "kraken", "1", venue.key, venue.secret, allow_send=True
        )
        tried = backend.sell("EUR", "BTC", "0.5", stop="20000", dry_run=True)
        taker = backend.fees("EUR", "BTC")["taker"]
        assert (tried["average"], tried["spent"], tried["fee"]) == (20000, 10000, 10000 * taker)
        assert (tried["slippage"], tried["remaining"]) == (None, backend.funds()["BTC"]["available"] - Decimal("0.5"))
        assert venue.ledger() == []
