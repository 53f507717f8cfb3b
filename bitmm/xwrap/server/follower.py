"""The follower: open orders are read until they are final. Market orders always, those that rest where it is asked for.

The callers of market orders have an answer that says "open", and may never ask again; the key then answers what is read
here. Limit orders rest, and so does what waits for its stop; they are read for those who wait for the changes of their
registration (`OrderChanges`), and less often where notices report what becomes of them. Many orders of a key are read
with one question where the exchange can do that. It has the priority of reads, so it waits for orders and cancels, and
it asks less and less often for what stays open. Nothing is ever sent.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

from ..exchanges.capabilities import supports
from ..exchanges.errors import Busy
from .db.journal import Journal
from .db.journals import is_short
from .db.records import Registration
from .db.store import Store
from .order_views import order_ref
from .problems import log_failure
from .refresh import write_state
from .registry import ExchangeRegistry
from .rounds import Rounds

__all__ = ["Follower"]

_log = logging.getLogger(__name__)

#: Seconds between two questions about the orders of a key: at first, and at most, when none of them becomes final.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0
#: The same, at most, while somebody waits for a change: at Kraken a fifth of what its slowest tier allows.
_LONGEST_AWAITED_PAUSE = 15.0
#: The same for orders that rest and are read for the notices alone: at Kraken a tenth, then a twentieth of that.
_FIRST_REPORTED_PAUSE, _LONGEST_REPORTED_PAUSE = 30.0, 60.0
#: Seconds by which the server that placed an order is ahead of the others on its data base, between these two.
_HEAD_START = 15.0, 30.0
#: How many orders are read with one question: as many as Kraken takes.
_TOGETHER = 50

Row = dict[str, Any]


@dataclass(slots=True)
class _Pace:
    """When the next question about the orders of a registration is due, by the monotonic clock."""

    ask_at: float = inf
    pause: float = _FIRST_PAUSE
    first: float = _FIRST_PAUSE
    longest: float = _LONGEST_PAUSE
    is_awaited: bool = False
    #: Row -> when it was asked about, 0 before the first time.
    asked: dict[int, float] = field(default_factory=dict)

    def meet(self, rows: Sequence[Row], journal: Journal, *, is_awaited: bool) -> None:
        """Take note of the rows that are open now; a new one ends a long pause, unless it is read for the notices."""
        is_new_to_waiters = is_awaited and not self.is_awaited
        new = [row for row in rows if row["id"] not in self.asked or is_new_to_waiters]
        is_urgent = is_awaited or any(map(is_short, new))
        self.is_awaited = is_awaited
        self._bound(rows)
        if is_urgent and new:
            self.pause = _FIRST_PAUSE
        elif self.ask_at == inf:
            self.pause = self.first
        if new and (is_urgent or self.ask_at == inf):
            is_own = is_awaited or any(journal.is_own(row) for row in new)
            behind = 0.0 if is_own else random.uniform(*_HEAD_START)  # noqa: S311 - no secret
            self.ask_at = min(self.ask_at, time.monotonic() + self.pause + behind)
        self.asked = {row["id"]: self.asked.get(row["id"], 0.0) for row in rows}

    def _bound(self, rows: Sequence[Row]) -> None:
        """Set the first and the longest pause by who is told of these rows."""
        resting = [row for row in rows if not is_short(row)]
        self.first = _FIRST_PAUSE if self.is_awaited or len(resting) < len(rows) else _FIRST_REPORTED_PAUSE
        if self.is_awaited:
            self.longest = _LONGEST_AWAITED_PAUSE
        else:
            self.longest = _LONGEST_REPORTED_PAUSE if resting else _LONGEST_PAUSE

    def wait(self, seconds: float) -> None:
        """Let the next question be due after so many seconds."""
        self.ask_at = time.monotonic() + min(max(seconds, _FIRST_PAUSE), _LONGEST_PAUSE)

    def adapt(self, *, progress: bool) -> None:
        """Let the next question be due soon when an order became final, else after twice the pause."""
        self.pause = self.first if progress else min(2 * self.pause, self.longest)
        self.wait(self.pause)


class Follower:
    """One thread looks which exchanges have orders to follow, of those that can show an order. Each of them is asked in
    a thread of its own. `every`: seconds between two rounds.

    `awaited` returns the registrations whose resting orders are to be read, too; where notices are wanted, all are.
    """

    def __init__(
        self, store: Store, registry: ExchangeRegistry, awaited: Callable[[], set[int]], *, every: float
    ) -> None:
        self._journal = store.orders
        #: Notices report what becomes of every order.
        self._reports = store.notices.wanted
        self._awaited = awaited
        self._registry = registry
        #: By exchange, and by the id of the registration; nothing is kept of those without orders to follow.
        self._paces: dict[str, dict[int, _Pace]] = {}
        kinds = {id: registry.kind(id) for id in registry.ids()}
        shown = [id for id, kind in kinds.items() if "order" in supports(kind)]
        exchanges = {id: partial(self.follow, id) for id in shown}
        self.rounds = Rounds("follower", {"look": self.look}, lambda: min(every, 1.0), exchanges)

    def start(self) -> None:
        """Start the thread that looks."""
        self.rounds.start()

    def stop(self) -> None:
        """Stop the threads; a question that is being asked is not waited for longer than a second."""
        self.rounds.stop()

    def look(self) -> None:
        """Begin to ask each exchange that has orders to follow."""
        self.rounds.begin(self._journal.followed_at(None if self._reports else self._awaited()))

    def follow(self, exchange: str) -> None:
        """Ask an exchange about the orders to follow of each registration whose next question is due."""
        registrations: dict[int, tuple[Registration, list[Row]]] = {}
        awaited = self._awaited()
        resting = self._journal.open_resting_orders(exchange, None if self._reports else awaited)
        found = self._journal.open_market_orders(exchange) + resting
        for registration, row in found:
            registrations.setdefault(registration.id, (registration, []))[1].append(row)
        known, paces = self._paces.get(exchange, {}), dict[int, _Pace]()
        self._paces[exchange] = paces
        for id, (registration, rows) in registrations.items():
            pace = paces[id] = known.get(id) or _Pace()
            pace.meet(rows, self._journal, is_awaited=id in awaited)
            if time.monotonic() >= pace.ask_at and not self.rounds.stopping.is_set():
                self._read(registration, rows, pace)

    def _read(self, registration: Registration, rows: list[Row], pace: _Pace) -> None:
        """Read the orders that were not read for the longest time, and write what is new."""
        rows = sorted(rows, key=lambda row: pace.asked[row["id"]])[:_TOGETHER]
        pace.asked |= dict.fromkeys((row["id"] for row in rows), time.monotonic())
        try:
            with self._registry.open(registration) as exchange:
                states = exchange.read_orders([order_ref(row) for row in rows])
        except Busy as busy:
            # Nothing was asked, so they are no nearer to a long pause.
            pace.wait(busy.retry_after)
            return
        except Exception as error:
            log_failure(_log, error, f"{len(rows)} open orders of {registration.exchange} cannot be read")
            states = {}
        progress = False
        for row in rows:
            state = states.get(row["exchange_order_id"])
            # That an order stands was known before; an exchange that cannot say more changes nothing.
            if state is not None and state.status != "unknown":
                progress |= write_state(self._journal, row, state)["status"] != "open"
        pace.adapt(progress=progress)
