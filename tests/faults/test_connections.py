"""Faults before a request can leave: certainly nothing happened, and it is said so in time."""

from __future__ import annotations

import errno
import socket
import threading
import time

import pytest

from bitmm.xwrap import _http
from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import InvalidRequest, OutcomeUnknown, Unavailable
from bitmm.xwrap.transport import Request, Transport
from tests.support.marked_secrets import PASSWORD, USER
from tests.support.raw_server import JSON, TLS, Connection, raw_server

TIMEOUT = 0.7
LATE = 0.5
ORDER = '{"id": 41, "amount": "0.1", "status": "filled"}'


def order(connection: Connection) -> None:
    connection.answer(ORDER, "200 OK", JSON)


def refuse_in_time(url: str, words: str, **how: object) -> None:
    """A read and an order at `url` are Unavailable, in these words, in time, the order with its key."""
    backend = Backend(1, USER, PASSWORD, url, timeout=TIMEOUT, **how)
    for call in (backend.balance, lambda: backend.buy("USD", "BTC", "0.1", key="mine")):
        start = time.monotonic()
        with pytest.raises(Unavailable, match=words) as caught:
            call()
        assert time.monotonic() - start < TIMEOUT + LATE
        assert caught.value.may_have_executed is False
        assert caught.value.retryable is True
    assert caught.value.key == "mine"


@pytest.fixture
def trusted(monkeypatch):
    """The environment trusts the authority of these tests."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "authority.pem"))


def test_a_refused_connection():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refuse_in_time(f"http://127.0.0.1:{closed.getsockname()[1]}", "connection refused")


def test_a_network_that_is_not_there(monkeypatch):
    def connect(*_):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", connect)
    refuse_in_time("https://127.0.0.1:1", "Network is unreachable")


def test_a_name_that_is_not_known(monkeypatch):
    def unknown(host, *_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    refuse_in_time("https://no-such-host.invalid", "its name is not known")


def test_a_name_that_is_looked_up_for_ever(monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(10))
    try:
        refuse_in_time("https://slow-host.invalid", "time was up")
    finally:
        over.set()


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_a_system_that_gives_no_thread_to_look_a_name_up(monkeypatch, error):
    def start(*_):
        raise error

    monkeypatch.setattr(_http, "start_new_thread", start)
    refuse_in_time("https://127.0.0.1:1", "no thread|no memory")


def test_a_thread_that_has_no_memory_to_begin_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(_http, "start_new_thread", lambda *_: None)
    refuse_in_time("https://127.0.0.1:1", "time was up")


def test_a_look_up_that_has_no_memory(monkeypatch):
    def look_up(*_, **__):
        raise MemoryError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    refuse_in_time("https://no-such-host.invalid", "no memory")


def test_memory_that_ends_before_a_request_leaves(monkeypatch):
    def connect(*_):
        raise MemoryError

    with raw_server(order) as server:
        monkeypatch.setattr(socket.socket, "connect", connect)
        refuse_in_time(server.url, "no memory")


def test_memory_that_ends_after_an_order_has_left(monkeypatch):
    def read(*_):
        raise MemoryError

    monkeypatch.setattr(_http.DeadlineReader, "readinto", read)
    with raw_server(order) as server:
        with pytest.raises(OutcomeUnknown, match="no memory") as caught:
            Backend(1, USER, PASSWORD, server.url, timeout=TIMEOUT).buy("USD", "BTC", "0.1", key="mine")
        assert caught.value.key == "mine"
        assert server.posts == 1


def test_a_name_that_is_no_name():
    refuse_in_time(f"https://{'a' * 70}.test", "its name is not known")


def test_a_connection_that_is_never_accepted():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(address)
        refuse_in_time(f"http://127.0.0.1:{address[1]}", "time was up")
        for sock in waiting:
            sock.close()


def test_the_second_address_of_a_name_is_tried_when_the_first_hangs(monkeypatch):
    look_up = socket.getaddrinfo
    with raw_server(order) as server, socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        hanging = look_up(*full.getsockname(), type=socket.SOCK_STREAM)
        working = look_up("127.0.0.1", server.port, type=socket.SOCK_STREAM)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hanging + working)
        assert Backend(1, USER, PASSWORD, server.url, timeout=2).buy("USD", "BTC", "0.1")["id"] == 41
        for sock in waiting:
            sock.close()


@pytest.mark.usefixtures("trusted")
def test_a_trusted_certificate_is_accepted():
    with raw_server(order, certificate="good") as server:
        assert Backend(1, USER, PASSWORD, server.url).buy("USD", "BTC", "0.1")["id"] == 41


@pytest.mark.parametrize(
    ("certificate", "words"),
    [("elsewhere", "certificate.*IP address mismatch"), ("expired", "certificate has expired")],
)
@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_host_or_time(certificate, words):
    with raw_server(order, certificate=certificate) as server:
        refuse_in_time(server.url, words)
        assert server.requests == []


def test_a_certificate_of_an_unknown_authority(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    with raw_server(order, certificate="good") as server:
        refuse_in_time(server.url, "certificate is not accepted")
        assert server.requests == []


def test_a_bundle_of_certificates_that_is_not_there(monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file.pem")
    with raw_server(order, certificate="good") as server:
        refuse_in_time(server.url, "no connection")
        assert server.requests == []


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("script", [Connection.wait, lambda conn: conn.drip(b"\x16\x03\x03\x40\x00" + bytes(1000))])
def test_a_tls_handshake_that_never_ends(script):
    with raw_server(order, on_connect=script) as server:
        refuse_in_time(server.url.replace("http", "https"), "time was up")
        assert server.requests == []


@pytest.mark.usefixtures("trusted")
def test_tls_where_none_is_spoken():
    with raw_server(order, on_connect=lambda conn: conn.answer("no TLS here", "400 Bad Request")) as server:
        refuse_in_time(server.url.replace("http", "https"), "TLS failed")
        assert server.requests == []


@pytest.mark.parametrize(
    "url", ["http://xwrap.test", "http://127.0.0.1.xwrap.test", "http://127.1", "http://2130706433", "http://[::2]"]
)
def test_plain_http_to_another_machine_is_refused_unless_asked_for(url, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("it was looked up"))
    with pytest.raises(InvalidRequest, match="insecure=True"):
        Backend(1, USER, PASSWORD, url)
    assert Backend(1, USER, PASSWORD, url, insecure=True).id == 1
    monkeypatch.setenv("XWRAP_INSECURE", "yes")
    with pytest.raises(InvalidRequest, match="insecure=True"):
        Backend(1, USER, PASSWORD, url)
    monkeypatch.setenv("XWRAP_INSECURE", "1")
    assert Backend(1, USER, PASSWORD, url).id == 1


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "[::1]", "xwrap.localhost"])
def test_plain_http_to_this_machine_needs_no_leave(host):
    assert Backend(1, USER, PASSWORD, f"http://{host}:8000/").id == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://ann:secret@xwrap.test",
        "https://ann@xwrap.test",
        "http://localhost:80@xwrap.test",
        "http://localhost\\@xwrap.test",
        "https://xwrap.test?x=1",
        "https://xwrap.test/#a",
        "ftp://xwrap.test",
        "localhost:8000",
        "https://",
        "https://xwrap.test:99999",
        "https://xwrap.test:port",
        "https://xw rap.test",
        "https://*.test",
        "//xwrap.test",
        "file:///etc/passwd",
        " ",
        b"https://xwrap.test",
        8000,
    ],
)
def test_an_address_that_is_odd_is_refused(url, monkeypatch):
    monkeypatch.delenv("XWRAP_URL", raising=False)
    with pytest.raises(InvalidRequest) as caught:
        Backend(1, USER, PASSWORD, url)
    assert "secret" not in str(caught.value)


def test_a_body_that_nobody_takes_ends_in_time():
    def deaf(connection: Connection) -> None:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.wait()

    with raw_server(order, on_connect=deaf) as server:
        start = time.monotonic()
        with pytest.raises(OutcomeUnknown, match="time was up"):
            Transport(timeout=TIMEOUT).send(Request("POST", f"{server.url}/", {}, bytes(12_000_000)))
        assert time.monotonic() - start < TIMEOUT + LATE
