"""Backend.wait: the order when it is final, over lost connections; an error that is a TimeoutError when it is not."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlsplit

import pytest
import responses

from bitmm.xwrap import _following
from bitmm.xwrap.client import APIError, Backend, InvalidRequest, NotFinal, NotFound, Unavailable
from tests.support.client_servers import says
from tests.support.marked_secrets import PASSWORD, USER
from tests.support.raw_server import raw_server

URL = "http://localhost:8000/exchanges/7/orders/"


class Orders:
    """A server of one order, 41, which has `now` as its status; then each page of `changes` comes: ids and statuses."""

    def __init__(self, mock, now, *changes):
        self.now, self.changes, self.asked = now, list(changes), []
        mock.add_callback(responses.GET, URL, callback=self.tell_changes)
        mock.add_callback(responses.GET, f"{URL}41", callback=self.tell_order)

    def tell_changes(self, request):
        query = dict(parse_qsl(urlsplit(request.url).query, keep_blank_values=True))
        self.asked.append("cursor" if query["after"] == "" else int(query["wait"]))
        page = self.changes.pop(0) if query["after"] and self.changes else ()
        if page == "down":
            return 503, {}, json.dumps({"detail": "no", "code": "server_busy", "retryable": True})
        orders = [{"id": id, "status": status, "key": f"k{id}"} for id, status in page]
        return 200, {}, json.dumps({"orders": orders, "cursor": "4"})

    def tell_order(self, _request):
        self.asked.append("order")
        return 200, {}, json.dumps({"id": 41, "status": self.now, "key": "k41"})


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(_following.time, "sleep", lambda _seconds: None)


@pytest.mark.parametrize("status", ["filled", "partly_filled", "canceled", "closed", "rejected"])
def test_an_order_that_is_final_is_returned_at_once(mock, backend, status):
    server = Orders(mock, status)
    assert backend.wait({"id": 41, "status": "open"})["status"] == status
    assert server.asked == ["cursor", "order"]


@pytest.mark.parametrize("order", [41, "41", {"id": 41, "status": "unknown"}])
def test_it_waits_at_the_server_until_this_order_is_final(mock, backend, order):
    server = Orders(mock, "unknown", [(40, "filled")], [(41, "open"), (42, "canceled")], (), "down", [(41, "filled")])
    assert backend.wait(order) == {"id": 41, "status": "filled", "key": "k41"}
    # Each question waits for a change: nothing is asked again and again.
    assert server.asked == ["cursor", "order", 20, 20, 20, 20, 20]


def test_an_order_that_is_not_final_in_time_is_a_timeout_and_an_api_error(mock, backend):
    Orders(mock, "open", [(41, "unknown")])
    with pytest.raises(NotFinal, match=r"order 41 is still unknown after 0.05 s; it goes on") as caught:
        backend.wait(41, timeout=0.05)
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert isinstance(error, APIError)
    assert (error.code, error.key, error.retryable, error.may_have_executed) == ("not_final", "k41", True, False)


def test_changes_of_other_orders_do_not_make_it_wait_longer(mock, backend):
    server = Orders(mock, "open", *[[(40, "open")]] * 10_000)
    with pytest.raises(NotFinal):
        backend.wait(41, timeout=0.05)
    assert server.changes


def test_a_server_that_stays_away_is_not_taken_for_an_order_that_stays_open(mock, backend):
    Orders(mock, "open", *["down"] * 9)
    with pytest.raises(Unavailable):
        backend.wait(41, timeout=0.05)


def test_an_order_that_there_is_not_is_not_waited_for():
    no_order = says({"detail": "no such order", "code": "order_not_found"}, "404 No")
    with raw_server(no_order) as server, pytest.raises(NotFound):
        Backend(7, USER, PASSWORD, server.url).wait(41)


@pytest.mark.parametrize("order", [None, "first", {}, {"id": None}, {"key": "k1"}, [41]])
def test_what_is_no_order_is_refused_before_anything_is_asked(backend, order):
    with pytest.raises(InvalidRequest, match="the id is"):
        backend.wait(order)


@pytest.mark.parametrize("timeout", [0, -1, "5", 86401])
def test_what_is_no_timeout_is_refused_before_anything_is_asked(backend, timeout):
    with pytest.raises(InvalidRequest, match="timeout is"):
        backend.wait(41, timeout=timeout)
