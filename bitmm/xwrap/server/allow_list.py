"""The allow-list of an account: the addresses that its sends may go to."""

from __future__ import annotations

import re

from .._addresses import is_bech32
from ..exchanges.paper.addresses import is_bitcoin_address
from .problems import Problem

__all__ = ["check_address"]

#: How the addresses begin that have the checksum of Bech32 (SLIP-0173): of Bitcoin and its test networks, of Litecoin.
_BECH32 = re.compile(r"(bc|tb|bcrt|ltc|tltc)1", re.IGNORECASE)
_ETHEREUM = re.compile(r"0x[0-9a-fA-F]{40}")


def check_address(asset: str, address: str, network: str | None) -> None:
    """Raise Problem 422 for what is no address of an asset, as far as its form shows it.

    On a network that is named an asset may have the addresses of another one.
    """
    if asset == "BTC" and network is None:
        is_good = is_bitcoin_address(address)
    elif asset == "ETH" and network is None:
        is_good = _ETHEREUM.fullmatch(address) is not None
    else:
        is_good = is_bech32(address) or not _BECH32.match(address)
    if not is_good:
        raise Problem(
            422,
            "invalid_address",
            f"this is no address of {asset}; a letter is wrong or missing, or it belongs to a network that must be"
            " named",
            field="address",
        )
