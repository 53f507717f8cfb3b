"""Orders and sends whose answer was lost, at each exchange's local double: what its ledger has, or may still get, is
never sent again, and what it does not have is never called done.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.errors import OutcomeUnknown
from bitmm.xwrap.exchanges.backpack import funding as backpack_funding
from bitmm.xwrap.server.reconciliation import Reconciler
from bitmm.xwrap.testing.exchanges.venue import Reply
from tests.stress.harness import EXCHANGE_CASES, open_venue
from tests.support.reconciling import make_due
from tests.support.sends import allow_sends

AMOUNT = Decimal("0.01")


class Sender:
    """A backend at one exchange, its venue, and the reconciler of its server, which works when it is told to."""

    def __init__(self, exchange, venue, server, reconciler):
        self.exchange, self.venue, self.server, self.reconciler = exchange, venue, server, reconciler
        auth = server.account()
        form = {"apikey": venue.key, "apisecret": venue.secret, **exchange.form}
        self.backend = XWrap(server.url).backend(server.registration(auth, exchange.id, **form), *auth)
        allow_sends(server.database, auth[0], [exchange.address])

    def send(self, amount=AMOUNT, key="k1"):
        return self.backend.send_to_address("BTC", amount, self.exchange.address, key=key)

    def lose(self, amount=AMOUNT, key="k1", fault="executed_but_timeout"):
        """A send whose answer is lost."""
        self.venue.fault(fault, path=self.exchange.executing_requests["send"], seconds=30)
        with pytest.raises(OutcomeUnknown):
            self.send(amount, key)
        self.venue.heal()

    def reconcile(self):
        self.reconciler.reconcile(self.exchange.id)

    def sent(self):
        """The amounts that really left."""
        return [Decimal(row["amount"]) for row in self.venue.ledger() if row["kind"] == "withdrawal"]

    def status(self, key="k1"):
        return {row["key"]: row["status"] for row in self.backend.withdrawals()}[key]


@contextmanager
def _sender(name, serving, monkeypatch, **settings):
    made = []
    monkeypatch.setattr(Reconciler, "start", lambda reconciler: made.append(reconciler))  # noqa: PLW0108 - must be bound
    monkeypatch.setattr(Reconciler, "stop", lambda _: None)
    exchange = EXCHANGE_CASES[name]
    settings = {"exchanges": (exchange.id,), "exchange_seconds": 1.0, "reconcile_grace_seconds": 0.0} | settings
    with open_venue(exchange) as venue, serving(exchange_urls={exchange.id: venue.url}, **settings) as server:
        venue.deposit("BTC", Decimal(10))
        yield Sender(exchange, venue, server, made[0])


@pytest.fixture
def backpacker(serving, monkeypatch):
    monkeypatch.setattr(backpack_funding, "_LAG", timedelta(0))
    with _sender("backpack", serving, monkeypatch) as sender:
        yield sender


def test_backpack_knows_a_send_by_our_id(backpacker):
    backpacker.lose()
    backpacker.reconcile()
    assert backpacker.send() is True
    assert backpacker.sent() == [AMOUNT]


def test_a_send_with_a_thousand_newer_ones_is_not_said_to_be_missing(backpacker):
    """One answer of Backpack has a thousand at most; the rest of a long night's sends are not in it."""
    backpacker.lose()
    venue = backpacker.venue
    with venue.lock:
        for number in range(1001):
            venue.withdraw(
                venue.account, "BTC", Decimal("0.001"), "elsewhere", network="Bitcoin", client_id=str(number)
            )
    backpacker.reconcile()
    assert backpacker.status() == "pending"
    assert backpacker.send() is True
    assert backpacker.sent().count(AMOUNT) == 1


def test_a_send_that_never_arrived_at_backpack_is_sent_once_by_a_repeat(backpacker):
    backpacker.lose(fault="reset_before")
    assert backpacker.sent() == []
    backpacker.reconcile()
    assert backpacker.send() is True
    assert backpacker.send() is True
    assert backpacker.sent() == [AMOUNT]


@pytest.fixture(params=["kraken", "bitstamp"])
def net(request, serving, monkeypatch):
    """Exchanges that tell what arrived, and not what left."""
    with _sender(request.param, serving, monkeypatch) as sender:
        yield sender


def test_a_send_is_not_taken_for_another_one_whose_fee_makes_them_alike(net):
    """The first one is carried out and arrives as 0.01; the second one, of 0.01, never gets there."""
    fee = _fee(net)
    net.lose(AMOUNT + fee, "k1")
    net.lose(AMOUNT, "k2", fault="reset_before")
    net.reconcile()
    assert net.sent() == [AMOUNT, AMOUNT + fee]
    assert net.status("k2") == "unknown"


def test_a_send_that_its_owner_settled_is_not_taken_for_a_later_one(net):
    fee = _fee(net)
    net.lose(AMOUNT + fee, "k1")
    net.lose(AMOUNT, "k2", fault="reset_before")
    journal = net.reconciler._store.withdrawals
    row = next(row for _, row in journal.unknown() if row["key"] == "k1")
    assert journal.reconcile(row, {"status": "done"})
    net.reconcile()
    assert net.status("k2") == "unknown"


def _fee(sender):
    """What the exchange takes for a send, seen at a first one of 0.01, which is known."""
    sender.send(AMOUNT, "k0")
    (row,) = sender.venue.withdrawals.values()
    return row.fee


def test_kraken_tells_fee_and_rest_and_so_a_send_is_recognised(serving, monkeypatch):
    with _sender("kraken", serving, monkeypatch) as sender:
        sender.lose()
        sender.reconcile()
        assert sender.send() is True
        assert sender.sent() == [AMOUNT]


def test_a_twin_made_through_another_registration_of_the_same_key_is_not_taken_for_it(serving, monkeypatch):
    """Both are unknown, one of them was carried out, and nobody can tell which."""
    with _sender("kraken", serving, monkeypatch) as sender:
        other = Sender(sender.exchange, sender.venue, sender.server, sender.reconciler)
        other.lose(fault="reset_before")
        sender.lose()
        sender.reconcile()
        assert (sender.status(), other.status()) == ("unknown", "unknown")
        assert sender.sent() == [AMOUNT]


def hold(venue, path):
    """From now on the venue does not execute requests to `path`; they are in the list that this gives."""
    held, execute = [], venue.answer

    def answer(request):
        if path not in f"{request.method} {request.path}":
            return execute(request)
        held.append(request)
        return Reply.text("", 500)

    venue.answer = answer
    return held


@pytest.mark.parametrize("name", ["kraken", "bitstamp", "backpack"])
def test_an_order_that_reaches_its_exchange_half_a_minute_late_is_placed_once(name, serving, monkeypatch):
    """Kraken refuses it for its nonce, Backpack for its age, whose history is asked a second time after its lag.
    Bitstamp takes it, so nobody may say before that it is not there.
    """
    late = 31.0
    monkeypatch.setattr("bitmm.xwrap.exchanges.backpack.funding._LAG", timedelta(0))
    with _sender(name, serving, monkeypatch, reconcile_grace_seconds=20.0) as sender:
        exchange, venue = sender.exchange, sender.venue
        venue.fault("executed_but_timeout", path=exchange.executing_requests["buy"], seconds=30)
        held = hold(venue, exchange.executing_requests["buy"])
        with pytest.raises(OutcomeUnknown):
            exchange.submit(sender.backend, "buy", 0, "k1")
        venue.heal()
        del venue.answer
        then = (datetime.now(UTC) - timedelta(seconds=late)).isoformat().replace("+00:00", "Z")
        sender.server.sql("UPDATE orders SET created = :then, updated = :then", then=then)
        for _ in range(2):
            sender.reconcile()
            make_due(sender.reconciler)
        with suppress(OutcomeUnknown):
            exchange.submit(sender.backend, "buy", 0, "k1")
        venue.clock = lambda: time.time() + late
        venue.answer(held[0])
        venue.clock = time.time
        make_due(sender.reconciler)
        sender.reconcile()
        assert exchange.submit(sender.backend, "buy", 0, "k1")["status"] == "filled"
        assert [row["kind"] for row in venue.ledger()] == ["order"]


@pytest.mark.parametrize(("fault", "is_there"), [("executed_but_timeout", True), ("reset_before", False)])
@pytest.mark.parametrize("price", [None, "24900.0"])
def test_an_order_with_a_stop_is_found_again_at_its_exchange(serving, monkeypatch, fault, is_there, price):
    with _sender("kraken", serving, monkeypatch) as sender:
        sender.venue.fault(fault, path=sender.exchange.executing_requests["sell"], seconds=30)
        with pytest.raises(OutcomeUnknown):
            sender.backend.sell("EUR", "BTC", AMOUNT, price=price, stop="25000", key="k1")
        sender.venue.heal()
        assert [order["status"] for order in sender.backend.orders()] == ["unknown"]
        make_due(sender.reconciler)
        sender.reconcile()
        [order] = sender.backend.orders()
        assert (order["status"], order["stop"]) == ("open" if is_there else "rejected", 25000)
        again = sender.backend.sell("EUR", "BTC", AMOUNT, price=price, stop="25000", key="k1")
        assert (again["status"], again["stop"]) == ("open", 25000)
        assert len(sender.venue.ledger()) == 1
