"""The keyring of the user's desktop, through the library `keyring`, where both are there.

Its backends fail with exceptions of many libraries, as those of D-Bus: each means that there is no keyring to use.
"""

from __future__ import annotations

from contextlib import suppress

__all__ = ["forget_password", "keep_password", "kept_password"]

_SERVICE = "xwrap"
#: What keyring itself calls recommended; below are backends that encrypt nothing, keep nothing, or always fail.
_RECOMMENDED = 1


def keep_password(profile: str, password: str) -> bool:
    """Keep the password of a profile; return whether there is a keyring that gives it back."""
    try:
        import keyring
    except ImportError:
        return False
    try:
        if keyring.get_keyring().priority < _RECOMMENDED:
            return False
        keyring.set_password(_SERVICE, profile, password)
        return keyring.get_password(_SERVICE, profile) == password
    except Exception:
        return False


def kept_password(profile: str) -> str | None:
    """Return the password of a profile; None: the keyring does not give it."""
    try:
        import keyring

        return keyring.get_password(_SERVICE, profile)
    except Exception:
        return None


def forget_password(profile: str) -> None:
    """Take the password of a profile out of the keyring; one that is not there is no error."""
    with suppress(Exception):
        import keyring

        keyring.delete_password(_SERVICE, profile)
