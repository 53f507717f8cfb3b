"""The fast path reads and sends what http.client would, and is taken where it can be."""

from __future__ import annotations

import pytest

from bitmm.xwrap import _fast_path
from bitmm.xwrap.client import XWrap
from bitmm.xwrap.errors import OutcomeUnknown
from bitmm.xwrap.transport import Request, Transport
from tests.stress.fast_path import broken, compare
from tests.support.raw_server import JSON, raw_server

AGENT = {"User-Agent": "bitmm", "Accept-Encoding": "gzip, deflate"}


def test_random_answers_are_read_as_http_client_reads_them():
    found = compare(0, 20_000)
    assert found.differences == []
    assert found.plain > 4_000


@pytest.mark.parametrize(("name", "first"), [("lines", 1300), ("lengths", 100), ("last", 800)])
def test_a_broken_fast_path_is_found(name, first):
    with broken(name):
        assert compare(first, 100).differences


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/balance?a=b%20c", AGENT),
        Request("GET", "/balance", {}),
        Request("DELETE", "/orders/1", AGENT | {"Authorization": "Basic YTpi"}),
        Request("DELETE", "/orders/1", AGENT, b"a=b"),
        Request("POST", "/buy", AGENT | {"Content-Type": "application/json"}, b'{"amount": "1"}'),
        Request("POST", "/buy", AGENT, "ü=1".encode()),
        Request("POST", "/buy", AGENT, b""),
        Request("POST", "/buy", AGENT),
        Request("PUT", "/deadman", {"accept-encoding": "br"}, b"x" * 50_000),
        Request("GET", "/odd", AGENT | {"X-Latin": "\xe9", "X-Empty": ""}),
        Request("GET", "/host", AGENT | {"host": "xwrap.example"}),
        Request("GET", "/folded", AGENT | {"X-Folded": "one\r\n two"}),
        Request("HEAD", "/balance", AGENT),
    ],
    ids=lambda request: f"{request.method} {request.url} {len(request.headers)}",
)
def test_the_second_request_of_a_connection_is_the_first_one_byte_by_byte(request_):
    """The first one of a connection is always sent by http.client."""
    received = []

    def answer(connection):
        received.append(connection.request)
        connection.answer("{}" if connection.request.method != "HEAD" else "", "200 OK", JSON)

    with raw_server(answer) as server:
        transport = Transport()
        request = request_._replace(url=server.url + request_.url)
        assert transport.send(request).status == transport.send(request).status == 200
        assert server.connections == 1
        transport.close()
    first, second = received
    assert first == second
    assert list(first.headers) == list(second.headers)


@pytest.mark.parametrize(
    "header", [{"X": "one\r\nInjected: two"}, {"X\r\nInjected": "two"}, {"X": "one\ntwo"}, {"": "x"}]
)
def test_a_header_with_a_line_break_never_leaves(header):
    with raw_server(lambda connection: connection.answer("{}")) as server:
        transport = Transport()
        transport.send(Request("GET", server.url + "/", AGENT))
        with pytest.raises(Exception) as error:
            transport.send(Request("GET", server.url + "/", AGENT | header))
        assert "no connection" in str(error.value)
        assert len(server.requests) == 1
        transport.close()


def test_calls_of_the_client_take_the_fast_path_but_the_first(monkeypatch):
    taken = []
    receive = _fast_path._receive
    monkeypatch.setattr(_fast_path, "_receive", lambda sock: taken.append(receive(sock)) or taken[-1])
    with raw_server(lambda connection: connection.answer("[]", "200 OK", JSON)) as server:
        xwrap = XWrap(server.url)
        for _ in range(3):
            assert xwrap.list_exchanges() == []
    assert [type(answer) for answer in taken] == [_fast_path.CompleteAnswer] * 2


def test_an_answer_that_drips_after_its_head_ends_with_the_call():
    def answer(connection):
        if len(server.requests) == 1:
            connection.answer("{}")
        else:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            connection.drip(b" " * 100)

    with raw_server(answer) as server:
        transport = Transport(timeout=0.3)
        transport.send(Request("GET", server.url + "/", AGENT))
        with pytest.raises(OutcomeUnknown, match="the time was up"):
            transport.send(Request("GET", server.url + "/", AGENT))
        transport.close()
