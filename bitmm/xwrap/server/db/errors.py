"""What a data base raises that cannot be used, and what is said of it."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ..settings import SetupError

__all__ = [
    "UNUSABLE",
    "DamagedError",
    "ForeignFileError",
    "StateFileInUseError",
    "StoreError",
    "driver_message",
    "public_reason",
]


class StoreError(SetupError):
    """The data base cannot be used. `public`: what is said of it to callers, who need not know where it is."""

    public = "it cannot be used now"


class DamagedError(StoreError):
    """The data base is damaged."""

    public = "it is damaged; its administrator must restore a backup"


class ForeignFileError(StoreError):
    """The data base file is not the one that was opened."""

    public = "its file was removed or replaced, so the server stops"


#: What a data base raises that cannot be used now.
UNUSABLE = (OperationalError, InterfaceError, InternalError, PoolTimeoutError, StoreError)


class StateFileInUseError(StoreError):
    """Another server process uses the state file."""


def public_reason(error: Exception) -> str:
    """Return why the data base cannot be used, in words that may be shown to any caller."""
    if isinstance(error, StoreError):
        return error.public
    # SQLite's own words name no file and no value; PostgreSQL's name its address.
    driver = getattr(error, "orig", None)
    return str(driver) if isinstance(driver, sqlite3.Error) else StoreError.public


def driver_message(error: Exception) -> str:
    """Return what the data base says of an error, in one line without the statement and its values."""
    return str(getattr(error, "orig", error)).strip().partition("\n")[0]
