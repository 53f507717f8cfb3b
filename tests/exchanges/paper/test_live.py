"""The paper exchange at the prices of another exchange now: the local Kraken, and where Kraken has no such thing, the
local Bitstamp. No price is filled at that was not shown there.
"""

from __future__ import annotations

import itertools
import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest

pytest.importorskip("sqlalchemy", reason="the server is not installed")

from bitmm.xwrap.exchanges.base import Exchange, ExchangeContext
from bitmm.xwrap.exchanges.bitstamp import Bitstamp
from bitmm.xwrap.exchanges.cache import TTLCache
from bitmm.xwrap.exchanges.capabilities import supports
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.exchanges.models import Market, NewOrder, NewTransfer, OrderRef
from bitmm.xwrap.exchanges.paper import LivePrices, Paper, PaperConfig, Prices, live_paper, live_prices
from bitmm.xwrap.exchanges.paper.executions import Execution
from bitmm.xwrap.exchanges.paper.live_prices import with_fees
from bitmm.xwrap.server.market_reads import MOST_LEVELS, read_fresh_book
from bitmm.xwrap.testing.exchange_contract import ExchangeContract
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from bitmm.xwrap.transport import Transport
from tests.support.databases import sql
from tests.support.threads import in_threads

ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
OPENING = {"EUR": Decimal(1_000_000), "BTC": Decimal(100)}
#: What the local Kraken takes of an order that rests, and of one that takes.
MAKER, TAKER = Decimal("0.0016"), Decimal("0.0026")


class Source:
    """A local exchange whose prices paper trades at, with the time of this test; `now` are seconds."""

    def __init__(self, kind, venue, store):
        self.kind, self.venue, self.store = kind, venue, store
        self.now = datetime.now(UTC).timestamp()
        self._cache = TTLCache(lambda: self.now)
        self._transport = Transport(timeout=5)
        self.config = PaperConfig(Prices.load(), OPENING, store.paper_ledger, lambda: self.now, self.prices())

    def prices(self):
        """Looks of their own, as another server process has them."""
        read = partial(read_fresh_book, depth=MOST_LEVELS)
        return LivePrices(self.kind, self.open, read, clock=lambda: self.now, monotonic=lambda: self.now)

    @contextmanager
    def open(self):
        yield self.kind(ExchangeContext(self._transport, url=self.venue.url, cache=self._cache))

    def paper(self, **config):
        values = {"account_id": 1, "exchange": "paper", "username": "", "label": "", "apikey_hint": ""}
        id = self.store.registrations.add(values, lambda _id: {"sealed_more": b""}).id
        return live_paper(self.kind)(ExchangeContext(None, registration=id), replace(self.config, **config))

    def offer(self, ask, bid, amounts=("1", "2", "5"), pair="BTC/EUR"):
        """Let these be the best prices there, with so much at each level, 0.1 % apart."""
        book = self.venue.pairs[pair]
        book.asks = [(Decimal(ask) * (1000 + n) / 1000, Decimal(amount)) for n, amount in enumerate(amounts)]
        book.bids = [(Decimal(bid) * (1000 - n) / 1000, Decimal(amount)) for n, amount in enumerate(amounts)]

    def wait(self, seconds=3.0):
        self.now += seconds

    def look(self, pair=("EUR", "BTC")):
        """Look at the market as the server does when orders are open there."""
        self.wait()
        try:
            self.config.live.look(*pair)
        except Refused as refusal:
            return refusal
        return None


@pytest.fixture
def source(store):
    with KrakenVenue() as venue:
        source = Source(Kraken, venue, store)
        source.offer(1000, 990)
        yield source


@pytest.fixture
def paper(source):
    return source.paper()


_ids = itertools.count()


def order(side="buy", amount="1", price=None, **more):
    price, stop = (None if value is None else Decimal(value) for value in (price, more.pop("stop", None)))
    amount = None if amount is None else Decimal(amount)
    return NewOrder(side, "EUR", "BTC", f"c{next(_ids)}", amount=amount, price=price, stop=stop, **more)


def state_of(paper, order):
    return paper.find(OrderRef(order.side, order.currency, order.asset, order.client_id))


def check_books(paper, store):
    """The entries add up to the balances, and the fills to what the orders say, to the last digit."""
    id = paper.context.registration
    sums = {}
    for currency, amount in sql(
        store.where, f"SELECT currency, amount FROM paper_entries WHERE registration_id = {id}"
    ):
        sums[currency] = sums.get(currency, Decimal(0)) + Decimal(amount)
    assert sums == paper.balance()
    rows = sql(store.where, f"SELECT id, filled, fee FROM paper_orders WHERE registration_id = {id}")
    for order_id, filled, fee in rows:
        fills = sql(store.where, f"SELECT amount, fee FROM paper_fills WHERE order_id = {order_id}")
        assert sum(Decimal(amount) for amount, _ in fills) == Decimal(filled)
        assert sum(Decimal(each) for _, each in fills) == Decimal(fee or 0)


def test_a_market_order_walks_through_what_is_offered(paper, store):
    state = paper.place(order("buy", "2.5"))
    assert (state.status, state.filled, state.reason) == ("filled", Decimal("2.5"), None)
    assert state.spent == 1000 + Decimal("1.5") * 1001
    assert state.average == state.spent / Decimal("2.5")
    assert state.fee == state.spent * TAKER
    assert [(fill.price, fill.amount) for fill in paper.fills("EUR", "BTC")] == [(1001, Decimal("1.5")), (1000, 1)]
    assert paper.balance() == {"EUR": 1_000_000 - state.spent - state.fee, "BTC": Decimal("102.5"), "USD": 0}
    check_books(paper, store)


def test_what_the_book_does_not_list_of_a_market_order_is_canceled(paper, store):
    """A real exchange does the same; the price of what is not listed is not known, so none is made up."""
    state = paper.place(order("sell", "20"))
    assert (state.status, state.filled, state.reason) == ("partly_filled", 8, "the order book listed no more")
    assert paper.open_orders() == []
    assert paper.funds()["BTC"].held == 0
    bought = paper.place(order("buy", None, cost=Decimal(100_000)))
    assert (bought.status, bought.filled) == ("partly_filled", 8)
    for wanted in (order("sell", "20"), order("buy", None, cost=Decimal(100_000))):
        with pytest.raises(Refused) as caught:
            paper.estimate(wanted)
        assert caught.value.code == "book_exhausted"
    check_books(paper, store)


def test_a_cost_buys_what_it_pays_for_through_the_levels(paper):
    state = paper.place(order("buy", None, cost=Decimal(1500)))
    assert state.status == "filled"
    assert Decimal(1500) - Decimal("0.0001") < state.spent <= 1500
    assert state.filled == 1 + ((Decimal(500) / 1001).quantize(Decimal("1e-8"), "ROUND_DOWN"))


def test_a_limit_order_takes_what_is_at_its_price_or_better_and_the_rest_rests(paper, source, store):
    placed = order("buy", "2", "1000")
    state = paper.place(placed)
    assert (state.status, state.filled, state.average, state.spent) == ("open", 1, 1000, 1000)
    assert paper.funds()["EUR"].held == 1000 + 1000 * TAKER
    source.look()
    state = state_of(paper, placed)
    assert (state.status, state.filled, state.spent, state.fee) == ("filled", 2, 2000, 1000 * (TAKER + MAKER))
    assert paper.funds()["EUR"].held == 0
    check_books(paper, store)


def test_a_resting_order_is_filled_at_its_own_price_by_what_stands_there_at_each_look(paper, source, store):
    placed = order("sell", "10", "1100")
    assert paper.place(placed).status == "open"
    filled = []
    for bid, amounts in (
        ("1099.9", ("50",)),
        ("1100", ("3",)),
        ("1200", ("1", "4")),
        ("1050", ("9",)),
        ("1150", ("9",)),
    ):
        source.offer(Decimal(bid) + 10, bid, amounts)
        source.look()
        filled.append(state_of(paper, placed).filled)
    assert filled == [0, 3, 8, 8, 10]
    state = state_of(paper, placed)
    assert (state.status, state.average, state.fee) == ("filled", 1100, 11000 * MAKER)
    assert {fill.price for fill in paper.fills("EUR", "BTC")} == {Decimal(1100)}
    check_books(paper, store)


def test_what_stands_there_at_one_look_counts_once_however_often_and_by_whom_it_is_read(paper, source):
    placed = order("sell", "10", "1100")
    paper.place(placed)
    source.offer("1110", "1100", ("3",))
    source.look()
    other = live_paper(source.kind)(paper.context, replace(source.config, live=source.prices()))
    for reader in (paper, paper, other):
        assert state_of(reader, placed).filled == 3
        source.wait(0.9)
        other._config.live.look("EUR", "BTC")


def test_many_server_processes_that_look_at_once_fill_an_order_once(paper, source, store):
    """On PostgreSQL each with a connection of its own: the ledger of a registration has one transaction at a time."""
    placed = [order("sell", "1", "1100") for _ in range(5)]
    for each in placed:
        paper.place(each)
    source.offer("1110", "1100", ("50",))
    source.wait()
    readers = [live_paper(source.kind)(paper.context, replace(source.config, live=source.prices())) for _ in range(6)]
    for reader in readers:
        reader._config.live.look("EUR", "BTC")
    assert in_threads(6, lambda number: readers[number].open_orders()) == [[]] * 6
    assert len(paper.fills("EUR", "BTC")) == 5
    assert paper.balance()["BTC"] == 95
    check_books(paper, store)


def test_the_orders_of_a_registration_share_what_stands_there_the_oldest_first(paper, source):
    first, second = order("sell", "2", "1100"), order("sell", "2", "1100")
    paper.place(first)
    paper.place(second)
    source.offer("1110", "1100", ("3",))
    source.look()
    assert [state_of(paper, each).filled for each in (first, second)] == [2, 1]


def test_what_older_orders_took_of_a_look_is_not_there_for_others_in_a_later_call(paper, source, store):
    first, second = order("sell", "5", "1100"), order("sell", "2", "1100")
    paper.place(first)
    paper.place(second)
    source.offer("1110", "1100", ("3",))
    source.look()
    for _ in range(3):
        assert [state_of(paper, each).filled for each in (first, second)] == [3, 0]
    source.look()
    assert [state_of(paper, each).filled for each in (first, second)] == [5, 1]
    check_books(paper, store)


def test_an_order_is_not_filled_by_a_look_from_before_it_was_placed(paper, source):
    """Another server process may still have one."""
    behind = live_paper(source.kind)(paper.context, replace(source.config, live=source.prices()))
    source.offer("1110", "1100")
    behind._config.live.look("EUR", "BTC")
    source.wait()
    source.offer("1000", "990")
    placed = order("sell", "1", "1100")
    assert paper.place(placed).status == "open"
    assert state_of(behind, placed).status == "open"


@pytest.mark.parametrize(
    ("given", "status", "filled", "reason"),
    [
        ({"time_in_force": "IOC"}, "partly_filled", 1, "IOC: what was not filled at once was canceled"),
        ({"time_in_force": "IOC", "price": "999"}, "canceled", 0, "IOC: nobody takes it at this price now"),
        ({"time_in_force": "FOK"}, "canceled", 0, "FOK: nobody takes it at this price now"),
        ({"time_in_force": "FOK", "price": "1001"}, "filled", 2, None),
        ({"post_only": True, "price": "999"}, "open", 0, None),
    ],
)
def test_conditions_are_kept_with_what_is_offered(paper, given, status, filled, reason):
    state = paper.place(order("buy", "2", **{"price": "1000", **given}))
    assert (state.status, state.filled, state.reason) == (status, filled, reason)
    assert (paper.funds()["EUR"].held > 0) == (status == "open")


def test_a_post_only_order_that_would_take_is_refused(paper):
    with pytest.raises(Refused, match="post-only") as caught:
        paper.place(order("buy", "2", "1000", post_only=True))
    assert caught.value.code == "would_take"


@pytest.mark.parametrize(
    ("stop", "price", "asks", "statuses", "average"),
    [
        ("1100", None, ("1099", "1101", "1000"), ["open", "filled", "filled"], "1101.73"),
        ("1100", "1101", ("1099", "1101", "1000"), ["open", "open", "filled"], "1101"),
        ("1100", "1050", ("1150", "1100", "1040"), ["open", "open", "filled"], "1050"),
    ],
)
def test_a_stop_begins_when_the_best_price_reaches_it(paper, source, store, stop, price, asks, statuses, average):
    placed = order("buy", "3", price, stop=stop)
    assert paper.place(placed).status == "open"
    seen = []
    for ask in asks:
        source.offer(ask, Decimal(ask) - 5)
        source.look()
        seen.append(state_of(paper, placed).status)
    assert seen == statuses
    assert state_of(paper, placed).average.quantize(Decimal("0.01"), "ROUND_DOWN") == Decimal(average)
    check_books(paper, store)


def test_an_order_ends_at_its_time_also_while_there_are_no_prices(paper, source):
    ends = datetime.fromtimestamp(source.now, UTC).replace(microsecond=0) + timedelta(seconds=60)
    placed = order("sell", "1", "2000", time_in_force="GTD", expires=ends)
    paper.place(placed)
    source.venue.fault("maintenance", times=1000, path="Depth")
    source.wait(61)
    state = state_of(paper, placed)
    assert (state.status, state.reason) == ("canceled", "it expired")


def test_an_order_in_many_parts_costs_to_the_last_digit_what_it_costs_as_a_whole():
    parts = [(Decimal("0.00123"), Decimal("0.0000000" + str(digit))) for digit in range(1, 9)]
    for side in ("buy", "sell"):
        each = Execution(side, Decimal("1e-8"))
        for part in parts:
            after = each.and_parts([part], TAKER)
            assert after.given >= each.given
            each = after
        whole = Execution(side, Decimal("1e-8")).and_parts(parts, TAKER)
        assert each == whole
        assert (whole.spent >= whole.value) == (side == "buy")
        assert whole.fee >= whole.charge


def test_it_takes_every_pair_by_its_rules_and_published_fees(source):
    paper = source.paper(opening={"BTC": Decimal(1)})
    source.offer("0.0615", "0.0614", pair="ETH/BTC")
    with source.open() as kraken:
        assert paper.markets() == kraken.markets()
    assert paper.fees("BTC", "ETH").source == "published"
    state = paper.place(NewOrder("buy", "BTC", "ETH", "c", amount=Decimal("0.5")))
    assert (state.fee_currency, state.spent, state.fee) == ("BTC", Decimal("0.03075"), Decimal("0.00007995"))
    assert paper.balance()["ETH"] == Decimal("0.5")
    for bad, code in (
        (NewOrder("buy", "BTC", "ETH", "d", amount=Decimal("0.001")), "amount_min"),
        (NewOrder("buy", "EUR", "BTC", "d", amount=Decimal("0.1"), price=Decimal("900.123")), "price_step"),
        (NewOrder("buy", "EUR", "XYZ", "d", amount=Decimal(1)), "unknown_market"),
        (NewOrder("sell", "EUR", "BTC", "d", amount=Decimal(2)), "insufficient_funds"),
    ):
        with pytest.raises(Refused) as caught:
            paper.place(bad)
        assert caught.value.code == code


def test_where_no_fees_are_published_those_of_the_recorded_prices_are_taken():
    assert with_fees(Market("EUR", "BTC")).taker_fee == with_fees(Market("EUR", "BTC")).maker_fee == Decimal("0.0026")
    assert with_fees(Market("EUR", "BTC", taker_fee=Decimal("0.001"))).maker_fee == Decimal("0.001")
    assert with_fees(Market("EUR", "BTC", maker_fee=Decimal(0), taker_fee=Decimal("0.1"))).maker_fee == 0


def test_the_market_is_told_as_the_source_tells_it(paper, source):
    with source.open() as kraken:
        assert paper.order_book("EUR", "BTC", 2).asks == kraken.order_book("EUR", "BTC", 2).asks
        assert len(paper.order_book("EUR", "BTC", 2).asks) == 2
        assert (paper.rate("EUR", "BTC").buy, paper.rate("EUR", "BTC").sell) == (1000, 990)
        assert paper.ticker("EUR", "BTC").high == kraken.ticker("EUR", "BTC").high
        assert paper.candle_intervals() == kraken.candle_intervals()
        assert paper.candles("EUR", "BTC", "1h", None, 3) == kraken.candles("EUR", "BTC", "1h", None, 3)
        assert paper.trades("EUR", "BTC", 3) == kraken.trades("EUR", "BTC", 3)
    assert "Kraken" in type(paper).description


def test_what_the_source_lacks_paper_lacks():
    class NoCandles(Kraken):
        candles = Exchange.candles

    assert "candles" in supports(live_paper(Kraken))
    assert "candles" not in supports(live_paper(NoCandles))
    assert "trades" in supports(live_paper(NoCandles))


def check_paused(paper, source, words, code="exchange_unavailable"):
    """Nothing is filled, and what needs no price works."""
    before, placed = paper.balance(), order("sell", "0.1")
    for needs_price in (
        lambda: paper.place(placed),
        lambda: paper.rate("EUR", "BTC"),
        lambda: paper.estimate(placed),
        lambda: paper.market_cost("EUR", "BTC", Decimal(1)),
    ):
        with pytest.raises(Refused, match=words) as caught:
            needs_price()
        assert caught.value.code == code
        assert caught.value.retryable
        assert "paper" in str(caught.value)
    assert paper.balance() == before
    assert state_of(paper, placed) is None


@pytest.mark.parametrize("fault", ["refused", "maintenance", "html", "reset_before", "cut"])
def test_while_the_source_cannot_be_asked_trading_pauses_with_words(paper, source, fault):
    resting = [paper.place(order("sell", "1", price)) for price in ("1100", "2000")]
    assert [state.reason for state in paper.open_orders()] == [None, None]
    source.offer(1300, 1290)
    source.venue.fault(fault, times=1000, path="Depth", seconds=60)
    source.wait()
    check_paused(paper, source, "pauses: ")
    assert [(state.status, state.filled) for state in paper.open_orders()] == [("open", 0), ("open", 0)]
    assert "pauses" in paper.open_orders()[0].reason
    # Cancels and balances need no price.
    paper.cancel(OrderRef("sell", "EUR", "BTC", resting[1].client_id))
    assert paper.funds()["BTC"].held == 1
    source.venue.heal()
    assert source.look() is None
    assert paper.open_orders() == []
    assert state_of(paper, order_ref(resting[0])).average == 1100


def order_ref(state):
    return OrderRef(state.side, state.currency, state.asset, state.client_id)


def _without_bids(book):
    book["bids"] = []


def _crossed(book):
    book["bids"][0][0] = "1000.1"


def _zero(book):
    book["asks"][0][0] = "0.0"


def _negative(book):
    book["bids"][0][0] = "-990"


def _no_price(book):
    book["asks"][0][0] = None


def _nan(book):
    book["asks"][0][0] = "NaN"


def _absent(book):
    del book["asks"]


@pytest.mark.parametrize("lie", [_without_bids, _crossed, _zero, _negative, _no_price, _nan, _absent])
def test_a_source_that_lies_pauses_trading_and_nothing_is_filled_at_such_a_price(paper, source, lie):
    paper.place(order("buy", "1", "900"))
    paper.place(order("sell", "1", "1000.1"))
    lies = [True]

    def change(answer):
        if lies:
            lie(answer["result"]["XXBTZEUR"])
        return answer

    venue = source.venue
    public = venue.public_Depth
    venue.public_Depth = lambda given: change({"result": json.loads(json.dumps(public(given)))})["result"]
    source.wait()
    check_paused(paper, source, "pauses: ")
    assert [state.filled for state in paper.open_orders()] == [0, 0]
    lies.clear()
    assert source.look() is None
    assert paper.place(order("sell", "0.1")).average == 990


@pytest.mark.parametrize("factor", ["0.5", "1.5", "0.01", "100"])
def test_a_price_that_jumps_is_believed_when_it_is_seen_again_some_seconds_later(paper, source, factor):
    resting = {"buy": order("buy", "1", "700"), "sell": order("sell", "1", "1300")}
    for each in resting.values():
        paper.place(each)
    ask, bid = 1000 * Decimal(factor), 990 * Decimal(factor)
    source.offer(ask, bid)
    source.wait()
    check_paused(paper, source, "jumped by more than a third")
    assert [state.filled for state in paper.open_orders()] == [0, 0]
    assert source.look() is not None, "three seconds are too few"
    assert source.look() is None
    reached = resting["buy" if ask < 1000 else "sell"]
    assert state_of(paper, reached).status == "filled"
    assert paper.place(order("sell", "0.1")).average == bid


def test_a_price_that_jumps_and_comes_back_fills_nothing(paper, source):
    paper.place(order("buy", "1", "700"))
    paper.place(order("sell", "1", "1300"))
    for factor in ("0.5", "1", "2", "1", "0.5", "2", "0.5", "2", "0.5", "1"):
        source.offer(1000 * Decimal(factor), 990 * Decimal(factor))
        assert (source.look() is None) == (factor == "1")
        assert [state.filled for state in paper.open_orders()] == [0, 0]


def test_a_price_that_rises_by_less_is_believed_at_once(paper, source):
    paper.place(order("sell", "1", "1300"))
    source.offer(1330, 1310)
    assert source.look() is None
    assert paper.open_orders() == []


def test_a_source_whose_time_stands_still_pauses_trading(store):
    with BitstampVenue() as venue:
        source = Source(Bitstamp, venue, store)
        source.offer(1000, 990)
        paper = source.paper()
        assert paper.place(order("sell", "1")).average == 990
        stopped = venue.clock() - 61
        venue.clock = lambda: stopped
        source.wait()
        check_paused(paper, source, "61 seconds old")


def test_pairs_that_callers_invent_are_not_kept_for_ever(source, monkeypatch):
    monkeypatch.setattr(live_prices, "_MOST_WATCHED", 10)
    prices = source.config.live
    prices.look("EUR", "BTC")
    for number in range(50):
        with pytest.raises(Refused):
            prices.look("EUR", f"INVENTED{number}")
    assert len(prices._watched) <= 10
    assert ("EUR", "BTC") in prices._watched


def test_a_look_serves_all_for_some_seconds_and_a_failure_too(paper, source):
    depth = lambda: sum("Depth" in request.path for request in source.venue.requests)
    for _ in range(5):
        paper.place(order("sell", "0.1"))
    assert depth() == 1
    source.wait()
    source.venue.fault("maintenance", times=1000, path="Depth")
    for _ in range(5):
        with pytest.raises(Refused):
            paper.place(order("sell", "0.1"))
    assert depth() == 2


def test_where_the_limit_allows_no_newer_look_the_last_one_serves_for_ten_seconds(paper, source):
    paper.rate("EUR", "BTC")
    source.venue.fault("rate_limit", times=1000, path="Depth")
    source.wait(9)
    assert paper.place(order("sell", "0.1")).average == 990
    source.wait(3)
    with pytest.raises(Refused) as caught:
        paper.place(order("sell", "0.1"))
    assert caught.value.code == "rate_limited"


def test_orders_of_a_pair_that_the_prices_lack_stay_open_and_say_why(source, store):
    """They may have been placed at other prices, before the setting was another one."""
    paper = source.paper()
    placed = order("sell", "1", "1100")
    paper.place(placed)
    recorded = Paper(paper.context, replace(source.config, live=None))
    assert "no market BTC/EUR" in state_of(recorded, placed).reason
    assert recorded.funds()["BTC"].held == 1
    placed = NewOrder("sell", "USD", "BTC", "on the recorded day", amount=Decimal(1), price=Decimal(900_000))
    assert recorded.place(placed).status == "open"
    source.venue.pair_status["XXBTZUSD"] = "delisted"
    source._cache.invalidate("AssetPairs")
    assert source.look(("USD", "BTC")).code == "unknown_market"
    waiting = paper.find(OrderRef("sell", "USD", "BTC", "on the recorded day"))
    assert (waiting.status, "Kraken" in waiting.reason, "no market BTC/USD" in waiting.reason) == ("open", True, True)
    paper.cancel(OrderRef("sell", "USD", "BTC", "on the recorded day"))
    assert state_of(paper, placed).status == "canceled"


def test_amounts_of_any_currency_are_moved_to_another_registration(source, store):
    mine, theirs = source.paper(opening={"ETH": Decimal(3)}), source.paper()
    id = theirs.context.registration
    mine.transfer(NewTransfer("ETH", Decimal("1.5"), theirs.transfer_account(), "t", to_registration=id))
    assert (mine.balance()["ETH"], theirs.balance()["ETH"]) == (Decimal("1.5"), Decimal("4.5"))


class TestTheContract(ExchangeContract):
    """Paper at live prices is an exchange like any other."""

    currency, asset, amount = "EUR", "BTC", Decimal("0.01")
    send_to = ADDRESS
    takes = frozenset({"market", "limit", "cost", "sell_cost"})
    conditions = frozenset({"post_only", "GTC", "IOC", "FOK", "GTD", "stop"})
    fees_of = "published"

    @pytest.fixture
    def exchange(self, paper, source):
        yield paper
        paths = {request.path for request in source.venue.requests}
        assert all(path.startswith("/0/public/") for path in paths), "the source was asked for what needs a key"

    @pytest.fixture
    def ledger(self, store):
        def executed():
            orders = sql(store.where, "SELECT id, client_id, side, amount FROM paper_orders")
            sends = sql(store.where, "SELECT id, client_id, 'send', amount FROM paper_sends")
            names = ("kind", "order_id", "client_id", "side", "amount")
            return [
                *(dict(zip(names, ("order", *row), strict=True)) for row in orders),
                *(dict(zip(names, ("withdrawal", *row), strict=True)) for row in sends),
            ]

        return executed
