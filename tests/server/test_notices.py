"""The running server tells its administrator's receiver what happens, at least once and in order, and never waits."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap.client import OutcomeUnknown, PermissionDenied, XWrap
from bitmm.xwrap.server import follower, notices
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.notices import Notifier, pause_after
from bitmm.xwrap.server.webhook import Webhook
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.databases import add_registration, sql
from tests.support.receivers import Receiver, notice_settings
from tests.support.threads import until

DAY = 86_400


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notices, "_EVERY", 0.05)
        patch.setattr(follower, "_FIRST_REPORTED_PAUSE", 0.5)
        yield


@pytest.fixture(scope="module")
def venue():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server(serving, venue, receiver, tmp_path_factory):
    given = notice_settings(receiver, tmp_path_factory.mktemp("secret"))
    urls = {"kraken": venue.url}
    with serving(exchanges=("kraken", "paper"), exchange_urls=urls, reconcile_seconds=0.1, **given) as server:
        yield server


@pytest.fixture
def backend(server, venue, receiver, request):
    receiver.got.clear()
    name = f"key of {request.node.name}"
    venue.add_account(name, venue.secret)
    auth = server.account()
    yield XWrap(server.url).create_backend(*auth, "kraken", "", name, venue.secret, label="main", allow_send=True)
    venue.faults.clear()


def of(receiver, backend):
    """What the receiver was told of an account."""
    return [notice for notice in receiver.notices if notice["account"] == backend.username]


def test_an_order_that_is_filled_or_canceled_is_reported_with_its_record(receiver, backend):
    filled = backend.buy("EUR", "BTC", "0.01")
    resting = backend.buy("EUR", "BTC", "0.01", price=20000)
    backend.cancel(resting["id"])
    until(lambda: len(of(receiver, backend)) == 2)
    first, second = of(receiver, backend)
    assert (first["kind"], second["kind"]) == ("order.filled", "order.canceled")
    assert (first["registration"], first["exchange"], first["label"]) == (backend.id, "kraken", "main")
    assert (first["order"]["id"], first["order"]["amount"]) == (filled["id"], "0.01")
    assert Decimal(first["order"]["filled"]) == Decimal("0.01")
    assert second["order"]["id"] == resting["id"]
    assert first["id"] != second["id"]
    assert {headers["webhook-id"] for headers, _ in receiver.got} == {first["id"], second["id"]}


def test_a_limit_order_that_is_filled_later_is_reported_although_nobody_asks(receiver, venue, backend):
    order = backend.buy("EUR", "BTC", "0.01", price=20000)
    assert order["status"] == "open"
    before = [offers[0][0] for offers in (venue.pairs["BTC/EUR"].asks, venue.pairs["BTC/EUR"].bids)]
    venue.set_best_prices("BTC/EUR", Decimal(19990), Decimal(19980))
    until(lambda: of(receiver, backend))
    venue.set_best_prices("BTC/EUR", *before)
    [notice] = of(receiver, backend)
    assert (notice["kind"], notice["order"]["id"]) == ("order.filled", order["id"])


def test_an_order_whose_answer_is_lost_is_reported_as_unknown_and_then_as_what_it_is(receiver, venue, backend):
    venue.fault("reset_after", times=1, path="AddOrder")
    with pytest.raises(OutcomeUnknown):
        backend.buy("EUR", "BTC", "0.01", key="lost")
    until(lambda: len(of(receiver, backend)) == 3)
    told = of(receiver, backend)
    assert [notice["kind"] for notice in told] == ["order.unknown", "order.reconciled", "order.filled"]
    assert [notice["order"]["status"] for notice in told] == ["unknown", "filled", "filled"]
    assert {notice["order"]["key"] for notice in told} == {"lost"}


def test_a_key_that_its_exchange_refuses_is_reported_once_and_again_after_it_worked(receiver, venue, backend, request):
    name = f"key of {request.node.name}"
    for _ in range(2):
        account = venue.accounts.pop(name)  # the key was deleted there
        for call in (backend.balance, lambda: backend.buy("EUR", "BTC", "0.01")):
            with pytest.raises(PermissionDenied):
                call()
        venue.accounts[name] = account
        backend.balance()
        backend.balance()
    backend.buy("EUR", "BTC", "0.01")  # reported after all of them
    until(lambda: "order.filled" in receiver.kinds())
    assert [notice["kind"] for notice in of(receiver, backend)] == ["key.refused", "key.refused", "order.filled"]
    assert of(receiver, backend)[0]["registration"] == backend.id


def test_a_freeze_and_a_dead_mans_switch_that_fired_are_reported(receiver, server, backend):
    account = XWrap(server.url)
    backend.buy("EUR", "BTC", "0.01", price=20000)
    backend.deadman(600)
    server.sql("UPDATE registrations SET deadman_at = deadman_at - 86400 WHERE id = :id", id=backend.id)
    until(lambda: len(of(receiver, backend)) == 2)
    account.freeze(backend.username, backend.password)
    account.freeze(backend.username, backend.password)
    until(lambda: len(of(receiver, backend)) == 3)
    canceled, fired, frozen = of(receiver, backend)
    assert (canceled["kind"], fired["kind"], fired["canceled"]) == ("order.canceled", "deadman.fired", "1")
    assert (frozen["kind"], frozen["by"], frozen["registration"]) == ("account.frozen", backend.username, None)
    assert frozen["since"].startswith("20")


def test_no_notice_has_a_key_or_a_secret_and_the_receivers_url_is_nowhere(receiver, server, venue, backend):
    backend.buy("EUR", "BTC", "0.01")
    until(lambda: of(receiver, backend))
    texts = [body.decode() + str(headers) for headers, body in receiver.got]
    assert not any(venue.secret in text or backend.password in text for text in texts)
    assert "hidden" not in str(server.sql("SELECT * FROM audit_log"))


def test_a_receiver_that_does_not_answer_delays_no_order_and_loses_nothing(receiver, server, backend):
    over = threading.Event()

    def hang(handler):
        over.wait(60)
        handler.send_response(200)
        handler.end_headers()

    receiver.answers = [hang]
    orders = [backend.buy("EUR", "BTC", "0.001") for _ in range(5)]
    assert all(order["status"] == "filled" for order in orders)
    assert len(receiver.got) <= 1  # the first one hangs there still
    over.set()
    until(lambda: len(of(receiver, backend)) == 5)
    assert [notice["order"]["id"] for notice in of(receiver, backend)] == [order["id"] for order in orders]


def test_the_metrics_say_how_many_notices_wait_and_were_delivered(receiver, server, backend):
    backend.buy("EUR", "BTC", "0.01")
    until(lambda: of(receiver, backend) and server.sql("SELECT count(*) FROM notices") == [(0,)])
    text = requests.get(f"{server.url}/metrics", timeout=30).text
    assert "\nxwrap_notices_waiting 0.0\n" in text
    assert '\nxwrap_notices_total{result="failed"} 0.0\n' in text
    assert float(text.partition('xwrap_notices_total{result="delivered"} ')[2].partition("\n")[0]) >= 1


@pytest.fixture
def store(tmp_path, database):
    store = Store(database(tmp_path, tables=True), notices=True)
    add_registration(store)
    yield store
    store.close()


@pytest.fixture
def ours():
    with Receiver() as receiver:
        yield receiver


def notifier(store, receiver):
    return Notifier(store, Webhook(receiver.url, b"x" * 32, private=True))


def let_pass(store, seconds):
    """Move the clock on, as far as notices know."""
    with store._database.writing() as runner:
        runner.command(f"UPDATE notices SET due = due - {seconds}")


def test_while_the_receiver_is_down_for_a_day_nothing_is_lost_and_all_come_in_their_order(store, ours):
    sender, kinds, tries, passed = notifier(store, ours), [], 0, 0.0
    ours.answers = [503] * 1000
    while passed < DAY:
        if tries % 5 == 0:
            kinds.append(f"order.{len(kinds)}")
            store.notices.add(kinds[-1], {}, registration=1)
        sender.send()
        tries += 1
        pause = pause_after(tries)
        let_pass(store, pause * 1.3)
        passed += pause
    assert 140 < tries < 200
    assert set(ours.kinds()) == {kinds[0]}
    assert len({body for _, body in ours.got}) == 1
    assert store.notices.backlog().error == "the receiver answered 503"
    ours.answers.clear()
    ours.got.clear()
    sender.send()
    assert ours.kinds() == kinds
    assert store.notices.backlog().waiting == 0
    assert sender.counts == {"delivered": len(kinds), "failed": tries, "dropped": 0}


def test_a_try_follows_after_1_2_4_seconds_and_at_most_10_minutes_with_jitter():
    for tries, pause in ((1, 1), (2, 2), (3, 4), (9, 256), (10, 512), (11, 600), (12, 600), (10_000, 600)):
        drawn = {pause_after(tries) for _ in range(50)}
        assert 0.8 * pause <= min(drawn) < max(drawn) <= pause


def test_what_is_not_due_is_not_tried_and_a_restart_changes_nothing(store, ours):
    ours.answers = [500, 500]
    store.notices.add("a", {}, registration=1)
    for _ in range(5):
        notifier(store, ours).send()  # each as after a restart
    assert len(ours.got) == 1
    let_pass(store, 1)
    notifier(store, ours).send()
    assert len(ours.got) == 2
    let_pass(store, 1.5)
    notifier(store, ours).send()
    assert len(ours.got) == 2
    let_pass(store, 1)
    notifier(store, ours).send()
    assert [headers["webhook-id"] for headers, _ in ours.got] == [ours.notices[0]["id"]] * 3
    assert store.notices.backlog().waiting == 0


def test_what_was_delivered_and_not_written_down_is_delivered_again_with_the_same_id(store, ours, monkeypatch):
    store.notices.add("a", {}, registration=1)
    sender = notifier(store, ours)
    with monkeypatch.context() as patch:
        patch.setattr(store.notices, "taken", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):  # it is killed here
            sender.send()
    sender.send()
    assert len(ours.got) == 1  # the claim of the one that died
    let_pass(store, 31)
    sender.send()
    assert [notice["id"] for notice in ours.notices] == [ours.notices[0]["id"]] * 2


def test_two_servers_send_each_notice_once_and_in_order(store, ours):
    other = Store(store.where, notices=True)
    kinds = [f"order.{number}" for number in range(40)]
    for kind in kinds:
        store.notices.add(kind, {}, registration=1)
    senders = [notifier(one, ours) for one in (store, other)]
    for sender in senders:
        sender.start()
    until(lambda: len(ours.got) >= len(kinds))
    until(lambda: store.notices.backlog().waiting == 0)
    for sender in senders:
        sender.stop()
    assert ours.kinds() == kinds
    other.close()


def test_what_is_dropped_is_counted_and_logged(store, ours, caplog):
    store.notices.add("a", {}, registration=1)
    sql(store.where, "UPDATE notices SET created = '2020'")
    sender = notifier(store, ours)
    sender.send()
    assert sender.counts["dropped"] == 1
    assert "1 notices were dropped" in caplog.text
    assert ours.got == []


def test_a_server_without_a_receiver_writes_no_notices(serving):
    with serving() as server:
        auth = server.account()
        id = server.registration(auth)
        form = {"currency": "USD", "asset": "BTC", "amount": "0.001"}
        url = f"{server.url}/exchanges/{id}/buy"
        assert requests.post(url, data=form, auth=auth, timeout=30).json()["status"] == "filled"
        assert server.sql("SELECT count(*) FROM notices") == [(0,)]
