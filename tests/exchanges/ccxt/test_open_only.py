"""The bridge to ccxt at exchanges that tell of open orders alone, and at Paymium, whose raw calls tell more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bitmm.xwrap.exchanges.errors import NotListedYet, Refused, Unknown, Unsupported
from bitmm.xwrap.testing.exchange_contract import ExchangeContract
from bitmm.xwrap.testing.exchanges import venue as core
from bitmm.xwrap.testing.exchanges.venue import Reply
from tests.exchanges.ccxt.support import connected, order, ref_of

library = pytest.importorskip("ccxt", reason="ccxt is not installed")

D = Decimal
AGES = {"now": timedelta(0), "later": timedelta(seconds=11)}


def yen(side="buy", price=None):
    return order(side, currency="JPY", price=price)


def later(placed, state):
    """What the server knows of an order that was placed a while ago."""
    return replace(ref_of(placed, state.exchange_order_id), created=datetime.now(UTC) - AGES["later"])


class TestTheContractAtPaymium(ExchangeContract):
    takes = frozenset({"market", "limit"})
    fees_of = "published"
    of_one_moment = False

    @pytest.fixture
    def exchange(self, paymium, transport):
        return connected(paymium, transport)

    @pytest.fixture
    def ledger(self, paymium):
        return paymium.ledger

    def test_more_than_is_there_is_refused(self, exchange, ledger):
        """In Paymium's own words, which are in the user's language."""
        with pytest.raises(Refused, match="greater than your available balance") as caught:
            exchange.place(order("sell", amount="1000", currency="EUR"))
        assert caught.value.code == "exchange_refused"
        assert not ledger()


@pytest.mark.parametrize("age", AGES)
def test_an_order_whose_fills_add_up_is_filled(coincheck, transport, age):
    exchange, placed = connected(coincheck, transport), yen(price="6000200")
    state = exchange.place(placed)
    ref = replace(ref_of(placed, state.exchange_order_id), created=datetime.now(UTC) - AGES[age])
    filled = exchange.order(ref)
    (fill,) = coincheck.orders[state.exchange_order_id].fills
    assert (filled.status, filled.filled, filled.spent, filled.average) == ("filled", D("0.1"), fill.cost, fill.price)
    assert (filled.fee, filled.fee_currency, filled.reason) == (fill.fee, "JPY", None)


def test_a_market_order_is_filled_as_soon_as_its_fills_are_listed(coincheck, transport):
    state = connected(coincheck, transport).place(yen("sell"))
    assert (state.status, state.filled, state.spent) == ("filled", D("0.1"), D(600000))
    assert len(coincheck.ledger()) == 1
    (fill,) = connected(coincheck, transport).fills("JPY", "BTC")
    assert (fill.side, fill.amount, fill.price) == ("sell", D("0.1"), D(6000000))


@pytest.mark.parametrize("why", ["canceled", "its fills are late"])
def test_an_order_that_is_gone_is_closed_and_the_words_say_what_is_not_known(coincheck, transport, why):
    exchange, placed = connected(coincheck, transport), yen("sell", price="7000000" if why == "canceled" else "5000000")
    state = exchange.place(placed)
    if why == "canceled":
        exchange.cancel(ref_of(placed, state.exchange_order_id))
    else:
        coincheck.orders[state.exchange_order_id].fills.clear()
    with pytest.raises(NotListedYet):
        exchange.order(ref_of(placed, state.exchange_order_id))
    closed = exchange.order(later(placed, state))
    assert (closed.status, closed.filled, closed.amount) == ("closed", None, D("0.1"))
    assert closed.reason == "no longer open at Coincheck (ccxt), which does not tell whether it was filled or canceled"
    with pytest.raises(Refused) as caught:
        exchange.cancel(later(placed, state))
    assert caught.value.code == "order_not_open"


def test_fills_that_cannot_be_read_make_no_order_unreadable(coincheck, transport):
    exchange, placed = connected(coincheck, transport), yen(price="6000200")
    state = exchange.place(placed)
    coincheck.fault("html", path="transactions_pagination")
    assert exchange.order(later(placed, state)).status == "closed"
    assert exchange.order(later(placed, state)).status == "filled"


def test_what_is_left_of_an_open_order_is_not_taken_for_its_amount(coincheck, transport):
    exchange, placed = connected(coincheck, transport), yen("sell", price="6000050")
    other = coincheck.add_account("other", "secret", {"BTC": D(0), "JPY": D(10**9)})
    state = exchange.place(placed)
    coincheck.place(other, "BTC/JPY", "buy", amount=D("0.03"), price=D(6000050))
    read = exchange.order(later(placed, state))
    assert (read.status, read.amount, read.filled) == ("open", D("0.1"), D("0.03"))
    (listed,) = exchange.open_orders()
    assert (listed.status, listed.amount, listed.filled) == ("open", None, None)
    coincheck.orders[state.exchange_order_id].amount = D(1)
    with pytest.raises(Refused, match="more is left than was ordered"):
        exchange.order(later(placed, state))


def test_a_list_that_needs_a_market_is_unsupported_and_nothing_is_sent(transport, coincheck):
    """The journal lists then. An exchange that shows single orders has its orders read one by one."""
    exchange = connected(coincheck, transport)
    exchange.markets()

    def picky(symbol=None, *_):
        raise library.ArgumentsRequired("coincheck fetchOpenOrders() requires a symbol argument")

    exchange._instance.ccxt.fetch_open_orders = picky
    with pytest.raises(Unsupported, match="nothing was sent"):
        exchange.open_orders()
    assert not coincheck.requests


@pytest.mark.parametrize("id", ["bithumb", "coinspot", "indodax"])
def test_a_cancel_that_needs_the_side_gets_it(id, transport, coincheck, monkeypatch):
    exchange = connected(coincheck, transport)
    assert exchange.open_orders() == []
    asked = []
    monkeypatch.setattr(exchange._instance.ccxt, "id", id)
    monkeypatch.setattr(exchange._instance.ccxt, "cancel_order", lambda *arguments: asked.append(arguments))
    exchange.cancel(ref_of(yen("sell"), "7"))
    assert asked == [("7", "BTC/JPY", {"side": "sell"})]


def test_paymium_tells_what_became_of_an_order(paymium, transport):
    exchange, asked = connected(paymium, transport), order("sell", price="20.2", currency="EUR")
    other = paymium.add_account("other", "secret", {"BTC": D(0), "EUR": D(1000)})
    state = exchange.place(asked)
    paymium.place(other, "BTC/EUR", "buy", amount=D("0.04"), price=D("20.2"))
    read = exchange.order(ref_of(asked, state.exchange_order_id))
    assert (read.status, read.amount, read.filled, read.spent) == ("open", D("0.1"), D("0.04"), D("0.8080"))
    exchange.cancel(ref_of(asked, state.exchange_order_id))
    read = exchange.order(ref_of(asked, state.exchange_order_id))
    assert (read.status, read.filled, read.fee_currency) == ("partly_filled", D("0.04"), "EUR")
    with pytest.raises(Refused) as caught:
        exchange.cancel(ref_of(asked, state.exchange_order_id))
    assert caught.value.code == "order_not_open"


def test_paymium_lists_all_pages_of_open_orders_and_no_deposits(paymium, transport):
    exchange = connected(paymium, transport)
    made = {
        exchange.place(order("sell", price=str(price), currency="EUR")).exchange_order_id for price in (30, 31, 32, 33)
    }
    exchange.place(order("sell", currency="EUR"))
    assert {state.exchange_order_id for state in exchange.open_orders()} == made
    assert exchange.cancel_all() == 4


def test_an_order_that_paymium_does_not_know_is_not_found(paymium, transport):
    exchange, ref = connected(paymium, transport), ref_of(order(currency="EUR"), "none")
    for act, code in ((exchange.order, "order_not_found"), (exchange.cancel, "order_not_open")):
        with pytest.raises(Refused) as caught:
            act(ref)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"state": "pending_execution"}, "open"),
        ({"state": "executed", "traded_btc": D("0.1"), "traded_currency": D("3")}, "filled"),
        ({"state": "of a new kind"}, "unknown"),
    ],
)
def test_the_states_of_paymium_are_read_as_documented(paymium, transport, change, status):
    exchange, asked = connected(paymium, transport), order("sell", price="30", currency="EUR")
    id = exchange.place(asked).exchange_order_id
    honest = paymium.row
    paymium.row = lambda made: honest(made) | change
    assert exchange.order(ref_of(asked, id)).status == status


@pytest.mark.parametrize(
    "lie", [{"direction": "buy"}, {"amount": D("0.2")}, {"type": "WireDeposit"}, {"traded_btc": D(-1)}], ids=str
)
def test_another_order_of_paymium_is_not_believed(paymium, transport, lie):
    exchange, asked = connected(paymium, transport), order("sell", price="30", currency="EUR")
    id = exchange.place(asked).exchange_order_id
    honest = paymium.row
    paymium.row = lambda made: honest(made) | lie
    with pytest.raises(Refused) as caught:
        exchange.order(ref_of(asked, id))
    assert caught.value.code == "exchange_unavailable"


#: HTTP status and words of Paymium -> whether they prove that no delivery of an order was executed.
@pytest.mark.parametrize(
    ("status", "words", "proof"),
    [
        (422, "Le montant est superieur a votre solde", True),
        (422, "Api nonce must rise", False),
        (400, "Requete invalide", False),
        (401, "Signature invalide", False),
        (429, "Trop de requetes", False),
    ],
)
def test_a_refusal_of_paymium_is_proof_when_it_is_about_the_order(paymium, transport, status, words, proof):
    exchange = connected(paymium, transport)
    answer = Reply.json({"errors": [words]}, status)
    paymium._routes.insert(0, ("POST", core._pattern("/api/v1/user/orders"), lambda request: answer))
    with pytest.raises((Refused, Unknown), match=words[:5]) as caught:
        exchange.place(order(currency="EUR"))
    assert caught.value.may_have_executed is not proof
    assert proof or caught.value.refusal is not None


def test_an_order_that_is_delivered_twice_to_paymium_is_never_called_refused(paymium, transport):
    exchange = connected(paymium, transport)
    paymium.fault("delivered_twice", path="/user/orders")
    with pytest.raises(Unknown) as caught:
        exchange.place(order("sell", price="30", currency="EUR"))
    assert "nonce" in str(caught.value.refusal)
    assert len(paymium.ledger()) == 1


@pytest.mark.parametrize("fills", ["listed", "late"])
def test_an_order_that_is_over_is_not_called_filled_without_an_amount(backpack, transport, fills):
    """ccxt's "closed" says that an order is over, and some answers say no more."""
    exchange, asked = connected(backpack, transport), order("sell")
    id = exchange.place(asked).exchange_order_id
    exchange._instance.ccxt.fetch_order = lambda id, symbol: {"id": id, "symbol": symbol, "status": "closed"}
    if fills == "late":
        exchange._instance.ccxt.fetch_my_trades = lambda symbol: []
    state = exchange.order(ref_of(asked, id))
    if fills == "listed":
        assert (state.status, state.filled, state.reason) == ("filled", D("0.1"), None)
    else:
        assert (state.status, state.filled) == ("closed", None)
        assert state.reason == "its exchange does not tell how much of it was filled"


def test_an_open_order_that_cannot_be_understood_hides_no_other(coincheck, transport):
    exchange = connected(coincheck, transport)
    odd, placed = (exchange.place(yen("sell", price)).exchange_order_id for price in ("7000000", "8000000"))
    honest = coincheck.row
    coincheck.row = lambda made: honest(made) | ({"pending_amount": "-1"} if made.id == odd else {})
    unclear, clear = sorted(exchange.open_orders(), key=lambda state: int(state.exchange_order_id))
    assert (unclear.exchange_order_id, unclear.status, unclear.price) == (odd, "open", None)
    assert (clear.exchange_order_id, clear.price) == (placed, D(8000000))
    assert exchange.cancel_all() == 2


def test_an_order_that_was_taken_in_a_word_that_ccxt_does_not_know_is_open(paymium, transport):
    exchange, asked = connected(paymium, transport), order("sell", currency="EUR")
    honest = paymium.row
    paymium.row = lambda made: honest(made) | {"state": "of a new kind"}
    placed = exchange.place(asked)
    assert (placed.status, placed.exchange_order_id) == ("open", paymium.ledger()[0]["order_id"])
