"""What is a bitcoin address, by the published examples."""

from __future__ import annotations

import pytest

from bitmm.xwrap.exchanges.paper.addresses import is_bitcoin_address

#: Segwit: BIP 350, "Test vectors". Base58Check: Bitcoin Wiki, "Address" and "Testnet", and the first block's.
ADDRESSES = [
    "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
    "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
    "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
    "BC1SW50QGDZ25J",
    "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs",
    "tb1qqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesrxh6hy",
    "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
    "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
    "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc",
    "1111111111111111111114oLvT2",
]
#: BIP 350, "Test vectors": what is invalid, and why.
NOT_SEGWIT = {
    "another prefix": "tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut",
    "the checksum of BIP 173, version 1": "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
    "the checksum of BIP 173, version 2": "tb1z0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqglt7rf",
    "the checksum of BIP 173, version 16": "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL",
    "the checksum of BIP 350, version 0": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh",
    "a letter outside the alphabet": "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
    "version 17": "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R",
    "a program of 1 byte": "bc1pw5dgrnzv",
    "a program of 41 bytes": "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
    "16 bytes in version 0": "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
    "both cases": "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq",
    "more than 4 bits of padding": "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",
    "padding that is not zero": "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j",
    "no program": "bc1gmk9yu",
}
NOT_BASE58CHECK = {
    "another last letter": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
    "another case": "1a1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "a zero byte too few": "111111111111111111114oLvT2",
    "a zero byte too many": "11111111111111111111114oLvT2",
    "a private key": "5HpHagT65TZzG1PH3CSu63k8DbpvD8s5ip4nEB3kEsreAnchuDf",
    "too large a number": "z" * 35,
    "a space in front": " 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
}
NEITHER = ["", "x", "tb1", "tb1q", "bc1", "somebody", "0x52908400098527886E0F7030069857D2E4169EE7", "bc1qı"]


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_of_every_published_form_is_one(text):
    assert is_bitcoin_address(text)


@pytest.mark.parametrize("text", [*NOT_SEGWIT.values(), *NOT_BASE58CHECK.values(), *NEITHER])
def test_what_has_another_form_or_checksum_is_none(text):
    assert not is_bitcoin_address(text)


@pytest.mark.parametrize("text", ["tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "1KxSo9bGBfPVFEtWNLpnUK1bfLNNT4q31L"])
def test_no_address_is_one_with_a_character_changed(text):
    for place, letter in enumerate(text):
        other = "q" if letter != "q" else "p"
        assert not is_bitcoin_address(text[:place] + other + text[place + 1 :])
