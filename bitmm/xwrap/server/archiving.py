"""Old orders are moved from the journal to archives, while servers run: in small batches, with pauses between them.

A batch is on the disk, in its file, before its rows leave the data base. In the transaction in which they leave, what
stays of each order is added, so that its key is never executed again. A batch holds up other writes for some
milliseconds: how many rows it has follows from how long the one before took.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from .archive_files import ArchiveFile, locked_folder
from .db.archive import ARCHIVED_COLUMNS, ChangedError
from .db.records import now
from .db.state_file import REFUSED_SECONDS
from .db.store import Store

__all__ = ["LEAST_DAYS", "Archived", "archive_orders"]

Row = dict[str, Any]

#: A state file takes what is missing of younger rows for lost.
LEAST_DAYS = int(REFUSED_SECONDS // 86400)
#: Rows of the first batch, of the smallest and of the largest one.
_FIRST, _LEAST, _MOST = 32, 8, 128
#: Seconds for which a batch may hold up other writes before the next one gets smaller, and below which it gets larger.
_LONG, _SHORT = 0.01, 0.005
#: The pause after a batch, in times of what it took.
_REST = 4.0
#: The rows of a file. What a file has is kept in mind as long as it is written.
_IN_FILE = 100_000
#: A server writes each 10 seconds that the data base is in use.
_SERVED_SECONDS = 30.0


class Archived(NamedTuple):
    """What was moved: how many orders, to which files, and for how long a batch held up other writes at most."""

    rows: int
    files: list[str]
    longest: float
    #: Archives whose files are not in the folder, though their command was broken off.
    elsewhere: list[str]


def archive_orders(
    store: Store, folder: Path, days: int, report: Callable[[int, int], None] = lambda _done, _total: None
) -> Archived:
    """Move orders that ended so many days ago, at least LEAST_DAYS, to files in a folder.

    Raises StoreError and OSError. A command that was broken off is finished by the next one for its folder. `report` is
    called with how many orders were moved, of about how many.
    """
    with locked_folder(folder):
        return _Archiving(store, folder, now(days * 86400.0), report).run()


class _Archiving:
    """One run of the command."""

    def __init__(self, store: Store, folder: Path, until: str, report: Callable[[int, int], None]) -> None:
        self._store, self._folder, self._until, self._report = store, folder, until, report
        self._installation = str(store.history.create()["installation"])
        self._total = int(store.archive.count(until)["rows"])
        self._size = _FIRST
        self._rows, self._longest = 0, 0.0
        self._files: list[str] = []

    def run(self) -> Archived:
        # Before the first write of the command, too.
        self._store.archive.let_others_write(is_served=self._is_served())
        below = self._store.archive.first_later(self._until)
        file = ArchiveFile.left_in(self._folder, self._installation)
        while below or file is not None:
            batch, next_below = self._store.archive.old(self._until, below, self._size)
            if file is None and batch:
                file = ArchiveFile.new_in(self._folder, self._installation)
            if file is not None:
                file = self._write(file, batch, is_last=not next_below)
            below = next_below
        return Archived(self._rows, self._files, self._longest, self._finish_renamed())

    def _write(self, file: ArchiveFile, batch: list[Row], *, is_last: bool) -> ArchiveFile | None:
        """Write a batch to a file, which is returned unless it is complete then."""
        try:
            archive = self._store.archive.begin(file.name)
            if batch:
                self._archive(file, archive, batch)
            if file.rows < _IN_FILE and not is_last:
                return file
            if file.rows:
                self._files.append(file.name)
            file.finish(ARCHIVED_COLUMNS)
        except BaseException:
            file.close()
            raise
        self._store.archive.finish(file.name)
        return None

    def _archive(self, file: ArchiveFile, archive: int, batch: list[Row]) -> None:
        file.append(batch)
        self._store.archive.let_others_write(is_served=self._is_served())
        try:
            took = self._store.archive.remove(archive, batch)
        except ChangedError:
            # It is for the next run; what the file has of it is not the newest.
            return
        self._rows, self._longest = self._rows + len(batch), max(self._longest, took)
        self._report(self._rows, self._total)
        if took > _LONG:
            self._size = max(_LEAST, self._size // 2)
        elif took < _SHORT:
            self._size = min(_MOST, self._size * 2)
        time.sleep(_REST * took)

    def _is_served(self) -> bool:
        """Return whether a server uses the data base, or did so some seconds ago."""
        row = self._store.history.create()
        return datetime.fromisoformat(row["heartbeat"]) > datetime.now(UTC) - timedelta(seconds=_SERVED_SECONDS)

    def _finish_renamed(self) -> list[str]:
        """Finish archives whose command was killed when their files were complete; return the others."""
        elsewhere = []
        for name in self._store.archive.unfinished():
            if (self._folder / name).exists():
                self._store.archive.finish(name)
            else:
                elsewhere.append(name)
        return elsewhere
