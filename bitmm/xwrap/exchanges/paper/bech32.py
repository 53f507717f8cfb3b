"""Bitcoin addresses in the Bech32 format (BIP 173) and the Bech32m format (BIP 350)."""

from __future__ import annotations

from ..._addresses import BECH32, BECH32_ALPHABET, BECH32M, bech32_polymod, expand_prefix

__all__ = ["is_segwit_address", "testnet_address"]

#: Of the main network, the test networks and the regression test network.
_PREFIXES = ("bc", "tb", "bcrt")


def testnet_address(program: bytes) -> str:
    """Return the version 0 witness address of the test network for a 20-byte program.

    BIP 173, sections "Bech32" and "Segwit address format".
    """
    bits = int.from_bytes(program, "big")
    data = [0] + [(bits >> shift) & 31 for shift in range(155, -1, -5)]
    checksum = bech32_polymod([*expand_prefix("tb"), *data, 0, 0, 0, 0, 0, 0]) ^ BECH32
    data += [(checksum >> shift) & 31 for shift in range(25, -1, -5)]
    return "tb1" + "".join(BECH32_ALPHABET[value] for value in data)


def is_segwit_address(text: str) -> bool:
    """Return whether `text` is a segwit address of a bitcoin network.

    BIP 173, section "Segwit address format", as BIP 350 changes it.
    """
    prefix, _, data = text.lower().rpartition("1")
    if text not in (text.lower(), text.upper()) or prefix not in _PREFIXES or set(data) - set(BECH32_ALPHABET):
        return False
    values = [BECH32_ALPHABET.index(letter) for letter in data]
    version, program = values[:1], values[1:-6]
    # The program is bytes, written in groups of 5 bits; what is left over is less than a group, and zero.
    length, unused = divmod(5 * len(program), 8)
    if not program or not 2 <= length <= 40 or version > [16] or unused > 4 or program[-1] % 2**unused:
        return False
    if version == [0] and length not in (20, 32):
        return False
    # Witness version 0 is in Bech32, all later ones are in Bech32m (BIP 350).
    return bech32_polymod([*expand_prefix(prefix), *values]) == (BECH32M if version[0] else BECH32)
