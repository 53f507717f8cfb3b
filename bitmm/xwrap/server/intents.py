"""The intent of an order or a send: committed before its exchange hears of it, carried out once, answered again.

`execution` and `batches` say which exchange is asked and when. Here is what both do with one request: its row, its
outcome, and the answer to a repeat of its key.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from ..exchanges.base import Exchange
from ..exchanges.errors import ExchangeError, Refused
from ..exchanges.models import ORDER_FIELDS, WITHDRAWAL_FIELDS, NewOrder, NewWithdrawal
from .allow_list import check_key_given
from .client_ids import ClientIds
from .common_names import with_common_names, with_names_of
from .db.errors import UNUSABLE
from .db.journal import Journal
from .db.records import Caller, Registration, now
from .db.store import Store
from .metrics import Metrics
from .missing_history import MissingHistory
from .order_views import (
    REPLAYED,
    StoredAnswer,
    check_repeat,
    key_reused,
    order_intent,
    refusal_answer,
    repeated_answer,
    success_answer,
    withdrawal_intent,
)
from .outcomes import call_exchange, call_exchange_with_many
from .policy import KeyReplacedError, Policy
from .problems import Problem, log_failure, too_busy
from .refresh import IN_FLIGHT, read_orders, refresh_order, refresh_withdrawals, write_state
from .registry import ExchangeRegistry
from .trade_log import log_committed, log_row

__all__ = ["Begun", "Intents", "Replacement", "not_committed"]

_log = logging.getLogger(__name__)

#: Seconds for the look at an open order that is asked about by its key: in vain, it is answered from the journal.
_LOOK_SECONDS = 3.0
_sorted_json = json.JSONEncoder(sort_keys=True).encode

#: How often a call begins anew because the key of its registration was replaced meanwhile.
_MOST_KEYS = 3

Row = dict[str, Any]
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
    request: NewOrder | NewWithdrawal
    row: Row
    #: The row was committed for this call, which is the one to carry it out.
    is_new: bool
    #: The columns of what was executed with the key before the journal lost it; None: nothing was.
    found: Row | None = None
    replacement: Replacement | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the public fields of the row."""
        return _names(self.request)


class _Committed(NamedTuple):
    """An outcome that is in the journal: its row, what the caller is answered, and why it was refused, if it was."""

    row: Row
    answer: StoredAnswer
    refusal: Problem | None


class Intents:
    """Begins what moves money, carries it out, and answers repeats."""

    def __init__(
        self,
        store: Store,
        registry: ExchangeRegistry,
        policy: Policy,
        client_ids: ClientIds,
        missing_history: MissingHistory,
        metrics: Metrics,
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._registry = registry
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

    def journal(self, request: NewOrder | NewWithdrawal) -> Journal:
        """Return the journal of a request."""
        return self._store.orders if isinstance(request, NewOrder) else self._store.withdrawals

    def begin(
        self,
        caller: Caller,
        registration: Registration,
        exchange: Exchange,
        request: NewOrder | NewWithdrawal,
        key: str | None,
        known: Row | None,
        *,
        replacement: Replacement | None = None,
    ) -> Begun:
        """Commit the intent of a request, unless its key has a row by now. Raises Problem for what may not be placed.

        `known`: the released row that has the key. The `key` None gets one that is made here.
        """
        journal = self.journal(request)
        request = with_common_names(exchange, request)
        check_key_given(exchange, request, key)
        values = _intent(request)
        # A key that is made here cannot have been executed before.
        found = None if key is None else self._missing_history.find(exchange, registration, request, key, known)
        key = key or secrets.token_hex(16)
        client_ids = self._client_ids.of(journal.name, registration.id, key)
        try:
            if found is None:
                admission = self._policy.admit(caller, registration, exchange, request)
            else:
                admission = self._policy.admit_executed(caller)
            columns, checks = {**values, **admission.columns}, [admission.check]
            fingerprint = _fingerprint(values)
            if replacement is not None:
                columns |= replacement.columns
                checks.append(replacement.check)
                fingerprint = replacement.fingerprint
                client_ids = client_ids if replacement.client_id is None else [replacement.client_id]
            intent = journal.begin(
                *(registration.id, key, fingerprint, columns, client_ids),
                partial(_run_all, checks),
                admission.record,
            )
        except Problem:
            # It may be the repeat of a call that has begun meanwhile, and that has used up a limit.
            known = journal.by_key(registration.id, key)
            if known is None or known["released"]:
                raise
            return Begun(request, known, is_new=False)
        if intent.is_new:
            log_committed(intent.row)
        return Begun(request, intent.row, intent.is_new, found, replacement)

    def carry_out(self, exchange: Exchange, begun: Begun, confirm: Callable[[], None]) -> StoredAnswer:
        """Carry out what was begun for this call, once, and return its answer.

        `confirm` raises Stopped for what may not leave any more.
        """
        if begun.found is not None:
            return replace(self.finish(exchange, begun, begun.found, None), headers=REPLAYED)
        if not exchange.in_process:
            return self._report(exchange, begun, self._execute(exchange, begun, confirm))
        # What it does and what is written about it are one transaction, before which is asked what it needs to know.
        refusal = _prepare(exchange, begun.request)

        def confirm_prepared() -> None:
            confirm()
            if refusal is not None:
                raise refusal

        try:
            committed = self._store.atomic(lambda: self._execute(exchange, begun, confirm_prepared))
        except Exception as error:
            self.journal(begun.request).give_up(begun.row)
            if isinstance(error, UNUSABLE):
                # The commit may have come through, and only its answer was lost.
                raise not_committed() from error
            raise
        return self._report(exchange, begun, committed)

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

    def _execute(self, exchange: Exchange, begun: Begun, confirm: Callable[[], None]) -> _Committed:
        """Call the exchange, and commit the outcome."""
        request = replace(begun.request, client_id=begun.row["client_id"])
        place = None if begun.replacement is None else begun.replacement.place
        columns, refusal = call_exchange(exchange, request, begun.row, confirm, place)
        return self._commit(begun, columns, refusal)

    def finish(self, exchange: Exchange, begun: Begun, columns: Row, refusal: Problem | None) -> StoredAnswer:
        """Commit the outcome of what was begun, and return the answer of it.

        Raises Problem 500, which may have been executed, when it could not be committed.
        """
        return self._report(exchange, begun, self._commit(begun, columns, refusal))

    def _report(self, exchange: Exchange, begun: Begun, committed: _Committed) -> StoredAnswer:
        """Count and log an outcome that was committed, and return the answer of it."""
        row, refusal = committed.row, committed.refusal
        self._metrics.count_order(self.journal(begun.request).name, exchange.id, row["status"])
        log_row(row, None if refusal is None else refusal.code)
        return committed.answer

    def _commit(self, begun: Begun, columns: Row, refusal: Problem | None) -> _Committed:
        """Commit the outcome of what was begun. Raises as `finish`."""
        columns = {**columns, "updated": now()}
        row = {**begun.row, **columns}
        answer = success_answer(row, begun.names) if refusal is None else refusal_answer(row, refusal)
        try:
            committed = self.journal(begun.request).finish(begun.row, columns)
        except Exception as error:
            _log.exception("the outcome of %s could not be committed", row["key"])
            raise not_committed() from error
        if not committed:
            _log.critical("%s ended (%s) after it was given up and became another", row["key"], columns["status"])
            raise not_committed()
        return _Committed(row, answer, refusal)

    def answer_known(
        self, registration: Registration, request: NewOrder | NewWithdrawal, known: Row, *, is_as_now: bool = False
    ) -> StoredAnswer:
        """Return the answer to a repeat whose key has the row `known`. Raises Problem as `repeat` does, and 503."""
        request = with_names_of(known, request) or self._with_common_names(registration, request)
        return self.repeat(registration, Begun(request, known, is_new=False), is_as_now=is_as_now)

    def repeat(self, registration: Registration, begun: Begun, *, is_as_now: bool = False) -> StoredAnswer:
        """Return the answer to a repeat. It needs no exchange: "nothing was sent" would not be true of its key.

        `is_as_now`: its exchange was asked about the row already. Raises Problem 422 for a repeat with other
        parameters, and 409 while the first call runs.
        """
        check_repeat(begun.row, _fingerprint(_intent(begun.request)))
        row = begun.row if is_as_now else self.as_now(registration, self.journal(begun.request), begun.row)
        return repeated_answer(row, begun.names)

    def orders_as_now(self, registration: Registration, rows: Sequence[Row]) -> list[Row]:
        """Return rows of orders as their exchange reports them now, as `as_now` does; it is asked about all at once."""
        asked = [row for row in rows if row["status"] in IN_FLIGHT and registration.can_see(row)]
        found: dict[int, Row] = {}
        try:
            if asked:
                with self._registry.open(registration, seconds=_LOOK_SECONDS) as exchange:
                    states = read_orders(exchange, asked)
                known = [(row, states[row["exchange_order_id"]]) for row in asked if row["exchange_order_id"] in states]
                found = {row["id"]: write_state(self._store.orders, row, state) for row, state in known}
        except Exception as error:
            log_failure(_log, error, f"{len(asked)} orders are answered as they were")
        return [found.get(row["id"], row) for row in rows]

    def as_now(self, registration: Registration, journal: Journal, row: Row) -> Row:
        """Return a row as its exchange reports it now; as the journal has it when that cannot be read soon."""
        if row["status"] not in IN_FLIGHT or not registration.can_see(row):
            return row
        try:
            with self._registry.open(registration, seconds=_LOOK_SECONDS) as exchange:
                if journal is self._store.orders:
                    return refresh_order(journal, exchange, row)
                return refresh_withdrawals(journal, exchange, [row], row["asset"])[0]
        except Exception as error:
            log_failure(_log, error, f"{journal.name} {row['id']} is answered as it was")
        return row

    def _with_common_names(
        self, registration: Registration, request: NewOrder | NewWithdrawal
    ) -> NewOrder | NewWithdrawal:
        """Return a repeat, written otherwise than the first call, with the names that its exchange has for that.

        Raises Problem 503 when it cannot be asked: neither is it certain then that something else was meant. Raises
        Problem 422 for a name that no order can have been placed with.
        """
        try:
            with self._registry.open(registration, seconds=_LOOK_SECONDS) as exchange:
                return with_common_names(exchange, request)
        except (ExchangeError, Problem) as error:
            if error.code == "unknown_asset":
                raise key_reused() from error
            raise Problem(
                503,
                "exchange_unavailable",
                f"the key was used before, and whether with these names cannot be said now: {error}",
                retryable=True,
                may_have_executed=True,
            ) from error


def _prepare(exchange: Exchange, request: NewOrder | NewWithdrawal) -> Refused | None:
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


def _names(request: NewOrder | NewWithdrawal) -> tuple[str, ...]:
    return ORDER_FIELDS if isinstance(request, NewOrder) else WITHDRAWAL_FIELDS


def _intent(request: NewOrder | NewWithdrawal) -> Row:
    """Return what the row of a request has of it."""
    return order_intent(request) if isinstance(request, NewOrder) else withdrawal_intent(request)


def _fingerprint(values: Row) -> str:
    if "to_registration" in values:
        # Only the exchange can say what it calls the account there, and a repeat does not ask it.
        values = {**values, "address": None}
    return hashlib.sha256(_sorted_json(values).encode()).hexdigest()


def not_committed() -> Problem:
    """Return the problem of what may have been executed, and whose outcome could not be kept."""
    return Problem(
        500, "server_error", "the outcome could not be kept; ask again, with the same key", may_have_executed=True
    )
