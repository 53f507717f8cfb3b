"""Two spellings of one address of a wallet, and two addresses that look alike."""

from __future__ import annotations

import pytest

from bitmm.xwrap._addresses import is_bech32, same_address
from bitmm.xwrap._parsing import check_same

#: The examples of EIP-55, BIP 173, BIP 350 and of Base58 in the Bitcoin wiki.
ETHEREUM = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
BECH32 = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
BECH32M = "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"
BASE58 = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"


@pytest.mark.parametrize("address", [ETHEREUM, BECH32, BECH32M, BASE58, "rDsbeomae4FXwgQTJp9Rs64Qg9vDiTCdBv"])
def test_an_address_is_the_same_wallet_as_itself(address):
    assert same_address(address, address)


@pytest.mark.parametrize("address", [ETHEREUM, BECH32, BECH32M])
def test_a_case_that_means_nothing_makes_no_other_address(address):
    other = address.upper() if address != ETHEREUM else address.lower()
    assert same_address(address, other)
    assert same_address(other, address)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BASE58, BASE58.lower()),
        (BASE58, BASE58.swapcase()),
        (BECH32, BECH32.capitalize()),
        # It looks like Bech32, but its checksum is wrong: a case may mean something in it.
        (BECH32[:-1] + "q", (BECH32[:-1] + "q").upper()),
        ("savings", "SAVINGS"),
        (ETHEREUM, ETHEREUM[2:]),
        (ETHEREUM, ETHEREUM[:-1] + "e"),
        (ETHEREUM, f" {ETHEREUM}"),
        ("0xg", "0xG"),
        ("0x", "0X"),
        ("", None),
        (None, None),
        (1, 1),
    ],
)
def test_everything_else_is_compared_to_the_letter(one, other):
    assert not same_address(one, other)
    assert not same_address(other, one)


@pytest.mark.parametrize(
    "text", ["A12UEL5L", "a12uel5l", "A1LQFN3A", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw", "?1v759aa"]
)
def test_the_valid_examples_of_the_standards_are_bech32(text):
    assert is_bech32(text)


@pytest.mark.parametrize("text", ["", "1", "1qzzfhee", "A1G7SGD8", "a12UEL5L", "pzry9x0s0muk", "x1b4n0q5v", "é12uel5l"])
def test_the_invalid_examples_of_the_standards_are_not(text):
    assert not is_bech32(text)


def test_a_record_may_spell_the_address_of_a_send_in_another_case():
    check_same({"address": ETHEREUM.lower()}, {"address": ETHEREUM})
    for other in (BASE58.lower(), None, 7):
        with pytest.raises(ValueError, match="'address' is not what was asked for"):
            check_same({"address": other}, {"address": BASE58})
