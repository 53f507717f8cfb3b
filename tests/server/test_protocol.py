"""What comes in on a connection is bounded before anything looks at it, and what was refused is never executed."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
import re
import socket
import struct
import threading
import time
import weakref
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from urllib.parse import urlsplit

import pytest
import requests

pytest.importorskip("starlette", reason="the server is not installed")

from uvicorn import Config
from uvicorn.server import ServerState

from bitmm.xwrap import exchanges
from bitmm.xwrap.server import connections, protocol, runner
from bitmm.xwrap.server.connections import READ_SIZE, Connections
from bitmm.xwrap.server.heads import Head
from bitmm.xwrap.server.metrics import Metrics
from bitmm.xwrap.server.problems import DELAY
from bitmm.xwrap.server.protocol import BoundedProtocol
from bitmm.xwrap.server.settings import Settings
from tests.support.stub import Stub

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
#: Longer than anything takes here.
WAIT = 30


def connect(server, number=1):
    """A connection from the address of this number (all of 127.0.0.0/8 is this machine, on Linux)."""
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), WAIT, (f"127.0.0.{number}", 0))


def read_all(connection):
    """The answers until the connection is closed."""
    with connection.makefile("rb") as stream:
        return parse(stream.read())


def parse(text):
    """Answers that follow each other: of each one its status, headers and body."""
    answers = []
    while text:
        head, _, text = text.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        length = int(headers.get("content-length", 0))
        answers.append((int(status.split()[1]), headers, text[:length]))
        text = text[length:]
    return answers


def send(server, *parts):
    """Send these bytes on one connection, and return all answers on it."""
    with connect(server) as connection:
        for part in parts:
            connection.sendall(part)
        return read_all(connection)


def wait_until(condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def metric(server, name):
    """The value of a metric; 0 while it has none."""
    text = requests.get(f"{server.url}/metrics", timeout=WAIT).text
    found = re.search(rf"^{re.escape(name)} (.+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0


def refused(server, reason):
    return metric(server, f'xwrap_refused_total{{reason="{reason}"}}')


def call(auth, method, path, form=b"", *headers):
    """A whole request in bytes."""
    token = base64.b64encode(":".join(auth).encode())
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: localhost", b"Authorization: Basic " + token, *headers]
    if form:
        lines += [b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: %d" % len(form)]
    return b"\r\n".join([*lines, b"", form])


@pytest.fixture
def quick(monkeypatch):
    """The times of connections are looked at more often."""
    monkeypatch.setattr(connections, "_SWEEP_SECONDS", 0.05)


@pytest.fixture
def buy(server, auth):
    """A request that buys, on paper, and how many orders there are."""
    id = server.registration(auth)
    orders = lambda: len(requests.get(f"{server.url}/exchanges/{id}/orders", auth=auth, timeout=WAIT).json())
    return call(auth, "POST", f"/exchanges/{id}/buy", b"currency=USD&asset=BTC&amount=0.001"), orders


LONG = b"x" * 70_000
REFUSED = {
    "a long header": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + LONG + b"\r\n\r\n", 431, "too_large"),
    "many headers": (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100 + b"\r\n", 431, "too_large"),
    "a long URL": (b"GET /" + b"x" * 8192 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, "too_large"),
    "an endless URL": (b"GET /" + LONG, 414, "too_large"),
    "a long body": (
        b"POST /exchanges HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65537\r\n\r\n" + LONG,
        413,
        "too_large",
    ),
    "two lengths": (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
        "malformed_request",
    ),
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "malformed_request",
    ),
    "a chunk of another size": (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
        400,
        "malformed_request",
    ),
    "a key in a trailer": (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nIdempotency-Key: 1\r\n\r\n",
        400,
        "malformed_request",
    ),
    "chunks in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "malformed_request",
    ),
    "two codings": (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
        "malformed_request",
    ),
    "bare LF": (b"GET / HTTP/1.1\nHost: localhost\n\n", 400, "malformed_request"),
    "bare LF in a header": (b"GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", 400, "malformed_request"),
    "bare CR": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n", 400, "malformed_request"),
    "a folded header": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n", 400, "malformed_request"),
    "NUL": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", 400, "malformed_request"),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400, "malformed_request"),
    "a space before the colon": (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400, "malformed_request"),
    "no name": (b"GET / HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n", 400, "malformed_request"),
    "no colon": (b"GET / HTTP/1.1\r\nHost: localhost\r\nx\r\n\r\n", 400, "malformed_request"),
    "an unknown method": (b"FOO / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "malformed_request"),
    "HTTP/0.9": (b"GET /health\r\n\r\n", 400, "malformed_request"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed_request"),
    "TLS": (bytes.fromhex("160301020001000001fc0303") + b"\r\n\r\n", 400, "malformed_request"),
    "CONNECT": (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "malformed_request"),
    "a URI of another host": (b"GET http://other/health HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "malformed_request"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_malformed_or_too_large_is_answered_and_nothing_after_it_is_executed(server, buy, name):
    request, status, code = REFUSED[name]
    buy, orders = buy
    [(got, headers, body)] = send(server, request, buy)
    problem = json.loads(body)
    assert (got, problem["code"], headers["connection"]) == (status, code, "close")
    assert (problem["retryable"], problem["may_have_executed"]) == (False, False)
    assert problem["detail"]
    assert orders() == 0


@pytest.mark.parametrize("name", ["a long header", "two lengths", "a chunk of another size", "NUL", "no colon"])
def test_what_stands_before_a_refused_request_is_answered(server, buy, name):
    request, status, _ = REFUSED[name]
    buy, orders = buy
    assert [answer[0] for answer in send(server, buy + request + buy)] == [200, status]
    assert orders() == 1


def test_every_refusal_is_counted_and_logged_once_a_second_with_its_number(server, caplog):
    before = refused(server, "malformed")
    for _ in range(5):
        send(server, REFUSED["NUL"][0])
    assert refused(server, "malformed") == before + 5
    with caplog.at_level(logging.WARNING), connect(server):
        logged = lambda: [r.getMessage() for r in caplog.records if "refused: malformed" in r.getMessage()]
        wait_until(lambda: sum(int(re.search(r"(\d+) times", line)[1]) for line in logged()) >= 5)
    assert len(logged()) <= 2
    assert "last from 127.0.0.1: the request is not HTTP/1.1" in logged()[-1]


def test_requests_in_one_packet_are_answered_one_after_the_other(server, buy):
    buy, orders = buy
    answers = send(server, GET + buy + b"\r\n" + buy + LAST)
    assert [status for status, _, _ in answers] == [200, 200, 200, 200]
    assert json.loads(answers[1][2])["id"] < json.loads(answers[2][2])["id"]
    assert orders() == 2


def test_a_request_byte_by_byte_is_answered(server, buy):
    buy, orders = buy
    with connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in buy + LAST:
            connection.sendall(bytes([byte]))
        assert [status for status, _, _ in read_all(connection)] == [200, 200]
    assert orders() == 1


def test_a_caller_who_sends_nothing_more_gets_the_answer(server, buy):
    buy, orders = buy
    with connect(server) as connection:
        connection.sendall(buy)
        connection.shutdown(socket.SHUT_WR)
        assert [status for status, _, _ in read_all(connection)] == [200]
    assert orders() == 1


def test_half_a_body_is_not_executed(server, buy):
    buy, orders = buy
    with connect(server) as connection:
        connection.sendall(buy[:-1])
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == []
    assert orders() == 0


def test_http_1_0_is_answered_and_closed(server):
    [(status, headers, _)] = send(server, b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert (status, headers["connection"]) == (200, "close")


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
def test_an_upgrade_is_ignored_and_the_body_belongs_to_the_request(server, buy, protocol):
    buy, orders = buy
    upgrade = b"\r\nConnection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n"
    assert [status for status, _, _ in send(server, buy.replace(b"\r\n\r\n", upgrade, 1), LAST)] == [200, 200]
    assert orders() == 1


def test_a_body_is_asked_for_with_100_continue(server, buy):
    buy, orders = buy
    head, _, form = buy.partition(b"\r\n\r\n")
    with connect(server) as connection:
        connection.sendall(head + b"\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(form)
        assert [status for status, _, _ in read_all(connection)] == [200]
    assert orders() == 1


def test_a_body_that_nobody_asked_for_closes_the_connection_after_the_answer(server, buy):
    buy, orders = buy
    without_login = re.sub(rb"Authorization[^\r]*\r\n", b"", buy)
    with connect(server) as connection:
        connection.sendall(without_login[:-1])
        answer = connection.recv(16)
        connection.sendall(b"1" + buy)
        [(status, headers, _)] = parse(answer + connection.makefile("rb").read())
    assert (status, headers["connection"]) == (401, "close")
    assert orders() == 0


def test_a_body_that_came_with_its_head_leaves_the_connection_open(server, buy):
    without_login = re.sub(rb"Authorization[^\r]*\r\n", b"", buy[0])
    assert [status for status, _, _ in send(server, without_login + LAST)] == [401, 200]


def test_a_head_that_takes_too_long_is_408(serving, quick):
    with serving(head_seconds=0.1) as server:
        [(status, headers, body)] = send(server, GET[:-1])
        assert (status, headers["connection"], json.loads(body)["code"]) == (408, "close", "request_timeout")
        assert json.loads(body)["retryable"] is True
        assert refused(server, "head_timeout") == 1


def test_a_head_has_a_time_in_all_and_not_for_each_byte(serving, quick):
    with serving(head_seconds=0.5) as server, connect(server) as connection:
        connection.settimeout(0.05)
        answer = b""
        for _ in range(WAIT * 20):
            connection.sendall(b"x" if answer else b"G")
            try:
                answer = connection.recv(100)
                break
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_silent_connection_is_closed_without_an_answer(serving, quick):
    with serving(head_seconds=0.1, idle_seconds=0.1) as server:
        assert send(server) == []
        assert [status for status, _, _ in send(server, GET)] == [200]
        assert refused(server, "idle") == 2


def test_a_body_that_takes_too_long_is_408_and_not_executed(serving, quick):
    with serving(body_seconds=0.1) as server:
        auth = server.account()
        id = server.registration(auth)
        request = call(auth, "POST", f"/exchanges/{id}/buy", b"currency=USD&asset=BTC&amount=0.001")
        [(status, headers, body)] = send(server, request[:-1])
        assert (status, headers["connection"], json.loads(body)["code"]) == (408, "close", "request_timeout")
        assert requests.get(f"{server.url}/exchanges/{id}/orders", auth=auth, timeout=WAIT).json() == []
        assert refused(server, "body_timeout") == 1


def test_of_too_many_calls_that_wait_for_their_bodies_the_oldest_is_refused_late(server, buy, monkeypatch):
    monkeypatch.setattr(connections, "MAX_AWAITED", 2)
    monkeypatch.setattr(protocol, "_REFUSED_BODY_SECONDS", 0.1)
    request, orders = buy
    request = request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    head, _, form = request.partition(b"\r\n\r\n")
    with ExitStack() as stack:
        callers = [stack.enter_context(connect(server)) for _ in range(3)]
        for caller in callers:
            caller.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
            assert caller.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        [(status, headers, body)] = read_all(callers[0])
        assert (status, headers["connection"], json.loads(body)["code"]) == (503, "close", "server_busy")
        for caller in callers[1:]:
            caller.sendall(form)
            assert [status for status, _, _ in read_all(caller)] == [200]
    assert orders() == 2
    # A body that has come whole counts no more.
    assert [status for status, _, _ in send(server, request[:-1], request[-1:])] == [200]
    assert refused(server, "too_many_bodies") == 1


def test_one_address_has_a_bounded_number_of_connections_and_others_are_served(serving):
    with serving(address_connections=3) as server, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(server, 2))
        for _ in range(2):
            with connect(server, 2) as connection:
                [(status, headers, body)] = read_all(connection)
                assert (status, headers["connection"], json.loads(body)["code"]) == (503, "close", "server_busy")
        assert requests.get(f"{server.url}/health", timeout=WAIT).ok
        assert refused(server, "too_many_of_address") == 2


def test_a_named_proxy_has_any_number_of_connections(serving):
    with serving(address_connections=3, environ={"XWRAP_PROXIES": "127.0.0.2"}) as server, ExitStack() as stack:
        callers = [stack.enter_context(connect(server, 2)) for _ in range(20)]
        for connection in callers:
            connection.sendall(LAST)
            assert [status for status, _, _ in read_all(connection)] == [200]


@contextmanager
def serving_few(serving, monkeypatch, most, **settings):
    monkeypatch.setattr(runner, "most_connections", lambda _settings: most)
    with serving(**settings) as server:
        yield server


def test_when_all_connections_are_taken_the_one_that_is_silent_longest_makes_room(serving, monkeypatch):
    with serving_few(serving, monkeypatch, 8) as server, ExitStack() as stack:
        begun = stack.enter_context(connect(server, 2))
        begun.sendall(GET[:-1])
        silent = [stack.enter_context(connect(server, 3 + number)) for number in range(7)]
        wait_until(lambda: metric(server, "xwrap_connections") == 8)
        assert read_all(silent[0]) == []
        # The honest call came by a new connection each time: silent ones go before one that has begun.
        for _ in range(5):
            assert requests.get(f"{server.url}/health", timeout=WAIT).ok
        begun.sendall(GET[-1:])
        assert begun.recv(100).startswith(b"HTTP/1.1 200 ")


def test_when_all_connections_have_a_call_a_new_one_is_refused_and_they_are_answered(serving, monkeypatch):
    monkeypatch.setitem(exchanges.EXCHANGES, "stub", "tests.support.stub:Stub")
    monkeypatch.setattr(Stub, "gate", threading.Event())
    with serving_few(serving, monkeypatch, 4, exchanges=("stub",)) as server, ExitStack() as stack:
        auth = server.account()
        id = server.registration(auth, "stub")
        calling = [stack.enter_context(connect(server, 2 + number // 2)) for number in range(4)]
        for connection in calling:
            connection.sendall(call(auth, "GET", f"/exchanges/{id}/balance", b"", b"Connection: close"))
            assert Stub.waiting.acquire(timeout=WAIT)
        with connect(server, 9) as connection:
            [(status, _, body)] = read_all(connection)
            assert (status, json.loads(body)["code"]) == (503, "server_busy")
        Stub.gate.set()
        for connection in calling:
            assert [status for status, _, _ in read_all(connection)] == [200]


def test_an_answer_that_is_not_read_holds_nothing_for_long(serving, quick):
    with serving(answer_seconds=0.1) as server, connect(server, 2) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.05)
        asking = b"GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            try:
                connection.sendall(asking)
            except TimeoutError:
                continue  # The server does not read on, as long as its answers are not read.
            except OSError:
                break
        assert refused(server, "answer_not_read") == 1


def test_connections_are_counted_as_long_as_they_are_open(serving):
    with serving() as server:
        with ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(connect(server))
            wait_until(lambda: metric(server, "xwrap_connections") == 11)
        wait_until(lambda: metric(server, "xwrap_connections") == 1)


@contextmanager
def reading(app):
    """The protocol before an application that is not ours, on asyncio's own event loop; its port and its state."""
    state, started, stop = ServerState(), threading.Event(), asyncio.Event()
    port = []

    async def serve():
        settings = Settings.read({})
        factory = partial(
            BoundedProtocol,
            Connections(settings, 10, Metrics()),
            config=Config(app, lifespan="off"),
            server_state=state,
            app_state={},
        )
        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        port.append(server.sockets[0].getsockname()[1])
        started.set()
        await stop.wait()
        server.close()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(WAIT)
        yield port[0], state
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def test_of_a_body_no_more_is_read_than_comes_with_its_head_until_it_is_asked_for():
    called, asked = threading.Event(), threading.Event()
    bodies = []

    async def app(_scope, receive, send):
        called.set()
        await asyncio.to_thread(asked.wait)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        bodies.append(body)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    body = bytes(range(256)) * 256
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65536\r\nConnection: close\r\n\r\n"
    with reading(app) as (port, state), socket.create_connection(("127.0.0.1", port), WAIT) as connection:
        sender = threading.Thread(target=connection.sendall, args=(head + body,))
        sender.start()
        assert called.wait(WAIT)
        [connected] = state.connections
        assert len(connected._active_http.cycle.body) <= READ_SIZE
        assert connected._active_http.flow.read_paused
        asked.set()
        assert connection.recv(100).startswith(b"HTTP/1.1 204 ")
        sender.join()
    assert bodies == [body]


def late_app(seconds, done):
    """An application whose answers are held back by so many seconds; it sets `done` when it has answered."""

    async def app(scope, _receive, send):
        scope[DELAY] = seconds
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        done.set()

    return app


def test_a_late_answer_waits_without_its_call_and_the_next_request_is_answered_after_it():
    done = threading.Event()
    with reading(late_app(0.3, done)) as (port, state), socket.create_connection(("127.0.0.1", port), WAIT) as caller:
        caller.sendall(GET + LAST)
        assert done.wait(WAIT)
        [connected] = state.connections
        wait_until(lambda: not state.tasks)
        assert connected._active_http.cycle is None
        caller.setblocking(False)
        with pytest.raises(BlockingIOError):
            caller.recv(1)
        caller.settimeout(WAIT)
        assert [status for status, _headers, _body in read_all(caller)] == [204, 204]
        wait_until(lambda: not state.connections)


def test_a_late_answer_to_a_body_that_did_not_come_whole_closes_the_connection():
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf"
    with (
        reading(late_app(0.2, threading.Event())) as (port, _),
        socket.create_connection(("127.0.0.1", port), WAIT) as caller,
    ):
        caller.sendall(head)
        [(status, headers, _body)] = read_all(caller)
    assert (status, headers["connection"]) == (204, "close")


@pytest.mark.parametrize("end", [lambda caller: caller.sendall(GET), lambda caller: caller.shutdown(socket.SHUT_WR)])
def test_a_late_answer_that_closes_the_connection_waits_without_a_parser(end):
    done = threading.Event()
    with reading(late_app(0.3, done)) as (port, state), socket.create_connection(("127.0.0.1", port), WAIT) as caller:
        caller.sendall(LAST)
        assert done.wait(WAIT)
        [connected] = state.connections
        wait_until(lambda: connected._http is None)
        end(caller)
        assert [status for status, _headers, _body in read_all(caller)] == [204]
        wait_until(lambda: not state.connections)


def test_a_caller_who_goes_away_before_a_late_answer_holds_nothing():
    done = threading.Event()
    with reading(late_app(2 * WAIT, done)) as (port, state):
        with socket.create_connection(("127.0.0.1", port), WAIT) as caller:
            # Closed so, it is reset: after a plain end the caller may still read, and the answer is waited for.
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.sendall(GET)
            assert done.wait(WAIT)
        wait_until(lambda: not state.connections)


def test_a_late_answer_is_sent_at_once_when_the_server_stops():
    done = threading.Event()
    with (
        reading(late_app(2 * WAIT, done)) as (port, state),
        socket.create_connection(("127.0.0.1", port), WAIT) as caller,
    ):
        caller.sendall(GET)
        assert done.wait(WAIT)
        [connected] = state.connections
        connected._loop.call_soon_threadsafe(connected.shutdown)
        assert [status for status, _headers, _body in read_all(caller)] == [204]


def test_a_connection_that_has_asked_for_nothing_has_no_parser():
    with (
        reading(late_app(0, threading.Event())) as (port, state),
        socket.create_connection(("127.0.0.1", port), WAIT) as caller,
    ):
        wait_until(lambda: state.connections)
        [connected] = state.connections
        assert connected._http is None
        caller.sendall(LAST)
        assert [status for status, _headers, _body in read_all(caller)] == [204]


def chunked(request, size):
    """The same request, with its body in chunks of this size."""
    head, _, form = request.partition(b"\r\n\r\n")
    head = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head)
    parts = [form[at : at + size] for at in range(0, len(form), size)]
    return head + b"\r\n\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_body_in_chunks_is_read_and_the_next_request_after_it(server, buy, size):
    request, orders = buy
    answers = send(server, chunked(request, size) + chunked(request, size), LAST)
    assert [status for status, _, _ in answers] == [200, 200, 200]
    assert orders() == 2


def test_a_body_in_chunks_may_come_byte_by_byte(server, buy):
    request, orders = buy
    with connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in chunked(request, 5):
            connection.sendall(bytes([byte]))
        connection.sendall(LAST)
        answers = read_all(connection)
    assert [status for status, _, _ in answers] == [200, 200]
    assert orders() == 1


@pytest.mark.parametrize(
    "end", [b"", b"0\r\n", b"zz\r\n\r\n", b"0\r\nIdempotency-Key: y\r\n\r\n", b"1\r\nxy\r\n0\r\n\r\n"]
)
def test_a_body_in_chunks_that_does_not_end_as_it_must_executes_nothing(server, buy, end):
    request, orders = buy
    whole = chunked(request, 10)
    with connect(server) as connection:
        connection.sendall(whole.removesuffix(b"0\r\n\r\n") + end)
        connection.shutdown(socket.SHUT_WR)
        answers = read_all(connection)
    assert [status for status, _, _ in answers] in ([], [400])
    assert orders() == 0


def test_extensions_and_trailers_of_chunks_are_ignored(server, buy):
    request, orders = buy
    body = chunked(request, 30).replace(
        b"\r\n0\r\n\r\n", b"\r\n0;a\r\nAuthorization: Basic x\r\nHost: elsewhere\r\n\r\n"
    )
    assert [status for status, _, _ in send(server, body, body, LAST)] == [200, 200, 200]
    assert orders() == 2


@pytest.mark.parametrize("part", [b"1", b"1;" + b"x" * 100, b"1\r\n", b"1\r\nx", b"1\r\nx\r\n0\r\nX: y"])
def test_chunks_that_come_too_slowly_are_408_and_not_executed(serving, quick, part):
    with serving(body_seconds=0.1) as server:
        auth = server.account()
        id = server.registration(auth)
        request = chunked(call(auth, "POST", f"/exchanges/{id}/buy", b"currency=USD&asset=BTC&amount=0.001&key="), 10)
        [(status, headers, _)] = send(server, request.removesuffix(b"0\r\n\r\n") + part)
        assert (status, headers["connection"]) == (408, "close")
        assert requests.get(f"{server.url}/exchanges/{id}/orders", auth=auth, timeout=WAIT).json() == []
        assert refused(server, "body_timeout") == 1


@pytest.mark.parametrize("form", [b"1\r\nx\r\n" * 70_000, b"1;" + b"x" * 500_000, b"0\r\n" + b"X: y\r\n" * 70_000])
def test_chunks_are_refused_when_they_are_too_large_in_all(server, buy, form):
    request, orders = buy
    head, _, _ = chunked(request, 10).partition(b"\r\n\r\n")
    with connect(server) as connection:
        received = []
        reader = threading.Thread(target=lambda: received.extend(read_all(connection)))
        reader.start()
        # It is refused within a number of bytes, the rest finds the connection closed.
        with suppress(OSError):
            connection.sendall(head + b"\r\n\r\n" + form)
        reader.join()
    assert [(status, json.loads(body)["code"]) for status, _, body in received] == [(413, "too_large")]
    assert orders() == 0


def count_calls(calls):
    """An application that notes its calls, and reads no body."""

    async def app(scope, _receive, send):
        calls.append(scope["path"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


@pytest.mark.parametrize("head", [b"Content-Length: 100\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"])
def test_a_call_that_is_answered_before_its_body_came_whole_ends_without_an_error(head, capsys):
    app = count_calls([])
    with reading(app) as (port, state), socket.create_connection(("127.0.0.1", port), WAIT) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\n" + head)
        [(status, headers, _)] = read_all(connection)
        wait_until(lambda: not state.tasks)
    assert (status, headers["connection"]) == (204, "close")
    assert "Traceback" not in capsys.readouterr().err


@pytest.fixture
def without_collector():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
def test_the_memory_of_a_connection_is_free_as_soon_as_it_is_lost():
    app = count_calls([])
    with reading(app) as (port, state), socket.create_connection(("127.0.0.1", port), WAIT) as connection:
        connection.sendall(GET)
        assert connection.recv(100)
        [connected] = state.connections
        http = weakref.ref(connected._http)
        del connected
        connection.close()
        wait_until(lambda: http() is None)


@pytest.mark.parametrize("form", [b"x\r\n", b"1;\n", b"10001\r\n"])
def test_a_call_that_reads_no_body_is_not_made_when_its_body_is_refused_at_once(form):
    calls = []
    head = b"DELETE /one HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with reading(count_calls(calls)) as (port, _), socket.create_connection(("127.0.0.1", port), WAIT) as connection:
        connection.sendall(head + form)
        [(status, _, _)] = read_all(connection)
    assert status in {400, 413}
    assert calls == []


def test_what_the_parser_refuses_after_it_began_the_call_is_answered_once_and_not_executed(monkeypatch):
    """A coding like this one is refused before the parser sees it, so that check is left out here."""
    calls = []
    monkeypatch.setattr(protocol, "check_head", lambda head: Head(head, 0))
    bad = b"POST /bad HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\t\r\n\r\n"
    with reading(count_calls(calls)) as (port, _), socket.create_connection(("127.0.0.1", port), WAIT) as connection:
        connection.sendall(b"GET /good HTTP/1.1\r\nHost: localhost\r\n\r\n" + bad)
        answers = read_all(connection)
    assert [status for status, _, _ in answers] == [204, 400]
    assert calls == ["/good"]


def test_an_absolute_uri_is_answered_as_its_path(server):
    host = server.url.removeprefix("http://")
    request = f"GET http://{host}/health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    assert [status for status, _, _ in send(server, request)] == [200]
