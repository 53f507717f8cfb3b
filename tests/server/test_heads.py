"""What the head of a request may be like."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.server.heads import RefusedError, check_head, take_head

HOST = "Host: localhost"


def head(*lines, start="GET / HTTP/1.1"):
    return "\r\n".join([start, *lines, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (head(HOST, HOST), "malformed"),
        (head(HOST, "hOST: elsewhere"), "malformed"),
        (head(HOST, "Authorization: Basic eA==", "authorization: Basic eQ=="), "malformed"),
        (head(HOST, "Idempotency-Key: 1", "Idempotency-Key: 2"), "malformed"),
        (head(HOST, "Content-Length: 1", "Content-Length: 1"), "malformed"),
        (head(HOST, "Content-Length: 1", "CONTENT-LENGTH: 2"), "malformed"),
        (head(HOST, "Content-Length: 1, 1"), "malformed"),
        (head(HOST, "Content-Length: +1"), "malformed"),
        (head(HOST, "Content-Length: -1"), "malformed"),
        (head(HOST, "Content-Length: 0x1"), "malformed"),
        (head(HOST, "Content-Length: 1_0"), "malformed"),
        (head(HOST, "Content-Length:"), "malformed"),
        (head(HOST, "Content-Length: " + "9" * 19), "malformed"),
        (head(HOST, "Content-Length: \xb2"), "malformed"),
        (head(HOST, "Content-Length: 65537"), "body_too_large"),
        (head(HOST, "Content-Length: " + "9" * 18), "body_too_large"),
        (head(HOST, "Transfer-Encoding: chunked", "Content-Length: 1"), "malformed"),
        (head(HOST, "Content-Length: 1", "transfer-encoding: identity"), "malformed"),
        (head(HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), "malformed"),
        (head(HOST, "Transfer-Encoding: xchunked"), "malformed"),
        (head(HOST, "Transfer-Encoding: gzip, chunked"), "malformed"),
        (head(HOST, "Transfer-Encoding: chunked;x=y"), "malformed"),
        (head(HOST, "Transfer-Encoding: \x0bchunked"), "malformed"),
        (head(HOST, "Transfer-Encoding: chunked\t"), "malformed"),
        (head(HOST, "Transfer-Encoding:"), "malformed"),
        (head(HOST, "Transfer-Encoding: chunked", start="POST / HTTP/1.0"), "malformed"),
        (head(HOST, "X: a\0b"), "malformed"),
        (head(HOST, "X: a\x01b"), "malformed"),
        (head(HOST, "X: a\x7fb"), "malformed"),
        (head(HOST, "X: a\nb: c"), "malformed"),
        (head(HOST, "X: a\rb: c"), "malformed"),
        (head(HOST, "X: a", " folded"), "malformed"),
        (head(HOST, "X: a", "\tfolded"), "malformed"),
        (head(" folded", HOST), "malformed"),
        (head(start="GET /"), "malformed"),
        (head(HOST, start="GET / HTTP/1.2"), "malformed"),
        (head(HOST, start="GET / HTTP/2.0"), "malformed"),
        (head(HOST, start="GET / http/1.1"), "malformed"),
        (head(HOST, start="GET  / HTTP/1.1"), "malformed"),
        (head(HOST, start="GET / HTTP/1.1 "), "malformed"),
        (head(HOST, start=" GET / HTTP/1.1"), "malformed"),
        (head(HOST, start="get / HTTP/1.1"), "malformed"),
        (head(HOST, start="GET http://elsewhere/ HTTP/1.1"), "malformed"),
        (head(HOST, start="GET http://localhost:80/ HTTP/1.1"), "malformed"),
        (head(HOST, start="GET http://ann@localhost/ HTTP/1.1"), "malformed"),
        (head(HOST, start="GET http:///localhost/ HTTP/1.1"), "malformed"),
        (head(HOST, start="GET ftp://localhost/ HTTP/1.1"), "malformed"),
        (head(start="GET http://localhost/ HTTP/1.1"), "malformed"),
        (head(HOST, start="GET elsewhere/ HTTP/1.1"), "malformed"),
        (head(HOST, start="GET /# HTTP/1.1"), "malformed"),
        (head(HOST, start="GET /\xe4 HTTP/1.1"), "malformed"),
        (head(HOST, start="GET /\t HTTP/1.1"), "malformed"),
        (head(HOST, start="OPTIONS * HTTP/1.1"), "malformed"),
        (head(HOST, start="CONNECT localhost:80 HTTP/1.1"), "malformed"),
        (head(HOST, start="CONNECT / HTTP/1.1"), "malformed"),
        (head(start="PRI * HTTP/2.0"), "malformed"),
        (head(HOST, start=f"GET /{'x' * 8192} HTTP/1.1"), "url_too_long"),
        (head(HOST, start="x" * 9000), "url_too_long"),
        (head(HOST, *["X: y"] * 100), "head_too_large"),
    ],
)
def test_what_could_be_read_in_two_ways_or_is_too_large_is_refused(bad, reason):
    with pytest.raises(RefusedError, match=f"^{reason}$"):
        check_head(bad)


@pytest.mark.parametrize(
    ("good", "length"),
    [
        (head(HOST), 0),
        (head(HOST, start="GET / HTTP/1.0"), 0),
        (head(HOST, start=f"DELETE /{'x' * 8191} HTTP/1.1"), 0),
        (head(HOST, start='GET //a?b=%00&c={}|^"<> HTTP/1.1'), 0),
        (head(HOST, *["X: y"] * 99), 0),
        (head(HOST, "X: a\tb", "Y: \xe4\xff", "Z:"), 0),
        (head(HOST, "Content-Length:0"), 0),
        (head(HOST, "content-length: \t 65536 "), 65536),
        (head(HOST, "X-Content-Length: 5", "X: Host: y"), 0),
        (head(HOST, "Transfer-Encoding: chunked"), None),
        (head(HOST, "transfer-encoding:Chunked", start="POST / HTTP/1.1"), None),
    ],
)
def test_what_is_within_the_bounds_is_taken_as_it_is(good, length):
    assert check_head(good) == (good, length)


@pytest.mark.parametrize(
    ("url", "host", "origin"),
    [
        ("http://localhost/a?b=c", "localhost", "/a?b=c"),
        ("HTTPS://Localhost:8000/", "lOCALHOST:8000", "/"),
        ("http://[::1]:8000/http://[::1]:8000/", "[::1]:8000", "/http://[::1]:8000/"),
    ],
)
def test_an_absolute_target_with_the_host_of_the_header_is_made_one_in_origin_form(url, host, origin):
    asked = head(f"Host:  {host} ", start=f"GET {url} HTTP/1.1")
    assert check_head(asked) == (head(f"Host:  {host} ", start=f"GET {origin} HTTP/1.1"), 0)


def test_an_upgrade_is_left_out():
    asked = head(HOST, "Connection: Upgrade", "upGrade: h2c", "Content-Length: 3")
    assert check_head(asked) == (head(HOST, "Connection: Upgrade", "Content-Length: 3"), 3)


def test_a_head_is_taken_when_it_is_complete():
    received = bytearray(b"\r\n\r\n" + head(HOST)[:-1])
    assert take_head(received) is None
    received += b"\nrest"
    assert take_head(received) == head(HOST)
    assert received == b"rest"


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 2**16, "head_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000, "head_too_large"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 2**16 + b"\r\n\r\n", "head_too_large"),
        (b"GET /" + b"x" * 2**16, "url_too_long"),
        (b"GET / HTTP/1.1\nHost: localhost\n\n", "malformed"),
        (b"GET / HTTP/1.1\r\nHost: localhost\n\r\n", "malformed"),
    ],
)
def test_a_head_that_never_ends_is_refused(received, reason):
    with pytest.raises(RefusedError, match=f"^{reason}$"):
        take_head(bytearray(received))


def test_a_head_of_64_kib_is_taken():
    whole = head(HOST, "X: ")
    whole = whole.replace(b"X: ", b"X: " + b"x" * (2**16 - len(whole)))
    assert take_head(bytearray(whole)) == whole
