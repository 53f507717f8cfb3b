"""A request arrives twice: what was executed with its key is the answer to both, whichever is refused."""

from __future__ import annotations

import pytest
import requests

from bitmm.xwrap.exchanges.errors import Busy
from bitmm.xwrap.exchanges.paper import Paper
from bitmm.xwrap.server import amendments, batches, execution
from bitmm.xwrap.server.problems import Problem
from tests.support.sends import allow_sends

ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.1", "price": "20000"}


class Bench:
    """Two registrations at the paper exchange with an open order, and the calls of their owner."""

    def __init__(self, server):
        self.server, self.auth = server, server.account()
        self.id, self.other = (server.registration(self.auth) for _ in range(2))
        allow_sends(server.database, self.auth[0], [ADDRESS])
        self.order = self.post("buy", data=ORDER).json()["id"]

    def post(self, path, key=None, **body):
        headers = {"Idempotency-Key": key} if key else {}
        url = f"{self.server.url}/exchanges/{self.id}/{path}"
        return requests.post(url, headers=headers, auth=self.auth, timeout=30, **body)


@pytest.fixture
def bench(server):
    return Bench(server)


def buy(bench):
    return bench.post("buy", "k1", data=ORDER)


def send(bench):
    return bench.post("send_to_address", "k1", data={"asset": "BTC", "amount": "0.1", "address": ADDRESS})


def transfer(bench):
    return bench.post("transfer", "k1", data={"asset": "BTC", "amount": "0.1", "to": bench.other})


def amend(bench):
    return bench.post(f"orders/{bench.order}", "k1", data={"price": "21000"})


def many(bench):
    orders = [{"side": "buy", **ORDER, "key": key} for key in ("k1", "k2")]
    return bench.post("orders/", json={"orders": orders})


@pytest.fixture
def arrive(monkeypatch):
    """A function that lets the same request arrive once more while a function of the server runs, which goes on then.

    `refusal`: what it raises instead. The answers to those that came later are in the list that is returned.
    """

    def at(place, name, again, refusal=None):
        honest, answers = getattr(place, name), []

        def late(*arguments, **options):
            if not answers:
                answers.append(None)
                answers[0] = again()
                if refusal is not None:
                    raise refusal
            return honest(*arguments, **options)

        monkeypatch.setattr(place, name, late)
        return answers

    return at


BUSY = Busy("slow down", retry_after=7)
FROZEN = Problem(403, "frozen", "the account is frozen; nothing was sent")
CALLS = [buy, send, transfer, amend, many]
MODULES = {buy: execution, send: execution, transfer: execution, amend: amendments, many: batches}


def executed(answer):
    """What an answer says of the order or the send, or of each of many; all of them must have been executed."""
    assert answer.status_code == 200, answer.text
    if isinstance(answer.json(), dict):
        return [answer.json()]
    assert {one["status"] for one in answer.json()} == {200}, answer.text
    return [one["body"] for one in answer.json()]


def check(first, second):
    assert executed(first) == executed(second)


@pytest.mark.parametrize("call", CALLS)
def test_a_request_whose_exchange_is_busy_is_answered_with_what_its_twin_has_executed(bench, arrive, call):
    name = "common_asset" if call in (send, transfer) else "common_pair"
    answers = arrive(Paper, name, lambda: call(bench), BUSY)
    check(call(bench), *answers)


@pytest.mark.parametrize("call", CALLS)
def test_a_request_that_is_refused_before_is_answered_with_what_its_twin_has_executed(bench, arrive, call):
    answers = arrive(MODULES[call], "check_frozen", lambda: call(bench), FROZEN)
    check(call(bench), *answers)


def test_an_amendment_that_finds_its_order_over_is_answered_with_that_of_its_twin(bench, arrive):
    """It is over because the twin has canceled it."""
    answers = arrive(amendments, "find_row", lambda: amend(bench))
    check(amend(bench), *answers)


def test_a_transfer_whose_account_cannot_be_asked_is_answered_with_that_of_its_twin(bench, arrive):
    answers = arrive(Paper, "transfer_account", lambda: transfer(bench), BUSY)
    check(transfer(bench), *answers)


@pytest.mark.parametrize("call", CALLS)
def test_a_request_that_is_refused_stays_refused_where_no_other_has_begun(bench, arrive, call):
    arrive(MODULES[call], "check_frozen", lambda: None, FROZEN)
    answer = call(bench)
    assert (answer.status_code, answer.json()["code"], answer.json()["may_have_executed"]) == (403, "frozen", False)


@pytest.mark.parametrize("call", [buy, send, transfer, amend])
def test_a_request_without_a_key_that_is_refused_is_nobodys_twin(bench, arrive, call, monkeypatch):
    post = bench.post
    monkeypatch.setattr(bench, "post", lambda path, _key, **body: post(path, **body))
    arrive(MODULES[call], "check_frozen", lambda: call(bench), FROZEN)
    assert call(bench).json()["code"] == "frozen"
