"""Orders and sends: commit the intent, call the exchange, commit the outcome.

The journal has the intent before the exchange hears of it, and no transaction is open while the exchange thinks. The
same key with the same parameters gets the first answer again. What may have been executed is `unknown` until the
exchange was asked (see `reconciliation`); it is neither called a failure nor sent again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.errors import Busy, ExchangeError, Refused, Unknown, Unsupported
from ..exchanges.models import NewOrder, NewWithdrawal, OrderRef, OrderState, Withdrawal
from ..exchanges.rules import check, no_such_market
from ..money import EXACT, exact, plain
from .db.journal import Journal
from .db.records import Registration, now
from .db.store import Store
from .problems import Problem, from_exchange
from .rate_limiter import Priority
from .registry import ExchangeRegistry

__all__ = ["ExecutionService", "StoredAnswer", "order_columns", "reference", "withdrawal_columns"]

_log = logging.getLogger(__name__)

_ORDER = (
    "id key exchange_order_id side type currency asset amount price cost status filled average spent fee fee_currency"
    " created updated"
).split()
_WITHDRAWAL = "id key asset amount fee address tag network txid status created".split()
_STATUSES = {
    "open": ("open",),
    "closed": ("filled", "partly_filled", "canceled", "rejected", "done", "failed"),
    "all": ("open filled partly_filled canceled rejected unknown running pending done failed".split()),
}
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_sorted = json.JSONEncoder(sort_keys=True).encode


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What the caller is told: `text` is JSON, and byte for byte the same when it is told again."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


class ExecutionService:
    """Carries out what moves money, once."""

    def __init__(self, store: Store, registry: ExchangeRegistry) -> None:
        self._store = store
        self._registry = registry

    # --- orders -------------------------------------------------------------------------------------------------------

    def place(self, registration: Registration, order: NewOrder, key: str | None) -> StoredAnswer:
        """Place `order` (its client id is given here); the answer is the order, or why nothing was placed."""

        def act(exchange: Exchange, client_id: str) -> dict[str, Any]:
            return order_columns(exchange.place(replace(order, client_id=client_id)))

        return self._once(self._store.orders, _ORDER, registration, key, _intended(order), act)

    def try_out(self, registration: Registration, order: NewOrder) -> dict[str, Any]:
        """Every check that can be made of `order` without placing it; the order as it would be sent.

        Raises Refused like the order itself would be.
        """
        _check_enabled(registration)
        with self._registry.open(registration) as exchange:
            market = _market(exchange, order)
            if market is not None:
                check(order, market)
            _check_funds(exchange, order)
        return dict.fromkeys(_ORDER) | _intended(order) | {"dry_run": True}

    def orders(self, registration: Registration, which: str, limit: int, before: int | None) -> list[dict[str, Any]]:
        """The orders of a registration, newest first; open ones as the exchange tells them now.

        With `which` "open", orders that were not placed through this server are listed too, without an id.
        """
        journal = self._store.orders
        if which != "open":
            return [_told(row, _ORDER) for row in journal.rows(registration.id, _STATUSES[which], limit, before)]
        rows = journal.rows(registration.id, ("open",), limit, before)
        with self._registry.open(registration) as exchange:
            states = {state.exchange_order_id: state for state in _open_orders(exchange)}
            mine = [self._refreshed(exchange, row, states.pop(row["exchange_order_id"], None)) for row in rows]
        known = [_told(row, _ORDER) for row in mine if row["status"] == "open"]
        foreign = [] if before else [_foreign(state) for state in states.values()]
        return (known + foreign)[:limit]

    def order(self, registration: Registration, id: int) -> dict[str, Any]:
        """One order, as the exchange tells it now when it is open. Raises Problem 404."""
        row = self._row(registration, id)
        if row["status"] == "open":
            with self._registry.open(registration) as exchange:
                row = self._refreshed(exchange, row)
        return _told(row, _ORDER)

    def cancel(self, registration: Registration, id: int) -> dict[str, Any]:
        """Cancel an order; the order as it is then, which may be filled. Raises Problem 404, 409 or Unknown."""
        row = self._row(registration, id)
        if row["status"] in {"running", "unknown"}:
            raise Problem(
                409, "outcome_unknown", "nobody knows yet whether this order exists; ask again", retryable=True
            )
        if row["status"] == "open":
            with self._registry.open(registration, Priority.CANCEL) as exchange:
                row = self._canceled(exchange, row)
        return _told(row, _ORDER)

    def cancel_all(self, registration: Registration) -> dict[str, Any]:
        """Cancel every open order of this exchange key, also those not placed here; how many there were."""
        with self._registry.open(registration, Priority.CANCEL) as exchange:
            count = exchange.cancel_all()
            # They were canceled; where their states cannot all be read now, the next look tells them.
            with suppress(Busy):
                for row in self._store.orders.rows(registration.id, ("open",), 500, None):
                    self._refreshed(exchange, row)
        return {"canceled": count}

    def order_by_key(self, registration: Registration, key: str) -> StoredAnswer:
        """What became of the order with this key. Raises Problem 404 `no_such_key` when nothing was placed with it."""
        return _found(self._store.orders, _ORDER, registration, key)

    def _row(self, registration: Registration, id: int) -> dict[str, Any]:
        row = self._store.orders.get(registration.id, id)
        if row is None:
            raise Problem(404, "order_not_found", "no such order")
        return row

    def _canceled(self, exchange: Exchange, row: dict[str, Any]) -> dict[str, Any]:
        """The row after its order was canceled, or was over already."""
        try:
            exchange.cancel(reference(row))
        except Refused as error:
            if error.code != "order_not_open":
                raise
            return self._refreshed(exchange, row)
        try:
            state = exchange.order(reference(row))
        except Busy:
            return row  # it was canceled; only its state cannot be read yet
        # Some exchanges forget an order that is gone; this one is, because they said so just now.
        return self._refreshed(exchange, row, replace(state, status="canceled") if state.status == "unknown" else state)

    def _refreshed(self, exchange: Exchange, row: dict[str, Any], state: OrderState | None = None) -> dict[str, Any]:
        """The row with what the exchange tells of its order now; kept, when that is something new."""
        columns = order_columns(state or exchange.order(reference(row)))
        if all(row[name] == value for name, value in columns.items()):
            return row
        columns["updated"] = now()
        self._store.orders.change(row["id"], columns)
        return row | columns

    # --- sends --------------------------------------------------------------------------------------------------------

    def send(self, registration: Registration, withdrawal: NewWithdrawal, key: str | None) -> StoredAnswer:
        """Carry out `withdrawal` (its client id is given here); the answer is the withdrawal, or why nothing was
        sent.
        """
        intent = {
            "asset": withdrawal.asset,
            "amount": plain(withdrawal.amount),
            "address": withdrawal.address,
            "tag": withdrawal.tag,
            "network": withdrawal.network,
        }

        def act(exchange: Exchange, client_id: str) -> dict[str, Any]:
            return withdrawal_columns(exchange.withdraw(replace(withdrawal, client_id=client_id)))

        return self._once(self._store.withdrawals, _WITHDRAWAL, registration, key, intent, act)

    def withdrawals(self, registration: Registration, limit: int, before: int | None) -> list[dict[str, Any]]:
        """The sends of a registration, newest first; pending ones as the exchange tells them now, where it does."""
        rows = self._store.withdrawals.rows(registration.id, _STATUSES["all"], limit, before)
        if any(row["status"] == "pending" for row in rows):
            with self._registry.open(registration) as exchange:
                sends = {sent.id: sent for sent in _sends(exchange)}
            rows = [self._brought_up(row, sends.get(row["exchange_withdrawal_id"])) for row in rows]
        return [_told(row, _WITHDRAWAL) for row in rows]

    def _brought_up(self, row: dict[str, Any], sent: Withdrawal | None) -> dict[str, Any]:
        if row["status"] != "pending" or sent is None or sent.status not in {"done", "failed"}:
            return row
        columns = {**withdrawal_columns(sent), "updated": now()}
        self._store.withdrawals.change(row["id"], columns)
        return row | columns

    def withdrawal_by_key(self, registration: Registration, key: str) -> StoredAnswer:
        """What became of the send with this key. Raises Problem 404 `no_such_key` when nothing was sent with it."""
        return _found(self._store.withdrawals, _WITHDRAWAL, registration, key)

    # --- once ---------------------------------------------------------------------------------------------------------

    def _once(
        self,
        journal: Journal,
        names: list[str],
        registration: Registration,
        key: str | None,
        values: dict[str, str | None],
        act: Callable[[Exchange, str], dict[str, Any]],
    ) -> StoredAnswer:
        fingerprint = hashlib.sha256(_sorted(values).encode()).hexdigest()
        if key is not None and (known := journal.by_key(registration.id, key)) and not known["released"]:
            # A repeat neither waits for the exchange nor needs it: "nothing was sent" would not be true of its key.
            return _again(known, fingerprint, names)
        _check_enabled(registration)
        with self._registry.open(registration, Priority.ORDER) as exchange:
            intent = journal.begin(registration.id, key, fingerprint, values)
            if not intent.is_new:
                return _again(intent.row, fingerprint, names)
            conclude = partial(_conclude, journal, names, intent.row, partial(act, exchange, intent.row["client_id"]))
            return self._store.atomic(conclude) if exchange.in_process else conclude()


# --- between exchanges and the journal --------------------------------------------------------------------------------


def _intended(order: NewOrder) -> dict[str, Any]:
    """What the journal keeps of an order before its exchange hears of it."""
    return {
        "side": order.side,
        "type": "market" if order.price is None else "limit",
        "currency": order.currency,
        "asset": order.asset,
        "amount": _text(order.amount),
        "price": _text(order.price),
        "cost": _text(order.cost),
    }


def order_columns(state: OrderState) -> dict[str, Any]:
    """What the journal keeps of what an exchange tells of an order."""
    names = ("exchange_order_id", "status", "filled", "average", "spent", "fee", "fee_currency")
    return {name: _text_or(getattr(state, name)) for name in names}


def withdrawal_columns(sent: Withdrawal) -> dict[str, Any]:
    """What the journal keeps of what an exchange tells of a send."""
    told = {name: _text_or(getattr(sent, name)) for name in ("status", "fee", "txid")}
    return {"exchange_withdrawal_id": sent.id, **told}


def reference(row: Mapping[str, Any]) -> OrderRef:
    """What an exchange needs to know to find the order of a row."""
    return OrderRef(
        side=row["side"],
        currency=row["currency"],
        asset=row["asset"],
        client_id=row["client_id"],
        exchange_order_id=row["exchange_order_id"],
        created=datetime.fromisoformat(row["created"]),
        amount=exact(row["amount"]) if row["amount"] else None,
        price=exact(row["price"]) if row["price"] else None,
    )


def _open_orders(exchange: Exchange) -> list[OrderState]:
    try:
        return exchange.open_orders()
    except Unsupported:
        return []


def _sends(exchange: Exchange) -> list[Withdrawal]:
    try:
        return exchange.withdrawals()
    except Unsupported:
        return []


def _market(exchange: Exchange, order: NewOrder) -> Any:
    """The rules of the order's market; None when the exchange does not tell any."""
    try:
        markets = exchange.markets()
    except Unsupported:
        return None
    for market in markets:
        if (market.currency, market.asset) == (order.currency, order.asset):
            return market
    raise no_such_market(
        exchange.name, order.currency, order.asset, ((market.currency, market.asset) for market in markets)
    )


def _check_funds(exchange: Exchange, order: NewOrder) -> None:
    """Refuses an order that is not covered, fees left aside; an exchange that does not tell is not asked twice."""
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
        words = f"not enough {name}: {plain(needed)} needed, {plain(available)} available"
        raise Refused(words, code="insufficient_funds")


def _check_enabled(registration: Registration) -> None:
    if not registration.enabled:
        raise Problem(403, "registration_disabled", "this registration is switched off; nothing was sent")


def _conclude(
    journal: Journal, names: list[str], intent: dict[str, Any], act: Callable[[], dict[str, Any]]
) -> StoredAnswer:
    """Carry out an intent, and commit what became of it."""
    columns, problem = _carry_out(act)
    columns["updated"] = now()
    row = {**intent, **columns}
    answer = _success(row, names) if problem is None else _failure(row, problem)
    if columns["status"] != "unknown":
        columns |= {"answer_status": answer.status, "answer": answer.text}
    try:
        kept = journal.finish(intent, columns)
    except Exception as error:
        _log.exception("the outcome of %s could not be kept", row["key"])
        raise _not_kept() from error
    if not kept:
        _log.critical(
            "%s came to its end (%s) after it was taken for lost and tried anew", row["key"], columns["status"]
        )
        raise _not_kept()
    return answer


def _carry_out(act: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], Problem | None]:
    """What to write into the journal, and the problem to tell when it was refused."""
    try:
        return act(), None
    except Unknown as error:
        _log.warning("outcome unknown: %s", error)
        return {"status": "unknown"}, None
    except ExchangeError as error:
        return {"status": "rejected", "released": error.retryable}, from_exchange(error)
    except Exception:
        _log.exception("the exchange's adapter failed; the outcome is unknown")
        return {"status": "unknown"}, None


# --- between the journal and the caller -------------------------------------------------------------------------------


def _told(row: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    told = {name: row[name] for name in names}
    # To everybody but a repeat with its key, a call that is running is one whose outcome is unknown.
    return told | {"status": "unknown"} if row["status"] == "running" else told


def _foreign(state: OrderState) -> dict[str, Any]:
    told = {name: _text_or(getattr(state, name, None)) for name in _ORDER}
    created = state.created and state.created.isoformat().replace("+00:00", "Z")
    return told | {"type": "limit" if state.price is not None else "market", "created": created}


def _success(row: Mapping[str, Any], names: list[str]) -> StoredAnswer:
    return StoredAnswer(202 if row["status"] == "unknown" else 200, _dumps(_told(row, names)))


def _failure(row: Mapping[str, Any], problem: Problem) -> StoredAnswer:
    return StoredAnswer(problem.status, _dumps(problem.body | {"key": row["key"]}), problem.headers)


def _again(row: Mapping[str, Any], fingerprint: str, names: list[str]) -> StoredAnswer:
    if row["fingerprint"] != fingerprint:
        raise Problem(422, "key_reused", "this Idempotency-Key was used with other parameters; nothing was sent")
    if row["status"] == "running":
        raise _still_running()
    answer = _success(row, names) if row["answer"] is None else StoredAnswer(row["answer_status"], row["answer"])
    return replace(answer, headers={"Idempotent-Replayed": "true"})


def _found(journal: Journal, names: list[str], registration: Registration, key: str) -> StoredAnswer:
    row = journal.by_key(registration.id, key)
    if row is None or row["released"]:
        raise Problem(404, "no_such_key", "nothing was executed with this key")
    if row["status"] == "running":
        raise _still_running()
    if row["status"] == "rejected":
        return StoredAnswer(200, _dumps(_told(row, names) | {"error": json.loads(row["answer"])}))
    return _success(row, names)


def _not_kept() -> Problem:
    return Problem(500, "server_error", "the outcome could not be kept; ask again", may_have_executed=True)


def _still_running() -> Problem:
    return Problem(
        409,
        "still_running",
        "the call with this key is still running; ask again",
        retryable=True,
        may_have_executed=True,
        headers={"Retry-After": "1"},
    )


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _text_or(value: Any) -> Any:
    return plain(value) if isinstance(value, Decimal) else value
