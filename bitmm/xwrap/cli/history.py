"""`xwrap history`: whether orders may be missing in the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .common import Data, examples, group, one_line_errors, open_store, read_since

if TYPE_CHECKING:
    from ..server.db.history import HistoryGap

__all__ = ["history", "missing"]

history = group(
    "Whether orders may be missing in the journal.\n\n"
    "They may be after a backup was restored, or a part of the data base was lost.",
    "xwrap history show",
    "xwrap history accept",
)


@history.command("show", epilog=examples("xwrap history show", "xwrap history show --data ./xwrap-data"))
def history_show(data: Data = None) -> None:
    """Print since when orders may be missing, and why."""
    with one_line_errors(), open_store(data) as store:
        gap = store.history.gap()
    typer.echo("the journal is complete" if gap is None else missing(gap))


@history.command("accept", epilog=examples("xwrap history accept"))
def history_accept(data: Data = None) -> None:
    """Take the journal for complete.

    Keys that it does not know are no longer looked up at their exchanges.
    """
    with one_line_errors(), open_store(data) as store:
        gap = store.history.accept()
    typer.echo("the journal is complete" if gap is None else f"accepted: {missing(gap)}")


@history.command(
    "restored",
    epilog=examples("xwrap history restored", "xwrap history restored --since 2026-11-27T10:00:00+00:00"),
)
def history_restored(
    since: Annotated[
        str | None,
        typer.Option(help="When the backup was made. [default: when the data base was last in use]"),
    ] = None,
    data: Data = None,
) -> None:
    """Say that the data base is an older copy.

    Say so after it was restored by other means than `xwrap restore`, before the first server starts.
    """
    with one_line_errors(), open_store(data) as store:
        time = read_since(since or store.history.create()["heartbeat"])
        gap = store.history.report_gap(time, "the data base was restored from a backup")
    typer.echo(missing(gap))


def missing(gap: HistoryGap) -> str:
    """Return what may be missing, in one line."""
    return f"orders placed after {gap.since:%Y-%m-%d %H:%M:%S} UTC may be missing: {gap.reason}"
