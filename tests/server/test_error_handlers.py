"""What the server did not foresee is an answer, too, and no answer shows what is in an error."""

from __future__ import annotations

import re

import pytest
import requests
from sqlalchemy.exc import OperationalError
from starlette.responses import Response

from bitmm.xwrap import exchanges
from bitmm.xwrap.server.metrics import Metrics
from bitmm.xwrap.server.middleware import OriginCheckMiddleware, TrailingSlashMiddleware
from bitmm.xwrap.server.threads import Workers
from bitmm.xwrap.server.views import health
from tests.support.stub import Stub

SECRET = "the value that failed"


@pytest.fixture
def call_that_raises(serving, monkeypatch):
    """Return a function that makes a view raise an error, and returns its answer."""
    monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
    with serving(exchanges=("stub",)) as server:
        auth = server.account()
        id = server.registration(auth, "stub")

        def raise_it(*_):
            raise errors[-1]

        errors = []
        monkeypatch.setattr(health, "_count_unknown", raise_it)
        monkeypatch.setattr(Stub, "act", staticmethod(raise_it))
        paths = {"coroutine": "/ready", "thread": f"/exchanges/{id}/exchange_rate?from=USD&to=BTC"}

        def call(view, error):
            errors.append(error)
            return requests.get(server.url + paths[view], auth=auth, timeout=30)

        yield call


@pytest.mark.parametrize("view", ["coroutine", "thread"])
def test_an_error_that_was_not_foreseen_is_500_with_an_id_that_the_log_has(call_that_raises, caplog, view):
    answer = call_that_raises(view, RuntimeError(SECRET))
    body = answer.json()
    assert (answer.status_code, body["code"]) == (500, "server_error")
    assert (
        body["detail"]
        == f"the server failed in a way that was not foreseen; its log says why, under {body['request_id']}"
    )
    assert (body["retryable"], body["may_have_executed"]) == (False, False)
    assert re.fullmatch("[0-9a-f]{12}", body["request_id"])
    [record] = [record for record in caplog.records if record.getMessage() == f"server error {body['request_id']}"]
    assert isinstance(record.exc_info[1], RuntimeError)
    assert SECRET not in answer.text


ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.1"}
SEND = {"asset": "BTC", "amount": "0.1", "address": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"}


@pytest.mark.parametrize(("call", "form"), [("buy", ORDER), ("sell", ORDER), ("send_to_address/", SEND)])
def test_an_order_or_a_send_that_ends_in_an_error_of_the_server_may_have_been_executed(
    serving, monkeypatch, call, form
):
    """As when a thread cannot be started: its work was queued before, and another thread carries it out."""
    submit = Workers.submit

    def submit_and_fail(self, function, /, *args):
        future = submit(self, function, *args)
        is_login = not isinstance(future.result(), Response)
        if not is_login:
            raise RuntimeError("can't start new thread")
        return future

    with serving() as server:
        auth = server.account()
        id = server.registration(auth)
        monkeypatch.setattr(Workers, "submit", submit_and_fail)
        answer = requests.post(f"{server.url}/exchanges/{id}/{call}", data=form, auth=auth, timeout=30)
        monkeypatch.undo()
        held = requests.get(f"{server.url}/exchanges/{id}/balance", auth=auth, timeout=30).json()
    assert (answer.status_code, answer.json()["code"], answer.json()["may_have_executed"]) == (
        500,
        "server_error",
        True,
    )
    assert held["BTC"] != "1", "it was executed"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
@pytest.mark.parametrize("place", [OriginCheckMiddleware, TrailingSlashMiddleware])
def test_what_fails_around_a_view_is_answered_like_what_fails_in_it(serving, monkeypatch, place, method):
    """Of every call that changes something it is said that it may have been executed."""

    async def fail(*_):
        raise RuntimeError(SECRET)

    monkeypatch.setattr(place, "__call__", fail)
    with serving() as server:
        answer = requests.request(method, f"{server.url}/exchanges/1/orders/1", timeout=30)
    assert answer.status_code == 500
    if method != "HEAD":
        assert answer.json()["code"] == "server_error"
        assert answer.json()["detail"].endswith(f"its log says why, under {answer.json()['request_id']}")
        assert answer.json()["may_have_executed"] is (method != "GET")


def test_an_answer_that_cannot_be_counted_does_not_say_that_nothing_was_executed(serving, monkeypatch):
    def fail(*_):
        raise RuntimeError(SECRET)

    with serving() as server:
        auth = server.account()
        id = server.registration(auth)
        monkeypatch.setattr(Metrics, "count_call", fail)
        answer = requests.post(f"{server.url}/exchanges/{id}/buy", data=ORDER, auth=auth, timeout=30)
    assert answer.status_code == 500
    assert "may_have_executed" not in answer.text
    assert SECRET not in answer.text


@pytest.mark.parametrize("view", ["coroutine", "thread"])
def test_a_data_base_that_fails_is_503_and_its_values_are_not_in_the_log(call_that_raises, caplog, view):
    answer = call_that_raises(view, OperationalError("INSERT INTO t", {"value": SECRET}, Exception("disk is full")))
    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (
        503,
        "database_unavailable",
        True,
    )
    assert "disk is full" in caplog.text
    assert SECRET not in caplog.text + answer.text
    assert "INSERT" not in caplog.text + answer.text


def test_an_answer_that_was_not_foreseen_is_counted_once(serving, monkeypatch):
    def raise_it(_services):
        raise RuntimeError(SECRET)

    with serving() as server:
        monkeypatch.setattr(health, "_count_unknown", raise_it)
        assert requests.get(f"{server.url}/ready", timeout=30).status_code == 500
        monkeypatch.undo()
        counted = requests.get(f"{server.url}/metrics", timeout=30).text.splitlines()
    assert 'xwrap_calls_total{method="GET",path="/ready",status="500"} 1.0' in counted
