"""`xwrap orders` and `xwrap sends`: those whose outcome is unknown, and the owner's decision about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Data, examples, one_line_errors, open_store, stop

if TYPE_CHECKING:
    from ..server.db.journal import Journal
    from ..server.db.store import Store

__all__ = ["orders", "sends"]

# Without a command they list: `orders.py` and `sending.py`.
orders = typer.Typer(rich_markup_mode=None)
sends = typer.Typer(rich_markup_mode=None)


@orders.command("unknown", epilog=examples("xwrap orders unknown", "xwrap orders unknown --data ./xwrap-data"))
def orders_unknown(data: Data = None) -> None:
    """List them. The server asks their exchanges by itself; what stays here, an exchange cannot say."""
    with one_line_errors(), open_store(data) as store:
        from ..server.decisions import order_in_words

        _list_unknown(store.orders, order_in_words)


@orders.command(
    "settle",
    epilog=examples("xwrap orders settle 17 --as filled", "xwrap orders settle 17 --as not-placed"),
)
def orders_settle(
    id: Annotated[int, typer.Argument(help="The order, as `xwrap orders unknown` numbers it.")],
    as_: Annotated[str, typer.Option("--as", help="What you found out at the exchange: filled, or not-placed.")],
    data: Data = None,
) -> None:
    """Decide what became of an order, after you looked at the exchange. What you say is kept with the time."""
    with one_line_errors(), open_store(data) as store:
        _decide(store, "orders", id, as_)


@sends.command("unknown", epilog=examples("xwrap sends unknown", "xwrap sends unknown --data ./xwrap-data"))
def sends_unknown(data: Data = None) -> None:
    """List them. The server asks their exchanges by itself; what stays here, an exchange cannot say."""
    with one_line_errors(), open_store(data) as store:
        from ..server.decisions import send_in_words

        _list_unknown(store.withdrawals, send_in_words)


@sends.command("settle", epilog=examples("xwrap sends settle 17 --as done", "xwrap sends settle 17 --as not-sent"))
def sends_settle(
    id: Annotated[int, typer.Argument(help="The send, as `xwrap sends unknown` numbers it.")],
    as_: Annotated[str, typer.Option("--as", help="What you found out at the exchange: done, or not-sent.")],
    data: Data = None,
) -> None:
    """Decide what became of a send, after you looked at the exchange. What you say is kept with the time."""
    with one_line_errors(), open_store(data) as store:
        _decide(store, "sends", id, as_)


def _list_unknown(journal: Journal, describe: Callable[[dict[str, Any]], str]) -> None:
    for registration, row in journal.unknown():
        typer.echo(f"{row['id']:>6}  {registration.exchange}  {describe(row)}  {row['created']}  key {row['key']}")


def _decide(store: Store, plural: str, id: int, as_: str) -> None:
    from ..server.decisions import DECISIONS, find_unknown, record_decision

    what = DECISIONS[plural]
    if as_ not in {what.done, what.undone}:
        stop(f"--as is {as_!r}; it takes {what.done} or {what.undone}")
    found = find_unknown(what.journal(store), id)
    if found is None:
        stop(f"{what.noun} {id} is not among the unknown ones; see: xwrap {plural} unknown")
    if not store.atomic(lambda: record_decision(store, what, found, as_, "administrator")):
        stop(f"{what.noun} {id} has been settled meanwhile")
    typer.echo(f"{what.noun} {id} is settled: {as_}")
