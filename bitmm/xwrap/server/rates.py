"""The current prices of all exchanges at once.

Each exchange is asked in a thread of its own with a deadline of its own; its answer is kept for some seconds, and
while one question is under way nobody asks it again. An exchange that did not answer is left out of the list.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ..exchanges.errors import ExchangeError, Refused
from ..exchanges.models import Rate
from ..money import plain
from .problems import Problem, from_exchange
from .registry import ExchangeRegistry

__all__ = ["Rates", "rate_answer"]

_log = logging.getLogger(__name__)
_CACHE_SIZE = 10_000


class Rates:
    """A cache of rates by exchange and pair. All its methods run in the event loop."""

    def __init__(self, registry: ExchangeRegistry, seconds: float, cache_seconds: float) -> None:
        self._registry = registry
        self._seconds = seconds
        self._cache_seconds = cache_seconds
        self._known: dict[tuple[str, str, str], tuple[float, asyncio.Future[Rate]]] = {}

    async def all(
        self, currency: str, asset: str, run: Callable[[Callable[[], Rate]], Awaitable[Rate]]
    ) -> list[dict[str, Any]]:
        """One row for each exchange that answered in time. `run` runs a function in a thread.

        Raises Problem when every exchange refused the pair.
        """
        ids = self._registry.ids()
        answers = await asyncio.gather(
            *(asyncio.wait_for(asyncio.shield(self._one(id, currency, asset, run)), self._seconds) for id in ids),
            return_exceptions=True,
        )
        rows = [
            {"exchange": id, **rate_answer(answer)}
            for id, answer in zip(ids, answers, strict=True)
            if isinstance(answer, Rate)
        ]
        refusals = [answer for answer in answers if isinstance(answer, Refused) and answer.code == "unknown_market"]
        if not rows and refusals and len(refusals) == len(answers):
            raise from_exchange(refusals[0])
        for id, answer in zip(ids, answers, strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, (ExchangeError, Problem, TimeoutError)):
                _log.error("rate of %s", id, exc_info=answer)
        return rows

    def _one(
        self, id: str, currency: str, asset: str, run: Callable[[Callable[[], Rate]], Awaitable[Rate]]
    ) -> asyncio.Future[Rate]:
        """What is known or being asked; a failure is forgotten as soon as it is told."""
        key = (id, currency, asset)
        until, answer = self._known.get(key, (0.0, None))
        if answer is not None and (not answer.done() or until > time.monotonic()):
            return answer

        def ask() -> Rate:
            with self._registry.exchange(id) as exchange:
                return exchange.rate(currency, asset)

        answer = asyncio.ensure_future(run(ask))
        if len(self._known) >= _CACHE_SIZE:
            self._known.pop(next(iter(self._known)))
        self._known[key] = (time.monotonic() + self._cache_seconds, answer)
        answer.add_done_callback(lambda done: self._settle(key, done))
        return answer

    def _settle(self, key: tuple[str, str, str], answer: asyncio.Future[Rate]) -> None:
        if answer.cancelled() or answer.exception() is not None:
            self._known.pop(key, None)
        else:
            self._known[key] = (time.monotonic() + self._cache_seconds, answer)


def rate_answer(rate: Rate) -> dict[str, str]:
    """A rate as it is told to a caller."""
    time = rate.time.isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"buy": plain(rate.buy), "sell": plain(rate.sell), "time": time}
