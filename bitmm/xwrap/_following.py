"""What changes, as it comes: each call waits at the server, and begins where the one before ended."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from math import ceil, inf
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from . import _arguments as arguments
from . import _parsing as parsing
from ._api import ServerAPI
from ._records import list_of
from .errors import RateLimited, Unavailable

if TYPE_CHECKING:
    from .types import ExchangeRate, Order

__all__ = ["OrderChanges", "RateChanges"]

_T = TypeVar("_T")

#: Seconds that a call waits at the server, at most, and the share of a call's timeout that it may take.
_LONGEST_WAIT, _SHARE = 20, 2 / 3
#: Seconds between two calls that cannot wait, or of which the first failed.
_PAUSE = 1.0


class _Changes(Iterator[_T]):
    """What changes below `path`. `parse` makes of an answer what changed, and the cursor after it.

    `cursor`: the place up to which all changes were given. It moves on with the last one of a page.
    """

    def __init__(
        self,
        api: ServerAPI,
        path: str,
        parse: Callable[[Any], tuple[list[_T], str]],
        *,
        query: Mapping[str, str],
        auth: Mapping[str, str] | None,
        timeout: float | None,
    ) -> None:
        self._api, self._path, self._parse, self._query, self._auth = api, path, parse, query, auth
        self._timeout = timeout
        self._wait = min(_LONGEST_WAIT, int(api.timeout * _SHARE))
        #: What was read and not given yet, and the cursor after it.
        self._page: deque[_T] = deque()
        self.cursor = self._end = ""

    def __next__(self) -> _T:
        change = self.next_until(inf if self._timeout is None else monotonic() + self._timeout)
        if change is None:
            raise StopIteration
        return change

    def next_until(self, deadline: float) -> _T | None:
        """Return the next change, None when there is none until `deadline`, of time.monotonic()."""
        while not self._page:
            left = max(0.0, deadline - monotonic())
            try:
                self._end = self._read(self.cursor, min(self._wait, ceil(min(left, self._wait))))
            except (Unavailable, RateLimited) as error:
                pause = error.retry_after or _PAUSE
                if not error.retryable or monotonic() + pause > deadline:
                    raise
            else:
                # Not only at the end of a page: a server may move the cursor on without a change.
                self.cursor = self.cursor if self._page else self._end
                if not self._page and monotonic() >= deadline:
                    return None
                pause = 0.0 if self._page or self._wait else min(_PAUSE, left)
            time.sleep(pause)
        change = self._page.popleft()
        if not self._page:
            self.cursor = self._end
        return change

    def _read(self, after: str, seconds: int) -> str:
        """Read a page of changes, for which the server waits so many seconds, and return the cursor after it."""
        query = arguments.encode({**self._query, "after": after, "wait": str(seconds)})
        changes, cursor = self._api.get(f"{self._path}?{query}", self._parse, self._auth)
        self._page.extend(change for change in changes if self._is_new(change))
        return cursor

    def _is_new(self, change: _T) -> bool:
        """Return whether something is to be given that the server calls a change."""
        return True


class OrderChanges(_Changes["Order"]):
    """The orders of a registration that change, in the order of their changes; see `Backend.follow`.

    `cursor`: the place up to which all changes were given; `follow(after=cursor)` goes on there, also in another
    process and years later. Keep it after an order was dealt with: what was given since is given again. Orders come in
    pages, and it moves on with the last one of a page.
    """

    def __init__(
        self, api: ServerAPI, path: str, auth: Mapping[str, str], after: str | None, timeout: float | None
    ) -> None:
        parse = partial(parsing.changes, name="orders", parse=_own_orders)
        super().__init__(api, path, parse, query={}, auth=auth, timeout=timeout)
        self.cursor = self._end = after or self._read("", 0)


class RateChanges(_Changes["ExchangeRate"]):
    """The rates of a pair, and each that changes, as it is then; see `XWrap.follow_rates` and `Backend.follow_rate`."""

    def __init__(
        self,
        api: ServerAPI,
        path: str,
        query: Mapping[str, str],
        timeout: float | None,
        auth: Mapping[str, str] | None = None,
    ) -> None:
        parse = partial(parsing.changes, name="rates", parse=parsing.exchange_rates)
        super().__init__(api, path, parse, query=query, auth=auth, timeout=timeout)
        #: The prices that were given last, by exchange.
        self._given: dict[str, tuple[Decimal, Decimal]] = {}

    def _is_new(self, change: ExchangeRate) -> bool:
        # That of an exchange which did not answer for a while comes again, also with the same prices.
        exchange, prices = change["exchange"], (change["buy"], change["sell"])
        is_new = self._given.get(exchange) != prices
        self._given[exchange] = prices
        return is_new


def _own_orders(document: Any) -> list[Order]:
    """Return orders, each with its id: none of them was placed elsewhere."""
    return parsing.order.each(list_of(document))
