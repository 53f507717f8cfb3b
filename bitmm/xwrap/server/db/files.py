"""Locking a file and bringing it to the disk: one set of functions for POSIX and for Windows.

Windows has neither `fcntl`, `os.pwrite` and `os.fdatasync` nor a way to open a folder. It locks ranges of bytes, which
no other process can read then (the C library's `_locking`, in Python `msvcrt.locking`).
"""

from __future__ import annotations

import errno
import os
import time
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["lock_file", "open_private", "sync_file", "sync_folder", "write_whole"]


def _optional(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None


_fcntl, _msvcrt = _optional("fcntl"), _optional("msvcrt")
#: The byte that is locked on Windows: behind the end of the file, whose bytes all may read then.
_LOCKED_BYTE = 2**30
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
    """Return a descriptor of a file for reading and writing, which is made for its owner alone when there is none."""
    return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)


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
    descriptor = os.open(path, os.O_RDWR)
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
