"""What the fixtures of the pytest plugin promise to who tests a bot."""

from __future__ import annotations

import time
from datetime import timedelta
from decimal import Decimal

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.errors import AuthenticationError, InvalidRequest, NotFound, OutcomeUnknown, PermissionDenied
from bitmm.xwrap.testing.servers import XWrapServer, settings_for

pytest_plugins = ["bitmm.xwrap.testing.plugin"]


@pytest.fixture
def begin(request):
    """Begin a test of one's own on the shared server; the one before is ended, as the fixture does it."""
    running, begun = request.getfixturevalue("_xwrap_shared"), []

    def start():
        if begun:
            begun[-1].close()
        begun.append(XWrapServer(running))
        return begun[-1]

    yield start
    begun[-1].close()


def test_a_backend_on_paper_has_its_funds(backend):
    assert backend.exchange == "paper"
    assert backend.balance() == {"USD": Decimal(200_000), "BTC": Decimal(1)}


def test_the_server_is_reached_with_the_account_of_the_test(xwrap_server, backend):
    xwrap = XWrap(xwrap_server.url)
    (found,) = xwrap.list_backends(xwrap_server.username, xwrap_server.password)
    assert found.id == backend.id
    assert xwrap_server.xwrap.account(xwrap_server.username, xwrap_server.password)["scope"] == "owner"
    with pytest.raises(AuthenticationError):
        xwrap.list_backends(xwrap_server.username, "another password")


def test_more_registrations_have_money_of_their_own(xwrap_server, backend):
    other = xwrap_server.create_backend("paper", label="other")
    backend.buy("USD", "BTC", "0.5")
    assert (other.label, other.balance()["BTC"]) == ("other", 1)


def test_no_password_stands_in_a_repr(xwrap_server, paper, faults):
    assert xwrap_server.password not in f"{xwrap_server!r}{paper!r}{faults!r}{vars(faults)!r}"


def test_the_next_test_has_another_account_and_sees_nothing_of_the_one_before(begin):
    first = begin()
    first.paper.price(50_000)
    first.paper.advance(days=3)
    order = first.backend.buy("USD", "BTC", "0.1", price="40000", key="a-key")
    first.paper.fund(BTC=7)
    first.faults.down()
    first.faults.lose_answer("buy")
    first.faults.refuse("sell")
    second = begin()
    assert second.username != first.username
    assert second.backend.id != first.backend.id
    assert second.backend.balance() == {"USD": Decimal(200_000), "BTC": Decimal(1)}
    assert second.backend.orders() == []
    assert second.xwrap.exchange_rates("USD", "BTC")[0]["buy"] == 100_000
    assert abs(second.paper.now.timestamp() - time.time()) < 3600
    assert second.backend.sell("USD", "BTC", "0.1")["status"] == "filled"
    # The key is free, and neither the order nor the registration of the test before can be seen.
    assert second.backend.buy("USD", "BTC", "0.1", key="a-key")["filled"] == Decimal("0.1")
    with pytest.raises(NotFound):
        second.xwrap.backend(first.backend.id, second.username, second.password)
    with pytest.raises(NotFound):
        second.backend.order(order["id"])


def test_a_bot_that_a_test_left_running_meets_no_fault_of_the_next_one(begin):
    left_running = begin().backend
    now = begin()
    now.faults.lose_answer("buy", recover=False)
    now.faults.refuse("buy")
    now.faults.refuse("sell")
    assert left_running.buy("USD", "BTC", "0.1")["status"] == "filled"
    assert left_running.sell("USD", "BTC", "0.1")["status"] == "filled"
    assert len(now.faults.unused()) == 3
    now.faults.clear()


def test_the_price_is_what_the_test_says_until_it_says_another(backend, paper):
    assert backend.exchange_rate("USD", "BTC")["buy"] == 100_000
    paper.price("94000")
    rate = backend.exchange_rate("USD", "BTC")
    assert (rate["buy"], rate["sell"]) == (94_000, 94_000)
    assert backend.buy("USD", "BTC", "0.1")["spent"] == 9400
    paper.price(bid=Decimal(93_990), ask="94010.5")
    rate = backend.exchange_rate("USD", "BTC")
    assert (rate["buy"], rate["sell"]) == (Decimal("94010.5"), 93_990)


def test_the_list_of_all_exchanges_has_the_price_of_now(xwrap_server, paper):
    for price in (94_000, 95_000):
        paper.price(price)
        assert [rate["buy"] for rate in xwrap_server.xwrap.exchange_rates("USD", "BTC")] == [price]


def test_a_resting_order_is_filled_at_its_own_price_when_a_new_price_reaches_it(backend, paper):
    resting = backend.buy("USD", "BTC", "0.1", price="94000")
    paper.price("94000.01")
    assert backend.order(resting["id"])["status"] == "open"
    paper.price("90000")
    (closed,) = backend.orders("closed")
    assert (closed["status"], closed["average"]) == ("filled", 94_000)


def test_who_follows_orders_is_told_of_a_fill_at_once(backend, paper):
    resting = backend.buy("USD", "BTC", "0.1", price="94000")
    changes = backend.follow(timeout=20)
    paper.price("94000")
    change = next(changes)
    assert (change["id"], change["status"]) == (resting["id"], "filled")


def test_a_stop_begins_when_the_price_falls_to_it(backend, paper):
    order = backend.sell("USD", "BTC", "0.1", stop="95000")
    paper.price("96000")
    assert backend.order(order["id"])["status"] == "open"
    paper.price("94500")
    assert backend.order(order["id"])["average"] == 94_500


def test_orders_expire_when_the_clock_goes_on(backend, paper):
    end = paper.now + timedelta(minutes=5)
    order = backend.buy("USD", "BTC", "0.1", price="90000", time_in_force="GTD", expires=end)
    paper.advance(minutes=4)
    assert backend.order(order["id"])["status"] == "open"
    paper.advance(minutes=1)
    assert backend.orders("closed")[0]["status"] == "canceled"
    assert paper.now == end


def test_each_price_has_a_candle(backend, paper):
    for price in (94_000, 95_000, 93_000):
        paper.price(price)
    paper.advance(minutes=2)
    candles = backend.candles("USD", "BTC", "1m", limit=5)
    assert [candle["close"] for candle in candles] == [94_000, 95_000, 93_000, 93_000, 93_000]


def test_the_money_is_what_the_test_says(backend, paper):
    paper.fund(USD="1000.50", BTC=0)
    assert backend.balance() == {"USD": Decimal("1000.50"), "BTC": Decimal(0)}
    paper.fund(BTC=Decimal(3))
    assert backend.balance() == {"USD": Decimal("1000.50"), "BTC": Decimal(3)}


def test_money_that_open_orders_hold_cannot_be_taken(backend, paper):
    backend.sell("USD", "BTC", "0.5", price="200000")
    with pytest.raises(InvalidRequest, match=r"open orders hold 0\.5 BTC, so it cannot be 0\.4; cancel them first"):
        paper.fund(BTC="0.4")
    assert backend.balance()["BTC"] == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda paper: paper.price(94000.5), "price is the float 94000.5"),
        (lambda paper: paper.price(bid=1.5, ask="2"), "bid is the float 1.5"),
        (lambda paper: paper.fund(USD=0.1), "USD is the float 0.1"),
        (lambda paper: paper.fund(USD=-1), "USD is -1; it must not be below zero"),
        (lambda paper: paper.fund(EUR=1), "the paper exchange has no EUR, but USD, BTC"),
        (lambda paper: paper.price(0), "price is 0; it must be above zero"),
        (lambda paper: paper.price(), "give a price, or both bid and ask"),
        (lambda paper: paper.price(bid=1), "give a price, or both bid and ask"),
        (lambda paper: paper.price(1, bid=1, ask=1), "give a price, or both bid and ask"),
        (lambda paper: paper.price(bid=2, ask=1), "the bid 2 is above the ask 1"),
    ],
)
def test_what_is_no_price_and_no_amount_is_refused_as_the_client_does(paper, call, words):
    with pytest.raises(InvalidRequest, match=words):
        call(paper)


def test_the_clock_does_not_go_back(paper):
    with pytest.raises(ValueError, match="the clock only goes on"):
        paper.advance(minutes=-1)


def test_a_server_that_starts_anew_keeps_its_url_and_what_was_ordered(xwrap_server, backend, paper):
    paper.price(94_000)
    order = backend.buy("USD", "BTC", "0.1", price="90000")
    xwrap_server.restart()
    paper.price(89_000)
    assert backend.order(order["id"])["average"] == 90_000
    assert backend.balance()["BTC"] == Decimal("1.1")


def test_every_local_exchange_has_a_backend_and_a_ledger(
    kraken_exchange, bitstamp_exchange, backpack_exchange, mtgox_exchange, hub_exchange
):
    for exchange in (kraken_exchange, bitstamp_exchange, backpack_exchange, mtgox_exchange, hub_exchange):
        name = exchange.venue.name
        pair = next(iter(exchange.venue.pairs.values()))
        limit = {"price": pair.asks[0][0]} if name == "hub" else {}
        exchange.backend.buy(pair.currency, pair.asset, "0.1", **limit)
        (row,) = exchange.ledger()
        assert (exchange.backend.exchange, row["side"], Decimal(row["amount"])) == (name, "buy", Decimal("0.1"))


def test_orders_at_a_local_exchange_are_filled_when_its_price_reaches_them(kraken_exchange):
    backend = kraken_exchange.backend
    order = backend.buy("USD", "BTC", "0.1", price="25000")
    kraken_exchange.price("BTC/USD", bid="24990", ask="25000")
    assert backend.order(order["id"])["average"] == 25_000
    with pytest.raises(InvalidRequest, match="bid is the float"):
        kraken_exchange.price("BTC/USD", bid=24990.5, ask="25000")
    with pytest.raises(ValueError, match="kraken trades BTC/USD, BTC/EUR, ETH/BTC, not BTC/CHF"):
        kraken_exchange.price("BTC/CHF", bid=1, ask=2)


def test_an_answer_of_a_local_exchange_that_is_lost_leaves_one_order(kraken_exchange, xwrap_server):
    backend = kraken_exchange.backend
    kraken_exchange.fault("reset_after", path="AddOrder")
    with pytest.raises(OutcomeUnknown) as caught:
        backend.buy("USD", "BTC", "0.1")
    xwrap_server.faults.resolve()
    assert backend.order(key=caught.value.key)["status"] == "filled"
    assert len(kraken_exchange.ledger()) == 1


def test_a_send_at_a_local_exchange_leaves_as_soon_as_its_address_is_on_the_allow_list(xwrap_server, bitstamp_exchange):
    address, account = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", (xwrap_server.username, xwrap_server.password)
    with pytest.raises(PermissionDenied):
        bitstamp_exchange.backend.send_to_address("BTC", "0.1", address)
    xwrap_server.xwrap.add_address(*account, "BTC", address)
    assert bitstamp_exchange.backend.send_to_address("BTC", "0.1", address)
    (row,) = bitstamp_exchange.ledger()
    assert (row["kind"], row["amount"]) == ("withdrawal", "0.1")


def test_an_exchange_that_no_fixture_names_is_not_offered(xwrap_server, request):
    with pytest.raises(ValueError, match="offers paper; for kraken, name kraken_exchange in it"):
        xwrap_server.create_backend("kraken")
    with pytest.raises(ValueError, match="write kraken_exchange among the arguments of the test"):
        request.getfixturevalue("kraken_exchange")


def test_the_environment_changes_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("XWRAP_PAPER_FUNDS", "USD=1")
    monkeypatch.setenv("XWRAP_DATA_DIR", "/nowhere")
    settings = settings_for(tmp_path, {})
    assert settings.data == tmp_path
    assert settings.paper_funds == {"USD": Decimal(200_000), "BTC": Decimal(1)}
