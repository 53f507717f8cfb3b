"""`xwrap vault`: the master key that seals the exchange keys."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import Data, examples, group, one_line_errors, open_store, stop
from .progress import progress_bar

if TYPE_CHECKING:
    from ..server.db.store import Store

__all__ = ["vault"]

vault = group("The master key, which seals the exchange keys.", "xwrap vault rotate", "xwrap vault drop-old")


@vault.command(
    "rotate",
    epilog=examples(
        "xwrap vault rotate               one machine: all of it, while the server runs",
        "xwrap vault rotate --key-only    several machines: copy the key file to the others, then rotate",
    ),
)
def vault_rotate(
    key_only: Annotated[
        bool, typer.Option("--key-only", help="Only put a new key into the key file; the next rotation seals with it.")
    ] = False,
    data: Data = None,
) -> None:
    """Seal everything anew with a new master key.

    Also while the server runs. A rotation that was broken off goes on.
    """
    with one_line_errors(), _open(data) as (store, path):
        from ..server.rotation import new_key, rotate

        if key_only:
            typer.echo(f"{path} has the new key {new_key(store, path)} in front")
            typer.echo("copy it to every machine with a server of this data base, then run: xwrap vault rotate")
            return
        with progress_bar("sealed anew") as report:
            done = rotate(store, path, report)
        typer.echo(f"{done.resealed} registrations were sealed anew with the key {done.key}")
        if done.unreadable:
            stop(
                f"registrations {', '.join(map(str, done.unreadable))} do not open with any key of {path}; give them "
                "their exchange keys again, or add the master key that belongs to them as its last line"
            )
    typer.echo(f"keep a copy of {path} apart from the data base")
    typer.echo(
        "nothing needs the old keys now but backups that were made before; remove them with: xwrap vault drop-old"
    )


@vault.command("drop-old", epilog=examples("xwrap vault drop-old"))
def vault_drop_old(data: Data = None) -> None:
    """Remove the old master keys from the key file.

    Refused while something is sealed with one of them. A backup from before the rotation needs them still: keep a copy
    of them as long as you keep the backup.
    """
    with one_line_errors(), _open(data) as (store, path):
        from ..server.rotation import drop_old

        dropped = drop_old(store, path)
    what = f"removed {', '.join(dropped)}" if dropped else "there is no old key"
    typer.echo(f"{path}: {what}")


@contextmanager
def _open(data: Path | None) -> Iterator[tuple[Store, Path]]:
    from ..server.settings import Settings

    with open_store(data) as store:
        yield store, Settings.read(os.environ, data=data).master_key_file
