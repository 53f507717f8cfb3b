"""Credentials go to the server and nowhere else: no proxy for plain http, no .netrc, no log, no repr, no pickle."""

from __future__ import annotations

import copy
import http.client
import logging
import pickle
import traceback

import pytest
import requests

from bitmm.xwrap._api import Submission
from bitmm.xwrap.client import Backend, XWrap
from bitmm.xwrap.errors import APIError, InvalidRequest, Unavailable
from bitmm.xwrap.transport import Request, Transport
from tests.support.client_servers import answer_well
from tests.support.marked_secrets import BASIC, KEY, NEEDLES, PASSWORD, SECRET, USER
from tests.support.raw_server import TLS, Connection, raw_server


@pytest.mark.parametrize("session", [None, "caller's"])
def test_netrc_is_never_read(server, tmp_path, monkeypatch, session):
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\ndefault login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert requests.utils.get_netrc_auth(server.url) == ("somebody", "else")
    xwrap = XWrap(server.url, session=session and requests.Session())
    xwrap.list_exchanges()
    Backend(1, USER, PASSWORD, xwrap).balance()
    assert [request.headers.get("authorization") for request in server.requests] == [None, BASIC]


def test_plain_http_takes_no_proxy_of_the_environment(server, tunnel, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, tunnel.url)
    assert Backend(1, USER, PASSWORD, server.url).buy("USD", "BTC", "0.1")["id"] == 41
    assert (tunnel.connections, server.posts) == (0, 1)


def test_https_goes_through_the_proxy_of_the_environment_which_sees_no_credentials(secure, tunnel, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "authority.pem"))
    backend = Backend(1, USER, PASSWORD, secure.url)
    assert backend.buy("USD", "BTC", "0.1")["id"] == 41
    assert backend.balance()
    [connect] = tunnel.requests
    assert (connect.method, connect.path) == ("CONNECT", f"127.0.0.1:{secure.port}")
    assert "authorization" not in connect.headers
    assert len(secure.requests) == 2


def test_no_proxy_is_respected(secure, tunnel, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "authority.pem"))
    assert Backend(1, USER, PASSWORD, secure.url).balance()
    assert tunnel.connections == 0


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"HTTP/1.1 407 Who\r\n\r\n", b"nonsense\r\n\r\n", b""]
)
def test_a_proxy_that_refuses_means_that_nothing_was_sent(secure, monkeypatch, answer):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "authority.pem"))

    def refuse(connection: Connection) -> None:
        connection.send(answer)
        connection.hang_up()

    with raw_server(refuse) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(Unavailable) as caught:
            Backend(1, USER, PASSWORD, secure.url, timeout=5).buy("USD", "BTC", "0.1")
        assert caught.value.may_have_executed is False
    assert secure.requests == []


@pytest.mark.parametrize("script", [Connection.wait, lambda conn: conn.drip(b"HTTP/1.1 200 Connec" * 100)])
def test_a_proxy_that_hesitates_ends_in_time(secure, monkeypatch, script):
    with raw_server(script) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(Unavailable, match="time was up"):
            Backend(1, USER, PASSWORD, secure.url, timeout=0.5).buy("USD", "BTC", "0.1")


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_certificates_of_the_environment_are_trusted(secure, monkeypatch, name):
    monkeypatch.setenv(name, str(TLS / "authority.pem"))
    assert Backend(1, USER, PASSWORD, secure.url).balance()


def secret(text: str) -> bool:
    return any(needle in text for needle in NEEDLES)


def test_the_needles_find_what_they_look_for():
    assert all(
        secret(f"…{text}…") for text in (PASSWORD, KEY, SECRET, BASIC, f"apisecret={requests.utils.quote(SECRET)}")
    )


def test_no_repr_shows_a_secret(server):
    xwrap = XWrap(server.url)
    backend = Backend(1, USER, PASSWORD, xwrap)
    request = Request("POST", f"{server.url}/x?signature={SECRET}", {"Authorization": BASIC}, SECRET.encode())
    answer = Transport().send(Request("GET", f"{server.url}/list_exchanges/", {}))
    for thing in (xwrap, backend, request, answer, [backend], {"request": request}):
        assert not secret(f"{thing!r} {thing!s}")
    assert repr(xwrap) == f"XWrap({server.url!r})"
    assert repr(backend) == f"<Backend 1 (not asked) at {server.url}>"
    assert repr(request) == f"<Request POST {server.url}/x>"
    assert repr(answer) == "<Response 200, 2 bytes>"


def test_no_repr_of_a_submission_shows_a_secret():
    request = Request("POST", "https://xwrap.test/exchanges/1/buy", {"Authorization": BASIC}, b"amount=1")
    submission = Submission(request, "k1", {"address": KEY}, "/exchanges/1/orders/", {"Authorization": BASIC}, 0.0)
    assert repr(submission) == "<Submission <Request POST https://xwrap.test/exchanges/1/buy>>"


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_connections_are_neither_pickled_nor_copied(way):
    with pytest.raises(TypeError, match="connections"):
        way(Transport())


def test_an_error_is_pickled_with_its_facts_and_no_secret(server):
    with pytest.raises(APIError) as caught:
        Backend(1, USER, PASSWORD, server.url).send_to_address("BTC", 0.1, KEY)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), vars(again)) == (InvalidRequest, str(caught.value), vars(caught.value))
    assert not secret(pickle.dumps(caught.value).decode("latin-1"))


@pytest.mark.parametrize("script", [answer_well, Connection.reset, lambda conn: conn.answer("<h1>", "502 Bad Gateway")])
def test_no_log_output_or_traceback_shows_a_secret(script, caplog, capfd, monkeypatch):
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    caplog.set_level(logging.DEBUG)
    told = []
    with raw_server(script) as server:
        xwrap = XWrap(server.url, timeout=1)
        backend = Backend(1, USER, PASSWORD, xwrap)
        for call in (
            backend.balance,
            lambda: backend.buy("USD", "BTC", "0.1"),
            lambda: xwrap.create_backend(USER, PASSWORD, "kraken", "", KEY, SECRET),
        ):
            try:
                call()
            except APIError as error:
                told += traceback.format_exception(error)
    output = capfd.readouterr()
    everything = caplog.text + output.out + output.err + "".join(told)
    assert "urllib3" in everything
    assert not secret(everything)
