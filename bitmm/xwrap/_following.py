"""The changes of orders as they come: each call waits at the server, and begins where the one before ended."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from math import ceil, inf
from time import monotonic

from . import _arguments as arguments
from . import _parsing as parsing
from ._api import ServerAPI
from .errors import RateLimited, Unavailable
from .types import Order

__all__ = ["OrderChanges"]

#: Seconds that a call waits at the server, at most, and the share of a call's timeout that it may take.
_LONGEST_WAIT, _SHARE = 20, 2 / 3
#: Seconds between two calls that cannot wait, or of which the first failed.
_PAUSE = 1.0


class OrderChanges(Iterator[Order]):
    """The orders of a registration that change, in the order of their changes; see `Backend.follow`.

    `cursor`: the place up to which all changes were given; `follow(after=cursor)` goes on there, also in another
    process and years later. Keep it after an order was dealt with: what was given since is given again. Orders come in
    pages, and it moves on with the last one of a page.
    """

    def __init__(
        self, api: ServerAPI, path: str, auth: Mapping[str, str], after: str | None, timeout: float | None
    ) -> None:
        self._api, self._path, self._auth, self._timeout = api, path, auth, timeout
        self._wait = min(_LONGEST_WAIT, int(api.timeout * _SHARE))
        #: What was read and not given yet, and the cursor after it.
        self._page: deque[Order] = deque()
        self.cursor = self._end = after or self._read("", 0)

    def __next__(self) -> Order:
        deadline = inf if self._timeout is None else monotonic() + self._timeout
        while not self._page:
            left = max(0.0, deadline - monotonic())
            try:
                self._end = self._read(self.cursor, min(self._wait, ceil(min(left, self._wait))))
            except (Unavailable, RateLimited) as error:
                pause = error.retry_after or _PAUSE
                if not error.retryable or monotonic() + pause > deadline:
                    raise
            else:
                # Not only at the end of a page: a server may move the cursor on without an order.
                self.cursor = self.cursor if self._page else self._end
                if not self._page and monotonic() >= deadline:
                    raise StopIteration
                pause = 0.0 if self._page or self._wait else min(_PAUSE, left)
            time.sleep(pause)
        order = self._page.popleft()
        if not self._page:
            self.cursor = self._end
        return order

    def _read(self, after: str, seconds: int) -> str:
        """Read a page of changes, for which the server waits so many seconds, and return the cursor after it."""
        query = arguments.encode({"after": after, "wait": str(seconds)})
        orders, cursor = self._api.get(f"{self._path}?{query}", parsing.order_changes, self._auth)
        self._page.extend(orders)
        return cursor
