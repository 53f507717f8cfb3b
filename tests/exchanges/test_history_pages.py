"""Lists of exchanges that are longer than a page, and grow while they are read: nothing is left out."""

from __future__ import annotations

from contextlib import ExitStack
from decimal import Decimal
from itertools import chain

import pytest

from bitmm.xwrap.exchanges.backpack import Backpack
from bitmm.xwrap.exchanges.bitstamp import Bitstamp
from bitmm.xwrap.exchanges.cursors import numbers_of
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.exchanges.models import NewOrder
from bitmm.xwrap.testing.exchanges.backpack import BackpackVenue
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from bitmm.xwrap.testing.exchanges.records import Fill
from bitmm.xwrap.transport import Transport
from tests.support.exchanges import connect

ROWS = 2500
PLACES = {
    "kraken": (Kraken, KrakenVenue, "EUR", 50),
    "bitstamp": (Bitstamp, BitstampVenue, "EUR", 3),
    "backpack": (Backpack, BackpackVenue, "USDC", 3),
}


def rows_of(pages):
    return list(chain.from_iterable(pages))


class History:
    """The account of a local exchange with an order of many fills, which a test makes."""

    def __init__(self, kind, venue, transport, currency):
        self.exchange, self.venue, self.currency = connect(kind, venue, transport), venue, currency
        order = NewOrder("buy", currency, "BTC", "5d2d4b0e000040008000000000000001", amount=Decimal("0.01"))
        self.exchange.place(order)
        self.order = next(iter(venue.orders.values()))
        # Kraken's counter is no matter here.
        venue.counter_max = None

    def clear(self):
        self.order.fills.clear()
        self.seconds = self.venue.clock() - 100_000

    def add(self, count, pause=1.0):
        for _ in range(count):
            self.seconds += pause
            values = (Decimal(100), Decimal("0.01"), Decimal(1), Decimal("0.01"))
            fill = Fill(self.venue.new_id("fill"), self.order, *values, self.currency, False, self.seconds)
            self.order.fills.append(fill)

    def ids(self):
        return [fill.id for fill in reversed(self.order.fills)]

    def pages(self, new=lambda: None):
        """The ids of each page, while `new` runs between two of them."""
        cursor, pages = None, []
        while True:
            page = self.exchange.fills_page(self.currency, "BTC", cursor)
            pages.append([fill.id for fill in page.rows])
            cursor = page.next
            if cursor is None:
                return pages
            new()


@pytest.fixture(scope="module")
def places():
    """A function: the history of an account at a local exchange, each with one account for all tests."""
    made, transport = {}, Transport(timeout=20)
    with ExitStack() as stack:
        stack.callback(transport.close)

        def place(name):
            if name not in made:
                kind, venue_kind, currency, _ = PLACES[name]
                made[name] = History(kind, stack.enter_context(venue_kind()), transport, currency)
            made[name].clear()
            return made[name]

        yield place


@pytest.fixture(params=PLACES)
def history(request, places):
    return places(request.param)


def test_a_list_of_2500_rows_is_read_whole(history):
    history.add(ROWS)
    pages = history.pages()
    assert rows_of(pages) == history.ids()
    assert len(pages) == PLACES[history.exchange.id][3]


@pytest.mark.parametrize(("rows", "count", "pause"), [(ROWS, 7, 0.001), (300, 1, 1.0), (300, 40, 0.01)])
def test_what_is_executed_meanwhile_makes_no_gap(history, rows, count, pause):
    history.add(rows)
    before = history.ids()
    read = rows_of(history.pages(lambda: history.add(count, pause)))
    assert [id for id in dict.fromkeys(read) if id in set(before)] == before


def test_at_kraken_what_is_executed_later_moves_no_row(places):
    history = places("kraken")
    history.add(300)
    before = history.ids()
    assert rows_of(history.pages(lambda: history.add(3, 1.5))) == before


def test_a_whole_last_page_ends_the_list(history):
    size = 50 if history.exchange.id == "kraken" else 1000
    history.add(size)
    assert rows_of(history.pages()) == history.ids()


def test_an_empty_list_is_one_page(history):
    assert history.pages() == [[]]


@pytest.mark.parametrize("cursor", ["x", "1:2:3", "-1", "1.5", "9" * 16, "1e3", " 1", "١"])
def test_a_cursor_that_the_exchange_did_not_give_is_refused(history, cursor):
    with pytest.raises(Refused, match="no cursor of") as caught:
        history.exchange.fills_page(history.currency, "BTC", cursor)
    assert (caught.value.code, caught.value.details) == ("invalid_request", {"field": "cursor"})


def test_bitstamp_tells_no_more_than_200000_rows_and_says_so(places):
    exchange = places("bitstamp").exchange
    assert exchange.fills_page("EUR", "BTC", "200000").rows == []
    with pytest.raises(Refused, match="the latest 200,000") as caught:
        exchange.fills_page("EUR", "BTC", "201000")
    assert caught.value.code == "history_unavailable"


def test_the_numbers_of_a_cursor_are_whole():
    assert numbers_of("Kraken", "1764237600:50", 2) == [1764237600, 50]
