"""Seals exchange keys at rest: AES-256-GCM, each text bound to its account, registration and field.

A sealed text is: version byte 1, 4 bytes naming the master key, 12 random bytes, ciphertext with tag. Moved to another
row or field it does not open. The master keys stand in a file of their own, one a line in base64, the newest first:
the newest seals, all open, so a new key can be put before the old ones.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .settings import SetupError

__all__ = ["Vault", "VaultError"]

_VERSION = b"\x01"


class VaultError(SetupError):
    """The master key, or a sealed text, cannot be used."""


class Vault:
    """Seals and opens texts with the master keys of one file."""

    def __init__(self, keys: list[bytes]) -> None:
        self._keys = {hashlib.sha256(key).digest()[:4]: AESGCM(key) for key in keys}
        self._newest = next(iter(self._keys))
        #: What our ids of orders are derived from. The oldest master key: a new one changes no id.
        self.client_id_secret = HKDF(SHA256(), 32, salt=None, info=b"bitmm client ids").derive(keys[-1])

    @classmethod
    def load(cls, path: Path) -> Vault:
        """Return the vault of a master key file. Raises VaultError for one that is damaged or open to others."""
        try:
            mode, lines = path.stat().st_mode, path.read_text("ascii").split()
        except (OSError, UnicodeDecodeError) as error:
            raise VaultError(f"the master key {path} cannot be read: {error}; put the right file back") from None
        if os.name == "posix" and mode & 0o077:
            raise VaultError(f"the master key {path} can be read by others; run: chmod 600 {path}")
        try:
            keys = [base64.b64decode(line, validate=True) for line in lines]
        except binascii.Error:
            keys = []
        if not keys or any(len(key) != 32 for key in keys):
            raise VaultError(f"the master key {path} is damaged; restore it from your backup")
        return cls(keys)

    @classmethod
    def create(cls, path: Path) -> Vault:
        """Return a vault with a new master key in `path`, readable by its owner alone.

        Raises FileExistsError rather than overwrite a file.
        """
        key = secrets.token_bytes(32)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(key) + b"\n")
            file.flush()
            os.fsync(descriptor)
        return cls([key])

    def seal(self, account_id: int, registration_id: int, field: str, text: str) -> bytes:
        """Return `text`, sealed for this field of this registration alone."""
        head, nonce = _VERSION + self._newest, secrets.token_bytes(12)
        bound_to = _associated_data(head, account_id, registration_id, field)
        return head + nonce + self._keys[self._newest].encrypt(nonce, text.encode(), bound_to)

    def open(self, account_id: int, registration_id: int, field: str, sealed: bytes) -> str:
        """Return the text that was sealed for this field. Raises VaultError for any other field, key or content."""
        head, nonce, body = sealed[:5], sealed[5:17], sealed[17:]
        key = self._keys.get(head[1:])
        try:
            if key is None or head[:1] != _VERSION:
                raise InvalidTag
            return key.decrypt(nonce, body, _associated_data(head, account_id, registration_id, field)).decode()
        except (InvalidTag, ValueError):
            raise VaultError(
                "the master key does not open this data base; put the master key back that belongs to it"
            ) from None

    def check_value(self) -> bytes:
        """Return a sealed known text to keep with the data base; `check` opens it again."""
        return self.seal(0, 0, "check", "xwrap")

    def check(self, sealed: bytes) -> None:
        """Raise VaultError when `sealed` was not made with one of these master keys."""
        self.open(0, 0, "check", sealed)


def _associated_data(head: bytes, account_id: int, registration_id: int, field: str) -> bytes:
    return head + f"|{account_id}|{registration_id}|{field}".encode()
