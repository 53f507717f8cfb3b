"""Redirects are never followed: nothing, neither credentials nor an order, reaches another host, port or scheme."""

from __future__ import annotations

import pytest

from bitmm.xwrap.client import XWrap
from bitmm.xwrap.errors import APIError, OutcomeUnknown
from tests.support.marked_secrets import KEY, PASSWORD, SECRET, USER
from tests.support.raw_server import TLS, Connection, raw_server

CALLS = {
    "public": lambda xwrap, backend: xwrap.list_exchanges(),
    "read": lambda xwrap, backend: backend.balance(),
    "order": lambda xwrap, backend: backend.buy("USD", "BTC", "0.1"),
    "send": lambda xwrap, backend: backend.send_to_address("BTC", "0.1", "tb1q"),
    "keys": lambda xwrap, backend: xwrap.create_backend(USER, PASSWORD, "kraken", "", KEY, SECRET),
}


@pytest.fixture
def other(monkeypatch):
    """Another server; nothing may reach it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "authority.pem"))
    with (
        raw_server(lambda conn: conn.answer("[]"), certificate="good") as secure,
        raw_server(lambda conn: conn.answer("[]")) as plain,
    ):
        yield secure, plain
        assert (secure.connections, plain.connections) == (0, 0)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308])
@pytest.mark.parametrize("target", ["host", "port", "scheme", "user", "loop"])
def test_a_redirect_is_an_error_and_is_never_followed(other, status, target, call):
    secure, plain = other

    def script(connection: Connection) -> None:
        location = {
            "host": f"http://localhost:{plain.port}/",
            "port": f"//127.0.0.1:{plain.port}/exchanges/1/balance",
            "scheme": f"{secure.url}/",
            "user": f"http://127.0.0.1@localhost:{plain.port}/",
            "loop": connection.request.path,
        }[target]
        connection.answer("" if status == 304 else "moved", f"{status} Moved", f"Location: {location}")

    with raw_server(script, key_lookup=script) as server:
        xwrap = XWrap(server.url, timeout=2)
        # A Backend that is made without asking the server.
        from bitmm.xwrap.client import Backend

        with pytest.raises(APIError, match=r"never followed") as caught:
            CALLS[call](xwrap, Backend(1, USER, PASSWORD, xwrap))
        mutates = call in ("order", "send", "keys")
        assert type(caught.value) is (OutcomeUnknown if mutates else APIError)
        assert caught.value.status == status
        assert server.posts == mutates
