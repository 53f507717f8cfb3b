"""What the commands share that speak to a running server: where it is, who calls, and errors as one line.

No secret is an argument, since every user of the machine can read those: it is asked for without being shown, or comes
from standard input, a line each.
"""

from __future__ import annotations

import getpass
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from .common import stop

if TYPE_CHECKING:
    from ..client import XWrap

__all__ = ["AccountName", "Login", "PasswordStdin", "Server", "log_in"]

Server = Annotated[
    str | None, typer.Option(help="The address of the server. [default: XWRAP_URL, else http://localhost:8000]")
]
AccountName = Annotated[str, typer.Option("--account", help="The account, by its user name.")]
PasswordStdin = Annotated[
    bool,
    typer.Option(
        "--password-stdin", help="Read the password, and what else is secret, from standard input, a line each."
    ),
]


@dataclass(frozen=True, slots=True)
class Login:
    """A server, and who calls it. The repr does not show the password."""

    xwrap: XWrap
    username: str
    password: str
    _from_stdin: bool

    def __repr__(self) -> str:
        return f"<Login {self.username} of {self.xwrap!r}>"

    def read_secret(self, what: str, *, required: bool = True) -> str:
        """Return a further secret: asked for without being shown, or the next line of standard input."""
        return _read_secret(what, from_stdin=self._from_stdin, required=required)


@contextmanager
def log_in(account: str, server: str | None, *, password_stdin: bool) -> Iterator[Login]:
    """Give who calls, after the password was asked for. What fails within is shown in one line, with exit 1."""
    from ..client import APIError, XWrap

    try:
        xwrap = XWrap(server)
        password = _read_secret(f"Password of {account}", from_stdin=password_stdin, required=True)
        yield Login(xwrap, account, password, password_stdin)
    except APIError as error:
        wait = f"; try again in {error.retry_after:.0f} s" if error.retry_after else ""
        stop(f"{error}{wait}")


def _read_secret(what: str, *, from_stdin: bool, required: bool) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            text = sys.stdin.readline().rstrip("\r\n") if from_stdin else getpass.getpass(f"{what}: ")
    except EOFError:
        text = ""
    except getpass.GetPassWarning:
        stop("there is no terminal on which a secret can be asked for without being shown; use --password-stdin")
    if required and not text:
        stop(f"{what}: there is none; nothing was sent")
    return text
