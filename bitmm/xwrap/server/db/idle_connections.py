"""Connections that lay idle are tested before they are used again: PostgreSQL may have ended them, or may be gone.

A test is a round trip, so one that was used a moment ago is asked only when something has come on it meanwhile: that is
the end of the connection, or what PostgreSQL says before it.
"""

from __future__ import annotations

import select
import time
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError

__all__ = ["watch_idle"]

#: A connection that was used within so many seconds is not asked.
_IDLE_SECONDS = 1.0


def watch_idle(engine: Engine) -> None:
    """Let the pool of `engine` test a connection of psycopg before it is used, where it may have broken."""

    def note_use(_connection: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    def test(connection: Any, record: Any, _proxy: object) -> None:
        used = record.info.get("used")
        if used is None:
            return  # it is new
        if time.monotonic() - used < _IDLE_SECONDS and not _has_news(connection):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # The others are of before, too.
            raise InvalidatePoolError from error

    event.listen(engine, "checkin", note_use)
    event.listen(engine, "checkout", test)


def _has_news(connection: Any) -> bool:
    """Return whether PostgreSQL has sent something that was not asked for, or ended the connection."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([connection.fileno()], [], [], 0)[0])
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
