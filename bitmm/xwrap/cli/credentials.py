"""`xwrap credential`: named passwords of an account that may do less than its own, on a running server."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from .common import examples, group, say
from .http import AccountName, PasswordStdin, Server, log_in

if TYPE_CHECKING:
    from ..client import Credential

__all__ = ["credential"]

credential = group(
    "Named passwords of an account, which may do less than its own, on a running server.",
    "xwrap credential list --account ann",
    "xwrap credential add bot1 --scope trade --account ann",
    "xwrap credential revoke bot1 --account ann",
)

Name = Annotated[str, typer.Argument(help="The name of the credential; ann/NAME logs in with it.")]


@credential.command("list", epilog=examples("xwrap credential list --account ann"))
def credential_list(account: AccountName = None, server: Server = None, password_stdin: PasswordStdin = False) -> None:
    """List the credentials that are not revoked: name, scope, what they are limited to, and when they were used."""
    with log_in(account, server, password_stdin=password_stdin) as login:
        for row in login.xwrap.credentials(login.username, login.password):
            say(_line(row))


@credential.command(
    "add",
    epilog=examples(
        "xwrap credential add reader --scope read --account ann",
        "xwrap credential add bot1 --scope trade --pair BTC/USD --per-day 1000 --currency USD --account ann",
    ),
)
def credential_add(
    name: Name,
    scope: Annotated[str, typer.Option(help="read, trade or send; each includes the ones before.")],
    account: AccountName = None,
    exchange: Annotated[
        list[int] | None, typer.Option(help="The number of a registration; may be given again. [default: all]")
    ] = None,
    pair: Annotated[
        list[str] | None, typer.Option(help="A pair, as BTC/USD; may be given again. [default: all]")
    ] = None,
    per_order: Annotated[str | None, typer.Option(help="The most that one order or send may count.")] = None,
    per_day: Annotated[str | None, typer.Option(help="The most that all of any 24 hours may count.")] = None,
    currency: Annotated[str | None, typer.Option(help="The currency of the limits.")] = None,
    expires: Annotated[str | None, typer.Option(help="When it ends, as 2027-01-31T00:00:00Z.")] = None,
    server: Server = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Make a credential, and print its user name and its password, which is told only once."""
    with log_in(account, server, password_stdin=password_stdin) as login:
        made = login.xwrap.add_credential(
            *(login.username, login.password, name, scope),
            exchanges=exchange or None,
            pairs=pair or None,
            per_order=per_order,
            per_day=per_day,
            currency=currency,
            expires=expires,
        )
        say(made["username"])
        say(made["password"])


@credential.command("revoke", epilog=examples("xwrap credential revoke bot1 --account ann"))
def credential_revoke(
    name: Name, account: AccountName = None, server: Server = None, password_stdin: PasswordStdin = False
) -> None:
    """Let nobody log in with a credential any more, at once. Twice is no error."""
    with log_in(account, server, password_stdin=password_stdin) as login:
        login.xwrap.revoke_credential(login.username, login.password, name)
        say(f"credential '{name}' is revoked")


def _line(row: Credential) -> str:
    facts = [
        *(f"key {id}" for id in row["exchanges"] or ()),
        *(row["pairs"] or ()),
        *_limit("an order", row["per_order"], row["currency"]),
        *_limit("in 24 hours", row["per_day"], row["currency"]),
        *([f"until {row['expires']}"] if row["expires"] else ()),
        f"last used {row['last_used'][:16]}" if row["last_used"] else "not used yet",
    ]
    return f"{row['name']}  {row['scope']}  {', '.join(facts)}"


def _limit(what: str, amount: Decimal | None, currency: str | None) -> list[str]:
    return [] if amount is None else [f"{amount:f} {currency} {what}"]
