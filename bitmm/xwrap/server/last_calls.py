"""When an exchange last answered and last failed, for each registration, since this process started."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ..exchanges.cache import put_newest
from ..exchanges.errors import ExchangeError
from .db.records import now

__all__ = ["CallTimes", "LastCalls"]

_MOST = 10_000
#: Codes of errors that say something about the exchange or the key, besides those that a repeat may not meet.
_FAILURES = {"exchange_key_refused", "permission_denied", "exchange_url_missing", "exchange_dead"}


class CallTimes(NamedTuple):
    """When calls last went well, and last failed, as the data base keeps times, and why; None: not yet."""

    worked: str | None = None
    failed: str | None = None
    reason: str = ""


class LastCalls:
    """Remembers it in memory. Registration 0: calls without a key, as those for public prices."""

    def __init__(self) -> None:
        self._times: OrderedDict[tuple[str, int], CallTimes] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def watch(self, exchange: str, registration: int) -> Iterator[None]:
        """Note how the block ends, in which an exchange is asked.

        A refusal of what was asked for (too small an amount, no such order) says nothing about the exchange.
        """
        try:
            yield
        except ExchangeError as error:
            if error.retryable or error.may_have_executed or error.code in _FAILURES:
                self._note(exchange, registration, failed=now(), reason=error.reason[:200])
            raise
        else:
            self._note(exchange, registration, worked=now())

    def find(self, exchange: str, registration: int) -> CallTimes:
        """Return what is known of the calls for a registration at an exchange."""
        return self._times.get((exchange, registration), CallTimes())

    def _note(self, exchange: str, registration: int, **facts: str) -> None:
        with self._lock:
            times = self.find(exchange, registration)._replace(**facts)
            put_newest(self._times, (exchange, registration), times, most=_MOST)
