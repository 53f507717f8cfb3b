"""How many file descriptors this process may have, and how many of them its callers may take."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Any

from .settings import Settings, SetupError

__all__ = ["connections_within", "most_connections", "raise_descriptor_limit"]

try:
    # Windows has none, and no such limit for sockets.
    _resource: Any = import_module("resource")
except ModuleNotFoundError:
    _resource = None

#: More connections than a server of one process can serve; each takes about 8 KB.
MAX_CONNECTIONS = 10_000
_FEWEST_CONNECTIONS = 16
#: The event loop, the files of the data base and its locks, modules that are imported late.
_OWN_DESCRIPTORS = 100
#: What a call holds beside its connection: a connection to SQLite (the file and its log), one to an exchange.
_OF_A_CALL = 3


def raise_descriptor_limit() -> None:
    """Let this process have as many descriptors as the system allows it."""
    if _resource is not None:
        _, hard = _resource.getrlimit(_resource.RLIMIT_NOFILE)
        # macOS calls its limit infinite and refuses to set it.
        with suppress(OSError, ValueError):
            _resource.setrlimit(_resource.RLIMIT_NOFILE, (hard, hard))


def most_connections(settings: Settings) -> int:
    """Return how many connections callers may have in all, so that calls always get the descriptors that they need.

    Raises SetupError when those are too few.
    """
    if _resource is None:
        return MAX_CONNECTIONS
    limit: int = _resource.getrlimit(_resource.RLIMIT_NOFILE)[0]
    return connections_within(settings, None if limit == _resource.RLIM_INFINITY else limit)


def connections_within(settings: Settings, limit: int | None) -> int:
    """Return the same where a process has so many descriptors; None: as many as it likes. Raises SetupError."""
    if limit is None:
        return MAX_CONNECTIONS
    threads = settings.outbound_threads + settings.urgent_threads + settings.database_threads
    free = limit - _OWN_DESCRIPTORS
    # Either all threads have a call, or there are fewer connections than threads and each of them has one.
    most = max(free - threads * _OF_A_CALL, free // (1 + _OF_A_CALL))
    if most < _FEWEST_CONNECTIONS:
        needed = _OWN_DESCRIPTORS + _FEWEST_CONNECTIONS * (1 + _OF_A_CALL)
        raise SetupError(
            f"the system gives this process {limit} file descriptors, and the server needs at least {needed}; "
            "raise the limit (ulimit -n, LimitNOFILE of a systemd service)"
        )
    return min(most, MAX_CONNECTIONS)
