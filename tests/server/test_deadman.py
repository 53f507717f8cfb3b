"""The dead man's switch: all orders are canceled unless it is renewed, once, and until it worked."""

from __future__ import annotations

import time
from decimal import Decimal
from types import SimpleNamespace

import pytest
import requests

from bitmm.xwrap.client import APIError, InvalidRequest, PermissionDenied, XWrap
from bitmm.xwrap.exchanges.kraken import Kraken
from bitmm.xwrap.server import deadman
from bitmm.xwrap.server.db.safety import Switch
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.deadman import DeadMansSwitch
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.threads import until


@pytest.fixture(scope="module")
def venue():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture(scope="module")
def server(serving, venue):
    with serving(exchanges=("kraken", "paper"), exchange_urls={"kraken": venue.url}, reconcile_seconds=0.1) as server:
        yield server


@pytest.fixture
def key(venue, request):
    """A key of the test's own at the exchange: its name is a hint."""
    yield venue.add_account(f"key of {request.node.name}", venue.secret)
    venue.faults.clear()


@pytest.fixture
def backend(server, venue, key):
    return XWrap(server.url).create_backend(*server.account(), "kraken", "", key.key, key.secret, allow_send=True)


def place(backend):
    return backend.buy("EUR", "BTC", "0.01", price=20000)


def open_orders(venue, key):
    return venue.orders_of(key, status="open")


def let_it_pass(server, backend):
    """Let the deadline of a switch be over."""
    server.sql("UPDATE registrations SET deadman_at = deadman_at - 86400 WHERE id = :id", id=backend.id)


def switch_of(server, backend):
    shown = XWrap(server.url).backend(backend.id, backend.username, backend.password).info
    return shown["deadman_seconds"], shown["deadman_at"]


def audit(server, backend):
    statement = "SELECT what, details FROM audit_log WHERE subject = :subject AND what LIKE 'deadman.%' ORDER BY id"
    return [tuple(row) for row in server.sql(statement, subject=f"registration {backend.id}")]


def test_all_orders_are_canceled_also_those_placed_later_and_then_it_is_off(server, venue, key, backend):
    place(backend)
    backend.deadman(600)
    order = place(backend)
    let_it_pass(server, backend)
    until(lambda: not open_orders(venue, key))
    until(lambda: switch_of(server, backend) == (None, None))
    assert backend.order(order["id"])["status"] == "canceled"
    assert audit(server, backend) == [("deadman.set", '{"seconds": "600"}'), ("deadman.fired", '{"canceled": "2"}')]
    place(backend)
    assert len(open_orders(venue, key)) == 1


def test_a_renewal_moves_the_deadline_and_is_not_in_the_audit_and_0_switches_it_off(server, venue, key, backend):
    first, second = backend.deadman(600), backend.deadman(600)
    assert (first["deadman_seconds"], first["at_exchange"]) == (600, True)
    assert first["deadman_at"] < second["deadman_at"]
    assert venue._cancel_after[key.key] == pytest.approx(time.time() + 600, abs=60)
    assert switch_of(server, backend) == (600, second["deadman_at"])
    off = backend.deadman(0)
    assert (off["deadman_seconds"], off["deadman_at"], off["at_exchange"]) == (None, None, False)
    assert switch_of(server, backend) == (None, None)
    assert key.key not in venue._cancel_after
    assert [row[1] for row in audit(server, backend)] == ['{"seconds": "600"}', '{"seconds": "0"}']


def test_a_cancel_that_fails_is_tried_until_it_worked_and_cannot_be_called_off(server, venue, key, backend):
    place(backend)
    backend.deadman(600)
    venue.fault("maintenance", times=2, path="CancelAll")
    let_it_pass(server, backend)
    until(lambda: switch_of(server, backend)[0] == 0)
    for seconds in (0, 600):
        with pytest.raises(APIError) as caught:
            backend.deadman(seconds)
        assert (caught.value.code, caught.value.retryable) == ("cancel_pending", True)
    until(lambda: not open_orders(venue, key))
    until(lambda: switch_of(server, backend) == (None, None))
    fired = [row[1] for row in audit(server, backend) if row[0] == "deadman.fired"]
    assert ["Unavailable" in row for row in fired] == [True, False]
    assert fired[1] == '{"canceled": "1"}'


def test_where_the_exchanges_own_cannot_be_set_that_is_said_and_ours_is_set(server, venue, backend):
    venue.fault("maintenance", times=1, path="CancelAllOrdersAfter")
    with pytest.raises(APIError, match="the switch is set on this server, but Kraken's own may not be"):
        backend.deadman(600)
    assert switch_of(server, backend)[0] == 600


@pytest.mark.parametrize("seconds", ["4", "86401", "-1", "1.5", "", "sixty", "٦٠"])
def test_seconds_that_are_none_are_refused(server, backend, seconds):
    url, auth = f"{server.url}/exchanges/{backend.id}/deadman", (backend.username, backend.password)
    answer = requests.put(url, {"seconds": seconds}, auth=auth, timeout=30)
    assert (answer.status_code, answer.json()["field"]) == (422, "seconds")
    with pytest.raises(InvalidRequest):
        backend.deadman(4)


def test_all_that_are_enabled_are_set_with_one_call_and_each_says_what_failed(server, venue, backend):
    auth = (backend.username, backend.password)
    paper, off = server.registration(auth), server.registration(auth)
    server.sql("UPDATE registrations SET enabled = :no WHERE id = :id", no=False, id=off)
    venue.fault("maintenance", times=1, path="CancelAllOrdersAfter")
    rows = requests.put(f"{server.url}/deadman", {"seconds": "600"}, auth=auth, timeout=30).json()
    assert [(row["id"], row["deadman_seconds"], "error" in row) for row in rows] == [
        (backend.id, 600, True),
        (paper, 600, False),
    ]
    assert server.sql("SELECT deadman_at FROM registrations WHERE id = :id", id=off) == [(None,)]
    rows = requests.put(f"{server.url}/deadman", {"seconds": "0"}, auth=auth, timeout=30).json()
    assert [row["deadman_seconds"] for row in rows] == [None, None]


def test_a_registration_that_is_switched_off_and_anothers_cannot_be_set(server, backend):
    server.sql("UPDATE registrations SET enabled = :no WHERE id = :id", no=False, id=backend.id)
    with pytest.raises(PermissionDenied) as caught:
        backend.deadman(60)
    assert caught.value.code == "registration_disabled"
    url = f"{server.url}/exchanges/{backend.id}/deadman"
    assert requests.put(url, {"seconds": "60"}, auth=server.account(), timeout=30).status_code == 404


def test_one_process_claims_what_is_due_and_a_renewal_is_not_claimed(server, backend):
    store = Store(server.database)
    other = Store(server.database)
    store.safety.set_switch(backend.id, 600)
    [seen] = [switch for switch in store.safety.switches() if switch.id == backend.id]
    claimed = store.safety.claim(seen, 30)
    assert claimed.deadman_seconds == 0
    assert other.safety.claim(seen, 30) is None
    assert other.safety.set_switch(backend.id, 600) == (None, 0)
    assert store.safety.finish(claimed)
    assert not other.safety.finish(claimed)
    store.safety.set_switch(backend.id, 600)
    [seen] = [switch for switch in store.safety.switches() if switch.id == backend.id]
    store.safety.set_switch(backend.id, 601)
    assert store.safety.claim(seen, 30) is None
    store.safety.set_switch(backend.id, 0)
    store.close()
    other.close()


def test_a_data_base_clock_that_is_set_back_or_stands_does_not_delay_it(request, monkeypatch):
    """The process measures what it has seen of the deadline by its own clock, too."""
    monkeypatch.setattr(deadman, "_CLOCK_MARGIN", 0.0)
    begun = []
    switch = Switch(7, "kraken", at=1000.2, now=1000.0)
    store = SimpleNamespace(safety=SimpleNamespace(switches=lambda: [switch]))
    one = DeadMansSwitch(store, None, None, every=1.0, call_seconds=1.0)
    request.addfinalizer(one._workers.shutdown)
    monkeypatch.setattr(one, "_begin", begun.append)
    one.look()
    assert begun == []
    until(lambda: one.look() or begun)
    assert begun[0] == switch


def test_an_order_on_its_way_when_it_fires_is_canceled_when_it_has_arrived(server, venue, key, backend, monkeypatch):
    """Its answer is late, so the first cancel comes before it stands."""
    backend.deadman(600)
    place(backend)
    row = server.sql("SELECT max(id) FROM orders WHERE registration_id = :id", id=backend.id)[0][0]
    server.sql("UPDATE orders SET status = 'running' WHERE id = :id", id=row)
    let_it_pass(server, backend)
    until(lambda: not open_orders(venue, key))
    late = venue.place(key, "BTC/EUR", "buy", amount=Decimal("0.01"), price=Decimal(20000))
    late.details.update(key="XXBTZEUR", userref=None, oflags="fciq", description="", volume=late.amount, reads=0)
    server.sql("UPDATE orders SET status = 'filled' WHERE id = :id", id=row)
    until(lambda: not open_orders(venue, key))
    until(lambda: switch_of(server, backend) == (None, None))


def test_kraken_has_the_operation_and_paper_has_not(server):
    shown = {row["id"]: row["can"] for row in XWrap(server.url).list_exchanges()}
    assert "deadman" in shown[Kraken.id]
    assert "deadman" not in shown["paper"]
