"""The data folder: whose it is, the room on its disk, and the backups that are made of it."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..db.backup_folder import folder_in_use, newest_backup
from ..db.errors import StoreError
from ..db.files import check_private_folder, foreign_owner, is_open_to_others, user_name
from ..settings import Settings
from .findings import Finding, State, finding_of

__all__ = ["check_backups", "check_disk", "check_folder"]

#: Below this an order may soon not be taken, because it cannot be written; and from when on a person should look.
_BAD_BYTES, _LOOK_BYTES = 100 * 2**20, 2**30
#: A timer makes a backup each day; a missed one may come a day late.
_BACKUP_DAYS = 2


def check_folder(settings: Settings) -> Iterator[Finding]:
    """Say whether the folder and the files in it are for their owner alone."""
    folder = settings.data
    if not folder.exists():
        yield Finding("data folder", "look", f"there is no {folder}", "make it: xwrap account add NAME")
        return
    try:
        check_private_folder(folder)
    except StoreError as error:
        yield finding_of("data folder", error)
        return
    problems = [finding for path in _files(settings) if (finding := _open_file(path)) is not None]
    mode = stat.S_IMODE(folder.stat().st_mode)
    yield from problems or [Finding("data folder", "ok", f"{folder}, of {user_name()} alone (mode {mode:04o})")]


def _files(settings: Settings) -> list[Path]:
    return sorted(path for name in ("xwrap.sqlite3*", "*.state", "lock") for path in settings.data.glob(name))


def _open_file(path: Path) -> Finding | None:
    found = path.lstat()
    if problem := foreign_owner(found):
        return Finding("data folder", "bad", f"{path} {problem.partition(';')[0]}", f"sudo chown {user_name()} {path}")
    if stat.S_ISREG(found.st_mode) and is_open_to_others(found):
        # Nobody else gets through the folder, as long as that is so.
        return Finding("data folder", "look", f"{path} itself can be read by others", f"chmod 600 {path}")
    return None


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Say how much room is left where the data base is written."""
    folder = settings.data
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    file = settings.data / "xwrap.sqlite3"
    size = file.stat().st_size if file.exists() else 0
    state: State = "bad" if free < _BAD_BYTES else "look" if free < max(_LOOK_BYTES, size) else "ok"
    line = f"{free / 2**30:.1f} GiB free"
    if state == "ok":
        yield Finding("disk", "ok", line)
    else:
        yield Finding("disk", state, f"{line}; a full disk takes no order", f"make room on the disk of {folder}")


def check_backups(settings: Settings, installation: str | None) -> Iterator[Finding]:
    """Say how old the newest backup is in the folder into which the last one was written."""
    check = "backups"
    if settings.database_url:
        yield Finding(
            check, "skip", "those of PostgreSQL are made by other means", "pg_dump --format=custom --file FILE"
        )
        return
    folder = folder_in_use(settings.state_file)
    again = "xwrap backup --to DIR --keep 14"
    if folder is None or installation is None:
        yield Finding(check, "skip", "no folder of backups is in use", again)
        return
    again = f"xwrap backup --to {folder} --keep 14"
    try:
        made = newest_backup(folder, installation)
    except OSError as error:
        yield Finding(check, "bad", f"the folder of backups {folder} cannot be read: {error.strerror}", again)
        return
    if made is None:
        yield Finding(check, "bad", f"there is no backup of this data base in {folder}", again)
        return
    age = datetime.now(UTC) - made
    words = f"the newest one in {folder} is of {made:%Y-%m-%d %H:%M} UTC"
    if age > timedelta(days=_BACKUP_DAYS):
        yield Finding(check, "look", f"{words}, {age.days} days ago", again)
    else:
        yield Finding(check, "ok", words)
