"""A frozen account places no order and makes no send, in any process; its owner alone lifts that."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.exchanges.errors import Refused
from bitmm.xwrap.exchanges.models import OrderState
from bitmm.xwrap.server.db.records import Caller, now
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.policy import Policy
from bitmm.xwrap.server.quotas import Quotas
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from tests.support.stub import Stub
from tests.support.threads import until

FILLED = OrderState("X1", "filled", filled=Decimal("0.1"), average=Decimal(10), spent=Decimal(1), fee=Decimal("0.01"))
ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.1"}
RESTING = {"currency": "EUR", "asset": "BTC", "amount": "0.1", "price": "20000"}
SEND = {"asset": "BTC", "amount": "0.1", "address": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"}


class Bench:
    """An account with its registrations, and its calls."""

    def __init__(self, server, auth=None):
        self.server, self.auth = server, auth or server.account()

    def call(self, method, path, auth=None, key=None, **form):
        headers = {"Idempotency-Key": key} if key else {}
        fields = {"params" if method in {"GET", "DELETE"} else "data": form}
        url = self.server.url + path
        return requests.request(method, url, auth=auth or self.auth, headers=headers, timeout=30, **fields)

    def freeze(self, **form):
        answer = self.call("POST", "/freeze", **form)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def audit(self):
        """What the audit has of this account's freezes and switches: what, who, details."""
        statement = (
            "SELECT what, who, details FROM audit_log WHERE account_id = (SELECT id FROM accounts WHERE name = :name)"
            " AND (what LIKE '%freeze' OR what LIKE 'deadman.%') ORDER BY id"
        )
        return [tuple(row) for row in self.server.sql(statement, name=self.auth[0])]


@pytest.fixture
def kraken():
    with KrakenVenue() as venue:
        yield venue


@pytest.fixture
def bench(serving, kraken, monkeypatch):
    monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
    monkeypatch.setattr(Stub, "act", staticmethod(lambda _asked: FILLED))
    monkeypatch.setattr(Stub, "placed", [])
    with serving(exchanges=("stub", "paper", "kraken"), exchange_urls={"kraken": kraken.url}) as server:
        yield Bench(server)


def at_kraken(bench, kraken):
    return bench.server.registration(bench.auth, "kraken", apikey=kraken.key, apisecret=kraken.secret)


def test_while_it_is_frozen_no_order_and_no_send_leaves_and_reads_and_cancels_pass(bench):
    id = bench.server.registration(bench.auth, "stub")
    paper = bench.server.registration(bench.auth, "paper")
    resting = bench.call("POST", f"/exchanges/{paper}/buy", **ORDER, price="100").json()["id"]
    since = bench.freeze()["frozen"]
    for path, form in (
        (f"/exchanges/{id}/buy", ORDER),
        (f"/exchanges/{paper}/sell", ORDER),
        (f"/exchanges/{paper}/send_to_address", SEND),
        (f"/exchanges/{paper}/buy", {**ORDER, "dry_run": "true"}),
    ):
        answer = bench.call("POST", path, **form)
        assert (answer.status_code, answer.json()["code"]) == (403, "frozen")
        assert since[:19].replace("T", " ") in answer.json()["detail"]
        assert "DELETE /freeze" in answer.json()["detail"]
        assert not answer.json()["may_have_executed"]
    assert Stub.placed == []
    assert bench.call("GET", f"/exchanges/{paper}/balance").status_code == 200
    assert bench.call("DELETE", f"/exchanges/{paper}/orders/{resting}").json()["status"] == "canceled"


def test_the_owner_lifts_it_and_the_key_that_was_refused_can_be_used_then(bench):
    id = bench.server.registration(bench.auth, "stub")
    bench.freeze()
    assert bench.call("POST", f"/exchanges/{id}/buy", key="mine", **ORDER).status_code == 403
    answer = bench.call("DELETE", "/freeze")
    assert (answer.status_code, answer.json()) == (200, {"frozen": None})
    assert bench.call("POST", f"/exchanges/{id}/buy", key="mine", **ORDER).json()["status"] == "filled"
    assert bench.call("DELETE", "/freeze").status_code == 200
    assert [row[0] for row in bench.audit()] == ["freeze", "unfreeze"]


def test_a_key_that_was_executed_before_is_answered_while_it_is_frozen(bench):
    id = bench.server.registration(bench.auth, "stub")
    first = bench.call("POST", f"/exchanges/{id}/buy", key="mine", **ORDER)
    bench.freeze()
    assert bench.call("POST", f"/exchanges/{id}/buy", key="mine", **ORDER).content == first.content


def test_freezing_twice_keeps_the_first_time_and_another_account_is_not_frozen(bench):
    first, second = bench.freeze(), bench.freeze()
    assert first == second == {"frozen": first["frozen"], "canceled": []}
    other = Bench(bench.server)
    id = other.server.registration(other.auth, "stub")
    assert other.call("POST", f"/exchanges/{id}/buy", **ORDER).status_code == 200
    assert len(bench.audit()) == 1


def test_an_intent_that_comes_after_the_freeze_is_not_committed_though_the_login_was_before(bench, monkeypatch):
    """Between its login and its intent an order waits for what it reads of the exchange."""
    id = bench.server.registration(bench.auth, "stub")
    admit = Policy.admit

    def admit_late(*arguments):
        admission = admit(*arguments)
        bench.freeze()
        return admission

    monkeypatch.setattr(Policy, "admit", admit_late)
    answer = bench.call("POST", f"/exchanges/{id}/buy", **ORDER)
    assert (answer.status_code, answer.json()["code"]) == (403, "frozen")
    assert bench.server.sql("SELECT count(*) FROM orders") == [(0,)]


def test_an_order_that_waits_for_its_turn_when_the_freeze_comes_is_not_sent(bench, kraken, monkeypatch):
    """Its intent is committed; it is refused with proof, and its key is free."""
    id = at_kraken(bench, kraken)
    confirm, asked = Policy.confirm, []

    def confirm_late(self, *arguments):
        if bench.server.sql("SELECT count(*) FROM orders WHERE status = 'running'") == [(1,)] and not asked:
            asked.append(bench.freeze())
        return confirm(self, *arguments)

    monkeypatch.setattr(Policy, "confirm", confirm_late)
    answer = bench.call("POST", f"/exchanges/{id}/buy", key="mine", **RESTING)
    assert (answer.status_code, answer.json()["code"]) == (403, "frozen")
    assert asked
    assert kraken.ledger() == []
    assert bench.server.sql("SELECT status, released FROM orders")[0][0] == "rejected"
    bench.call("DELETE", "/freeze")
    assert bench.call("POST", f"/exchanges/{id}/buy", key="mine", **RESTING).json()["status"] == "open"
    assert len(kraken.ledger()) == 1


@pytest.mark.parametrize("status", ["", "running"], ids=["before its intent", "after its intent"])
def test_an_order_with_the_password_before_waits_in_vain_though_the_freeze_is_lifted(
    bench, kraken, monkeypatch, status
):
    """The owner freezes, changes the stolen password, and lifts the freeze; the thief's order waits all that time."""
    id = at_kraken(bench, kraken)
    old, new = bench.auth, (bench.auth[0], "another password")
    confirm = Policy.confirm

    def confirm_late(self, *arguments):
        if bench.auth == old and bench.server.sql("SELECT status FROM orders") == [(status,)] * bool(status):
            bench.freeze()
            bench.call("PATCH", "/account", password=new[1]).raise_for_status()
            bench.auth = new
            bench.call("DELETE", "/freeze").raise_for_status()
        return confirm(self, *arguments)

    monkeypatch.setattr(Policy, "confirm", confirm_late)
    answer = bench.call("POST", f"/exchanges/{id}/buy", key="thiefs", **RESTING)
    assert bench.auth == new
    assert (answer.status_code, answer.json()["code"], answer.json()["may_have_executed"]) == (
        401,
        "not_authenticated",
        False,
    )
    assert kraken.ledger() == []
    assert bench.call("POST", f"/exchanges/{id}/buy", key="mine", **RESTING).json()["status"] == "open"


def test_an_order_on_paper_is_stopped_in_the_transaction_that_would_execute_it(bench, monkeypatch):
    id = bench.server.registration(bench.auth, "paper")
    atomic = Store.atomic

    def atomic_late(self, work):
        monkeypatch.undo()
        bench.freeze()
        return atomic(self, work)

    monkeypatch.setattr(Store, "atomic", atomic_late)
    answer = bench.call("POST", f"/exchanges/{id}/buy", **ORDER)
    assert (answer.status_code, answer.json()["code"]) == (403, "frozen")
    assert answer.json()["may_have_executed"] is False
    for table in ("paper_orders", "orders"):
        assert bench.server.sql(f"SELECT count(*) FROM {table}") == [(0,)]


def test_the_orders_are_canceled_and_each_registration_says_how_many(bench, kraken):
    paper, id = bench.server.registration(bench.auth, "paper"), at_kraken(bench, kraken)
    for _ in range(2):
        bench.call("POST", f"/exchanges/{id}/buy", **RESTING)
    row = {"exchange": "kraken", "canceled": 2}
    assert bench.freeze(cancel_orders="true")["canceled"] == [
        {"id": paper, "exchange": "paper", "canceled": 0},
        {"id": id, **row},
    ]
    assert kraken.orders_of(kraken.account, status="open") == []
    shown = bench.call("GET", f"/exchanges/{id}").json()
    assert (shown["deadman_seconds"], shown["deadman_at"]) == (None, None)
    assert bench.audit()[0][:2] == ("freeze", bench.auth[0])
    assert ("deadman.fired", "server", '{"canceled": "2"}') in bench.audit()


def test_an_exchange_that_is_down_does_not_make_the_freeze_fail_and_is_tried_until_it_worked(bench, kraken):
    id = at_kraken(bench, kraken)
    bench.call("POST", f"/exchanges/{id}/buy", **RESTING)
    kraken.fault("maintenance", times=2, path="CancelAll")
    answer = bench.freeze(cancel_orders="true")
    [row] = answer["canceled"]
    assert (row["id"], row["canceled"]) == (id, None)
    assert "Unavailable" in row["error"]
    assert bench.call("POST", f"/exchanges/{id}/buy", **RESTING).json()["code"] == "frozen"
    until(lambda: not kraken.orders_of(kraken.account, status="open"))
    until(lambda: bench.call("GET", f"/exchanges/{id}").json()["deadman_at"] is None)
    fired = [row[2] for row in bench.audit() if row[0] == "deadman.fired"]
    assert len(fired) == 2, "an error that comes again is said once"
    assert "Unavailable" in fired[0]
    assert fired[1] == '{"canceled": "1"}'


@pytest.mark.parametrize("form", [{"cancel_orders": "maybe"}, {"cancel": "true"}])
def test_a_field_that_is_not_known_freezes_nothing(bench, form):
    assert bench.call("POST", "/freeze", **form).status_code == 422
    assert bench.server.sql("SELECT frozen FROM accounts WHERE frozen IS NOT NULL") == []


def test_many_threads_place_orders_and_none_is_sent_whose_intent_is_later_than_the_freeze(bench, kraken):
    id = at_kraken(bench, kraken)
    stop, codes = threading.Event(), []

    def trade():
        while not stop.is_set():
            answer = bench.call("POST", f"/exchanges/{id}/sell", **RESTING | {"price": "60000", "amount": "0.001"})
            codes.append(answer.json().get("code"))
            if codes[-1] == "frozen":
                return

    threads = [threading.Thread(target=trade) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: len(kraken.ledger()) > 20)
    bench.freeze()
    answered = now()
    for thread in threads:
        thread.join(30)
    stop.set()
    sent = {row["client_id"] for row in kraken.ledger()}
    late = bench.server.sql("SELECT client_id FROM orders WHERE created > :answered", answered=answered)
    assert not sent & {row[0] for row in late}
    count = len(kraken.ledger())
    assert codes.count("frozen") == 8
    assert bench.server.sql("SELECT count(*) FROM orders WHERE status = 'open'") == [(count,)]


def test_confirm_is_a_refusal_that_adapters_know(bench):
    store = Store(bench.server.database)
    id = bench.server.registration(bench.auth, "stub")
    account = store.accounts.find(bench.auth[0], id)
    bench.freeze()
    with pytest.raises(Refused) as caught:
        Policy(store, Quotas(store, 1, 1, 1, 1)).confirm(Caller(account, None, ""), account.registration)
    assert (caught.value.code, caught.value.may_have_executed) == ("frozen", False)
    store.close()
