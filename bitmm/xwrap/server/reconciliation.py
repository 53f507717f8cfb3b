"""Reconciliation: what became of orders and sends whose outcome is unknown. Exchanges are asked; nothing is ever sent.

It runs when the server starts and every few seconds, and asks about what stays unknown less and less often. An order
that the exchange has becomes what it is there. One that the exchange certainly does not have, although enough time has
passed for it to arrive, becomes "not placed", and its key may be used again. Where the exchange cannot say, the order
stays unknown and its key stays blocked, until its owner decides (`xwrap orders settle`, `xwrap sends settle`).
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.errors import ExchangeError, NotListedYet, Refused, Unsupported
from ..exchanges.models import Withdrawal
from ..money import EXACT, exact
from .db.journal import Journal
from .db.records import Registration, now
from .db.store import Store
from .order_views import order_columns, order_ref, withdrawal_columns
from .problems import Problem, from_exchange
from .rate_limiter import Priority
from .registry import ExchangeRegistry

__all__ = ["LEASE", "Reconciler", "not_placed"]

_log = logging.getLogger(__name__)

#: Seconds after which a call that is still "running" is abandoned, although its server may seem to live: longer than
#: any call to an exchange may take.
LEASE = 40.0
#: How far the clock of an exchange may be from ours when it reports the time of a send.
_CLOCK_SKEW = timedelta(seconds=60)
#: Longer than it may take from the creation of a send until it arrives at its exchange.
_LONGEST_ARRIVAL = timedelta(seconds=120)

#: The next question about a row waits for this part of the time for which it has been unknown, an hour at most. A
#: question costs calls that the exchange counts, and what it could not say for days it will hardly say now.
_BACK_OFF = 1 / 20
_MAX_BACK_OFF = 3600.0

Row = dict[str, Any]
#: Returns the columns that the exchange reports, None when it certainly has no such thing. Raises Unsupported when it
#: cannot say.
_Find = Callable[[Exchange, Row], Row | None]
#: Reads a time as the data base keeps it.
_parse_time = datetime.fromisoformat


class Reconciler:
    """Reconciles in one thread for each exchange, so that one that does not answer delays no other.

    One thread more marks the calls whose server has died. `every`: seconds between two rounds. `grace`: seconds in
    which a request may still be sent, and arrive at an exchange, after its outcome became unknown (longer where the
    exchange accepts old requests); before they are over, "there is no such order" proves nothing.
    """

    def __init__(self, store: Store, registry: ExchangeRegistry, *, every: float, grace: float) -> None:
        self._store = store
        self._registry = registry
        self._every = every
        self._grace = grace
        self._stop = threading.Event()
        #: (journal, row) -> when the exchange was last asked about it, since this server started.
        self._asked: dict[tuple[str, int], float] = {}
        #: (order's row, when its outcome became unknown) -> its `OrderRef.missed_since`, since this server started.
        self._missed: dict[tuple[int, str], datetime] = {}
        rounds = {id: partial(self.reconcile, id) for id in registry.ids()} | {"abandoned": self.mark_abandoned}
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name=f"xwrap-reconciler-{name}", daemon=True)
            for name, work in rounds.items()
        ]

    def start(self) -> None:
        """Mark what the last server left behind, and start the threads."""
        self.mark_abandoned()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the threads; a question that is being asked is not waited for longer than a second."""
        self._stop.set()
        deadline = time.monotonic() + 1.0
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def _run(self, work: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                work()
            except Exception:
                _log.exception("a round of reconciliation failed; the next one follows")
            self._stop.wait(self._every)

    def mark_abandoned(self) -> None:
        """Show that this server lives, and make unknown what runs on a server that does not."""
        self._store.heartbeat()
        for journal in (self._store.orders, self._store.withdrawals):
            if count := journal.mark_abandoned(now(LEASE)):
                _log.warning("%d %s were abandoned by their server; asking the exchange", count, journal.name)

    def reconcile(self, exchange: str) -> None:
        """Ask an exchange once about every row that is unknown and due.

        A round may never come to its end, when each question waits for a time-out. So orders and sends take turns, and
        the next row is the oldest, whose outcome the exchange should know by now, or any other, because the exchange
        may never know about the oldest ones.
        """
        journals = (self._store.orders, self._find_order), (self._store.withdrawals, self._find_withdrawal)
        queues = [(journal, find, self._due(journal, exchange)) for journal, find in journals]
        random.shuffle(queues)
        while any(rows for _, _, rows in queues):
            for journal, find, rows in queues:
                if self._stop.is_set():
                    return
                if rows:
                    at = random.choice((0, random.randrange(len(rows))))  # noqa: S311 - no secret
                    registration, row = rows.pop(at)
                    self._asked[journal.name, row["id"]] = time.monotonic()
                    self._reconcile_row(journal, registration, row, find)

    def _due(self, journal: Journal, exchange: str) -> list[tuple[Registration, Row]]:
        """Return the rows that are unknown and due, oldest first."""
        return [(registration, row) for registration, row in journal.unknown(exchange) if self._is_due(journal, row)]

    def _is_due(self, journal: Journal, row: Row) -> bool:
        """Return whether it is time to ask about a row."""
        asked = self._asked.get((journal.name, row["id"]))
        pause = (datetime.now(UTC) - _parse_time(row["updated"])).total_seconds() * _BACK_OFF
        return asked is None or time.monotonic() >= asked + min(pause, _MAX_BACK_OFF)

    def _reconcile_row(self, journal: Journal, registration: Registration, row: Row, find: _Find) -> None:
        asked = datetime.now(UTC)
        try:
            with self._registry.open(registration, Priority.ORDER) as exchange:
                columns = find(exchange, row)
        except Unsupported:
            return
        except (ExchangeError, Problem) as error:
            _log.info("%s %d of %s: %s", journal.name, row["id"], registration.exchange, error)
            return
        if columns is None:
            if asked < self._latest_arrival(exchange, row):
                return
            columns = not_placed(row)
        if columns["status"] != "unknown" and journal.reconcile(row, columns):
            self._asked.pop((journal.name, row["id"]), None)
            self._missed.pop((row["id"], row["updated"]), None)
            _log.warning("%s %d of %s: %s", journal.name, row["id"], registration.exchange, columns["status"])

    def _find_order(self, exchange: Exchange, row: Row) -> Row | None:
        """Return what the exchange reports of an order, None when it certainly has none. Raises Unsupported."""
        asked, attempt = datetime.now(UTC), (row["id"], row["updated"])
        try:
            state = exchange.find(replace(order_ref(row), missed_since=self._missed.get(attempt)))
        except NotListedYet:
            if asked >= self._latest_arrival(exchange, row):
                # The time after the answer: the order may have been over only a moment before the exchange looked.
                self._missed.setdefault(attempt, datetime.now(UTC))
            raise
        if state is None and exchange.order_lookup != "all":
            raise Unsupported(f"{exchange.name} shows open orders only")
        return None if state is None else order_columns(state)

    def _find_withdrawal(self, exchange: Exchange, row: Row) -> Row | None:
        """Return what the exchange reports of a send, None when it certainly has none. Raises Unsupported."""
        try:
            found = exchange.find_withdrawal(
                row["client_id"], _parse_time(row["created"]), self._latest_arrival(exchange, row)
            )
        except Unsupported:
            found = self._match_by_details(exchange, row)
        return None if found is None else withdrawal_columns(found)

    def _latest_arrival(self, exchange: Exchange, row: Row) -> datetime:
        """Return when a request arrived at the latest: sent before its outcome became unknown, or a little later."""
        return _parse_time(row["updated"]) + timedelta(seconds=max(self._grace, exchange.valid_seconds))

    def _match_by_details(self, exchange: Exchange, row: Row) -> Withdrawal:
        """Return the one send at the exchange that looks like this row and cannot be another row's.

        Raises Unsupported when there are several, or none: it may only not be listed yet.
        """
        created, updated = _parse_time(row["created"]), _parse_time(row["updated"])
        since, until = created - _CLOCK_SKEW, min(updated, created + _LONGEST_ARRIVAL) + _CLOCK_SKEW
        sends = exchange.withdrawals(row["asset"])
        # The others are read last, so that each one that the exchange has listed is among them.
        others = self._store.withdrawals.similar(exchange.id, row, since - _LONGEST_ARRIVAL, until)
        known = {other["exchange_withdrawal_id"] for other in others}
        alike = [send for send in sends if send.id not in known and _is_like(send, row, since, until)]
        if len(alike) != 1 or any(_is_unidentified(other) for other in others):
            raise Unsupported(f"{exchange.name} cannot say whether this was sent")
        return alike[0]


def not_placed(row: Row) -> Row:
    """Return the columns of what certainly was not executed; its key may be used again."""
    problem = from_exchange(
        Refused("this was never executed; it may be tried again", code="not_placed", retryable=True)
    )
    answer = json.dumps(problem.body | {"key": row["key"]})
    return {"status": "rejected", "released": True, "answer_status": problem.status, "answer": answer}


def _is_like(send: Withdrawal, row: Row, since: datetime, until: datetime) -> bool:
    """Return whether a send may be that of the row. Some exchanges report what leaves, and some what arrives."""
    amount = exact(row["amount"])
    return (
        (send.asset, send.address) == (row["asset"], row["address"])
        and send.tag in (None, row["tag"])
        and send.amount is not None
        and amount in (send.amount, EXACT.add(send.amount, send.fee or Decimal(0)))
        and send.created is not None
        and since <= send.created <= until
    )


def _is_unidentified(row: Row) -> bool:
    """Return whether it is not known which send of its exchange a row is, if it is one at all.

    Of a row that its owner decided about, no more may be known than that it is done.
    """
    return row["status"] in {"running", "unknown"} or (
        row["status"] == "done" and row["exchange_withdrawal_id"] is None
    )
