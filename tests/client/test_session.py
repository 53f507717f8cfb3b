"""A caller's session: its certificates, proxies, headers, cookies, hooks and adapters are used."""

from __future__ import annotations

import pytest
import requests
from requests.adapters import HTTPAdapter

from bitmm.xwrap.client import Backend, XWrap
from bitmm.xwrap.errors import APIError, OutcomeUnknown, Unavailable
from tests.support.marked_secrets import BASIC, PASSWORD, USER
from tests.support.raw_server import JSON, TLS, Connection, raw_server


def test_a_session_brings_its_certificates_proxies_and_headers(secure, tunnel):
    session = requests.Session()
    session.verify = str(TLS / "authority.pem")
    session.proxies["https"] = tunnel.url
    session.headers["X-Team"] = "blue"
    session.auth = ("somebody", "else")
    backend = Backend(1, USER, PASSWORD, secure.url, session=session)
    assert backend.buy("USD", "BTC", "0.1")["id"] == 41
    assert [request.path for request in tunnel.requests] == [f"127.0.0.1:{secure.port}"]
    [request] = secure.requests
    assert (request.headers["x-team"], request.headers["authorization"]) == ("blue", BASIC)
    assert "x-team" not in tunnel.requests[0].headers


def test_a_session_keeps_cookies_and_calls_its_hooks():
    def script(connection: Connection) -> None:
        connection.answer("[]", "200 OK", JSON, "Set-Cookie: seat=12; Path=/")

    hooked = []
    session = requests.Session()
    session.hooks["response"].append(lambda response, **_: hooked.append(response.json()))
    with raw_server(script) as server:
        xwrap = XWrap(server.url, session=session)
        xwrap.list_exchanges()
        assert xwrap.list_exchanges() == []
        assert [request.headers.get("cookie") for request in server.requests] == [None, "seat=12"]
    assert hooked == [[], []]


def test_without_a_session_no_cookie_is_kept():
    def script(connection: Connection) -> None:
        connection.answer("[]", "200 OK", JSON, "Set-Cookie: seat=12; Path=/")

    with raw_server(script) as server:
        xwrap = XWrap(server.url)
        xwrap.list_exchanges()
        xwrap.list_exchanges()
        assert [request.headers.get("cookie") for request in server.requests] == [None, None]


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
    # No marked password: the connections of that adapter are its own, and print what they send if http.client is to.
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
        (MemoryError("x"), OutcomeUnknown),
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


def test_a_session_that_is_false_is_still_the_callers(server):
    class Empty(requests.Session):
        def __len__(self) -> int:
            return 0

    session = Empty()
    session.headers["X-Mine"] = "1"
    XWrap(server.url, session=session).list_exchanges()
    [request] = server.requests
    assert request.headers["x-mine"] == "1"
