"""Calls that wait for other rates: in the event loop, and with one question to an exchange for all who wait for a pair.

While any call waits for the rates of a source, a task for each of its exchanges asks whenever the one that is known is
too old. Nothing is written down: a cursor names the rates that a caller has seen, by digests, so that it is understood
after a restart and by another server.
"""

from __future__ import annotations

from asyncio import Task, TimerHandle, get_running_loop, sleep
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Hashable, Iterable
from contextvars import Context
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from typing import Any

from starlette.requests import Request

from .problems import too_busy
from .rate_sources import RateSource
from .rates import has_no_market, log_unexpected, rate_row
from .shares import Holder
from .waiting import Waiter, until_news

__all__ = ["RateChanges", "cursor_of"]

Row = dict[str, Any]

#: Seconds between two questions to an exchange, at least; after one that failed; and where it has no such market.
_PAUSE, _PAUSE_AFTER_FAILURE, _PAUSE_WITHOUT_MARKET = 1.0, 5.0, 60.0
#: Seconds for which the exchanges are asked after the last call was answered: its caller is about to make the next one.
_LINGER = 5.0
#: Calls that may wait, and sources that those of one holder may wait for.
_MOST, _SOURCES_OF_HOLDER = 1_000, 20
#: Characters of a digest: 66 bits.
_DIGEST = 11


@dataclass(eq=False, slots=True)
class _RateWaiter(Waiter):
    holder: Holder
    source: Hashable
    seen: frozenset[str]


@dataclass(eq=False, slots=True)
class _Watch:
    """A source that is waited for: its rows by exchange, and the tasks that renew them."""

    rows: dict[str, Row]
    waiters: set[_RateWaiter] = field(default_factory=set)
    tasks: list[Task[None]] = field(default_factory=list)
    ending: TimerHandle | None = None

    def finish(self) -> None:
        """Ask no exchange any more."""
        for task in self.tasks:
            task.cancel()


class RateChanges:
    """The calls of one process that wait for rates. All methods run in the event loop.

    `connections`: how many there may be in all. A call that waits holds one, so no more than a quarter of them do, and
    of one holder, an account or an address, a quarter of these.
    """

    def __init__(self, connections: int) -> None:
        self._most = min(_MOST, connections // 4)
        self._most_of_holder = max(1, self._most // 4)
        self._watches: dict[Hashable, _Watch] = {}
        self._of_holder: Counter[Holder] = Counter()
        self._is_stopping = False

    async def after(
        self, request: Request, source: RateSource, holder: Holder, seen: frozenset[str], seconds: float
    ) -> tuple[list[Row], str]:
        """Return the rows that are not among the `seen` ones, as soon as there is one, and the cursor of the next call.

        There is none after so many seconds, and when the server stops. Raises Problem 503 when too many calls wait, and
        what the source raises when it is asked first, or no exchange of it answers any more.
        """
        watch = self._watches.get(source.key)
        known = watch.rows if watch is not None else {}
        rows = known or {row["id"]: row for row in await source.current()}
        if seconds and not self._is_stopping and not _news(rows.values(), seen):
            rows = await self._wait(request, source, rows, holder, seen, seconds)
        return _news(rows.values(), seen), cursor_of(rows.values())

    def stop(self) -> None:
        """Let all calls that wait be answered now, and no other one wait."""
        self._is_stopping = True
        for watch in self._watches.values():
            watch.finish()
            for waiter in watch.waiters:
                waiter.finish()

    async def _wait(
        self,
        request: Request,
        source: RateSource,
        rows: dict[str, Row],
        holder: Holder,
        seen: frozenset[str],
        seconds: float,
    ) -> dict[str, Row]:
        """Wait for a row that is not among the `seen` ones; return the rows that are known then."""
        self._check_share(holder, source.key)
        waiter = _RateWaiter(get_running_loop().create_future(), holder, source.key, seen)
        watch = self._watches.get(source.key) or self._begin(source, rows)
        if _news(watch.rows.values(), seen):
            # Another call began to wait while this one read the rates.
            return watch.rows
        if watch.ending is not None:
            watch.ending.cancel()
            watch.ending = None
        watch.waiters.add(waiter)
        self._of_holder[holder] += 1
        try:
            await until_news(request, waiter, seconds)
        finally:
            watch.waiters.remove(waiter)
            self._of_holder -= Counter([holder])
            if not watch.waiters:
                watch.ending = get_running_loop().call_later(_LINGER, self._finish, source.key)
        return watch.rows

    def _check_share(self, holder: Holder, source: Hashable) -> None:
        """Raise Problem 503 when one more call of this holder cannot wait."""
        waiting = chain.from_iterable(watch.waiters for watch in self._watches.values())
        sources = {waiter.source for waiter in waiting if waiter.holder == holder} | {source}
        if (
            self._of_holder.total() >= self._most
            or self._of_holder[holder] >= self._most_of_holder
            or len(sources) > _SOURCES_OF_HOLDER
        ):
            raise too_busy("server_busy", "too many calls wait for rates; try again in a second")

    def _begin(self, source: RateSource, rows: dict[str, Row]) -> _Watch:
        watch = self._watches[source.key] = _Watch(rows)
        loop = get_running_loop()
        # They belong to no call: not to that which happens to wait first.
        watch.tasks = [loop.create_task(self._renew(watch, source, id), context=Context()) for id in source.ids()]
        return watch

    def _finish(self, key: Hashable) -> None:
        self._watches.pop(key).finish()

    async def _renew(self, watch: _Watch, source: RateSource, id: str) -> None:
        """Keep the row of one exchange current, and let the calls be answered that have not seen it."""
        while True:
            try:
                rate = await source.renewed(id)
            except Exception as error:
                log_unexpected(id, error)
                watch.rows = {name: row for name, row in watch.rows.items() if name != id}
                await sleep(_PAUSE_WITHOUT_MARKET if has_no_market(error) else _PAUSE_AFTER_FAILURE)
                continue
            row = rate_row(id, rate)
            watch.rows = {**watch.rows, id: row}
            for waiter in watch.waiters:
                if _digest(row) not in waiter.seen:
                    waiter.finish()
            await sleep(_PAUSE)


def cursor_of(rows: Iterable[Row]) -> str:
    """Return the cursor of a caller who has seen these rows."""
    return ".".join(sorted(map(_digest, rows)))


def _news(rows: Iterable[Row], seen: frozenset[str]) -> list[Row]:
    return [row for row in rows if _digest(row) not in seen]


def _digest(row: Row) -> str:
    """Return what tells the exchange and the prices of a row from others; at another time they are the same row."""
    text = " ".join((row["id"], row["buy"], row["sell"]))
    return urlsafe_b64encode(sha256(text.encode()).digest())[:_DIGEST].decode()
