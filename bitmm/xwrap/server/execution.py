"""Orders and withdrawals: commit the intent, call the exchange, commit the outcome.

The journal has the intent before the exchange hears of it, and no transaction is open while an exchange elsewhere
thinks. The same key with the same parameters gets the first answer again. What may have been executed is `unknown`
until the exchange was asked (see `reconciliation`); it is neither called a failure nor sent again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.errors import Busy, ExchangeError, Refused, Unknown, Unsupported
from ..exchanges.models import ORDER_FIELDS, WITHDRAWAL_FIELDS, Market, NewOrder, NewWithdrawal, OrderState, Withdrawal
from ..exchanges.rules import check, find_market, not_enough
from ..money import EXACT
from .db.journal import Journal
from .db.records import Registration, now
from .db.store import Store
from .order_views import (
    StoredAnswer,
    foreign_order_to_json,
    key_answer,
    order_columns,
    order_intent,
    order_ref,
    refusal_answer,
    repeated_answer,
    row_to_json,
    success_answer,
    withdrawal_columns,
    withdrawal_intent,
)
from .problems import Problem, from_exchange
from .rate_limiter import Priority
from .registry import ExchangeRegistry

__all__ = ["ExecutionService"]

_log = logging.getLogger(__name__)

_CLOSED = ("filled", "partly_filled", "canceled", "rejected", "done", "failed")
#: The statuses of rows, by what a caller may ask for.
_STATUSES = {"open": ("open",), "closed": _CLOSED, "all": ("open", *_CLOSED, "unknown", "running", "pending")}
_sorted_json = json.JSONEncoder(sort_keys=True).encode

Row = dict[str, Any]


class ExecutionService:
    """Executes what moves money, once."""

    def __init__(self, store: Store, registry: ExchangeRegistry) -> None:
        self._store = store
        self._registry = registry

    def place(self, registration: Registration, order: NewOrder, key: str | None) -> StoredAnswer:
        """Place `order` (its client id is given here); return the order, or why it was refused."""
        return self._once(registration, key, order)

    def send(self, registration: Registration, withdrawal: NewWithdrawal, key: str | None) -> StoredAnswer:
        """Send `withdrawal` (its client id is given here); return the withdrawal, or why it was refused."""
        return self._once(registration, key, withdrawal)

    def _once(self, registration: Registration, key: str | None, request: NewOrder | NewWithdrawal) -> StoredAnswer:
        """Carry out a request, unless its key was used before: then return what became of that."""
        journal, names, values = self._intent(request)
        fingerprint = hashlib.sha256(_sorted_json(values).encode()).hexdigest()
        if key is not None and (known := journal.by_key(registration.id, key)) and not known["released"]:
            # A repeat neither waits for the exchange nor needs it: "nothing was sent" would not be true of its key.
            return repeated_answer(known, names, fingerprint)
        _check_enabled(registration)
        with self._registry.open(registration, Priority.ORDER) as exchange:
            intent = journal.begin(registration.id, key, fingerprint, values)
            if not intent.is_new:
                return repeated_answer(intent.row, names, fingerprint)
            if exchange.in_process:
                # What it does and what is written about it are one transaction.
                return self._store.atomic(lambda: _execute(exchange, request, journal, names, intent.row))
            return _execute(exchange, request, journal, names, intent.row)

    def _intent(self, request: NewOrder | NewWithdrawal) -> tuple[Journal, tuple[str, ...], Row]:
        """Return the journal of a request, the public fields of its rows, and what it has of the request."""
        if isinstance(request, NewOrder):
            return self._store.orders, ORDER_FIELDS, order_intent(request)
        return self._store.withdrawals, WITHDRAWAL_FIELDS, withdrawal_intent(request)

    def try_out(self, registration: Registration, order: NewOrder) -> dict[str, Any]:
        """Make every check that can be made without placing `order`; return the order as it would be sent.

        Raises Refused as the order itself would.
        """
        _check_enabled(registration)
        with self._registry.open(registration) as exchange:
            market = _find_market(exchange, order)
            if market is not None:
                check(order, market)
            _check_funds(exchange, order)
        return dict.fromkeys(ORDER_FIELDS) | order_intent(order) | {"dry_run": True}

    def orders(self, registration: Registration, which: str, limit: int, before: int | None) -> list[dict[str, Any]]:
        """Return the orders of a registration, newest first; open ones as the exchange reports them now.

        With `which` "open", orders that were not placed through this server are listed too, without an id.
        """
        rows = self._store.orders.rows(registration.id, _STATUSES[which], limit, before)
        if which != "open":
            return [row_to_json(row, ORDER_FIELDS) for row in rows]
        with self._registry.open(registration) as exchange:
            states = {state.exchange_order_id: state for state in _open_orders(exchange)}
            mine = [self._refreshed(exchange, row, states.pop(row["exchange_order_id"], None)) for row in rows]
        known = [row_to_json(row, ORDER_FIELDS) for row in mine if row["status"] == "open"]
        foreign = [] if before else [foreign_order_to_json(state) for state in states.values()]
        return (known + foreign)[:limit]

    def order(self, registration: Registration, id: int) -> dict[str, Any]:
        """Return one order, as the exchange reports it now when it is open. Raises Problem 404."""
        row = self._row(registration, id)
        if row["status"] == "open":
            with self._registry.open(registration) as exchange:
                row = self._refreshed(exchange, row)
        return row_to_json(row, ORDER_FIELDS)

    def order_by_key(self, registration: Registration, key: str) -> StoredAnswer:
        """Return what became of an order by its key. Raises Problem 404 `no_such_key`, or 409 while it runs."""
        return key_answer(self._store.orders.by_key(registration.id, key), ORDER_FIELDS)

    def cancel(self, registration: Registration, id: int) -> dict[str, Any]:
        """Cancel an order; return the order as it is then, which may be filled. Raises Problem 404, 409 or Unknown."""
        row = self._row(registration, id)
        if row["status"] in {"running", "unknown"}:
            raise Problem(
                409, "outcome_unknown", "nobody knows yet whether this order exists; ask again", retryable=True
            )
        if row["status"] == "open":
            with self._registry.open(registration, Priority.CANCEL) as exchange:
                row = self._canceled(exchange, row)
        return row_to_json(row, ORDER_FIELDS)

    def cancel_all(self, registration: Registration) -> dict[str, Any]:
        """Cancel every open order of this exchange key, also those not placed here; return how many there were."""
        with self._registry.open(registration, Priority.CANCEL) as exchange:
            count = exchange.cancel_all()
            # They were canceled; where their states cannot all be read now, the next read will show them.
            with suppress(Busy):
                for row in self._store.orders.rows(registration.id, ("open",), 500, None):
                    self._refreshed(exchange, row)
        return {"canceled": count}

    def withdrawals(self, registration: Registration, limit: int, before: int | None) -> list[dict[str, Any]]:
        """Return the withdrawals of a registration, newest first; pending ones as the exchange reports them now."""
        rows = self._store.withdrawals.rows(registration.id, _STATUSES["all"], limit, before)
        if any(row["status"] == "pending" for row in rows):
            with self._registry.open(registration) as exchange:
                reported = {withdrawal.id: withdrawal for withdrawal in _withdrawals(exchange)}
            rows = [self._completed(row, reported.get(row["exchange_withdrawal_id"])) for row in rows]
        return [row_to_json(row, WITHDRAWAL_FIELDS) for row in rows]

    def withdrawal_by_key(self, registration: Registration, key: str) -> StoredAnswer:
        """Return what became of a withdrawal by its key. Raises Problem 404 `no_such_key`, or 409 while it runs."""
        return key_answer(self._store.withdrawals.by_key(registration.id, key), WITHDRAWAL_FIELDS)

    def _row(self, registration: Registration, id: int) -> Row:
        row = self._store.orders.get(registration.id, id)
        if row is None:
            raise Problem(404, "order_not_found", "no such order")
        return row

    def _canceled(self, exchange: Exchange, row: Row) -> Row:
        """Return the row after its order was canceled, or was over already."""
        try:
            exchange.cancel(order_ref(row))
        except Refused as error:
            if error.code != "order_not_open":
                raise
            return self._refreshed(exchange, row)
        try:
            state = exchange.order(order_ref(row))
        except Busy:
            return row  # it was canceled; only its state cannot be read yet
        if state.status == "unknown":
            # Some exchanges forget an order that is gone; this one is, because they said so just now.
            state = replace(state, status="canceled")
        return self._refreshed(exchange, row, state)

    def _refreshed(self, exchange: Exchange, row: Row, state: OrderState | None = None) -> Row:
        """Return the row with what the exchange reports of its order now, after what is new was written."""
        columns = order_columns(state or exchange.order(order_ref(row)))
        if all(row[name] == value for name, value in columns.items()):
            return row
        columns["updated"] = now()
        self._store.orders.change(row["id"], columns)
        return row | columns

    def _completed(self, row: Row, withdrawal: Withdrawal | None) -> Row:
        """Return the row of a pending withdrawal, after it was written that its exchange reports it done or failed."""
        if row["status"] != "pending" or withdrawal is None or withdrawal.status not in {"done", "failed"}:
            return row
        columns = {**withdrawal_columns(withdrawal), "updated": now()}
        self._store.withdrawals.change(row["id"], columns)
        return row | columns


def _execute(
    exchange: Exchange, request: NewOrder | NewWithdrawal, journal: Journal, names: tuple[str, ...], intent: Row
) -> StoredAnswer:
    """Carry out an intent: call the exchange, and commit the outcome."""
    columns, problem = _call(exchange, replace(request, client_id=intent["client_id"]))
    columns["updated"] = now()
    row = {**intent, **columns}
    answer = success_answer(row, names) if problem is None else refusal_answer(row, problem)
    if columns["status"] != "unknown":
        columns |= {"answer_status": answer.status, "answer": answer.text}
    try:
        committed = journal.finish(intent, columns)
    except Exception as error:
        _log.exception("the outcome of %s could not be committed", row["key"])
        raise _not_committed() from error
    if not committed:
        _log.critical("%s ended (%s) after it was given up and executed again", row["key"], columns["status"])
        raise _not_committed()
    return answer


def _call(exchange: Exchange, request: NewOrder | NewWithdrawal) -> tuple[Row, Problem | None]:
    """Return the columns of the outcome, and the problem to answer with when it was refused."""
    try:
        if isinstance(request, NewOrder):
            return order_columns(exchange.place(request)), None
        return withdrawal_columns(exchange.withdraw(request)), None
    except Unknown as error:
        _log.warning("outcome unknown: %s", error)
        return {"status": "unknown"}, None
    except ExchangeError as error:
        return {"status": "rejected", "released": error.retryable}, from_exchange(error)
    except Exception:
        _log.exception("the exchange's adapter failed; the outcome is unknown")
        return {"status": "unknown"}, None


def _not_committed() -> Problem:
    return Problem(500, "server_error", "the outcome could not be kept; ask again", may_have_executed=True)


def _check_enabled(registration: Registration) -> None:
    if not registration.enabled:
        raise Problem(403, "registration_disabled", "this registration is switched off; nothing was sent")


def _find_market(exchange: Exchange, order: NewOrder) -> Market | None:
    """Return the rules of the order's market; None when the exchange does not publish any. Raises Refused."""
    try:
        markets = exchange.markets()
    except Unsupported:
        return None
    offered = {(market.currency, market.asset): market for market in markets}
    return find_market(exchange.name, order.currency, order.asset, offered)


def _check_funds(exchange: Exchange, order: NewOrder) -> None:
    """Raise Refused when an order is not covered, fees left aside; where funds cannot be read, nothing is checked."""
    if order.side == "sell":
        name, needed = order.asset, order.amount
    elif order.cost is not None:
        name, needed = order.currency, order.cost
    else:
        price = order.price or exchange.rate(order.currency, order.asset).buy
        name, needed = order.currency, EXACT.multiply(order.amount or Decimal(0), price)
    try:
        there = exchange.funds().get(name)
    except Unsupported:
        return
    available = there.available if there else Decimal(0)
    if available is not None and needed is not None and available < needed:
        raise not_enough(name, needed=needed, available=available)


def _open_orders(exchange: Exchange) -> list[OrderState]:
    try:
        return exchange.open_orders()
    except Unsupported:
        return []


def _withdrawals(exchange: Exchange) -> list[Withdrawal]:
    try:
        return exchange.withdrawals()
    except Unsupported:
        return []
