"""Seals exchange keys at rest: AES-256-GCM, each text bound to its account, registration and field.

A sealed text is: version byte 1, 4 bytes naming the master key, 12 random bytes, ciphertext with tag. Moved to another
row or field it does not open. Every key of the file opens (see `key_file`). The one that seals is named by the data
base, by the text there which every start opens: so servers that read their file at different times seal with the same
key, and after a rotation began none seals with an old one.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .key_file import MasterKeys, VaultError, create_keys, key_id, read_keys
from .passwords import Secret

__all__ = ["Vault", "VaultError", "sealed_with"]

_log = logging.getLogger(__name__)

_VERSION = b"\x01"
#: Seconds after which the file is read again that did not have a key.
_READ_AGAIN_SECONDS = 1.0


def sealed_with(sealed: bytes) -> bytes:
    """Return the 4 bytes that name the master key of a sealed text."""
    return sealed[1:5]


class Vault:
    """Seals and opens texts with the master keys of one file."""

    def __init__(self, keys: MasterKeys, path: Path, check_value: Callable[[], bytes | None] = lambda: None) -> None:
        """`check_value` returns the text of the data base that names the sealing key; None: the newest one seals.

        Within a write it must keep that text from being replaced until the write ends.
        """
        self._path = path
        self._check_value = check_value
        self._newest = keys.newest
        self._ciphers = _ciphers(keys)
        self._read_again_at = 0.0
        self._lock = threading.Lock()
        #: What our ids of orders are derived from; no rotation changes it.
        self.client_id_secret = keys.client_id_secret

    @classmethod
    def load(cls, path: Path, check_value: Callable[[], bytes | None] = lambda: None) -> Vault:
        """Return the vault of a key file. Raises VaultError, which says what to do."""
        return cls(read_keys(path), path, check_value)

    @classmethod
    def create(cls, path: Path, check_value: Callable[[], bytes | None] = lambda: None) -> Vault:
        """Return a vault with a new master key in `path`. Raises FileExistsError rather than overwrite a file."""
        return cls(create_keys(path), path, check_value)

    def seal(self, account_id: int, registration_id: int, field: str, secret: Secret) -> bytes:
        """Return a secret, sealed for this field of this registration alone. Raises VaultError without its key."""
        check_value = self._check_value()
        id = self._newest if check_value is None else sealed_with(check_value)
        if (cipher := self._cipher(id)) is None:
            raise _wrong_key(self._path)
        return _seal(cipher, id, account_id, registration_id, field, secret)

    def seal_with_newest(self, account_id: int, registration_id: int, field: str, secret: Secret) -> bytes:
        """Return the same, sealed with the newest key of the file."""
        return _seal(self._ciphers[self._newest], self._newest, account_id, registration_id, field, secret)

    def open(self, account_id: int, registration_id: int, field: str, sealed: bytes) -> str:
        """Return the text that was sealed for this field. Raises VaultError for any other field, key or content.

        The file is read again for a key that it did not have: another process may have rotated the keys.
        """
        head, nonce, body = sealed[:5], sealed[5:17], sealed[17:]
        try:
            if head[:1] != _VERSION or (cipher := self._cipher(sealed_with(sealed))) is None:
                raise InvalidTag
            return cipher.decrypt(nonce, body, _associated_data(head, account_id, registration_id, field)).decode()
        except (InvalidTag, ValueError):
            raise _wrong_key(self._path) from None

    def check_value(self) -> bytes:
        """Return a known text, sealed with the newest key, to keep with the data base; `check` opens it again."""
        return self.seal_with_newest(0, 0, "check", Secret("xwrap"))

    def check(self, sealed: bytes) -> None:
        """Raise VaultError when `sealed` was not made with one of these master keys."""
        self.open(0, 0, "check", sealed)

    def _cipher(self, id: bytes) -> AESGCM | None:
        """Return what opens the texts of the key with this name; None: neither this vault nor its file has it."""
        if id not in self._ciphers:
            with self._lock:
                if id not in self._ciphers and time.monotonic() >= self._read_again_at:
                    self._read_again()
                    self._read_again_at = 0.0 if id in self._ciphers else time.monotonic() + _READ_AGAIN_SECONDS
        return self._ciphers.get(id)

    def _read_again(self) -> None:
        try:
            keys = read_keys(self._path)
        except VaultError as error:
            _log.warning("%s", error)
            return
        # What was sealed with an old key may have been read from the data base before it was sealed anew.
        self._ciphers = {**self._ciphers, **_ciphers(keys)}
        self._newest = keys.newest


def _ciphers(keys: MasterKeys) -> dict[bytes, AESGCM]:
    return {key_id(key): AESGCM(key) for key in keys.keys}


def _seal(cipher: AESGCM, id: bytes, account_id: int, registration_id: int, field: str, secret: Secret) -> bytes:
    head, nonce = _VERSION + id, secrets.token_bytes(12)
    bound_to = _associated_data(head, account_id, registration_id, field)
    return head + nonce + cipher.encrypt(nonce, secret.text.encode(), bound_to)


def _associated_data(head: bytes, account_id: int, registration_id: int, field: str) -> bytes:
    return head + f"|{account_id}|{registration_id}|{field}".encode()


def _wrong_key(path: Path) -> VaultError:
    return VaultError(
        f"the master key {path} does not open this data base; put the master key back that belongs to it: "
        f"cp COPY {path}"
    )
