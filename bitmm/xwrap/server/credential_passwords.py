"""The passwords of credentials: random, and of a form that secret scanners find in code and logs.

The form is that of GitHub's tokens ("Behind GitHub's new authentication token formats", 2021-04-05): a prefix, random
letters and digits, and a checksum by which a scanner tells a password from a text that looks like one.
"""

from __future__ import annotations

import re
import secrets
import string
import zlib

__all__ = ["is_password", "make_password"]

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PREFIX = "xwrap_"
#: 238 random bits.
_RANDOM, _CHECKSUM = 40, 6
#: server/README.md names it for secret scanners.
_FORM = re.compile(r"xwrap_[0-9A-Za-z]{46}")


def make_password() -> str:
    """Return a new password."""
    text = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return f"{_PREFIX}{text}{_checksum(text)}"


def is_password(text: str) -> bool:
    """Return whether a text is a password that was made here: its form and its checksum are right."""
    body = text.removeprefix(_PREFIX)
    return _FORM.fullmatch(text) is not None and _checksum(body[:_RANDOM]) == body[_RANDOM:]


def _checksum(text: str) -> str:
    """Return the CRC-32 of a text in six characters, base 62."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
