"""Finds out what became of orders and sends whose outcome nobody knows: it asks their exchange, and never sends
anything.

It runs at the start and every few seconds, and asks about what stays unknown less and less often. An order that the
exchange has is settled as what it is. One that the exchange certainly does not have, although enough time has passed
for it to arrive, is settled as not placed, and its key may be used again. Where the exchange cannot say, the order
stays unknown and its key stays blocked, until its owner decides (`xwrap orders settle`, `xwrap sends settle`).
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.errors import ExchangeError, Refused, Unsupported
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

#: Seconds after which a call that is still "running" has lost its server, although that may seem to live: longer than
#: any call to an exchange may take.
LEASE = 40.0
#: How far an exchange's clock may be from ours when it tells the time of a send.
_SKEW = timedelta(seconds=60)
#: Longer than it may take from the creation of a send until it arrives at its exchange.
_LONGEST = timedelta(seconds=120)

#: What has been unknown for a time is asked about again after this part of it, and after an hour at the latest: a
#: question costs calls that an exchange counts, and what it could not tell for days it will hardly tell now.
_PATIENCE = 1 / 20
_MOST_PATIENCE = 3600.0

_Find = Callable[[Exchange, dict[str, Any]], dict[str, Any] | None]
#: A time as the data base keeps it.
_time = datetime.fromisoformat


class Reconciler:
    """Settles what is unknown, in a thread for each exchange: one that does not answer holds up no other. A thread more
    looks for what has lost its server.

    `every`: seconds between two rounds. `grace`: seconds in which a request may still be sent, and arrive at an
    exchange, after its outcome became unknown, longer where the exchange takes old ones; before they are over, "there
    is no such order" proves nothing.
    """

    def __init__(self, store: Store, registry: ExchangeRegistry, *, every: float, grace: float) -> None:
        self._store = store
        self._registry = registry
        self._every = every
        self._grace = grace
        self._stop = threading.Event()
        #: (journal, row) -> when it was asked about; of this server's life only.
        self._asked: dict[tuple[str, int], float] = {}
        rounds = {id: partial(self.reconcile, id) for id in registry.ids()} | {"abandoned": self.mark_abandoned}
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name=f"xwrap-reconciler-{name}", daemon=True)
            for name, work in rounds.items()
        ]

    def start(self) -> None:
        """Start, with what the last server left behind."""
        self.mark_abandoned()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop; a question that is being asked is left behind."""
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
        """Show that this server lives, and make unknown what is running on one that does not."""
        self._store.heartbeat()
        for journal in (self._store.orders, self._store.withdrawals):
            if count := journal.mark_abandoned(now(LEASE)):
                _log.warning("%d %s have lost their server; asking the exchange", count, journal.name)

    def reconcile(self, exchange: str) -> None:
        """Ask about everything that is unknown there and due, once.

        A round may never come to its end. So orders and sends take turns, and of each the oldest is next, of which the
        exchange can tell by now if ever, or any: of the oldest ones it may never tell.
        """
        order_lookup = (self._store.orders, self._find_order), (self._store.withdrawals, self._find_withdrawal)
        queues = [(journal, find, self._due(journal, exchange)) for journal, find in order_lookup]
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

    def _due(self, journal: Journal, exchange: str) -> list[tuple[Registration, dict[str, Any]]]:
        """What is unknown there and was not asked about just now, oldest first."""
        return [(registration, row) for registration, row in journal.unknown(exchange) if self._is_due(journal, row)]

    def _is_due(self, journal: Journal, row: dict[str, Any]) -> bool:
        """Whether it is time to ask about a row."""
        asked = self._asked.get((journal.name, row["id"]))
        pause = (datetime.now(UTC) - _time(row["updated"])).total_seconds() * _PATIENCE
        return asked is None or time.monotonic() >= asked + min(pause, _MOST_PATIENCE)

    def _reconcile_row(self, journal: Journal, registration: Registration, row: dict[str, Any], find: _Find) -> None:
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
            if asked < self._last_moment(exchange, row):
                return
            columns = not_placed(row)
        if columns["status"] != "unknown" and journal.reconcile(row, columns):
            self._asked.pop((journal.name, row["id"]), None)
            _log.warning("%s %d of %s: %s", journal.name, row["id"], registration.exchange, columns["status"])

    def _find_order(self, exchange: Exchange, row: dict[str, Any]) -> dict[str, Any] | None:
        """What the exchange tells of the order; None: it certainly has none. Raises Unsupported when it cannot say."""
        state = exchange.find(order_ref(row))
        if state is None and exchange.order_lookup != "all":
            raise Unsupported(f"{exchange.name} shows open orders only")
        return None if state is None else order_columns(state)

    def _find_withdrawal(self, exchange: Exchange, row: dict[str, Any]) -> dict[str, Any] | None:
        """What the exchange tells of the send; None: it certainly has none. Raises Unsupported when it cannot say."""
        try:
            found = exchange.find_withdrawal(row["client_id"], _time(row["created"]), self._last_moment(exchange, row))
        except Unsupported:
            found = self._match_by_details(exchange, row)
        return None if found is None else withdrawal_columns(found)

    def _last_moment(self, exchange: Exchange, row: dict[str, Any]) -> datetime:
        """When it arrived at the latest: it was sent before its outcome became unknown, or a little later."""
        return _time(row["updated"]) + timedelta(seconds=max(self._grace, exchange.valid_seconds))

    def _match_by_details(self, exchange: Exchange, row: dict[str, Any]) -> Withdrawal:
        """The send, known by what it is: there is exactly one like it at its time that is not known to be another one
        of this server, and no other one that it might be. Raises Unsupported: that there is none proves nothing.
        """
        created, updated = _time(row["created"]), _time(row["updated"])
        since, until = created - _SKEW, min(updated, created + _LONGEST) + _SKEW
        sends = exchange.withdrawals(row["asset"])
        # The others are read last, so that each one that the exchange has listed is among them.
        others = self._store.withdrawals.others_like(exchange.id, row, since - _LONGEST, until)
        known = {other["exchange_withdrawal_id"] for other in others}
        alike = [sent for sent in sends if sent.id not in known and _is_like(sent, row, since, until)]
        if len(alike) != 1 or any(_may_be_any(other) for other in others):
            raise Unsupported(f"{exchange.name} cannot tell whether this was sent")
        return alike[0]


def not_placed(row: dict[str, Any]) -> dict[str, Any]:
    """What the journal keeps of something that certainly was not executed; its key may be used again."""
    problem = from_exchange(
        Refused("this was never executed; it may be tried again", code="not_placed", retryable=True)
    )
    answer = json.dumps(problem.body | {"key": row["key"]})
    return {"status": "rejected", "released": True, "answer_status": problem.status, "answer": answer}


def _is_like(sent: Withdrawal, row: dict[str, Any], since: datetime, until: datetime) -> bool:
    """Whether this may be the send of that row. Some exchanges tell what leaves, and some what arrives."""
    asked = exact(row["amount"])
    return (
        (sent.asset, sent.address) == (row["asset"], row["address"])
        and sent.tag in (None, row["tag"])
        and sent.amount is not None
        and asked in (sent.amount, EXACT.add(sent.amount, sent.fee or Decimal(0)))
        and sent.created is not None
        and since <= sent.created <= until
    )


def _may_be_any(other: dict[str, Any]) -> bool:
    """Whether nobody knows which send of its exchange it is, if it is one; an owner may have said no more than that."""
    return other["status"] in {"running", "unknown"} or (
        other["status"] == "done" and other["exchange_withdrawal_id"] is None
    )
