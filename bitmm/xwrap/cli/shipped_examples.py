"""`xwrap examples`: programs and sessions that are shipped with it, to be copied and changed."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import typer

from .common import examples, stop

__all__ = ["shipped_examples"]

_FOLDER = Path(__file__).parents[1] / "examples"

shipped_examples = typer.Typer(
    help="List short programs that use a server, to be copied and changed.",
    epilog=examples(
        "xwrap examples                          list them",
        "xwrap examples copy rebalance           copy it into this folder",
        "xwrap examples copy session trading     copy it into the folder trading",
    ),
    invoke_without_command=True,
    rich_markup_mode=None,
)


def _files() -> dict[str, Path]:
    """Return the examples by their names."""
    return {path.stem: path for path in sorted(_FOLDER.iterdir()) if path.is_file() and path.suffix != ".md"}


def _first_sentence(path: Path) -> str:
    """Return the sentence that an example begins with, without the marks of a comment."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(line.strip('#/" ') for line in lines if not line.startswith("#!"))


@shipped_examples.callback()
def _list(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        for name, path in _files().items():
            typer.echo(f"{name:<16}{_first_sentence(path)}")


@shipped_examples.command()
def copy(
    name: Annotated[str, typer.Argument(help="The name of an example, as `xwrap examples` lists it.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; it is made when it is missing.")] = Path(),
) -> None:
    """Copy an example into a folder, by default into this one; no file is ever replaced."""
    files = _files()
    path = files.get(name) or next((path for path in files.values() if path.name == name), None)
    if path is None:
        near = difflib.get_close_matches(name, files, 1)
        way = f"did you mean {near[0]}?" if near else f"there are {', '.join(files)}"
        stop(f"there is no example '{name}'; {way}")
    target = folder / path.name
    if target.exists():
        stop(f"{target} is there already, and is not replaced")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(path.read_bytes())
    except OSError as error:
        stop(f"{target} cannot be written: {error.strerror}")
    typer.echo(str(target))
