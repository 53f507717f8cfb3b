"""What a request is called that the network delivers twice, late, or after a newer one: never refused for certain.

The first delivery is executed, and the answer that comes back is that to the second one. Each exchange says something
else then: Kraken and Bitstamp that the nonce is used, Backpack that funds are missing or that the time is over.
"""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bitmm.xwrap.exchanges.backpack import Backpack
from bitmm.xwrap.exchanges.bitstamp import Bitstamp
from bitmm.xwrap.exchanges.errors import NotListedYet, Refused, Unknown
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.exchanges.models import NewOrder, NewWithdrawal, OrderRef
from bitmm.xwrap.testing.exchanges.backpack import BackpackVenue
from bitmm.xwrap.testing.exchanges.bitstamp import BitstampVenue
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from bitmm.xwrap.transport import Transport
from tests.support.exchanges import connect

#: Above the market, and within the band of prices that each of them takes.
FAR_PRICE = "35000"
WALLET = "bc1qxdsh4sdd29h6ldehz0se5c61asq8cgwyjf2y3z"


class Clock:
    """The exchange's clock; it can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass(frozen=True)
class Case:
    kind: Any
    venue: Any
    currency: str
    #: A part of the paths of a new order, a cancel and a send.
    order_path: str
    cancel_path: str
    send_path: str
    #: The code of the refusal of a second delivery, and of one that comes very late.
    again: str
    late: str


CASES = {
    "kraken": Case(
        *(Kraken, KrakenVenue, "EUR", "AddOrder", "CancelOrder", "Withdraw", "invalid_nonce", "invalid_nonce")
    ),
    "bitstamp": Case(
        *(Bitstamp, BitstampVenue, "EUR", "sell", "cancel_order", "btc_withdrawal", "invalid_nonce", "invalid_nonce")
    ),
    "backpack": Case(
        *(Backpack, BackpackVenue, "USDC", "POST /api/v1/order", "DELETE /api/v1/order", "POST /wapi"),
        *("insufficient_funds", "invalid_nonce"),
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def venue(case, clock):
    """A local exchange whose account has one bitcoin."""
    with case.venue(clock=clock) as venue:
        venue.account.balances["BTC"] = Decimal(1)
        yield venue


@pytest.fixture
def exchange(case, venue, transport):
    exchange = connect(case.kind, venue, transport)
    exchange.markets(), exchange.funds()
    exchange.deposit_address("BTC")
    return exchange


def sale_of_all(case, price=None):
    return NewOrder(
        "sell", case.currency, "BTC", uuid.uuid4().hex, Decimal(1), None if price is None else Decimal(price)
    )


def ref_of(order, missed=None):
    now = datetime.now(UTC)
    ref = OrderRef(order.side, order.currency, order.asset, order.client_id, None, now, order.amount, order.price)
    return ref if missed is None else replace(ref, missed_since=now - timedelta(seconds=missed))


def unknown(code, act, *arguments):
    with pytest.raises(Unknown) as caught:
        act(*arguments)
    assert caught.value.refusal.code == code
    assert caught.value.may_have_executed


@pytest.mark.parametrize("price", [None, "35000"], ids=["market", "limit"])
def test_an_order_that_is_delivered_twice_is_unknown_and_is_found(case, venue, exchange, price):
    order = sale_of_all(case, price)
    venue.fault("delivered_twice", path=case.order_path)
    unknown(case.again, exchange.place, order)
    assert len(venue.ledger()) == 1
    found = exchange.find(ref_of(order))
    assert found.exchange_order_id == venue.ledger()[0]["order_id"]
    assert found.status == ("filled" if price is None else "open")


def test_a_send_that_is_delivered_twice_is_unknown(case, venue, exchange):
    send = NewWithdrawal("BTC", Decimal(1), WALLET, uuid.uuid4().hex)
    venue.fault("delivered_twice", path=case.send_path)
    unknown(case.again, exchange.withdraw, send)
    assert [row["kind"] for row in venue.ledger()] == ["withdrawal"]
    assert [row.amount for row in exchange.withdrawals("BTC")]
    if case.kind is Backpack:
        now = datetime.now(UTC)
        assert exchange.find_withdrawal(send.client_id, now, now).id


def test_a_cancel_that_is_delivered_twice_is_never_called_refused_while_the_order_is_canceled(case, venue, exchange):
    """That it is not open is true whoever canceled it, and no other refusal is certain."""
    order = sale_of_all(case, FAR_PRICE)
    ref = replace(ref_of(order), exchange_order_id=exchange.place(order).exchange_order_id)
    venue.fault("delivered_twice", path=case.cancel_path)
    with pytest.raises((Refused, Unknown)) as caught:
        exchange.cancel(ref)
    if isinstance(caught.value, Refused):
        assert caught.value.code == "order_not_open"
    else:
        assert caught.value.refusal.code == case.again
    assert exchange.order(ref).status == "canceled"


class LateCopy(Transport):
    """Delivers each request that executed something again, 400 seconds later, and gives the answer to that."""

    def __init__(self, line, venue):
        """Keep no connections; those of the `line` are used."""
        self.line, self.venue = line, venue

    def send(self, request, *, timeout=None):
        executed = len(self.venue.ledger())
        answer = self.line.send(request, timeout=timeout)
        if len(self.venue.ledger()) == executed:
            return answer
        self.venue.clock.ahead += 400
        answer = self.line.send(request, timeout=timeout)
        self.venue.clock.ahead -= 400
        return answer


def test_a_second_delivery_after_the_time_of_the_request_is_over_proves_nothing(case, venue, transport):
    exchange, order = connect(case.kind, venue, LateCopy(transport, venue)), sale_of_all(case, FAR_PRICE)
    unknown(case.late, exchange.place, order)
    assert exchange.find(ref_of(order)).status == "open"
    exchange.cancel(ref_of(order))
    unknown(case.late, exchange.withdraw, NewWithdrawal("BTC", Decimal(1), WALLET, uuid.uuid4().hex))
    assert [row["kind"] for row in venue.ledger()] == ["order", "withdrawal"]


def test_two_orders_that_overtake_each_other_are_each_called_what_they_are(case, venue, exchange):
    orders = [replace(sale_of_all(case, FAR_PRICE), amount=Decimal("0.1")) for _ in range(2)]
    told = {}

    def place(order):
        try:
            told[order.client_id] = exchange.place(order)
        except Unknown as error:
            told[order.client_id] = error

    venue.fault("swapped", path=case.order_path)
    first = threading.Thread(target=place, args=(orders[0],))
    first.start()
    while not venue.waiting:
        time.sleep(0.01)
    place(orders[1])
    first.join()
    for order in orders:
        found, answer = exchange.find(ref_of(order, missed=60)), told[order.client_id]
        assert (found is None) == isinstance(answer, Unknown)
        assert found is not None or answer.refusal.code == "invalid_nonce"
    assert len(venue.ledger()) == (1 if case.kind is Kraken else 2)


def test_an_order_that_was_never_executed_is_not_found_and_its_refusal_is_the_outcome(case, venue, exchange):
    """The nonce was too low, the time was over: nothing was executed at all."""
    order = sale_of_all(case)
    venue.fault("nonce", path=case.order_path)
    unknown(case.late, exchange.place, order)
    assert exchange.find(ref_of(order, missed=60)) is None
    assert not venue.ledger()


def test_what_never_left_is_refused_for_certain(case, venue, exchange):
    """A port that is closed, and our own check: there was no delivery at all."""
    with pytest.raises(Refused):
        exchange.place(replace(sale_of_all(case), amount=Decimal("0.000000000001")))
    venue.fault("refused", seconds=30)
    with pytest.raises(Refused):
        exchange.place(sale_of_all(case))
    venue.heal()
    assert not venue.ledger()


def test_a_lag_of_the_history_never_makes_a_second_delivery_a_certain_refusal(clock, transport):
    """Backpack alone: the first delivery filled the order, the second is refused for funds, and no list shows it."""
    case = CASES["backpack"]
    with BackpackVenue() as venue:
        venue.account.balances["BTC"] = Decimal(1)
        venue.history_lag = 3600
        exchange, order = connect(Backpack, venue, transport), sale_of_all(case)
        venue.fault("delivered_twice", path=case.order_path)
        unknown("insufficient_funds", exchange.place, order)
        assert len(venue.ledger()) == 1
        for ref in (ref_of(order), ref_of(order, missed=20)):
            with pytest.raises(NotListedYet):
                exchange.find(ref)
        venue.history_lag = 0
        assert exchange.find(ref_of(order)).status == "filled"


@pytest.mark.parametrize("window", ["none", "some", "not to be read"])
def test_krakens_refusal_for_funds_is_a_proof_only_without_a_nonce_window(transport, window):
    """Kraken does not promise that a window keeps used nonces out, so the first delivery may be executed then."""
    case = CASES["kraken"]
    with KrakenVenue() as venue:
        exchange, order = connect(Kraken, venue, transport), replace(sale_of_all(case), amount=Decimal(200))
        venue.nonce_window = 60_000_000 if window == "some" else 0
        if window == "not to be read":
            venue.fault("html", path="GetApiKeyInfo", times=9)
        if window == "none":
            for _ in range(2):
                with pytest.raises(Refused) as caught:
                    exchange.place(order)
                assert caught.value.code == "insufficient_funds"
            asked = [request.path for request in venue.requests if request.path.endswith("GetApiKeyInfo")]
            assert len(asked) == 1, "it is asked for once an hour"
        else:
            unknown("insufficient_funds", exchange.place, order)
            assert exchange.find(ref_of(order)) is None
        assert not venue.ledger()
