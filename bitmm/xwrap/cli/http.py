"""What the commands share that speak to a running server: where it is, who calls, and errors as one line.

No secret is an argument, since every user of the machine can read those: it is asked for without being shown, or comes
from standard input, a line each, or from where `callers` finds it.
"""

from __future__ import annotations

import getpass
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from .callers import find_caller
from .common import stop
from .exits import FAILED, UNKNOWN, USAGE
from .profiles import profile_names
from .text import did_you_mean

if TYPE_CHECKING:
    from ..client import APIError, Backend, XWrap

__all__ = [
    "AccountName",
    "Login",
    "PasswordStdin",
    "ProfileName",
    "Server",
    "api_errors",
    "log_in",
    "log_in_by_profile",
    "open_server",
    "read_secret",
    "sentence",
]

Server = Annotated[
    str | None, typer.Option(help="The address of the server. [default: XWRAP_URL, else http://localhost:8000]")
]
AccountName = Annotated[
    str | None,
    typer.Option("--account", help="The account, by its user name. [default: who is logged in, see `xwrap login`]"),
]
PasswordStdin = Annotated[
    bool,
    typer.Option(
        "--password-stdin", help="Read the password, and what else is secret, from standard input, a line each."
    ),
]
ProfileName = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="Who calls, as `xwrap profiles` lists it. [default: XWRAP_USER or XWRAP_PROFILE, else default]",
        autocompletion=profile_names,
    ),
]


@dataclass(frozen=True, slots=True)
class Login:
    """A server, and who calls it. The repr does not show the password.

    `profile_option`: what a further command needs to make the same login, as " --profile test".
    """

    xwrap: XWrap
    username: str
    password: str
    from_stdin: bool = False
    profile_option: str = ""

    def __repr__(self) -> str:
        return f"<Login {self.username} of {self.xwrap!r}>"

    def read_secret(self, what: str, *, required: bool = True) -> str:
        """Return a further secret: asked for without being shown, or the next line of standard input."""
        return read_secret(what, from_stdin=self.from_stdin, required=required)

    def backends(self, *, active_only: bool = True) -> list[Backend]:
        """Return the registrations of the account."""
        return self.xwrap.list_backends(self.username, self.password, active_only=active_only)

    def backend(self, name: str) -> Backend:
        """Return the registration of this id, else label, else exchange. What is none or several ends the command."""
        all_ = self.backends(active_only=False)
        tests = (
            lambda each: str(each.id) == name,
            lambda each: each.label == name,
            lambda each: each.exchange == name.lower() and each.enabled,
            lambda each: each.exchange == name.lower(),
        )
        found = next(filter(None, ([each for each in all_ if test(each)] for test in tests)), [])
        if len(found) != 1:
            stop(_describe_choice(name, found, all_))
        return found[0]


@contextmanager
def log_in(account: str | None, server: str | None, *, password_stdin: bool) -> Iterator[Login]:
    """Give who calls: an account, whose password is asked for, or without one who is logged in.

    What fails within is shown in one line.
    """
    from ..client import XWrap

    if account is None:
        if server is not None:
            stop("--server is given without --account; give both, or neither and be who is logged in", USAGE)
        with log_in_by_profile(None, secrets_from_stdin=password_stdin) as login:
            yield login
        return
    with api_errors():
        xwrap = XWrap(server)
        password = read_secret(f"Password of {account}", from_stdin=password_stdin, required=True)
        yield Login(xwrap, account, password, password_stdin)


@contextmanager
def log_in_by_profile(profile: str | None, *, secrets_from_stdin: bool = False) -> Iterator[Login]:
    """Give who calls, of a profile or the environment. What fails within is shown in one line."""
    from ..client import XWrap

    caller = find_caller(profile)
    if caller is None:
        stop("there is no login; make one with: xwrap login, or set XWRAP_URL, XWRAP_USER and XWRAP_PASSWORD_FILE")
    with api_errors():
        option = f" --profile {shlex.quote(profile)}" if profile else ""
        yield Login(XWrap(caller.url), caller.username, caller.password, secrets_from_stdin, option)


@contextmanager
def open_server(profile: str | None) -> Iterator[XWrap]:
    """Give the server of a profile or the environment, for what needs no login. What fails is shown in one line."""
    from ..client import XWrap

    caller = find_caller(profile)
    with api_errors():
        yield XWrap(caller.url if caller else None)


@contextmanager
def api_errors(ask: str = "") -> Iterator[None]:
    """Show what fails within in one line; `ask`: what to do when it is not known whether it was executed."""
    from ..client import APIError, OutcomeUnknown

    try:
        yield
    except OutcomeUnknown as error:
        stop(f"{sentence(error)}{f'; {ask}' if ask else ''}", UNKNOWN)
    except APIError as error:
        stop(sentence(error), UNKNOWN if error.may_have_executed else FAILED)


def sentence(error: APIError) -> str:
    """Return the words of an error, and when to come back where it says that."""
    wait = f"; try again in {error.retry_after:.0f} s" if error.retry_after else ""
    return f"{error}{wait}"


def read_secret(what: str, *, from_stdin: bool, required: bool) -> str:
    """Return a secret: asked for without being shown, or the next line of standard input."""
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


def _describe_choice(name: str, found: list[Backend], all_: list[Backend]) -> str:
    """Return why a name is not that of one registration, and which ones there are."""
    if found:
        return f"'{name}' may be {_listed(found)}; name one by its number"
    if not all_:
        return "this account has no registration at an exchange yet; make one with: xwrap key add EXCHANGE"
    known = {name for each in all_ for name in (str(each.id), each.label, each.exchange) if name}
    return f"{did_you_mean('registration', name, known)}; the account has {_listed(all_)}"


def _listed(backends: list[Backend]) -> str:
    descriptions = []
    for each in backends:
        facts = (each.exchange, each.label, None if each.enabled else "switched off")
        descriptions.append(f"{each.id} ({', '.join(filter(None, facts))})")
    return ", ".join(descriptions)
