"""`xwrap archive`: old orders are moved from the data base to files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .common import Data, examples, one_line_errors, open_store, say, stop
from .exits import USAGE
from .progress import progress_bar

__all__ = ["archive"]

archive = typer.Typer(
    help="Move old orders from the data base to files, and read them there.",
    epilog=examples(
        "xwrap archive --older-than 400d --to ./archive --dry-run",
        "xwrap archive --older-than 400d --to ./archive",
        "xwrap archive show ./archive --account ann | jq .",
        "xwrap archive verify ./archive",
    ),
    invoke_without_command=True,
    rich_markup_mode=None,
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder of archives.")]


@archive.callback()
def archive_orders(
    context: typer.Context,
    older_than: Annotated[
        str | None, typer.Option(metavar="DAYS", help="Orders that ended so many days ago, as 400d; 30d or more.")
    ] = None,
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="The folder of the files; keep it for ever.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many orders that would be.")] = False,
    data: Data = None,
) -> None:
    """Move orders that ended long ago from the data base to files.

    Also while servers run. An order is on the disk in its file before it leaves the data base; its key stays there, and
    is never executed again. Open and unknown orders stay, and so do sends. A command that was broken off is finished by
    the next one for the same folder.
    """
    if context.invoked_subcommand is not None:
        return
    if older_than is None or (to is None and not dry_run):
        stop("say both --older-than DAYS and --to DIR, or --dry-run", USAGE)
    days = _days(older_than)
    with one_line_errors():
        from ..server.archiving import LEAST_DAYS
        from ..server.archiving import archive_orders as move

        if days < LEAST_DAYS:
            stop(f"orders stay in the data base for {LEAST_DAYS} days at least: --older-than {LEAST_DAYS}d", USAGE)
        with open_store(data) as store:
            if dry_run or to is None:
                from ..server.db.records import now

                found = store.archive.count(now(days * 86400.0))
                when = f", placed from {found['oldest']} to {found['newest']}" if found["rows"] else ""
                typer.echo(f"{found['rows']} orders would be archived{when}; nothing was changed")
                return
            with progress_bar("archived") as report:
                done, is_shared = move(store, to, days, report), store.is_shared
    typer.echo(f"{done.rows} orders were moved to {to}: {', '.join(done.files) or 'no file'}")
    if done.rows:
        waited = "no other write waits for one" if is_shared else "other writes waited for it"
        typer.echo(f"a batch of them took {done.longest * 1000:.0f} ms at most; {waited}")
    for name in done.elsewhere:
        say(
            f"{name} was broken off and is not finished in {to}; it may have the only copy of orders: keep it, and run"
            " this for its folder"
        )


@archive.command(
    "show", epilog=examples("xwrap archive show ./archive --account ann", "xwrap archive show ./archive --key K")
)
def archive_show(
    folder: Folder,
    account: Annotated[str | None, typer.Option(help="Only orders of this account.")] = None,
    key: Annotated[str | None, typer.Option(help="Only orders with this idempotency key.")] = None,
) -> None:
    """Print the orders of a folder of archives, each once: a JSON object a line, every column as text."""
    with one_line_errors(), _folder_errors(folder):
        from ..server.archive_files import read_rows

        for row in read_rows(folder):
            if account in {None, row["account"]} and key in {None, row["key"]}:
                typer.echo(json.dumps(row))


@archive.command("verify", epilog=examples("xwrap archive verify ./archive"))
def archive_verify(folder: Folder) -> None:
    """Say whether every file of a folder of archives is as it was written."""
    with one_line_errors(), _folder_errors(folder):
        from ..server.archive_files import check_file, manifests

        found = manifests(folder)
        problems = [problem for each in found if (problem := check_file(folder, each)) is not None]
    for problem in problems:
        say(problem)
    if problems:
        stop(f"{len(problems)} of {len(found)} archives are not as they were written; take them from your backups")
    typer.echo(f"{len(found)} archives with {sum(each['rows'] for each in found)} orders are as they were written")


@contextmanager
def _folder_errors(folder: Path) -> Iterator[None]:
    if not folder.is_dir():
        stop(f"{folder} is no folder")
    yield


def _days(text: str) -> int:
    """Return the days that --older-than names; what is none ends the command."""
    number = text.removesuffix("d")
    if not (number.isascii() and number.isdigit() and len(number) <= 5):
        stop(f"--older-than is {text!r}; it takes days, as 400d", USAGE)
    return int(number)
