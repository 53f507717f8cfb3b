"""Finds out what became of orders and sends whose outcome nobody knows: it asks their exchange, and never sends
anything.

It runs at the start and every few seconds. An order that the exchange has is settled as what it is. One that the
exchange certainly does not have, although enough time has passed for it to arrive, is settled as not placed, and its
key may be used again. Where the exchange cannot say, the order stays unknown and its key stays blocked, until its
owner decides (`xwrap orders settle`, `xwrap sends settle`).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from ..exchanges.base import Exchange, ExchangeError, Refused, Unsupported, Withdrawal
from ..money import exact
from .desk import order_columns, reference, withdrawal_columns
from .directory import Directory
from .lanes import Rank
from .problems import Problem, from_exchange
from .store import Journal, Registration, Store, now

__all__ = ["LEASE", "Settler", "not_placed"]

_log = logging.getLogger(__name__)

#: Seconds after which a call that is still "running" has lost its server, although that may seem to live: longer than
#: any call to an exchange may take.
LEASE = 40.0
#: Sends that may have been carried out; those whose outcome is open; and how many are looked through.
_OPEN = ("running", "unknown")
_SENT = (*_OPEN, "pending", "done", "failed")
_LATEST = 500


class Settler:
    """Settles what is unknown, in a thread for each exchange: one that does not answer holds up no other. A thread more
    looks for what has lost its server.

    `every`: seconds between two rounds. `grace`: seconds in which a request may still be sent, and arrive at an
    exchange, after its outcome became unknown; before they are over, "there is no such order" proves nothing.
    """

    def __init__(self, store: Store, directory: Directory, *, every: float, grace: float) -> None:
        self._store = store
        self._directory = directory
        self._every = every
        self._grace = timedelta(seconds=grace)
        self._stop = threading.Event()
        rounds = {id: partial(self.settle, id) for id in directory.ids()} | {"orphans": self.orphan}
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name=f"xwrap-settler-{name}", daemon=True)
            for name, work in rounds.items()
        ]

    def start(self) -> None:
        """Start, with what the last server left behind."""
        self.orphan()
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
                _log.exception("a round of the settler failed; the next one follows")
            self._stop.wait(self._every)

    def orphan(self) -> None:
        """Show that this server lives, and make unknown what is running on one that does not."""
        self._store.appear()
        for journal in (self._store.orders, self._store.withdrawals):
            if count := journal.orphan(now(LEASE)):
                _log.warning("%d %s have lost their server; asking the exchange", count, journal.name)

    def settle(self, exchange: str) -> None:
        """Ask about everything that is unknown there, once."""
        for journal, find in ((self._store.orders, _find_order), (self._store.withdrawals, _find_withdrawal)):
            for registration, row in journal.unsettled(exchange):
                if self._stop.is_set():
                    return
                self._settle(journal, registration, row, find)

    def _settle(self, journal: Journal, registration: Registration, row: dict[str, Any], find: Any) -> None:
        try:
            with self._directory.registered(registration, Rank.ORDER) as exchange:
                columns = find(exchange, row, journal)
        except Unsupported:
            return
        except (ExchangeError, Problem) as error:
            _log.info("%s %d of %s: %s", journal.name, row["id"], registration.exchange, error)
            return
        if columns is None:
            # It was sent before its outcome became unknown, and that may be long after it was created.
            if datetime.now(UTC) - datetime.fromisoformat(row["updated"]) < self._grace:
                return
            columns = not_placed(row)
        if columns["status"] != "unknown" and journal.settle(row, columns):
            _log.warning("%s %d of %s: %s", journal.name, row["id"], registration.exchange, columns["status"])


def not_placed(row: dict[str, Any]) -> dict[str, Any]:
    """What the journal keeps of something that certainly was not executed; its key may be used again."""
    problem = from_exchange(
        Refused("this was never executed; it may be tried again", code="not_placed", retryable=True)
    )
    answer = json.dumps(problem.body | {"key": row["key"]})
    return {"status": "rejected", "released": True, "answer_status": problem.status, "answer": answer}


def _find_order(exchange: Exchange, row: dict[str, Any], _journal: Journal) -> dict[str, Any] | None:
    """What the exchange tells of the order; None: it certainly has none. Raises Unsupported when it cannot say."""
    state = exchange.find(reference(row))
    if state is None and exchange.finds != "all":
        raise Unsupported(f"{exchange.name} shows open orders only")
    return None if state is None else order_columns(state)


def _find_withdrawal(exchange: Exchange, row: dict[str, Any], journal: Journal) -> dict[str, Any] | None:
    """What the exchange tells of the send; None: it certainly has none. Raises Unsupported when it cannot say.

    An exchange that knows our id settles it. By asset, amount, address and time a send can be recognised, when there
    is one such that is not known to be another one of ours, and no other one of ours that it might be. That there is
    none proves nothing: its history may be late.
    """
    sends = exchange.withdrawals(row["asset"])
    for sent in sends:
        if sent.client_id == row["client_id"]:
            return withdrawal_columns(sent)
    if sends and all(sent.client_id for sent in sends):
        return None
    ours = [other for other in journal.rows(row["registration_id"], _SENT, _LATEST, None) if other["id"] != row["id"]]
    known = {other["exchange_withdrawal_id"] for other in ours}
    rivals = [other for other in ours if other["status"] in _OPEN and _what(other) == _what(row)]
    alike = [sent for sent in sends if sent.id not in known and _is_like(sent, row)]
    if len(alike) == 1 and not rivals:
        return withdrawal_columns(alike[0])
    raise Unsupported(f"{exchange.name} cannot tell whether this was sent")


def _what(row: dict[str, Any]) -> tuple[str, Decimal, str]:
    return row["asset"], exact(row["amount"]), row["address"]


def _is_like(sent: Withdrawal, row: dict[str, Any]) -> bool:
    since = datetime.fromisoformat(row["created"]) - timedelta(seconds=60)
    return (
        (sent.asset, sent.amount, sent.address) == _what(row)
        and sent.tag in (None, row["tag"])
        and sent.created is not None
        and sent.created >= since
    )
