"""`xwrap orders`, `order`, `cancel`, `cancel-all` and `fills`: orders as the server knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .arguments import Asset, BackendName, Currency, Limit, SomeBackend
from .common import examples, stop
from .exits import UNKNOWN, USAGE
from .http import ProfileName, api_errors, log_in_by_profile, sentence
from .outcomes import orders as orders_group
from .output import Json, show_record, show_rows

if TYPE_CHECKING:
    from ..client import Backend, Order

__all__ = ["cancel", "cancel_all", "fills", "order"]

Id = Annotated[int | None, typer.Argument(help="The order, as `xwrap orders` numbers it.", show_default=False)]
Key = Annotated[str | None, typer.Option("--key", help="Instead of the number: the order of this idempotency key.")]

_COLUMNS = ("backend", "id", "side", "type", "asset", "currency", "amount", "price", "status", "filled", "created")


@orders_group.callback(
    invoke_without_command=True,
    no_args_is_help=False,
    epilog=examples(
        "xwrap orders",
        "xwrap orders --backend kraken --status closed --limit 10",
        "xwrap orders unknown          on the server's machine",
    ),
)
def list_orders(
    context: typer.Context,
    backend: SomeBackend = None,
    status: Annotated[Literal["open", "closed", "all"], typer.Option(help="Which ones.")] = "open",
    limit: Limit = 50,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Print the open orders of your registrations, newest first.

    `unknown` and `settle` are for the administrator, on the server's machine. Columns: backend, id, side, type, asset,
    currency, amount, price, status, filled, created. Where an exchange fails, the others are printed, and the exit
    code is 1.
    """
    if context.invoked_subcommand is not None:
        return
    from ..client import APIError

    rows: list[dict[str, Any]] = []
    failed = []
    with log_in_by_profile(profile) as login:
        chosen = login.backends() if backend is None else [login.backend(backend)]
        for each in chosen:
            try:
                found = each.orders(status, limit=limit)
            except APIError as error:
                failed.append(f"{each.exchange} ({each.id}): {sentence(error)}")
            else:
                rows += [{"backend": each.id, **row} for row in found]
    show_rows(rows, _COLUMNS, json=rows if as_json else None)
    if failed:
        stop("; ".join(failed))


def order(
    backend: BackendName, id: Id = None, key: Key = None, profile: ProfileName = None, as_json: Json = False
) -> None:
    """Print one order as it is now, by its number or its key.

    It orders nothing. The exit code is 3 while it is not known what became of it, and 1 when nothing was executed with
    this key.
    """
    with log_in_by_profile(profile) as login:
        found = _find(login.backend(backend), id, key)
    show_record(found, json=as_json)
    if found["status"] == "unknown":
        raise typer.Exit(UNKNOWN)


def cancel(
    backend: BackendName, id: Id = None, key: Key = None, profile: ProfileName = None, as_json: Json = False
) -> None:
    """Cancel an order, by its number or its key.

    It prints what the order is then: canceled, or filled before that. Twice is no error. The exit code is 3 when it is
    not certain that it was canceled; the same command asks again.
    """
    with log_in_by_profile(profile) as login:
        found = login.backend(backend)
        if id is None:
            id = _find(found, id, key)["id"]
        with api_errors("cancel it again, which is no error"):
            canceled = found.cancel(id)
    show_record(canceled, json=as_json, executed=f"the cancel was sent; ask for it: xwrap order {found.id} {id}")
    if canceled["status"] in {"open", "unknown"}:
        stop(f"it is not certain yet that it was canceled; ask again: xwrap order {found.id} {id}", UNKNOWN)


def cancel_all(backend: BackendName, profile: ProfileName = None, as_json: Json = False) -> None:
    """Cancel every open order of a registration.

    Also those that were placed elsewhere with its exchange key. It prints how many there were.
    """
    with log_in_by_profile(profile) as login:
        found = login.backend(backend)
        with api_errors("cancel them again, which is no error"):
            count = found.cancel_all()
    show_rows([{"canceled": count}], ("canceled",), json=count if as_json else None)


def fills(
    backend: BackendName,
    currency: Currency,
    asset: Asset,
    every: Annotated[bool, typer.Option("--all", help="All that the exchange tells, not only the latest.")] = False,
    profile: ProfileName = None,
    as_json: Json = False,
) -> None:
    """Print the executions of a pair, newest first.

    Columns: time, side, amount, price, fee, fee_currency, id.
    """
    with log_in_by_profile(profile) as login:
        found = login.backend(backend)
        rows = list(found.all_fills(currency, asset)) if every else found.fills(currency, asset)
    columns = ("time", "side", "amount", "price", "fee", "fee_currency", "id")
    show_rows(rows, columns, json=rows if as_json else None)


def _find(backend: Backend, id: int | None, key: str | None) -> Order:
    """Return an order by its id or its key, of which one must be given."""
    if (id is None) == (key is None):
        stop("give the number of an order, or --key; one of them", USAGE)
    return backend.order(id) if key is None else backend.order(key=key)
