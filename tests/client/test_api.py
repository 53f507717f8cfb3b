"""One server: how often a read is sent. What becomes of an order without an answer: tests/faults/test_recovery.py."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import APIError, RateLimited
from tests.support.client_servers import in_turn, says
from tests.support.marked_secrets import PASSWORD, USER
from tests.support.raw_server import Connection, raw_server


@pytest.mark.parametrize(
    "fault",
    [
        Connection.reset,
        Connection.hang_up,
        says({}, "502 Bad Gateway"),
        says({}, "503 Down"),
        says({}, "504 Late"),
        says({}, "429 Slow down", "Retry-After: 0"),
        says({}, "429 Slow down"),
    ],
    ids=range(7),
)
def test_a_read_is_tried_again(fault):
    with raw_server(in_turn(fault, fault, says({"BTC": "1.5"}))) as server:
        assert Backend(1, USER, PASSWORD, server.url).balance() == {"BTC": Decimal("1.5")}
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", ["400 Bad", "401 Who", "403 No", "404 Gone", "409 Later", "422 Bad", "500 Oops"])
def test_a_read_that_was_refused_is_not_tried_again(status):
    with raw_server(says({"detail": "no"}, status)) as server:
        with pytest.raises(APIError):
            Backend(1, USER, PASSWORD, server.url).balance()
        assert len(server.requests) == 1


def test_a_read_waits_as_long_as_the_server_asks_for():
    with raw_server(in_turn(says({}, "429 Slow down", "Retry-After: 1"), says({}))) as server:
        start = time.monotonic()
        Backend(1, USER, PASSWORD, server.url, timeout=10).balance()
        assert time.monotonic() - start >= 1


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [("60", 60, 60), ("Fri, 31 Dec 2199 23:59:59 GMT", 10**9, 10**10), ("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0)],
)
def test_retry_after_is_told_when_it_is_beyond_the_deadline(header, low, high):
    with raw_server(says({"detail": "slow down"}, "429 Slow down", f"Retry-After: {header}")) as server:
        start = time.monotonic()
        with pytest.raises(RateLimited, match="slow down") as caught:
            Backend(1, USER, PASSWORD, server.url, timeout=5).balance()
        assert time.monotonic() - start < 5
        assert low <= caught.value.retry_after <= high


@pytest.mark.parametrize("header", ["soon", "-1", "1e9", "", "²"])
def test_a_retry_after_that_says_nothing_is_as_good_as_none(header):
    with raw_server(says({"detail": "no"}, "429 Slow down", f"Retry-After: {header}")) as server:
        with pytest.raises(RateLimited) as caught:
            Backend(1, USER, PASSWORD, server.url, timeout=0.3).buy("USD", "BTC", "1")
        assert caught.value.retry_after is None
