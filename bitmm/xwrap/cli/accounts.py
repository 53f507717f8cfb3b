"""`xwrap account`: who may log in."""

from __future__ import annotations

import getpass
import secrets
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .common import Data, examples, group, one_line_errors, open_store, stop

if TYPE_CHECKING:
    from ..server.db.store import Store

__all__ = ["account"]

account = group("Who may log in.", "xwrap account add ann", "xwrap account list")


@account.command(
    "add",
    epilog=examples(
        "xwrap account add ann               asks for the password, twice",
        "xwrap account add bot --generate    makes a password and prints it once",
        "pass show xwrap | xwrap account add ann --password-stdin",
    ),
)
def account_add(
    name: Annotated[str, typer.Argument(help="The user name: printable text without a colon.")],
    data: Data = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
    ] = False,
    generate: Annotated[bool, typer.Option("--generate", help="Make a password and print it once.")] = False,
) -> None:
    """Add an account; the data base is made when there is none."""
    if password_stdin and generate:
        stop("--password-stdin and --generate are both given; choose one")
    if not name or ":" in name or not name.isprintable():
        stop(f"{name!r} is no user name; it is printable text without a colon")
    with one_line_errors(), open_store(data, create=True) as store:
        if store.accounts.find(name):
            stop(f"there is an account '{name}' already; choose another name")
        password = secrets.token_urlsafe(24) if generate else _ask_password(from_stdin=password_stdin)
        _add(store, name, password)
    typer.echo(password if generate else f"account '{name}' added")


@account.command("list", epilog=examples("xwrap account list", "xwrap account list --data ./xwrap-data"))
def account_list(data: Data = None) -> None:
    """List the accounts."""
    with one_line_errors(), open_store(data) as store:
        for row in store.accounts.all():
            state = "" if row["active"] else "  (switched off)"
            typer.echo(f"{row['id']:>4}  {row['name']}  since {row['created'][:10]}{state}")


def _add(store: Store, name: str, password: str) -> None:
    from ..server.auth import hash_password

    try:
        store.accounts.add(name, hash_password(password))
    except ValueError as error:
        stop(str(error))


def _ask_password(*, from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") != password:
            stop("the two passwords differ; nothing was changed")
    if len(password) < 8:
        stop(f"this password has {len(password)} characters; it needs at least 8")
    return password
