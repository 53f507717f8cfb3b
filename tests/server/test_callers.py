"""From which address a call comes, with and without proxies."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.errors import InvalidRequest
from bitmm.xwrap.server.callers import caller_address, is_in, origin_network, plain_address, proxy_network
from tests.support.callers import WRONG_LOGIN, watch_addresses

PROXIES = tuple(proxy_network(text) for text in ("127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48"))
PEER = "127.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        (["  203.0.113.7  "], "203.0.113.7"),
        (["203.0.113.7:4711"], "203.0.113.7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["2001:DB8:0:0::7"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["[::ffff:203.0.113.7]:4711"], "203.0.113.7"),
        (["::ffff:cb00:7107"], "203.0.113.7"),
        (["fe80::1%eth0"], "fe80::1"),
        # One proxy of ours behind the other.
        (["203.0.113.7, 10.1.2.3"], "203.0.113.7"),
        (["203.0.113.7,10.1.2.3:80,2001:db8:1::5"], "203.0.113.7"),
        # Several headers are one list, in their order.
        (["203.0.113.7", "10.1.2.3"], "203.0.113.7"),
        (["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        # A caller within the proxies' network.
        (["10.9.9.9"], "10.9.9.9"),
        (["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
    ],
)
def test_the_address_is_the_rightmost_that_is_no_proxy(forwarded, address):
    assert caller_address(PEER, forwarded, PROXIES) == address


@pytest.mark.parametrize(
    "forged",
    ["198.51.100.1", "127.0.0.1", "10.1.1.1", "garbage", "", ",,,", "unknown", "::1", "1" * 10_000, "a," * 5000],
)
def test_what_the_caller_forges_changes_nothing(forged):
    assert caller_address(PEER, [f"{forged}, 203.0.113.7"], PROXIES) == "203.0.113.7"
    assert caller_address(PEER, [forged, "203.0.113.7, 10.1.2.3"], PROXIES) == "203.0.113.7"


@pytest.mark.parametrize(
    "garbage",
    [
        "", " ", "unknown", "_hidden", "localhost", "203.0.113", "203.0.113.7.8", "203.0.113.7:", "203.0.113.7:x",
        "[203.0.113.7", "203.0.113.7]", "[2001:db8::7]x", "2001:db8::7:::", "0x7f000001", "2130706433", "01.2.3.4",
        "٢٠٣.0.113.7", '"203.0.113.7"', "203.0.113.7 198.51.100.1", "203.0.113.7/32", "\x00",
    ],
)  # fmt: skip
def test_where_no_address_can_be_read_it_is_the_proxys_own(garbage):
    assert caller_address(PEER, [garbage], PROXIES) == PEER
    assert caller_address(PEER, [f"203.0.113.7, {garbage}"], PROXIES) == PEER
    assert caller_address(PEER, [], PROXIES) == PEER


def test_a_peer_has_one_spelling():
    assert plain_address("::ffff:1.2.3.4") == "1.2.3.4"
    assert plain_address("::1") == "::1"
    assert plain_address("") == ""
    assert is_in("::ffff:127.0.0.1", PROXIES)
    assert not is_in("", PROXIES)


def test_a_host_has_its_whole_network_of_ipv6():
    assert origin_network("2001:db8::7") == origin_network("2001:db8::ffff:1") != origin_network("2001:db8:0:1::7")
    assert origin_network("1.2.3.4") != origin_network("1.2.3.5")


@pytest.mark.parametrize("text", ["localhost", "10.0.0.1/8", "1.2.3", "10.0.0.0/33", "unix:", "*", "1.2.3.4:80"])
def test_a_proxy_that_is_no_address_is_refused_with_a_way_to_write_it(text):
    with pytest.raises(
        InvalidRequest, match=r"is no IP address and no network; write it like 127\.0\.0\.1 or 10\.0\.0\.0/8"
    ):
        proxy_network(text)


@pytest.fixture
def addresses(monkeypatch):
    """The addresses that the authenticator was given."""
    return watch_addresses(monkeypatch)


def call(server, *headers):
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        lines = ["GET /exchanges HTTP/1.1", "Host: localhost", "Connection: close", WRONG_LOGIN, *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 401 ")


def test_without_a_named_proxy_the_header_is_not_believed(server, addresses):
    call(server, "X-Forwarded-For: 203.0.113.7")
    assert addresses == ["127.0.0.1"]


def test_a_named_proxy_is_believed_whatever_else_the_caller_sent(serving, addresses):
    with serving(environ={"XWRAP_PROXIES": "127.0.0.1, 10.0.0.0/8"}) as server:
        call(server, "X-Forwarded-For: 203.0.113.7")
        call(server, "X-Forwarded-For: 198.51.100.1", "x-forwarded-for: 203.0.113.7:99", "Forwarded: for=1.1.1.1")
        call(server, "X-Real-IP: 198.51.100.1")
    assert addresses == ["203.0.113.7", "203.0.113.7", "127.0.0.1"]


def test_another_peer_than_the_named_proxy_is_not_believed(serving, addresses):
    with serving(environ={"XWRAP_PROXIES": "10.0.0.0/8"}) as server:
        call(server, "X-Forwarded-For: 203.0.113.7")
    assert addresses == ["127.0.0.1"]
