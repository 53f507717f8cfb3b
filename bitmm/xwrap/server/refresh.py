"""Rows of open orders and pending sends, brought up to what their exchange reports now.

What cannot be read now stays as the journal has it, until the next question: one order that its exchange cannot show
hides no other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.capabilities import supports
from ..exchanges.conditions import with_reason
from ..exchanges.errors import ExchangeError, Refused
from ..exchanges.models import OrderState, Withdrawal
from ..exchanges.orders import poll
from .db.journal import Journal
from .order_views import order_columns, order_ref, withdrawal_columns
from .problems import log_failure

__all__ = [
    "IN_FLIGHT",
    "cancel_order",
    "cancel_to_replace",
    "not_amended",
    "read_orders",
    "refresh_after_cancel_all",
    "refresh_order",
    "refresh_withdrawals",
    "write_state",
]

_log = logging.getLogger(__name__)

#: What is known of an order that its exchange does not show any more: after it took its cancel, or because it is over.
_CANCELED = OrderState("", "canceled", reason="its exchange does not say how much of it was filled before")
_OVER = OrderState("", "closed", reason="it is over; its exchange does not say whether it was filled or canceled")

#: The statuses of rows that may change at their exchange.
IN_FLIGHT = ("open", "pending")

Row = dict[str, Any]


def refresh_order(journal: Journal, exchange: Exchange, row: Row) -> Row:
    """Return the row of an open order as its exchange reports it now. Raises what the exchange raises."""
    return write_state(journal, row, exchange.order(order_ref(row)))


def write_state(journal: Journal, row: Row, state: OrderState) -> Row:
    """Return the row of an open order with what its exchange reports, after what is new was written.

    That the order stands was known before: an exchange that cannot say more changes nothing.
    """
    if state.status == "unknown":
        return row
    return _write(journal, row, order_columns(with_reason(state, row["time_in_force"])))


def read_orders(exchange: Exchange, rows: Iterable[Row]) -> dict[str, OrderState]:
    """Return the states of the orders of `rows` by the exchange's id, without those that cannot be read now."""
    refs = [order_ref(row) for row in rows if row["exchange_order_id"] is not None]
    if not refs:
        return {}
    try:
        return exchange.read_orders(refs)
    except Exception as error:
        log_failure(_log, error, f"{len(refs)} open orders of {exchange.id} cannot be read now")
    return {}


def cancel_order(journal: Journal, exchange: Exchange, row: Row) -> Row:
    """Cancel the open order of a row; return the row as it is then. Raises what the cancel itself raises.

    Once its exchange took the cancel, no failure to read the order is the answer: it stays open, with a `reason`, until
    it can be read.
    """
    try:
        exchange.cancel(order_ref(row))
    except ExchangeError as error:
        if error.may_have_executed:
            # The answer was lost, or was a refusal as a second delivery gets it. If the cancel worked, it is over.
            if (state := _read_final(exchange, row)) is None:
                raise
            return _write_over(journal, row, state)
        if error.code != "order_not_open" or (state := _read_over(exchange, row, _OVER)) is None:
            raise
        if state.status == "unknown":
            state = replace(_OVER, exchange_order_id=row["exchange_order_id"])
        return _write_over(journal, row, state)
    if (state := _read_over(exchange, row, _CANCELED)) is None:
        return row | {"reason": "its exchange took the cancel; what became of it cannot be read now"}
    if state.status in {"unknown", "closed"}:
        # Some exchanges forget an order that is gone; this one is, because they said so just now.
        state = replace(state, status="canceled", reason=_CANCELED.reason if state.filled is None else None)
    return _write_over(journal, row, state)


def cancel_to_replace(journal: Journal, exchange: Exchange, row: Row) -> Row:
    """Cancel the open order of a row, so that another one can take its place; return the row as it is then.

    Raises Refused `order_not_open` when it was over before, whoever ended it, and Refused `not_amended` when it is not
    certain that this cancel ended it, or what was filled of it: then nothing may take its place.
    """
    try:
        exchange.cancel(order_ref(row))
    except ExchangeError as error:
        is_over = error.code == "order_not_open" or error.may_have_executed
        if is_over and (state := _read_final(exchange, row)) is not None:
            _write_over(journal, row, state)
        if error.may_have_executed:
            raise not_amended(row, "whether it was canceled is not known; look at it", is_canceled=False) from error
        raise
    ref = replace(order_ref(row), is_over=True)
    try:
        state = poll(lambda: exchange.order(ref))
    except Exception as error:
        log_failure(_log, error, f"order {row['id']} at {exchange.id} cannot be read after its cancel")
        raise not_amended(row, "what was filled of it before cannot be read now") from error
    if state.status in {"open", "unknown"}:
        raise not_amended(row, f"{exchange.name} took its cancel, and does not show it yet", is_canceled=False)
    over = _write_over(journal, row, state)
    if over["filled"] is None:
        raise not_amended(row, f"{exchange.name} does not say what was filled of it before")
    return over


def not_amended(row: Row, reason: str, *, is_canceled: bool = True) -> Refused:
    """Return the refusal of an amendment after the cancel of the order of `row` was sent, with nothing in its place."""
    done = "was canceled" if is_canceled else "may be canceled"
    return Refused(f"order {row['id']} {done}, and no order took its place: {reason}", code="not_amended")


def refresh_after_cancel_all(journal: Journal, exchange: Exchange, rows: Sequence[Row]) -> None:
    """Write what became of the open orders of `rows`, after its exchange canceled all orders. Raises nothing.

    One that its exchange never shows is "closed": it may have been filled a moment before. One that is not shown yet
    stays open: what cancels the orders of a list one by one cannot have canceled it either.
    """
    states = read_orders(exchange, rows)
    shown = "order" in supports(type(exchange))
    for row in rows:
        state = states.get(row["exchange_order_id"])
        if not shown or (state is not None and state.status == "unknown"):
            state = replace(_OVER, exchange_order_id=row["exchange_order_id"])
        if state is not None:
            _write_over(journal, row, state)


def _read_over(exchange: Exchange, row: Row, known: OrderState) -> OrderState | None:
    """Return the state of an order that is over: `known` where its exchange does not show it, None if not now."""
    try:
        return exchange.order(replace(order_ref(row), is_over=True))
    except Exception as error:
        if isinstance(error, ExchangeError) and error.code in {"unsupported", "order_not_found"}:
            return replace(known, exchange_order_id=row["exchange_order_id"])
        log_failure(_log, error, f"order {row['id']} at {exchange.id} cannot be read after its cancel")
    return None


def _read_final(exchange: Exchange, row: Row) -> OrderState | None:
    """Return the state of an order when it is over; None while it is open, or cannot be read now."""
    state = read_orders(exchange, [row]).get(row["exchange_order_id"])
    return None if state is None or state.status in {"open", "unknown"} else state


def _write_over(journal: Journal, row: Row, state: OrderState) -> Row:
    """Return the row of an order that was canceled, or was over already, also when it cannot be written now."""
    try:
        return write_state(journal, row, state)
    except Exception:
        _log.exception("what became of order %d could not be committed; the next read will show it", row["id"])
        return row | order_columns(state)


def refresh_withdrawals(journal: Journal, exchange: Exchange, rows: Sequence[Row], asset: str | None) -> list[Row]:
    """Return the rows of sends (of `asset`, or of all) as their exchange reports them now; no list has transfers.

    Raises what the exchange raises.
    """
    if not any(row["status"] == "pending" and row["to_registration"] is None for row in rows):
        return list(rows)
    reported = {withdrawal.id: withdrawal for withdrawal in exchange.withdrawals(asset)}
    return [_completed(journal, row, reported.get(row["exchange_withdrawal_id"])) for row in rows]


def _completed(journal: Journal, row: Row, withdrawal: Withdrawal | None) -> Row:
    """Return the row of a send, after it was written that its exchange reports a pending one done or failed."""
    if row["status"] != "pending" or withdrawal is None or withdrawal.status not in {"done", "failed"}:
        return row
    return _write(journal, row, withdrawal_columns(withdrawal))


def _write(journal: Journal, row: Row, columns: Row) -> Row:
    """Return the row with `columns`, after they were written if they are new."""
    if all(row[name] == value for name, value in columns.items()):
        return row
    return journal.refresh(row, columns)
