"""`xwrap export`: all that moved the account's money, as a file."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_type_hints

import typer

from .common import say, stop
from .exits import USAGE
from .files import write_whole
from .http import Login, ProfileName, log_in_by_profile
from .output import as_json, written
from .progress import progress_bar
from .text import in_plain

if TYPE_CHECKING:
    from ..client import Backend, LedgerEntry

__all__ = ["export"]

Format = Literal["csv", "json", "koinly", "cointracking"]


def export(
    year: Annotated[
        int | None, typer.Option(min=2009, max=9998, help="Only this year, in UTC. [default: all there is]")
    ] = None,
    format: Annotated[
        Format, typer.Option(help="csv and json have every field; the others are for tax tools.")
    ] = "csv",
    backend: Annotated[
        list[str] | None,
        typer.Option(help="A registration: its number, label or exchange; may be given again. [default: all enabled]"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file. [default: standard output]")] = None,
    profile: ProfileName = None,
) -> None:
    """Write a file of all that moved the account's money.

    Deposits, sends, the sides of trades, fees and rewards, oldest first. Nothing is written unless all of it could be
    read, and a file is replaced by a complete one. Paper money is left out where there is other, unless --backend
    names it. koinly: the universal template of Koinly, for one registration, since it is one wallet there.
    cointracking: the columns of CoinTracking.
    """
    with log_in_by_profile(profile) as login:
        chosen = _choose(login, backend or [])
        if format == "koinly" and len(chosen) > 1:
            names = ", ".join(f"{each.id} ({each.exchange})" for each in chosen)
            stop(f"a file for Koinly is one wallet; choose one by --backend: {names}", USAGE)
        ledgers = [(each, list(_entries(each, year))) for each in chosen]
        text = _text(login, format, ledgers)
    if out is None:
        with written(sys.stdout):
            sys.stdout.buffer.write(text.encode())  # with the ends of lines that the format has
        return
    try:
        write_whole(out, text)
    except OSError as error:
        stop(f"{out}: {error.strerror}; nothing was written")
    say(f"{out} has {sum(len(entries) for _, entries in ledgers)} entries")


def _choose(login: Login, names: list[str]) -> list[Backend]:
    """Return the registrations of these names; without names, those enabled, and paper where there is no other."""
    if names:
        return list({each.id: each for each in map(login.backend, names)}.values())
    enabled = login.backends()
    real = [each for each in enabled if each.exchange != "paper"]
    if real and len(real) < len(enabled):
        typer.echo("paper money is left out; name it by --backend", err=True)
    if not enabled:
        stop("this account has no registration at an exchange that is switched on; see: xwrap key list")
    return real or enabled


def _entries(backend: Backend, year: int | None) -> Iterator[LedgerEntry]:
    """Yield the entries of a registration, of one year or of all."""
    from ..client import APIError

    with progress_bar(f"reading the ledger of {backend.exchange} ({backend.id})") as report:
        try:
            for count, entry in enumerate(backend.ledger(None if year is None else f"{year}-01-01T00:00:00Z"), 1):
                if year is not None and int(entry["time"][:4]) > year:
                    return
                report(count, None)
                yield entry
        except APIError as error:
            stop(f"{backend.exchange} ({backend.id}): {error}; nothing was written")


def _text(login: Login, format: Format, ledgers: list[tuple[Backend, list[LedgerEntry]]]) -> str:
    """Return the whole file."""
    if format in {"csv", "json"}:
        rows = [
            {"backend": each.id, "exchange": each.exchange, **entry} for each, entries in ledgers for entry in entries
        ]
        return f"{as_json(rows)}\n" if format == "json" else _csv(rows)
    from ..ledger_csv import write_cointracking, write_koinly

    names = {row["id"]: row["name"] for row in login.xwrap.list_exchanges()}
    parts = []
    for backend, entries in ledgers:
        file = io.StringIO(newline="")
        if format == "koinly":
            write_koinly(file, entries)
        else:
            exchange = backend.exchange or ""
            write_cointracking(file, entries, exchange=names.get(exchange, exchange))
        parts.append(file.getvalue())
    # Each begins with the same line of the columns' names.
    return parts[0] + "".join(part.partition("\n")[2] for part in parts[1:])


def _csv(rows: list[dict[str, object]]) -> str:
    from ..client import LedgerEntry

    file = io.StringIO(newline="")
    writer = csv.writer(file)
    columns = ("backend", "exchange", *get_type_hints(LedgerEntry))
    writer.writerow(columns)
    writer.writerows([in_plain(row.get(column)) for column in columns] for row in rows)
    return file.getvalue()
