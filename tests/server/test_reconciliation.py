"""What nobody knows is found out by asking, and never by sending again."""

from __future__ import annotations

import inspect
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import requests

from bitmm.xwrap import exchanges
from bitmm.xwrap.client import Backend
from bitmm.xwrap.exchanges.errors import Busy, NotListedYet, Refused, Unknown, Unsupported
from bitmm.xwrap.exchanges.models import OrderRef, OrderState, Withdrawal
from bitmm.xwrap.server import question_times, reconciliation
from bitmm.xwrap.server import rounds as rounds_module
from bitmm.xwrap.server.db.own_rows import OwnRows
from bitmm.xwrap.server.db.records import now
from bitmm.xwrap.server.db.store import Store
from bitmm.xwrap.server.execution import ExecutionService
from bitmm.xwrap.server.reconciliation import Reconciler, not_placed
from tests.benchmarks.capacity.rows import add_unknown_orders
from tests.support.command import xwrap
from tests.support.reconciling import make_due
from tests.support.sends import allow_sends
from tests.support.statements import rows_read_by_this_thread, statements_of_this_thread
from tests.support.stub import Silent, Stub

ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.1"}
SEND = {"asset": "BTC", "amount": "0.1", "address": "tb1qx"}
WALLET = "0xAb5801a7D398351b8bE11C439e05C5B3259aeC9B"
FILLED = OrderState("X1", "filled", filled=Decimal("0.1"), average=Decimal(10), spent=Decimal(1), fee=Decimal("0.01"))


@pytest.fixture
def bench(serving, monkeypatch):
    """A registration at the stub exchange whose orders all end unknown, and its reconciler, not yet working."""
    monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
    monkeypatch.setattr(Stub, "act", staticmethod(_lost))
    monkeypatch.setattr(Stub, "found", None)
    monkeypatch.setattr(Stub, "order_lookup", "all")
    Stub.placed.clear()
    made = []
    monkeypatch.setattr(Reconciler, "start", lambda self, **_: made.append(self))
    monkeypatch.setattr(Reconciler, "stop", lambda self: None)
    with serving(exchanges=("stub",), reconcile_grace_seconds=0.0) as server:
        yield Bench(server, made[0])


def _lost(_asked):
    raise Unknown("no answer")


class Bench:
    def __init__(self, server, reconciler):
        self.server, self.reconciler, self.auth = server, reconciler, server.account()
        self.id = server.registration(self.auth, "stub")
        allow_sends(server.database, self.auth[0], [SEND["address"], WALLET])

    def post(self, call="buy", form=ORDER, key="k1"):
        url = f"{self.server.url}/exchanges/{self.id}/{call}"
        return requests.post(url, data=form, headers={"Idempotency-Key": key}, auth=self.auth, timeout=30)

    def backdate(self, *columns):
        """The first order's times, a day ago."""
        for column in columns:
            self.rewrite(f"UPDATE orders SET {column} = :time WHERE id = 1", time=now(86400))

    def rewrite(self, statement, **values):
        """Change orders in the data base; they stay those that this server left unknown and asks about first."""
        self.server.sql(statement, **values)
        journal = self.reconciler._store.orders
        journal._own.add([row for _, row in journal.unknown()])

    def ask(self, listed, key="k1"):
        """What became of the order or the send with this key."""
        url = f"{self.server.url}/exchanges/{self.id}/{listed}/?key={key}"
        return requests.get(url, auth=self.auth, timeout=30)

    def decide(self, noun, decision):
        """The owner decides about the first one, while the server runs."""
        where = self.server.database
        environ = {} if isinstance(where, Path) else {"XWRAP_DATABASE_URL": where}
        result = xwrap(noun, "settle", 1, "--as", decision, "--data", self.server.data, **environ)
        assert (result.returncode, result.stderr) == (0, "")

    def reconcile(self, found):
        """One round of the reconciler, with an exchange that answers with `found`, or raises it."""
        Stub.found = found
        self.reconciler.reconcile("stub")


def test_an_order_that_the_exchange_has_is_settled_as_what_it_is(bench):
    assert bench.post().json()["status"] == "unknown"
    bench.reconcile(FILLED)
    settled = bench.post()
    assert (settled.status_code, settled.json()["status"], settled.json()["filled"]) == (200, "filled", "0.1")
    assert len(Stub.placed) == 1


def test_an_order_that_never_arrived_is_settled_and_its_key_places_it_once(bench):
    bench.post()
    bench.reconcile(None)
    asked = bench.ask("orders")
    assert (asked.status_code, asked.json()["code"]) == (404, "no_such_key")
    Stub.act = staticmethod(lambda _order: FILLED)
    assert bench.post().json()["status"] == "filled"
    assert bench.post().json()["status"] == "filled"
    assert len(Stub.placed) == 2
    assert len({order.client_id for order in Stub.placed}) == 2


def test_before_the_grace_is_over_an_absent_order_proves_nothing(bench):
    bench.post()
    bench.reconciler = replace_grace(bench.reconciler, 3600)
    bench.reconcile(None)
    assert bench.post().json()["status"] == "unknown"
    make_due(bench.reconciler)
    bench.reconcile(FILLED)
    assert bench.post().json()["status"] == "filled"


def test_an_order_that_may_not_be_listed_yet_is_asked_for_with_the_time_when_it_was_first_missed(bench, monkeypatch):
    monkeypatch.setattr(Stub, "asked", [])
    bench.post()
    patient, bench.reconciler = bench.reconciler, replace_grace(bench.reconciler, 3600)
    for _ in range(2):
        make_due(bench.reconciler)
        bench.reconcile(NotListedYet("its history lags"))
        assert bench.post().json()["status"] == "unknown"
    assert [ref.missed_since for ref in Stub.asked] == [None, None], "it may arrive after these questions"
    bench.reconciler = patient
    before = datetime.now(UTC)
    for _ in range(2):
        make_due(bench.reconciler)
        bench.reconcile(NotListedYet("its history lags"))
        assert bench.post().json()["status"] == "unknown"
    make_due(bench.reconciler)
    bench.reconcile(None)
    first, second, last = (ref.missed_since for ref in Stub.asked[2:])
    assert first is None
    assert before <= second == last <= datetime.now(UTC)
    assert bench.ask("orders").json()["code"] == "no_such_key"


def test_an_order_is_missed_since_the_exchange_answered_and_not_since_it_was_asked(bench, monkeypatch):
    monkeypatch.setattr(Stub, "asked", [])
    answered = []

    def answer_late():
        time.sleep(0.05)
        answered.append(datetime.now(UTC))
        return NotListedYet("its history lags")

    monkeypatch.setattr(Stub, "find_one", staticmethod(answer_late))
    bench.post()
    for _ in range(2):
        make_due(bench.reconciler)
        bench.reconcile(None)
    assert answered[0] <= Stub.asked[1].missed_since <= answered[1]


def test_when_an_order_was_missed_says_nothing_of_it_once_it_runs_anew(bench, monkeypatch):
    monkeypatch.setattr(Stub, "asked", [])
    bench.post()
    other = replace_grace(bench.reconciler, 0.0)
    bench.reconcile(NotListedYet("its history lags"))
    this, bench.reconciler = bench.reconciler, other
    bench.reconcile(None)
    bench.post()
    bench.reconciler = this
    make_due(bench.reconciler)
    bench.reconcile(NotListedYet("its history lags"))
    assert len(Stub.placed) == 2
    assert [ref.missed_since for ref in Stub.asked] == [None, None, None]


def replace_grace(reconciler, seconds, *, call_seconds=15):
    parts = reconciler._store, reconciler._registry, reconciler._metrics
    return Reconciler(*parts, every=1, grace=seconds, call_seconds=call_seconds)


@pytest.mark.parametrize(
    "answer",
    [
        Unsupported("it cannot say"),
        Refused("down", code="exchange_unavailable", retryable=True),
        replace(FILLED, status="unknown"),
    ],
)
def test_where_the_exchange_cannot_say_the_order_stays_unknown_and_its_key_blocked(bench, answer):
    bench.post()
    bench.reconcile(answer)
    assert bench.post().json()["status"] == "unknown"
    assert len(Stub.placed) == 1


def test_where_only_open_orders_are_shown_an_absent_one_proves_nothing(bench, monkeypatch):
    monkeypatch.setattr(Stub, "order_lookup", "open")
    bench.post()
    bench.reconcile(None)
    assert bench.post().json()["status"] == "unknown"


def test_one_failing_exchange_does_not_keep_the_others_from_being_settled(bench, monkeypatch):
    bench.post(key="k1")
    bench.post(key="k2")
    answers = iter([Refused("down", code="exchange_unavailable"), FILLED])
    monkeypatch.setattr(Stub, "find_one", staticmethod(lambda: next(answers)))
    bench.reconcile(None)
    assert {bench.post(key="k1").json()["status"], bench.post(key="k2").json()["status"]} == {"unknown", "filled"}


def test_an_adapter_that_fails_does_not_keep_the_other_orders_from_being_settled(bench, monkeypatch):
    bench.post(key="k1")
    bench.post(key="k2")
    answers = iter([TypeError("a fault of the adapter"), FILLED])
    monkeypatch.setattr(Stub, "find_one", staticmethod(lambda: next(answers)))
    bench.reconcile(None)
    assert {bench.post(key="k1").json()["status"], bench.post(key="k2").json()["status"]} == {"unknown", "filled"}


def test_one_look_finds_the_exchanges_where_anything_is_unknown(bench, monkeypatch):
    """So a server asks its data base twice a round, however many exchanges it offers."""
    begun, statements = [], statements_of_this_thread(monkeypatch)
    monkeypatch.setattr(bench.reconciler.rounds, "begin", begun.append)
    bench.reconciler.look()
    assert len(statements) == 2
    bench.post()
    bench.reconciler.look()
    bench.reconcile(FILLED)
    bench.post("send_to_address", SEND, key="k2")
    bench.reconciler.look()
    assert begun == [set(), {"stub"}, {"stub"}]


def test_an_exchange_that_does_not_answer_holds_up_no_other(serving, monkeypatch):
    for name in ("stub", "silent"):
        monkeypatch.setitem(exchanges.EXCHANGES, name, f"tests.support.stub:{name.title()}")
    monkeypatch.setattr(Silent, "silence", threading.Event())
    monkeypatch.setattr(Stub, "act", staticmethod(_lost))
    monkeypatch.setattr(Stub, "found", FILLED)
    with serving(exchanges=("silent", "stub"), reconcile_seconds=0.05) as server:
        try:
            auth = server.account()
            for name in ("silent", "stub"):
                id = server.registration(auth, name)
                call = {"url": f"{server.url}/exchanges/{id}/buy", "auth": auth, "timeout": 30}
                call |= {"data": ORDER, "headers": {"Idempotency-Key": "k1"}}
                assert requests.post(**call).json()["status"] == "unknown"
                if name == "silent":
                    assert Silent.asked_first.wait(60)
            deadline = time.monotonic() + 60
            while (told := requests.post(**call).json())["status"] == "unknown" and time.monotonic() < deadline:
                time.sleep(0.02)
            assert told["status"] == "filled"
        finally:
            Silent.silence.set()


SENT = Withdrawal("W1", "BTC", Decimal("0.1"), "done", address="tb1qx")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def test_where_no_round_comes_to_its_end_nothing_is_left_out(bench, monkeypatch):
    """As on a server that is killed again and again, a moment after its start."""

    def die():
        bench.reconciler.rounds.stopping.set()
        raise Unsupported("nobody can say")

    monkeypatch.setattr(Stub, "find_one", staticmethod(die))
    for key in ("k1", "k2", "k3"):
        bench.post(key=key)
    bench.post("send_to_address", SEND, key="k4")
    for _ in range(200):
        bench.reconciler.rounds.stopping.clear()
        bench.reconcile([replace(SENT, created=datetime.now(UTC))])
    assert bench.post("send_to_address", SEND, key="k4").json()["status"] == "done"


@pytest.mark.parametrize(
    ("history", "status"),
    [
        ([SENT], "done"),
        ([SENT, replace(SENT, id="W2", amount=Decimal("0.2"))], "done"),
        ([SENT, replace(SENT, id="W2")], "unknown"),
        ([replace(SENT, amount=Decimal("0.2"))], "unknown"),
        ([replace(SENT, created=LONG_AGO)], "unknown"),
        ([replace(SENT, address="tb1qy")], "unknown"),
        # Of another one too little is known: it may be this one.
        ([SENT, replace(SENT, id="W2", amount=None)], "unknown"),
        ([SENT, replace(SENT, id="W2", address=None)], "unknown"),
        ([SENT, Withdrawal("", "BTC", None, "unknown")], "unknown"),
        ([SENT, Withdrawal("", "", None, "unknown", created=LONG_AGO)], "done"),
        ([replace(SENT, amount=None)], "unknown"),
        ([], "unknown"),
    ],
)
def test_a_send_is_recognised_only_when_there_is_one_like_it(bench, history, status):
    assert bench.post("send_to_address", SEND).json()["status"] == "unknown"
    bench.reconcile([replace(sent, created=sent.created or datetime.now(UTC)) for sent in history])
    assert bench.post("send_to_address", SEND).json()["status"] == status
    assert len(Stub.placed) == 1


def test_a_send_that_is_known_to_be_another_one_is_not_taken_for_it(bench, monkeypatch):
    """The first was carried out and is known; the second, just like it, never arrived."""
    sent = replace(SENT, created=datetime.now(UTC))
    monkeypatch.setattr(Stub, "act", staticmethod(lambda _asked: sent))
    assert bench.post("send_to_address", SEND, key="k1").json()["status"] == "done"
    monkeypatch.setattr(Stub, "act", staticmethod(_lost))
    assert bench.post("send_to_address", SEND, key="k2").json()["status"] == "unknown"
    bench.reconcile([sent])
    assert bench.post("send_to_address", SEND, key="k2").json()["status"] == "unknown"
    make_due(bench.reconciler)
    bench.reconcile([sent, replace(sent, id="W2")])
    assert bench.post("send_to_address", SEND, key="k2").json()["status"] == "done"


@pytest.mark.parametrize(
    "reported", ["0xab5801a7d398351b8be11c439e05c5b3259aec9b", "0xAB5801A7D398351B8BE11C439E05C5B3259AEC9B"]
)
def test_a_send_is_recognised_by_its_address_in_another_spelling(bench, monkeypatch, reported):
    """Exchanges report an Ethereum address with its checksum in the case, or in lower case."""
    given = {**SEND, "address": WALLET}
    sent = replace(SENT, address=reported, created=datetime.now(UTC))
    assert bench.post("send_to_address", given, key="k1").json()["status"] == "unknown"
    bench.reconcile([sent])
    assert bench.post("send_to_address", given, key="k1").json()["status"] == "done"
    # The next one, to the same wallet in other letters, is not taken for the first.
    assert bench.post("send_to_address", {**given, "address": reported}, key="k2").json()["status"] == "unknown"
    bench.reconcile([sent])
    assert bench.post("send_to_address", {**given, "address": reported}, key="k2").json()["status"] == "unknown"


def test_of_two_sends_that_are_alike_none_is_guessed(bench):
    for key in ("k1", "k2"):
        bench.post("send_to_address", SEND, key=key)
    bench.reconcile([replace(SENT, created=datetime.now(UTC))])
    assert [bench.post("send_to_address", SEND, key=key).json()["status"] for key in ("k1", "k2")] == ["unknown"] * 2


def test_what_stays_unknown_is_asked_about_less_and_less_often(bench):
    """Each question costs calls that the exchange counts, and of some it can never tell."""
    bench.post()
    bench.backdate("created", "updated")
    Stub.asked.clear()
    for _ in range(5):
        bench.reconcile(Unsupported("nobody can say"))
    assert len(Stub.asked) == 1
    bench.reconciler = replace_grace(bench.reconciler, 0)  # another life of the server
    bench.reconcile(FILLED)
    assert bench.post().json()["status"] == "filled"


def test_what_somebody_settled_meanwhile_is_left_alone(bench):
    first = bench.post().json()
    journal = bench.reconciler._store.orders
    [(_, row)] = journal.unknown()
    assert row["id"] == first["id"]
    assert journal.reconcile(row, {"status": "filled"}) is True
    assert journal.reconcile(row, {"status": "rejected"}) is False


def test_what_was_found_out_before_an_order_ran_anew_says_nothing_of_it(bench):
    """Two servers ask at once; the answer of one comes after the other has settled and the owner has tried again."""
    bench.post()
    journal = bench.reconciler._store.orders
    [(_, seen)] = journal.unknown()
    bench.reconcile(None)
    assert bench.post().json()["status"] == "unknown"
    assert journal.reconcile(seen, not_placed(seen)) is False
    assert bench.post().json()["status"] == "unknown"
    assert len(Stub.placed) == 2


def test_an_order_that_runs_anew_is_new(bench):
    """Its exchange is asked about the time since then, and the grace begins again."""
    bench.post()
    bench.reconcile(None)
    bench.backdate("created", "updated")
    assert bench.post().json()["status"] == "unknown"
    bench.reconciler = replace_grace(bench.reconciler, 60)
    bench.reconcile(None)
    assert bench.post().json()["status"] == "unknown"
    assert datetime.now(UTC) - Stub.asked[-1].created < timedelta(seconds=60)
    assert len(Stub.placed) == 2


def test_the_grace_counts_from_the_call_and_not_from_the_start_of_the_next_server(bench):
    """A server that was down for a day finds what it was doing abandoned: the requests have long arrived."""
    bench.post()
    bench.backdate("created")
    bench.reconciler = replace_grace(bench.reconciler, 60)
    bench.reconcile(None)
    assert bench.ask("orders").json()["code"] == "no_such_key"


def test_the_grace_begins_when_the_outcome_became_unknown_if_the_call_may_have_taken_so_long(bench):
    bench.post()
    bench.backdate("created")
    bench.reconciler = replace_grace(bench.reconciler, 60, call_seconds=2 * 86400)
    bench.reconcile(None)
    assert bench.post().json()["status"] == "unknown"
    assert len(Stub.placed) == 1


class Listing(Stub):
    """Lists all orders of a key; `listed` is what it answers, by client id, or raises."""

    id, ordered = "stub", True
    listed: ClassVar = {}
    since: ClassVar[list[datetime]] = []
    wanted: ClassVar[int | None] = None
    confirms: ClassVar = True
    #: The calls, in their order.
    calls: ClassVar[list[str]] = []

    def orders_since(self, since, *, wanted=None):
        self.calls.append("orders_since")
        self.since.append(since)
        type(self).wanted = wanted
        if isinstance(type(self).listed, Exception):
            raise type(self).listed
        return [replace(state, client_id=id) for id, state in type(self).listed.items()]

    def find(self, ref):
        self.calls.append("find")
        return type(self).listed.get(ref.client_id)

    def confirm_no_older_request_pending(self):
        self.calls.append("confirm")
        return type(self).confirms


class Finding(Stub):
    """Finds many orders with one call; `answers` has what it finds of an order, by its client id."""

    id = "stub"
    answers: ClassVar = {}
    #: The orders of each call.
    asked: ClassVar[list[list[OrderRef]]] = []

    def find_many(self, refs):
        self.asked.append(list(refs))
        if isinstance(type(self).answers, Exception):
            raise type(self).answers
        return [type(self).answers.get(ref.client_id) for ref in refs]

    def find(self, ref):
        raise AssertionError("it is not asked about orders alone")


class Clock:
    """Time for the pauses of the reconciler, which passes when a test says so."""

    def __init__(self, monkeypatch):
        self.seconds = 1000.0
        self.ahead = timedelta(0)
        for module in (question_times, reconciliation):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.seconds))

        class WallClock(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime.now(tz) + self.ahead

        monkeypatch.setattr(question_times, "datetime", WallClock)

    def advance(self, seconds):
        self.seconds += seconds


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def bench_at(kind, bench, clock, monkeypatch, *, grace):
    """The bench with another kind of exchange, at which an absent order is a proof after `grace` seconds."""
    monkeypatch.setattr(bench.reconciler._registry, "kind", lambda _: kind)
    monkeypatch.setattr(bench.reconciler._registry._entries["stub"], "create", kind)
    bench.reconciler = replace_grace(bench.reconciler, grace)
    bench.clock = clock
    return bench


@pytest.fixture
def lister(bench, clock, monkeypatch):
    """A bench at an exchange that lists; its reconciler waits for an hour until an absent order is a proof."""
    monkeypatch.setattr(Listing, "listed", {})
    monkeypatch.setattr(Listing, "confirms", True)
    monkeypatch.setattr(Listing, "calls", [])
    monkeypatch.setattr(Listing, "since", [])
    return bench_at(Listing, bench, clock, monkeypatch, grace=3600)


@pytest.fixture
def finder(bench, clock, monkeypatch):
    """A bench at an exchange that finds many orders at once; an absent one is a proof after 20 seconds."""
    monkeypatch.setattr(Finding, "answers", {})
    monkeypatch.setattr(Finding, "asked", [])
    return bench_at(Finding, bench, clock, monkeypatch, grace=20)


def rounds(bench, count=1):
    """Some rounds of the reconciler, a second and a half apart."""
    for _ in range(count):
        bench.reconciler.reconcile("stub")
        bench.clock.advance(1.5)


def statuses(bench):
    return [status for (status,) in bench.server.sql("SELECT status FROM orders ORDER BY id")]


def test_one_question_answers_all_unknown_orders_of_a_key_after_a_newer_nonce_was_accepted(lister):
    for number in range(20):
        lister.post(key=f"k{number}")
    Listing.listed = {order.client_id: FILLED for order in Stub.placed[:10]}
    rounds(lister)
    assert Listing.calls == ["confirm"], "what arrived may take a moment until it is listed"
    rounds(lister)
    assert Listing.calls == ["confirm", "orders_since"]
    assert statuses(lister) == ["filled"] * 10 + ["rejected"] * 10
    [(oldest,)] = lister.server.sql("SELECT min(created) FROM orders")
    assert Listing.since[0] <= datetime.fromisoformat(oldest)
    rounds(lister, 5)
    assert Listing.calls == ["confirm", "orders_since"]
    assert len(Stub.placed) == 20, "nothing was sent"


@pytest.mark.parametrize("alone", [False, True])
def test_what_arrived_just_before_a_newer_nonce_was_accepted_has_a_second_to_be_listed(lister, monkeypatch, alone):
    lister.post()
    confirmed = []

    def confirm(self):
        confirmed.append(lister.clock.seconds)
        return True

    def orders_since(self, since, *, wanted=None):
        if alone:
            raise Unsupported("not all orders")
        state = self.find(None)
        return [] if state is None else [replace(state, client_id=Stub.placed[0].client_id)]

    def find(self, ref):
        return FILLED if lister.clock.seconds >= confirmed[0] + 0.9 else None

    for call in (confirm, orders_since, find):
        name = "confirm_no_older_request_pending" if call is confirm else call.__name__
        monkeypatch.setattr(Listing, name, call)
    for _ in range(10):
        lister.reconciler.reconcile("stub")
        lister.clock.advance(0.3)
    assert statuses(lister) == ["filled"]
    assert len(confirmed) == 1


def test_where_an_accepted_nonce_proves_nothing_an_absent_order_is_unknown_until_the_grace_is_over(lister):
    """As at Kraken with a key that has a nonce window."""
    Listing.confirms = False
    lister.post(key="k1")
    lister.post(key="k2")
    Listing.listed = {Stub.placed[1].client_id: FILLED}
    rounds(lister, 10)
    assert Listing.calls == ["confirm", "orders_since"], "no question before it can prove anything"
    assert statuses(lister) == ["unknown", "filled"]
    lister.clock.advance(3600)
    rounds(lister)
    assert Listing.calls == ["confirm", "orders_since", "orders_since"]
    assert statuses(lister) == ["rejected", "filled"]


def test_what_the_exchange_confirmed_need_not_be_confirmed_again_after_a_question_that_failed(lister):
    lister.post()
    Listing.listed = Busy("slow down", retry_after=1)
    rounds(lister, 2)
    assert statuses(lister) == ["unknown"]
    Listing.listed = {}
    rounds(lister)
    assert Listing.calls == ["confirm", "orders_since", "orders_since"]
    assert statuses(lister) == ["rejected"]


@pytest.mark.parametrize("listed", [Unsupported("not all orders"), NotListedYet("it lags")])
def test_where_a_list_cannot_be_given_nothing_is_concluded_from_it(lister, listed, monkeypatch):
    monkeypatch.setattr(Listing, "find", Stub.find)
    Stub.found = Unsupported("it cannot say")
    lister.post()
    Listing.listed = listed
    rounds(lister, 3)
    assert statuses(lister) == ["unknown"]


def test_where_a_list_is_not_supported_after_all_each_order_is_asked_about(lister, monkeypatch):
    monkeypatch.setattr(Listing, "find", Stub.find)
    Stub.found = FILLED
    for key in ("k1", "k2"):
        lister.post(key=key)
    Listing.listed = Unsupported("not all orders")
    rounds(lister, 2)
    assert statuses(lister) == ["filled"] * 2


def test_where_a_list_takes_more_calls_only_those_that_are_due_are_asked_about_alone(lister, monkeypatch):
    """It may be worth it for the many others when their time comes."""
    for key in ("k1", "k2", "k3"):
        lister.post(key=key)
    rounds(lister)
    *_, last = lister.reconciler._times.of(lister.reconciler._store.orders, "stub", Listing).values()
    last.ask_at += 2
    monkeypatch.setattr(Listing, "find", lambda self, _ref: self.calls.append("find"))
    Listing.listed = Unsupported("it takes more calls")
    rounds(lister)
    assert Listing.wanted == 2
    assert Listing.calls == ["confirm", "orders_since", "find", "find"]
    assert statuses(lister) == ["rejected", "rejected", "unknown"]
    Listing.listed = {}
    rounds(lister, 2)
    assert Listing.calls == ["confirm", "orders_since", "find", "find", "orders_since"]
    assert statuses(lister) == ["rejected"] * 3


def test_those_that_are_asked_about_alone_stay_so(lister, monkeypatch):
    lister.post()
    rounds(lister)
    Listing.listed = Unsupported("it takes more calls")
    monkeypatch.setattr(Listing, "find", Stub.find)
    Stub.found = Unsupported("it cannot say")
    rounds(lister, 3)
    assert Listing.calls == ["confirm", "orders_since"]


def test_an_order_that_is_listed_as_unknown_stays_unknown(lister):
    lister.post()
    Listing.listed = {Stub.placed[0].client_id: replace(FILLED, status="unknown")}
    rounds(lister, 5)
    lister.clock.advance(10_000)
    rounds(lister, 5)
    assert statuses(lister) == ["unknown"]


def test_an_order_that_is_older_by_far_is_asked_about_alone(lister):
    """A list of all orders since then would cost many pages."""
    for key in ("k1", "k2", "k3"):
        lister.post(key=key)
    lister.backdate("created", "updated")
    rounds(lister, 2)
    assert sorted(Listing.calls) == ["confirm", "find", "orders_since"]
    assert datetime.now(UTC) - Listing.since[0] < timedelta(minutes=10)
    assert statuses(lister) == ["rejected"] * 3


def test_an_order_from_before_the_clock_was_set_back_is_asked_about_by_its_id(lister):
    """A list since a time that has not come yet would not have it."""
    lister.post()
    then = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    lister.rewrite("UPDATE orders SET created = :then", then=then)
    Listing.listed = {Stub.placed[0].client_id: FILLED}
    rounds(lister, 2)
    assert set(Listing.calls) <= {"confirm", "find"}
    assert statuses(lister) == ["filled"]


def test_a_row_that_another_server_left_unknown_is_left_to_that_one_for_some_seconds(lister, monkeypatch):
    """All servers on a data base would ask otherwise, and each question is counted."""
    monkeypatch.setattr(type(lister.reconciler._store._database), "is_shared", True)
    lister.post()
    lister.reconciler._store.orders._own = OwnRows(shared=True)
    rounds(lister, 4)
    assert Listing.calls == []
    rounds(lister, 10)
    assert Listing.calls == ["confirm", "orders_since"]
    assert statuses(lister) == ["rejected"]


def test_what_another_server_left_unknown_together_is_asked_about_with_one_question(lister, monkeypatch):
    """Its orders are not due one after the other, each with a list that is too long for one."""
    monkeypatch.setattr(type(lister.reconciler._store._database), "is_shared", True)
    for number in range(20):
        lister.post(key=f"k{number}")
    lister.rewrite("UPDATE orders SET updated = :then", then=now())
    lister.reconciler._store.orders._own = OwnRows(shared=True)
    # Not at the moment of a round.
    lister.reconciler._times._head_start = 6.2
    rounds(lister, 20)
    assert Listing.calls == ["confirm", "orders_since"]
    assert Listing.wanted == 20
    assert statuses(lister) == ["rejected"] * 20


@pytest.mark.parametrize(("days", "calls"), [(1, ["find", "find"]), (0, ["orders_since", "orders_since"])])
def test_where_a_long_list_cannot_be_had_each_order_is_asked_about(lister, days, calls):
    """As after a day without this server, in which another program traded with the key: it takes too many pages."""
    lister.post(key="k1")
    lister.post(key="k2")
    if days:
        lister.rewrite("UPDATE orders SET created = :then, updated = :then", then=now(days * 86400))
    Listing.listed = Busy("too many calls", retry_after=1)
    rounds(lister, 2)
    assert set(Listing.calls) == ({"orders_since"} if days else {"confirm", "orders_since"})
    Listing.calls.clear()
    Listing.listed = {Stub.placed[0].client_id: FILLED} if days else Busy("too many calls", retry_after=1)
    lister.clock.advance(3600)
    rounds(lister, 1)
    lister.clock.advance(3600)
    rounds(lister, 1)
    assert Listing.calls == calls
    assert statuses(lister) == (["filled", "rejected"] if days else ["unknown"] * 2)


def test_where_many_orders_are_found_with_few_calls_one_question_is_about_all_that_are_due(finder):
    for number in range(6):
        finder.post(key=f"k{number}")
    placed = [order.client_id for order in Stub.placed]
    *_, last = finder.reconciler._times.of(finder.reconciler._store.orders, "stub", Finding).values()
    last.ask_at += 2
    Finding.answers = dict.fromkeys(placed[:4], FILLED)
    rounds(finder)
    assert [[ref.client_id for ref in refs] for refs in Finding.asked] == [placed[:5]]
    assert statuses(finder) == ["filled"] * 4 + ["unknown"] * 2, "a request may still be on its way"
    finder.clock.advance(20)
    rounds(finder)
    assert [ref.client_id for ref in Finding.asked[-1]] == placed[4:]
    assert statuses(finder) == ["filled"] * 4 + ["rejected"] * 2
    assert len(Stub.placed) == 6, "nothing was sent"


def test_the_answer_about_one_of_many_orders_hides_none_about_the_others(finder):
    for number in range(4):
        finder.post(key=f"k{number}")
    filled, lagging, busy, _ = (order.client_id for order in Stub.placed)
    rounds(finder)
    finder.clock.advance(20)
    Finding.answers = {filled: FILLED, lagging: NotListedYet("it lags"), busy: Busy("slow down", retry_after=1)}
    rounds(finder)
    assert statuses(finder) == ["filled", "unknown", "unknown", "rejected"]
    Finding.answers = {lagging: None, busy: FILLED}
    rounds(finder)
    assert statuses(finder) == ["filled", "rejected", "filled", "rejected"]
    seen = {ref.client_id: ref.missed_since for ref in Finding.asked[-1]}
    assert seen[lagging] is not None, "it was missed before, and a second answer proves it"
    assert seen[busy] is None


def test_orders_of_one_key_are_found_in_parts_that_have_a_call_of_ours_each(finder):
    for number in range(60):
        finder.post(key=f"k{number}")
    Finding.answers = {order.client_id: FILLED for order in Stub.placed}
    rounds(finder)
    assert sorted(len(refs) for refs in Finding.asked) == [10, 25, 25]
    assert statuses(finder) == ["filled"] * 60


@pytest.mark.parametrize("failure", [Busy("slow down", retry_after=1), NotListedYet("it lags"), ConnectionError("cut")])
def test_where_many_orders_cannot_be_asked_about_nothing_is_concluded(finder, failure):
    for number in range(3):
        finder.post(key=f"k{number}")
    rounds(finder)
    finder.clock.advance(20)
    Finding.answers = failure
    rounds(finder)
    assert len(Finding.asked) == 2
    assert statuses(finder) == ["unknown"] * 3
    Finding.answers = {}
    rounds(finder, 2)
    assert statuses(finder) == ["rejected"] * 3


def test_while_the_call_may_go_on_elsewhere_a_nonce_proves_nothing(lister, monkeypatch):
    """A server that lost its connection to the data base may live, and sign its request after our question."""
    monkeypatch.setattr(Store, "is_shared", True)
    lister.post(key="k1")
    lister.post(key="k2")
    lister.server.sql("UPDATE orders SET server = 7")
    Listing.listed = {Stub.placed[0].client_id: FILLED}
    rounds(lister, 4)
    assert Listing.calls == ["orders_since"]
    assert statuses(lister) == ["filled", "unknown"]
    lister.clock.advance(15)
    rounds(lister, 2)
    assert Listing.calls == ["orders_since", "confirm", "orders_since"]
    assert statuses(lister) == ["filled", "rejected"]


def test_what_another_server_found_out_during_the_confirmation_is_not_asked_again(lister, monkeypatch):
    lister.post()

    def confirm(self):
        lister.server.sql("UPDATE orders SET status = 'filled'")
        return True

    monkeypatch.setattr(Listing, "confirm_no_older_request_pending", confirm)
    rounds(lister, 3)
    assert Listing.calls == []


def test_an_order_that_does_not_arrive_is_asked_about_once_early_and_then_seldom(bench, clock, monkeypatch):
    monkeypatch.setattr(Stub, "asked", [])
    bench.post()
    bench.reconciler = replace_grace(bench.reconciler, 60)
    asked_at = []
    for second in range(62):
        before = len(Stub.asked)
        bench.reconcile(None)
        asked_at += [second] * (len(Stub.asked) - before)
        clock.advance(1)
    assert asked_at == [0, 1, 3, 9, 27, 60]
    assert bench.ask("orders").json()["code"] == "no_such_key"


@pytest.mark.parametrize("hours", [-24, 24])
def test_a_clock_that_is_set_changes_no_grace(bench, clock, hours):
    bench.post()
    bench.reconciler = replace_grace(bench.reconciler, 60)
    bench.reconcile(None)
    clock.ahead = timedelta(hours=hours)
    clock.advance(59)
    bench.reconcile(None)
    assert statuses(bench) == ["unknown"]
    clock.advance(2)
    bench.reconcile(None)
    assert statuses(bench) == ["rejected"]


def test_a_clock_that_was_set_back_before_a_start_makes_no_grace_endless(bench, clock):
    bench.post()
    bench.reconciler = replace_grace(bench.reconciler, 60)
    clock.ahead = timedelta(hours=-24)
    bench.reconcile(None)
    clock.advance(60 + 15)
    bench.reconcile(None)
    assert statuses(bench) == ["rejected"]


def test_a_clock_that_is_set_ahead_gives_up_no_call_of_this_server(bench, clock):
    """Its row is then taken for one that runs for too long, while its request may not even be signed."""
    bench.post()
    bench.server.sql("UPDATE orders SET server = :server", server=bench.reconciler._store.server_id)
    bench.backdate("created", "updated")
    bench.reconciler = replace_grace(bench.reconciler, 60)
    bench.reconcile(None)
    clock.advance(60 + 14)
    bench.reconcile(None)
    assert statuses(bench) == ["unknown"]
    clock.advance(1)
    bench.reconcile(None)
    assert statuses(bench) == ["rejected"]


def test_nothing_is_kept_of_rows_that_somebody_settled_meanwhile(bench, monkeypatch):
    bench.post()
    bench.post("send_to_address", SEND, key="k2")
    monkeypatch.setattr(Stub, "find_one", staticmethod(lambda: Unsupported("nobody can say")))
    bench.reconcile([])
    kept = bench.reconciler._times._looked
    assert [len(looked.times) for looked in kept.values()] == [1, 1]
    bench.decide("orders", "filled")
    bench.decide("sends", "done")
    bench.reconcile([])
    assert [looked for looked in kept.values() if looked.times or looked.names] == []


@pytest.fixture
def at_rest(bench, clock, monkeypatch):
    """A bench with 50 orders that nobody can say anything of, each of which was asked about; no question is due."""
    monkeypatch.setattr(Stub, "asked", [])
    bench.clock, bench.begun = clock, []
    monkeypatch.setattr(bench.reconciler.rounds, "begin", bench.begun.append)
    bench.post()
    add_unknown_orders(bench.server.database, 1, 49)
    bench.rewrite("UPDATE orders SET reason = NULL")  # they are this server's own
    bench.reconcile(Unsupported("nobody can say"))
    assert len(Stub.asked) == 50
    Stub.asked.clear()
    return bench


def test_while_no_question_is_due_no_row_of_what_is_unknown_is_read(at_rest, monkeypatch):
    """Ten thousand cost 9 % of a core when each round read them all (2026-11-28)."""
    rows, statements = rows_read_by_this_thread(monkeypatch), statements_of_this_thread(monkeypatch)
    at_rest.reconciler.look()
    assert (at_rest.begun, rows, len(statements)) == ([set()], [1, 0], 2)
    at_rest.reconciler.reconcile("stub")
    assert (Stub.asked, rows, len(statements)) == ([], [1, 0] * 2, 4)


def test_only_the_rows_are_read_whose_question_is_due(at_rest, monkeypatch):
    [looked] = at_rest.reconciler._times._looked.values()
    for attempt, times in looked.times.items():
        if attempt.id in {7, 11}:
            times.ask_at = 0.0
    rows = rows_read_by_this_thread(monkeypatch)
    at_rest.reconciler.look()
    assert at_rest.begun == [{"stub"}]
    rows.clear()
    at_rest.reconciler.reconcile("stub")
    assert len(Stub.asked) == 2
    assert rows == [1, 0, 1, 1]


def _one_more(bench):
    bench.post(key="another")


def _begun_anew(bench):
    bench.decide("orders", "not-placed")
    assert bench.post().json()["status"] == "unknown"


def _one_for_another(bench):
    """On another server, whose clock is behind: neither their number nor the newest change is another one."""
    bench.server.sql("UPDATE orders SET status = 'filled' WHERE id = 7")
    bench.post(key="another")
    bench.server.sql("UPDATE orders SET updated = created WHERE key = 'another'")


def _key_replaced(bench):
    bench.server.sql("UPDATE registrations SET key_since = :time", time=now())


@pytest.mark.parametrize(
    ("change", "asked"), [(_one_more, 1), (_begun_anew, 1), (_one_for_another, 1), (_key_replaced, 50)]
)
def test_each_attempt_that_is_new_is_asked_about_in_the_next_round(at_rest, change, asked):
    change(at_rest)
    at_rest.reconciler.look()
    assert at_rest.begun == [{"stub"}]
    at_rest.reconciler.reconcile("stub")
    assert len(Stub.asked) == asked
    at_rest.reconciler.look()
    assert at_rest.begun[1:] == [set()]


def test_what_was_settled_while_a_round_goes_on_is_not_asked_about_any_more(at_rest, monkeypatch):
    make_due(at_rest.reconciler)

    def settle_the_others():
        at_rest.server.sql("UPDATE orders SET status = 'filled'")
        return Unsupported("nobody can say")

    monkeypatch.setattr(Stub, "find_one", staticmethod(settle_the_others))
    at_rest.reconciler.reconcile("stub")
    assert len(Stub.asked) == 1


def test_a_round_commits_what_this_server_could_not_write_before(bench):
    bench.post()
    bench.server.sql("UPDATE orders SET status = 'running'")
    journal = bench.reconciler._store.orders
    [row] = journal.rows(bench.id, ("running",), 1, None)
    journal.give_up(row)
    bench.reconciler.mark_abandoned()
    assert statuses(bench) == ["unknown"]


@pytest.mark.parametrize(
    ("noun", "call", "form", "decision", "status"),
    [("orders", "buy", ORDER, "filled", "filled"), ("sends", "send_to_address", SEND, "done", "done")],
)
def test_what_its_owner_says_was_executed_is_the_answer_to_a_repeat(bench, noun, call, form, decision, status):
    assert bench.post(call, form).json()["status"] == "unknown"
    bench.decide(noun, decision)
    repeat = bench.post(call, form)
    assert (repeat.status_code, repeat.json()["status"]) == (200, status)
    assert repeat.headers["Idempotent-Replayed"] == "true"
    told = getattr(Backend(bench.id, *bench.auth, bench.server.url), call)(*form.values(), key="k1")
    assert told is True if noun == "sends" else told["status"] == "filled"
    assert len(Stub.placed) == 1


@pytest.mark.parametrize(
    ("noun", "listed", "call", "form", "decision"),
    [
        ("orders", "orders", "buy", ORDER, "not-placed"),
        ("sends", "withdrawals", "send_to_address", SEND, "not-sent"),
    ],
)
def test_what_its_owner_says_was_not_executed_is_executed_once_by_repeats(bench, noun, listed, call, form, decision):
    assert bench.post(call, form).json()["status"] == "unknown"
    bench.decide(noun, decision)
    asked = bench.ask(listed)
    assert (asked.status_code, asked.json()["code"]) == (404, "no_such_key")
    Stub.act = staticmethod(lambda _asked: FILLED if noun == "orders" else SENT)
    first, second = bench.post(call, form), bench.post(call, form)
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert first.json()["status"] == (FILLED if noun == "orders" else SENT).status
    assert len(Stub.placed) == 2
    assert len({asked.client_id for asked in Stub.placed}) == 2


def test_order_execution_is_not_among_the_reconcilers_tools():
    """It has no way to send: no ExecutionService, and it calls neither place nor withdraw."""
    for module in (reconciliation, question_times, rounds_module):
        source = inspect.getsource(module)
        assert ".place(" not in source
        assert ".withdraw(" not in source
        assert ExecutionService.__name__ not in vars(module)
