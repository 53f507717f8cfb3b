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
        _list_unknown(store.orders, _order_line)


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
        _decide(store, store.orders, "order", id, as_, done="filled", undone="not-placed")


@sends.command("unknown", epilog=examples("xwrap sends unknown", "xwrap sends unknown --data ./xwrap-data"))
def sends_unknown(data: Data = None) -> None:
    """List them. The server asks their exchanges by itself; what stays here, an exchange cannot say."""
    with one_line_errors(), open_store(data) as store:
        _list_unknown(store.withdrawals, _send_line)


@sends.command("settle", epilog=examples("xwrap sends settle 17 --as done", "xwrap sends settle 17 --as not-sent"))
def sends_settle(
    id: Annotated[int, typer.Argument(help="The send, as `xwrap sends unknown` numbers it.")],
    as_: Annotated[str, typer.Option("--as", help="What you found out at the exchange: done, or not-sent.")],
    data: Data = None,
) -> None:
    """Decide what became of a send, after you looked at the exchange. What you say is kept with the time."""
    with one_line_errors(), open_store(data) as store:
        _decide(store, store.withdrawals, "send", id, as_, done="done", undone="not-sent")


def _list_unknown(journal: Journal, describe: Callable[[dict[str, Any]], str]) -> None:
    for registration, row in journal.unknown():
        typer.echo(f"{row['id']:>6}  {registration.exchange}  {describe(row)}  {row['created']}  key {row['key']}")


def _order_line(row: dict[str, Any]) -> str:
    amount, cost = (f"{row[name]} " if row[name] else "" for name in ("amount", "cost"))
    price, stop = (f" {word} {row[name]}" if row[name] else "" for word, name in (("at", "price"), ("stop", "stop")))
    return f"{row['side']} {amount}{row['asset']} for {cost}{row['currency']}{price}{stop}"


def _send_line(row: dict[str, Any]) -> str:
    more = "".join(f" {name} {row[name]}" for name in ("tag", "network") if row[name])
    return f"{row['amount']} {row['asset']} to {row['address']}{more}"


def _decide(store: Store, journal: Journal, noun: str, id: int, as_: str, *, done: str, undone: str) -> None:
    from ..server.reconciliation import not_placed

    if as_ not in {done, undone}:
        stop(f"--as is {as_!r}; it takes {done} or {undone}")
    found = next((each for each in journal.unknown() if each[1]["id"] == id), None)
    if found is None:
        stop(f"{noun} {id} is not among the unknown ones; see: xwrap {noun}s unknown")
    registration, row = found
    executed = {"status": done} | ({"filled": row["amount"]} if "filled" in row else {})
    columns = executed if as_ == done else not_placed(row)

    def decide() -> bool:
        is_decided = journal.reconcile(row, columns)
        if is_decided:
            subject = f"{noun} {id} of registration {registration.id}"
            store.audit.add("administrator", "settle", subject, {"as": as_}, account_id=registration.account_id)
        return is_decided

    if not store.atomic(decide):
        stop(f"{noun} {id} has been settled meanwhile")
    typer.echo(f"{noun} {id} is settled: {as_}")
