"""Addresses of the test network in the Bech32 format (BIP 173)."""

from __future__ import annotations

from ..._addresses import BECH32_ALPHABET, bech32_polymod, expand_prefix

__all__ = ["testnet_address"]


def testnet_address(program: bytes) -> str:
    """Return the version 0 witness address of the test network for a 20-byte program.

    BIP 173, sections "Bech32" and "Segwit address format".
    """
    bits = int.from_bytes(program, "big")
    data = [0] + [(bits >> shift) & 31 for shift in range(155, -1, -5)]
    checksum = bech32_polymod([*expand_prefix("tb"), *data, 0, 0, 0, 0, 0, 0]) ^ 1
    data += [(checksum >> shift) & 31 for shift in range(25, -1, -5)]
    return "tb1" + "".join(BECH32_ALPHABET[value] for value in data)
