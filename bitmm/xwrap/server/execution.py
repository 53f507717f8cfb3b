"""Orders and withdrawals: commit the intent, call the exchange, commit the outcome (see `intents`).

The journal has the intent before an exchange elsewhere hears of it, and no transaction is open while that thinks. The
same key with the same parameters gets the first answer again; while the order is open it is answered as it is now. What
may have been executed is `unknown` until the exchange was asked (see `reconciliation`); it is neither called a failure
nor sent again.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from itertools import islice
from math import inf
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.errors import NotListedYet, Unsupported
from ..exchanges.models import ORDER_FIELDS, WITHDRAWAL_FIELDS, NewOrder, NewTransfer, NewWithdrawal, OrderState
from .common_names import order_with_common_names
from .db.journal import Journal
from .db.records import Caller, Registration, in_use, now
from .db.row_json import row_to_json
from .db.store import Store
from .dry_run import try_order
from .freeze import check_frozen
from .intents import Begun, Intents
from .missing_history import MissingHistory
from .order_rows import check_known, check_own, find_row
from .order_views import (
    StoredAnswer,
    check_key,
    foreign_order_to_json,
    key_answer,
)
from .policy import LastLook, Policy, check_enabled
from .rate_limiter import Priority
from .refresh import (
    cancel_order,
    read_orders,
    refresh_after_cancel_all,
    refresh_order,
    refresh_withdrawals,
    write_state,
)
from .registry import ExchangeRegistry
from .repeats import Repeats
from .trade_audit import add_cancel
from .trade_log import log_cancel, log_cancel_all, note_request
from .transfers import with_account

__all__ = ["ExecutionService"]

_CLOSED = ("filled", "partly_filled", "canceled", "closed", "rejected", "done", "failed")
#: The statuses of rows, by what a caller may ask for.
_STATUSES = {"open": ("open",), "closed": _CLOSED, "all": ("open", *_CLOSED, "unknown", "running", "pending")}
Row = dict[str, Any]


class ExecutionService:
    """Executes what moves money, once."""

    def __init__(
        self,
        store: Store,
        registry: ExchangeRegistry,
        policy: Policy,
        intents: Intents,
        repeats: Repeats,
        missing_history: MissingHistory,
    ) -> None:
        self._store = store
        self._policy = policy
        self._registry = registry
        self._intents = intents
        self._repeats = repeats
        self._missing_history = missing_history

    def place(self, caller: Caller, registration: Registration, order: NewOrder, key: str | None) -> StoredAnswer:
        """Place `order` (its client id is given here); return the order, or why it was refused."""
        return self._intents.with_key(registration, lambda current: self._once(caller, current, key, order))

    def send(
        self, caller: Caller, registration: Registration, withdrawal: NewWithdrawal, key: str | None
    ) -> StoredAnswer:
        """Send `withdrawal` (its client id is given here); return the withdrawal, or why it was refused."""
        return self._intents.with_key(registration, lambda current: self._once(caller, current, key, withdrawal))

    def _once(
        self, caller: Caller, registration: Registration, key: str | None, request: NewOrder | NewWithdrawal
    ) -> StoredAnswer:
        """Carry out a request, unless its key was used before: then return what became of that."""
        note_request(request)
        journal = self._intents.journal(request)
        known = None if key is None else journal.by_key(registration.id, key)
        if used := in_use(known):
            return self._repeats.answer_known(registration, request, used)
        return self._repeats.unless_begun(
            *(journal, registration, key),
            partial(self._carry_out, caller, registration, key, request, known),
            partial(self._repeats.answer_known, registration, request),
        )

    def _carry_out(
        self,
        caller: Caller,
        registration: Registration,
        key: str | None,
        request: NewOrder | NewWithdrawal,
        known: Row | None,
    ) -> StoredAnswer:
        """Carry out a request whose key has no row, or the released one `known`."""
        check_enabled(registration)
        check_frozen(caller.account)
        if isinstance(request, NewTransfer):
            request = with_account(self._store, self._registry, caller, registration, request)
        confirm = LastLook(self._policy, caller, registration)
        with self._registry.open(registration, Priority.ORDER, check=confirm) as exchange:
            answer = self._intents.execute(caller, registration, exchange, request, key, known, confirm)
        return self._repeats.answer(registration, answer.request, answer.row) if isinstance(answer, Begun) else answer

    def try_out(self, caller: Caller, registration: Registration, order: NewOrder) -> dict[str, Any]:
        """Make every check that can be made without placing `order`; return the order as it would be sent.

        Raises Refused and Problem as the order itself would.
        """
        return self._intents.with_key(registration, lambda current: self._try_out(caller, current, order))

    def _try_out(self, caller: Caller, registration: Registration, order: NewOrder) -> dict[str, Any]:
        note_request(order)
        check_enabled(registration)
        check_frozen(caller.account)
        with self._registry.open(registration) as exchange:
            order = order_with_common_names(exchange, order)
            self._store.atomic(self._policy.admit(caller, registration, exchange, order).check)
            return try_order(exchange, order)

    def orders(
        self, registration: Registration, which: str, limit: int, before: int | None, *, seconds: float = inf
    ) -> list[dict[str, Any]]:
        """Return the orders of a registration, newest first; open ones as the exchange reports them now, within so many
        seconds.

        With `which` "open", orders that were not placed through this server are listed too, without an id.
        """
        if which != "open":
            return self._store.orders.rows(registration.id, _STATUSES[which], limit, before, ORDER_FIELDS)
        rows = self._store.orders.rows(registration.id, _STATUSES[which], limit, before)
        with self._registry.open(registration, seconds=seconds) as exchange:
            # Elsewhere one list costs less than a question about each order; here it may have thousands.
            listed = {} if exchange.answers_at_once else _open_orders(exchange, rows)
            unlisted = [row for row in rows if row["exchange_order_id"] not in listed and registration.can_see(row)]
            states = listed | read_orders(exchange, unlisted)
            mine = [self._with_state(row, states.pop(row["exchange_order_id"], None)) for row in rows]
            known = [row_to_json(row, ORDER_FIELDS) for row in mine if row["status"] == "open"]
            left = 0 if before else limit - len(known)
            if left and exchange.answers_at_once:
                ours = {row["exchange_order_id"] for row in rows}
                states = {id: state for id, state in _open_orders(exchange, rows).items() if id not in ours}
        return known + [foreign_order_to_json(state) for state in islice(states.values(), left)]

    def order(self, registration: Registration, id: int) -> dict[str, Any]:
        """Return one order, as the exchange reports it now when it is open. Raises Problem 404.

        Where the exchange has no call for that, or does not list it yet, it is as the journal has it.
        """
        row = find_row(self._store.orders, registration, id)
        if row["status"] == "open" and registration.can_see(row):
            with self._registry.open(registration) as exchange, suppress(NotListedYet, Unsupported):
                row = refresh_order(self._store.orders, exchange, row)
        return row_to_json(row, ORDER_FIELDS)

    def order_by_key(self, registration: Registration, key: str) -> StoredAnswer:
        """Return what became of an order by its key. Raises Problem 404 `no_such_key`, or 409 while it runs."""
        return self._by_key(registration, self._store.orders, key, ORDER_FIELDS)

    def cancel(self, caller: Caller, registration: Registration, id: int) -> dict[str, Any]:
        """Cancel an order; return the order as it is then, which may be filled. Raises Problem 404 or 409, and
        what the cancel itself raises.

        Once its exchange took the cancel, nothing that fails afterwards is the answer. Where the order cannot be read
        then, it is "canceled" if its exchange never shows it, and `open` until the next read if it could not do so now.
        """
        row = find_row(self._store.orders, registration, id)
        check_known(row)
        if row["status"] == "open":
            check_own(row, registration)
            try:
                with self._registry.open(registration, Priority.CANCEL) as exchange:
                    row = cancel_order(self._store.orders, exchange, row)
                log_cancel(row)
            finally:
                # Also when it failed: the exchange may have taken it.
                add_cancel(self._store.audit, caller, registration, id)
        return row_to_json(row, ORDER_FIELDS)

    def cancel_all(self, caller: Caller, registration: Registration) -> dict[str, Any]:
        """Cancel every open order of this exchange key, also those not placed here; return how many there were."""
        try:
            count = self.cancel_open_orders(registration)
            log_cancel_all(count)
            return {"canceled": count}
        finally:
            # Also when it failed: the exchange may have taken it.
            add_cancel(self._store.audit, caller, registration)

    def cancel_open_orders(self, registration: Registration) -> int:
        """Cancel every open order of this exchange key, as `cancel_all` does; the audit says nothing of it."""
        with self._registry.open(registration, Priority.CANCEL) as exchange:
            began = now()
            count = exchange.cancel_all()
            rows = self._store.orders.rows(registration.id, ("open",), 500, None)
            # One that was begun later may have been placed with another key, of another account.
            mine = [row for row in rows if row["created"] <= began and registration.can_see(row)]
            refresh_after_cancel_all(self._store.orders, exchange, mine)
        return count

    def withdrawals(self, registration: Registration, limit: int, before: int | None) -> list[dict[str, Any]]:
        """Return the withdrawals of a registration, newest first; pending ones as the exchange reports them now."""
        page = (registration.id, _STATUSES["all"], limit, before)
        shown = self._store.withdrawals.rows(*page, WITHDRAWAL_FIELDS)
        if not any(row["status"] == "pending" for row in shown):
            return shown
        rows = self._store.withdrawals.rows(*page)
        with self._registry.open(registration) as exchange, suppress(Unsupported):
            rows = refresh_withdrawals(self._store.withdrawals, exchange, rows, None)
        return [row_to_json(row, WITHDRAWAL_FIELDS) for row in rows]

    def withdrawal_by_key(self, registration: Registration, key: str) -> StoredAnswer:
        """Return what became of a withdrawal by its key. Raises Problem 404 `no_such_key`, or 409 while it runs."""
        return self._by_key(registration, self._store.withdrawals, key, WITHDRAWAL_FIELDS)

    def _by_key(self, registration: Registration, journal: Journal, key: str, names: tuple[str, ...]) -> StoredAnswer:
        known = journal.by_key(registration.id, key)
        if in_use(known) is None:
            self._missing_history.check_key(registration, journal, key, known)
        row = check_key(known)
        return key_answer(self._repeats.as_now(registration, journal, row), names)

    def _with_state(self, row: Row, state: OrderState | None) -> Row:
        """Return the row of an open order with what its exchange reports; as it is when that is None."""
        return row if state is None else write_state(self._store.orders, row, state)


def _open_orders(exchange: Exchange, rows: Iterable[Row]) -> dict[str, OrderState]:
    """Return all open orders by their ids; where the exchange lists one market at a time, those in the markets of
    `rows`.
    """
    pairs = sorted({(row["currency"], row["asset"]) for row in rows})
    try:
        return {state.exchange_order_id: state for state in exchange.open_orders_in(pairs)}
    except Unsupported:
        return {}
