"""Whether a text is a bitcoin address, of the main network or a test network."""

from __future__ import annotations

import hashlib

from .bech32 import is_segwit_address

__all__ = ["is_bitcoin_address"]

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
#: The first byte of an address that pays to a key or to a script: on the main network, then on the test networks.
_VERSIONS = (0x00, 0x05, 0x6F, 0xC4)


def is_bitcoin_address(text: str) -> bool:
    """Return whether `text` is an address, its checksum included: Base58Check, Bech32 or Bech32m."""
    return is_segwit_address(text) or _is_base58check_address(text)


def _is_base58check_address(text: str) -> bool:
    """Return whether `text` is the version, the 20 bytes of a hash and a checksum (Bitcoin Wiki, "Base58Check")."""
    if not 26 <= len(text) <= 35 or set(text) - set(_BASE58):
        return False
    number = 0
    for letter in text:
        number = number * 58 + _BASE58.index(letter)
    if number >= 256**25:
        return False
    decoded = number.to_bytes(25, "big")
    # Each zero byte in front is written as a "1", and the digits of the rest have none in front.
    zeros = len(decoded) - len(decoded.lstrip(b"\0"))
    ones = len(text) - len(text.lstrip("1"))
    payload, checksum = decoded[:-4], decoded[-4:]
    digest = hashlib.sha256(hashlib.sha256(payload).digest()).digest()
    return zeros == ones and payload[0] in _VERSIONS and digest[:4] == checksum
