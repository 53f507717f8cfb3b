"""What is simulated: the modules of the package, imported with the substitutes for clocks, locks and threads.

Import this before anything of `bitmm`. What the package gets from outside beside those is replaced here: the way to
the network, the threads of the server, the clock of SQLite, and the time that hashing a password takes.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

import argon2
from requests.structures import CaseInsensitiveDict
from sqlalchemy import Double, event, func
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DatabaseError

from . import substitutes
from .network import Answer

#: Third-party modules that the package imports: these keep the real clocks and threads.
_OTHERS = """
    alembic.command alembic.config alembic.script anyio concurrent.futures.thread cryptography.exceptions
    cryptography.hazmat.primitives.asymmetric.ed25519 cryptography.hazmat.primitives.ciphers.aead http.server jinja2
    platformdirs prometheus_client requests.adapters socketserver sqlalchemy.dialects.postgresql sqlalchemy.pool
    starlette.applications starlette.middleware.exceptions starlette.responses uvicorn yaml
"""
for _name in _OTHERS.split():
    import_module(_name)
if any(name.partition(".")[0] == "bitmm" for name in sys.modules):
    raise ImportError("bitmm was imported before the simulation, with the real clocks")
with substitutes.importing():
    from bitmm.xwrap import transport
    from bitmm.xwrap.client import Backend, XWrap
    from bitmm.xwrap.errors import APIError, OutcomeUnknown, Unavailable
    from bitmm.xwrap.exchanges import backpack, bitstamp, kraken
    from bitmm.xwrap.exchanges.base import Credentials
    from bitmm.xwrap.exchanges.errors import ExchangeError, Unknown
    from bitmm.xwrap.server import paper, passwords, question_times, services, settings
    from bitmm.xwrap.server.app import create_app
    from bitmm.xwrap.server.db import base, postgresql, sqlite, state_file, statements
    from bitmm.xwrap.server.db.counters import CounterStore
    from bitmm.xwrap.server.db.store import Store
    from bitmm.xwrap.server.settings import SetupError
    from bitmm.xwrap.testing.exchanges import backpack as local_backpack
    from bitmm.xwrap.testing.exchanges import bitstamp as local_bitstamp
    from bitmm.xwrap.testing.exchanges import kraken as local_kraken
    from bitmm.xwrap.testing.exchanges import messages
    from tests.stress.harness import EXCHANGE_CASES

__all__ = [
    "EXCHANGES",
    "EXCHANGE_CASES",
    "VENUES",
    "APIError",
    "Backend",
    "CaseInsensitiveDict",
    "CounterStore",
    "Credentials",
    "DatabaseError",
    "ExchangeError",
    "OutcomeUnknown",
    "SetupError",
    "Store",
    "Unavailable",
    "Unknown",
    "XWrap",
    "base",
    "create_app",
    "messages",
    "other_settings",
    "passwords",
    "postgresql",
    "question_times",
    "services",
    "settings",
    "simulate",
    "statements",
]

EXCHANGES = {"kraken": kraken.Kraken, "bitstamp": bitstamp.Bitstamp, "backpack": backpack.Backpack}
VENUES = {"kraken": local_kraken.VENUE, "bitstamp": local_bitstamp.VENUE, "backpack": local_backpack.VENUE}
#: Settings of the server that are not the shipped ones, for code that is broken on purpose.
other_settings: dict[str, Any] = {}


class Outside(Protocol):
    """What the simulated programs find outside of themselves."""

    def send(self, request: Any, seconds: float) -> Answer | None:
        """Return the answer to a request that comes within `seconds`, if one does."""

    def wall(self) -> float:
        """Return the seconds since 1970."""

    def sleep(self, seconds: float) -> None:
        """Let others go on for `seconds`; the process may be killed here."""

    def commit_fails(self) -> bool:
        """Return whether the disk takes nothing now."""

    def on_exit(self, close: Callable[[], object]) -> None:
        """Take note of something that the system closes when the running process ends."""


_outside: list[Outside] = []


def simulate(outside: Outside) -> None:
    """Let all programs be those of a new seed."""
    _outside[:] = [outside]


def _send(self: Any, request: Any, *, timeout: float | None = None) -> Any:
    """Stands in for Transport.send."""
    [outside] = _outside
    seconds = min(self.timeout if timeout is None else timeout, self._end - substitutes.monotonic())
    if seconds <= 0:
        raise Unavailable("no connection: the time is over", retryable=True)
    answer = outside.send(request, seconds)
    if answer is None:
        raise OutcomeUnknown("no complete answer: timed out", code="no_answer")
    if answer.status == -1:
        raise Unavailable("no connection: refused", retryable=True)
    if answer.status == 0:
        raise OutcomeUnknown("no complete answer: connection reset", code="no_answer")
    return transport.Response(answer.status, CaseInsensitiveDict(answer.headers), answer.body)


class _ThreadPools:
    """Stands in for ThreadPools: the task that carries a request runs its view, too."""

    def __init__(self, *_: Any) -> None:
        pass

    async def run(self, pool: str, function: Any, *args: Any, holders: Any = ()) -> Any:
        return function(*args)

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass


_command = statements.StatementRunner.command


def _command_with_points(self: Any, text: str) -> None:
    """Stands in for StatementRunner.command: others go on, or the process is killed, just before and after a commit."""
    if text != "COMMIT":
        _command(self, text)
        return
    [outside] = _outside
    outside.sleep(0.0)
    if outside.commit_fails():
        raise self._failed(text, sqlite3.OperationalError("database or disk is full"))
    _command(self, text)
    outside.sleep(0.001)


@event.listens_for(Engine, "connect")
def _on_connect(connection: Any, _record: object) -> None:
    [outside] = _outside
    if isinstance(connection, sqlite3.Connection):
        connection.create_function("virtual_time", 0, outside.wall)
    outside.on_exit(connection.close)


_open_state_file = state_file.StateFile.__init__


def _open_state_file_until_exit(self: Any, path: Any) -> None:
    """Stands in for StateFile.__init__: the lock on the file ends with the process."""
    _open_state_file(self, path)
    descriptor = self._descriptor

    def close() -> None:
        if self._descriptor is not None:
            self._descriptor = None
            os.close(descriptor)

    [outside] = _outside
    outside.on_exit(close)


transport.Transport.send = _send  # type: ignore[method-assign]
services.ThreadPools = _ThreadPools  # type: ignore[misc, assignment]
statements.StatementRunner.command = _command_with_points  # type: ignore[method-assign]
state_file.StateFile.__init__ = _open_state_file_until_exit  # type: ignore[method-assign]
sqlite.SQLite.current_time = func.virtual_time(type_=Double)
passwords._HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # type: ignore[misc]
_prices = paper._load_prices(settings.Settings.read({}), paper.PACKED_PRICES)
paper._load_prices = lambda *_: _prices
# What is logged is part of the history, and is not printed.
logging.getLogger().addHandler(logging.NullHandler())
