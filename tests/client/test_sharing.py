"""One XWrap and its Backends, used by many threads and after a fork: nothing is mixed up, no connection too many."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from urllib.parse import parse_qs

import pytest

from bitmm.xwrap.client import Backend, XWrap
from tests.support.marked_secrets import PASSWORD, USER
from tests.support.raw_server import JSON, TLS, Connection, raw_server

THREADS = 32


def echo(connection: Connection) -> None:
    """Answers with what was asked, so that a mixed-up answer shows."""
    number = connection.request.path.split("/")[2]
    if connection.request.method == "GET":
        connection.answer(f'{{"BTC": "{number}"}}', "200 OK", JSON)
    else:
        form = {name: values[0] for name, values in parse_qs(connection.request.body.decode()).items()}
        key = connection.request.headers["idempotency-key"]
        order = f'{{"id": {number}, "amount": "{form["amount"]}", "key": "{key}", "status": "open"}}'
        connection.answer(order, "200 OK", JSON)


def slowly(connection: Connection) -> None:
    """So that every thread is waiting for an answer at the same time."""
    connection.wait(0.005)
    echo(connection)


def use(xwrap: XWrap, number: int, calls: int = 20) -> None:
    backend = Backend(number, USER, PASSWORD, xwrap)
    for turn in range(calls):
        assert backend.balance() == {"BTC": Decimal(number)}
        order = backend.buy("USD", "BTC", f"{number}.{turn}")
        assert (order["id"], order["amount"]) == (number, Decimal(f"{number}.{turn}"))


def test_32_threads_on_one_xwrap_get_their_own_answers_over_no_more_connections_than_threads():
    with raw_server(slowly) as server, ThreadPoolExecutor(THREADS) as pool:
        xwrap = XWrap(server.url)
        together = threading.Barrier(THREADS)

        def run(number: int) -> None:
            # In step, so that all connections are in use at the same time, and then idle at the same time.
            for _ in range(5):
                together.wait()
                use(xwrap, number, 1)
            use(xwrap, number)

        assert list(pool.map(run, range(1, THREADS + 1))) == [None] * THREADS
        assert server.connections <= THREADS
        assert len(server.requests) == THREADS * 50


def test_calls_one_after_the_other_use_one_connection():
    with raw_server(echo) as server:
        xwrap = XWrap(server.url)
        for number in range(1, 6):
            use(xwrap, number, 2)
        assert server.connections == 1


def test_over_tls_one_handshake_serves_an_xwrap_and_all_its_backends(monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "authority.pem"))
    with raw_server(echo, certificate="good") as server:
        xwrap = XWrap(server.url)
        for number in range(1, 6):
            use(xwrap, number, 2)
        assert server.connections == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("certificate", [None, "good"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork_parent_and_child_have_connections_of_their_own(monkeypatch, certificate):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "authority.pem"))
    with raw_server(echo, certificate=certificate) as server:
        xwrap = XWrap(server.url)
        use(xwrap, 1, 2)
        children = []
        for number in (2, 3, 4):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    use(xwrap, number)
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        use(xwrap, 1)
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
        use(xwrap, 1)
        assert server.connections == 4
