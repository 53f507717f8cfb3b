"""Whether two spellings are one address of a wallet."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = [
    "BECH32",
    "BECH32M",
    "BECH32_ALPHABET",
    "bech32_polymod",
    "expand_prefix",
    "is_bech32",
    "is_caseless",
    "same_address",
]

BECH32_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
#: What `bech32_polymod` makes of a whole text with its checksum: in Bech32 (BIP 173), and in Bech32m (BIP 350).
BECH32, BECH32M = 1, 0x2BC830A3
_HEXADECIMAL = r"(?ai)0x[0-9a-f]+"


def same_address(one: object, other: object) -> bool:
    """Return whether two addresses are the same wallet: the same texts, but for a case that means nothing.

    That is the case of hexadecimal digits after 0x (EIP-55 puts a checksum in it), and that of Bech32, which is written
    in lower or in upper case throughout (BIP 173). In any other format, as Base58, a letter in another case is another
    letter. What is no text is no address.
    """
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    return one == other or (one.lower() == other.lower() and is_caseless(one) and is_caseless(other))


def is_caseless(address: str) -> bool:
    """Return whether the address is in a format in which the case of a letter means nothing: see `same_address`."""
    return re.fullmatch(_HEXADECIMAL, address) is not None or is_bech32(address)


def is_bech32(text: str) -> bool:
    """Return whether `text` is in Bech32 or Bech32m, with a right checksum and in one case (BIP 173, BIP 350)."""
    if not text.isascii() or text not in (text.lower(), text.upper()) or len(text) > 90:
        return False
    prefix, _, rest = text.lower().rpartition("1")
    if not prefix or len(rest) < 6 or not set(rest) <= set(BECH32_ALPHABET):
        return False
    data = [BECH32_ALPHABET.index(letter) for letter in rest]
    return bech32_polymod([*expand_prefix(prefix), *data]) in (BECH32, BECH32M)


def expand_prefix(prefix: str) -> list[int]:
    """Return the values that the human-readable part of a Bech32 text has in its checksum (BIP 173)."""
    return [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]


def bech32_polymod(values: Iterable[int]) -> int:
    """Return the checksum of 5-bit values (BIP 173, section "Checksum")."""
    generator = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, factor in enumerate(generator):
            checksum ^= factor if top >> bit & 1 else 0
    return checksum
