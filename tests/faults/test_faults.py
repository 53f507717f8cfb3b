"""One table of faults on the way to the server, each met by a read, an order and a send.

For each: the class of the error, `may_have_executed`, the time bound and how many POSTs reached the server. It knows no
keys, as in 2013: whatever is lost stays unknown and is not sent again. (Redirects to other hosts: test_redirects.py.)
"""

from __future__ import annotations

import gzip
import json
import re
import select
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from functools import cache
from typing import NamedTuple

import pytest

from bitmm.xwrap.client import Backend
from bitmm.xwrap.errors import (
    APIError,
    AuthenticationError,
    InsufficientFunds,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    RateLimited,
    Unavailable,
)
from tests.support.marked_secrets import NEEDLES, PASSWORD, USER
from tests.support.raw_server import HTML, JSON, Connection, Script, Server, raw_server

TIMEOUT = 0.7
#: How late a call may be: the promise.
LATE = 0.5

BALANCE = '{"BTC": "0.12345678901234567890"}'
ORDER = '{"id": 41, "amount": "0.1", "filled": "0.12345678901234567890", "status": "filled"}'
SENT = '{"id": 9, "asset": "BTC", "amount": "0.1", "address": "tb1q", "status": "done"}'
READ: Callable[[Backend], object] = lambda backend: backend.balance()
BUY: Callable[[Backend], object] = lambda backend: backend.buy("USD", "BTC", "0.1")
SEND: Callable[[Backend], object] = lambda backend: backend.send_to_address("BTC", "0.1", "tb1q")
OK = None


class Fault(NamedTuple):
    """What is played, what a read and what an order raises (OK: nothing), and how many POSTs arrive."""

    script: Script
    read: type[APIError] | None
    order: type[APIError] | None
    posts: int = 1
    on_connect: Script | None = None
    words: str = ""


def good(connection: Connection) -> str:
    """The answer to the request; it names no key."""
    if connection.request.method == "GET":
        return BALANCE
    return SENT if connection.request.path.endswith("/send_to_address") else ORDER


def proper(connection: Connection) -> None:
    connection.answer(good(connection), "200 OK", JSON)


def body(data: bytes | str, status: str = "200 OK", *headers: str) -> Script:
    return lambda conn: conn.answer(data, status, *(headers or (JSON,)))


def raw(data: bytes, then: Script = Connection.hang_up) -> Script:
    def script(connection: Connection) -> None:
        connection.send(data)
        then(connection)

    return script


def unread(then: Script) -> Script:
    """Does `then` when a request has arrived, without reading it."""

    def script(connection: Connection) -> None:
        select.select([connection.sock], [], [], 10)
        then(connection)

    return script


def drip(start: bytes, rest: bytes) -> Script:
    def script(connection: Connection) -> None:
        connection.send(start)
        connection.drip((rest * 1000)[:200])

    return script


def flood(start: bytes, rest: bytes, pause: float = 0) -> Script:
    def script(connection: Connection) -> None:
        connection.send(start)
        connection.flood(rest, pause=pause)

    return script


@cache
def bomb() -> bytes:
    """64 MiB of zeros."""
    packer = zlib.compressobj(wbits=31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()


def status(code: int, /, **document: object) -> Script:
    return body(json.dumps(document), f"{code} Said", JSON)


def page(code: int) -> Script:
    return body("<html><body>it went wrong</body></html>", f"{code} Said", HTML)


def cut_json(connection: Connection) -> None:
    connection.answer(good(connection)[:-2], "200 OK", JSON)


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LONG = HEAD + b"Content-Length: 1000\r\n\r\n"
LOST = (Unavailable, OutcomeUnknown)
BAD = (APIError, OutcomeUnknown)

FAULTS = {
    # The connection
    "reset before the request was read": Fault(proper, *LOST, posts=0, on_connect=unread(Connection.reset)),
    "closed before the request was read": Fault(proper, *LOST, posts=0, on_connect=unread(Connection.hang_up)),
    "reset after the request was read": Fault(Connection.reset, *LOST),
    "closed after the request was read": Fault(Connection.hang_up, *LOST),
    "silent": Fault(Connection.wait, *LOST, words="time was up"),
    "drips in the status line": Fault(drip(b"", b"HTTP/1.1 200 Oooooooooooooooo"), *LOST, words="time was up"),
    "drips in a header": Fault(drip(HEAD, b"X-Pad: oooooooooooooooooooooo"), *LOST, words="time was up"),
    "drips in the body": Fault(drip(LONG, b" "), *LOST, words="time was up"),
    "drips in a body without length": Fault(drip(HEAD + b"\r\n", b" "), *LOST, words="time was up"),
    "drips in a chunk": Fault(drip(CHUNKED + b"ffff\r\n", b" "), *LOST, words="time was up"),
    "drips chunks": Fault(drip(CHUNKED, b"1\r\n \r\n"), *LOST, words="time was up"),
    "drips in a chunk's size": Fault(drip(CHUNKED, b"0"), *LOST, words="time was up"),
    "drips in a trailer": Fault(drip(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n"), *LOST, words="time was up"),
    # The frame
    "broken off in the headers": Fault(raw(HEAD + b"Content-Le"), *BAD),
    "broken off in the body": Fault(raw(LONG + b'{"BTC":'), *LOST, words="broke off"),
    "broken off in a chunk": Fault(raw(CHUNKED + b"ff\r\n{}"), *LOST, words="broke off"),
    "chunked without end": Fault(flood(CHUNKED, b"2000\r\n" + b" " * 0x2000 + b"\r\n"), *BAD, words="more than 16 MiB"),
    "chunk size that is no number": Fault(raw(CHUNKED + b"zz\r\n{}\r\n"), *LOST),
    # Slow enough that on every machine the time is up before it is too much.
    "storm of 100 Continue": Fault(flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 400, pause=0.02), *LOST),
    "storm of fat 100 Continue": Fault(
        flood(b"", b"HTTP/1.1 100 Continue\r\nX-Fat: " + b"y" * 60_000 + b"\r\n\r\n"), *BAD, words="more than 16 MiB"
    ),
    "storm of 102 Processing": Fault(flood(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 400), *LOST, words="interim"),
    "101 Switching Protocols": Fault(raw(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), *LOST, words="interim"),
    "10,000 headers": Fault(raw(HEAD + b"X-Header: value\r\n" * 10_000 + b"\r\n{}"), *LOST, words="100 headers"),
    "a header of 1 MB": Fault(raw(HEAD + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n{}"), *LOST, words="header line"),
    "HTTP/0.9": Fault(raw(BALANCE.encode()), *LOST, words="not HTTP"),
    "not HTTP at all": Fault(raw(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n" * 10), *LOST, words="not HTTP"),
    "two lengths": Fault(raw(HEAD + b"Content-Length: 2\r\nContent-Length: 7\r\n\r\n{}12345"), *LOST, words="length"),
    "204 without a body": Fault(raw(b"HTTP/1.1 204 No Content\r\n\r\n"), *BAD, words="not JSON"),
    "200 without a body": Fault(body(b""), *BAD, words="not JSON"),
    "100 MB body": Fault(flood(HEAD + b"Content-Length: 100000000\r\n\r\n", bytes(1 << 16)), *BAD, words="16 MiB"),
    "endless body without length": Fault(flood(HEAD + b"\r\n", bytes(1 << 16)), *BAD, words="16 MiB"),
    "gzip bomb": Fault(
        lambda conn: conn.answer(bomb(), "200 OK", JSON, "Content-Encoding: gzip"), *BAD, words="more than 16 MiB"
    ),
    "gzip that is none": Fault(body(b"no gzip", "200 OK", "Content-Encoding: gzip"), *LOST, words="compression"),
    "gzip cut in the middle": Fault(
        body(gzip.compress(BALANCE.encode())[:20], "200 OK", "Content-Encoding: gzip"), *BAD, words="not JSON"
    ),
    # The document
    "HTML instead of JSON": Fault(page(200), *BAD, words="not JSON"),
    "JSON cut": Fault(cut_json, *BAD, words="not JSON"),
    "NaN": Fault(body('{"BTC": NaN, "amount": NaN}'), *BAD, words="NaN"),
    "Infinity": Fault(body('{"BTC": "Infinity", "amount": "Infinity"}'), *BAD, words="not a decimal"),
    "a key named twice": Fault(body('{"amount": "0.1", "amount": "0.2"}'), *BAD, words="twice"),
    "200,000 brackets": Fault(body("[" * 200_000), *BAD, words="nested"),
    "101 levels": Fault(body('{"a": ' + "[" * 100 + "]" * 100 + "}"), *BAD, words="nested"),
    "a number of 100,000 digits": Fault(body('{"amount": ' + "9" * 100_000 + "}"), *BAD, words="digits"),
    "a text of 100,000 digits": Fault(body('{"amount": "' + "9" * 100_000 + '"}'), *BAD, words="decimal"),
    "1e999999": Fault(body('{"filled": 1e999999}'), *BAD),
    "a byte order mark": Fault(body(b"\xef\xbb\xbf" + BALANCE.encode()), *BAD, words="not JSON"),
    "UTF-16": Fault(body(BALANCE.encode("utf-16")), *BAD, words="not UTF-8"),
    "invalid UTF-8": Fault(body(b'{"B\xffC": "1"}'), *BAD, words="not UTF-8"),
    "half a surrogate pair": Fault(body('{"detail": "\\ud800"}'), *BAD, words="surrogate"),
    "a list where a dict belongs": Fault(body("[]"), *BAD, words="not an object"),
    "a list where an amount belongs": Fault(body('{"BTC": true, "amount": []}'), *BAD, words="not a decimal"),
    "a number of 20 digits": Fault(
        lambda conn: conn.answer(re.sub('"(0[.][0-9]+)"', r"\1", good(conn)), "200 OK", JSON), OK, OK
    ),
    "the wrong content type": Fault(lambda conn: conn.answer(good(conn), "200 OK", HTML), OK, OK),
    # The status, with words and without
    "400": Fault(status(400, detail="said"), InvalidRequest, InvalidRequest, words="^said$"),
    "401": Fault(status(401, detail="said"), AuthenticationError, AuthenticationError, words="^said$"),
    "403": Fault(status(403, detail="said"), PermissionDenied, PermissionDenied, words="^said$"),
    "404": Fault(status(404, detail="said"), NotFound, NotFound, words="^said$"),
    "409": Fault(status(409, detail="said", code="conflict"), APIError, APIError, words="^said$"),
    "422": Fault(status(422, detail="said"), InvalidRequest, InvalidRequest, words="^said$"),
    "422 for want of money": Fault(
        status(422, detail="said", code="insufficient_funds"), InsufficientFunds, InsufficientFunds, words="^said$"
    ),
    "429": Fault(status(429, detail="said"), RateLimited, RateLimited, words="^said$"),
    "500": Fault(status(500, detail="said"), APIError, OutcomeUnknown, words="said"),
    "500, nothing executed": Fault(
        status(500, detail="said", may_have_executed=False), APIError, APIError, words="^said$"
    ),
    "502": Fault(status(502, detail="said"), *LOST, words="said"),
    "502, nothing executed": Fault(
        status(502, detail="said", may_have_executed=False), Unavailable, Unavailable, words="^said$"
    ),
    "502, executed perhaps": Fault(status(502, detail="said", may_have_executed=True), *LOST, words="said"),
    "503": Fault(status(503, detail="said"), *LOST, words="said"),
    "503, nothing executed": Fault(
        status(503, detail="said", may_have_executed=False), Unavailable, Unavailable, words="^said$"
    ),
    "504": Fault(status(504, detail="said"), *LOST, words="said"),
    "202": Fault(body('{"detail": "said", "status": "unknown"}', "202 Accepted"), APIError, OutcomeUnknown),
    "400 in HTML": Fault(page(400), InvalidRequest, InvalidRequest, words="^server error$"),
    "401 in HTML": Fault(page(401), AuthenticationError, AuthenticationError, words="^server error$"),
    "403 in HTML": Fault(page(403), PermissionDenied, PermissionDenied, words="^server error$"),
    "404 in HTML": Fault(page(404), NotFound, NotFound, words="^server error$"),
    "409 in HTML": Fault(page(409), APIError, APIError, words="^server error$"),
    "422 in HTML": Fault(page(422), InvalidRequest, InvalidRequest, words="^server error$"),
    "429 in HTML": Fault(page(429), RateLimited, RateLimited, words="^server error$"),
    "500 in HTML": Fault(page(500), APIError, OutcomeUnknown, words="server error"),
    "502 in HTML": Fault(page(502), *LOST, words="server error"),
    "503 in HTML": Fault(page(503), *LOST, words="server error"),
    "504 in HTML": Fault(page(504), *LOST, words="server error"),
    "a detail that is no text": Fault(
        status(422, detail={"a": 1}), InvalidRequest, InvalidRequest, words="server error"
    ),
}


def meet(fault: Fault, call: Callable[[Backend], object], server: Server, backend: Backend) -> None:
    """Make the call, and hold it to everything that the table says."""
    expected = fault.read if call is READ else fault.order
    start = time.monotonic()
    if expected is OK:
        result = call(backend)
        if call is READ:
            assert result == {"BTC": Decimal("0.12345678901234567890")}
        elif call is BUY:
            assert str(result["filled"]) == "0.12345678901234567890"
        else:
            assert result is True
    else:
        with pytest.raises(APIError) as caught:
            call(backend)
        error = caught.value
        assert type(error) is expected
        assert error.may_have_executed is (expected is OutcomeUnknown)
        # A read is tried again as long as there is time, and its last word may be that there is none left.
        assert re.search(fault.words + ("|time was up" if expected is Unavailable else ""), str(error))
        assert len(str(error)) < 1100
        assert not any(needle in f"{error!s}{error!r}{error.args}" for needle in NEEDLES)
        if expected is OutcomeUnknown:
            assert error.retryable is False
        if call is not READ:
            assert re.fullmatch("[0-9a-f]{32}", error.key)
            assert {request.headers["idempotency-key"] for request in server.requests if request.method == "POST"} <= {
                error.key
            }
    assert time.monotonic() - start < TIMEOUT + LATE
    assert server.posts == (0 if call is READ else fault.posts)
    assert sum(request.method == "GET" and "?key=" not in request.path for request in server.requests) <= 3 * (
        call is READ
    )


@pytest.fixture(scope="module", autouse=True)
def packed():
    """The bomb takes longer to make than a call may take."""
    bomb()


@pytest.mark.parametrize("call", [READ, BUY, SEND], ids=["read", "order", "send"])
@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_has_its_error_in_time_and_nothing_is_sent_twice(name, call):
    fault = FAULTS[name]
    with raw_server(fault.script, on_connect=fault.on_connect) as server:
        meet(fault, call, server, Backend(1, USER, PASSWORD, server.url, timeout=TIMEOUT))


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.on_connect is None])
def test_every_fault_has_the_same_error_on_a_connection_that_was_used(name):
    """The first request of a connection is sent by http.client, the others by the fast path."""
    fault = FAULTS[name]

    def script(connection: Connection) -> None:
        (proper if connection.request.path == "/exchanges/1/funds" else fault.script)(connection)

    with raw_server(script) as server:
        backend = Backend(1, USER, PASSWORD, server.url, timeout=TIMEOUT)
        with suppress(APIError):  # It is no answer for funds, but a plain one.
            backend.funds()
        server.requests.clear()
        meet(fault, BUY, server, backend)
