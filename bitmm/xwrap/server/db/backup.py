"""Backups of a SQLite data base: made while a server uses it, and put in its place when none does."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from .completeness import open_state_file
from .errors import StateFileInUseError, StoreError
from .files import O_NOFOLLOW, sync_file
from .history import HistoryGap
from .records import now
from .sqlite_file import connect_read_only, find_damage, wal_of
from .state_file import State, StateFile
from .store import Store

__all__ = ["Restored", "back_up", "restore"]


#: After so many of SQLite's own instructions it is said how much of a copy is written: some ten times a second.
_INSTRUCTIONS = 500_000


class Restored(NamedTuple):
    """What a restored data base may lack, and the file that was in its place; None: there was none."""

    gap: HistoryGap
    replaced: Path | None


def back_up(
    store: Store, state_file: Path, target: Path, report: Callable[[int, int], None] = lambda _done, _total: None
) -> None:
    """Write a copy of a SQLite data base as it is at one moment to the new file `target`, for its owner alone.

    The copy has all that was committed before this was called, and its heartbeat says when that was. SQLite's own check
    of the whole file finds it sound; otherwise it is removed. `report` is called with the bytes that are written, of
    about how many. Raises StoreError.
    """
    # What was lost since a server started last must not be taken for complete.
    with suppress(StateFileInUseError):  # a server that runs has looked
        open_state_file(store.history, state_file, shared=False).close()
    began = now()
    _copy(Path(store.where), target, report)
    with closing(sqlite3.connect(target)) as connection:
        connection.execute("UPDATE history SET heartbeat = max(heartbeat, ?)", (began,))
        connection.commit()
    sync_file(target)


def restore(path: Path, state_file: Path, source: Path) -> Restored:
    """Put a copy of the backup `source` in the place of the data base at `path`, which no server may be using.

    What was in its place is kept beside it. Orders placed after the backup may be missing, and that is written into it.
    Raises StoreError.
    """
    try:
        damage = find_damage(source) if source.is_file() else "there is no such file"
    except sqlite3.OperationalError as error:
        damage = str(error)
    if damage:
        raise StoreError(f"{source} cannot be restored: {damage}")
    prepared = path.with_name(f"{path.name}.restoring")
    for left in _files(prepared):
        left.unlink(missing_ok=True)
    _copy(source, prepared)
    store = Store(prepared)
    try:
        if not store.has_tables():
            raise StoreError(f"{source} cannot be restored: it is no data base of a server")
        store.prepare()
        row = store.history.create()
        gap = store.history.report_gap(datetime.fromisoformat(row["heartbeat"]), "the data base was restored")
    except BaseException:
        store.close()
        prepared.unlink()
        raise
    store.close()
    replaced = _set_aside(path)
    prepared.rename(path)
    sync_file(path)
    with closing(StateFile(state_file)) as file:
        file.write(State(row["installation"], now()))
    return Restored(gap, replaced)


def _copy(source: Path, target: Path, report: Callable[[int, int], None] = lambda _done, _total: None) -> None:
    """Copy a data base, with what is in its log, to a new file, and check that."""
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | O_NOFOLLOW, 0o600))
    except FileExistsError:
        raise StoreError(f"there is a file {target} already; choose another name") from None
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}") from None
    try:
        with closing(connect_read_only(source)) as connection:
            size = _used_bytes(connection)
            connection.set_progress_handler(lambda: report(min(target.stat().st_size, size), size), _INSTRUCTIONS)
            connection.execute("VACUUM INTO ?", (str(target),))
        report(size, size)
        if damage := find_damage(target, thorough=True):
            raise StoreError(f"{target} is damaged: {damage}")
    except sqlite3.DatabaseError as error:
        target.unlink()
        raise StoreError(f"{source} cannot be copied to {target}: {error}") from None
    except BaseException:
        target.unlink()
        raise


def _used_bytes(connection: sqlite3.Connection) -> int:
    """Return how large a copy will be, about."""
    pages, free, size = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _set_aside(path: Path) -> Path | None:
    """Rename a data base, together with its log; return the new name, None when there is no such file."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    replaced = path.with_name(f"{path.name}.replaced-{stamp}")
    found = path.exists()
    for old, new in zip(_files(path), _files(replaced), strict=True):
        with suppress(FileNotFoundError):
            old.rename(new)
    return replaced if found else None


def _files(path: Path) -> list[Path]:
    return [path, wal_of(path), path.with_name(f"{path.name}-shm")]
