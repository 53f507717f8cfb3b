"""Passwords and user names: how they are compared, hashed and checked.

A password is argon2id (19 MiB, 2 passes, 1 lane: about 25 ms). Before it is hashed it is brought into the one form that
RFC 7617 (section 2.1) and RFC 8265 (OpaqueString, section 4.2.2) ask for: NFC, and every space U+0020. So "é" opens
whether a keyboard sends one character or two. Nothing is refused here that was a password before: a hash that was made
of another form still opens with that form, and is replaced by one of the normal form then.
"""

from __future__ import annotations

import secrets
import unicodedata
from base64 import b64encode

from argon2 import PasswordHasher
from argon2.exceptions import HashingError, InvalidHashError, VerificationError, VerifyMismatchError

from .problems import Problem, too_busy

__all__ = [
    "Secret",
    "check_name",
    "check_password",
    "hash_password",
    "normal_form",
    "normal_name",
    "stronger_hash",
    "unmatched_hash",
    "verify",
]

#: The fewest characters of a new password.
_MIN_PASSWORD = 8
_MAX_NAME = 100
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class Secret:
    """A text that no repr shows, so that tracebacks with local variables do not show it either."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "<secret>"


def hash_password(password: str | Secret) -> str:
    """Return the argon2id hash of a password in its normal form, as the data base keeps it. Raises Problem 503."""
    try:
        return _HASHER.hash(normal_form(password if isinstance(password, Secret) else Secret(password)))
    except HashingError:
        raise _no_memory() from None


def unmatched_hash() -> str:
    """Return a hash that no known password fits, and that takes as long to verify as any; it takes no time to make."""
    salt, digest = (b64encode(secrets.token_bytes(count)).rstrip(b"=").decode() for count in (16, 32))
    cost = f"m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}"
    return f"$argon2id$v=19${cost}${salt}${digest}"


def verify(password_hash: str, password: Secret) -> str | None:
    """Return the hash that a password fits: in its normal form this one, as it was given a new one of the normal form.

    None: it is wrong, or this is no hash. It takes as long for a wrong password of the same form. Raises Problem 503.
    """
    if _fits(password_hash, normal_form(password)):
        return password_hash
    if normal_form(password) != password.text and _fits(password_hash, password.text):
        return hash_password(password)
    return None


def stronger_hash(password_hash: str, password: Secret) -> str:
    """Return the hash itself, or one of today's strength in its place; the password must fit it."""
    return hash_password(password) if _HASHER.check_needs_rehash(password_hash) else password_hash


def normal_form(password: Secret) -> str:
    """Return the text of a password in its normal form."""
    if password.text.isascii():
        return password.text
    spaced = "".join(" " if unicodedata.category(one) == "Zs" else one for one in password.text)
    return unicodedata.normalize("NFC", spaced)


def normal_name(name: str) -> str:
    """Return a user name in the form in which new ones are kept: NFC."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def check_name(name: str) -> str:
    """Return a new account's name in its normal form. Raises ValueError, which says what is wrong with it.

    What cannot be printed includes the characters that change the direction of a text (Unicode category Cf).
    """
    name = normal_name(name)
    if not name or ":" in name or "/" in name or not name.isprintable():
        raise ValueError(f"{name!r} is no user name; it is printable text without a colon and without a slash")
    if name != name.strip() or len(name) > _MAX_NAME:
        raise ValueError(
            f"{name!r} is no user name; it has at most {_MAX_NAME} characters, and no space at its beginning or end"
        )
    return name


def check_password(password: Secret) -> None:
    """Raise ValueError, which says what is wrong with it, for a new password that is too short."""
    if len(password.text) < _MIN_PASSWORD:
        raise ValueError(f"has {len(password.text)} characters; it needs at least {_MIN_PASSWORD}")


def _fits(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password)
    except (VerifyMismatchError, InvalidHashError):
        return False
    except VerificationError:
        # Without the memory it is not known whether the password is right.
        raise _no_memory() from None


def _no_memory() -> Problem:
    return too_busy("server_busy", "the server has no memory to check a password; try again in a second")
