"""The intent of an order or a send: committed before its exchange hears of it, and carried out once.

An exchange elsewhere hears of a request between two commits: that of its intent, and that of its outcome. The books of
one `in_process` are in our own data base, so there the intent, the execution and the outcome are one commit.
`execution`, `batches` and `amendments` say which exchange is asked and when; `repeats` what a key is answered that was
used before.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from ..exchanges.base import Exchange
from ..exchanges.errors import Refused
from ..exchanges.models import NewOrder, NewWithdrawal
from .allow_list import check_key_given, guarded_send
from .client_ids import ClientIds
from .common_names import with_common_names
from .db.errors import UNUSABLE, StoreError
from .db.journal import Journal
from .db.records import Caller, Registration, in_use, now
from .db.store import Store
from .metrics import Metrics
from .missing_history import MissingHistory
from .order_views import (
    REPLAYED,
    StoredAnswer,
    refusal_answer,
    success_answer,
)
from .outcomes import Called, call_exchange, call_exchange_with_many, outcome_of_failure
from .policy import Admission, KeyReplacedError, LastLook, Policy
from .problems import Problem, too_busy
from .repeats import fingerprint_of, intent_columns, public_fields
from .trade_log import log_committed, log_row

__all__ = ["Begun", "Intents", "Replacement", "not_committed"]

_log = logging.getLogger(__name__)

#: How often a call begins anew because the key of its registration was replaced meanwhile.
_MOST_KEYS = 3

Row = dict[str, Any]
_Request = NewOrder | NewWithdrawal
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Replacement:
    """How an order takes the place of another one, instead of only being placed."""

    #: What a repeat with the same key must have in common with the first call.
    fingerprint: str
    #: What its row has besides.
    columns: Row
    #: Raises Problem within the write that commits its intent, after every other check.
    check: Callable[[], None]
    #: Replaces one by the other, with its exchange, the new order and its row; returns the columns of the outcome.
    place: Callable[[Exchange, NewOrder, Row], Row]
    #: The one that the exchange knows the order by already; None: it gets one of its own.
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """A request whose key has a row of the journal."""

    #: With the names that its exchange has.
    request: _Request
    row: Row
    #: The row was committed for this call, which is the one to carry it out.
    is_new: bool
    #: The columns of what was executed with the key before the journal lost it; None: nothing was.
    found: Row | None = None
    replacement: Replacement | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """A request with all that had to be asked before it is begun, except whether it may be."""

    journal: Journal
    registration: int
    key: str
    #: With the names that its exchange has.
    request: _Request
    #: One for each attempt.
    client_ids: Sequence[str]
    #: See `Begun`.
    found: Row | None
    replacement: Replacement | None


class _Outcome(NamedTuple):
    """What became of a request: the columns that are new, its row then, what the caller is answered, and why it was
    refused, if it was.
    """

    columns: Row
    row: Row
    answer: StoredAnswer
    refusal: Problem | None


class Intents:
    """Begins what moves money, carries it out, and answers repeats."""

    def __init__(
        self, store: Store, policy: Policy, client_ids: ClientIds, missing_history: MissingHistory, metrics: Metrics
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._policy = policy
        self._client_ids = client_ids
        self._missing_history = missing_history

    def with_key(self, registration: Registration, call: Callable[[Registration], _T]) -> _T:
        """Return what `call` returns, which begins anew when the key of the registration was replaced before it."""
        for _ in range(_MOST_KEYS):
            try:
                return call(registration)
            except KeyReplacedError as error:
                registration = error.registration
        raise too_busy("server_busy", "the key was replaced again and again; nothing was sent; try again in a second")

    def journal(self, request: _Request) -> Journal:
        """Return the journal of a request."""
        return self._store.orders if isinstance(request, NewOrder) else self._store.withdrawals

    def execute(
        self,
        caller: Caller,
        registration: Registration,
        exchange: Exchange,
        request: _Request,
        key: str | None,
        known: Row | None,
        confirm: LastLook,
        *,
        replacement: Replacement | None = None,
    ) -> StoredAnswer | Begun:
        """Carry out a request, once, and return its answer; what is begun already, when its key has a row by now.

        `key` and `known` are as in `begin`, which raises the same. `confirm` is run before each request of an exchange
        elsewhere; one in this process needs none, because the intent holds till the end what was checked with it.
        """
        plan = self._plan(registration, exchange, request, key, known, replacement)
        if exchange.in_process:
            return self._execute_in_process(caller, registration, exchange, plan)
        begun = self._begin_admitted(caller, registration, exchange, plan)
        if not begun.is_new:
            return begun
        confirm.send = guarded_send(exchange, begun.request)
        return self.carry_out(exchange, begun)

    def begin(
        self,
        caller: Caller,
        registration: Registration,
        exchange: Exchange,
        request: _Request,
        key: str | None,
        known: Row | None,
    ) -> Begun:
        """Commit the intent of a request to an exchange elsewhere, unless its key has a row by now.

        `known`: the released row that has the key. The `key` None gets one that is made here. Raises Problem for what
        may not be placed, and KeyReplacedError.
        """
        plan = self._plan(registration, exchange, request, key, known)
        return self._begin_admitted(caller, registration, exchange, plan)

    def _plan(
        self,
        registration: Registration,
        exchange: Exchange,
        request: _Request,
        key: str | None,
        known: Row | None,
        replacement: Replacement | None = None,
    ) -> _Plan:
        request = with_common_names(exchange, request)
        check_key_given(exchange, request, key)
        # A key that is made here cannot have been executed before.
        found = None if key is None else self._missing_history.find(exchange, registration, request, key, known)
        key = key or secrets.token_hex(16)
        journal = self.journal(request)
        client_ids: Sequence[str] = self._client_ids.of(journal.name, registration.id, key)
        if replacement is not None and replacement.client_id is not None:
            client_ids = [replacement.client_id]
        return _Plan(journal, registration.id, key, request, client_ids, found, replacement)

    def _admit(self, caller: Caller, registration: Registration, exchange: Exchange, plan: _Plan) -> Admission:
        """Return the admission of a request, for which its exchange may be asked for a price. Raises Problem."""
        if plan.found is not None:
            return self._policy.admit_executed(caller)
        return self._policy.admit(caller, registration, exchange, plan.request)

    def _begin_admitted(self, caller: Caller, registration: Registration, exchange: Exchange, plan: _Plan) -> Begun:
        """Commit the intent of a request, and who placed it, unless its key has a row by now. Raises as `begin`."""
        admission = self._admit(caller, registration, exchange, plan)
        begun = _begin(plan, admission, admission.record)
        if begun.is_new:
            log_committed(begun.row)
        return begun

    def _execute_in_process(
        self, caller: Caller, registration: Registration, exchange: Exchange, plan: _Plan
    ) -> StoredAnswer | Begun:
        """Carry out a request at an exchange of this process: its intent, what it does and its outcome are one commit.

        The exchange asks others for what it needs to know before that begins.
        """
        is_complete = False

        def complete(admission: Admission, refusal: Refused | None) -> _Outcome | Begun:
            nonlocal is_complete
            begun = _begin(plan, admission)
            if not begun.is_new:
                return begun
            intent = dict(begun.row)
            called = _call(exchange, begun) if refusal is None else outcome_of_failure(begun.row, refusal)
            outcome = _outcome(begun, *called)
            plan.journal.complete(begun.row, outcome.columns)
            # Last: from then on every other write of the audit waits until this one is committed.
            admission.record(intent)
            is_complete = True
            return outcome

        def carry_out() -> _Outcome | Begun:
            admission = self._admit(caller, registration, exchange, plan)
            refusal = _prepare(exchange, plan.request)
            # After the commit it would not be known whether this counts.
            self._store.check_file()
            return self._store.atomic(lambda: complete(admission, refusal))

        try:
            outcome = carry_out()
        except UNUSABLE as error:
            if not is_complete:
                raise
            # The commit may have come through, and only its answer was lost.
            if (found := self._find_committed(caller, plan, error)) is None:
                raise not_committed() from error
            return found
        return outcome if isinstance(outcome, Begun) else self._report(exchange, plan.journal, outcome)

    def _find_committed(self, caller: Caller, plan: _Plan, error: Exception) -> Begun | None:
        """Return what was committed though its commit failed with this error; None: nothing, or that is not known.

        The transaction holds the account until it is over, so what the key says with the account held is final.
        """
        if isinstance(error, StoreError):
            # It is our own, of a file that the next start may not open.
            return None
        row: Row | None = None
        with suppress(*UNUSABLE):
            row = in_use(self._store.atomic(lambda: self._row_of(caller, plan)))
        return None if row is None else Begun(plan.request, row, is_new=False)

    def _row_of(self, caller: Caller, plan: _Plan) -> Row | None:
        """Return the row of a key; within a write, after every other write of the account that began before."""
        self._store.accounts.locked(caller.account.id)
        return plan.journal.by_key(plan.registration, plan.key)

    def carry_out(self, exchange: Exchange, begun: Begun) -> StoredAnswer:
        """Carry out what was begun for this call at an exchange elsewhere, once, and return its answer."""
        if begun.found is not None:
            return replace(self.finish(exchange, begun, begun.found, None), headers=REPLAYED)
        return self.finish(exchange, begun, *_call(exchange, begun))

    def carry_out_many(self, exchange: Exchange, begun: Sequence[Begun]) -> list[Callable[[], StoredAnswer]]:
        """Carry out orders that were begun for this call, together and once, at an exchange elsewhere.

        Return for each one what commits its outcome and returns its answer, as `finish` does.
        """
        orders = [replace(cast("NewOrder", one.request), client_id=one.row["client_id"]) for one in begun]
        called = call_exchange_with_many(exchange, orders, [one.row for one in begun])
        return [partial(self.finish, exchange, one, *outcome) for one, outcome in zip(begun, called, strict=True)]

    def give_up(self, begun: Begun) -> None:
        """Let the outcome of what was begun for this call be found out later: the call ends without one."""
        self.journal(begun.request).give_up(begun.row)

    def finish(self, exchange: Exchange, begun: Begun, columns: Row, refusal: Problem | None) -> StoredAnswer:
        """Commit the outcome of what was begun, and return the answer of it.

        Raises Problem 500, which may have been executed, when it could not be committed.
        """
        outcome, journal = _outcome(begun, columns, refusal), self.journal(begun.request)
        try:
            is_committed = journal.finish(begun.row, outcome.columns)
        except Exception as error:
            _log.exception("the outcome of %s could not be committed", begun.row["key"])
            raise not_committed() from error
        if not is_committed:
            key, status = begun.row["key"], columns["status"]
            _log.critical("%s ended (%s) after it was given up and became another", key, status)
            raise not_committed()
        return self._report(exchange, journal, outcome)

    def _report(self, exchange: Exchange, journal: Journal, outcome: _Outcome) -> StoredAnswer:
        """Count and log an outcome that was committed, and return the answer of it."""
        self._metrics.count_order(journal.name, exchange.id, outcome.row["status"])
        log_row(outcome.row, None if outcome.refusal is None else outcome.refusal.code)
        return outcome.answer


def _begin(plan: _Plan, admission: Admission, record: Callable[[Row], None] = lambda _row: None) -> Begun:
    """Commit the intent of a request, unless its key has a row by now."""
    values = intent_columns(plan.request)
    columns, checks = {**values, **admission.columns}, [admission.check]
    if plan.replacement is None:
        fingerprint = fingerprint_of(values)
    else:
        columns |= plan.replacement.columns
        checks.append(plan.replacement.check)
        fingerprint = plan.replacement.fingerprint
    intent = plan.journal.begin(
        plan.registration, plan.key, fingerprint, columns, plan.client_ids, partial(_run_all, checks), record
    )
    return Begun(plan.request, intent.row, intent.is_new, plan.found, plan.replacement)


def _call(exchange: Exchange, begun: Begun) -> Called:
    """Let the exchange carry out what was begun, and return what it made of it."""
    request = replace(begun.request, client_id=begun.row["client_id"])
    return call_exchange(exchange, request, begun.row, None if begun.replacement is None else begun.replacement.place)


def _outcome(begun: Begun, columns: Row, refusal: Problem | None) -> _Outcome:
    """Return the outcome of what was begun, with these columns and the problem to answer with, if it was refused."""
    columns = {**columns, "updated": now()}
    row = {**begun.row, **columns}
    answer = success_answer(row, public_fields(begun.request)) if refusal is None else refusal_answer(row, refusal)
    return _Outcome(columns, row, answer, refusal)


def _prepare(exchange: Exchange, request: _Request) -> Refused | None:
    """Let an exchange ask for what the order needs; return why it cannot be placed, when that fails."""
    if isinstance(request, NewOrder):
        try:
            exchange.prepare(request)
        except Refused as refusal:
            return refusal
    return None


def _run_all(checks: Iterable[Callable[[], None]]) -> None:
    for check in checks:
        check()


def not_committed() -> Problem:
    """Return the problem of what may have been executed, and whose outcome could not be kept."""
    return Problem(
        500, "server_error", "the outcome could not be kept; ask again, with the same key", may_have_executed=True
    )
