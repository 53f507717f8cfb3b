"""Amendments: an open limit order gets another price or amount, by an order that takes its place.

Where the exchange amends in place (`Exchange.amend`), the new row is the same order there: once that is known, the row
before ends in the same transaction, and has filled nothing, because the exchange counts its fills on.

Elsewhere one row of the journal is the intent of two steps. The order before is canceled first, and the new one is
placed only when it is certain that this cancel ended it and how much of it was filled; so there are never two. A step
that fails in between leaves the order before canceled and none in its place, and the answer says so.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.capabilities import supports
from ..exchanges.errors import ExchangeError, Refused, Unsupported
from ..exchanges.models import ORDER_FIELDS, NewOrder
from ..exchanges.rules import check
from ..money import EXACT, exact, plain
from .call_log import note
from .db.records import Caller, Registration, in_use
from .db.store import Store
from .freeze import check_frozen
from .intents import Begun, Intents, Replacement
from .order_rows import check_known, check_own, find_row
from .order_views import StoredAnswer, check_repeat, order_columns, order_ref, repeated_answer
from .places import read_market
from .policy import LastLook, Policy, check_enabled
from .problems import Problem, log_failure
from .rate_limiter import Priority
from .refresh import cancel_to_replace, not_amended, refresh_order
from .registry import ExchangeRegistry
from .repeats import Repeats

__all__ = ["Amendment", "Amendments"]

_log = logging.getLogger(__name__)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Amendment:
    """What an order is to have; None: what it has. `amount`: in all, with what was filled of it before."""

    order: int
    price: Decimal | None
    amount: Decimal | None

    def fingerprint(self) -> str:
        """Return what a repeat with the same key must have in common with the first call."""
        fields = (self.order, *(None if value is None else plain(value) for value in (self.price, self.amount)))
        return hashlib.sha256(json.dumps(["amend", *fields]).encode()).hexdigest()


class Amendments:
    """Amends orders, each amendment once."""

    def __init__(
        self, store: Store, registry: ExchangeRegistry, policy: Policy, intents: Intents, repeats: Repeats
    ) -> None:
        self._store = store
        self._registry = registry
        self._policy = policy
        self._intents = intents
        self._repeats = repeats

    def amend(self, caller: Caller, registration: Registration, change: Amendment, key: str | None) -> StoredAnswer:
        """Return the order that takes the place of another one, or why there is none."""
        return self._intents.with_key(registration, lambda current: self._once(caller, current, change, key))

    def _once(self, caller: Caller, registration: Registration, change: Amendment, key: str | None) -> StoredAnswer:
        note(amends=change.order)
        known = None if key is None else self._store.orders.by_key(registration.id, key)
        if used := in_use(known):
            return self._repeat(registration, change, used)
        return self._repeats.unless_begun(
            *(self._store.orders, registration, key),
            partial(self._carry_out, caller, registration, change, key, known),
            partial(self._repeat, registration, change),
        )

    def _carry_out(
        self, caller: Caller, registration: Registration, change: Amendment, key: str | None, known: Row | None
    ) -> StoredAnswer:
        """Amend an order with a key that has no row, or the released one `known`."""
        check_enabled(registration)
        check_frozen(caller.account)
        row = self._open_row(registration, change.order)
        order = _amended(row, change)
        confirm = LastLook(self._policy, caller, registration)
        with self._registry.open(registration, Priority.ORDER, check=confirm) as exchange:
            if change.amount is not None:
                # What is filled now may leave nothing of it.
                row = _still_open(refresh_order(self._store.orders, exchange, row))
            _check_possible(exchange, order, filled=exact(row["filled"] or "0"))
            replacement = self._replacement(registration, row, change, in_place=_amends_in_place(exchange))
            answer = self._intents.execute(
                *(caller, registration, exchange, order, key, known, confirm), replacement=replacement
            )
        return self._repeat(registration, change, answer.row) if isinstance(answer, Begun) else answer

    def _replacement(self, registration: Registration, row: Row, change: Amendment, *, in_place: bool) -> Replacement:
        """Return how the open order of `row` is replaced."""
        kept = {"replaces": row["id"]} | ({"exchange_order_id": row["exchange_order_id"]} if in_place else {})
        return Replacement(
            change.fingerprint(),
            kept,
            partial(self._check_not_replaced, registration, row["id"]),
            partial(_amend_in_place, row) if in_place else partial(self._replace, row),
            row["client_id"] if in_place else None,
        )

    def _repeat(self, registration: Registration, change: Amendment, row: Row) -> StoredAnswer:
        check_repeat(row, change.fingerprint())
        return repeated_answer(self._repeats.as_now(registration, self._store.orders, row), ORDER_FIELDS)

    def _open_row(self, registration: Registration, id: int) -> Row:
        """Return the row of an open limit order. Raises Problem for any other."""
        row = find_row(self._store.orders, registration, id)
        check_known(row)
        _still_open(row)
        check_own(row, registration)
        if row["type"] != "limit" or row["stop"] is not None:
            raise Problem(
                422, "unsupported", "only an order with a price, and no stop, can be amended; nothing was sent"
            )
        return row

    def _check_not_replaced(self, registration: Registration, id: int) -> None:
        """Raise Problem when another amendment of an order has begun, and was not refused; within its write."""
        if other := self._store.orders.replacement(registration.id, id):
            raise Problem(
                422, "order_not_open", f"order {id} is being amended, or was, by order {other}; nothing was sent"
            )

    def _replace(self, row: Row, exchange: Exchange, order: NewOrder, intent: Row) -> Row:
        """Cancel the order of `row`, place what is left of `order` in its place, and return the columns of that.

        `intent`, the row of the new order, gets that amount before the order is placed. Raises Refused, also where
        something may have become of the cancel; Unknown only for the new order.
        """
        over = cancel_to_replace(self._store.orders, exchange, row)
        wanted, filled = order.amount or Decimal(0), exact(over["filled"])
        rest = EXACT.subtract(wanted, filled)
        if rest <= 0:
            raise not_amended(row, f"{plain(filled)} {order.asset} of it were filled, so nothing is left to be ordered")
        try:
            intent |= self._store.orders.set_amount(intent, plain(rest))
        except Exception as error:
            log_failure(_log, error, f"the amount of order {intent['id']} cannot be written")
            raise not_amended(row, "what was left of it could not be written") from error
        try:
            return order_columns(exchange.place(replace(order, amount=rest)))
        except ExchangeError as error:
            if error.may_have_executed:
                raise
            raise not_amended(row, str(error)) from error


def _amends_in_place(exchange: Exchange) -> bool:
    return "amend" in supports(type(exchange))


def _amend_in_place(row: Row, exchange: Exchange, order: NewOrder, _intent: Row) -> Row:
    """Amend the order of `row`, and return the columns of the new one."""
    return order_columns(exchange.amend(order_ref(row), order))


def _still_open(row: Row) -> Row:
    """Return the row of an open order. Raises Problem for one that is over."""
    if row["status"] != "open":
        raise Problem(422, "order_not_open", f"order {row['id']} is over, so it cannot be amended; nothing was sent")
    return row


def _amended(row: Row, change: Amendment) -> NewOrder:
    """Return the order of a row with what an amendment changes. Raises Problem when that is nothing."""
    price, amount = exact(row["price"]), exact(row["amount"])
    new_price = price if change.price is None else change.price
    new_amount = amount if change.amount is None else change.amount
    if (new_price, new_amount) == (price, amount):
        raise Problem(422, "invalid_request", "nothing to change: give another price or another amount")
    return NewOrder(
        *(row["side"], row["currency"], row["asset"], ""),
        amount=new_amount,
        price=new_price,
        post_only=row["post_only"],
        time_in_force=row["time_in_force"],
        expires=None if row["expires"] is None else datetime.fromisoformat(row["expires"]),
    )


def _check_possible(exchange: Exchange, order: NewOrder, *, filled: Decimal) -> None:
    """Raise Refused before anything is sent for an order that its exchange would refuse, or that cannot be replaced."""
    can_replace = {"place", "order", "cancel"} <= set(supports(type(exchange))) and exchange.reads_closed_orders
    if not can_replace and not _amends_in_place(exchange):
        raise Unsupported(
            f"{exchange.name} does not tell what was filled of an order that is canceled, so none can take its place;"
            " nothing was sent"
        )
    rest = EXACT.subtract(order.amount or Decimal(0), filled)
    if rest <= 0:
        raise Refused(
            f"{plain(filled)} {order.asset} of it were filled already, and 'amount' counts these; nothing was sent",
            code="invalid_request",
            details={"field": "amount"},
        )
    check(replace(order, amount=rest), read_market(exchange, order.currency, order.asset))
    exchange.check_kind(order)
