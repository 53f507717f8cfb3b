"""Many orders in one call: each with its own intent, limits, outcome and repeat, and none hidden by another."""

from __future__ import annotations

import json
import threading
from decimal import Decimal

import pytest
import requests
from sqlalchemy.exc import OperationalError

from bitmm.xwrap import exchanges
from bitmm.xwrap.exchanges.errors import Busy, NotListedYet, Refused, Unknown, Unsupported
from bitmm.xwrap.exchanges.http import unproved
from bitmm.xwrap.exchanges.models import OrderState
from bitmm.xwrap.server import lookups
from bitmm.xwrap.server.db.journal import Journal
from bitmm.xwrap.server.policy import KeyReplacedError, Policy
from bitmm.xwrap.server.reconciliation import Reconciler
from tests.support.stub import Stub
from tests.support.threads import until

NO_FUNDS = Refused("no funds", code="insufficient_funds")
BUSY = Busy("slow down", retry_after=7)


class Batching(Stub):
    """Takes many orders with one request; `hear` is called with them, and gives their outcomes."""

    id = "batching"
    name = "Batching"
    calls = 0
    hear = None
    #: What `orders_since` lists, or raises.
    listed = Unsupported("it lists nothing")

    def place_many(self, orders):
        type(self).calls += 1
        return type(self).hear(orders)

    def orders_since(self, since, *, wanted=None):
        if isinstance(self.listed, Exception):
            raise self.listed
        return self.listed


def state(number, **fields):
    return OrderState(f"X{number}", "open", filled=Decimal(0), **fields)


def outcomes(*given):
    """Let the exchange answer so, order by order."""
    Batching.hear = staticmethod(lambda orders: [state(n) for n in range(len(orders))] if not given else list(given))


@pytest.fixture(autouse=True)
def _exchange(monkeypatch):
    monkeypatch.setattr(lookups, "LISTING_SECONDS", 0)
    Stub.placed.clear()
    Stub.asked.clear()
    Batching.calls, Batching.listed, Batching.found, Batching.find_one = 0, Unsupported("it lists nothing"), None, None
    outcomes()


@pytest.fixture(scope="module")
def server(serving):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
        patch.setitem(exchanges.EXCHANGES, "batching", "tests.server.test_batches:Batching")
        patch.setattr(Reconciler, "reconcile", lambda _self, _exchange: None)
        with serving(exchanges=("stub", "batching", "paper")) as server:
            yield server


class Bench:
    """A registration, and the calls of its owner."""

    def __init__(self, server, exchange="batching", auth=None):
        self.server, self.auth = server, auth or server.account()
        self.id = server.registration(self.auth, exchange)
        self.url = f"{server.url}/exchanges/{self.id}"

    def post(self, *orders, auth=None, **body):
        body = body or {"orders": list(orders)}
        return requests.post(f"{self.url}/orders", json=body, auth=auth or self.auth, timeout=30)

    def answers(self, *orders, auth=None):
        """Status and body of the answer to each order."""
        answer = self.post(*orders, auth=auth)
        assert answer.status_code == 200, answer.text
        return [(row["status"], row["body"]) for row in answer.json()]

    def summary(self, *orders, auth=None):
        """The status of an order, or the code of what it was refused for."""
        return [body.get("status") or body["code"] for _, body in self.answers(*orders, auth=auth)]

    def single(self, key, side="buy", **form):
        form = {"currency": "USD", "asset": "BTC", "amount": "0.1", **form}
        headers = {"Idempotency-Key": key}
        return requests.post(f"{self.url}/{side}", data=form, headers=headers, auth=self.auth, timeout=30)

    def rows(self, columns):
        return self.server.sql(f"SELECT {columns} FROM orders WHERE registration_id = {self.id} ORDER BY id")

    def by_key(self, key):
        return requests.get(f"{self.url}/orders?key={key}", auth=self.auth, timeout=30)


@pytest.fixture(scope="module")
def owner(server):
    return server.account()


@pytest.fixture
def bench(server, owner):
    return Bench(server, auth=owner)


@pytest.fixture(scope="module")
def empty(server, owner):
    """A registration of which no call is taken."""
    return Bench(server, auth=owner)


def new(key, side="buy", **fields):
    return {"side": side, "currency": "USD", "asset": "BTC", "amount": "0.1", "key": key, **fields}


def test_all_intents_are_committed_before_the_exchange_hears_of_one(bench):
    seen = []

    def hear(orders):
        seen.extend(bench.rows("key, status, side, client_id"))
        return [state(number, client_id=order.client_id) for number, order in enumerate(orders)]

    Batching.hear = staticmethod(hear)
    assert bench.summary(new("a"), new("b", "sell"), new("c")) == ["open"] * 3
    assert [row[:3] for row in seen] == [("a", "running", "buy"), ("b", "running", "sell"), ("c", "running", "buy")]
    assert len({row[3] for row in seen}) == 3
    assert Batching.calls == 1


def test_each_order_is_what_a_call_of_its_own_would_have_been(server):
    """The same orders with the same keys, at the paper exchange, in one call and in three."""
    one, three = Bench(server, "paper"), Bench(server, "paper")
    orders = [new("a"), new("b", "sell", price="900000", post_only=True), new("c", amount="1000"), new("d", asset="NO")]
    together = one.post(*orders).json()
    for order, row in zip(orders, together, strict=True):
        form = {name: value for name, value in order.items() if name not in ("side", "key")}
        single = three.single(order["key"], order["side"], **form)
        assert (row["status"], row["headers"]) == (single.status_code, {})
        own = {"id", "exchange_order_id", "created", "updated"}
        theirs, ours = ({k: v for k, v in body.items() if k not in own} for body in (single.json(), row["body"]))
        assert ours == theirs
        assert one.by_key(order["key"]).json()["status"] == three.by_key(order["key"]).json()["status"]
    assert [row["status"] for row in together] == [200, 200, 422, 422]


def test_a_repeat_answers_each_order_again_and_sends_nothing(bench):
    outcomes(state(1), NO_FUNDS, Unknown("no answer"), BUSY)
    first = bench.post(new("a"), new("b"), new("c"), new("d")).json()
    assert [row["status"] for row in first] == [200, 422, 202, 429]
    assert first[3]["headers"] == {"Retry-After": "7"}
    Batching.hear = staticmethod(lambda orders: [state(number) for number in range(len(orders))])
    again = bench.post(new("a"), new("b"), new("c"), new("d")).json()
    assert Batching.calls == 2, "what was refused for a rate limit may be placed with its key again"
    assert [row["body"] for row in again[:3]] == [row["body"] for row in first[:3]]
    assert [row["headers"] for row in again] == [{"Idempotent-Replayed": "true"}] * 3 + [{}]
    assert again[3]["body"]["status"] == "open"
    for key, row in zip("abc", first, strict=False):
        assert bench.single(key).json() == row["body"], "and so does a call with one of them"


def test_a_key_that_was_used_by_a_single_order_is_a_repeat_here(bench):
    Stub.act = staticmethod(lambda _order: state(7))
    single = bench.single("a").json()
    assert bench.answers(new("a"), new("b"))[0] == (200, single)
    [_, reused] = bench.answers(new("a"), new("b", amount="0.2"))
    assert (reused[0], reused[1]["code"], reused[1]["key"]) == (422, "key_reused", "b")


def test_a_limit_counts_each_order_and_refuses_one_alone(server):
    bench = Bench(server, "paper")
    bot = server.credential(bench.auth[0], "trade", per_day="2500", currency="USD")
    orders = [new(key, price="10000") for key in "abc"]
    assert bench.summary(*orders, auth=bot) == ["open", "open", "limit_exceeded"]
    assert bench.summary(new("d", price="4000"), new("e", price="3000"), auth=bot) == ["open", "limit_exceeded"]
    assert bench.by_key("c").json()["code"] == "no_such_key"


def test_the_quota_of_an_account_counts_each_order(serving):
    with serving(exchanges=("paper",), order_quota=3) as server:
        bench = Bench(server, "paper")
        assert bench.summary(*map(new, "abcde")) == ["filled"] * 3 + ["quota_exceeded"] * 2


def test_the_audit_has_a_row_for_each_order(server):
    bench = Bench(server, "paper")
    bench.post(new("a"), new("b"))
    rows = requests.get(f"{server.url}/audit", auth=bench.auth, timeout=30).json()
    assert [row["what"] for row in rows].count("order.buy") == 2


@pytest.mark.parametrize("error", [Unknown("no answer"), KeyError("a mistake")])
def test_when_the_answer_is_lost_every_order_is_unknown(bench, error):
    def hear(orders):
        if isinstance(error, Unknown):
            return [error] * len(orders)
        raise error

    Batching.hear = staticmethod(hear)
    assert [status for status, _ in bench.answers(new("a"), new("b"))] == [202, 202]
    assert bench.rows("status") == [("unknown",)] * 2
    assert bench.summary(new("a"), new("b")) == ["unknown"] * 2
    assert Batching.calls == 1


def test_an_exchange_that_gives_another_number_of_outcomes_tells_nothing(bench):
    outcomes(state(1))
    assert bench.summary(new("a"), new("b")) == ["unknown"] * 2


def test_refusals_that_prove_nothing_are_looked_up_with_one_question(bench):
    orders = {}

    def hear(given):
        orders.update({order.client_id: order for order in given})
        first = next(iter(orders))
        Batching.listed = [state(9, client_id=first)]
        return [unproved(NO_FUNDS)] * len(given)

    Batching.hear = staticmethod(hear)
    assert bench.summary(new("a"), new("b"), new("c")) == ["open", "insufficient_funds", "insufficient_funds"]
    assert Stub.asked == []


def test_refusals_that_prove_nothing_are_looked_up_one_by_one_where_nothing_is_listed(bench):
    outcomes(*[unproved(NO_FUNDS)] * 3)
    found = iter([state(9), None, NotListedYet("not yet"), None])

    def find():
        result = next(found)
        if isinstance(result, Exception):
            raise result
        return result

    Batching.find_one = staticmethod(find)
    assert bench.summary(new("a"), new("b"), new("c")) == ["open", "insufficient_funds", "unknown"]
    assert bench.summary(new("c")) == ["unknown"]


def test_a_list_that_cannot_be_had_leaves_them_unknown(bench):
    outcomes(*[unproved(NO_FUNDS)] * 2)
    Batching.listed = BUSY
    assert bench.summary(new("a"), new("b")) == ["unknown"] * 2


def test_a_call_of_which_nothing_may_be_sent_is_refused_as_one(server):
    bench = Bench(server)
    requests.post(f"{bench.server.url}/freeze", auth=bench.auth, timeout=30).raise_for_status()
    answer = bench.post(new("a"), new("b"))
    assert (answer.status_code, answer.json()["code"]) == (403, "frozen")
    assert bench.rows("id") == []


def test_repeats_are_answered_beside_what_may_not_be_sent(server):
    bench = Bench(server)
    bench.post(new("a"))
    requests.post(f"{bench.server.url}/freeze", auth=bench.auth, timeout=30).raise_for_status()
    assert bench.summary(new("a"), new("b")) == ["open", "frozen"]
    assert Batching.calls == 1


def test_what_was_committed_before_the_key_was_replaced_is_sent_and_the_rest_is_not(bench, monkeypatch):
    check, left = Policy._check, [1]

    def replaced(self, caller, registration, *more):
        check(self, caller, registration, *more)
        if not left[0]:
            raise KeyReplacedError(registration)
        left[0] -= 1

    monkeypatch.setattr(Policy, "_check", replaced)
    assert bench.summary(new("a"), new("b")) == ["open", "server_busy"]
    assert bench.by_key("b").json()["code"] == "no_such_key"


def test_a_call_begins_anew_when_the_key_was_replaced_before_any_intent(bench, monkeypatch):
    check, left = Policy._check, [1]

    def replaced(self, caller, registration, *more):
        check(self, caller, registration, *more)
        if left[0]:
            left[0] -= 1
            raise KeyReplacedError(registration)

    monkeypatch.setattr(Policy, "_check", replaced)
    assert bench.summary(new("a"), new("b")) == ["open", "open"]


def test_when_the_data_base_fails_in_between_nothing_is_sent_and_nothing_stays_blocked(bench, monkeypatch):
    begin, give_up, count, given_up = Journal.begin, Journal.give_up, [0], []

    def failing(self, *given):
        count[0] += 1
        if count[0] == 2:
            raise OperationalError("INSERT", {}, Exception("the disk is full"))
        return begin(self, *given)

    def noted(self, row):
        given_up.append(row["key"])
        give_up(self, row)

    monkeypatch.setattr(Journal, "begin", failing)
    monkeypatch.setattr(Journal, "give_up", noted)
    answer = bench.post(new("a"), new("b"))
    assert (answer.status_code, answer.json()["may_have_executed"]) == (503, False)
    assert (Batching.calls, given_up) == (0, ["a"])
    monkeypatch.undo()
    until(lambda: bench.rows("status") == [("unknown",)])


def test_an_outcome_that_cannot_be_committed_hides_no_other(bench, monkeypatch):
    finish = Journal.finish

    def failing(self, row, columns):
        if row["key"] == "b":
            raise OperationalError("UPDATE", {}, Exception("the disk is full"))
        return finish(self, row, columns)

    monkeypatch.setattr(Journal, "finish", failing)
    [a, b, c] = bench.answers(new("a"), new("b"), new("c"))
    assert (a[1]["status"], c[1]["status"]) == ("open", "open")
    assert (b[0], b[1]["may_have_executed"], b[1]["key"]) == (500, True, "b")


def test_two_calls_with_the_same_orders_at_the_same_time_place_each_once(bench):
    gate, heard = threading.Event(), threading.Event()

    def hear(orders):
        heard.set()
        assert gate.wait(30)
        return [state(number) for number in range(len(orders))]

    Batching.hear = staticmethod(hear)
    results = []
    thread = threading.Thread(target=lambda: results.append(bench.summary(new("a"), new("b"))))
    thread.start()
    assert heard.wait(30)
    assert bench.summary(new("a"), new("b")) == ["still_running"] * 2
    gate.set()
    thread.join(30)
    assert results == [["open", "open"]]
    assert Batching.calls == 1


def test_where_the_exchange_has_no_such_request_orders_are_placed_one_after_the_other(server):
    bench = Bench(server, "stub")

    def act(order):
        if order.amount == 2:
            raise NO_FUNDS
        if order.amount == 4:
            raise Unknown("no answer")
        return state(len(Stub.placed))

    Stub.act = staticmethod(act)
    amounts = enumerate("12345")
    answers = bench.answers(*(new(f"k{number}", amount=amount) for number, amount in amounts))
    assert [status for status, _ in answers] == [200, 422, 200, 202, 503]
    assert answers[4][1]["retryable"]
    assert len(Stub.placed) == 4
    Stub.act = staticmethod(lambda _order: state(9))
    assert bench.summary(new("k4", amount="5")) == ["open"], "what was not sent may be placed with its key again"


@pytest.mark.parametrize(
    ("orders", "field"),
    [
        ([], "orders"),
        ([new(str(number)) for number in range(16)], "orders"),
        (["order"], "orders[0]"),
        ([new("a"), new("a")], "orders[1].key"),
        ([new("")], "orders[0].key"),
        ([new("ü")], "orders[0].key"),
        ([new("a"), {**new("b"), "key": None}], "orders[1].key"),
        ([new("a", amount=0.1)], "orders[0].amount"),
        ([new("a", amount="0")], "orders[0].amount"),
        ([new("a", amount=["1"])], "orders[0].amount"),
        ([new("a", side="hold")], "orders[0].side"),
        ([new("a", dry_run="true")], "orders[0].dry_run"),
        ([new("a", post_only=True)], "orders[0].post_only"),
        ([new("a", cost="10")], "orders[0].amount"),
        ([new("a"), new("b", time_in_force="GTD", price="1")], "orders[1].expires"),
    ],
)
def test_when_one_cannot_be_read_none_is_sent(empty, orders, field):
    answer = empty.post(*orders)
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
    assert not answer.json()["may_have_executed"]
    assert empty.rows("id") == []


TWICE = json.dumps({"orders": [new("a")]}).replace('"amount": "0.1"', '"amount": "0.1", "amount": "0.2"')


@pytest.mark.parametrize(
    ("body", "status"),
    [
        *((body, 422) for body in ("", "{", "[]", "null", '"orders"', '{"orders": {}}', '{"orders": null}', "NaN")),
        *((body, 422) for body in ('{"orders": [], "orders": []}', '{"orders": [], "dry_run": "1"}', TWICE)),
        *((body, 422) for body in ("[" * 60_000, '{"orders": ["\\ud800"]}', '{"orders": [{"\\ud800": "x"}]}')),
        *((body, 422) for body in (b"\xff\xfe", b'{"orders": [{"key": "\x00"}]}', '{"orders": [{"key": "\\u0000"}]}')),
        (" " * 70_000, 413),
    ],
)
def test_a_body_that_is_no_list_of_orders_is_refused(empty, body, status):
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{empty.url}/orders", data=body, headers=headers, auth=empty.auth, timeout=30)
    assert answer.status_code == status, answer.text
    assert empty.rows("id") == []


def test_the_body_is_json_and_the_header_of_a_single_order_is_refused(empty):
    form = requests.post(f"{empty.url}/orders", data=new("a"), auth=empty.auth, timeout=30)
    assert (form.status_code, form.json()["code"]) == (415, "unsupported_media_type")
    headers, body = {"Idempotency-Key": "k"}, {"orders": [new("a")]}
    keyed = requests.post(f"{empty.url}/orders", json=body, headers=headers, auth=empty.auth, timeout=30)
    assert (keyed.status_code, keyed.json()["field"]) == (422, "Idempotency-Key")


def test_a_credential_that_may_read_places_nothing(server):
    bench = Bench(server, "paper")
    answer = bench.post(new("a"), auth=server.credential(bench.auth[0], "read"))
    assert (answer.status_code, answer.json()["code"]) == (403, "out_of_scope")


def test_stops_and_sells_for_a_cost_may_be_among_them(server):
    bench = Bench(server, "paper")
    for_a_cost = {name: value for name, value in new("b", side="sell", cost="100").items() if name != "amount"}
    orders = [new("a", side="sell", stop="1"), for_a_cost, new("c", stop="1", time_in_force="IOC", price="2")]
    answer = bench.post(*orders)
    assert (answer.status_code, answer.json()["field"]) == (422, "orders[2].time_in_force")
    [(_, stop), (_, sold)] = bench.answers(*orders[:2])
    assert (stop["status"], stop["stop"]) == ("open", "1")
    assert (sold["status"], sold["cost"], sold["amount"]) == ("filled", "100", None)
