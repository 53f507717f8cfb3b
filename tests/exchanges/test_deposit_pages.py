"""Deposits beyond a page, while others come in: each is there, and none is lost at the seams."""

from __future__ import annotations

from contextlib import ExitStack
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.backpack import Backpack
from bitmm.xwrap.exchanges.bitstamp import Bitstamp
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.testing.exchanges.backpack import BackpackVenue
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from bitmm.xwrap.transport import Transport
from tests.support.exchanges import connect

ROWS = 2500
PLACES = {
    "kraken": (Kraken, KrakenVenue, "EUR"),
    "bitstamp": (Bitstamp, BitstampVenue, "EUR"),
    "backpack": (Backpack, BackpackVenue, "USDC"),
}


class Place:
    """An account at a local exchange into which a test pays."""

    def __init__(self, name, transport, stack):
        kind, venue_kind, self.currency = PLACES[name]
        self.venue = stack.enter_context(venue_kind())
        self.seconds = self.venue.clock() - 100_000
        self.exchange = connect(kind, self.venue, transport)

    def pay_in(self, count):
        """Let so many deposits come in, every third one of money, a second after another."""
        for number in range(count):
            self.seconds += 1
            self.venue.deposit(self.currency if number % 3 == 2 else "BTC", Decimal("0.01")).time = self.seconds

    def ids(self, asset=None):
        """The ids of what came in, newest first."""
        return [made.id for made in reversed(self.venue.deposits.values()) if asset in (None, made.asset)]

    def read(self, asset=None, new=lambda: None):
        """The ids of each page, while `new` runs between two of them."""
        cursor, ids = None, []
        while True:
            page = self.exchange.deposits_page(asset, cursor)
            ids += [deposit.id for deposit in page.rows]
            cursor = page.next
            if cursor is None:
                return ids
            new()


@pytest.fixture(params=PLACES)
def place(request):
    transport = Transport(timeout=20)
    with ExitStack() as stack:
        stack.callback(transport.close)
        yield Place(request.param, transport, stack)


def test_2500_deposits_are_read_whole(place):
    place.pay_in(ROWS)
    if place.exchange.id == "bitstamp":
        assert place.read() == place.ids("BTC") + place.ids("EUR")
    else:
        assert place.read() == place.ids()


def test_what_comes_in_meanwhile_makes_no_gap(place):
    place.pay_in(ROWS)
    before = place.ids()
    read = place.read(new=lambda: place.pay_in(7))
    assert set(before) <= set(read)
    if place.exchange.id == "kraken":
        # Its cursor names a row, so no row comes again.
        assert read == before


def test_those_of_one_asset(place):
    place.pay_in(50)
    for asset in ("BTC", place.currency):
        assert place.read(asset) == place.ids(asset)


def test_an_account_without_any_has_none(place):
    assert place.read() == []


@pytest.mark.parametrize("cursor", ["no cursor", "", "1:\n", "١", "a" * 500])
def test_a_cursor_that_the_exchange_did_not_give_is_refused(place, cursor):
    with pytest.raises(Refused, match="no cursor of") as caught:
        place.exchange.deposits_page(None, cursor)
    assert (caught.value.code, caught.value.details) == ("invalid_request", {"field": "cursor"})
