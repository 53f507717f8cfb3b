"""Files for their owner alone: opened without following links, locked, brought to the disk, on POSIX and on Windows.

Windows has neither `fcntl`, `os.pwrite` and `os.fdatasync` nor a way to open a folder. It locks ranges of bytes, which
no other process can read then (the C library's `_locking`, in Python `msvcrt.locking`).
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from .errors import StoreError

__all__ = [
    "O_NOFOLLOW",
    "O_NONBLOCK",
    "check_private_folder",
    "copy_rights",
    "foreign_owner",
    "give_to",
    "is_open_to_others",
    "is_readable_by_acl_alone",
    "lock_file",
    "make_private_folder",
    "open_private",
    "sync_file",
    "sync_folder",
    "user_id",
    "user_name",
    "write_whole",
]


def _optional(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None


_fcntl, _msvcrt, _pwd = _optional("fcntl"), _optional("msvcrt"), _optional("pwd")
#: Of `os.open`: a link is refused (ELOOP). Windows has no such flag, and only administrators make links there.
O_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
#: The same: the opening of a named pipe does not wait for the other end.
O_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
#: The byte that is locked on Windows: behind the end of the file, whose bytes all may read then.
_LOCKED_BYTE = 2**30
#: Of an access control list: the entries of the owner, of one named user, and the mask of what all others get.
_ACL_OWNER, _ACL_USER, _ACL_MASK = 0x01, 0x02, 0x10
#: What `msvcrt.locking` says when another process has the lock.
_IS_LOCKED = {errno.EACCES, errno.EDEADLK}
_WAIT_SECONDS = 0.05


def lock_file(descriptor: int, *, wait: bool = False) -> None:
    """Lock an open file until it is closed; no other process can lock it as long.

    Raises BlockingIOError when another process has locked it, or waits for that with `wait`.
    """
    if _fcntl is not None:
        _fcntl.flock(descriptor, _fcntl.LOCK_EX | (0 if wait else _fcntl.LOCK_NB))
        return
    while True:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            _msvcrt.locking(descriptor, _msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno not in _IS_LOCKED:
                raise
            if not wait:
                raise BlockingIOError(errno.EAGAIN, "another process has locked the file") from None
            time.sleep(_WAIT_SECONDS)
        else:
            return


def open_private(path: Path) -> int:
    """Return a descriptor of a file for reading and writing, which is made for its owner alone when there is none.

    Raises StoreError for a link: what is behind it would be written over, or be made where another user wants it.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | O_NOFOLLOW | getattr(os, "O_BINARY", 0), 0o600)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise StoreError(f"{path} is a link, and nothing is written through one; run: rm {path}") from None


def make_private_folder(path: Path, name: str = "the data folder") -> None:
    """Make a folder for its owner alone, when there is none. Raises StoreError as `check_private_folder` does."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    check_private_folder(path, name)


def check_private_folder(path: Path, name: str = "the data folder") -> None:
    """Raise StoreError, which says what to do, for a folder of another user, or one that others can look into."""
    found = path.stat()
    if problem := foreign_owner(found):
        raise StoreError(f"{name} {path} {problem}: sudo chown -R {user_name()} {path}")
    if is_open_to_others(found):
        raise StoreError(f"{name} {path} can be read by others; run: chmod 700 {path}")


def foreign_owner(found: os.stat_result) -> str | None:
    """Return that a file belongs to another user than the one who runs this, and what to do; None: it does not."""
    if _pwd is None or found.st_uid == user_id():
        return None
    owner = user_name(found.st_uid)
    return f"belongs to {owner}, and this runs as {user_name()}; run it as {owner}, or"


def is_open_to_others(found: os.stat_result) -> bool:
    """Return whether others than its owner may read or write a file. Windows does not say it so."""
    return _pwd is not None and found.st_mode & 0o077 != 0


def is_readable_by_acl_alone(descriptor: int, found: os.stat_result) -> bool:
    """Return whether an open file is root's, and may be read by this user and nobody else, and be written by neither.

    So systemd hands a credential to a service (LoadCredential=) where its file system has access control lists: the
    group's bits of the mode are then the list's mask, and say nothing of the group.
    """
    if _pwd is None or found.st_uid != 0 or found.st_mode & 0o237:
        return False
    try:
        entries = _acl_entries(os.getxattr(descriptor, "system.posix_acl_access"))
    except (OSError, AttributeError, struct.error):  # no list, no such call (macOS), or a list of another form
        return False
    granted = {(tag, id) for tag, permissions, id in entries if permissions and tag not in {_ACL_OWNER, _ACL_MASK}}
    return granted == {(_ACL_USER, user_id())}


def _acl_entries(attribute: bytes) -> list[tuple[int, int, int]]:
    """Return tag, permissions and id of each entry (linux/posix_acl_xattr.h: a version, then 8 bytes an entry)."""
    return list(struct.iter_unpack("<HHI", attribute[4:]))


def user_id() -> int | None:
    """Return the number of the user who runs this; None on Windows."""
    return None if _pwd is None else os.geteuid()


def give_to(descriptor: int, user: int) -> None:
    """Give an open file to another user, which only root can do."""
    os.fchown(descriptor, user, user)


def user_name(id: int | None = None) -> str:
    """Return the name of a user of this machine, by default of the one who runs this; the number of one without."""
    if _pwd is None:
        return "this user"
    number = user_id() if id is None else id
    try:
        return str(_pwd.getpwuid(number).pw_name)
    except KeyError:
        return str(number)


def copy_rights(descriptor: int, found: os.stat_result) -> None:
    """Give an open file the mode of another one, and its group where this user is in it."""
    if _pwd is None:
        return
    with suppress(PermissionError):
        os.fchown(descriptor, -1, found.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(found.st_mode))


def write_whole(descriptor: int, content: bytes) -> None:
    """Write `content` over the beginning of a file; it is on the disk when this returns. Raises OSError."""
    if hasattr(os, "pwrite"):
        os.pwrite(descriptor, content, 0)
    else:
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, content)
    getattr(os, "fdatasync", os.fsync)(descriptor)


def sync_file(path: Path) -> None:
    """Bring a file, and its name, to the disk."""
    # Windows flushes only what is open for writing.
    descriptor = os.open(path, os.O_RDWR | O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk. Windows has no call for it: NTFS keeps a journal of its names."""
    if _fcntl is None:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
