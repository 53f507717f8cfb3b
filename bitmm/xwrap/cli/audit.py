"""`xwrap audit`: who did what, when and from where."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from .common import Data, examples, one_line_errors, open_store, read_since, stop

__all__ = ["audit"]

audit = typer.Typer(
    help="Who did what, when and from where.",
    epilog=examples(
        "xwrap audit --since 2026-11-27",
        "xwrap audit --json | jq 'select(.what == \"send\")'",
        "xwrap audit verify",
    ),
    invoke_without_command=True,
    rich_markup_mode=None,
)


@audit.callback()
def audit_rows(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line, with the hashes.")] = False,
    since: Annotated[str | None, typer.Option(help="Only rows from this time on; without a zone it is in UTC.")] = None,
    data: Data = None,
) -> None:
    """Print the rows, oldest first, with tabs between time, who, from where, what, what it was done to, and details."""
    if context.invoked_subcommand is not None:
        return
    time = None if since is None else read_since(since)
    with one_line_errors(), open_store(data) as store:
        from ..server.db.records import time_text

        start = "" if time is None else time_text(time)
        for row in store.audit.rows(start):
            typer.echo(json.dumps({**row, "details": json.loads(row["details"])}) if as_json else _line(row))


@audit.command("verify", epilog=examples("xwrap audit verify"))
def audit_verify(data: Data = None) -> None:
    """Say whether every row is as it was written: none changed, removed, put in or swapped.

    Who may write the data base can write all rows anew: keep the hash of the newest row elsewhere, and look whether
    `xwrap audit --json` has it still.
    """
    with one_line_errors(), open_store(data) as store:
        done = store.audit.verify()
        for problem in done.problems:
            typer.echo(problem)
        if done.problems:
            stop(f"the audit was tampered with in {len(done.problems)} places; compare it with your backups")
        typer.echo(f"{done.rows} rows are as they were written; the newest has the hash {done.hash or 'of none'}")


def _line(row: dict[str, Any]) -> str:
    """Return a row as one line: what cannot be printed is escaped, so that no name looks like another row or column."""
    details = json.loads(row["details"])
    texts = [row["time"], row["who"], row["address"], row["what"], row["subject"]]
    return "\t".join([*map(_printable, texts), *(_printable(f"{name}={text}") for name, text in details.items())])


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text)
