"""The file of a SQLite data base: whether it is sound, and whether it is still the one that was opened."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from .errors import StoreError
from .state_file import INTENT_COLUMNS, IntentRef

__all__ = [
    "WatchedFile",
    "connect_read_only",
    "connect_unchanged",
    "find_damage",
    "find_damage_unchanged",
    "waiting_pages",
    "wal_of",
]

#: Where the index of the log says how many pages the log has, and how many of them are in the file already (SQLite
#: documentation, "WAL-mode File Format", 2.2 and 2.4).
_PAGES, _PAGES_IN_FILE, _INDEX_HEADER = 16, 96, 136


def wal_of(path: Path) -> Path:
    """Return the write-ahead log of a data base file."""
    return path.with_name(f"{path.name}-wal")


def waiting_pages(path: Path) -> int:
    """Return how many pages of the write-ahead log are not in the file yet."""
    try:
        with path.with_name(f"{path.name}-shm").open("rb") as file:
            header = file.read(_INDEX_HEADER)
    except FileNotFoundError:
        return 0
    if len(header) < _INDEX_HEADER:
        return 0
    return max(0, _u32(header, _PAGES) - _u32(header, _PAGES_IN_FILE))


def _u32(header: bytes, offset: int) -> int:
    return int.from_bytes(header[offset : offset + 4], sys.byteorder)


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a data base file without changing it. Raises sqlite3.OperationalError."""
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=10)


def connect_unchanged(path: Path) -> sqlite3.Connection:
    """Open a data base file without changing it, nor its folder. Raises sqlite3.OperationalError.

    `connect_read_only` makes the files of the write-ahead log where there are none. Then no other program uses the data
    base, and SQLite may be told so; one that begins to use it meanwhile may let the file look damaged.
    """
    if wal_of(path).exists():
        return connect_read_only(path)
    return sqlite3.connect(f"file:{quote(str(path))}?immutable=1", uri=True)


def find_damage(
    path: Path,
    intents: Iterable[IntentRef] = (),
    *,
    thorough: bool = False,
    connect: Callable[[Path], sqlite3.Connection] = connect_read_only,
) -> str | None:
    """Return what is wrong with a file, None when it is sound and has all of these intents. It is not changed.

    `thorough`: the indexes are compared with their tables, too, which takes some times as long. `connect` opens the
    file. Raises sqlite3.OperationalError when it cannot be read now.
    """
    # A log that was left behind may belong to another file; then single pages fit, and the indexes do not.
    log = _stat(wal_of(path))
    check = "integrity_check" if thorough or (log is not None and log.st_size) else "quick_check"
    try:
        with closing(connect(path)) as connection:
            [said] = connection.execute(f"PRAGMA {check}(1)").fetchone()
            if said != "ok":
                return str(said).replace("\n", " ")
            kept = {(intent.journal, intent.id): intent for intent in intents}.values()
            # The names of the two journals come from our own code.
            newest = {
                journal: connection.execute(f"SELECT max(id) FROM {journal}").fetchone()[0]  # noqa: S608
                for journal in {intent.journal for intent in kept}
            }
            for intent in kept:
                question = f"SELECT {', '.join(INTENT_COLUMNS)} FROM {intent.journal} WHERE id = ?"  # noqa: S608
                row = connection.execute(question, (intent.id,)).fetchone()
                if not intent.is_kept_in(row and dict(zip(INTENT_COLUMNS, row, strict=True)), newest[intent.journal]):
                    return f"row {intent.id} of the {intent.journal} is missing"
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        return str(error)
    return None


def find_damage_unchanged(path: Path) -> str | None:
    """Return what is wrong with a file, None when it is sound; nothing is changed, also not in its folder.

    Raises StoreError when it cannot be read now.
    """
    had_log = wal_of(path).exists()
    try:
        damage = find_damage(path, connect=connect_unchanged)
        if damage and not had_log and wal_of(path).exists():  # a server began to write it meanwhile
            damage = find_damage(path, connect=connect_unchanged)
    except sqlite3.OperationalError as error:
        raise StoreError(f"{path} cannot be read: {error}") from None
    return damage


class WatchedFile:
    """A data base file and its log, as they were opened and as they were after the last write of this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._wal = wal_of(path)
        self._identity = _identity(path)
        self._wal_identity = _identity(self._wal)
        self._content = _content(path)

    def problem(self) -> str | None:
        """Return what became of the files; None when they are those that were opened."""
        for path, before in ((self.path, self._identity), (self._wal, self._wal_identity)):
            found = _identity(path)
            if before is not None and found != before:
                return f"the data base file {path} was {'removed' if found is None else 'replaced'} while in use"
        return None

    def was_written(self) -> bool:
        """Return whether another program wrote the file since `note_write`."""
        return _content(self.path) != self._content

    def note_write(self) -> None:
        """Take the file as it is now for what this process wrote. SQLite makes the log with the first write."""
        self._content = _content(self.path)
        if self._wal_identity is None:
            self._wal_identity = _identity(self._wal)

    def note_close(self) -> None:
        """SQLite removes the log when the last connection is closed."""
        self._wal_identity = None


def _identity(path: Path) -> tuple[int, int] | None:
    found = _stat(path)
    return None if found is None else (found.st_dev, found.st_ino)


def _content(path: Path) -> tuple[int, int] | None:
    found = _stat(path)
    return None if found is None else (found.st_mtime_ns, found.st_size)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
