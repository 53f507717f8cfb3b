"""Orders and sends: once, in the journal before they are sent, and never more certain than one can be."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.exchanges.errors import Busy, NotListedYet, Refused, Unknown, Unsupported
from bitmm.xwrap.exchanges.http import unproved
from bitmm.xwrap.exchanges.models import OrderState, Withdrawal
from bitmm.xwrap.server import lookups
from bitmm.xwrap.server.db.journal import Journal
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.reconciliation import Reconciler, not_placed
from tests.support.sends import allow_sends
from tests.support.stub import Stub

FILLED = OrderState("X1", "filled", filled=Decimal("0.1"), average=Decimal(10), spent=Decimal(1), fee=Decimal("0.01"))
ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.1"}
BUSY = Busy("slow down", retry_after=7)
SEND = {"asset": "BTC", "amount": "0.1", "address": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"}


class Bench:
    """A registration at the stub exchange, and the calls of its owner."""

    def __init__(self, server, auth, id):
        self.server, self.auth, self.id = server, auth, id

    def post(self, call, form, key=None):
        headers = {"Idempotency-Key": key} if key else {}
        url = f"{self.server.url}/exchanges/{self.id}/{call}"
        return requests.post(url, data=form, headers=headers, auth=self.auth, timeout=30)

    def get(self, call):
        return requests.get(f"{self.server.url}/exchanges/{self.id}/{call}", auth=self.auth, timeout=30)

    def rows(self, query):
        return self.server.sql(query)


@pytest.fixture(autouse=True)
def _stub_exchange(monkeypatch):
    monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
    Stub.placed.clear()


@pytest.fixture
def bench(serving, monkeypatch):
    monkeypatch.setattr(Reconciler, "reconcile", lambda _self, _exchange: None)
    with serving(exchanges=("stub", "paper")) as server:
        auth = server.account()
        bench = Bench(server, auth, server.registration(auth, "stub"))
        allow_sends(server.database, auth[0], [SEND["address"]])
        yield bench


def answer_with(result):
    """Make the stub answer with `result`, or raise it."""

    def act(_asked):
        if isinstance(result, Exception):
            raise result
        return result

    Stub.act = staticmethod(act)


def test_the_intent_is_committed_before_the_exchange_hears_of_it(bench):
    seen = []

    def act(order):
        seen.extend(bench.rows("SELECT status, side, amount, client_id FROM orders"))
        return FILLED

    Stub.act = staticmethod(act)
    bench.post("buy", ORDER)
    assert seen == [("running", "buy", "0.1", Stub.placed[0].client_id)]


def test_the_same_key_gets_the_first_answer_again_byte_for_byte(bench):
    answer_with(FILLED)
    first, second = bench.post("buy", ORDER, "k1"), bench.post("buy", ORDER, "k1")
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(Stub.placed) == 1


@pytest.mark.parametrize(
    ("call", "form", "fingerprint"),
    [
        (
            "buy",
            {"currency": "USD", "asset": "BTC", "amount": "0.10", "price": "20000.50"},
            "3d657a1772c7402ac4427a4f258f51ca9c6de92e97d929356680f075dfc58aa2",
        ),
        (
            "sell",
            {"currency": "USD", "asset": "BTC", "amount": "0.1"},
            "7ec1f7d2e610dd3284e198c2398a3fd5a8b2026c6696705858c956988031c247",
        ),
        (
            "buy",
            {"currency": "USD", "asset": "BTC", "cost": "50"},
            "0a55aa1524aeb35974ad6208e3a0392aaddf85e8137d1d5c90d2c6a09fbf61d6",
        ),
        (
            "send_to_address",
            {"asset": "XRP", "amount": "0.25", "address": "rX", "tag": "7"},
            "4326ee3819ee680cd738de13a4e0cfda9f68e535947245707f18cee8976ec2fa",
        ),
    ],
)
def test_a_key_that_an_older_server_kept_is_known_to_this_one(bench, call, form, fingerprint):
    """The fingerprints are those of version 0.1.0: one more field in them, and every kept key is "reused"."""
    answer_with(Refused("no"))
    allow_sends(bench.server.database, bench.auth[0], ["rX"], asset="XRP", tag="7")
    bench.post(call, form, "k1")
    table = "withdrawals" if call == "send_to_address" else "orders"
    assert bench.rows(f"SELECT fingerprint FROM {table}") == [(fingerprint,)]


def test_a_call_without_a_key_is_a_new_order_each_time(bench):
    answer_with(FILLED)
    assert bench.post("buy", ORDER).json()["id"] != bench.post("buy", ORDER).json()["id"]
    assert len(Stub.placed) == 2


@pytest.mark.parametrize(
    "changed", [("sell", ORDER), ("buy", ORDER | {"amount": "0.2"}), ("buy", ORDER | {"asset": "ETH"})]
)
def test_the_same_key_with_other_parameters_is_422_and_sends_nothing(bench, changed):
    answer_with(FILLED)
    bench.post("buy", ORDER, "k1")
    answer = bench.post(*changed, "k1")
    assert (answer.status_code, answer.json()["code"]) == (422, "key_reused")
    assert len(Stub.placed) == 1


def test_a_key_is_its_registrations_own_and_its_operations_own(bench):
    answer_with(FILLED)
    other = Bench(bench.server, bench.auth, bench.server.registration(bench.auth, "stub"))
    assert bench.post("buy", ORDER, "k1").json()["id"] != other.post("buy", ORDER, "k1").json()["id"]
    answer_with(Withdrawal("W1", "BTC", Decimal("0.1"), "pending"))
    assert bench.post("send_to_address", SEND, "k1").status_code == 200
    assert len(Stub.placed) == 3


def test_a_repeat_while_the_first_is_running_is_409_and_sends_nothing(bench):
    sent, go_on = threading.Event(), threading.Event()

    def act(_order):
        sent.set()
        assert go_on.wait(30)
        return FILLED

    Stub.act = staticmethod(act)
    first = threading.Thread(target=bench.post, args=("buy", ORDER, "k1"))
    first.start()
    assert sent.wait(30)
    repeat, asked = bench.post("buy", ORDER, "k1"), bench.get("orders/?key=k1")
    go_on.set()
    first.join()
    assert (repeat.status_code, repeat.json()["code"]) == (409, "still_running")
    assert (asked.status_code, asked.json()["code"]) == (409, "still_running")
    assert len(Stub.placed) == 1
    assert bench.get("orders/?key=k1").json()["status"] == "filled"


def test_many_repeats_at_once_send_one_order(bench):
    answer_with(FILLED)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(bench.post("buy", ORDER, "k1").status_code)) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Stub.placed) == 1
    assert set(answers) <= {200, 409}
    assert answers.count(200) >= 1


@pytest.mark.parametrize("failure", [Unknown("no answer"), RuntimeError("a fault of ours after sending")])
@pytest.mark.parametrize(
    ("call", "form", "asked"), [("buy", ORDER, "orders"), ("send_to_address", SEND, "withdrawals")]
)
def test_an_unknown_outcome_is_202_and_blocks_its_key_and_is_not_sent_again(bench, failure, call, form, asked):
    answer_with(failure)
    first = bench.post(call, form, "k1")
    assert (first.status_code, first.json()["status"], first.json()["key"]) == (202, "unknown", "k1")
    answer_with(FILLED)
    repeat, found = bench.post(call, form, "k1"), bench.get(f"{asked}/?key=k1")
    assert (repeat.status_code, repeat.json()["status"]) == (202, "unknown")
    assert (found.status_code, found.json()["status"]) == (202, "unknown")
    assert len(Stub.placed) == 1


NONCE = Unknown("invalid nonce", refusal=Refused("invalid nonce", code="invalid_nonce", retryable=True))
POOR = Unknown("no funds", refusal=Refused("not enough", code="insufficient_funds"))
LIMITED = unproved(Busy("too many requests", retry_after=7))
SENT = Withdrawal("W1", "BTC", Decimal("0.1"), "pending", address=SEND["address"])


@pytest.mark.parametrize("refused", [NONCE, POOR, LIMITED])
@pytest.mark.parametrize(("call", "form", "found"), [("buy", ORDER, FILLED), ("send_to_address", SEND, SENT)])
def test_what_was_delivered_before_it_was_refused_is_what_the_exchange_has(
    bench, monkeypatch, refused, call, form, found
):
    answer_with(refused)
    monkeypatch.setattr(Stub, "found", found)
    monkeypatch.setattr(Stub, "sent", found)
    first = bench.post(call, form, "k1")
    assert (first.status_code, first.json()["status"]) == (200, found.status)
    assert bench.post(call, form, "k1").json() == first.json()
    assert len(Stub.placed) == 1


@pytest.mark.parametrize(
    ("call", "form", "attribute", "found"), [("buy", ORDER, "found", FILLED), ("send_to_address", SEND, "sent", SENT)]
)
def test_what_is_listed_a_moment_after_it_was_refused_is_not_called_refused(
    bench, monkeypatch, call, form, attribute, found
):
    """The exchange took the first delivery, and shows it only when it was executed."""
    answer_with(NONCE)
    monkeypatch.setattr(Stub, attribute, None)
    monkeypatch.setattr(lookups.time, "sleep", lambda _seconds: setattr(Stub, attribute, found))
    first = bench.post(call, form, "k1")
    assert (first.status_code, first.json()["status"]) == (200, found.status)
    assert len(Stub.placed) == 1


@pytest.mark.parametrize(
    ("refused", "status", "places_again"), [(NONCE, 503, True), (POOR, 422, False), (LIMITED, 429, True)]
)
@pytest.mark.parametrize(("call", "form"), [("buy", ORDER), ("send_to_address", SEND)])
def test_what_the_exchange_certainly_does_not_have_was_refused(
    bench, monkeypatch, refused, status, places_again, call, form
):
    answer_with(refused)
    monkeypatch.setattr(Stub, "found", None)
    monkeypatch.setattr(Stub, "sent", None)
    first = bench.post(call, form, "k1")
    assert (first.status_code, first.json()["code"]) == (status, refused.refusal.code)
    assert first.json()["may_have_executed"] is False
    bench.post(call, form, "k1")
    assert len(Stub.placed) == 1 + places_again


@pytest.mark.parametrize(
    ("call", "form", "journal"), [("buy", ORDER, "orders"), ("send_to_address", SEND, "withdrawals")]
)
def test_where_the_exchange_cannot_say_a_refusal_that_proves_nothing_is_unknown(
    bench, monkeypatch, call, form, journal
):
    """What the exchange said is kept, and it is the reason once it was found out that nothing was executed."""
    answer_with(POOR)
    keys = ["k1", "k2", "k3", "k4"]
    for key, failure in zip(keys, [Unsupported("no"), NotListedYet("it lags"), BUSY, RuntimeError("odd")], strict=True):
        monkeypatch.setattr(Stub, "found", failure)
        monkeypatch.setattr(Stub, "sent", failure)
        first = bench.post(call, form, key)
        assert (first.status_code, first.json()["status"]) == (202, "unknown")
        assert bench.post(call, form, key).content == first.content
    store = Store(bench.server.database)
    for _, row in getattr(store, journal).unknown():
        assert getattr(store, journal).reconcile(row, not_placed(row))
    store.close()
    for key in keys:
        later = bench.post(call, form, key)
        assert (later.status_code, later.json()["code"]) == (422, "insufficient_funds")
    assert len(Stub.placed) == len(keys)


def test_open_orders_alone_prove_nothing_of_a_refusal(bench, monkeypatch):
    answer_with(NONCE)
    monkeypatch.setattr(Stub, "order_lookup", "open")
    monkeypatch.setattr(Stub, "found", None)
    assert bench.post("buy", ORDER, "k1").json()["status"] == "unknown"


def test_the_reason_of_a_rejected_order_is_listed_with_it(bench):
    answer_with(Refused("not enough", code="insufficient_funds"))
    bench.post("buy", ORDER, "k1")
    assert [row["reason"] for row in bench.get("orders/").json()] == ["not enough"]


@pytest.mark.parametrize(("call", "form"), [("buy", ORDER), ("send_to_address", SEND)])
def test_on_paper_what_is_moved_and_its_outcome_are_kept_as_one(bench, monkeypatch, call, form):
    paper = Bench(bench.server, bench.auth, bench.server.registration(bench.auth, "paper"))
    before = paper.get("balance").json()

    def broken(*_args):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "complete", broken)
        answer = paper.post(call, form, "k1")
    assert (answer.status_code, answer.json()["may_have_executed"]) == (500, True)
    assert paper.get("balance").json() == before
    assert bench.rows("SELECT count(*) FROM paper_entries WHERE kind <> 'opening'") == [(0,)]
    assert paper.post(call, form, "k2").status_code == 200
    assert paper.get("balance").json() != before


def test_what_was_running_when_the_server_died_is_unknown_after_its_start(serving, tmp_path):
    with serving(data=tmp_path, exchanges=("stub",)) as server:
        auth = server.account("ann", "correct horse battery")
        id = server.registration(auth, "stub")
        answer_with(FILLED)
        Bench(server, auth, id).post("buy", ORDER, "k1")
        # Long ago, for on PostgreSQL another server may be at it.
        server.sql("UPDATE orders SET status = 'running', answer = NULL, answer_status = NULL, updated = '2020'")
    with serving(data=tmp_path, exchanges=("stub",)) as server:
        bench = Bench(server, auth, id)
        while (repeat := bench.post("buy", ORDER, "k1")).status_code == 409:
            assert repeat.json()["code"] == "still_running"
    assert (repeat.status_code, repeat.json()["status"]) == (202, "unknown")
    assert len(Stub.placed) == 1


def test_a_final_refusal_is_answered_again_the_same_way(bench):
    answer_with(Refused("not enough", code="insufficient_funds"))
    first = bench.post("buy", ORDER, "k1")
    answer_with(FILLED)
    second = bench.post("buy", ORDER, "k1")
    assert first.status_code == second.status_code == 422
    assert first.content == second.content
    assert first.json()["may_have_executed"] is False
    found = bench.get("orders/?key=k1").json()
    assert (found["status"], found["error"]["code"]) == ("rejected", "insufficient_funds")
    assert len(Stub.placed) == 1


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Busy("slow down", retry_after=7), 429),
        (Refused("down", code="exchange_unavailable", retryable=True), 503),
        (Refused("maintenance", code="exchange_unavailable", retryable=True, retry_after=7), 503),
    ],
)
def test_after_a_passing_refusal_the_same_key_may_try_again(bench, failure, status):
    answer_with(failure)
    refused = bench.post("buy", ORDER, "k1")
    assert (refused.status_code, refused.json()["retryable"]) == (status, True)
    assert refused.headers.get("Retry-After") == (None if failure.retry_after is None else "7")
    answer_with(FILLED)
    assert bench.post("buy", ORDER, "k1").json()["status"] == "filled"
    first, second = (order.client_id for order in Stub.placed)
    assert first != second, "what is found of the first attempt is not the second one"
    assert bench.rows("SELECT client_id, attempt FROM orders") == [(second, 1)]


def test_the_client_ids_of_a_key_are_five_and_begin_with_the_first_again_in_a_new_journal(bench):
    answer_with(BUSY)
    for _ in range(7):
        bench.post("buy", ORDER, "k1")
    ids = [order.client_id for order in Stub.placed]
    assert len(set(ids[:5])) == 5
    assert ids[5:] == [ids[4]] * 2
    bench.server.sql("DELETE FROM orders")
    bench.post("buy", ORDER, "k1")
    assert Stub.placed[-1].client_id == ids[0]


def test_an_order_of_an_older_server_keeps_its_client_id_until_it_is_begun_anew(bench):
    answer_with(BUSY)
    bench.post("buy", ORDER, "k1")
    bench.server.sql("UPDATE orders SET client_id = 'random', attempt = 0")
    bench.post("buy", ORDER, "k1")
    assert bench.rows("SELECT client_id, attempt FROM orders") == [(Stub.placed[-1].client_id, 1)]


def test_a_key_that_never_came_is_known_not_to_have_come(bench):
    for call in ("orders", "withdrawals"):
        answer = bench.get(f"{call}/?key=never")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_such_key")


def test_another_accounts_keys_cannot_be_asked_for(bench):
    answer_with(FILLED)
    bench.post("buy", ORDER, "k1")
    stranger = Bench(bench.server, bench.server.account(), bench.id)
    assert stranger.get("orders/?key=k1").json()["code"] == "not_found"


def test_a_registration_that_is_switched_off_trades_nothing_and_forgets_nothing(bench):
    answer_with(FILLED)
    first = bench.post("buy", ORDER, "k1")
    [placed] = Stub.placed
    bench.server.sql("UPDATE registrations SET enabled = false")
    assert bench.post("buy", ORDER).json()["code"] == "registration_disabled"
    assert [order.client_id for order in Stub.placed] == [placed.client_id]
    assert bench.post("buy", ORDER, "k1").content == first.content
    assert requests.get(f"{bench.server.url}/exchanges/?active_only=1", auth=bench.auth, timeout=30).json() == []
    assert len(requests.get(f"{bench.server.url}/exchanges/", auth=bench.auth, timeout=30).json()) == 1


def test_a_failing_registration_says_why_in_the_list_of_balances_and_hides_no_other(bench, monkeypatch):
    bench.server.registration(bench.auth, "paper")

    def fail(_self):
        raise Refused("the exchange is on holiday", code="exchange_unavailable")

    monkeypatch.setattr(Stub, "funds", fail)
    stub, paper = requests.get(f"{bench.server.url}/balance", auth=bench.auth, timeout=30).json()
    assert stub["balance"] == {}
    assert stub["error"] == "the exchange is on holiday"
    assert paper["balance"] == {"USD": "200000", "BTC": "1"}


def test_an_address_that_needs_a_tag_is_not_told_without_it(bench):
    answer = bench.get("get_address?asset=XRP")
    assert (answer.status_code, answer.json()["code"]) == (422, "tag_required")


def test_an_unforeseen_error_shows_nothing_but_an_id(bench, monkeypatch):
    def fail(_self):
        raise RuntimeError("canary-detail")

    monkeypatch.setattr(Stub, "funds", fail)
    answer = bench.get("balance")
    assert (answer.status_code, answer.json()["code"]) == (500, "server_error")
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
    assert "canary" not in answer.text
