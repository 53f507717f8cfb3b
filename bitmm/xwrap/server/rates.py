"""The current prices of all exchanges at once, and the order book of one, for callers who are not logged in.

Each exchange is asked in a thread of its own with a deadline of its own. Its answer is kept for some seconds, and while
one question is under way it is not asked again. An exchange that did not answer in time is left out of the list. The
callers are not logged in: their questions have a small budget of their own, few threads, and go last.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from .._names import pair_among
from ..exchanges.errors import ExchangeError, Refused
from ..exchanges.models import OrderBook, Rate, Side
from ..exchanges.rules import traded_instead
from .market_reads import read_order_book
from .order_views import rate_to_json
from .problems import Problem, from_exchange, too_busy
from .public_offers import PublicMarket, ranked_rows, read_public_market
from .rate_limiter import Priority
from .registry import ExchangeRegistry
from .threads import ThreadPools

__all__ = ["Rates", "has_no_market", "log_unexpected", "rate_row"]

_T = TypeVar("_T")

_log = logging.getLogger(__name__)
_CACHE_SIZE = 10_000
#: So many threads ask one exchange at the same time, and so many questions to it ask or wait for that.
_AT_ONCE, _MOST_ASKING = 8, 200
#: The codes by which an exchange says that it has no such market, and those of one that has no rates at all: its
#: address was not set, or there is no such call.
_NOT_TRADED, _NOT_ASKED = {"unknown_market", "unknown_asset"}, {"exchange_url_missing", "unsupported"}


class Rates:
    """A cache of rates by exchange and pair. All its methods run in the event loop."""

    def __init__(self, registry: ExchangeRegistry, threads: ThreadPools, seconds: float, cache_seconds: float) -> None:
        self._registry = registry
        self._threads = threads
        self._seconds = seconds
        self._cache_seconds = cache_seconds
        #: Of each exchange: who may ask it now, and how many ask or wait.
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._running: Counter[str] = Counter()
        #: (exchange, currency, asset) -> until when it is known, and the rate, which may still be under way.
        self._known: dict[tuple[str, str, str], tuple[float, asyncio.Future[Rate]]] = {}

    async def all(self, currency: str, asset: str) -> list[dict[str, Any]]:
        """Return one row for each exchange that answered in time.

        Raises Problem 422, with what is traded instead, when every one that can be asked for rates has no such market;
        one that fails or is late may have it. Where none can be asked for rates, the Problem says why.

        The client of 2013 needs the `id` of each row; an exchange has one row, so it is the exchange's.
        """
        rates = await self._collect(
            {id: self._one(id, currency, asset) for id in self._registry.ids()}, currency, asset
        )
        return [rate_row(id, rate) for id, rate in rates.items()]

    def ids(self) -> list[str]:
        """Return the exchanges that are asked."""
        return list(self._registry.ids())

    async def renewed(self, id: str, currency: str, asset: str) -> Rate:
        """Return the rate at an exchange that is known next: where one is known, when it is too old.

        Raises what the exchange's answer raises.
        """
        until, answer = self._known.get((id, currency, asset), (0.0, None))
        if answer is not None and answer.done():
            await asyncio.sleep(until - time.monotonic())
        # Others wait for the same answer, also when this caller is gone.
        return await asyncio.shield(self._one(id, currency, asset))

    async def ranked(self, currency: str, asset: str, side: Side, amount: Decimal) -> list[dict[str, Any]]:
        """Return the rows of `all` for an order of `amount` units, the best exchange first, by the published fees.

        Each has in addition what the order would cost or bring there, and the `reason` where that is not known.
        """
        asked = {
            id: asyncio.ensure_future(self._run(self._fetch_market, id, currency, asset)) for id in self._registry.ids()
        }
        for answer in asked.values():
            # One that fails after the deadline is looked at by nothing else.
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        return ranked_rows(await self._collect(asked, currency, asset), side, amount)

    async def _collect(self, answers: Mapping[str, asyncio.Future[_T]], currency: str, asset: str) -> dict[str, _T]:
        """Return what the exchanges answered in time. Raises Problem 422 where none of them has the market."""
        if late := [answer for answer in answers.values() if not answer.done()]:
            await asyncio.wait(late, timeout=self._seconds)
        found: dict[str, _T] = {}
        refusals, not_asked, may_have_it = {}, [], False
        for id, answer in answers.items():
            if not answer.done() or answer.cancelled():
                may_have_it = True
                continue
            error = answer.exception()
            if error is None:
                found[id] = answer.result()
            elif isinstance(error, Refused) and error.code in _NOT_TRADED:
                refusals[id] = error
            elif isinstance(error, Refused) and error.code in _NOT_ASKED:
                not_asked.append(error)
            else:
                may_have_it = True
                log_unexpected(id, error)
        if not found and not may_have_it and (refusals or not_asked):
            raise await self._not_traded(currency, asset, refusals) if refusals else from_exchange(not_asked[0])
        return found

    async def order_book(self, name: str, currency: str, asset: str, depth: int) -> OrderBook:
        """Return the order book at the exchange that a caller calls so. Raises Problem and Refused."""
        return await self._run(partial(self._fetch_book, depth), self._registry.find(name), currency, asset)

    async def _not_traded(self, currency: str, asset: str, refusals: Mapping[str, Refused]) -> Problem:
        """Return the problem of a pair that these exchanges refused, with what they trade, if they say it in time."""
        lists = [asyncio.ensure_future(self._run(self._fetch_pairs, id)) for id in refusals]
        for answer in lists:
            # One that fails after the deadline is looked at by nothing else.
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        done, _ = await asyncio.wait(lists, timeout=self._seconds)
        found = [answer.result() for answer in done if not answer.cancelled() and answer.exception() is None]
        pairs = {pair for listed in found for pair in listed}
        if not pairs:
            return from_exchange(next(iter(refusals.values())))
        currency, asset = pair_among(currency, asset, pairs)
        instead = traded_instead(currency, asset, pairs, "here")
        return Problem(422, "unknown_market", f"no exchange here has a market {asset}/{currency}; {instead}")

    def _one(self, id: str, currency: str, asset: str) -> asyncio.Future[Rate]:
        """Return the rate that is known or under way. A failure is forgotten as soon as it was reported."""
        key = (id, currency, asset)
        until, answer = self._known.get(key, (0.0, None))
        if answer is not None and (not answer.done() or until > time.monotonic()):
            return answer
        answer = asyncio.ensure_future(self._run(self._fetch, id, currency, asset))
        if len(self._known) >= _CACHE_SIZE:
            self._known.pop(next(iter(self._known)))
        self._known[key] = (time.monotonic() + self._cache_seconds, answer)
        answer.add_done_callback(lambda done: self._store(key, done))
        return answer

    async def _run(self, fetch: Callable[..., _T], id: str, *pair: str) -> _T:
        """Return what `fetch` returns of an exchange; the event loop waits where `_AT_ONCE` threads ask it.

        Raises Problem 503 when that takes too long, or too many wait.
        """
        turns = self._turns.setdefault(id, asyncio.Semaphore(_AT_ONCE))
        if self._running[id] >= _MOST_ASKING:
            raise _busy()
        self._running[id] += 1
        try:
            async with asyncio.timeout(self._seconds):
                await turns.acquire()
            try:
                return await self._threads.run("outbound", fetch, id, *pair)
            finally:
                turns.release()
        except TimeoutError:
            raise _busy() from None
        finally:
            self._running[id] -= 1

    def _fetch(self, id: str, currency: str, asset: str) -> Rate:
        with self._registry.exchange(id, priority=Priority.ANONYMOUS) as exchange:
            return exchange.rate(*exchange.common_pair(currency, asset))

    def _fetch_book(self, depth: int, id: str, currency: str, asset: str) -> OrderBook:
        with self._registry.exchange(id, priority=Priority.ANONYMOUS) as exchange:
            return read_order_book(exchange, *exchange.common_pair(currency, asset), depth)

    def _fetch_market(self, id: str, currency: str, asset: str) -> PublicMarket:
        with self._registry.exchange(id, priority=Priority.ANONYMOUS) as exchange:
            return read_public_market(exchange, id, currency, asset)

    def _fetch_pairs(self, id: str) -> list[tuple[str, str]]:
        with self._registry.exchange(id, priority=Priority.ANONYMOUS) as exchange:
            return [(market.currency, market.asset) for market in exchange.markets()]

    def _store(self, key: tuple[str, str, str], answer: asyncio.Future[Rate]) -> None:
        """Keep an answer from now on; forget a failure."""
        if answer.cancelled() or answer.exception() is not None:
            self._known.pop(key, None)
        else:
            self._known[key] = (time.monotonic() + self._cache_seconds, answer)


def rate_row(id: str, rate: Rate) -> dict[str, Any]:
    """Return the row of an exchange, by its id."""
    return {"id": id, "exchange": id, **rate_to_json(rate)}


def has_no_market(error: BaseException) -> bool:
    """Return whether an exchange says by this error that it has no such market, or no rates at all."""
    return isinstance(error, Refused) and error.code in _NOT_TRADED | _NOT_ASKED


def log_unexpected(id: str, error: BaseException) -> None:
    """Log an error that no exchange should raise when it is asked for its rate."""
    if not isinstance(error, (ExchangeError, Problem)):
        _log.error("rate of %s", id, exc_info=error)


def _busy() -> Problem:
    return too_busy("exchange_busy", "too many calls wait for this exchange; nothing was sent; try again in a second")
