"""`xwrap login`, `logout` and `profiles`: who calls, kept for the commands that speak to a server."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .common import say, stop
from .exits import USAGE
from .http import PasswordStdin, ProfileName, Server, api_errors, read_secret
from .output import Json, show_rows
from .profiles import (
    DEFAULT,
    check_profile_name,
    delete_profile,
    file_of,
    profile_names,
    read_profile,
    save_profile,
    stop_without_profile,
)

if TYPE_CHECKING:
    from ..client import XWrap

__all__ = ["login", "logout", "profiles"]

_DEFAULT_SERVER = "http://localhost:8000"

NewProfile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="A name for this login, where you have several. [default: XWRAP_PROFILE, else default]",
        autocompletion=profile_names,
    ),
]


def login(
    server: Server = None,
    account: Annotated[
        str | None,
        typer.Option("--account", help="The user name, as ann, or ann/bot1 of a credential. [default: XWRAP_USER]"),
    ] = None,
    profile: NewProfile = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Keep a login for the other commands.

    It is kept after the server took it. What is not given is asked for, the password without being shown. It is kept
    in the keyring of your desktop where there is one (pip install keyring), else in a file that only you can read.

    Log in with a credential of scope trade, or read where you only look: what it may do is limited, and it can be
    revoked by itself. `xwrap credential add shell --scope trade --account ann` makes one.
    """
    name = check_profile_name(profile or os.environ.get("XWRAP_PROFILE") or DEFAULT)
    url = server or _read_answer("Server", os.environ.get("XWRAP_URL") or _DEFAULT_SERVER)
    username = account or _read_answer("User name", os.environ.get("XWRAP_USER") or "")
    if not username:
        stop("there is no user name; give it by --account", USAGE)
    from ..client import XWrap

    with api_errors():
        xwrap = XWrap(url)
        password = read_secret(f"Password of {username}", from_stdin=password_stdin, required=True)
        scope = _scope(xwrap, username, password)
    kept = save_profile(name, url.rstrip("/"), username, password)
    where = "the keyring" if kept.password is None else str(file_of(name))
    say(f"logged in to {kept.url} as {username}{f', scope {scope}' if scope else ''}; the password is in {where}")
    if scope == "owner":
        typer.echo(
            "this is the account's own password, which may do everything; a credential of scope trade or read may not: "
            f"xwrap credential add shell --scope trade --account {username}",
            err=True,
        )


def logout(profile: ProfileName = None) -> None:
    """Forget a login.

    A credential is not revoked by that; `xwrap credential revoke` does it.
    """
    name = profile or os.environ.get("XWRAP_PROFILE") or DEFAULT
    if not delete_profile(name):
        stop_without_profile(name)
    say(f"the profile '{name}' is forgotten")


def profiles(as_json: Json = False) -> None:
    """List the logins that are kept, without passwords.

    Columns: profile, server, user, password (where it is: keyring or file).
    """
    rows = []
    for name in profile_names():
        found = read_profile(name)
        if found is not None:
            where = "keyring" if found.password is None else "file"
            rows.append({"profile": name, "server": found.url, "user": found.username, "password": where})
    show_rows(rows, ("profile", "server", "user", "password"), json=rows if as_json else None)


def _read_answer(what: str, default: str) -> str:
    """Return what is asked for on a terminal; the default where there is none, or Enter is the answer."""
    if not sys.stdin.isatty():
        return default
    typer.echo(f"{what}{f' [{default}]' if default else ''}: ", nl=False, err=True)
    return sys.stdin.readline().strip() or default


def _scope(xwrap: XWrap, username: str, password: str) -> str | None:
    """Return what this login may do, after the server took it; None of a server of 2013, which does not say it."""
    from ..client import NotFound

    try:
        return xwrap.account(username, password)["scope"]
    except NotFound:
        xwrap.list_backends(username, password)
        return None
