"""Kinds of answers that broke adapters of real exchanges, as far as a ledger of one's own can meet them.

The kinds are those of `python -m tests.answer_kinds`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

pytest.importorskip("sqlalchemy", reason="the server is not installed")

from bitmm.xwrap.exchanges.base import ExchangeContext
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.models import Funds, NewOrder, NewWithdrawal, OrderRef
from bitmm.xwrap.exchanges.paper import Paper, PaperConfig, Prices
from bitmm.xwrap.server.db.store import Store

D = Decimal
FIRST = datetime(2025, 1, 7, 0, 1, tzinfo=UTC).timestamp()


def kind(letter):
    return pytest.mark.answer_kind(letter, exchange="paper")


@pytest.fixture
def open_paper(tmp_path, database):
    """A function: a paper exchange that begins with these balances."""
    store = Store(database(tmp_path, tables=True))
    store.prepare()
    store.accounts.add("ann", "x")

    def start(**opening):
        values = {"account_id": 1, "exchange": "paper", "username": "", "label": "", "apikey_hint": ""}
        id = store.registrations.add(values, lambda _id: {"sealed_more": b""}).id
        balances = {name: D(amount) for name, amount in opening.items()}
        config = PaperConfig(Prices.load(), balances, store.paper_ledger, clock=lambda: FIRST)
        return Paper(ExchangeContext(transport=None, registration=id), config)

    yield start
    store.close()


def order(side, client_id, **more):
    return NewOrder(side, "USD", "BTC", client_id, **{name: D(value) for name, value in more.items()})


@kind("B")
def test_an_account_that_begins_with_nothing_owns_nothing(open_paper):
    paper = open_paper()
    nothing = Funds(D(0), D(0), D(0), D(0))
    assert paper.funds() == {"USD": nothing, "BTC": nothing}
    assert paper.open_orders() == paper.fills("USD", "BTC") == paper.withdrawals() == []
    with pytest.raises(Refused) as caught:
        paper.place(order("buy", "c1", amount="0.1"))
    assert caught.value.code == "insufficient_funds"


@kind("D")
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_fee_is_in_dollars_on_both_sides(open_paper, side):
    paper = open_paper(USD="200000", BTC="1")
    before = paper.balance()
    state = paper.place(order(side, "c1", amount="0.25"))
    (fill,) = paper.fills("USD", "BTC")
    assert (state.fee_currency, fill.fee_currency, fill.fee) == ("USD", "USD", state.fee)
    spent = state.spent if side == "sell" else -state.spent
    assert paper.balance()["USD"] - before["USD"] == spent - state.fee
    assert abs(paper.balance()["BTC"] - before["BTC"]) == D("0.25")


@kind("I")
def test_available_is_what_orders_leave_and_never_less_than_nothing(open_paper):
    paper = open_paper(USD="100.26", BTC="1")
    paper.place(order("buy", "c1", amount="0.01", price="10000"))  # 100 USD and a fee of 0.26
    paper.place(order("sell", "c2", amount="1", price="999999"))
    assert paper.funds() == {
        "USD": Funds(D("100.26"), D(0), D("100.26"), D(0)),
        "BTC": Funds(D(1), D(0), D(1), D(0)),
    }
    for refused in (order("buy", "c3", amount="0.00000001", price="1"), order("sell", "c4", amount="0.00000001")):
        with pytest.raises(Refused) as caught:
            paper.place(refused)
        assert caught.value.code == "insufficient_funds"
    with pytest.raises(Refused):
        paper.withdraw(NewWithdrawal("BTC", D("0.1"), "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "c5"))
    paper.cancel_all()
    assert paper.funds()["BTC"] == Funds(D(1), D(1), D(0), D(0))


@kind("J")
def test_what_an_order_does_not_have_is_none_when_it_is_read_again(open_paper):
    paper = open_paper(USD="200000", BTC="1")
    paper.place(order("buy", "c1", amount="0.1"))
    paper.place(order("sell", "c2", amount="0.1", price="999999"))
    paper.cancel(OrderRef("sell", "USD", "BTC", "c2"))
    market, limit = (paper.order(OrderRef("buy", "USD", "BTC", id)) for id in ("c1", "c2"))
    assert (market.price, market.average) == (None, D("102248.45"))
    assert (limit.price, limit.average, limit.filled, limit.spent, limit.fee) == (D(999999), None, 0, 0, 0)
