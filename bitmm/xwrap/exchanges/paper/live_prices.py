"""The prices of another exchange now as a source, and why they are not believed sometimes.

Nothing here has a key: `open_source` opens the other exchange for public calls. What it answers is a look, which is
used for some seconds by all who trade there. Trading in a market pauses, with words, as long as its order book

- cannot be had, has one side only, or prices that contradict each other,
- is too old by the exchange's own time, which stands still then,
- is far from the one before, until a later look confirms that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from decimal import Decimal

from ...money import EXACT
from ..base import Exchange
from ..errors import Busy, Refused
from ..models import Market, OrderBook
from ..rules import find_market, no_rate
from .looks import Look
from .matching import FEE

__all__ = ["LivePrices", "with_fees"]

#: A look is used for so many seconds where the limit for public calls allows no newer one.
_OLDEST_SECONDS = 10.0
#: A price that changed by more than a third is believed when a look so many seconds later has it, too.
_CONFIRM_SECONDS = 5.0
#: To so small an amount of any currency is rounded, against the user.
_MONEY_STEP = Decimal("0.00000001")
#: So many markets are known at most. When there are more, those are forgotten that were never seen: callers can invent
#: any number of them.
_MOST_WATCHED = 10_000
_NOT_TRADED = {"unknown_market", "unknown_asset"}


@dataclass(slots=True)
class _Watched:
    """What is known of one market. Times are those of a clock that never goes back."""

    #: Held while the source is asked.
    asking: threading.Lock = field(default_factory=threading.Lock)
    asked_at: float = float("-inf")
    #: The last look that was believed, and since when it is known.
    look: Look | None = None
    seen_at: float = float("-inf")
    #: A look that is far from it, and since when.
    doubtful: Look | None = None
    doubtful_since: float = 0.0
    #: Why nothing is filled now.
    refusal: Refused | None = None


class LivePrices:
    """The looks at the markets of an exchange of this `kind`, shared by all threads; see `looks.LookSource`.

    `read_book` returns an order book that is not too old by the exchange's own time, or raises Refused. A market is
    looked at every so many `seconds` at most. `clock` gives Unix seconds, `monotonic` seconds that never go back.
    """

    def __init__(
        self,
        kind: type[Exchange],
        open_source: Callable[[], AbstractContextManager[Exchange]],
        read_book: Callable[[Exchange, str, str], OrderBook],
        *,
        seconds: float = 3.0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kind = kind
        self.name = kind.name
        self.open_source = open_source
        self.seconds = seconds
        self._read_book = read_book
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._watched: dict[tuple[str, str], _Watched] = {}

    def look(self, currency: str, asset: str) -> Look:
        """Return a market as it is now, or was some seconds ago. Raises Refused while trading in it pauses."""
        with self._lock:
            if len(self._watched) >= _MOST_WATCHED:
                self._watched = {pair: one for pair, one in self._watched.items() if one.look is not None}
            watched = self._watched.setdefault((currency, asset), _Watched())
        with watched.asking:
            if self._monotonic() - watched.asked_at >= self.seconds:
                self._renew(watched, currency, asset)
            if (look := self._usable(watched)) is not None:
                return look
            raise watched.refusal or no_rate(self.name, currency, asset)

    def looks_since(self, currency: str, asset: str, minute: int) -> list[Look]:
        """Return the look that is known, which need not be of a minute after `minute`; none while trading pauses."""
        watched = self._watched.get((currency, asset))
        look = None if watched is None else self._usable(watched)
        return [] if look is None else [look]

    def pause(self, currency: str, asset: str) -> str | None:
        """Return in words why no order of a market is filled now; they are the same as long as that lasts."""
        watched = self._watched.get((currency, asset))
        if watched is None or watched.refusal is None:
            return None
        if watched.refusal.code in _NOT_TRADED:
            return f"{self.name}, at whose prices paper trades now, has no market {asset}/{currency}; it waits"
        return f"trading in {asset}/{currency} pauses: {self.name} tells no prices now that can be used"

    def _usable(self, watched: _Watched) -> Look | None:
        """Return the look that orders may be filled by now."""
        is_old = self._monotonic() - watched.seen_at > _OLDEST_SECONDS
        return None if watched.refusal is not None or is_old else watched.look

    def _renew(self, watched: _Watched, currency: str, asset: str) -> None:
        """Take note of the market as the source shows it now."""
        try:
            look = self._fetch(currency, asset)
        except Busy as busy:
            # The source was not asked, so what it answered before is as true as it was, and so is why it pauses.
            if self._usable(watched) is None and watched.refusal is None:
                watched.refusal = busy
        except Refused as refusal:
            watched.refusal = refusal if refusal.code in _NOT_TRADED else self._paused(str(refusal), refusal)
        else:
            self._believe(watched, look)
        finally:
            watched.asked_at = self._monotonic()

    def _fetch(self, currency: str, asset: str) -> Look:
        with self.open_source() as source:
            markets = {(market.currency, market.asset): market for market in source.markets()}
            market = find_market(source.name, currency, asset, markets)
            book = self._read_book(source, currency, asset)
        if not (book.bids and book.asks and book.asks[0][0] >= book.bids[0][0] > 0):
            raise no_rate(self.name, currency, asset)
        return Look(self._clock(), with_fees(market), book.bids, book.asks, _MONEY_STEP)

    def _believe(self, watched: _Watched, look: Look) -> None:
        """Use a look, or wait for another one when it is far from the one before."""
        now = self._monotonic()
        if watched.look is None or _is_near(watched.look, look) or self._is_confirmed(watched, look, now):
            watched.look, watched.seen_at = look, now
            watched.doubtful = watched.refusal = None
            return
        if watched.doubtful is None or not _is_near(watched.doubtful, look):
            watched.doubtful, watched.doubtful_since = look, now
        watched.refusal = self._paused(
            f"its prices jumped by more than a third; that must be seen again after {_CONFIRM_SECONDS:.0f} seconds"
        )

    @staticmethod
    def _is_confirmed(watched: _Watched, look: Look, now: float) -> bool:
        """Return whether a look that is far from the last one was seen before, long enough ago."""
        doubtful = watched.doubtful
        return doubtful is not None and _is_near(doubtful, look) and now - watched.doubtful_since >= _CONFIRM_SECONDS

    def _paused(self, reason: str, refusal: Refused | None = None) -> Refused:
        """Return the refusal of whatever needs a price now; it has the code of what caused it, if that is one."""
        return Refused(
            f"trading on paper at the prices of {self.name} pauses: {reason}; nothing was executed",
            code="exchange_unavailable" if refusal is None else refusal.code,
            retryable=True if refusal is None else refusal.retryable,
            retry_after=_CONFIRM_SECONDS if refusal is None else refusal.retry_after,
        )


def with_fees(market: Market) -> Market:
    """Return a market with its published fees; where its exchange tells none, with those of the recorded prices."""
    maker, taker = market.maker_fee, market.taker_fee
    taker = maker if taker is None else taker
    taker = FEE if taker is None else taker
    return replace(market, maker_fee=taker if maker is None else maker, taker_fee=taker)


def _is_near(before: Look, now: Look) -> bool:
    """Return whether neither the best ask nor the best bid changed by more than a third."""
    prices = ((before.best("buy"), now.best("buy")), (before.best("sell"), now.best("sell")))
    return all(EXACT.multiply(abs(EXACT.subtract(new, old)), Decimal(3)) <= old for old, new in prices)
