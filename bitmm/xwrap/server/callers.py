"""From which address a call comes: that of the connection, or the one that a named proxy wrote down."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ..errors import InvalidRequest

__all__ = ["Network", "caller_address", "is_in", "origin_network", "plain_address", "proxy_network"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: More proxies one after the other than there are anywhere; what stands to the left of so many is not looked at.
_MAX_HOPS = 32
#: 1.2.3.4:567, [::1] and [::1]:5; the port is no part of the address.
_WITH_PORT = re.compile(r"(?P<ipv4>[0-9.]+):[0-9]{1,5}|\[(?P<ipv6>[0-9A-Fa-f:.]+)\](:[0-9]{1,5})?", re.ASCII)


def proxy_network(text: str) -> Network:
    """Return the network that a setting names: an address, or a network like 10.0.0.0/8. Raises InvalidRequest."""
    try:
        return ip_network(text)
    except ValueError:
        raise InvalidRequest(
            f'"{text}" is no IP address and no network; write it like 127.0.0.1 or 10.0.0.0/8'
        ) from None


def caller_address(peer: str, forwarded: Sequence[str], proxies: Sequence[Network]) -> str:
    """Return the address of a caller who reached us through the proxy `peer`.

    `forwarded`: the X-Forwarded-For headers, in their order. Each proxy adds the address that it was reached from on
    the right, so the rightmost one that is no proxy of ours is the caller's; what stands to the left of it was sent by
    the caller, who may write there what he likes. When all are proxies, the leftmost is the caller. Where there is no
    readable address, it is the proxy's own.
    """
    found = peer
    for entry in reversed(",".join(forwarded).rsplit(",", _MAX_HOPS)):
        address = _read_address(entry.strip())
        if address is None:
            return peer
        found = str(address)
        if not is_in(address, proxies):
            break
    return found


def plain_address(text: str) -> str:
    """Return an address of a connection in its usual spelling: 1.2.3.4 for ::ffff:1.2.3.4."""
    address = _read_address(text)
    return text if address is None else str(address)


def origin_network(text: str) -> str:
    """Return what counts as one caller: an IPv4 address, or the /64 of an IPv6 address, which one host has whole."""
    address = _read_address(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return text if address is None else str(address)


def is_in(address: Address | str, networks: Iterable[Network]) -> bool:
    """Return whether an address is in one of these networks."""
    parsed = _read_address(address) if isinstance(address, str) else address
    return parsed is not None and any(parsed in network for network in networks)


def _read_address(text: str) -> Address | None:
    """Return the address, without a port; None: it is none."""
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((match["ipv4"] or match["ipv6"]) if match else text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        # A zone names an interface of the machine that wrote it.
        return address.ipv4_mapped or IPv6Address(int(address))
    return address
