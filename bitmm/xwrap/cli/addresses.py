"""`xwrap address`: where the sends of an account may go, on a running server."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from .common import examples, say
from .http import AccountName, PasswordStdin, Server, log_in

if TYPE_CHECKING:
    from ..client import AllowedAddress

__all__ = ["address"]


class _ShowByDefault(TyperGroup):
    """The group in which `xwrap address kraken BTC` is `xwrap address show kraken BTC`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command of these arguments; what is almost the name of one is left to be reported as a typo."""
        if args and not args[0].startswith("-") and not get_close_matches(args[0], self.commands):
            args = ["show", *args]
        return super().resolve_command(ctx, args)


address = typer.Typer(
    cls=_ShowByDefault,
    help="An address to receive, and where the sends of an account may go.",
    epilog=examples(
        "xwrap address kraken BTC                     an address of the exchange, as address show",
        "xwrap address list --account ann",
        "xwrap address add BTC bc1q... --account ann --label wallet",
        "xwrap address remove 5 --account ann",
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@address.command("list", epilog=examples("xwrap address list --account ann"))
def address_list(account: AccountName = None, server: Server = None, password_stdin: PasswordStdin = False) -> None:
    """List the addresses: number, asset, address, and from when on it may be sent to."""
    with log_in(account, server, password_stdin=password_stdin) as login:
        for row in login.xwrap.addresses(login.username, login.password):
            say(_line(row))


@address.command(
    "add",
    epilog=examples(
        "xwrap address add BTC bc1q... --account ann --label wallet",
        "xwrap address add XRP r... --tag 7 --per-send 100 --per-day 500 --account ann",
    ),
)
def address_add(
    asset: Annotated[str, typer.Argument(help="What is sent, as BTC.")],
    address: Annotated[str, typer.Argument(help="Where it is sent to.")],
    account: AccountName = None,
    tag: Annotated[str | None, typer.Option(help="The memo or destination tag that belongs to the address.")] = None,
    network: Annotated[str | None, typer.Option(help="The network that the send must name.")] = None,
    label: Annotated[str, typer.Option(help="A name of your own for it.")] = "",
    per_send: Annotated[str | None, typer.Option(help="The most that one send may be, in units of the asset.")] = None,
    per_day: Annotated[str | None, typer.Option(help="The most that may be sent there within 24 hours.")] = None,
    server: Server = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Let sends go to an address, after its waiting time."""
    with log_in(account, server, password_stdin=password_stdin) as login:
        row = login.xwrap.add_address(
            *(login.username, login.password, asset, address),
            network=network,
            tag=tag,
            label=label,
            per_send=per_send,
            per_day=per_day,
        )
        say(_line(row))


@address.command("remove", epilog=examples("xwrap address remove 5 --account ann"))
def address_remove(
    id: Annotated[int, typer.Argument(help="The number of the address, as `xwrap address list` shows it.")],
    account: AccountName = None,
    server: Server = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Let no send go to an address any more, at once. Twice is no error."""
    with log_in(account, server, password_stdin=password_stdin) as login:
        login.xwrap.remove_address(login.username, login.password, id)
        say(f"address {id} is removed")


def _line(row: AllowedAddress) -> str:
    more = "".join(f" {name} {text}" for name, text in (("tag", row["tag"]), ("network", row["network"])) if text)
    limits = [
        f", at most {amount:f} {what}"
        for amount, what in ((row["per_send"], "a send"), (row["per_day"], "in 24 hours"))
        if amount is not None
    ]
    label = f"  {row['label']}" if row["label"] else ""
    where = f"{row['asset']} to {row['address']}{more}"
    return f"{row['id']:>4}  {where}, from {row['usable_from']} on{''.join(limits)}{label}"
