"""place_many, buy_many, sell_many: one call, an outcome for each order, and what becomes of lost answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import (
    APIError,
    AuthenticationError,
    InsufficientFunds,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    RateLimited,
    Unavailable,
)
from tests.support.client_servers import in_turn, says, says_with_key
from tests.support.marked_secrets import PASSWORD, USER
from tests.support.raw_server import Connection, raw_server

RECORD = {"id": 41, "filled": "0.1", "status": "filled"}
NEVER_SEEN = says({"detail": "no such key", "code": "no_such_key"}, "404 Not Found")
RUNNING = {"detail": "still running", "code": "still_running", "retryable": True, "may_have_executed": True}
NO_FUNDS = {"detail": "no funds", "code": "insufficient_funds", "retryable": False, "may_have_executed": False}
BUSY = {"detail": "slow down", "code": "rate_limited", "retryable": True, "may_have_executed": False}
NOT_KEPT = {"detail": "not kept", "code": "server_error", "retryable": False, "may_have_executed": True}


def new(key=None, **fields):
    order = {"currency": "USD", "asset": "BTC", "amount": "0.1", **fields}
    return order if key is None else {**order, "key": key}


def sent(server):
    """The orders of each call that reached the server."""
    return [json.loads(request.body)["orders"] for request in server.requests if request.method == "POST"]


def rows(*given):
    """Answers each order so: a status and a body; without any it is filled, and has what was asked for."""

    def script(connection):
        orders = json.loads(connection.request.body)["orders"]
        answers = given or [(200, {})] * len(orders)
        connection.answer(
            json.dumps(
                [
                    {
                        "status": status,
                        "headers": {"Retry-After": "7"} if status == 429 else {},
                        "body": body(order, one),
                    }
                    for order, (status, one) in zip(orders, answers, strict=True)
                ]
            ),
            "200 OK",
            "Content-Type: application/json",
        )

    def body(order, one):
        return {"key": order["key"], **one} if "code" in one else {**RECORD, **order, **one}

    return script


def backend(server, **how):
    return Backend(7, USER, PASSWORD, server.url, **how)


def summary(outcomes):
    return [(type(outcome), outcome.key) if isinstance(outcome, APIError) else outcome["key"] for outcome in outcomes]


def test_orders_are_one_request_with_the_texts_that_single_ones_have():
    until = datetime(2027, 1, 1, tzinfo=UTC)
    orders = [
        new("a", amount=Decimal("1E-3")),
        new("b", amount=2, price="20000.50", post_only=True),
        {"currency": "USD", "asset": "BTC", "cost": 50, "key": "c"},
        new("d", price="1", time_in_force="GTD", expires=until),
        new("e", stop="90000"),
    ]
    with raw_server(rows((200, {}), (200, {"post_only": True}), *[(200, {})] * 3)) as server:
        outcomes = backend(server).buy_many(iter(orders))
        assert summary(outcomes) == list("abcde")
        assert outcomes[0]["filled"] == Decimal("0.1")
        [request] = server.requests
        assert (request.path, request.headers["content-type"]) == ("/exchanges/7/orders/", "application/json")
        buy = {"side": "buy", "currency": "USD", "asset": "BTC"}
        assert sent(server) == [
            [
                {**buy, "key": "a", "amount": "0.001"},
                {**buy, "key": "b", "amount": "2", "price": "20000.50", "post_only": "true"},
                {**buy, "key": "c", "cost": "50"},
                {
                    **buy,
                    "key": "d",
                    "amount": "0.1",
                    "price": "1",
                    "time_in_force": "GTD",
                    "expires": until.isoformat(),
                },
                {**buy, "key": "e", "amount": "0.1", "stop": "90000"},
            ]
        ]


def test_each_order_has_a_random_key_and_the_side_that_was_asked_for():
    with raw_server(rows()) as server:
        backend(server).sell_many([new(), new(side="sell")])
        backend(server).place_many([new(side="sell"), new(side="buy")])
        calls = sent(server)
        assert [[order["side"] for order in call] for call in calls] == [["sell", "sell"], ["sell", "buy"]]
        assert len({order["key"] for call in calls for order in call}) == 4


def test_no_orders_are_no_call():
    with raw_server(rows()) as server:
        assert backend(server).buy_many([]) == []
        assert server.requests == []


def test_each_order_has_its_own_outcome_and_errors_are_returned_with_their_keys():
    unknown = (202, {"status": "unknown"})
    with raw_server(rows((200, {}), (422, NO_FUNDS), unknown, (429, BUSY))) as server:
        outcomes = backend(server).buy_many(map(new, "abcd"))
        assert summary(outcomes) == ["a", (InsufficientFunds, "b"), (OutcomeUnknown, "c"), (RateLimited, "d")]
        assert (outcomes[2].code, outcomes[3].retry_after) == ("outcome_unknown", 7)
        assert server.posts == 1


@pytest.mark.parametrize("fault", [Connection.reset, Connection.hang_up, lambda conn: conn.answer("<html>", "502 No")])
def test_when_the_answer_is_lost_each_key_is_looked_up(fault):
    found = in_turn(says_with_key(RECORD), says({**RECORD, "key": "b", "status": "rejected", "error": NO_FUNDS}))
    with raw_server(fault, key_lookup=found) as server:
        outcomes = backend(server).buy_many(map(new, "ab"))
        assert summary(outcomes) == ["a", (InsufficientFunds, "b")]
        assert server.posts == 1
        assert [r.path for r in server.requests[1:]] == [f"/exchanges/7/orders/?key={key}" for key in "ab"]


def test_only_what_the_server_never_saw_is_sent_again():
    lookups = in_turn(says_with_key(RECORD), NEVER_SEEN, NEVER_SEEN)
    with raw_server(in_turn(Connection.hang_up, rows()), key_lookup=lookups) as server:
        assert summary(backend(server).buy_many(map(new, "abc"))) == list("abc")
        assert [[order["key"] for order in call] for call in sent(server)] == [list("abc"), list("bc")]


def test_orders_that_get_lost_every_time_are_sent_three_times_at_most_and_stay_unknown():
    with raw_server(Connection.hang_up, key_lookup=NEVER_SEEN) as server:
        outcomes = backend(server).buy_many(map(new, "ab"))
        assert summary(outcomes) == [(OutcomeUnknown, "a"), (OutcomeUnknown, "b")]
        assert server.posts == 3


@pytest.mark.parametrize(("status", "body"), [(409, RUNNING), (500, NOT_KEPT)])
def test_an_order_that_may_have_been_executed_is_looked_up_alone(status, body):
    with raw_server(rows((200, {}), (status, body)), key_lookup=says_with_key(RECORD)) as server:
        assert summary(backend(server).buy_many(map(new, "ab"))) == ["a", "b"]
        assert [r.path.rpartition("=")[2] for r in server.requests[1:]] == ["b"]


@pytest.mark.parametrize("lie", [{"side": "sell"}, {"amount": "0.2"}, {"key": "z"}, {"post_only": True}, {"id": "x"}])
def test_a_record_of_another_order_is_not_believed(lie):
    with raw_server(rows((200, lie), (200, {})), key_lookup=says_with_key(RECORD)) as server:
        outcomes = backend(server).buy_many(map(new, "ab"))
        assert summary(outcomes) == ["a", "b"]
        assert outcomes[0].get("side") != "sell", "it is what was found under the key"


@pytest.mark.parametrize(
    "document", [[], {}, None, [{"status": 200}], [{"status": 200, "headers": {}, "body": {}}] * 3]
)
def test_an_answer_that_has_no_row_for_each_order_is_a_lost_one(document):
    with raw_server(says(document), key_lookup=says_with_key(RECORD)) as server:
        assert summary(backend(server).buy_many(map(new, "ab"))) == ["a", "b"]
        assert server.posts == 1


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        ("401 No", {"detail": "no", "code": "not_authenticated"}, AuthenticationError),
        ("403 No", {"detail": "no", "code": "frozen"}, PermissionDenied),
        ("404 No", {"detail": "no"}, NotFound),
        ("405 No", {"detail": "no", "code": "method_not_allowed"}, InvalidRequest),
        ("422 No", {"detail": "no", "code": "invalid_request"}, InvalidRequest),
        ("429 No", BUSY, RateLimited),
        ("503 No", {**BUSY, "code": "server_busy"}, Unavailable),
    ],
)
def test_what_refuses_the_whole_call_is_raised(status, body, error):
    with raw_server(says(body, status)) as server:
        with pytest.raises(error) as caught:
            backend(server).buy_many(map(new, "ab"))
        assert not caught.value.may_have_executed
        assert server.posts == 1


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        ("503 No", {**BUSY, "code": "server_busy"}, OutcomeUnknown),
        ("429 No", BUSY, OutcomeUnknown),
        ("403 No", {"detail": "no", "code": "frozen"}, PermissionDenied),
    ],
)
def test_what_refuses_the_second_call_hides_no_outcome_of_the_first(status, body, expected):
    lookups = in_turn(says_with_key(RECORD), NEVER_SEEN, NEVER_SEEN)
    with raw_server(in_turn(Connection.hang_up, says(body, status)), key_lookup=lookups) as server:
        outcomes = backend(server).buy_many(map(new, "abc"))
        assert summary(outcomes) == ["a", (expected, "b"), (expected, "c")]


@pytest.mark.parametrize(
    ("orders", "words"),
    [
        ([new(), {"asset": "BTC", "amount": 1}], "order 2: currency must be text"),
        ([new(), new(amount=0.1)], "order 2: amount is"),
        ([new(), new(cost=1)], "order 2: an order has either"),
        ([new(prize="1")], "order 1: 'prize' is no field"),
        ([new("a"), new("a")], "order 2: its key is that of another"),
        ([new(key="")], "order 1: key is ''"),
        ([new(side="sell")], "order 1: its side must be buy, or left out"),
        ([new(post_only="yes")], "order 1: post_only is 'yes'"),
        ([new(expires=datetime(2027, 1, 1))], "order 1: expires is a time without"),  # noqa: DTZ001 - that is the point
        (["order"], "order 1: it is no dict"),
    ],
)
def test_when_one_order_cannot_be_written_nothing_is_sent(orders, words):
    with raw_server(rows()) as server:
        with pytest.raises(InvalidRequest) as caught:
            backend(server).buy_many(orders)
        assert caught.value.reason.startswith(words)
        assert server.requests == []


def test_the_side_of_each_must_be_said_where_both_are_taken():
    with raw_server(rows()) as server, pytest.raises(InvalidRequest, match="order 1: its side must be buy or sell"):
        backend(server).place_many([new()])


def test_what_ends_the_call_otherwise_has_the_keys_in_a_note(monkeypatch):
    with raw_server(rows()) as server:
        xw = backend(server)
        monkeypatch.setattr(xw._api, "send", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt) as caught:
            xw.buy_many(map(new, "ab"))
    assert "['a', 'b']" in caught.value.__notes__[0]
