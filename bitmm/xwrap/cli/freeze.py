"""`xwrap freeze`: stop all trading, also while the server runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Data, one_line_errors, open_store, stop

if TYPE_CHECKING:
    from ..server.db.store import Store

__all__ = ["freeze"]


def freeze(
    data: Data = None,
    account: Annotated[str | None, typer.Option(help="Only this account. [default: all of them]")] = None,
    cancel_orders: Annotated[
        bool,
        typer.Option("--cancel-orders", help="Have the server cancel all orders, within a second or when it starts."),
    ] = False,
) -> None:
    """Let neither an order nor a send leave any more; reads and cancels pass.

    It holds at once, also in servers that run. Each account lifts it with its own password; no command does.
    """
    with one_line_errors(), open_store(data) as store:
        rows = [row for row in store.accounts.all() if account in (None, row["name"])]
        if not rows:
            stop(f"there is no account '{account}'; see: xwrap account list" if account else "there is no account yet")
        for row in rows:
            since, orders = store.atomic(partial(_freeze, store, row, cancel_orders=cancel_orders))
            canceled = f"; orders are being canceled at {orders} registrations" if cancel_orders else ""
            typer.echo(f"account '{row['name']}' is frozen since {since[:19].replace('T', ' ')} UTC{canceled}")
    typer.echo("each account lifts it with its own password: unfreeze(username, password), or DELETE /freeze")


def _freeze(store: Store, account: dict[str, Any], *, cancel_orders: bool) -> tuple[str, int]:
    """Return since when an account is frozen, and at how many registrations its orders are being canceled."""
    since, is_new = store.safety.freeze(account["id"])
    switches = store.safety.request_cancels(account["id"]) if cancel_orders else []
    if is_new:
        store.notices.add("account.frozen", {"since": since, "by": "administrator"}, account=account["id"])
    if is_new or cancel_orders:
        details = {"cancel_orders": str(cancel_orders).lower()}
        store.audit.add("administrator", "freeze", f"account {account['name']}", details, account_id=account["id"])
    return since, len(switches)
