"""Many orders at once: what the adapters share of one request for many, and of one after the other.

The outcome of an order is its state, or the error that `place` would raise for it alone. What is found of one is its
state, None, or the error that `find` would raise for it alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

from .conditions import check_placed, is_short
from .errors import Busy, ExchangeError, Refused
from .http import parsing_errors
from .models import NewOrder, OrderRef, OrderState
from .parsing import list_of_rows

__all__ = [
    "Found",
    "Outcome",
    "find_each",
    "place_each",
    "place_in_batches",
    "poll_outcomes",
    "read_each",
    "read_outcomes",
]

Outcome = OrderState | ExchangeError
Found = OrderState | ExchangeError | None
#: Seconds for which orders that end soon are read.
_POLL_SECONDS = 4.0

_Group = TypeVar("_Group", bound=Hashable)


def place_each(place: Callable[[NewOrder], OrderState], orders: Sequence[NewOrder]) -> list[Outcome]:
    """Return the outcomes of orders that are placed one after the other, in their order.

    After a lost answer or a rate limit no more are sent: they would go the same way.
    """
    outcomes: list[Outcome] = []
    for order in orders:
        if (unsent := _unsent_after(outcomes)) is not None:
            outcomes.append(unsent)
            continue
        try:
            outcomes.append(place(order))
        except ExchangeError as error:
            outcomes.append(error)
    return outcomes


def place_in_batches(
    orders: Sequence[NewOrder],
    check: Callable[[NewOrder], _Group],
    send: Callable[[_Group, Sequence[NewOrder]], list[Outcome]],
    *,
    most: int | None = None,
) -> list[Outcome]:
    """Return the outcomes of orders, in their order; those of one group are sent together, at most so many at once.

    `check` returns the group of an order, or raises what refuses it before it is sent; so it is alone refused. `send`
    returns the outcomes of some orders of a group. After a lost answer or a rate limit nothing more is sent.
    """
    outcomes: dict[int, Outcome] = {}
    groups: dict[_Group, list[int]] = {}
    for number, order in enumerate(orders):
        try:
            groups.setdefault(check(order), []).append(number)
        except ExchangeError as error:
            outcomes[number] = error
    sent: list[Outcome] = []
    for group, numbers in groups.items():
        size = most or len(numbers)
        for batch in (numbers[start : start + size] for start in range(0, len(numbers), size)):
            unsent = _unsent_after(sent)
            found = [unsent] * len(batch) if unsent else send(group, [orders[number] for number in batch])
            outcomes |= zip(batch, found, strict=True)
            sent += found
    return [outcomes[number] for number in range(len(orders))]


def read_outcomes(
    name: str, orders: Sequence[NewOrder], list_rows: Callable[[], Any], read: Callable[[NewOrder, Any], OrderState]
) -> list[Outcome]:
    """Return the outcomes in an answer of the exchange called `name`, which has a row for each order, in their order.

    `list_rows` returns the rows; where there are not as many as orders, all outcomes are unknown. `read` returns the
    state in a row, or raises what the order was refused for; what it cannot understand is Unknown, and hides no other.
    """
    try:
        with parsing_errors(name, mutates=True):
            rows = list_of_rows(list_rows())
            if len(rows) != len(orders):
                raise ValueError(f"{len(rows)} orders, and not {len(orders)}")
    except ExchangeError as error:
        return [error] * len(orders)
    outcomes: list[Outcome] = []
    for order, row in zip(orders, rows, strict=True):
        try:
            with parsing_errors(name, mutates=True):
                outcomes.append(read(order, row))
        except ExchangeError as error:
            outcomes.append(error)
    return outcomes


def poll_outcomes(
    name: str,
    orders: Sequence[NewOrder],
    outcomes: Sequence[Outcome],
    read: Callable[[Sequence[OrderRef]], Mapping[str, OrderState]],
) -> list[Outcome]:
    """Return the outcomes of orders that the exchange called `name` took together and told no more than their ids.

    Those that are over soon are read until they are, or for some seconds, and a post-only one and one with a stop once,
    as `place` does. `read` returns states by their ids. The orders stand, so what cannot be read changes nothing.
    """
    placed = [
        (order, outcome)
        for order, outcome in zip(orders, outcomes, strict=True)
        if isinstance(outcome, OrderState) and _is_read(order)
    ]
    states = {state.exchange_order_id: state for _, state in placed}
    ending = {state.exchange_order_id for order, state in placed if is_short(order)}
    waiting = {
        state.exchange_order_id: OrderRef(
            *(order.side, order.currency, order.asset, order.client_id),
            exchange_order_id=state.exchange_order_id,
        )
        for order, state in placed
    }
    deadline, pause = time.monotonic() + _POLL_SECONDS, 0.1
    while waiting:
        try:
            states |= read(list(waiting.values()))
        except Refused:
            break
        waiting = {id: ref for id, ref in waiting.items() if id in ending and states[id].status == "open"}
        if not waiting or time.monotonic() + pause >= deadline:
            break
        time.sleep(pause)
        pause = min(2 * pause, 1.0)
    return [_checked(name, order, outcome, states) for order, outcome in zip(orders, outcomes, strict=True)]


def read_each(read: Callable[[OrderRef], OrderState], refs: Sequence[OrderRef]) -> dict[str, OrderState]:
    """Return the states of orders that are read one after the other, by their ids, without those that cannot be read.

    After a rate limit no more are read; Busy is raised when that was the first one.
    """
    states: dict[str, OrderState] = {}
    for ref in refs:
        try:
            state = read(ref)
        except Busy:
            if not states:
                raise
            break
        except Refused:
            continue
        states[state.exchange_order_id] = state
    return states


def find_each(find: Callable[[OrderRef], OrderState | None], refs: Sequence[OrderRef]) -> list[Found]:
    """Return what `find` finds of each order, or the error that it raises."""
    found: list[Found] = []
    for ref in refs:
        try:
            found.append(find(ref))
        except ExchangeError as error:
            found.append(error)
    return found


def _checked(name: str, order: NewOrder, outcome: Outcome, states: Mapping[str, OrderState]) -> Outcome:
    """Return the outcome of an order with the state that was read of it."""
    if isinstance(outcome, ExchangeError):
        return outcome
    try:
        return check_placed(name, order, states.get(outcome.exchange_order_id, outcome))
    except ExchangeError as error:
        return error


def _is_read(order: NewOrder) -> bool:
    """Return whether an order is not believed to stand as it was ordered before it is read."""
    return is_short(order) or order.post_only or order.stop is not None


def _unsent_after(outcomes: Sequence[Outcome]) -> Refused | None:
    """Return why the next order is not sent, after those with these outcomes; None: it may be."""
    for outcome in outcomes:
        if isinstance(outcome, Busy):
            words = f"not sent, after a rate limit for an order before it: {outcome.reason}"
            return Busy(words, retry_after=outcome.retry_after)
        if isinstance(outcome, ExchangeError) and outcome.may_have_executed and outcome.refusal is None:
            return Refused(
                "not sent, because it is not known what became of an order before it; try again",
                code="exchange_unavailable",
                retryable=True,
            )
    return None
