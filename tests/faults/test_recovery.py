"""When the answer to an order is lost, the server is asked for it; only if it never saw the order, it is sent again."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from bitmm.xwrap.client import Backend, XWrap
from bitmm.xwrap.errors import (
    APIError,
    AuthenticationError,
    InsufficientFunds,
    InvalidRequest,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from tests.support.client_servers import in_turn, says, says_with_key
from tests.support.marked_secrets import KEY, PASSWORD, SECRET, USER
from tests.support.raw_server import Connection, Server, answer_not_found, raw_server

ORDER = {"id": 41, "amount": "0.1", "filled": "0.1", "status": "filled", "side": "buy"}
WITHDRAWAL = {"id": 9, "asset": "BTC", "amount": "0.1", "address": "tb1q", "status": "pending"}
CALLS = {
    "buy": (lambda backend, **how: backend.buy("USD", "BTC", "0.1", **how), ORDER, "/exchanges/1/orders/?key="),
    "send": (
        lambda backend, **how: backend.send_to_address("BTC", "0.1", "tb1q", **how),
        WITHDRAWAL,
        "/exchanges/1/withdrawals/?key=",
    ),
}


@pytest.fixture(params=CALLS)
def call(request):
    return CALLS[request.param]


NEVER_SEEN = says({"detail": "no such key", "code": "no_such_key"}, "404 Not Found")
RUNNING = says({"detail": "still running", "code": "still_running", "retryable": True}, "409 Conflict")


def asked(server: Server) -> list[str]:
    return [request.path for request in server.requests if request.method == "GET"]


def keys(server: Server) -> list[str]:
    return [request.headers["idempotency-key"] for request in server.requests if request.method == "POST"]


@pytest.mark.parametrize(
    "fault", [Connection.reset, Connection.hang_up, lambda conn: conn.answer("<html>", "502 Bad Gateway")]
)
def test_what_the_server_finds_under_the_key_is_the_result(call, fault):
    do, record, path = call
    with raw_server(fault, key_lookup=says_with_key(record)) as server:
        result = do(Backend(1, USER, PASSWORD, server.url), key="mine")
        assert result is True or result["filled"] == Decimal("0.1")
        assert keys(server) == ["mine"]
        assert asked(server) == [f"{path}mine"]


def test_a_server_that_never_saw_the_key_is_sent_the_same_request_again(call):
    do, record, _ = call
    with raw_server(
        in_turn(Connection.hang_up, Connection.reset, says_with_key(record)), key_lookup=NEVER_SEEN
    ) as server:
        assert do(Backend(1, USER, PASSWORD, server.url))
        assert server.posts == 3
        assert len(set(keys(server))) == 1
        assert len({request.body for request in server.requests if request.method == "POST"}) == 1


def test_an_order_that_gets_lost_every_time_is_sent_three_times_at_most_and_stays_unknown(call):
    do, _, _ = call
    with raw_server(Connection.hang_up, key_lookup=NEVER_SEEN) as server:
        with pytest.raises(OutcomeUnknown) as caught:
            do(Backend(1, USER, PASSWORD, server.url))
        assert server.posts == 3
        assert keys(server) == [caught.value.key] * 3


def test_an_order_that_is_still_running_is_waited_for(call):
    do, record, _ = call
    with raw_server(Connection.hang_up, key_lookup=in_turn(RUNNING, RUNNING, says_with_key(record))) as server:
        assert do(Backend(1, USER, PASSWORD, server.url))
        assert server.posts == 1
        assert len(asked(server)) == 3


def test_a_repeat_of_the_caller_that_meets_the_first_one_running_waits_for_its_end(call):
    do, record, _ = call
    with raw_server(RUNNING, key_lookup=says_with_key(record)) as server:
        assert do(Backend(1, USER, PASSWORD, server.url), key="mine")
        assert server.posts == 1


def test_an_order_that_runs_for_ever_ends_in_time_and_is_unknown(call):
    do, _, _ = call
    with raw_server(Connection.hang_up, key_lookup=RUNNING) as server:
        start = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            do(Backend(1, USER, PASSWORD, server.url, timeout=0.7))
        assert time.monotonic() - start < 1.2
        assert server.posts == 1


@pytest.mark.parametrize(
    "record",
    [
        answer_not_found,
        says({"detail": "no such registration"}, "404 Not Found"),
        says({"detail": "who are you"}, "401 Unauthorized"),
        says({"detail": "server error"}, "500 Oops"),
        says({"detail": "busy"}, "503 Busy"),
        says({"detail": "busy"}, "429 Slow down", "Retry-After: 60"),
        says([]),
        says([ORDER]),
        says(ORDER),
        says(None),
        says({**ORDER, "key": "another"}),
        Connection.hang_up,
        Connection.reset,
        Connection.wait,
    ],
    ids=range(14),
)
def test_any_other_answer_about_the_key_leaves_it_unknown_and_nothing_is_sent_again(call, record):
    do, _, _ = call
    with raw_server(Connection.hang_up, key_lookup=record) as server:
        start = time.monotonic()
        with pytest.raises(OutcomeUnknown, match=r"ask for the key|cannot be used") as caught:
            do(Backend(1, USER, PASSWORD, server.url, timeout=0.7))
        assert time.monotonic() - start < 1.2
        assert caught.value.may_have_executed is True
        assert caught.value.retryable is False
        assert keys(server) == [caught.value.key]


@pytest.mark.parametrize(("http", "status"), [("202 Accepted", "pending"), ("200 OK", "unknown")])
def test_a_server_that_says_itself_that_nobody_knows_is_not_asked_again(call, http, status):
    do, record, _ = call
    answer = {**record, "status": status, "detail": "nobody knows yet"}
    with raw_server(says_with_key(answer, http), key_lookup=says_with_key(record)) as server:
        with pytest.raises(OutcomeUnknown, match="nobody knows yet") as caught:
            do(Backend(1, USER, PASSWORD, server.url))
        assert caught.value.code == "outcome_unknown"
        assert keys(server) == [caught.value.key]
        assert asked(server) == []


def test_a_record_that_is_unknown_itself_leaves_it_unknown(call):
    do, record, _ = call
    with raw_server(Connection.hang_up, key_lookup=says_with_key({**record, "status": "unknown"})) as server:
        with pytest.raises(OutcomeUnknown) as caught:
            do(Backend(1, USER, PASSWORD, server.url))
        assert keys(server) == [caught.value.key]


@pytest.mark.parametrize("status", ["rejected", "failed"])
def test_a_record_that_says_it_was_refused_is_a_refusal(call, status):
    do, record, _ = call
    found = {**record, "status": status, "detail": "Insufficient funds", "code": "insufficient_funds"}
    with raw_server(Connection.hang_up, key_lookup=says_with_key(found)) as server:
        with pytest.raises(InsufficientFunds, match="Insufficient funds") as caught:
            do(Backend(1, USER, PASSWORD, server.url))
        assert caught.value.may_have_executed is False
        assert keys(server) == [caught.value.key]


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        (says({"detail": "busy"}, "429 Slow down"), OutcomeUnknown),
        (says({"detail": "down", "may_have_executed": False}, "503 Down"), OutcomeUnknown),
        (says({"detail": "bad amount"}, "422 Unprocessable"), InvalidRequest),
    ],
)
def test_a_repeat_that_was_certainly_not_executed_says_nothing_of_the_first_one(call, second, kind):
    do, _, _ = call
    with raw_server(in_turn(Connection.hang_up, second), key_lookup=NEVER_SEEN) as server:
        with pytest.raises(APIError) as caught:
            do(Backend(1, USER, PASSWORD, server.url))
        assert type(caught.value) is kind
        assert keys(server) == [caught.value.key] * 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (says({"detail": "who are you"}, "401 Unauthorized"), AuthenticationError),
        (says({"detail": "slow down"}, "429 Slow down", "Retry-After: 0"), RateLimited),
        (says({"detail": "down", "may_have_executed": False, "retryable": True}, "503 Down"), Unavailable),
    ],
)
def test_a_refused_order_is_neither_asked_for_nor_sent_again(call, answer, kind):
    do, record, _ = call
    with raw_server(answer, key_lookup=says_with_key(record)) as server:
        with pytest.raises(kind) as caught:
            do(Backend(1, USER, PASSWORD, server.url))
        assert keys(server) == [caught.value.key]
        assert asked(server) == []


def test_the_share_for_asking_is_kept_when_the_server_is_silent(call):
    do, record, _ = call
    with raw_server(Connection.wait, key_lookup=says_with_key(record)) as server:
        start = time.monotonic()
        assert do(Backend(1, USER, PASSWORD, server.url, timeout=2.5))
        assert time.monotonic() - start < 3
        assert server.posts == 1


def test_keys_to_register_are_sent_once(call):
    with raw_server(Connection.hang_up) as server:
        with pytest.raises(OutcomeUnknown):
            XWrap(server.url).create_backend(USER, PASSWORD, "kraken", "", KEY, SECRET)
        assert server.posts == 1


@pytest.mark.parametrize("key", ["", "ä", "a\nb", "a\r\nX: y", " a", "x" * 256, 7, b"a"])
def test_a_key_that_is_no_key_is_refused_before_anything_is_sent(call, key):
    do, _, _ = call
    with raw_server(says({})) as server:
        with pytest.raises(InvalidRequest, match="printable ASCII"):
            do(Backend(1, USER, PASSWORD, server.url), key=key)
        assert server.connections == 0
