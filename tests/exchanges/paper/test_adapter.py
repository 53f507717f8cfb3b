"""The paper exchange: exact to the last digit, at real recorded prices."""

from __future__ import annotations

import csv
import random
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

pytest.importorskip("sqlalchemy", reason="the server is not installed")

from bitmm.xwrap.exchanges.base import ExchangeContext
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.models import Candle, NewOrder, NewWithdrawal, OrderRef
from bitmm.xwrap.exchanges.paper import PACKED_PRICES, Paper, PaperConfig, Prices, PricesError
from bitmm.xwrap.testing.exchange_contract import ExchangeContract
from tests.support.databases import sql

#: 2025-01-07 00:01 UTC, the minute of the first packed price.
FIRST = datetime(2025, 1, 7, 0, 1, tzinfo=UTC).timestamp()
FIRST_MINUTE = int(FIRST // 60)
NOON = datetime(2025, 1, 7, 12, tzinfo=UTC)
#: An address of the test network (BIP 173, "Test vectors").
ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
OPENING = {"USD": Decimal(200_000), "BTC": Decimal(1)}


@pytest.fixture
def paper(store):
    return open_paper(store)


def open_paper(store, moment=FIRST, opening=OPENING):
    values = {"account_id": 1, "exchange": "paper", "username": "", "label": "", "apikey_hint": ""}
    id = store.registrations.add(values, lambda _id: {"sealed_more": b""}).id
    config = PaperConfig(Prices.load(), opening, store.paper_ledger, clock=lambda: moment)
    return Paper(ExchangeContext(transport=None, registration=id), config)


def order(side="buy", amount="0.1", client_id="c1"):
    return NewOrder(side, "USD", "BTC", client_id, amount=Decimal(amount))


def ledger(store, paper):
    """What the entries of the book add up to, by currency: read past the exchange, straight from the data base."""
    sums = {}
    query = "SELECT currency, amount FROM paper_entries WHERE registration_id = :registration"
    for currency, amount in sql(store.where, query, registration=paper.context.registration):
        sums[currency] = sums.get(currency, Decimal(0)) + Decimal(amount)
    return sums


def test_the_packed_prices_are_the_closes_of_one_real_day():
    with PACKED_PRICES.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1440
    assert (rows[0]["timestamp"], rows[0]["close"]) == ("1736208060", "102228")
    assert (rows[-1]["timestamp"], rows[-1]["close"]) == ("1736294400", "96899")


@pytest.mark.parametrize(
    ("moment", "close"),
    [
        (FIRST, 102228),
        (FIRST + 59.9, 102228),
        (FIRST + 60, 102215),
        (FIRST + 1439 * 60, 96899),
        (FIRST + 1440 * 60, 102228),
        (FIRST - 60, 96899),
        (FIRST + 365 * 86400, 102228),
    ],
)
def test_prices_are_replayed_by_the_clock_minute_by_minute_for_ever(moment, close):
    assert Prices.load().at(moment) == close


@pytest.mark.parametrize("first", [FIRST_MINUTE, FIRST_MINUTE + 1439, FIRST_MINUTE - 1, FIRST_MINUTE + 700])
@pytest.mark.parametrize("count", [1, 60, 1440, 4000])
def test_the_prices_of_many_minutes_are_those_of_each(first, count):
    prices = Prices.load()
    assert list(prices.between(first, first + count)) == [prices.at((first + minute) * 60) for minute in range(count)]


@pytest.mark.parametrize(
    ("since", "first"),
    [
        (NOON, NOON),
        (NOON + timedelta(microseconds=1), NOON + timedelta(hours=1)),
        (NOON - timedelta(microseconds=1), NOON),
        (datetime(1969, 12, 31, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)),
        (datetime.min.replace(tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_candles_begin_at_the_time_that_is_asked_for_or_at_the_next_one(store, since, first):
    paper = open_paper(store, moment=(NOON + timedelta(days=1)).timestamp())
    times = [candle.time for candle in paper.candles("USD", "BTC", "1h", since, 3)]
    assert times == [first + timedelta(hours=hours) for hours in range(3)]


def test_a_candle_is_made_of_the_recorded_minutes(store):
    paper = open_paper(store, moment=FIRST + 5 * 60)
    closes = Prices.load().closes
    (candle,) = paper.candles("USD", "BTC", "5m", datetime.fromtimestamp(FIRST, UTC), 9)
    assert candle == Candle(
        datetime(2025, 1, 7, 0, 5, tzinfo=UTC), closes[4], max(closes[4:6]), min(closes[4:6]), closes[5], Decimal(0)
    )


def test_the_buy_price_lies_half_a_spread_above_the_close_and_the_sell_price_below(paper):
    rate = paper.rate("USD", "BTC")
    assert (rate.buy, rate.sell) == (Decimal("102248.45"), Decimal("102207.55"))  # 102228 +- 20.4456, to the cent
    assert rate.time == datetime.fromtimestamp(FIRST, UTC)


def test_a_buy_takes_from_the_currency_and_adds_to_the_asset(paper):
    state = paper.place(order("buy", "0.1"))
    assert state.average == Decimal("102248.45")
    assert state.spent == Decimal("10224.85")  # 10224.845, rounded against the user
    assert state.fee == Decimal("26.59")  # 0.26 % of 10224.845 = 26.584597
    assert (state.status, state.filled, state.fee_currency) == ("filled", Decimal("0.1"), "USD")
    assert paper.balance() == {"USD": Decimal(200_000) - state.spent - state.fee, "BTC": Decimal("1.1")}


def test_a_sell_takes_from_the_asset_and_adds_to_the_currency(paper):
    state = paper.place(order("sell", "0.1"))
    assert state.spent == Decimal("10220.75")  # 10220.755, rounded against the user
    assert state.fee == Decimal("26.58")  # 26.573963
    assert paper.balance() == {"USD": Decimal(200_000) + state.spent - state.fee, "BTC": Decimal("0.9")}


@pytest.mark.parametrize(
    "bad",
    [
        order("buy", "2"),
        order("sell", "1.00000001"),
        order("buy", "0.000000001"),
        NewOrder("buy", "EUR", "BTC", "c1", amount=Decimal(1)),
        NewOrder("buy", "USD", "ETH", "c1", amount=Decimal(1)),
        NewOrder("buy", "USD", "BTC", "c1", amount=Decimal(-1)),
    ],
)
def test_a_refused_order_changes_nothing(store, paper, bad):
    paper.place(order("sell", "0.00000001", "c0"))
    before = paper.balance()
    with pytest.raises(Refused):
        paper.place(bad)
    assert paper.balance() == before == ledger(store, paper)


def test_the_last_cent_can_be_spent_and_not_one_more(store):
    needed = Decimal("10224.85") + Decimal("26.59")
    enough = open_paper(store, opening={"USD": needed})
    assert enough.place(order()).status == "filled"
    assert enough.balance()["USD"] == 0
    short = open_paper(store, opening={"USD": needed - Decimal("0.01")})
    with pytest.raises(Refused) as caught:
        short.place(order())
    assert caught.value.code == "insufficient_funds"
    assert short.balance() == {"USD": needed - Decimal("0.01"), "BTC": 0}


def test_2000_orders_from_16_threads_neither_create_nor_lose_a_digit(store):
    paper = open_paper(store, opening={"USD": Decimal(20000), "BTC": Decimal("0.2")})
    counts = {"filled": 0, "insufficient_funds": 0}
    lock = threading.Lock()
    states = []

    def trade(number):
        dice = random.Random(number)
        for turn in range(125):
            amount = str(Decimal(dice.randint(1, 5_000_000)).scaleb(-8))
            try:
                state = paper.place(order(dice.choice(["buy", "sell"]), amount, f"{number}-{turn}"))
            except Refused as refusal:
                with lock:
                    counts[refusal.code] += 1
            else:
                with lock:
                    counts["filled"] += 1
                    states.append(state)

    threads = [threading.Thread(target=trade, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(counts.values()) == 2000
    assert min(counts.values()) > 0, "both endings were met"
    btc = sum((s.filled if s.side == "buy" else -s.filled for s in states), Decimal("0.2"))
    usd = sum((s.spent if s.side == "sell" else -s.spent for s in states), Decimal(20000)) - sum(s.fee for s in states)
    assert paper.balance() == {"USD": usd, "BTC": btc} == ledger(store, paper)
    assert min(usd, btc) >= 0


def test_registrations_have_books_of_their_own(store, paper):
    other = open_paper(store)
    paper.place(order())
    assert other.balance() == OPENING
    assert other.deposit_address("BTC") != paper.deposit_address("BTC")


def test_an_order_is_found_by_our_id(paper):
    placed = paper.place(order(client_id="mine"))
    found = paper.find(OrderRef("buy", "USD", "BTC", "mine"))
    assert found.exchange_order_id == placed.exchange_order_id
    assert (found.filled, found.average, found.spent, found.fee) == (
        placed.filled,
        placed.average,
        placed.spent,
        placed.fee,
    )
    assert paper.find(OrderRef("buy", "USD", "BTC", "never")) is None


def test_one_client_id_is_executed_once(paper):
    paper.place(order(client_id="mine"))
    before = paper.balance()
    with pytest.raises(Exception, match=r"(?i)unique"):
        paper.place(order(client_id="mine"))
    assert paper.balance() == before


def test_a_send_takes_the_asset_off_and_is_recorded(store, paper):
    sent = paper.withdraw(NewWithdrawal("BTC", Decimal("0.25"), ADDRESS, "c1"))
    assert (sent.status, sent.amount) == ("done", Decimal("0.25"))
    assert paper.balance()["BTC"] == Decimal("0.75")
    assert sql(store.where, "SELECT asset, amount, address FROM paper_sends") == [("BTC", "0.25", ADDRESS)]


@pytest.mark.parametrize(
    ("withdrawal", "code"),
    [
        (NewWithdrawal("BTC", Decimal("1.00000001"), ADDRESS, "c1"), "insufficient_funds"),
        (NewWithdrawal("ETH", Decimal(1), ADDRESS, "c1"), "unknown_asset"),
        (NewWithdrawal("USD", Decimal(1), ADDRESS, "c1"), "unknown_asset"),
        (NewWithdrawal("BTC", Decimal(1), "tb1qsomebody", "c1"), "invalid_address"),
        (NewWithdrawal("BTC", Decimal("0.000000001"), ADDRESS, "c1"), "amount_step"),
        (NewWithdrawal("BTC", Decimal(1), ADDRESS, "c1", tag="7"), "unsupported"),
    ],
)
def test_a_refused_send_changes_nothing(store, paper, withdrawal, code):
    with pytest.raises(Refused) as caught:
        paper.withdraw(withdrawal)
    assert caught.value.code == code
    assert paper.balance() == OPENING
    assert sql(store.where, "SELECT count(*) FROM paper_sends") == [(0,)]


def test_its_addresses_are_valid_on_the_test_network(store):
    """Checked by the rule of BIP 173 (a polymod of 1 over the whole), not by the function that made them."""
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    for _ in range(20):
        address = open_paper(store).deposit_address("BTC").address
        prefix, data = address[:2], [alphabet.index(letter) for letter in address[3:]]
        assert (prefix, address[2], len(data), data[0]) == ("tb", "1", 39, 0)
        value = 1
        for part in [3, 3, 0, 20, 2, *data]:
            top, value = value >> 25, (value & 0x1FFFFFF) << 5 ^ part
            for bit, factor in enumerate([0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]):
                value ^= factor if top >> bit & 1 else 0
        assert value == 1


def test_a_price_file_of_ones_own_is_replayed(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text("timestamp,open,close\n600,1,100.5\n660,1,200\n")
    prices = Prices.load(path)
    assert [prices.at(moment) for moment in (600, 659, 660, 720)] == [
        Decimal("100.5"),
        Decimal("100.5"),
        200,
        Decimal("100.5"),
    ]


def test_a_price_file_that_was_changed_is_read_again_by_the_next_server(tmp_path):
    path = tmp_path / "prices.csv"
    for close in (100, 200):
        path.write_text(f"timestamp,close\n600,{close}\n")
        assert Prices.load(path).at(600) == close


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "timestamp,close\n",
        "time,price\n1,2\n",
        "timestamp,close\nx,1\n",
        "timestamp,close\n60,-1\n",
        "timestamp,close\n60\n",
        "timestamp,close\n60,NaN\n",
        "timestamp,close\n60,0\n",
    ],
)
def test_a_price_file_that_cannot_be_used_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "prices.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(PricesError, match="price file") as caught:
        Prices.load(path)
    assert "\n" not in str(caught.value)


def test_an_order_until_a_time_is_filled_before_it_or_canceled_at_it(store):
    now = [FIRST]
    paper = open_paper(store)
    paper._config = replace(paper._config, clock=lambda: now[0])  # the clock of this test
    ends = datetime.fromtimestamp(FIRST + 90, UTC)
    resting = replace(order("sell", "0.1"), price=Decimal(900_000), time_in_force="GTD", expires=ends)
    assert paper.place(resting).status == "open"
    now[0] += 89
    assert [state.status for state in paper.open_orders()] == ["open"]
    now[0] += 1
    assert paper.open_orders() == []
    ref = OrderRef("sell", "USD", "BTC", resting.client_id)
    state = paper.order(ref)
    assert (state.status, state.filled, state.reason) == ("canceled", 0, "it expired")
    assert paper.funds()["BTC"].held == 0


def closes(*prices):
    """The recorded prices of the minutes from FIRST on, for a test of its own."""
    return Prices(FIRST_MINUTE, tuple(map(Decimal, prices)))


@pytest.fixture
def stops(store):
    """A paper exchange with prices of its own, and a list whose only number is the time."""
    now = [FIRST]

    def make(*prices, opening=OPENING):
        paper = open_paper(store, opening=opening)
        paper._config = replace(paper._config, clock=lambda: now[0], prices=closes(*prices))  # the clock of this test
        return paper, now

    return make


@pytest.mark.parametrize(
    ("side", "price", "stop", "prices", "statuses", "average"),
    [
        # Half a spread of 0.02 % is on each side: the bid at 90 is 89.98, the ask at 110 is 110.03.
        ("sell", None, "90.00", (100, 91, 90, 100), ["open", "open", "filled", "filled"], "89.98"),
        ("sell", None, "90.00", (100, 50, 60, 100), ["open", "filled", "filled", "filled"], "49.99"),
        ("sell", "95.00", "90.00", (100, 90, 94, 96), ["open", "open", "open", "filled"], "95"),
        ("sell", "80.00", "90.00", (100, 85, 94, 96), ["open", "filled", "filled", "filled"], "84.98"),
        ("buy", None, "110.00", (100, 109, 110, 100), ["open", "open", "filled", "filled"], "110.03"),
        ("buy", "105.00", "110.00", (100, 120, 106, 104), ["open", "open", "open", "filled"], "105"),
        ("buy", None, "90.00", (100, 100), ["filled", "filled"], "100.02"),
        ("sell", "200.00", "110.00", (100, 100), ["open", "open"], None),
    ],
)
def test_a_stop_begins_in_the_minute_that_reaches_it(stops, side, price, stop, prices, statuses, average):
    paper, now = stops(*prices)
    placed = replace(order(side, "0.1"), price=None if price is None else Decimal(price), stop=Decimal(stop))
    seen = [paper.place(placed).status]
    for _ in prices[1:]:
        now[0] += 60
        seen.append(paper.find(OrderRef(side, "USD", "BTC", "c1")).status)
    assert seen == statuses
    state = paper.find(OrderRef(side, "USD", "BTC", "c1"))
    assert state.average == (None if average is None else Decimal(average))


def test_what_a_stop_does_is_the_same_whether_somebody_looks_at_each_minute_or_not(stops):
    prices = [100, 95, 89, 99, 93, 96, 97, 80]
    ends = []
    for looks in (True, False):
        paper, now = stops(*prices)
        now[0] = FIRST
        paper.place(replace(order("sell", "0.1"), price=Decimal("95.50"), stop=Decimal(90)))
        for _ in prices[1:]:
            now[0] += 60
            if looks:
                paper.open_orders()
        ends.append((paper.find(OrderRef("sell", "USD", "BTC", "c1")).average, paper.balance()))
    assert ends[0] == ends[1]
    assert ends[0][0] == Decimal("95.50")


def test_a_market_buy_whose_stop_was_jumped_over_is_canceled_when_the_money_is_not_there(stops, store):
    paper, now = stops(100, 300, opening={"USD": Decimal(150), "BTC": Decimal(1)})
    placed = replace(order("buy", "1"), stop=Decimal(110))
    assert paper.place(placed).status == "open"
    assert paper.funds()["USD"].held == Decimal("110.29")
    now[0] += 60
    state = paper.find(OrderRef("buy", "USD", "BTC", "c1"))
    assert (state.status, state.filled, state.reason) == ("canceled", 0, "not enough USD when its stop was reached")
    assert (paper.funds()["USD"].held, paper.balance()) == (0, ledger(store, paper))


class TestTheContract(ExchangeContract):
    """The paper exchange is an exchange like any other."""

    currency, asset, amount = "USD", "BTC", Decimal("0.01")
    send_to = ADDRESS
    takes = frozenset({"market", "limit", "cost", "sell_cost"})
    conditions = frozenset({"post_only", "GTC", "IOC", "FOK", "GTD", "stop"})
    fees_of = "published"

    @pytest.fixture
    def exchange(self, paper):
        return paper

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
