"""Transport as the exchange adapters use it: a complete request out, a complete answer back."""

from __future__ import annotations

import contextlib
import gzip
import socket
from time import monotonic

import pytest
import responses

from bitmm.xwrap.errors import APIError, OutcomeUnknown, Unavailable
from bitmm.xwrap.transport import MAX_ANSWER, Request, Transport
from tests.support.raw_server import JSON, Connection, raw_server


def echo(connection: Connection) -> None:
    request = connection.request
    connection.answer(request.body or request.path, "200 OK", f"X-Method: {request.method}")


@pytest.fixture
def server():
    with raw_server(echo) as server:
        yield server


@pytest.mark.parametrize(
    "target",
    ["/", "/0/private/Balance", "/a%2Fb%20c?x=%7E1&y=a+b&x=2", "/api?z=1&a=2&signature=%2B%2F%3D", "/~a/;b=c,d"],
)
def test_the_target_goes_out_as_it_is(server, target):
    assert Transport().send(Request("GET", server.url + target, {})).body == target.encode()


@pytest.mark.parametrize("body", [b"nonce=1&pair=XBTUSD", '{"ä": 1}'.encode(), bytes(range(256)), b"x" * 100_000])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_body_goes_out_as_it_is(server, method, body):
    answer = Transport().send(Request(method, f"{server.url}/x", {"Content-Type": "text/plain"}, body))
    assert (answer.status, answer.body, answer.headers["x-METHOD"]) == (200, body, method)
    assert server.requests[0].headers["content-length"] == str(len(body))


def test_the_headers_go_out_as_they_are_and_no_others_of_a_session(server):
    Transport().send(
        Request("POST", f"{server.url}/", {"API-Key": "k", "API-Sign": "s=", "Accept-Encoding": "gzip"}, b"")
    )
    [request] = server.requests
    assert {name: request.headers[name] for name in ("api-key", "api-sign", "accept-encoding", "content-length")} == {
        "api-key": "k",
        "api-sign": "s=",
        "accept-encoding": "gzip",
        "content-length": "0",
    }
    assert "cookie" not in request.headers
    assert "authorization" not in request.headers


@pytest.mark.parametrize("status", [200, 204, 304, 302, 400, 404, 418, 429, 500, 503])
def test_every_status_is_an_answer(status):
    with raw_server(lambda conn: conn.answer("", f"{status} Said", "Location: /elsewhere")) as server:
        assert Transport().send(Request("GET", f"{server.url}/", {})).status == status
        assert len(server.requests) == 1


def test_one_transport_reaches_many_servers(server):
    with raw_server(lambda conn: conn.answer('{"a": 1.10}', "200 OK", JSON)) as other:
        transport = Transport()
        for _ in range(3):
            assert transport.send(Request("GET", f"{server.url}/here", {})).body == b"/here"
            assert str(transport.send(Request("GET", f"{other.url}/there", {})).json()["a"]) == "1.10"
        assert (server.connections, other.connections) == (1, 1)


def test_an_address_without_a_path_is_the_root(server):
    assert Transport().send(Request("GET", server.url, {})).body == b"/"


def test_a_compressed_answer_is_unpacked():
    packed = gzip.compress(b'{"a": 1}')
    with raw_server(lambda conn: conn.answer(packed, "200 OK", "Content-Encoding: gzip")) as server:
        assert Transport().send(Request("GET", f"{server.url}/", {})).json() == {"a": 1}


@pytest.mark.parametrize("more", [0, 1])
def test_an_answer_of_16_mib_is_taken_and_one_byte_more_is_not(more):
    def script(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(16):
            connection.send(b"100000\r\n" + bytes(0x100000) + b"\r\n")
        connection.send((b"1\r\n \r\n" if more else b"") + b"0\r\n\r\n")

    with raw_server(script) as server:
        if more:
            with pytest.raises(OutcomeUnknown, match="16 MiB") as caught:
                Transport().send(Request("GET", f"{server.url}/", {}))
            assert caught.value.code == "answer_too_big"
        else:
            assert len(Transport().send(Request("GET", f"{server.url}/", {})).body) == MAX_ANSWER


def test_the_deadline_may_be_given_for_one_call():
    with raw_server(Connection.wait) as server, pytest.raises(OutcomeUnknown, match="time was up") as caught:
        Transport(timeout=60).send(Request("GET", f"{server.url}/", {}), timeout=0.2)
    assert caught.value.code == "no_answer"


@pytest.mark.parametrize("timeout", [0, -1])
def test_without_time_nothing_is_sent(server, timeout):
    with pytest.raises(Unavailable):
        Transport().send(Request("POST", f"{server.url}/", {}, b"x"), timeout=timeout)
    assert server.requests == []


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "nonsense", "", "https:///x", "http://[::1", "http://127.0.0.1:x/"]
)
def test_an_address_that_is_none_is_never_sent_to(url):
    with pytest.raises(Unavailable):
        Transport().send(Request("POST", url, {}, b"x"))


@pytest.mark.parametrize("headers", [{"A": "b\r\nC: d"}, {"A\n": "b"}, {"A": "ключ"}, {"": "b"}])
def test_a_header_that_is_none_is_never_sent(server, headers):
    with pytest.raises(Unavailable):
        Transport().send(Request("POST", f"{server.url}/", headers, b"x"))
    assert server.requests == []


def test_after_close_it_connects_anew(server):
    transport = Transport()
    for _ in range(2):
        assert transport.send(Request("GET", f"{server.url}/x", {})).body == b"/x"
        transport.close()
    assert server.connections == 2


@responses.activate
def test_responses_stands_in_for_the_network_and_shows_what_was_sent():
    responses.post("https://exchange.test/order", json={"id": 1}, status=201, headers={"X-Left": "3"})
    answer = Transport().send(Request("POST", "https://exchange.test/order?a=1", {"API-Key": "k"}, b"amount=1"))
    assert (answer.status, answer.json(), answer.headers["x-left"]) == (201, {"id": 1}, "3")
    request = responses.calls[0].request
    assert (request.url, request.body) == ("https://exchange.test/order?a=1", "amount=1")
    assert request.headers["API-Key"] == request.headers["api-key"] == "k"
    with pytest.raises(APIError):
        Transport().send(Request("GET", "https://exchange.test/else", {}))


def test_work_with_an_end_is_over_by_then_and_sends_nothing_after_it(server):
    transport = Transport(timeout=30)
    with pytest.raises(Unavailable):
        transport.until(monotonic() - 1).send(Request("GET", f"{server.url}/late", {}))
    assert transport.until(monotonic() + 30).send(Request("GET", f"{server.url}/early", {})).body == b"/early"
    assert transport.send(Request("GET", f"{server.url}/always", {})).body == b"/always"
    assert [request.path for request in server.requests] == ["/early", "/always"]


def test_what_has_not_left_when_a_call_is_given_up_never_leaves():
    """The system would go on sending it, and the other side would have it minutes after its outcome was asked for."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # room for a part of the request only
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        host, port = listener.getsockname()
        with pytest.raises(OutcomeUnknown):
            Transport(timeout=0.3).send(Request("POST", f"http://{host}:{port}/order", {}, b"a" * 20_000))
        connection, _ = listener.accept()
        arrived = b""
        with connection, contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                arrived += piece
    assert len(arrived) < 20_000
