"""Every request to an exchange is measured and logged here: how long it waited, how long it took, how it ended.

The throttle of an `ExchangeContext` stands around each request of each adapter, so no adapter knows of this.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter

from ..exchanges.base import Throttle
from ..exchanges.errors import Busy, ExchangeError, NoOffers, NotListedYet
from .call_log import current_call, log_with
from .metrics import Metrics
from .rate_limiter import Priority

__all__ = ["MeasuredThrottle"]

_log = logging.getLogger(__name__)


class MeasuredThrottle:
    """A throttle that measures what is done under another one, for `exchange` and with this `priority`."""

    def __init__(self, throttle: Throttle, metrics: Metrics, exchange: str, priority: Priority) -> None:
        self._throttle = throttle
        self._metrics = metrics
        self._exchange = exchange
        self._purpose = priority.name.lower()

    def __call__(self, call: str, *, signed: bool) -> AbstractContextManager[None]:
        """Wait as the other throttle does; the request is measured from there on."""
        return self._measured(call, self._throttle(call, signed=signed))

    @contextmanager
    def _measured(self, call: str, turn: AbstractContextManager[object]) -> Iterator[None]:
        asked = began = perf_counter()
        is_sent = False
        try:
            with turn:
                is_sent, began = True, perf_counter()
                self._metrics.add_wait(self._exchange, began - asked)
                log_with(_log, logging.DEBUG, f"{call} goes to {self._exchange}")
                yield
        except Exception as error:
            if is_sent:
                self._finish(call, perf_counter() - began, _outcome(error))
            else:
                self._metrics.count_not_sent(self._exchange)
            raise
        self._finish(call, perf_counter() - began, "answered")

    def _finish(self, call: str, seconds: float, outcome: str) -> None:
        self._metrics.add_exchange_call(self._exchange, self._purpose, outcome, seconds)
        if (current := current_call()) is not None:
            current.exchange_seconds += seconds
        took = round(seconds * 1000, 1)
        log_with(_log, logging.DEBUG, f"{call} at {self._exchange}: {outcome}", exchange_ms=took)


def _outcome(error: Exception) -> str:
    """Return how a request ended that raised `error`."""
    if isinstance(error, Busy):
        return "busy"
    if not isinstance(error, ExchangeError):
        return "failed"
    if error.may_have_executed:
        return "unknown"
    is_answer = error.code != "exchange_unavailable" or isinstance(error, NotListedYet | NoOffers)
    return "refused" if is_answer else "unavailable"
