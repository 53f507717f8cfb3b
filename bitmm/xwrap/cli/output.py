"""What the commands print: tables on a terminal, fields between tabs in a pipe, or JSON.

No amount is rounded and none is cut off: a table that is wider than the terminal becomes one field a line.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from .common import stop
from .exits import CLOSED_PIPE, FAILED, UNKNOWN
from .text import in_plain

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Json", "as_json", "discard_output", "show_record", "show_rows", "written"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON: what the Python client returns, amounts as text.")]

_Rows = Sequence[Mapping[str, Any]]
#: What a table shows for what is not known.
_NOT_KNOWN = "-"


def show_rows(rows: _Rows, columns: Sequence[str], *, json: object = None, file: TextIO | None = None) -> None:
    """Print rows; `json`: what is printed instead, as JSON, unless it is None."""
    file = file or sys.stdout
    with written(file):
        if json is not None:
            print(as_json(json), file=file)
        elif file.isatty():
            _print_table(rows, columns, file)
        else:
            for row in rows:
                print("\t".join(in_plain(row.get(column)) for column in columns), file=file)


def show_record(record: Mapping[str, Any], *, json: bool, file: TextIO | None = None, executed: str = "") -> None:
    """Print the fields of one record, a line each; on a terminal those that are known.

    `executed`: what to say when it cannot be printed, since it was executed.
    """
    file = file or sys.stdout
    with written(file, executed):
        if json:
            print(as_json(record), file=file)
        elif file.isatty():
            _print_fields(record, _console(file))
        else:
            for name, value in record.items():
                print(f"{name}\t{in_plain(value)}", file=file)


def as_json(value: object) -> str:
    """Return a value of the client's as JSON, in ASCII; amounts are text in plain digits."""
    return json.dumps(value, indent=2, default=in_plain)


@contextmanager
def written(file: TextIO, executed: str = "") -> Iterator[None]:
    """Print within, and end the command where that fails; `executed`: what was done before and is to be asked for."""
    try:
        yield
        file.flush()
    except OSError as error:
        discard_output(file)
        if executed:
            stop(f"the output cannot be written ({error.strerror}); {executed}", UNKNOWN)
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(CLOSED_PIPE) from None
        stop(f"the output cannot be written: {error.strerror}", FAILED)


def discard_output(file: TextIO) -> None:
    """Let what could not be written to `file` be lost: Python would try it again at the end, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, file.fileno())
    os.close(nowhere)


def _print_table(rows: _Rows, columns: Sequence[str], file: TextIO) -> None:
    from rich.table import Table

    if not rows:
        return
    console = _console(file)
    table = Table(box=None, pad_edge=False, header_style="bold")
    cells = []
    for column in columns:
        values = [row.get(column) for row in rows]
        is_number = any(isinstance(value, Decimal) for value in values)
        table.add_column(column, justify="right" if is_number else "left", no_wrap=True)
        texts = [_NOT_KNOWN if value is None else in_plain(value) for value in values]
        cells.append(_aligned(texts) if is_number else texts)
    for line in zip(*cells, strict=True):
        table.add_row(*line)
    if console.measure(table, options=console.options.update(max_width=10_000)).maximum <= console.width:
        console.print(table)
        return
    for number, row in enumerate(rows):
        if number:
            console.print()
        _print_fields({column: row.get(column) for column in columns}, console)


def _print_fields(record: Mapping[str, Any], console: Console) -> None:
    from rich.text import Text

    known = {name: in_plain(value) for name, value in record.items() if value is not None}
    width = max(map(len, known), default=0)
    for name, text in known.items():
        console.print(Text.assemble((f"{name:<{width}}", "bold"), f"  {text}"), soft_wrap=True)


def _aligned(texts: Sequence[str]) -> list[str]:
    """Return numbers with blanks behind, so that their points stand below each other where they end together."""
    behind = [len(text) - len(text.partition(".")[0]) for text in texts]
    return [text + " " * (max(behind) - count) for text, count in zip(texts, behind, strict=True)]


def _console(file: TextIO) -> Console:
    from rich.console import Console

    return Console(file=file, highlight=False, markup=False, emoji=False)
