"""Calls that wait for a change of orders: in the event loop, without threads, and with one query for all of them.

While any call waits, one task asks the data base a few times a second for the last changes of all registrations that
are waited for, and at once after this process itself wrote an order. So a change that another process commits, another
server or `xwrap orders settle`, is seen within `_PAUSE`.
"""

from __future__ import annotations

import time
from asyncio import AbstractEventLoop, Event, Task, get_running_loop, sleep, timeout
from collections import Counter
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass

from starlette.requests import Request

from .db.store import Store
from .problems import too_busy
from .threads import ThreadPools
from .waiting import Waiter, until_news

__all__ = ["OrderChanges"]

#: Seconds between two queries, and at least, also when this process writes one order after the other.
_PAUSE, _SHORTEST_PAUSE = 0.25, 0.02
#: Calls that may wait: of one account, and in all.
_MOST_OF_ACCOUNT, _MOST = 200, 2_000
#: Seconds after a call in which another one is expected, so that the open orders of the registration are read.
_FOLLOWED_SECONDS = 60.0


@dataclass(eq=False, slots=True)
class _OrderWaiter(Waiter):
    registration: int
    after: int


class OrderChanges:
    """The calls of one process that wait for changes. All methods but `awaited` run in the event loop.

    `connections`: how many there may be in all. A call that waits holds one, so no more than half of them do.
    """

    def __init__(self, store: Store, threads: ThreadPools, connections: int) -> None:
        self._journal = store.orders
        self._threads = threads
        self._most = min(_MOST, connections // 2)
        self._most_of_account = min(_MOST_OF_ACCOUNT, max(1, self._most // 4))
        self._waiters: set[_OrderWaiter] = set()
        self._of_account: Counter[int] = Counter()
        #: Until when the open orders of a registration are read, by the monotonic clock.
        self._awaited: dict[int, float] = {}
        self._loop: AbstractEventLoop | None = None
        self._poller: Task[None] | None = None
        self._wake = Event()
        self._is_stopping = False
        store.after_order_change(self._wake_poller)

    def awaited(self) -> set[int]:
        """Return the registrations whose changes are waited for, or were a moment ago; from any thread."""
        now = time.monotonic()
        return {registration for registration, until in list(self._awaited.items()) if until > now}

    async def wait(self, request: Request, account: int, registration: int, after: int, seconds: float) -> None:
        """Return when the orders of a registration have a change after this number.

        Also after so many seconds, when the caller is gone, and when the server stops. Raises Problem 503 when too many
        calls wait, and what the data base raises.
        """
        self._follow(registration)
        if self._is_stopping:
            return
        if len(self._waiters) >= self._most or self._of_account[account] >= self._most_of_account:
            raise too_busy("server_busy", "too many calls wait for changes of orders; try again in a second")
        self._loop = get_running_loop()
        waiter = _OrderWaiter(self._loop.create_future(), registration, after)
        self._waiters.add(waiter)
        self._of_account[account] += 1
        self._wake.set()
        if self._poller is None:
            # It belongs to no call: not to that which happens to wait first.
            self._poller = self._loop.create_task(self._poll(), context=Context())
        try:
            await until_news(request, waiter, seconds)
        finally:
            self._waiters.remove(waiter)
            self._of_account -= Counter([account])

    def stop(self) -> None:
        """Let all calls that wait be answered now, and no other one wait."""
        self._is_stopping = True
        for waiter in self._waiters:
            waiter.finish()

    def _follow(self, registration: int) -> None:
        now = time.monotonic()
        self._awaited = {id: until for id, until in self._awaited.items() if until > now}
        self._awaited[registration] = now + _FOLLOWED_SECONDS

    def _wake_poller(self) -> None:
        """Let the next query be asked now; from any thread."""
        if self._poller is not None and self._loop is not None:
            with suppress(RuntimeError):  # The event loop has ended.
                self._loop.call_soon_threadsafe(self._wake.set)

    async def _poll(self) -> None:
        """Ask as long as any call waits."""
        try:
            while self._waiters:
                self._wake.clear()
                registrations = {waiter.registration for waiter in self._waiters}
                last = await self._threads.run("database", self._journal.last_changes, registrations)
                for waiter in self._waiters:
                    if last.get(waiter.registration, 0) > waiter.after:
                        waiter.finish()
                await sleep(_SHORTEST_PAUSE)
                with suppress(TimeoutError):
                    async with timeout(_PAUSE):
                        await self._wake.wait()
        except Exception as error:
            for waiter in self._waiters:
                if not waiter.news.done():
                    waiter.news.set_exception(error)
        finally:
            self._poller = None
