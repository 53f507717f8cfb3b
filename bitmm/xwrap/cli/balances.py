"""`xwrap balance` and `value`: what the account owns, and what that is worth."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any

import typer

from .arguments import SomeBackend
from .common import stop
from .http import ProfileName, log_in_by_profile
from .output import Json, show_rows
from .text import in_plain

__all__ = ["balance", "value"]


def balance(backend: SomeBackend = None, profile: ProfileName = None, as_json: Json = False) -> None:
    """Print what the account owns at its exchanges.

    Columns: id, exchange, asset, amount; what open orders hold is included. Where an exchange fails, the others are
    printed, and the exit code is 1.
    """
    with log_in_by_profile(profile) as login:
        found: Any
        if backend is None:
            found = login.xwrap.balance(login.username, login.password)
        else:
            one = login.backend(backend)
            found = [{"id": one.id, "exchange": one.exchange, "balance": one.balance()}]
    rows = [
        {"id": each["id"], "exchange": each["exchange"], "asset": asset, "amount": amount}
        for each in found
        for asset, amount in each["balance"].items()
    ]
    show_rows(rows, ("id", "exchange", "asset", "amount"), json=found if as_json else None)
    _stop_where_one_failed(found)


def value(
    currency: Annotated[str, typer.Argument(help="In which currency, as EUR.", show_default=False)],
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Print what all balances would bring now, without fees.

    Columns: id, exchange, total; a line for each registration, and the sum. What no market of its exchange prices is
    named on standard error, and not counted.
    """
    with log_in_by_profile(profile) as login:
        found = login.xwrap.value(currency, login.username, login.password)
    name, rows = found["currency"], [dict(each) for each in found["backends"]]
    rows.append({"id": "all", "exchange": None, "total": found["total"]})
    shown = [{**row, name: row["total"]} for row in rows]
    show_rows(shown, ("id", "exchange", name), json=found if as_json else None)
    if found["not_priced"]:
        typer.echo(f"not priced, and not counted: {_amounts(found['not_priced'])}", err=True)
    _stop_where_one_failed(found["backends"])


def _amounts(amounts: dict[str, Decimal | None]) -> str:
    return ", ".join(f"{in_plain(amount) or 'some'} {in_plain(asset)}" for asset, amount in amounts.items())


def _stop_where_one_failed(rows: Iterable[Any]) -> None:
    failed = [f"{row['exchange']} ({row['id']}): {row['error']}" for row in rows if row.get("error")]
    if failed:
        stop("; ".join(failed))
