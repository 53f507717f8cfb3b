"""A folder of backups that are made again and again: each has its time in its name, and the newest ones are kept.

Only files whose names have the form that is written here, with the id of this installation in them, are ever removed.
So several servers may share a folder, and whatever else lies in it stays.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from .backup import back_up
from .errors import StoreError
from .files import lock_file, make_private_folder, open_private, sync_folder
from .store import Store

__all__ = ["FolderBackup", "back_up_to_folder", "folder_in_use", "newest_backup"]

_PARTIAL = ".partial"
_TIME_FORMAT = "%Y%m%dT%H%M%S.%fZ"


class FolderBackup(NamedTuple):
    """The file of a new backup, and the older ones that were removed after it."""

    file: Path
    removed: list[Path]


def back_up_to_folder(
    store: Store, state_file: Path, folder: Path, keep: int | None, report: Callable[[int, int], None]
) -> FolderBackup:
    """Write a new backup into a folder, then remove all but the `keep` newest ones of this installation; None: none.

    The folder is made for its owner alone when there is none. The copy gets its name when it is whole, checked and on
    the disk; when it fails, no older one is removed. `report` is called with the bytes that are written, of about how
    many. Raises StoreError.
    """
    try:
        make_private_folder(folder, "the folder of backups")
    except FileExistsError:
        raise StoreError(f"{folder} is a file; name a folder: xwrap backup --to DIR") from None
    except OSError as error:
        raise StoreError(f"the folder {folder} cannot be used: {error.strerror}") from None
    installation = store.history.create()["installation"]
    with _locked(folder):
        for left in _files(folder, installation, _PARTIAL):
            left.unlink()  # of a backup that was killed
        name = f"{_prefix(installation)}{datetime.now(UTC).strftime(_TIME_FORMAT)}.sqlite3"
        partial, file = folder / f"{name}{_PARTIAL}", folder / name
        back_up(store, state_file, partial, report)
        partial.rename(file)
        sync_folder(folder)
        _remember_folder(state_file, folder)
        removed = [] if keep is None else _files(folder, installation)[:-keep]
        for old in removed:
            old.unlink()
    return FolderBackup(file, removed)


def newest_backup(folder: Path, installation: str) -> datetime | None:
    """Return when the newest backup of an installation in a folder was made; None: there is none. Raises OSError."""
    files = _files(folder, installation)
    if not files:
        return None
    text = files[-1].name.removeprefix(_prefix(installation)).removesuffix(".sqlite3")
    return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=UTC)


def folder_in_use(state_file: Path) -> Path | None:
    """Return the folder into which the last backup was written; None: none ever was."""
    try:
        return Path(_note(state_file).read_text("utf-8").strip())
    except (FileNotFoundError, ValueError):
        return None


def _remember_folder(state_file: Path, folder: Path) -> None:
    descriptor = open_private(_note(state_file))
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.truncate()
        file.write(f"{folder.resolve()}\n")


def _note(state_file: Path) -> Path:
    return state_file.with_suffix(".backups")


def _prefix(installation: str) -> str:
    return f"xwrap-{installation[:8]}-"


def _files(folder: Path, installation: str, ending: str = "") -> list[Path]:
    """Return the backups of an installation, the oldest first; with `ending` those that were not finished."""
    form = re.compile(rf"{re.escape(_prefix(installation))}\d{{8}}T\d{{6}}\.\d{{6}}Z\.sqlite3{re.escape(ending)}")
    return sorted(path for path in folder.iterdir() if form.fullmatch(path.name) and not path.is_symlink())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one backup at a time into the folder."""
    descriptor = open_private(folder / ".lock")
    try:
        try:
            lock_file(descriptor)
        except BlockingIOError:
            raise StoreError(f"another backup is being written into {folder}; wait until it has ended") from None
        yield
    finally:
        os.close(descriptor)
