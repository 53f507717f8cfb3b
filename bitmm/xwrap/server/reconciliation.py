"""Reconciliation: what became of orders and sends whose outcome is unknown. Exchanges are asked; nothing is ever sent.

It runs when the server starts and every few seconds. Where an exchange has calls that tell of many orders of a key, one
question answers all unknown ones of that key. An order that the exchange has becomes what it is there. One that the
exchange certainly does not have, although no request for it can be executed any more, becomes "not placed", and its key
may be used again. Where the exchange cannot say, the order stays unknown and its key stays blocked, until its owner
decides (`xwrap orders settle`, `xwrap sends settle`). When a question is due: see `question_times`.
"""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.errors import NotListedYet, Unsupported
from ..exchanges.models import OrderRef, Withdrawal
from .call_log import log_with, with_fields
from .db.attempts import Attempt
from .db.journal import Journal
from .db.records import Registration, is_in_place, now
from .db.store import Store
from .lookups import (
    CLOCK_SKEW,
    LONGEST_ARRIVAL,
    find_amendment,
    find_order,
    find_orders,
    finds_orders,
    may_be_that_send,
    same_details,
)
from .metrics import Metrics
from .order_views import kept_refusal_columns, order_ref, withdrawal_columns
from .problems import log_failure
from .question_times import QuestionTimes, TimesOfRows
from .rate_limiter import Priority
from .registry import ExchangeRegistry
from .rounds import Rounds
from .trade_log import log_reconciled
from .transfers import find_in_ledgers

__all__ = ["LEASE", "Reconciler", "not_placed"]

_log = logging.getLogger(__name__)

#: Seconds after which a call that is still "running" is abandoned, although its server may seem to live: longer than
#: any call to an exchange may take.
LEASE = 40.0
#: Orders that were created within this time are asked about together. A list since an older order may be so long that
#: it costs more than a question about that one.
_TOGETHER = timedelta(minutes=10)
#: So many are asked about with one question at most, where that takes calls for each of them.
_MOST_TOGETHER = 25
#: Rounds follow in so many seconds for so long after a start, when a crash may have left many calls unknown.
_FIRST_PAUSE, _FIRST_SECONDS = 0.3, 60.0

Row = dict[str, Any]
#: Returns the columns that the exchange reports, None when it has no such thing. Raises Unsupported when it cannot say.
_Find = Callable[[Exchange, "_Unknown"], Row | None]
#: Reads a time as the data base keeps it.
_parse_time = datetime.fromisoformat


@dataclass(slots=True)
class _Unknown:
    """A row whose outcome is unknown, and when its exchange is asked."""

    registration: Registration
    row: Row
    times: QuestionTimes


class Reconciler:
    """One thread looks at which exchanges anything is unknown. Each of these is asked in a thread of its own, so that
    one that does not answer delays no other.

    One thread more marks the calls whose server has died. `every`: seconds between two rounds. `grace`: seconds in
    which a request may still arrive at an exchange after it was sent (longer where the exchange accepts old requests);
    before they are over, "there is no such order" proves nothing. `call_seconds`: a call sends nothing later than that.
    """

    def __init__(
        self,
        store: Store,
        registry: ExchangeRegistry,
        metrics: Metrics,
        *,
        every: float,
        grace: float,
        call_seconds: float,
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._registry = registry
        self._every = every
        self._times = TimesOfRows(store, grace=grace, call_seconds=call_seconds, retry=min(every, 1.0))
        self._started = time.monotonic()
        work = {"look": self.look, "abandoned": self.mark_abandoned}
        exchanges = {id: partial(self.reconcile, id) for id in registry.ids()}
        self.rounds = Rounds("reconciler", work, self._pause, exchanges)

    def start(self) -> None:
        """Mark what the last server left behind, and start the threads."""
        self.mark_abandoned()
        self.rounds.start()

    def stop(self) -> None:
        """Stop the threads; a question that is being asked is not waited for longer than a second."""
        self.rounds.stop()

    def _pause(self) -> float:
        is_young = time.monotonic() < self._started + _FIRST_SECONDS
        return min(_FIRST_PAUSE, self._every) if is_young else self._every

    def mark_abandoned(self) -> None:
        """Show that this server lives, and make unknown what runs on a server that does not.

        What this server itself could not commit, because its connection to the data base broke, is committed first.
        """
        self._store.heartbeat()
        for journal in (self._store.orders, self._store.withdrawals):
            journal.commit_unwritten()
            if count := journal.mark_abandoned(now(LEASE)):
                _log.warning("%d %s were abandoned by their server; asking the exchange", count, journal.name)

    def look(self) -> None:
        """Begin to ask each exchange at which a question about an order or a send is due."""
        self.rounds.begin(self._times.places(self._store.orders) | self._times.places(self._store.withdrawals))

    def reconcile(self, exchange: str) -> None:
        """Ask an exchange once about every row that is unknown and due.

        A round may never come to its end, when each question waits for a time-out. So orders and sends take turns, and
        the next question is the oldest, whose outcome the exchange should know by now, or any other, because the
        exchange may never know about the oldest ones.
        """
        queues = [self._order_questions(exchange), self._send_questions(exchange)]
        random.shuffle(queues)
        while any(queues):
            for questions in queues:
                if self.rounds.stopping.is_set():
                    return
                if questions:
                    at = random.choice((0, random.randrange(len(questions))))  # noqa: S311 - no secret
                    questions.pop(at)()

    def _order_questions(self, exchange: str) -> list[Callable[[], None]]:
        """Return the questions about orders that are due, oldest first; one may be about many orders of a key."""
        journal, kind = self._store.orders, self._registry.kind(exchange)
        unknown = self._times.of(journal, exchange, kind)
        if not finds_orders(kind):
            return self._single_questions(journal, unknown, self._reconcile_order)
        questions: list[Callable[[], None]] = []
        of_keys: defaultdict[int, dict[Attempt, QuestionTimes]] = defaultdict(dict)
        for attempt, times in unknown.items():
            of_keys[attempt.registration][attempt] = times
        for of_key in of_keys.values():
            if not any(times.is_due() for times in of_key.values()):
                continue
            single: dict[Attempt, QuestionTimes] = {}
            together: dict[Attempt, QuestionTimes] = {}
            first, last = max(_parse_time(attempt.created) for attempt in of_key) - _TOGETHER, datetime.now(UTC)
            for attempt, times in of_key.items():
                # Where the clock was set back since an order was created, no list since its time need have it.
                is_listed = first <= _parse_time(attempt.created) <= last
                (single if times.one_by_one or attempt.in_place or not is_listed else together)[attempt] = times
            questions += self._single_questions(journal, single, self._reconcile_order)
            questions += [partial(self._reconcile_orders, part) for part in _parts(together, kind)]
        return questions

    def _send_questions(self, exchange: str) -> list[Callable[[], None]]:
        """Return the questions about sends that are due, oldest first."""
        journal = self._store.withdrawals
        unknown = self._times.of(journal, exchange, self._registry.kind(exchange))
        return self._single_questions(journal, unknown, self._reconcile_send)

    def _single_questions(
        self, journal: Journal, unknown: Mapping[Attempt, QuestionTimes], reconcile: Callable[[_Unknown], None]
    ) -> list[Callable[[], None]]:
        """Return a question about each attempt that is due; `reconcile` does it, if the row is still unknown then."""

        def question(attempt: Attempt, times: QuestionTimes) -> None:
            for one in self._read(journal, {attempt: times}):
                reconcile(one)

        return [partial(question, attempt, times) for attempt, times in unknown.items() if times.is_due()]

    def _read(self, journal: Journal, attempts: Mapping[Attempt, QuestionTimes]) -> Iterator[_Unknown]:
        """Give the rows of those of the attempts that are still unknown."""
        times = {attempt.id: times for attempt, times in attempts.items()}
        for registration, row in journal.attempts.rows(attempts):
            yield _Unknown(registration, row, times[row["id"]])

    def _reconcile_orders(self, unknown: Mapping[Attempt, QuestionTimes]) -> None:
        """Ask once about many orders of a registration."""
        one = next(iter(unknown))
        registration = self._store.registrations.get(one.registration)
        if registration is None or registration.key_since != one.key_since:
            return  # the next round sees that, too
        with with_fields(registration=registration.id, exchange=registration.exchange):
            log_with(_log, logging.DEBUG, "the exchange is asked what became of unknown orders", orders=len(unknown))
            self._ask_about_orders(registration, unknown)

    def _ask_about_orders(self, registration: Registration, unknown: Mapping[Attempt, QuestionTimes]) -> None:
        journal = self._store.orders
        rows = list(self._read(journal, unknown))
        if not rows:
            return
        try:
            with self._registry.open(registration, Priority.RECONCILE) as exchange:
                if _confirm(exchange, unknown.values()):
                    return
                asked = time.monotonic()
                wanted = sum(one.times.is_due() for one in rows)
                found = find_orders(exchange, [_order_ref(one) for one in rows], wanted=wanted)
        except Unsupported:
            # The others come together when they are due, if the list is worth it for so many.
            due = {attempt: times for attempt, times in unknown.items() if times.is_due()}
            for times in due.values():
                times.one_by_one = True
            for question in self._single_questions(journal, due, self._reconcile_order):
                question()
        except Exception as error:
            log_failure(_log, error, f"what became of {len(unknown)} orders of {registration.exchange} cannot be asked")
            oldest = min(_parse_time(attempt.created) for attempt in unknown)
            for attempt, times in unknown.items():
                # The list since then may be too long for the exchange's limit, or for the time of one call.
                times.one_by_one = datetime.now(UTC) - oldest > _TOGETHER
                times.try_again(attempt.updated)
        else:
            for one, answer in zip(rows, found, strict=True):
                self._answered(journal, one, asked, answer)

    def _reconcile_order(self, one: _Unknown) -> None:
        self._reconcile_row(self._store.orders, one, self._find_order)

    def _reconcile_send(self, one: _Unknown) -> None:
        self._reconcile_row(self._store.withdrawals, one, self._find_withdrawal)

    def _reconcile_row(self, journal: Journal, one: _Unknown, find: _Find) -> None:
        """Ask about one row."""
        registration = one.registration
        with with_fields(registration=registration.id, exchange=registration.exchange, key=one.row["key"]):
            log_with(_log, logging.DEBUG, "the exchange is asked what became of it", **{journal.name: one.row["id"]})
            self._ask_about_row(journal, one, find)

    def _ask_about_row(self, journal: Journal, one: _Unknown, find: _Find) -> None:
        try:
            with self._registry.open(one.registration, Priority.RECONCILE) as exchange:
                if _confirm(exchange, [one.times]):
                    return
                asked = time.monotonic()
                found: Row | Exception | None = find(exchange, one)
        except Exception as error:
            found = error
        self._answered(journal, one, asked, found)

    def _answered(self, journal: Journal, one: _Unknown, asked: float, found: Row | Exception | None) -> None:
        """Conclude from the answer to a question, or from why there was none, when the exchange was `asked`."""
        times, updated = one.times, one.row["updated"]
        if isinstance(found, NotListedYet):
            is_proof = times.is_proof(asked)
            if is_proof and times.missed_since is None:
                # The time after the answer: the order may have been over only a moment before the exchange looked.
                times.missed_since = datetime.now(UTC)
            times.was_missed(updated, proved=is_proof)
        elif isinstance(found, Exception):
            if not isinstance(found, Unsupported):
                # That it has no such question is no news.
                place = f"{journal.name} {one.row['id']} of {one.registration.exchange}"
                log_failure(_log, found, f"what became of {place} cannot be asked")
            times.try_again(updated)
        else:
            self._conclude(journal, one, asked, found)

    def _conclude(self, journal: Journal, one: _Unknown, asked: float, columns: Row | None) -> None:
        """Commit what the exchange reported when it was `asked`; None: it has no such order or send."""
        if columns is None:
            if not one.times.is_proof(asked):
                one.times.was_missed(one.row["updated"], proved=False)
                return
            columns = not_placed(one.row)
        if columns["status"] != "unknown" and journal.reconcile(one.row, columns):
            exchange, status = one.registration.exchange, columns["status"]
            self._metrics.count_reconciled(journal.name, exchange, status)
            log_reconciled(exchange, one.row, status)
        else:
            one.times.try_again(one.row["updated"])

    def _find_order(self, exchange: Exchange, one: _Unknown) -> Row | None:
        """Return what the exchange reports of an order, None when it has none. Raises Unsupported."""
        if is_in_place(one.row):
            return find_amendment(exchange, one.row)
        return find_order(exchange, _order_ref(one))

    def _find_withdrawal(self, exchange: Exchange, one: _Unknown) -> Row | None:
        """Return what the exchange reports of a send, None when it has none. Raises Unsupported."""
        row = one.row
        try:
            until = self._times.latest_arrival(row, exchange)
            found = exchange.find_withdrawal(row["client_id"], _parse_time(row["created"]), until)
        except Unsupported:
            if row["to_registration"] is not None:
                # No list of sends has transfers.
                return find_in_ledgers(self._store, self._registry, exchange, row)
            found = self._match_by_details(exchange, row)
        return None if found is None else withdrawal_columns(found)

    def _match_by_details(self, exchange: Exchange, row: Row) -> Withdrawal:
        """Return the one send at the exchange that looks like this row and cannot be another row's.

        Raises Unsupported when there are several, or none: it may only not be listed yet.
        """
        created, updated = _parse_time(row["created"]), _parse_time(row["updated"])
        since, until = created - CLOCK_SKEW, min(updated, created + LONGEST_ARRIVAL) + CLOCK_SKEW
        sends = exchange.withdrawals(row["asset"])
        # The others are read last, so that each one that the exchange has listed is among them.
        others = self._store.withdrawals.similar(exchange.id, row, since - LONGEST_ARRIVAL, until)
        known = {other["exchange_withdrawal_id"] for other in others}
        alike = [
            send
            for send in sends
            if send.id not in known
            and may_be_that_send(send, row)
            and (send.created is None or since <= send.created <= until)
        ]
        if len(alike) != 1 or any(_is_unidentified(other) for other in others):
            raise Unsupported(f"{exchange.name} cannot say whether this was sent")
        if not same_details(alike[0], row) or alike[0].created is None:
            raise Unsupported(f"{exchange.name} tells too little of a send to say whether it is this one")
        return alike[0]


def _parts(together: dict[Attempt, QuestionTimes], kind: type[Exchange]) -> list[dict[Attempt, QuestionTimes]]:
    """Return which attempts of a key are asked about with one question each time."""
    due = {attempt: times for attempt, times in together.items() if times.is_due()}
    if kind.find_many is Exchange.find_many:
        # A list of all orders answers those that are not due yet, too, at no cost.
        return [together] if due else []
    # Each order may cost a call or two, and all calls of a question have the time of one call of ours.
    items = list(due.items())
    return [dict(items[start : start + _MOST_TOGETHER]) for start in range(0, len(items), _MOST_TOGETHER)]


def _order_ref(one: _Unknown) -> OrderRef:
    return replace(order_ref(one.row), missed_since=one.times.missed_since)


def _confirm(exchange: Exchange, unknown: Iterable[QuestionTimes]) -> bool:
    """Find out whether requests of these rows may still arrive, where that can be known before they must have.

    Return whether the exchange was called: then the question comes in a later round.
    """
    asked = time.monotonic()
    open_ones = [times for times in unknown if times.needs_confirmation(asked)]
    if not open_ones:
        return False
    is_confirmed = exchange.confirm_no_older_request_pending()
    for times in open_ones:
        times.confirm(is_confirmed=is_confirmed)
    return True


def not_placed(row: Row) -> Row:
    """Return the columns of what certainly was not executed.

    Where its exchange had refused it without proof, that is the reason; else its key may be used again.
    """
    if row["answer"] is not None:
        return kept_refusal_columns(row)
    words = "this was never executed; it may be tried again"
    if is_in_place(row):
        words = f"this was never executed; order {row['replaces']} was not amended by it"
    elif row.get("replaces") is not None:
        words = f"this was never executed; order {row['replaces']}, whose place it was to take, may be canceled"
    reason = {"reason": words} if "reason" in row else {}
    return {"status": "rejected", "released": True, **reason}


def _is_unidentified(row: Row) -> bool:
    """Return whether it is not known which send of its exchange a row is, if it is one at all.

    Of a row that its owner decided about, no more may be known than that it is done.
    """
    return row["status"] in {"running", "unknown"} or (
        row["status"] == "done" and row["exchange_withdrawal_id"] is None
    )
