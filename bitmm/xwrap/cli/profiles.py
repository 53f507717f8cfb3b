"""The logins that `xwrap login` keeps: a file for each profile, which only its owner can read.

The password is in the keyring where there is one, else in the file.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from .common import stop
from .exits import USAGE
from .files import write_whole
from .keyrings import forget_password, keep_password, kept_password
from .text import did_you_mean

__all__ = [
    "DEFAULT",
    "Profile",
    "check_profile_name",
    "delete_profile",
    "file_of",
    "password_of",
    "profile_names",
    "read_private",
    "read_profile",
    "save_profile",
    "stop_without_profile",
]

DEFAULT = "default"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_INSTEAD = "set XWRAP_URL, XWRAP_USER and XWRAP_PASSWORD_FILE instead"


@dataclass(frozen=True, slots=True)
class Profile:
    """A login that is kept. `password`: None when it is in the keyring."""

    name: str
    url: str
    username: str
    password: str | None = field(repr=False)


def check_profile_name(name: str) -> str:
    """Return the name of a profile; one that is none ends the command."""
    if not _NAME.fullmatch(name):
        stop(f"'{name[:40]}' is no name of a profile; it takes letters, digits, '.', '_' and '-', 64 at most", USAGE)
    return name


def file_of(name: str) -> Path:
    """Return where a profile is kept."""
    return _folder() / f"{check_profile_name(name)}.json"


def profile_names() -> list[str]:
    """Return the names of the profiles that are kept, in alphabetical order."""
    return sorted(path.stem for path in _folder().glob("*.json") if _NAME.fullmatch(path.stem))


def read_profile(name: str) -> Profile | None:
    """Return a profile, its password as far as it is in the file; None when there is none of this name."""
    path = file_of(name)
    try:
        document: Any = json.loads(read_private(path))
        profile = Profile(name, document["url"], document["username"], document["password"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        stop(f"{path}: {error.strerror}")
    except (ValueError, KeyError, TypeError):
        profile = Profile(name, "", "", None)
    if not all(isinstance(text, str) and text for text in (profile.url, profile.username)):
        stop(f"{path} is no profile any more; log in again: xwrap login --profile {name}")
    return profile


def password_of(profile: Profile) -> str:
    """Return the password of a profile, from the keyring where it is there; without one the command ends."""
    password = kept_password(profile.name) if profile.password is None else profile.password
    if not password:
        stop(
            f"the keyring does not give the password of the profile '{profile.name}'; unlock it, or log in again: "
            f"xwrap login --profile {profile.name}"
        )
    return password


def save_profile(name: str, url: str, username: str, password: str) -> Profile:
    """Keep a login in place of one of this name, and return it; where it cannot be kept the command ends."""
    path = file_of(name)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        in_keyring = keep_password(name, password)
        profile = Profile(name, url, username, None if in_keyring else password)
        document = {"url": url, "username": username, "password": profile.password}
        write_whole(path, json.dumps(document, indent=2) + "\n")
    except OSError as error:
        stop(f"the login cannot be kept: {error.filename or path}: {error.strerror}; {_INSTEAD}")
    if not in_keyring:
        forget_password(name)  # that of an earlier login
    return profile


def delete_profile(name: str) -> bool:
    """Forget a login; return whether there was one."""
    path = file_of(name)
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        stop(f"{path}: {error.strerror}")
    forget_password(name)
    return True


def stop_without_profile(name: str) -> NoReturn:
    """End the command: there is no profile of this name."""
    names = profile_names()
    there = f"; there are {', '.join(names)}" if names else ""
    stop(f"{did_you_mean('profile', name, names)}{there}; make one with: xwrap login --profile {name}")


def read_private(path: Path) -> str:
    """Return the text of a file that holds a password. One that others can read ends the command. Raises OSError."""
    with path.open(encoding="utf-8") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if os.name == "posix" and mode & 0o066:
            mending = f"chmod 600 {shlex.quote(str(path))}"
            stop(f"{path} holds a password, and others can read or write it; mend that: {mending}")
        return file.read()


def _folder() -> Path:
    from platformdirs import user_config_path

    folder = user_config_path("xwrap", appauthor=False) / "profiles"
    if not folder.is_absolute():
        stop(f"there is no home folder in which a login could be kept; set HOME, or {_INSTEAD}")
    return folder
