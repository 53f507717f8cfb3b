"""A progress bar on standard error, where that is a terminal; elsewhere nothing is written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """Give a function to be called with how much is done, and of how much, None where that is not known.

    Until it is called the bar only moves. It may be called from any thread. The bar is gone when the block ends.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    share = TaskProgressColumn(text_format_no_percentage="{task.completed}")
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), share, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
