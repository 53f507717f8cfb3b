"""The real server behind a line that loses its answers: every order is executed exactly once, and its result is
known.
"""

from __future__ import annotations

import http.client
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from bitmm.xwrap.client import Backend
from tests.support.raw_server import JSON, Line, Play, serving

pytest.importorskip("bitmm.xwrap.server", reason="the server is not here")
pytest.importorskip("starlette", reason="the server is not installed")

HOW = {"reset": Line.reset, "hang up": Line.hang_up, "gateway": lambda line: line.answer("<h1>", "502 Bad Gateway")}


def relay(url: str, lose: Play, lost: list[bool]) -> Play:
    """Hands each request to the server at `url` first; the answers to POSTs are lost as `lost` says, in turn."""

    def play(line: Line) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        headers = {name: value for name, value in line.seen.headers.items() if name not in ("host", "connection")}
        never_arrives = line.seen.method == "POST" and lost[:1] == [None]
        if not never_arrives:
            connection.request(line.seen.method, line.seen.path, line.seen.body, headers)
            answer = connection.getresponse()
            body = answer.read()
        connection.close()
        if line.seen.method == "POST" and lost and lost.pop(0) is not False:
            lose(line)
        else:
            line.answer(body, f"{answer.status} {answer.reason}", JSON)

    return play


@pytest.mark.parametrize("how", HOW)
def test_orders_and_sends_whose_answers_are_lost_are_executed_once_and_found(server, auth, how):
    number = server.registration(auth)
    # True: the answer is lost. None: the request is lost. False: both arrive.
    play = relay(server.url, HOW[how], [True, None, False, True, None, None])
    with serving(play, record=play) as lossy:
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
