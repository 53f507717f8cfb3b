"""The ledger of an account: all that moved its money, oldest first, each entry once, and it adds up to the balance."""

from __future__ import annotations

import itertools
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.backpack import Backpack
from bitmm.xwrap.exchanges.backpack.ledger import entries_of_fill
from bitmm.xwrap.exchanges.bitstamp import Bitstamp
from bitmm.xwrap.exchanges.bitstamp.ledger import entries_from_row
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.exchanges.kraken.ledger import entry_from_row
from bitmm.xwrap.exchanges.models import NewOrder
from bitmm.xwrap.testing.exchanges.backpack import BackpackVenue
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from bitmm.xwrap.testing.exchanges.records import Fill
from bitmm.xwrap.transport import Transport
from tests.support.exchanges import change_answers, connect

#: A trade is two rows at Kraken.
FILLS = {"kraken": 1250, "bitstamp": 2500, "backpack": 2500}
PLACES = {
    "kraken": (Kraken, KrakenVenue, "EUR"),
    "bitstamp": (Bitstamp, BitstampVenue, "EUR"),
    "backpack": (Backpack, BackpackVenue, "USDC"),
}


class Place:
    """An account without money at a local exchange, and what a test does with it."""

    def __init__(self, name, transport, stack):
        kind, venue_kind, self.currency = PLACES[name]
        self.venue = stack.enter_context(venue_kind(balances={}))
        # Some come with money of their own.
        self.venue.account.balances.clear()
        self.exchange = connect(kind, self.venue, transport)

    def order(self, side, amount, price=None):
        id = uuid.uuid4().hex
        price = None if price is None else Decimal(price)
        return self.exchange.place(NewOrder(side, self.currency, "BTC", id, amount=Decimal(amount), price=price))

    def add_fills(self, count, pause=1.0):
        """Let the first order have more fills, each so many seconds after the one before."""
        order = next(iter(self.venue.orders.values()))
        for _ in range(count):
            self.seconds += pause
            values = (Decimal(100), Decimal("0.01"), Decimal(1), Decimal("0.01"))
            order.fills.append(
                Fill(self.venue.new_id("fill"), order, *values, self.currency, False, round(self.seconds, 3))
            )

    def trade_long_ago(self, seconds=100_000):
        """Have one order whose fills are to be added, from so many seconds ago on."""
        self.venue.deposit(self.currency, Decimal(10_000))
        self.order("buy", "0.01")
        next(iter(self.venue.orders.values())).fills.clear()
        self.venue.deposits.clear()
        self.seconds = self.venue.clock() - seconds

    def ledger(self, since=None, new=lambda: None):
        """All entries of all pages, as they come, while `new` runs between two of them."""
        entries, cursor = [], None
        while True:
            page = self.exchange.ledger_page(since, cursor)
            entries += page.rows
            cursor = page.next
            if cursor is None:
                return entries
            new()

    def once_each(self, **options):
        """The entries without those that came before, as the client gives them."""
        return list({entry.id: entry for entry in self.ledger(**options)}.values())


def sums(entries):
    """What the entries add up to, by asset."""
    added = {}
    for entry in entries:
        added[entry.asset] = added.get(entry.asset, Decimal(0)) + entry.amount - entry.fee
    return {asset: amount for asset, amount in added.items() if amount}


def owned(exchange):
    # Backpack's points are no money.
    return {asset: amount for asset, amount in exchange.balance().items() if amount and asset != "POINTS"}


@pytest.fixture
def open_place():
    """A function: an account without money at the local exchange of this name."""
    transport = Transport(timeout=20)
    with ExitStack() as stack:
        stack.callback(transport.close)
        yield lambda name: Place(name, transport, stack)


@pytest.fixture(params=PLACES)
def place(request, open_place):
    return open_place(request.param)


@pytest.fixture
def kraken(open_place):
    return open_place("kraken")


@pytest.fixture
def bitstamp(open_place):
    return open_place("bitstamp")


@pytest.fixture
def backpack(open_place):
    return open_place("backpack")


def move_money(place):
    """Deposit, trade at the market and as a maker, and send."""
    venue, currency = place.venue, place.currency
    venue.deposit(currency, Decimal("50000.12"))
    venue.deposit("BTC", Decimal("0.12345678"))
    place.order("buy", "0.03")
    place.order("sell", "0.0123")
    ask = next(iter(venue.pairs[f"BTC/{currency}"].asks))[0]
    price = (ask * Decimal("0.9")).quantize(Decimal(1))
    place.order("buy", "0.2", price)
    venue.set_best_prices(f"BTC/{currency}", price - 1, price - 2)
    venue.withdraw(venue.account, "BTC", Decimal("0.05"), "somewhere", fee=Decimal("0.0002"))


def test_the_ledger_adds_up_to_the_balance(place):
    move_money(place)
    entries = place.ledger()
    assert sums(entries) == owned(place.exchange)
    assert {entry.kind for entry in entries} == {"deposit", "fill", "withdrawal"}
    assert [entry.time for entry in entries] == sorted(entry.time for entry in entries)
    assert len({entry.id for entry in entries}) == len(entries)
    [sent] = [entry for entry in entries if entry.kind == "withdrawal"]
    assert (sent.asset, sent.amount, sent.fee) == ("BTC", Decimal("-0.0498"), Decimal("0.0002"))


@pytest.mark.parametrize("name", ["kraken", "bitstamp"])
def test_what_moves_between_ones_own_accounts_is_in_both_ledgers(name, open_place):
    place = open_place(name)
    venue = place.venue
    other = venue.add_account("another-key", venue.secret, {})
    venue.deposit("BTC", Decimal(1))
    venue.transfer(venue.account, other, "BTC", Decimal("0.4"))
    venue.transfer(other, venue.account, "BTC", Decimal("0.1"))
    entries = place.ledger()
    assert [(entry.kind, entry.amount) for entry in entries] == [
        ("deposit", Decimal(1)),
        ("transfer", Decimal("-0.4")),
        ("transfer", Decimal("0.1")),
    ]
    assert sums(entries) == owned(place.exchange) == {"BTC": Decimal("0.7")}


def test_the_sides_of_a_trade_share_a_reference(place):
    move_money(place)
    trades = {}
    for entry in place.ledger():
        if entry.kind == "fill":
            trades.setdefault(entry.reference, set()).add(entry.asset)
    assert len(trades) >= 3
    assert all(assets == {"BTC", place.currency} for assets in trades.values())


def test_a_long_ledger_is_read_whole_oldest_first(place):
    place.trade_long_ago()
    place.add_fills(FILLS[place.exchange.id])
    entries = place.ledger()
    assert len(entries) == len({entry.id for entry in entries}) == 2 * FILLS[place.exchange.id]
    assert [entry.time for entry in entries] == sorted(entry.time for entry in entries)


@pytest.mark.parametrize(("count", "pause"), [(3, 0.002), (40, 0.01), (1, 1.5)])
def test_what_comes_meanwhile_makes_no_gap_and_comes_once(place, count, pause):
    place.trade_long_ago()
    place.add_fills(FILLS[place.exchange.id] if count == 3 else 300)
    order = next(iter(place.venue.orders.values()))
    before = [fill.id for fill in order.fills]
    pages = itertools.count()
    entries = place.once_each(new=lambda: place.add_fills(0 if next(pages) % 5 else count, pause))
    read = [entry.reference.removeprefix(f"{order.id}-") for entry in entries]
    # Each trade has two sides.
    assert [id for id in read if id in set(before)] == [id for id in before for _ in range(2)]


def test_what_comes_in_the_second_of_the_newest_row_makes_no_gap(kraken):
    """The list ends with that second, so its rows move all others back."""
    kraken.trade_long_ago()
    kraken.seconds = float(int(kraken.seconds))
    kraken.add_fills(149)
    kraken.seconds += 0.5
    kraken.add_fills(1, 0.001)
    before = [entry.id for entry in kraken.once_each()]
    new = iter([30, 0, 25, 60])
    read = [entry.id for entry in kraken.once_each(new=lambda: kraken.add_fills(next(new, 0), 0.001))]
    assert read[: len(before)] == before


def test_only_what_there_was_since_a_time(place):
    place.trade_long_ago()
    place.add_fills(1200)
    entries = place.ledger()
    since = entries[1502].time
    assert place.ledger(since=since) == [entry for entry in entries if entry.time >= since]
    assert place.ledger(since=datetime.now(UTC)) == []


def test_an_account_where_nothing_moved_has_an_empty_ledger(place):
    assert place.exchange.ledger_page(None).rows == []
    assert place.exchange.ledger_page(None).next is None


@pytest.mark.parametrize("cursor", ["x", "1:2:3:4", "-1", "1.5", "9" * 16, "1e3", " 1", "١"])
def test_a_cursor_that_the_exchange_did_not_give_is_refused(place, cursor):
    with pytest.raises(Refused, match="no cursor of") as caught:
        place.exchange.ledger_page(None, cursor)
    assert (caught.value.code, caught.value.details) == ("invalid_request", {"field": "cursor"})


def test_a_send_that_is_taken_back_at_kraken_adds_up(kraken):
    kraken.venue.deposit("BTC", Decimal(1))
    made = kraken.venue.withdraw(kraken.venue.account, "BTC", Decimal("0.5"), "somewhere", fee=Decimal("0.001"))
    kraken.venue.private_WithdrawCancel(kraken.venue.account, {"refid": made.id})
    entries = kraken.ledger()
    assert [(entry.kind, entry.amount, entry.fee) for entry in entries] == [
        ("deposit", Decimal(1), Decimal(0)),
        ("withdrawal", Decimal("-0.499"), Decimal("0.001")),
        ("withdrawal", Decimal("0.499"), Decimal("-0.001")),
    ]
    assert sums(entries) == owned(kraken.exchange) == {"BTC": Decimal(1)}


def test_kraken_says_what_is_owned_after_each_entry(kraken):
    move_money(kraken)
    running = {}
    for entry in kraken.ledger():
        running[entry.asset] = running.get(entry.asset, Decimal(0)) + entry.amount - entry.fee
        assert entry.balance == running[entry.asset]


@pytest.mark.parametrize(
    ("word", "subtype", "kind"),
    [
        *(("trade", "", "fill"), ("spend", "", "fill"), ("receive", None, "fill"), ("rollover", "", "fee")),
        *(("transfer", "spottostaking", "transfer"), ("staking", "", "reward"), ("earn", "reward", "reward")),
        *(("earn", "allocation", "transfer"), ("earn", "autoallocation", "transfer"), ("earn", "migration", "other")),
        *(("margin", "", "other"), ("adjustment", "", "other"), ("reward", "", "reward"), ("new word", "", "other")),
    ],
)
def test_krakens_words_for_what_moved(word, subtype, kind):
    row = {"refid": "R1", "time": 1, "type": word, "subtype": subtype, "asset": "XXBT", "amount": "1", "fee": "0"}
    entry = entry_from_row("L1", row, {"XXBT": "BTC"})
    assert (entry.kind, entry.asset, entry.balance) == (kind, "BTC", None)
    assert entry.description == (f"{word}, {subtype}" if subtype else word)


def test_what_earns_at_kraken_counts_to_its_asset_and_its_balance_is_no_whole_one():
    row = {"refid": "R1", "time": 1, "type": "earn", "subtype": "reward", "asset": "XBT.F", "amount": "1", "fee": "0"}
    assets = {"XXBT": "BTC", "XBT": "BTC"}
    assert entry_from_row("L1", {**row, "balance": "5"}, assets).asset == "BTC"
    assert entry_from_row("L1", {**row, "balance": "5"}, assets).balance is None
    staked = entry_from_row("L1", {**row, "asset": "XBT.S", "balance": "5"}, assets)
    assert (staked.asset, staked.balance) == ("BTC.S", Decimal(5))


@pytest.mark.parametrize("change", [{"amount": "many"}, {"fee": None}, {"amount": None}])
def test_an_amount_that_is_not_understood_is_not_known(change):
    row = {"refid": "R1", "time": 1, "type": "trade", "asset": "XXBT", "amount": "1", "fee": "0", "balance": "1"}
    entry = entry_from_row("L1", row | change, {"XXBT": "BTC"})
    assert (entry.amount, entry.fee, entry.balance) == (None, None, None)
    transaction = {"id": 1, "type": "0", "datetime": "2026-11-27 10:00:00", "fee": "0.00", "btc": "many", "usd": "0.00"}
    [moved] = entries_from_row(transaction, {"BTC", "USD"})
    assert (moved.id, moved.asset, moved.amount, moved.fee) == ("1+BTC", "BTC", None, None)


def test_a_fee_of_backpack_in_a_third_asset_is_an_entry_of_its_own():
    row = {"symbol": "SOL_USDC", "side": "Ask", "quantity": "2", "price": "150", "tradeId": 7, "orderId": "11"}
    row |= {"timestamp": "2026-03-01T10:00:00.123", "fee": "0.1", "feeSymbol": "BP"}
    entries = [(one.kind, one.asset, one.amount, one.fee) for one in entries_of_fill(row)]
    nothing = Decimal(0)
    assert entries == [
        ("fill", "SOL", Decimal(-2), nothing),
        ("fill", "USDC", Decimal(300), nothing),
        ("fee", "BP", Decimal("-0.1"), nothing),
    ]
    assert [one.fee for one in entries_of_fill({**row, "fee": None})] == [None, None]
    assert entries_of_fill({**row, "symbol": "SOL_USDC_PERP"}) == []


def test_a_page_of_kraken_that_is_too_short_is_not_believed(kraken):
    """The rows that it lacks would be left out."""
    kraken.trade_long_ago()
    kraken.add_fills(100)

    def shorten(answer):
        rows = answer["result"]["ledger"]
        return {**answer, "result": {**answer["result"], "ledger": dict(list(rows.items())[:25])}}

    change_answers(kraken.venue, "POST", "/0/private/Ledgers", shorten)
    with pytest.raises(Refused) as caught:
        kraken.ledger()
    assert caught.value.code == "exchange_unavailable"


def test_bitstamp_is_asked_for_times_of_the_last_30_days_alone(bitstamp):
    """It refuses older ones: then all rows are read, and the old ones left out."""
    bitstamp.trade_long_ago(seconds=40 * 86400)
    bitstamp.add_fills(10, pause=6 * 86400)
    entries = bitstamp.ledger()
    for days in (39, 31, 29.5, 20, 1):
        since = datetime.now(UTC) - timedelta(days=days)
        assert bitstamp.ledger(since=since) == [entry for entry in entries if entry.time >= since]


def test_bitstamp_tells_no_more_than_200000_rows_and_says_so(bitstamp):
    assert bitstamp.exchange.ledger_page(None, "0:200000").rows == []
    with pytest.raises(Refused, match="200,000") as caught:
        bitstamp.exchange.ledger_page(None, "0:201000")
    assert caught.value.code == "history_unavailable"


def test_a_deposit_of_backpack_is_there_when_it_is_done(backpack):
    made = backpack.venue.deposit("BTC", Decimal(1))
    made.status = "pending"
    assert backpack.ledger() == []
    made.status = "done"
    assert [entry.amount for entry in backpack.ledger()] == [Decimal(1)]


def test_a_thousand_trades_of_one_moment_at_backpack_are_refused_in_words(backpack):
    backpack.trade_long_ago()
    backpack.add_fills(1000, pause=0)
    with pytest.raises(Refused, match="trades of one moment"):
        backpack.ledger()
