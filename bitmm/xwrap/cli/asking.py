"""The question before money moves, and how the outcome of what was sent is reported."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from .common import stop
from .exits import FAILED, INTERRUPTED, USAGE
from .http import api_errors
from .text import printable

__all__ = ["Key", "Yes", "announced", "check_that_one_can_ask", "confirm"]

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")]
Key = Annotated[
    str | None,
    typer.Option(
        "--key", help="The idempotency key: with the same key it is never executed twice. [default: a random one]"
    ),
]


def check_that_one_can_ask() -> None:
    """End the command where there is no terminal on which the question could be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        stop("there is no terminal on which to ask before it is sent; add --yes. Nothing was sent", USAGE)


def confirm(question: str) -> None:
    """Ask, and end the command unless the answer is yes."""
    typer.echo(f"{printable(question)} [y/N] ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        stop("nothing was sent", FAILED)


@contextmanager
def announced(ask: str, key: str) -> Iterator[str]:
    """Print the key of what is sent within, before it is, and give the words that say how to ask for it.

    `ask`: the command that looks it up, without the key. When it is not known what became of it, also after Ctrl-C,
    the command ends with these words.
    """
    asking = f"ask for it: {ask} --key {shlex.quote(key)}"
    try:
        typer.echo(f"key: {printable(key)}", err=True)
        with api_errors(asking):
            yield asking
    except KeyboardInterrupt:
        stop(f"interrupted; it may have been executed; {asking}", INTERRUPTED)
