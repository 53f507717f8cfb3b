"""`xwrap backup` and `xwrap restore`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import Data, one_line_errors, open_store, stop
from .history import missing
from .progress import progress_bar

if TYPE_CHECKING:
    from ..server.settings import Settings

__all__ = ["backup", "restore"]


def backup(
    file: Annotated[Path | None, typer.Argument(help="The new file; there must be none of this name.")] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="In place of FILE: a folder, where the file is named by its time."),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Remove all but so many of the newest backups in DIR. [default: none is]")
    ] = None,
    data: Data = None,
) -> None:
    """Copy the data base to FILE, or into a folder of backups.

    Also while the server runs. The copy is checked. The master key is not in it; keep a copy of that in another place.
    """
    if (file is None) == (to is None):
        stop("say either FILE or --to DIR")
    if keep is not None and to is None:
        stop("--keep is for a folder of backups: xwrap backup --to DIR --keep 14")
    with one_line_errors():
        settings = _sqlite_settings(data, "pg_dump --format=custom --file FILE")
        from ..server.db.backup import back_up
        from ..server.db.backup_folder import back_up_to_folder

        removed: list[Path] = []
        with open_store(data) as store, progress_bar("copied") as report:
            if to is not None:
                file, removed = back_up_to_folder(store, settings.state_file, to, keep, report)
            elif file is not None:
                back_up(store, settings.state_file, file, report)
    typer.echo(f"{file} has the data base, without the master key {settings.master_key_file}")
    if removed:
        typer.echo(f"older backups that were removed: {', '.join(old.name for old in removed)}")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `xwrap backup` made.")],
    data: Data = None,
) -> None:
    """Put a backup in the place of the data base.

    Stop the server before. The data base that was there is kept beside it.
    """
    with one_line_errors():
        settings = _sqlite_settings(data, "pg_restore, and before a server starts: xwrap history restored")
        from ..server.db.backup import restore as restore_file
        from ..server.runner import process_lock

        with process_lock(settings):
            done = restore_file(settings.data / "xwrap.sqlite3", settings.state_file, file)
    typer.echo(f"{file} is the data base now")
    if done.replaced:
        typer.echo(f"the one before is kept as {done.replaced}")
    typer.echo(missing(done.gap))
    typer.echo("new keys are looked up at their exchanges first, for 30 days or until: xwrap history accept")


def _sqlite_settings(data: Path | None, instead: str) -> Settings:
    from ..server.settings import Settings

    settings = Settings.read(os.environ, data=data)
    if settings.database_url:
        stop(f"the data base is PostgreSQL; use {instead}")
    return settings
