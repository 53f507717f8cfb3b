"""`xwrap account`: who may log in."""

from __future__ import annotations

import getpass
import secrets
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from .common import Data, examples, group, one_line_errors, open_store, stop

if TYPE_CHECKING:
    from pathlib import Path

    from ..server.db.records import Account
    from ..server.db.store import Store

__all__ = ["account"]

Name = Annotated[str, typer.Argument(help="The user name: printable text without a colon and without a slash.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
]
Generate = Annotated[bool, typer.Option("--generate", help="Make a password and print it once.")]

account = group("Who may log in.", "xwrap account add ann", "xwrap account passwd ann", "xwrap account list")


@account.command(
    "add",
    epilog=examples(
        "xwrap account add ann               asks for the password, twice",
        "xwrap account add bot --generate    makes a password and prints it once",
        "pass show xwrap | xwrap account add ann --password-stdin",
    ),
)
def account_add(
    name: Name,
    data: Data = None,
    password_stdin: PasswordStdin = False,
    generate: Generate = False,
) -> None:
    """Add an account; the data base is made when there is none."""
    _check_options(password_stdin=password_stdin, generate=generate)
    with one_line_errors():
        name = _check_name(name)
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


@account.command(
    "passwd",
    epilog=examples("xwrap account passwd ann", "xwrap account passwd bot --generate"),
)
def account_passwd(
    name: Name,
    data: Data = None,
    password_stdin: PasswordStdin = False,
    generate: Generate = False,
) -> None:
    """Give an account a new password; every login with the old one fails at once. Its credentials are not changed."""
    _check_options(password_stdin=password_stdin, generate=generate)
    with one_line_errors(), open_store(data) as store:
        found = _find(store, name)
        password = secrets.token_urlsafe(24) if generate else _ask_password(from_stdin=password_stdin)
        _change(store, found, "password", lambda: store.accounts.set_password(found.id, _hash(password)))
        kept = _what_stays(store, found)
    typer.echo(password if generate else f"account '{name}' has a new password")
    for line in kept:
        typer.echo(line, err=True)


@account.command("disable", epilog=examples("xwrap account disable ann"))
def account_disable(name: Name, data: Data = None) -> None:
    """Switch an account off: neither it nor its credentials log in. What is under way goes on."""
    _set_active(data, name, active=False)
    typer.echo(f"account '{name}' is switched off")


@account.command("enable", epilog=examples("xwrap account enable ann"))
def account_enable(name: Name, data: Data = None) -> None:
    """Switch an account on again."""
    _set_active(data, name, active=True)
    typer.echo(f"account '{name}' is switched on")


@account.command("remove", epilog=examples("xwrap account remove ann"))
def account_remove(name: Name, data: Data = None) -> None:
    """Remove an account for good: its exchange keys are deleted, its name is free, its orders stay in the journal."""
    with one_line_errors(), open_store(data) as store:
        found = _find(store, name)
        try:
            _change(store, found, "remove", lambda: store.accounts.remove(found))
        except ValueError as error:
            stop(str(error))
    typer.echo(f"account '{name}' is removed")


def _what_stays(store: Store, account: Account) -> list[str]:
    """Return in words what whoever had the old password may have left behind."""
    lines = []
    if live := store.credentials.of_account(account.id):
        names = ", ".join(f"{account.name}/{row['name']} ({row['scope']})" for row in live)
        lines.append(f"its credentials stay: {names}; xwrap credential revoke ends one")
    if addresses := store.addresses.of_account(account.id):
        lines.append(f"addresses on its allow-list that stay: {len(addresses)}; xwrap address list shows them")
    return lines


def _set_active(data: Path | None, name: str, *, active: bool) -> None:
    with one_line_errors(), open_store(data) as store:
        found = _find(store, name)
        what = "enable" if active else "disable"
        _change(store, found, what, lambda: store.accounts.set_active(found.id, active=active))


def _find(store: Store, name: str) -> Account:
    """Return an account; without one the command ends."""
    found = store.accounts.find(name)
    if found is None:
        stop(f"there is no account '{name}'; see: xwrap account list")
    return found


def _change(store: Store, account: Account, what: str, change: Callable[[], None]) -> None:
    """Make a change of an account, and write it into the audit with it."""

    def work() -> None:
        change()
        store.audit.add("administrator", f"account.{what}", f"account {account.name}", account_id=account.id)

    store.atomic(work)


def _check_options(*, password_stdin: bool, generate: bool) -> None:
    if password_stdin and generate:
        stop("--password-stdin and --generate are both given; choose one")


def _hash(password: str) -> str:
    from ..server.passwords import hash_password

    return hash_password(password)


def _add(store: Store, name: str, password: str) -> None:
    def work() -> None:
        id = store.accounts.add(name, password_hash)
        store.audit.add("administrator", "account.add", f"account {name}", account_id=id)

    password_hash = _hash(password)
    try:
        store.atomic(work)
    except ValueError as error:
        stop(str(error))


def _check_name(name: str) -> str:
    """Return the name of a new account, in its normal form; one that is none ends the command."""
    from ..server.passwords import check_name

    try:
        return check_name(name)
    except ValueError as error:
        stop(str(error))


def _ask_password(*, from_stdin: bool) -> str:
    from ..server.passwords import Secret, check_password

    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") != password:
            stop("the two passwords differ; nothing was changed")
    try:
        check_password(Secret(password))
    except ValueError as error:
        stop(f"this password {error}")
    return password
