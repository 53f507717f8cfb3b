"""What the commands share: the data folder, its data base, and errors as one line.

The server is imported where a command needs it, so that `--help` is quick and needs no server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from .exits import FAILED
from .progress import progress_bar
from .text import printable

if TYPE_CHECKING:
    from ..server.db.store import Store

__all__ = ["Data", "examples", "group", "one_line_errors", "open_store", "read_since", "say", "stop"]

Data = Annotated[
    Path | None,
    typer.Option(help="The folder of the data base. [default: XWRAP_DATA_DIR, else a folder of your user]"),
]


def examples(*lines: str) -> str:
    """Return the end of a help text: these command lines."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def group(help: str, *lines: str) -> typer.Typer:
    """Return a command that has commands of its own; `lines` are its examples."""
    return typer.Typer(help=help, epilog=examples(*lines), no_args_is_help=True, rich_markup_mode=None)


@contextmanager
def open_store(data: Path | None, *, create: bool = False) -> Iterator[Store]:
    """Open the data base of a folder, brought to this version; with `create` it is made when there is none.

    Without, the command ends in one line, and nothing is made: neither the folder nor a file.
    """
    from ..server.db.files import check_private_folder, make_private_folder
    from ..server.db.store import Store
    from ..server.db.tables import REVISION
    from ..server.settings import Settings

    settings = Settings.read(os.environ, data=data)
    where = "the PostgreSQL of XWRAP_DATABASE_URL" if settings.database_url else str(settings.data)
    missing = f"there is no data base in {where}; make one with: xwrap account add NAME"
    if not settings.database_url:
        missing += ", or choose another folder with --data"
    if create:
        make_private_folder(settings.data)
    elif isinstance(settings.database, Path) and not settings.database.exists():
        stop(missing)
    if settings.data.is_dir():
        check_private_folder(settings.data)
    # What a command decides is reported, too, by the server that runs or the next one.
    notices = settings.notice_url is not None
    store = Store(settings.database, call_seconds=settings.call_seconds, notices=notices)
    try:
        store.check()
        revision = store.revision()
        if not create and revision is None:
            stop(missing)
        # A million orders take half a minute.
        is_slow = revision not in {None, REVISION}
        with progress_bar("the data base is brought to this version") if is_slow else nullcontext():
            store.prepare()
        yield store
    finally:
        store.close()


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Show what a person can mend in one line with exit 1, never as a traceback."""
    try:
        from ..server.setup_errors import setup_line

        yield
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("bitmm"):
            raise
        stop("this needs the server; in a clone of bitmm: pip install '.[server]'")
    except Exception as error:
        if (line := setup_line(error)) is None:
            raise
        stop(line)


def read_since(text: str) -> datetime:
    """Return the time that --since names, in UTC; one without a zone is in UTC, and what is none ends the command."""
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        stop(f"--since is {text!r}; it takes a time like 2026-11-27T10:00:00+00:00")


def say(line: str) -> None:
    """Print a line that may have text from elsewhere in it."""
    typer.echo(printable(line))


def stop(line: str, code: int = FAILED) -> NoReturn:
    """Print a line to standard error, and end with this exit code."""
    typer.echo(f"xwrap: {printable(line)}", err=True)
    raise typer.Exit(code)
