"""The file of a SQLite data base: whether it is sound, and whether it is still the one that was opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from .state_file import INTENT_COLUMNS, IntentRef

__all__ = ["WatchedFile", "find_damage"]


def wal_of(path: Path) -> Path:
    """Return the write-ahead log of a data base file."""
    return path.with_name(f"{path.name}-wal")


def find_damage(path: Path, intents: Iterable[IntentRef] = ()) -> str | None:
    """Return what is wrong with a file, None when it is sound and has all of these intents. It is not changed.

    Raises sqlite3.OperationalError when it cannot be read now.
    """
    # A log that was left behind may belong to another file; then single pages fit, and the indexes do not.
    check = "integrity_check" if _size(wal_of(path)) else "quick_check"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=10)) as connection:
            [said] = connection.execute(f"PRAGMA {check}(1)").fetchone()
            if said != "ok":
                return str(said).replace("\n", " ")
            for intent in {(intent.journal, intent.id): intent for intent in intents}.values():
                # The names of the two journals come from our own code.
                question = f"SELECT {', '.join(INTENT_COLUMNS)} FROM {intent.journal} WHERE id = ?"  # noqa: S608
                row = connection.execute(question, (intent.id,)).fetchone()
                if not intent.is_kept_in(row and dict(zip(INTENT_COLUMNS, row, strict=True))):
                    return f"row {intent.id} of the {intent.journal} is missing"
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        return str(error)
    return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


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
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _content(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size
