"""Why a server or a command cannot start, as one line for a person."""

from __future__ import annotations

from .settings import SetupError

__all__ = ["setup_line"]


def setup_line(error: Exception) -> str | None:
    """Return what a person can mend, in one line; None: it is an error of the program."""
    if isinstance(error, SetupError):
        return str(error)
    if isinstance(error, OSError):
        if error.filename is None:
            return None
        return f"{error.filename}: {error.strerror}; choose another folder with --data"
    # Only where something went wrong: the data base is slow to import.
    from .db.errors import UNUSABLE, driver_message

    if isinstance(error, UNUSABLE):
        return f"the data base cannot be used: {driver_message(error)}"
    return None
