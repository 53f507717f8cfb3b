"""Credentials go to the server and nowhere else: no proxy for plain http, no .netrc, no log, no repr, no pickle."""

from __future__ import annotations

import base64
import copy
import http.client
import logging
import pickle
import socket
import threading
import traceback
from contextlib import closing, suppress

import pytest
import requests
from requests.adapters import HTTPAdapter

from bitmm.xwrap.client import Backend, XWrap
from bitmm.xwrap.errors import APIError, InvalidRequest, OutcomeUnknown, Unavailable
from bitmm.xwrap.transport import Request, Transport
from tests.support.marked_secrets import BASIC, KEY, NEEDLES, PASSWORD, SECRET, USER
from tests.support.raw_server import JSON, TLS, Line, Server, serving

ORDER = '{"id": 41, "amount": "0.1", "status": "filled"}'
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def proper(line: Line) -> None:
    if line.seen.path == "/list_exchanges/":
        line.answer("[]", "200 OK", JSON)
    else:
        line.answer('{"BTC": "1.5"}' if line.seen.method == "GET" else ORDER, "200 OK", JSON)


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """An environment that says nothing about proxies and certificates."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in BUNDLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server():
    with serving(proper) as server:
        yield server


@pytest.fixture
def secure():
    with serving(proper, certificate="good") as server:
        yield server


class Tunnel(Server):
    """A proxy: it answers CONNECT, and then carries bytes."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n") -> None:
        self._answer = answer
        super().__init__(self._carry)

    def _carry(self, line: Line) -> None:
        line.send(self._answer)
        host, _, port = line.seen.path.partition(":")
        with closing(socket.create_connection((host, int(port)))) as far:
            back = threading.Thread(target=self._copy, args=(far, line.sock), daemon=True)
            back.start()
            self._copy(line.sock, far)
            back.join(10)
        line.hang_up()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        # Also after an error: the other side waits for the end, and the test for the other side.
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def tunnel():
    with closing(Tunnel()) as proxy:
        yield proxy


# --- the environment --------------------------------------------------------------------------------------------------


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
    assert [seen.headers.get("authorization") for seen in server.seen] == [None, BASIC]


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
    [connect] = tunnel.seen
    assert (connect.method, connect.path) == ("CONNECT", f"127.0.0.1:{secure.port}")
    assert "authorization" not in connect.headers
    assert len(secure.seen) == 2


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

    def refuse(line: Line) -> None:
        line.send(answer)
        line.hang_up()

    with serving(refuse) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(Unavailable) as caught:
            Backend(1, USER, PASSWORD, secure.url, timeout=5).buy("USD", "BTC", "0.1")
        assert caught.value.may_have_executed is False
    assert secure.seen == []


@pytest.mark.parametrize("play", [Line.wait, lambda line: line.drip(b"HTTP/1.1 200 Connec" * 100)])
def test_a_proxy_that_hesitates_ends_in_time(secure, monkeypatch, play):
    with serving(play) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(Unavailable, match="time was up"):
            Backend(1, USER, PASSWORD, secure.url, timeout=0.5).buy("USD", "BTC", "0.1")


@pytest.mark.parametrize("name", BUNDLES)
def test_certificates_of_the_environment_are_trusted(secure, monkeypatch, name):
    monkeypatch.setenv(name, str(TLS / "authority.pem"))
    assert Backend(1, USER, PASSWORD, secure.url).balance()


# --- a caller's session -----------------------------------------------------------------------------------------------


def test_a_session_brings_its_certificates_proxies_and_headers(secure, tunnel):
    session = requests.Session()
    session.verify = str(TLS / "authority.pem")
    session.proxies["https"] = tunnel.url
    session.headers["X-Team"] = "blue"
    session.auth = ("somebody", "else")
    backend = Backend(1, USER, PASSWORD, secure.url, session=session)
    assert backend.buy("USD", "BTC", "0.1")["id"] == 41
    assert [seen.path for seen in tunnel.seen] == [f"127.0.0.1:{secure.port}"]
    [seen] = secure.seen
    assert (seen.headers["x-team"], seen.headers["authorization"]) == ("blue", BASIC)
    assert "x-team" not in tunnel.seen[0].headers


def test_a_session_keeps_cookies_and_calls_its_hooks():
    def play(line: Line) -> None:
        line.answer("[]", "200 OK", JSON, "Set-Cookie: seat=12; Path=/")

    hooked = []
    session = requests.Session()
    session.hooks["response"].append(lambda response, **_: hooked.append(response.json()))
    with serving(play) as server:
        xwrap = XWrap(server.url, session=session)
        xwrap.list_exchanges()
        assert xwrap.list_exchanges() == []
        assert [seen.headers.get("cookie") for seen in server.seen] == [None, "seat=12"]
    assert hooked == [[], []]


def test_without_a_session_no_cookie_is_kept():
    def play(line: Line) -> None:
        line.answer("[]", "200 OK", JSON, "Set-Cookie: seat=12; Path=/")

    with serving(play) as server:
        xwrap = XWrap(server.url)
        xwrap.list_exchanges()
        xwrap.list_exchanges()
        assert [seen.headers.get("cookie") for seen in server.seen] == [None, None]


class Elsewhere(HTTPAdapter):
    """A caller's own adapter."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error
        self.requests: list[requests.PreparedRequest] = []

    def send(self, request, **how):
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        return super().send(request, **how)


def test_a_session_with_an_adapter_of_its_own_is_sent_through_it(server):
    session, adapter = requests.Session(), Elsewhere()
    session.mount(server.url, adapter)
    # No marked password: the connections of that adapter are its own, and talk when http.client is told to.
    backend = Backend(1, USER, "not marked", server.url, session=session)
    assert backend.buy("USD", "BTC", "0.1")["id"] == 41
    assert [request.url for request in adapter.requests] == [f"{server.url}/exchanges/1/buy"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (requests.ConnectTimeout("x"), Unavailable),
        (requests.exceptions.InvalidProxyURL("x"), Unavailable),
        (requests.ReadTimeout("x"), OutcomeUnknown),
        (requests.ConnectionError("x"), OutcomeUnknown),
        (requests.exceptions.ChunkedEncodingError("x"), OutcomeUnknown),
        (requests.RequestException("x"), OutcomeUnknown),
    ],
)
def test_what_another_adapter_raises_is_unknown_unless_it_is_certain(server, error, kind):
    session = requests.Session()
    session.mount("http://", Elsewhere(error))
    with pytest.raises(APIError) as caught:
        Backend(1, USER, PASSWORD, server.url, session=session).buy("USD", "BTC", "0.1")
    assert type(caught.value) is kind


def test_what_the_program_is_handling_says_nothing_about_the_call(server):
    session = requests.Session()
    session.mount("http://", Elsewhere(requests.ReadTimeout("x")))
    backend = Backend(1, USER, PASSWORD, server.url, session=session)
    try:
        raise ConnectionRefusedError
    except ConnectionRefusedError:
        with pytest.raises(OutcomeUnknown):
            backend.buy("USD", "BTC", "0.1")


# --- what is said about them ------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_backend_is_neither_pickled_nor_copied(way):
    with pytest.raises(TypeError, match="holds a password"):
        way(Backend(1, USER, PASSWORD))


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


@pytest.mark.parametrize("play", [proper, Line.reset, lambda line: line.answer("<h1>", "502 Bad Gateway")])
def test_no_log_output_or_traceback_shows_a_secret(play, caplog, capfd, monkeypatch):
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    caplog.set_level(logging.DEBUG)
    told = []
    with serving(play) as server:
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


# --- who they are -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("username", "password"), [("ann", "pässwörd"), ("анна", "пароль"), ("安娜", "密码 🔑"), ("", ""), ("a b", "x:y:z")]
)
def test_names_and_passwords_of_any_script_go_out_as_utf8(server, username, password):
    Backend(1, username, password, server.url).balance()
    [seen] = server.seen
    kind, _, pair = seen.headers["authorization"].partition(" ")
    assert (kind, base64.b64decode(pair).decode()) == ("Basic", f"{username}:{password}")


@pytest.mark.parametrize(
    ("username", "password"), [("a:b", "x"), ("a", None), (None, "x"), (b"a", "x"), (7, "x"), ("a", "\ud800")]
)
def test_names_and_passwords_that_cannot_be_sent_are_refused(username, password):
    with pytest.raises(InvalidRequest):
        Backend(1, username, password)
    with pytest.raises(InvalidRequest):
        XWrap().balance(username, password)


@pytest.mark.parametrize("id", ["1/../2", "", "x", 1.0, None, True, "١", b"1", "-1", "1?x"])
def test_an_id_that_is_no_number_is_refused(id):
    with pytest.raises(InvalidRequest):
        Backend(id, USER, PASSWORD)


@pytest.mark.parametrize("value", [None, 1, b"BTC", "\udfff"])
def test_what_cannot_be_text_is_refused_before_anything_is_sent(server, value):
    xwrap = XWrap(server.url)
    backend = Backend(1, USER, PASSWORD, xwrap)
    for call in (
        lambda: xwrap.exchange_rates("USD", value),
        lambda: xwrap.create_backend(USER, PASSWORD, "kraken", "", KEY, value),
        lambda: backend.exchange_rate(value, "BTC"),
        lambda: backend.buy(value, "BTC", 1),
        lambda: backend.send_to_address("BTC", 1, value),
        lambda: backend.get_address(value),
    ):
        with pytest.raises(InvalidRequest):
            call()
    assert server.connections == 0


def test_text_is_encoded_so_that_it_stays_one_field(server):
    with pytest.raises(APIError):
        Backend(1, USER, PASSWORD, server.url).exchange_rate("USD&to=ETH", "B T+C/ü#?")
    [seen] = server.seen
    assert seen.path == "/exchanges/1/exchange_rate?from=USD%26to%3DETH&to=B+T%2BC%2F%C3%BC%23%3F"
