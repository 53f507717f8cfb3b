"""What an exchange made of an order or a send: executed, refused with proof, or unknown."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.errors import ExchangeError, Refused
from ..exchanges.models import NewOrder, NewTransfer, NewWithdrawal
from .lookups import find_executed
from .order_views import order_columns, refusal_columns, transfer_columns, unproved_refusal_columns, withdrawal_columns
from .policy import Stopped
from .problems import Problem, from_exchange

__all__ = ["call_exchange"]

_log = logging.getLogger(__name__)

Row = dict[str, Any]


def call_exchange(
    exchange: Exchange, request: NewOrder | NewWithdrawal, intent: Row, confirm: Callable[[], None]
) -> tuple[Row, Problem | None]:
    """Return the columns of the outcome, and the problem to answer with when it was refused."""
    try:
        if exchange.in_process:
            # It sends no request, before which this would be done; here it is in the transaction that executes.
            confirm()
        return _execute(exchange, request), None
    except ExchangeError as error:
        if error.may_have_executed:
            _log.warning("outcome unknown: %s", error)
            if error.refusal is not None:
                return _look_up(exchange, intent, error.refusal)
            return {"status": "unknown"}, None
        problem = from_exchange(error)
        columns = refusal_columns(intent, problem)
        # What was stopped may be placed with its key when that is lifted, as if it had come too late for an intent.
        return columns | {"released": columns["released"] or isinstance(error, Stopped)}, problem
    except Exception:
        _log.exception("the exchange's adapter failed; the outcome is unknown")
        return {"status": "unknown"}, None


def _execute(exchange: Exchange, request: NewOrder | NewWithdrawal) -> Row:
    """Return the columns of what the exchange executed."""
    if isinstance(request, NewOrder):
        return order_columns(exchange.place(request))
    if isinstance(request, NewTransfer):
        return transfer_columns(exchange.transfer(request))
    return withdrawal_columns(exchange.withdraw(request))


def _look_up(exchange: Exchange, intent: Row, refusal: Refused) -> tuple[Row, Problem | None]:
    """Return the outcome, as `call_exchange` does, of what was refused as after an earlier delivery of itself.

    What the exchange does not have was refused; where it cannot say, that stays unknown until the reconciler asked.
    """
    problem = from_exchange(refusal)
    try:
        found = find_executed(exchange, intent)
    except Exception as error:
        if not isinstance(error, ExchangeError):
            _log.exception("the exchange's adapter failed; the outcome is unknown")
        _log.warning("%s cannot say whether %s was executed before: %s", exchange.name, intent["key"], error)
        return unproved_refusal_columns(intent, problem), None
    if found is None:
        return refusal_columns(intent, problem), problem
    name, key = exchange.name, intent["key"]
    _log.warning("%s had executed %s (%s) when it was delivered again", name, key, found["status"])
    return found, None
