"""Connections that are used again: what went stale is noticed, and no answer is taken for another call's."""

from __future__ import annotations

import threading

import pytest

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import OutcomeUnknown
from tests.support.marked_secrets import PASSWORD, USER
from tests.support.raw_server import JSON, Connection, answer_not_found, raw_server

ORDER = '{"id": 41, "amount": "0.1", "status": "filled"}'
ANOTHER = '{"id": 40, "key": "another", "amount": "0.1", "status": "filled"}'


def proper(connection: Connection) -> None:
    connection.answer('{"BTC": "1.5"}' if connection.request.method == "GET" else ORDER, "200 OK", JSON)


def test_a_connection_that_was_closed_while_idle_is_replaced_without_a_word():
    closed = threading.Event()

    def once(connection: Connection) -> None:
        proper(connection)
        if connection.request.method == "GET":
            connection.sock.close()
            closed.set()

    with raw_server(once) as server:
        backend = Backend(1, USER, PASSWORD, server.url)
        backend.balance()
        assert closed.wait(10)
        assert backend.buy("USD", "BTC", "0.1")["id"] == 41
        assert (server.posts, server.connections) == (1, 2)


@pytest.mark.parametrize("end", [Connection.reset, Connection.hang_up])
def test_a_connection_that_breaks_as_an_order_arrives_leaves_it_open_and_is_not_tried_again(end):
    served: list[Connection] = []

    def script(connection: Connection) -> None:
        if connection in served:
            end(connection)
        served.append(connection)
        proper(connection)

    with raw_server(script) as server:
        backend = Backend(1, USER, PASSWORD, server.url)
        backend.balance()
        with pytest.raises(OutcomeUnknown):
            backend.buy("USD", "BTC", "0.1")
        assert server.posts == 1


@pytest.mark.parametrize("end", [Connection.reset, Connection.hang_up])
def test_a_connection_that_breaks_as_a_read_arrives_is_replaced(end):
    served: list[Connection] = []

    def script(connection: Connection) -> None:
        if connection in served:
            end(connection)
        served.append(connection)
        proper(connection)

    with raw_server(script) as server:
        backend = Backend(1, USER, PASSWORD, server.url)
        backend.balance()
        assert backend.balance()
        assert server.connections == 2


def test_a_second_answer_that_nobody_asked_for_is_not_the_answer_to_the_next_call():
    sent = threading.Event()

    def twice(connection: Connection) -> None:
        proper(connection)
        if connection.request.method == "GET":
            connection.answer(ANOTHER, "200 OK", JSON)
            sent.set()

    with raw_server(twice) as server:
        backend = Backend(1, USER, PASSWORD, server.url)
        backend.balance()
        assert sent.wait(10)
        assert backend.buy("USD", "BTC", "0.1")["id"] == 41
        assert server.posts == 1


def test_a_late_final_answer_after_an_interim_one_is_not_the_answer_to_the_next_call():
    def interim(connection: Connection) -> None:
        if connection.request.method == "GET":
            connection.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            connection.wait(0.05)
            connection.answer(ANOTHER, "200 OK", JSON)
        else:
            proper(connection)

    with raw_server(interim) as server:
        backend = Backend(1, USER, PASSWORD, server.url, timeout=1)
        with pytest.raises(Exception, match="interim"):
            backend.balance()
        assert backend.buy("USD", "BTC", "0.1")["id"] == 41


@pytest.mark.parametrize(
    "answer",
    [
        ANOTHER,
        '{"id": 41, "side": "sell", "amount": "0.1"}',
        '{"id": 41, "asset": "ETH", "amount": "0.1"}',
        '{"id": 41, "currency": "EUR", "amount": "0.1"}',
        '{"id": 41, "amount": "0.11"}',
        '{"id": 41, "amount": 1}',
        '{"BTC": "1.5", "key": 7}',
        '[{"id": 41}]',
        '"tb1q"',
        "true",
        "null",
    ],
)
def test_an_answer_to_another_question_is_not_taken_for_the_order(answer):
    with raw_server(lambda conn: conn.answer(answer, "200 OK", JSON), key_lookup=answer_not_found) as server:
        with pytest.raises(OutcomeUnknown) as caught:
            Backend(1, USER, PASSWORD, server.url).buy("USD", "BTC", "0.1")
        assert caught.value.key
        assert server.posts == 1
