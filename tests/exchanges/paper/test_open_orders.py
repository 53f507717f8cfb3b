"""Open orders on paper: what becomes of them is what a plain exchange does, and their number costs nothing."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

import pytest

pytest.importorskip("sqlalchemy", reason="the server is not installed")

from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import event

from bitmm.xwrap.exchanges.base import ExchangeContext
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.models import NewOrder, OrderRef
from bitmm.xwrap.exchanges.paper import Paper, PaperConfig, Prices
from bitmm.xwrap.exchanges.paper.recorded_prices import RecordedPrices
from bitmm.xwrap.server.db.paper_ledger import PaperLedger
from bitmm.xwrap.server.db.price_keys import price_key
from bitmm.xwrap.server.db.statements import StatementRunner
from bitmm.xwrap.server.db.store import Store
from tests.stress.paper_orders import compare
from tests.support.databases import sql
from tests.support.paper_rows import open_many

FIRST = 1_736_208_060.0
OPENING = {"USD": Decimal(1_000_000), "BTC": Decimal(1000)}


class Market:
    """A registration on paper with closing prices and a clock of the test."""

    def __init__(self, store, *closes, open_ledger=None, **config):
        values = {"account_id": 1, "exchange": "paper", "username": "", "label": "", "apikey_hint": ""}
        self.id = store.registrations.add(values, lambda _id: {"sealed_more": b""}).id
        self.store, self.now, self._count = store, FIRST, 0
        prices = Prices(int(FIRST // 60), tuple(map(Decimal, closes or (100,))))
        ledger = open_ledger or store.paper_ledger
        given = PaperConfig(prices, OPENING, ledger, clock=lambda: self.now, **config)
        self.paper = Paper(ExchangeContext(None, registration=self.id), given)

    def place(self, side="buy", amount="0.01", price=None, **more):
        self._count += 1
        price = None if price is None else Decimal(price)
        order = NewOrder(side, "USD", "BTC", f"c{self._count}", amount=Decimal(amount), price=price, **more)
        return self.paper.place(order)

    def pass_minutes(self, count):
        """Let so many minutes pass, and the exchange look."""
        self.now += 60 * count
        self.paper.funds()


@pytest.mark.parametrize("live", [False, True], ids=["recorded", "live"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_orders_balances_and_fills_are_those_of_an_exchange_that_holds_each_order_against_each_look(store, seed, live):
    figures = compare(store, seed, 100, live=live)
    assert figures.rested > 10
    assert figures.fills > 10


_PRICES = (
    st.decimals(0, 10**30, places=12)
    | st.decimals(0, 10, places=40)
    | st.sampled_from(
        [Decimal(text) for text in ("0", "0.00", "1", "1.0", "10", "100.00", "9.99", "0.1", "0.01", "0.0100", "1E+3")]
    )
)


@example(Decimal(100), Decimal("100.00"))
@example(Decimal("9.99"), Decimal(10))
@example(Decimal(0), Decimal("1e-40"))
@given(_PRICES, _PRICES)
def test_keys_of_prices_sort_as_the_prices_do(one, other):
    assert (price_key(one) < price_key(other)) == (one < other)
    assert (price_key(one) == price_key(other)) == (one == other)
    assert price_key(one) == "" or price_key(one).isdecimal()


CALLS = {
    "buy": lambda market: market.place(),
    "limit": lambda market: market.place(price="2.00"),
    "balance": lambda market: market.paper.funds(),
    "order": lambda market: market.paper.find(OrderRef("buy", "USD", "BTC", "c1")),
    "minute": lambda market: market.pass_minutes(1),
    "hit": lambda market: market.pass_minutes(1),
    "cancel": lambda market: market.paper.cancel(OrderRef("buy", "USD", "BTC", "c1")),
}


def costs_of_calls(store, count, measure):
    """Return what `measure` counts of each call while so many orders are open; one of them is hit in a minute."""
    market = Market(store, 100, 100, 50, *[100] * 30)
    market.place(price="1.00")
    market.place(price="60.00")
    open_many(store.where, market.id, count, market.now)
    costs = {name: measure(lambda call=call: call(market)) for name, call in CALLS.items()}
    assert [order.client_id for order in market.paper.open_orders()][:1] == ["many1"]
    assert market.paper.find(OrderRef("buy", "USD", "BTC", "c2")).status == "filled"
    sql(store.where, "DELETE FROM paper_markets")
    return costs


def test_calls_run_as_many_statements_and_read_as_many_rows_with_2000_open_orders_as_with_10(store, monkeypatch):
    counts, this = Counter(), threading.get_ident()
    kept = {name: getattr(StatementRunner, name) for name in ("rows", "value", "change", "change_each", "insert")}
    for name, method in kept.items():

        def count(self, *given, name=name, method=method):
            result = method(self, *given)
            if threading.get_ident() != this:  # a server of other tests, in this process
                return result
            each = result if name == "rows" else given[1] if name == "change_each" else [None]
            counts["statements"] += name != "change_each" or bool(each)
            counts["rows"] += len(each)
            return result

        monkeypatch.setattr(StatementRunner, name, count)

    def measure(call):
        counts.clear()
        call()
        return dict(counts)

    few, many = (costs_of_calls(store, count, measure) for count in (10, 2000))
    assert few == many
    assert many["balance"] == {"statements": 2, "rows": 3}
    assert many["order"] == {"statements": 2, "rows": 2}
    # A market that was checked, and the columns of it.
    assert many["minute"]["rows"] <= 12


def test_sqlite_runs_as_many_instructions_with_2000_open_orders_as_with_10(tmp_path):
    """Rows that a statement passes over without giving them are counted so, too."""
    store = Store(tmp_path / "xwrap.sqlite3")
    counts = Counter()

    def count():
        counts["instructions"] += 1

    event.listen(store._database.engine, "connect", lambda connection, _: connection.set_progress_handler(count, 1))
    store.prepare()
    store.accounts.add("ann", "x")

    def measure(call):
        counts.clear()
        call()
        return counts["instructions"]

    few, many = (costs_of_calls(store, count, measure) for count in (10, 2000))
    store.close()
    assert few == many


def test_all_orders_are_canceled_by_one_statement_however_many_there_are(store, monkeypatch):
    market = Market(store)
    market.place("sell", "2", price="200.00")
    open_many(store.where, market.id, 50, market.now)
    changes, change, this = [], StatementRunner.change, threading.get_ident()

    def note(self, *given):
        if threading.get_ident() == this:
            changes.append(given)
        return change(self, *given)

    monkeypatch.setattr(StatementRunner, "change", note)
    assert market.paper.cancel_all() == 51
    assert len(changes) == 1
    assert market.paper.open_orders() == []
    assert {name: funds.held for name, funds in market.paper.funds().items()} == {"USD": 0, "BTC": 0}
    assert market.paper.cancel_all() == 0


def test_after_many_minutes_without_a_call_each_was_looked_at_and_none_is_looked_at_again(store, monkeypatch):
    market = Market(store, *[100] * 200, 50, *[100] * 300)
    market.place(price="1.00")
    market.place(price="60.00")
    looked = []
    look_at = RecordedPrices.look_at
    monkeypatch.setattr(RecordedPrices, "look_at", lambda self, minute: looked.append(minute) or look_at(self, minute))
    for minutes in (250, 1, 0):
        looked.clear()
        market.pass_minutes(minutes)
        first = int(market.now // 60) - minutes + 1
        assert looked == list(range(first, first + minutes))
    assert [order.price for order in market.paper.open_orders()] == [1]


def test_an_order_whose_transaction_comes_after_the_look_of_others_is_held_against_that_too(store):
    """It waits for its turn, and meanwhile a minute begins whose price reaches it."""
    market = None

    class Waiting(PaperLedger):
        @contextmanager
        def transaction(self):
            with super().transaction() as transaction:
                market.now += minutes
                yield transaction

    market, minutes = Market(store, 100, 50, open_ledger=lambda id: Waiting(store._database, id)), 0
    market.place(price="1.00")
    minutes = 60
    assert market.place(price="60.00").status == "filled"
    minutes = 0
    assert [order.price for order in market.paper.open_orders()] == [1]


def test_as_many_orders_may_be_open_as_are_set_and_one_more_is_refused_with_words(store):
    market = Market(store, most_open=2)
    for price in ("1.00", "2.00"):
        market.place(price=price)
    with pytest.raises(
        Refused, match=r"may have 2 open orders on paper.*cancel some.*XWRAP_QUOTA_OPEN_ORDERS"
    ) as caught:
        market.place(price="3.00")
    assert (caught.value.code, caught.value.details) == ("quota_exceeded", {"limit": "2"})
    assert not caught.value.retryable
    assert market.place().status == "filled"
    assert market.place(price="1.00", time_in_force="IOC").status == "canceled"
    assert market.paper.funds()["USD"].held == Decimal("0.05")
    market.paper.cancel(OrderRef("buy", "USD", "BTC", "c1"))
    assert market.place(price="3.00").status == "open"
    assert Market(store, most_open=2).place(price="1.00").status == "open"


def test_nobody_holds_anything_after_the_last_order_ended(store):
    """Also in the digits: not 0.00, where nothing was ever held."""
    market = Market(store)
    market.place(price="1.00")
    end = datetime.fromtimestamp(FIRST + 90, UTC)
    market.place("sell", "0.5", price="500.00", time_in_force="GTD", expires=end)
    market.paper.cancel(OrderRef("buy", "USD", "BTC", "c1"))
    market.pass_minutes(2)
    assert [str(funds.held) for funds in market.paper.funds().values()] == ["0", "0"]
    assert sql(store.where, "SELECT count(*) FROM paper_markets") == [(0,)]
