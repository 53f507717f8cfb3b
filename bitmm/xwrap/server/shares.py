"""Shares of a pool of threads: no account, and no exchange that hangs, takes all of them.

The last seven threads of a pool are for holders that have none: each takes one there. So eight accounts leave a thread
to a ninth, however their calls hang. Of the others a holder may take one more while it has fewer than `_SHARE` times as
many as are free: four fifths, when it is alone, and less when others are there (dynamic thresholds: Choudhury and
Hahne, 1998).
A call beyond that waits in the event loop, without a thread; of those that wait, the one whose account has the fewest
threads goes first.
"""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from ..exchanges.cache import put_newest

__all__ = ["Holder", "KnownCallers", "Place", "SharedSlots", "account_holder", "exchange_holder"]

#: How many times as many threads as are free one holder may have, beside those that are kept for who has none: so
#: many, and a quarter at most.
_SHARE = 4
_KEPT, _MOST_KEPT = 7, 1 / 4
_MOST_CALLERS = 10_000

Holder = tuple[str, int | str]


def account_holder(account: int) -> Holder:
    """Return the account of this id as a holder of threads."""
    return ("account", account)


def exchange_holder(exchange: str) -> Holder:
    """Return an exchange as a holder of threads: of the calls that wait for it."""
    return ("exchange", exchange)


@dataclass(eq=False, slots=True)
class _Waiter:
    #: Those that came later have greater ones.
    number: int
    #: It is done when the slot is the waiter's, and cancelled when the waiter gave up.
    turn: Future[None]


class SharedSlots:
    """The slots of one pool. All methods run in the event loop.

    The first of the `holders` of a call is the account; it may have none.
    """

    def __init__(self, size: int) -> None:
        self.size = self.free = size
        self._kept = min(_KEPT, int(size * _MOST_KEPT))
        self._held: Counter[Holder] = Counter()
        #: Those that wait, by their holders, the first one first. Who waits for the same holders is looked at once, so
        #: that a release costs the same however many wait.
        self._waiting: dict[tuple[Holder, ...], OrderedDict[int, _Waiter]] = {}
        self._numbers = count()

    async def acquire(self, holders: Sequence[Holder]) -> None:
        """Take a slot, when there is one for all of these holders."""
        if self._may_have(holders):
            self._grant(holders)
            return
        queue, waiter = tuple(holders), _Waiter(next(self._numbers), get_running_loop().create_future())
        self._waiting.setdefault(queue, OrderedDict())[waiter.number] = waiter
        try:
            await waiter.turn
        except BaseException:
            if waiter.turn.done() and not waiter.turn.cancelled():
                self.release(holders)
            else:
                self._remove(queue, waiter)
            raise

    def release(self, holders: Sequence[Holder]) -> None:
        """Give a slot back; those that wait and may have one take it."""
        self.free += 1
        for holder in holders:
            self._held[holder] -= 1
            if not self._held[holder]:
                del self._held[holder]
        while entitled := [queue for queue in self._waiting if self._may_have(queue)]:
            queue = min(entitled, key=self._precedence)
            waiter = self._first(queue)
            self._remove(queue, waiter)
            # One whose time was up in this moment is still in the queue, and takes nothing.
            if not waiter.turn.done():
                self._grant(queue)
                waiter.turn.set_result(None)

    def _precedence(self, queue: tuple[Holder, ...]) -> tuple[int, int]:
        """Return what is least where the next slot goes: the threads of the account, then who came first."""
        return self._held[queue[0]] if queue else 0, self._first(queue).number

    def _first(self, queue: tuple[Holder, ...]) -> _Waiter:
        return next(iter(self._waiting[queue].values()))

    def _remove(self, queue: tuple[Holder, ...], waiter: _Waiter) -> None:
        if (waiters := self._waiting.get(queue)) is not None:
            waiters.pop(waiter.number, None)
            if not waiters:
                del self._waiting[queue]

    def _may_have(self, holders: Sequence[Holder]) -> bool:
        most = max(1, _SHARE * (self.free - self._kept))
        return self.free > 0 and all(self._held[holder] < most for holder in holders)

    def _grant(self, holders: Sequence[Holder]) -> None:
        self.free -= 1
        self._held.update(holders)


class Place(NamedTuple):
    """Whose call it is, and to which exchange the registration in its path belongs; None: there is none."""

    account: int
    exchange: str | None


class KnownCallers:
    """Where the calls of a login belong, as the last one showed that was right.

    It says in which share a call waits, and nothing more: each call is logged in.
    """

    def __init__(self) -> None:
        self._places: OrderedDict[tuple[bytes, int], Place] = OrderedDict()

    def find(self, header: bytes | None, registration: int) -> Place | None:
        """Return the place of a call whose Authorization header has this digest; None: it is not known."""
        if header is None or (place := self._places.get((header, registration))) is None:
            return None
        self._places.move_to_end((header, registration))
        return place

    def add(self, header: bytes, registration: int, place: Place) -> None:
        """Remember the place of a call that was logged in."""
        put_newest(self._places, (header, registration), place, most=_MOST_CALLERS)
