"""This machine's clock beside those of the exchanges: what they put into the `Date` of a public answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

from ...errors import Unavailable
from ...exchanges import load
from ...exchanges.base import ExchangeContext
from ...exchanges.errors import ExchangeError
from ...transport import Request, Response, Transport
from ..settings import Settings
from .findings import Finding, State

__all__ = ["check_clocks"]

_SECONDS = 5.0
#: A `Date` has whole seconds, and the answer was on its way: less is no difference.
_LOOK_SECONDS = 2.0
#: With more, an exchange may take a request for too old, and times of orders cannot be compared (`db.history`).
_BAD_SECONDS = 30.0


class _DateReader(Transport):
    """Sends one request, and notes how far the clock of who answers is ahead of ours."""

    def __init__(self) -> None:
        super().__init__(timeout=_SECONDS, end=time.monotonic() + _SECONDS)
        self.ahead: float | None = None
        self.problem = "it needs no call to tell a rate"
        self._is_used = False

    def send(self, request: Request, *, timeout: float | None = None) -> Response:
        if self._is_used:
            raise Unavailable("one answer is enough", code="no_answer")
        self._is_used = True
        self.problem = "its answer has no date"
        began = time.time()
        try:
            response = super().send(request, timeout=timeout)
        except Exception as error:
            self.problem = str(error)
            raise
        middle = (began + time.time()) / 2
        with suppress(ValueError):
            # Half a second more than it says, in the mean.
            self.ahead = parsedate_to_datetime(response.headers.get("Date", "")).timestamp() + 0.5 - middle
        return response


def check_clocks(settings: Settings) -> Iterator[Finding]:
    """Say by how much this machine's clock is wrong, in the eyes of each offered exchange that can be reached."""
    kinds = {}
    for id in settings.exchanges:
        try:
            kinds[id] = load(id)
        except (KeyError, ExchangeError) as error:
            yield Finding("settings", "bad", f"XWRAP_EXCHANGES names '{id}': {error}", "xwrap exchanges lists them")
    asked = [
        id
        for id, kind in kinds.items()
        if not kind.in_process and (settings.exchange_urls.get(id) or not kind.requires_url)
    ]
    if not asked:
        yield Finding("clock", "skip", "no exchange is offered that could be asked for the time")
        return
    with ThreadPoolExecutor(len(asked), "clock") as pool:
        yield from pool.map(lambda id: _compare(id, kinds[id], settings.exchange_urls.get(id)), asked)


def _compare(id: str, kind: Any, url: str | None) -> Finding:
    transport = _DateReader()
    try:
        with suppress(ExchangeError):
            kind(ExchangeContext(transport=transport, url=url)).rate("USD", "BTC")
    finally:
        transport.close()
    if transport.ahead is None:
        return Finding("clock", "skip", f"not compared with {id}: {transport.problem}")
    seconds = abs(transport.ahead)
    if seconds <= _LOOK_SECONDS:
        return Finding("clock", "ok", f"that of {id} agrees")
    words = f"it is {seconds:.0f} s {'behind' if transport.ahead > 0 else 'ahead of'} that of {id}"
    state: State = "bad" if seconds > _BAD_SECONDS else "look"
    return Finding("clock", state, words, "set it: sudo timedatectl set-ntp true")
