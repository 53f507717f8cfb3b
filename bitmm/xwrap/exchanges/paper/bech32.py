"""Addresses of the test network in the Bech32 format (BIP 173)."""

from __future__ import annotations

__all__ = ["testnet_address"]


def testnet_address(program: bytes) -> str:
    """Return the version 0 witness address of the test network for a 20-byte program.

    BIP 173, sections "Bech32" and "Segwit address format".
    """
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    bits = int.from_bytes(program, "big")
    data = [0] + [(bits >> shift) & 31 for shift in range(155, -1, -5)]
    expanded_prefix = [ord(letter) >> 5 for letter in "tb"] + [0] + [ord(letter) & 31 for letter in "tb"]
    checksum = _bech32_polymod([*expanded_prefix, *data, 0, 0, 0, 0, 0, 0]) ^ 1
    data += [(checksum >> shift) & 31 for shift in range(25, -1, -5)]
    return "tb1" + "".join(alphabet[value] for value in data)


def _bech32_polymod(values: list[int]) -> int:
    """Return the checksum of a list of 5-bit values (BIP 173, section "Checksum")."""
    generator = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, factor in enumerate(generator):
            checksum ^= factor if top >> bit & 1 else 0
    return checksum
