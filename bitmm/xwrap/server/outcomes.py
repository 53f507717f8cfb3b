"""What an exchange made of an order or a send: executed, refused with proof, or unknown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.errors import ExchangeError, Refused
from ..exchanges.models import NewOrder, NewTransfer, NewWithdrawal, OrderState
from .db.errors import UNUSABLE
from .lookups import find_executed, find_many_executed
from .order_views import order_columns, refusal_columns, transfer_columns, unproved_refusal_columns, withdrawal_columns
from .policy import Stopped
from .problems import Problem, from_exchange

__all__ = ["Called", "call_exchange", "call_exchange_with_many", "outcome_of_failure"]

_log = logging.getLogger(__name__)

Row = dict[str, Any]
#: The columns of an outcome, and the problem to answer with when it was refused.
Called = tuple[Row, Problem | None]


def call_exchange(
    exchange: Exchange,
    request: NewOrder | NewWithdrawal,
    intent: Row,
    place: Callable[[Exchange, NewOrder, Row], Row] | None = None,
) -> Called:
    """Return the columns of the outcome, and the problem to answer with when it was refused.

    `place` is called in place of the exchange's own, with the exchange, the order and its row. Raises one of UNUSABLE
    when the data base failed in which an exchange of this process has its books.
    """
    try:
        if place is not None and isinstance(request, NewOrder):
            return place(exchange, request, intent), None
        return _execute(exchange, request), None
    except ExchangeError as error:
        if error.may_have_executed and error.refusal is not None:
            _log.warning("outcome unknown: %s", error)
            return _look_up(exchange, intent, error.refusal)
        return outcome_of_failure(intent, error)
    except Exception as error:
        if exchange.in_process and isinstance(error, UNUSABLE):
            # The write failed that this is a part of, so nothing of it was executed.
            raise
        _log.exception("the exchange's adapter failed; the outcome is unknown")
        return {"status": "unknown"}, None


def _execute(exchange: Exchange, request: NewOrder | NewWithdrawal) -> Row:
    """Return the columns of what the exchange executed."""
    if isinstance(request, NewOrder):
        return order_columns(exchange.place(request))
    if isinstance(request, NewTransfer):
        return transfer_columns(exchange.transfer(request))
    return withdrawal_columns(exchange.withdraw(request))


def call_exchange_with_many(exchange: Exchange, orders: Sequence[NewOrder], intents: Sequence[Row]) -> list[Called]:
    """Return the outcomes of orders that are placed together, in their order, each as `call_exchange` does."""
    try:
        outcomes = exchange.place_many(orders)
        if len(outcomes) != len(orders):
            raise ValueError(f"{len(outcomes)} outcomes of {len(orders)} orders")
    except Exception:
        _log.exception("the exchange's adapter failed; the outcomes are unknown")
        return [({"status": "unknown"}, None)] * len(orders)
    # What was refused as after an earlier delivery is looked up together.
    doubtful = [number for number, outcome in enumerate(outcomes) if _refusal(outcome) is not None]
    found = dict(zip(doubtful, find_many_executed(exchange, [intents[number] for number in doubtful]), strict=True))
    called: list[Called] = []
    for number, (intent, outcome) in enumerate(zip(intents, outcomes, strict=True)):
        refusal = _refusal(outcome)
        if refusal is not None:
            called.append(_looked_up(exchange, intent, refusal, found[number]))
        elif isinstance(outcome, ExchangeError):
            called.append(outcome_of_failure(intent, outcome))
        else:
            called.append((order_columns(outcome), None))
    return called


def _refusal(outcome: OrderState | ExchangeError) -> Refused | None:
    """Return the refusal that the outcome is, if the exchange has no such order; None for any other outcome."""
    return outcome.refusal if isinstance(outcome, ExchangeError) and outcome.may_have_executed else None


def outcome_of_failure(intent: Row, error: ExchangeError) -> Called:
    """Return the outcome of what failed with this error, as `call_exchange` does: refused, or unknown where there is no
    refusal to look up.
    """
    if error.may_have_executed:
        _log.warning("outcome unknown: %s", error)
        return {"status": "unknown"}, None
    problem = from_exchange(error)
    columns = refusal_columns(intent, problem)
    # What was stopped may be placed with its key when that is lifted, as if it had come too late for an intent.
    return columns | {"released": columns["released"] or isinstance(error, Stopped)}, problem


def _look_up(exchange: Exchange, intent: Row, refusal: Refused) -> Called:
    """Return the outcome, as `call_exchange` does, of what was refused as after an earlier delivery of itself.

    What the exchange does not have was refused; where it cannot say, that stays unknown until the reconciler asked.
    """
    try:
        found: Row | Exception | None = find_executed(exchange, intent)
    except Exception as error:
        found = error
    return _looked_up(exchange, intent, refusal, found)


def _looked_up(exchange: Exchange, intent: Row, refusal: Refused, found: Row | Exception | None) -> Called:
    """Return the outcome of what was refused so, by what the look-up found, or why it could not."""
    problem = from_exchange(refusal)
    if isinstance(found, Exception):
        if not isinstance(found, ExchangeError):
            _log.error("the exchange's adapter failed; the outcome is unknown", exc_info=found)
        _log.warning("%s cannot say whether %s was executed before: %s", exchange.name, intent["key"], found)
        return unproved_refusal_columns(intent, problem), None
    if found is None:
        return refusal_columns(intent, problem), problem
    name, key = exchange.name, intent["key"]
    _log.warning("%s had executed %s (%s) when it was delivered again", name, key, found["status"])
    return found, None
