"""What other people's web pages could make a browser send is turned away before any password is asked for."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest
import requests


def status(server, *lines):
    """The status of a raw request with these header lines."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        head = "\r\n".join(["GET /list_exchanges/ HTTP/1.1", *lines, "Connection: close", "", ""])
        connection.sendall(head.encode("latin-1"))
        return int(connection.recv(100).split()[1])


OURS = [
    "127.0.0.1:PORT",
    "localhost:PORT",
    "LOCALHOST:PORT",
    "localhost",
    "127.0.0.1",
    "127.1.2.3",
    "[::1]:PORT",
    "[::1]",
]
FOREIGN = [
    "evil.example", "evil.example:PORT", "localhost.evil.example", "127.0.0.1.evil.example", "localhost.",
    "evil@localhost", "localhost@evil.example", "localhost:80@evil.example", "127.0.0.1:PORT.evil.example",
    "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "10.0.0.1", "169.254.169.254", "[::ffff:7f00:1",
    "::1", "::1:", "[::2]:PORT", "[fe80::1]", "", ":PORT", "localhost:PORT:PORT", "localhost:", "localhost:x",
    "localhost/evil", "localhost evil", "xn--lcalhost-54g", "http://localhost", "localhost#", "localhost?", "*",
    "local host", "localhost\\evil", "[[::1]]", "[127.0.0.1", "127.0.0.1]",
]  # fmt: skip


@pytest.mark.parametrize("host", OURS)
def test_our_own_names_are_served(server, host):
    assert status(server, f"Host: {host.replace('PORT', server.url.rpartition(':')[2])}") == 200


@pytest.mark.parametrize("host", FOREIGN)
def test_other_names_are_not_served(server, host):
    assert status(server, f"Host: {host.replace('PORT', server.url.rpartition(':')[2])}") in {400, 421}


def test_no_host_and_two_hosts_are_not_served(server):
    assert status(server) in {400, 421}
    assert status(server, "Host: localhost", "Host: localhost") in {400, 421}


def test_a_configured_name_is_served(serving):
    with serving(hosts=("xwrap.example",)) as server:
        assert status(server, "Host: XWRAP.example:8000") == 200
        assert status(server, "Host: other.example") == 421


@pytest.mark.parametrize(
    "header",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_is_403_before_authentication(server, header):
    answer = requests.post(f"{server.url}/exchanges/1/send_to_address", headers=header, timeout=30)
    assert answer.status_code == 403
    assert answer.json()["code"] == "foreign_origin"
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_our_own_pages_may_call(server):
    for header in ({"Origin": server.url}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        assert requests.get(f"{server.url}/list_exchanges/", headers=header, timeout=30).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://[", "http://[::1", "//[", "http://a]b", "\xff", "http://", "null", " ", "http:///"]
)
def test_an_origin_that_is_no_url_is_foreign(server, origin):
    host = urlsplit(server.url).netloc
    assert status(server, f"Host: {host}", f"Origin: {origin}") == 403


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/list_exchanges/", {}, 200),
        ("/balance", {}, 401),
        ("/nothing", {}, 404),
        ("/health", {"Origin": "http://evil.example"}, 403),
        ("/health", {"Host": "evil.example"}, 421),
        ("/exchange_rates", {}, 422),
    ],
)
def test_no_answer_may_be_kept_or_its_type_guessed(server, path, headers, expected):
    answer = requests.get(f"{server.url}{path}", headers=headers, timeout=30)
    kept = [answer.headers.get(name) for name in ("Cache-Control", "X-Content-Type-Options")]
    assert (answer.status_code, kept) == (expected, ["no-store", "nosniff"])
