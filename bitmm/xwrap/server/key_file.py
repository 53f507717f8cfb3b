"""The file of the master keys: one key a line in base64, the newest first, for its owner alone.

A line "client-ids:" with 32 bytes in base64 has what our ids of orders are derived from. Where there is none, that is
derived from the oldest key. The line is written together with every further key, so that the oldest key can be removed
and no id changes: an order is looked up at its exchange by an id that it got years ago.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .db.files import (
    O_NOFOLLOW,
    O_NONBLOCK,
    copy_rights,
    foreign_owner,
    is_open_to_others,
    is_readable_by_acl_alone,
    lock_file,
    open_private,
    sync_folder,
    user_name,
)
from .settings import SetupError

__all__ = ["MasterKeys", "VaultError", "add_key", "create_keys", "drop_old_keys", "key_id", "locked", "read_keys"]

_CLIENT_IDS = "client-ids:"
_KEY_BYTES = 32
#: A file with more bytes is no key file.
_MAX_BYTES = 65_536


class VaultError(SetupError):
    """The master key, or a sealed text, cannot be used."""


def key_id(key: bytes) -> bytes:
    """Return the 4 bytes that name a master key in what it sealed."""
    return hashlib.sha256(key).digest()[:4]


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """The content of a key file: the keys, the newest first, and what our ids of orders are derived from."""

    keys: tuple[bytes, ...] = field(repr=False)
    client_id_secret: bytes = field(repr=False)

    @property
    def newest(self) -> bytes:
        """Return the 4 bytes that name the newest key."""
        return key_id(self.keys[0])

    @property
    def ids(self) -> list[bytes]:
        """Return what names the keys, the newest first."""
        return [key_id(key) for key in self.keys]


def read_keys(path: Path) -> MasterKeys:
    """Return the keys of a file. Raises VaultError, which says what to do, for one that may not or cannot be used."""
    return _parse(path, _content(path))


def create_keys(path: Path) -> MasterKeys:
    """Make a file with a new key, and return that. Raises FileExistsError rather than overwrite a file."""
    keys = _with_secret((secrets.token_bytes(_KEY_BYTES),))
    _write(path, base64.b64encode(keys.keys[0]) + b"\n")
    sync_folder(path.parent)
    return keys


def add_key(path: Path) -> MasterKeys:
    """Put a new key before the others of a file, and return them all. Raises VaultError."""
    keys = read_keys(path)
    new = secrets.token_bytes(_KEY_BYTES)
    while key_id(new) in keys.ids:
        new = secrets.token_bytes(_KEY_BYTES)
    return _replace(path, MasterKeys((new, *keys.keys), keys.client_id_secret))


def drop_old_keys(path: Path) -> MasterKeys:
    """Leave the newest key alone in a file, and return it. Raises VaultError."""
    keys = read_keys(path)
    return _replace(path, MasterKeys(keys.keys[:1], keys.client_id_secret))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time into the block, for each key file. Raises VaultError when another one is in it."""
    descriptor = open_private(path.with_name(f"{path.name}.lock"))
    try:
        try:
            lock_file(descriptor)
        except BlockingIOError:
            raise VaultError(f"another command works on the master key {path}; wait until it has ended") from None
        yield
    finally:
        os.close(descriptor)


def _content(path: Path) -> bytes:
    """Return the bytes of a file that only this user can have written and read."""
    try:
        # Not blocking: a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise VaultError(_no_file(path))
        is_lent = is_readable_by_acl_alone(descriptor, found)
        if not is_lent and (problem := foreign_owner(found)):
            raise VaultError(f"the master key {path} {problem}: sudo chown {user_name()} {path}")
        if not is_lent and is_open_to_others(found):
            raise VaultError(f"the master key {path} can be read by others; run: chmod 600 {path}")
        return os.read(descriptor, _MAX_BYTES + 1)
    finally:
        os.close(descriptor)


def _unreadable(path: Path, error: OSError) -> VaultError:
    if path.is_symlink():
        return VaultError(
            f"the master key {path} is a link, and none is followed; name the file itself: "
            f"XWRAP_MASTER_KEY_FILE={path.resolve()}"
        )
    if isinstance(error, FileNotFoundError):
        return VaultError(f"the master key {path} is missing; put it back from your copy: cp COPY {path}")
    if path.is_dir():
        return VaultError(_no_file(path))
    if isinstance(error, PermissionError):
        user = user_name()
        return VaultError(f"the master key {path} cannot be read by {user}; run: sudo chown {user} {path}")
    return VaultError(f"the master key {path} cannot be read: {error.strerror}; put it back: cp COPY {path}")


def _no_file(path: Path) -> str:
    kind = "a folder" if path.is_dir() else "no file"
    return f"the master key {path} is {kind}; name the key file: XWRAP_MASTER_KEY_FILE={path / 'master.key'}"


def _parse(path: Path, content: bytes) -> MasterKeys:
    damaged = VaultError(f"the master key {path} is damaged; put it back from your copy: cp COPY {path}")
    keys, secret = [], None
    try:
        if len(content) > _MAX_BYTES:
            raise damaged
        for line in content.decode("ascii").split():
            if line.startswith(_CLIENT_IDS):
                secret = base64.b64decode(line.removeprefix(_CLIENT_IDS), validate=True)
            else:
                keys.append(base64.b64decode(line, validate=True))
    except (binascii.Error, UnicodeDecodeError):
        raise damaged from None
    keys = list(dict.fromkeys(keys))
    texts = keys if secret is None else [*keys, secret]
    if not keys or any(len(text) != _KEY_BYTES for text in texts):
        raise damaged
    # Of two keys with one name it could not be said which one opens a text.
    if len({key_id(key) for key in keys}) < len(keys):
        raise damaged
    return _with_secret(tuple(keys)) if secret is None else MasterKeys(tuple(keys), secret)


def _with_secret(keys: tuple[bytes, ...]) -> MasterKeys:
    return MasterKeys(keys, HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"bitmm client ids").derive(keys[-1]))


def _replace(path: Path, keys: MasterKeys) -> MasterKeys:
    """Replace a file by one with these keys: whenever the process ends, the name stands for one of the two."""
    lines = [*map(base64.b64encode, keys.keys), _CLIENT_IDS.encode() + base64.b64encode(keys.client_id_secret)]
    new = path.with_name(f"{path.name}.new")
    try:
        new.unlink(missing_ok=True)  # of a process that was killed
        _write(new, b"\n".join(lines) + b"\n", like=path)
        new.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise VaultError(
            f"the master key {path} cannot be replaced: {error.strerror}; let {user_name()} write its "
            f"folder {path.parent}"
        ) from None
    return keys


def _write(path: Path, content: bytes, *, like: Path | None = None) -> None:
    """Write a new file for its owner alone, with the group and mode of `like`; it is on the disk on return."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if like is not None:
            copy_rights(descriptor, like.stat())
        file.write(content)
        file.flush()
        os.fsync(descriptor)
