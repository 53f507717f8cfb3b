"""What the network can do to requests before a local exchange handles them: a second delivery, an exchanged order."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import pytest

from bitmm.xwrap.testing.exchanges.http_server import LocalServer
from bitmm.xwrap.testing.exchanges.messages import Reply


class Counter(LocalServer):
    """Answers each request with how many requests it has handled."""

    def __init__(self):
        super().__init__(0)
        self.handled = []

    def answer(self, request):
        with self.lock:
            self.handled.append(request.path)
            return Reply.text(str(len(self.handled)))


@pytest.fixture
def server():
    with Counter() as server:
        yield server


@pytest.fixture
def fetch(server):
    def fetch(path):
        with urlopen(f"{server.url}{path}", timeout=30) as answer:
            return answer.read().decode()

    return fetch


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def wait_until_held(server, count=1):
    for _ in range(1000):
        if len(server.waiting) == count:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"{len(server.waiting)} requests are held back, not {count}")


def test_a_request_delivered_twice_is_handled_twice_and_the_second_answer_comes_back(server, fetch):
    server.fault("delivered_twice", path="/order")
    assert [fetch("/order"), fetch("/order")] == ["2", "3"]
    assert server.handled == ["/order"] * 3
    assert [request.path for request in server.requests] == ["/order"] * 2, "what was sent, not what the network added"


def test_swapped_requests_are_handled_in_the_other_order_and_each_gets_its_answer(server, fetch, pool):
    server.fault("swapped", path="/order", seconds=30)
    first = pool.submit(fetch, "/order/1")
    wait_until_held(server)
    assert fetch("/order/2") == "1"
    assert first.result(30) == "2"
    assert server.handled == ["/order/2", "/order/1"]


def test_another_kind_of_request_does_not_release_a_held_one(server, fetch, pool):
    server.fault("swapped", path="/order", seconds=30)
    first = pool.submit(fetch, "/order")
    wait_until_held(server)
    assert fetch("/balance") == "1"
    assert len(server.waiting) == 1
    server.heal()
    assert first.result(30) == "2"


def test_a_held_request_is_handled_when_its_time_is_over(server, fetch):
    server.fault("swapped", path="/order", seconds=0.01)
    assert fetch("/order") == "1"
    assert server.waiting == {}


def test_a_server_that_stops_lets_the_held_requests_go(server, fetch, pool):
    server.fault("swapped", times=2, path="/order", seconds=600)
    waiting = [pool.submit(fetch, "/order") for _ in range(2)]
    wait_until_held(server, 2)
    server.stop()
    for each in waiting:
        each.exception(30)
    assert server.waiting == {}
