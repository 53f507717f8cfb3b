"""Calls that wait for other rates: in the event loop, and with one question to an exchange for all who wait for a pair.

While any call waits for a pair, a task for each exchange asks for its rate whenever the one that `Rates` keeps is too
old. Nothing is written down: a cursor names the rates that a caller has seen, by digests, so that it is understood
after a restart and by another server.
"""

from __future__ import annotations

from asyncio import Task, TimerHandle, get_running_loop, sleep
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from typing import Any

from starlette.requests import Request

from .callers import origin_network
from .problems import too_busy
from .rates import Rates, has_no_market, log_unexpected, rate_row
from .waiting import Waiter, until_news

__all__ = ["RateChanges", "cursor_of"]

Pair = tuple[str, str]
Row = dict[str, Any]

#: Seconds between two questions to an exchange, at least; after one that failed; and where it has no such market.
_PAUSE, _PAUSE_AFTER_FAILURE, _PAUSE_WITHOUT_MARKET = 1.0, 5.0, 60.0
#: Seconds for which the exchanges are asked after the last call was answered: its caller is about to make the next one.
_LINGER = 5.0
#: Calls that may wait, and pairs that those of one address may wait for.
_MOST, _PAIRS_OF_ADDRESS = 1_000, 20
#: Characters of a digest: 66 bits.
_DIGEST = 11


@dataclass(eq=False, slots=True)
class _PairWaiter(Waiter):
    pair: Pair
    address: str
    seen: frozenset[str]


@dataclass(eq=False, slots=True)
class _Watch:
    """A pair that is waited for: its rows by exchange, and the tasks that renew them."""

    rows: dict[str, Row]
    waiters: set[_PairWaiter] = field(default_factory=set)
    tasks: list[Task[None]] = field(default_factory=list)
    ending: TimerHandle | None = None

    def finish(self) -> None:
        """Ask no exchange any more."""
        for task in self.tasks:
            task.cancel()


class RateChanges:
    """The calls of one process that wait for rates. All methods run in the event loop.

    `connections`: how many there may be in all. A call that waits holds one, so no more than a quarter of them do, and
    of one address a quarter of these.
    """

    def __init__(self, rates: Rates, connections: int) -> None:
        self._rates = rates
        self._most = min(_MOST, connections // 4)
        self._most_of_address = max(1, self._most // 4)
        self._watches: dict[Pair, _Watch] = {}
        self._of_address: Counter[str] = Counter()
        self._is_stopping = False

    async def after(self, request: Request, pair: Pair, seen: frozenset[str], seconds: float) -> tuple[list[Row], str]:
        """Return the rows that are not among the `seen` ones, as soon as there is one, and the cursor of the next call.

        There is none after so many seconds, and when the server stops. Raises Problem 422 where no exchange has the
        pair, and 503 when too many calls wait.
        """
        watch = self._watches.get(pair)
        rows = {row["id"]: row for row in await self._rates.all(*pair)} if watch is None else watch.rows
        if seconds and not self._is_stopping and not _news(rows.values(), seen):
            rows = await self._wait(request, pair, rows, seen, seconds)
        return _news(rows.values(), seen), cursor_of(rows.values())

    def stop(self) -> None:
        """Let all calls that wait be answered now, and no other one wait."""
        self._is_stopping = True
        for watch in self._watches.values():
            watch.finish()
            for waiter in watch.waiters:
                waiter.finish()

    async def _wait(
        self, request: Request, pair: Pair, rows: dict[str, Row], seen: frozenset[str], seconds: float
    ) -> dict[str, Row]:
        """Wait for a row that is not among the `seen` ones; return the rows that are known then."""
        address = origin_network(request.client.host if request.client else "")
        self._check_share(address, pair)
        waiter = _PairWaiter(get_running_loop().create_future(), pair, address, seen)
        watch = self._watches.get(pair) or self._begin(pair, rows)
        if _news(watch.rows.values(), seen):
            # Another call began to wait while this one read the rates.
            return watch.rows
        if watch.ending is not None:
            watch.ending.cancel()
            watch.ending = None
        watch.waiters.add(waiter)
        self._of_address[address] += 1
        try:
            await until_news(request, waiter, seconds)
        finally:
            watch.waiters.remove(waiter)
            self._of_address -= Counter([address])
            if not watch.waiters:
                watch.ending = get_running_loop().call_later(_LINGER, self._finish, pair)
        return watch.rows

    def _check_share(self, address: str, pair: Pair) -> None:
        """Raise Problem 503 when one more call of this address cannot wait."""
        waiting = chain.from_iterable(watch.waiters for watch in self._watches.values())
        pairs = {waiter.pair for waiter in waiting if waiter.address == address} | {pair}
        if (
            self._of_address.total() >= self._most
            or self._of_address[address] >= self._most_of_address
            or len(pairs) > _PAIRS_OF_ADDRESS
        ):
            raise too_busy("server_busy", "too many calls wait for rates; try again in a second")

    def _begin(self, pair: Pair, rows: dict[str, Row]) -> _Watch:
        watch = self._watches[pair] = _Watch(rows)
        loop = get_running_loop()
        watch.tasks = [loop.create_task(self._renew(watch, id, pair)) for id in self._rates.ids()]
        return watch

    def _finish(self, pair: Pair) -> None:
        self._watches.pop(pair).finish()

    async def _renew(self, watch: _Watch, id: str, pair: Pair) -> None:
        """Keep the row of one exchange current, and let the calls be answered that have not seen it."""
        while True:
            try:
                rate = await self._rates.renewed(id, *pair)
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
