"""The real server behind a line that loses its answers: every order is executed exactly once, and its result is
known.
"""

from __future__ import annotations

import http.client
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from bitmm.xwrap.client import Backend, InsufficientFunds, NotFound
from tests.support.raw_server import JSON, Connection, Script, raw_server

pytest.importorskip("bitmm.xwrap.server", reason="the server is not here")
pytest.importorskip("starlette", reason="the server is not installed")

HOW = {
    "reset": Connection.reset,
    "hang up": Connection.hang_up,
    "gateway": lambda conn: conn.answer("<h1>", "502 Bad Gateway"),
}


def relay(url: str, lose: Script, lost: list[bool]) -> Script:
    """Hand each request to the server at `url`; which answers to POSTs are lost, `lost` says one after the other."""

    def script(connection: Connection) -> None:
        request, server = connection.request, http.client.HTTPConnection(urlsplit(url).netloc)
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "connection")}
        never_arrives = request.method == "POST" and lost[:1] == [None]
        if not never_arrives:
            server.request(request.method, request.path, request.body, headers)
            answer = server.getresponse()
            body = answer.read()
        server.close()
        if request.method == "POST" and lost and lost.pop(0) is not False:
            lose(connection)
        else:
            connection.answer(body, f"{answer.status} {answer.reason}", JSON)

    return script


@pytest.mark.parametrize("how", HOW)
def test_orders_and_sends_whose_answers_are_lost_are_executed_once_and_found(server, auth, how):
    number = server.registration(auth)
    # True: the answer is lost. None: the request is lost. False: both arrive.
    script = relay(server.url, HOW[how], [True, None, False, True, None, None])
    with raw_server(script, key_lookup=script) as lossy:
        backend = Backend(number, *auth, lossy.url)
        straight = Backend(number, *auth, server.url)
        before = straight.balance()
        orders = [backend.buy("USD", "BTC", "0.01"), backend.buy("USD", "BTC", "0.02")]
        sold = backend.sell("USD", "BTC", "0.005")
        assert backend.send_to_address("BTC", "0.5", straight.get_address()) is True
        assert [order["filled"] for order in (*orders, sold)] == [Decimal("0.01"), Decimal("0.02"), Decimal("0.005")]
        after = straight.balance()
        spent = sum(order["spent"] + order["fee"] for order in orders)
        assert after["USD"] == before["USD"] - spent + sold["spent"] - sold["fee"]
        assert after["BTC"] == before["BTC"] + Decimal("0.01") + Decimal("0.02") - Decimal("0.005") - Decimal("0.5")


def test_the_server_says_what_became_of_a_key(server, auth):
    backend = Backend(server.registration(auth), *auth, server.url)
    for ask in (backend.order, backend.withdrawal):
        with pytest.raises(NotFound) as caught:
            ask(key="k1")
        assert (caught.value.code, caught.value.key) == ("no_such_key", "k1")
    order = backend.buy("USD", "BTC", "0.01", key="k1")
    assert backend.order(key="k1") == backend.order(order["id"]) == order
    assert backend.send_to_address("BTC", "0.5", backend.get_address(), key="k1")
    assert backend.withdrawal(key="k1")["status"] == "done"
    with pytest.raises(InsufficientFunds):
        backend.buy("USD", "BTC", "1000000", key="k2")
    refused = backend.order(key="k2")
    assert (refused["status"], refused["error"]["code"]) == ("rejected", "insufficient_funds")
    with pytest.raises(NotFound):
        backend.withdrawal(key="k2")
