"""The passwords of credentials."""

from __future__ import annotations

import re

from bitmm.xwrap.server.credential_passwords import is_password, make_password


def test_a_password_has_the_form_that_scanners_look_for_and_a_checksum():
    password = make_password()
    assert re.fullmatch(r"xwrap_[0-9A-Za-z]{46}", password)
    assert is_password(password)


def test_no_two_passwords_are_alike():
    assert len({make_password() for _ in range(1000)}) == 1000


def test_a_text_of_the_same_form_with_another_checksum_is_no_password():
    password = make_password()
    changed = password[:10] + ("a" if password[10] != "a" else "b") + password[11:]
    assert not is_password(changed)
    assert not is_password(password[:-1])
    assert not is_password("")


def test_the_checksum_is_the_crc_32_in_base_62():
    assert is_password("xwrap_" + "0" * 40 + "2kaqcA")
