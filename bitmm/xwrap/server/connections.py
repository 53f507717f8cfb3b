"""All connections of a server: how many there may be, how long each may take, and what was refused.

A descriptor that a caller holds is one that the data base or an exchange does not get. So the bound on all connections
follows from the descriptors that the process may have. When it is reached, a new connection takes the place of one
that asks for nothing: of the one that has waited longest since its last answer, else of the one whose head takes
longest. Only when every connection has a call in progress is the new one refused.

A call that waits for its body holds a task and up to 64 KiB. So there is a bound on these, too, which any account could
reach: the one whose body takes longest is refused for a new one.
"""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop, TimerHandle
from collections import Counter, OrderedDict
from typing import NamedTuple, Protocol

from .allocator import give_back
from .callers import is_in, origin_network
from .metrics import Metrics
from .settings import Settings

__all__ = ["READ_SIZE", "REASONS", "Connection", "Connections", "Reason"]

_log = logging.getLogger(__name__)

#: What is read at once; of a body no more stands in memory before the application asks for it.
READ_SIZE = 2 * 1024
#: Gathered of heads that are not complete, in all. One head has at most 64 KiB.
MAX_GATHERED = 16 * 2**20
#: Calls that wait for their bodies, in all. Nearly every body comes along with its head, and waits for nothing.
MAX_AWAITED = 250
_SWEEP_SECONDS = 1.0
#: When so many connections and half of the most since the last time are gone, their memory is given back.
_MANY_GONE = 200
#: Seconds until that is done once more.
_AGAIN_SECONDS = 10.0


class Reason(NamedTuple):
    """Why a request or a connection is refused. `status` 0: no answer is possible, or none is wanted."""

    status: int
    code: str
    detail: str
    retryable: bool = False
    #: Whether it is worth a line in the log.
    is_logged: bool = True


REASONS = {
    "malformed": Reason(400, "malformed_request", "the request is not HTTP/1.1 as RFC 9112 writes it"),
    "head_timeout": Reason(408, "request_timeout", "the head of the request did not come in time", retryable=True),
    "body_timeout": Reason(
        408, "request_timeout", "the body of the request did not come in time; nothing was executed", retryable=True
    ),
    "body_too_large": Reason(
        413,
        "too_large",
        "the body has more than 64 KiB, or 4 KiB around its chunks, which is the most that a call may have",
    ),
    "url_too_long": Reason(414, "too_large", "the URL has more than 8 KiB, which is the most that a call may have"),
    "head_too_large": Reason(
        431,
        "too_large",
        "the head of the request has more than 64 KiB or more than 100 headers, which is the most that a call may have",
    ),
    "too_many_of_address": Reason(
        503,
        "server_busy",
        "there are too many connections from this address; close some, or use them again",
        retryable=True,
    ),
    "too_many": Reason(
        503, "server_busy", "too many calls at once; this call sent nothing; try again in a second", retryable=True
    ),
    "too_many_bodies": Reason(
        503,
        "server_busy",
        "too many calls wait for their bodies, and this one waited longest; it sent nothing; try again in a second",
        retryable=True,
    ),
    "displaced": Reason(0, "", "closed for a new connection, because there are too many"),
    "answer_not_read": Reason(0, "", "closed because the answer was not read"),
    "idle": Reason(0, "", "closed because no request came", is_logged=False),
}


class Connection(Protocol):
    """What is done to a connection from here."""

    #: The address that it comes from.
    peer: str

    def displace(self) -> None:
        """Close it; it has no call in progress."""

    def refuse_body(self) -> None:
        """Refuse its call, whose body has not come whole."""

    def check_time(self, now: float) -> None:
        """Close it, with an answer where HTTP allows one, when it has taken too long."""


class Connections:
    """The connections of one server. All methods belong to the thread of its event loop."""

    def __init__(self, settings: Settings, most: int, metrics: Metrics) -> None:
        self.settings = settings
        self.buffer = memoryview(bytearray(READ_SIZE))
        self._most = most
        # One address can never take all.
        self._most_of_address = min(settings.address_connections, most // 2)
        self._metrics = metrics
        self._all: set[Connection] = set()
        #: How many there were at most since memory was given back.
        self._peak = 0
        self._by_address: Counter[str] = Counter()
        #: Those that wait for a request, by the time of their last answer; and those with a part of a head, by its
        #: first byte.
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._partial: OrderedDict[Connection, int] = OrderedDict()
        self._gathered = 0
        #: Those whose body the application has asked for, by the time when it did.
        self._awaited: OrderedDict[Connection, None] = OrderedDict()
        self._refusals: Counter[str] = Counter()
        self._last_refused: dict[str, str] = {}
        self._sweep: TimerHandle | None = None
        metrics.watch_connections(lambda: len(self._all))

    def is_proxy(self, peer: str) -> bool:
        """Return whether connections from this address are those of a proxy that the settings name."""
        return is_in(peer, self.settings.proxies)

    def add(self, connection: Connection, loop: AbstractEventLoop) -> str | None:
        """Count a new connection; return why it is refused (a name of `REASONS`), None: it is not.

        `remove` is called for it in both cases.
        """
        origin = origin_network(connection.peer)
        self._by_address[origin] += 1
        self._all.add(connection)
        self._peak = max(self._peak, len(self._all))
        if self._sweep is None:
            self._sweep = loop.call_later(_SWEEP_SECONDS, self._check_times, loop)
        if self._by_address[origin] > self._most_of_address and not self.is_proxy(connection.peer):
            return "too_many_of_address"
        if len(self._all) > self._most and not self._displace_one():
            return "too_many"
        return None

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self.set_busy(connection)
        if connection in self._all:
            self._all.discard(connection)
            origin = origin_network(connection.peer)
            self._by_address[origin] -= 1
            if not self._by_address[origin]:
                del self._by_address[origin]

    def set_idle(self, connection: Connection) -> None:
        """Note that a connection waits for a request."""
        self._idle[connection] = None

    def set_busy(self, connection: Connection) -> None:
        """Note that a connection has a call in progress which waits for nothing, or is closing."""
        self._idle.pop(connection, None)
        self._awaited.pop(connection, None)
        if self._partial:
            self._gathered -= self._partial.pop(connection, 0)

    def set_partial(self, connection: Connection, size: int) -> None:
        """Note that a connection has sent `size` bytes of a head that is not complete."""
        self._idle.pop(connection, None)
        self._gathered += size - self._partial.get(connection, 0)
        self._partial[connection] = size
        while self._gathered > MAX_GATHERED:
            next(iter(self._partial)).displace()

    def set_awaited(self, connection: Connection) -> None:
        """Note that the application waits for the body of a connection."""
        self._awaited.setdefault(connection)
        if len(self._awaited) > MAX_AWAITED:
            next(iter(self._awaited)).refuse_body()

    def refuse(self, name: str, peer: str) -> None:
        """Count a refusal (a name of `REASONS`); the log has one line a second for all of its kind."""
        self._metrics.count_refusal(name)
        if REASONS[name].is_logged:
            self._refusals[name] += 1
            self._last_refused[name] = peer

    def _displace_one(self) -> bool:
        connection = next(iter(self._idle), None) or next(iter(self._partial), None)
        if connection is None:
            return False
        connection.displace()
        return True

    def _check_times(self, loop: AbstractEventLoop) -> None:
        """Close what has taken too long, log what was refused since the last time, and give memory back."""
        now = loop.time()
        for connection in list(self._all):
            connection.check_time(now)
        for name, count in self._refusals.items():
            last = self._last_refused[name]
            _log.warning("refused: %s, %d times, last from %s: %s", name, count, last, REASONS[name].detail)
        self._refusals.clear()
        if self._peak - len(self._all) >= max(_MANY_GONE, self._peak // 2):
            self._peak = len(self._all)
            give_back()
            # What answers that wait, threads and the collector held then is free by now (2026-11-27: 6 of 16 MB).
            loop.call_later(_AGAIN_SECONDS, give_back)
        self._sweep = loop.call_later(_SWEEP_SECONDS, self._check_times, loop) if self._all else None
