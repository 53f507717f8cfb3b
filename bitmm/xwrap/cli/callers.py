"""Who calls, and which server: of the environment, or of a profile that `xwrap login` keeps."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from .common import stop
from .exits import USAGE
from .profiles import DEFAULT, password_of, profile_names, read_private, read_profile, stop_without_profile

__all__ = ["Caller", "find_caller"]

_VARIABLES = ("URL", "USER", "PASSWORD", "PASSWORD_FILE", "PROFILE", "INSECURE")
#: Nearer than any setting of the server's is, which may be in the same environment: XWRAP_PROXIES has 0.71.
_ALMOST = 0.8


@dataclass(frozen=True, slots=True)
class Caller:
    """The address of a server, and who logs in there. `profile`: None when it is said in the environment."""

    url: str | None
    username: str
    password: str = field(repr=False)
    profile: str | None = None


def find_caller(profile: str | None) -> Caller | None:
    """Return who calls: of `profile`, else of XWRAP_USER, else of XWRAP_PROFILE, else of the profile "default".

    None: no login is kept. The server of a profile is the one that it was made for: a password goes to no other. What
    contradicts itself ends the command.
    """
    environ = os.environ
    _check_names()
    if profile is None and environ.get("XWRAP_USER"):
        if environ.get("XWRAP_PROFILE"):
            stop("XWRAP_USER and XWRAP_PROFILE are both set, and each names a login; unset one of them", USAGE)
        return _of_the_environment(environ["XWRAP_USER"])
    name = profile or environ.get("XWRAP_PROFILE")
    if name is None and (environ.get("XWRAP_PASSWORD") or environ.get("XWRAP_PASSWORD_FILE")):
        stop("there is a password in the environment and no user; set XWRAP_USER", USAGE)
    found = read_profile(name or DEFAULT)
    if found is None:
        if name or profile_names():
            stop_without_profile(name or DEFAULT)
        return None
    url = environ.get("XWRAP_URL")
    if profile is None and url and url.rstrip("/") != found.url:
        stop(
            f"XWRAP_URL is {url}, and the profile '{found.name}' is of {found.url}; unset XWRAP_URL, or choose the "
            f"profile by --profile",
            USAGE,
        )
    return Caller(found.url, found.username, password_of(found), found.name)


def _check_names() -> None:
    """End the command for a variable that is almost one of these: without effect it could mean another account."""
    for name in os.environ:
        rest = name.removeprefix("XWRAP_")
        if rest != name and rest not in _VARIABLES and (near := get_close_matches(rest, _VARIABLES, 1, _ALMOST)):
            stop(f"{name} is no setting, but almost XWRAP_{near[0]}; rename or unset it", USAGE)


def _of_the_environment(username: str) -> Caller:
    password, path = os.environ.get("XWRAP_PASSWORD"), os.environ.get("XWRAP_PASSWORD_FILE")
    if password and path:
        stop("XWRAP_PASSWORD and XWRAP_PASSWORD_FILE are both set; unset one of them", USAGE)
    if path:
        password = _first_line(Path(path).expanduser())
    if not password:
        stop("XWRAP_USER is set, and no password; set XWRAP_PASSWORD_FILE, or XWRAP_PASSWORD", USAGE)
    return Caller(os.environ.get("XWRAP_URL") or None, username, password)


def _first_line(path: Path) -> str:
    try:
        text = read_private(path)
    except OSError as error:
        stop(f"XWRAP_PASSWORD_FILE: {path}: {error.strerror}")
    except UnicodeDecodeError:
        stop(f"XWRAP_PASSWORD_FILE: {path} is no text in UTF-8")
    line = text.partition("\n")[0].rstrip("\r")
    return line or stop(f"XWRAP_PASSWORD_FILE: the first line of {path} is empty")
