"""The answers to repeats: a key that was used before is answered from its row, as its exchange reports that now."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ..exchanges.errors import ExchangeError
from ..exchanges.models import ORDER_FIELDS, WITHDRAWAL_FIELDS, NewOrder, NewWithdrawal
from .common_names import with_common_names, with_names_of
from .db.errors import UNUSABLE
from .db.journal import Journal
from .db.records import Registration, in_use
from .db.store import Store
from .order_views import (
    StoredAnswer,
    check_not_archived,
    check_repeat,
    key_reused,
    order_intent,
    repeated_answer,
    withdrawal_intent,
)
from .problems import Problem, log_failure
from .refresh import IN_FLIGHT, read_orders, refresh_order, refresh_withdrawals, write_state
from .registry import ExchangeRegistry

__all__ = ["Repeats", "fingerprint_of", "intent_columns", "public_fields"]

_log = logging.getLogger(__name__)

#: Seconds for the look at an open order that is asked about by its key: in vain, it is answered from the journal.
_LOOK_SECONDS = 3.0
_sorted_json = json.JSONEncoder(sort_keys=True).encode

Row = dict[str, Any]
_Request = NewOrder | NewWithdrawal


class Repeats:
    """Answers calls whose key has a row of the journal."""

    def __init__(self, store: Store, registry: ExchangeRegistry) -> None:
        self._store = store
        self._registry = registry

    def unless_begun(
        self,
        journal: Journal,
        registration: Registration,
        key: str | None,
        call: Callable[[], StoredAnswer],
        answer: Callable[[Row], StoredAnswer],
    ) -> StoredAnswer:
        """Return what `call` returns, which carries out a request; where it is refused, and its key has a row by now,
        what `answer` returns of that row. Raises what `call` raises.
        """
        try:
            return call()
        except (ExchangeError, Problem) as error:
            row = self.begun_meanwhile(journal, registration, key, error)
            if row is None:
                raise
        return answer(row)

    def begun_meanwhile(
        self, journal: Journal, registration: Registration, key: str | None, refusal: ExchangeError | Problem
    ) -> Row | None:
        """Return the row of a key whose request was refused; None: nothing was begun with it.

        The same request may have arrived twice, and the other one has begun after this one looked. It may even be why
        this one is refused: it has used up a limit, or canceled the order that both are to amend. That nothing was
        executed would not be true of the key.
        """
        row: Row | None = None
        if key is not None and not refusal.may_have_executed:
            # What this call itself was refused for is true, even if the data base cannot be read now.
            with suppress(*UNUSABLE):
                row = journal.by_key(registration.id, key)
        return in_use(row)

    def answer_known(
        self, registration: Registration, request: _Request, known: Row, *, is_as_now: bool = False
    ) -> StoredAnswer:
        """Return the answer to a repeat whose key has the row `known`. Raises Problem as `answer` does, and 503."""
        check_not_archived(known)
        request = with_names_of(known, request) or self._with_common_names(registration, request)
        return self.answer(registration, request, known, is_as_now=is_as_now)

    def answer(
        self, registration: Registration, request: _Request, row: Row, *, is_as_now: bool = False
    ) -> StoredAnswer:
        """Return the answer to a repeat with the names that its exchange has. It needs no exchange: "nothing was sent"
        would not be true of its key.

        `is_as_now`: its exchange was asked about the row already. Raises Problem 422 for a repeat with other
        parameters, and 409 while the first call runs.
        """
        check_repeat(row, fingerprint_of(intent_columns(request)))
        journal = self._store.orders if isinstance(request, NewOrder) else self._store.withdrawals
        row = row if is_as_now else self.as_now(registration, journal, row)
        return repeated_answer(row, public_fields(request))

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

    def _with_common_names(self, registration: Registration, request: _Request) -> _Request:
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


def public_fields(request: _Request) -> tuple[str, ...]:
    """Return the public fields of the row of a request."""
    return ORDER_FIELDS if isinstance(request, NewOrder) else WITHDRAWAL_FIELDS


def intent_columns(request: _Request) -> Row:
    """Return what the row of a request has of it."""
    return order_intent(request) if isinstance(request, NewOrder) else withdrawal_intent(request)


def fingerprint_of(values: Row) -> str:
    """Return what a repeat with the same key must have in common with a call with these `intent_columns`."""
    if "to_registration" in values:
        # Only the exchange can say what it calls the account there, and a repeat does not ask it.
        values = {**values, "address": None}
    return hashlib.sha256(_sorted_json(values).encode()).hexdigest()
