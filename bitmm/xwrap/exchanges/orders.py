"""What the adapters share of orders: following one until it is final, finding it again, canceling."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from ..money import parse_decimal, plain
from .errors import Busy, NotListedYet, Refused, Unknown
from .fillings import fill_amount
from .http import PARSING_ERRORS, parsing_errors
from .models import Level, NewOrder, OrderRef, OrderState, Status

__all__ = [
    "accepted_order",
    "cancel_each",
    "cancel_errors",
    "check_listed_by_now",
    "check_same_order",
    "closed_order",
    "cost_of",
    "find_open",
    "find_open_or_closed",
    "listed_order",
    "poll",
    "poll_fills",
    "poll_until_final",
]

_T = TypeVar("_T")

#: Seconds before each look at the fills of an order that is over: they may come a moment later than it does.
_FILL_PAUSES = (0.0, 0.2, 0.4, 0.8)

#: Seconds after which an order that was placed is among the open ones of its exchange, if it is open.
LISTED_SECONDS = 10.0


def accepted_order(order: NewOrder, exchange_order_id: str, created: datetime | None = None) -> OrderState:
    """Return the state of an `order` that its exchange accepted just now, under this id: open, and no more."""
    return OrderState(
        exchange_order_id=exchange_order_id,
        status="open",
        side=order.side,
        currency=order.currency,
        asset=order.asset,
        amount=order.amount,
        price=order.price,
        client_id=order.client_id,
        created=created,
        stop=order.stop,
    )


def poll(
    read: Callable[[], OrderState], *, seconds: float = 4.0, sleep: Callable[[float], None] = time.sleep
) -> OrderState:
    """Return the last state read of a market order, which is read until it is no longer open, or for `seconds`."""
    deadline = time.monotonic() + seconds
    pause = 0.1
    while (state := read()).status == "open" and time.monotonic() + pause < deadline:
        sleep(pause)
        pause = min(2 * pause, 1.0)
    return state


def poll_until_final(placed: OrderState, read: Callable[[], OrderState], *, seconds: float = 4.0) -> OrderState:
    """Return the order `placed` as it is when it is final, or after so many seconds of reading; 0: after one look.

    It stands, so a state that cannot be read changes nothing; a rate limit ends the reading.
    """

    def attempt() -> OrderState:
        try:
            return read()
        except Busy:
            raise
        except Refused:
            return placed

    try:
        return poll(attempt, seconds=seconds)
    except Busy:
        return placed


def poll_fills(read: Callable[[], _T | None], *, patient: bool) -> _T | None:
    """Return what `read` makes of the fills of an order; None as long as it finds that some of them are missing.

    `patient`: it reads again, for 1.4 seconds in all; else once.
    """
    for pause in _FILL_PAUSES if patient else _FILL_PAUSES[:1]:
        time.sleep(pause)
        if (found := read()) is not None:
            return found
    return None


def check_same_order(state: OrderState, ref: OrderRef) -> None:
    """Raise ValueError when the order that came is not the one of `ref`: by market, side and ids, where both are known.

    Within `parsing_errors`: an answer about another order is not believed.
    """
    same_market = (state.side, state.currency, state.asset) == (ref.side, ref.currency, ref.asset)
    same_id = ref.exchange_order_id in (None, state.exchange_order_id)
    if not (same_market and same_id and state.client_id in (None, ref.client_id)):
        raise ValueError("another order than the one asked for")


def listed_order(
    name: str,
    exchange_order_id: str,
    parse: Callable[[], OrderState],
    *,
    status: Status = "open",
    client_id: Callable[[], str | None] = lambda: None,
) -> OrderState:
    """Return the order that `parse` makes of its row in a list of the exchange called `name`.

    A row that cannot be understood hides no other row, and it does not vanish, since it may be an order of ours: it is
    an order of which only its id, the list's `status` and, if it can be read, its `client_id` are known.
    """
    try:
        return parse()
    except PARSING_ERRORS:
        state = OrderState(exchange_order_id, status, reason=f"{name} lists it in a way that cannot be understood")
    with suppress(*PARSING_ERRORS):
        state = replace(state, client_id=client_id())
    return state


def find_open(orders: Iterable[OrderState], ref: OrderRef) -> OrderState | None:
    """Return the one of the open `orders` with the id of `ref`, None when it is not among them.

    For exchanges without a call for a single order. Raises ValueError as `check_same_order` does.
    """
    for state in orders:
        if state.exchange_order_id == ref.exchange_order_id:
            check_same_order(state, ref)
            return state
    return None


def find_open_or_closed(orders: Iterable[OrderState], ref: OrderRef, name: str) -> OrderState:
    """Return the order of `ref` as it is among the open `orders` of the exchange called `name`, or else "closed".

    For exchanges that tell of open orders alone. Raises NotListedYet for an order that was placed a moment ago, and
    Refused when another order is listed under its id.
    """
    with parsing_errors(name):
        state = find_open(orders, ref)
    if state is not None:
        return state
    check_listed_by_now(ref, name)
    return closed_order(ref, name)


def closed_order(ref: OrderRef, name: str) -> OrderState:
    """Return the order of `ref`, which the exchange called `name` does not list as open any more: "closed"."""
    return OrderState(
        ref.exchange_order_id or "",
        "closed",
        side=ref.side,
        currency=ref.currency,
        asset=ref.asset,
        amount=ref.amount,
        price=ref.price,
        client_id=ref.client_id,
        reason=f"no longer open at {name}, which does not tell whether it was filled or canceled",
    )


def check_listed_by_now(ref: OrderRef, name: str) -> None:
    """Raise NotListedYet when the order of `ref` is so new that its exchange may not list it yet."""
    if ref.is_over or ref.created is None:
        return
    if datetime.now(UTC) - ref.created < timedelta(seconds=LISTED_SECONDS):
        raise NotListedYet(f"{name} does not list this order, which was placed only a moment ago; ask again")


@contextmanager
def cancel_errors() -> Iterator[None]:
    """Around the call that cancels an order: Refused `order_not_found` becomes Refused `order_not_open`.

    An exchange says the same of an order that is over and of one that never was; the caller had seen this one.
    """
    try:
        yield
    except Refused as error:
        if error.code != "order_not_found":
            raise
        raise Refused(error.reason, code="order_not_open") from error


def cancel_each(orders: Iterable[OrderState], cancel: Callable[[OrderState], object]) -> int:
    """Return how many of `orders` were canceled, by one call of `cancel` each, where there is no call for all.

    An order that is over by then (Refused `order_not_open`) does not count. Raises Unknown when a cancel fails after
    another one worked.
    """
    canceled = 0
    for state in orders:
        try:
            cancel(state)
        except (Refused, Unknown) as error:
            if error.code == "order_not_open":
                continue
            if not canceled:
                raise
            raise Unknown(f"{canceled} orders were canceled, then: {error}") from error
        canceled += 1
    return canceled


def cost_of(name: str, amount: Decimal, asks: Iterable[Sequence[object]], *, unit: str) -> Decimal:
    """Return exactly what `amount` costs at the `asks` of an order book (price and amount, in any order).

    Raises Refused when fewer are listed; `name` is the exchange's, `unit` the asset's. Raises ValueError, or another
    of the PARSING_ERRORS, for an ask that is none.
    """
    levels = sorted((parse_decimal(level[0]), parse_decimal(level[1])) for level in asks)
    filling = fill_amount(map(_checked_ask, levels), amount)
    if filling.amount == amount:
        return filling.spent
    raise Refused(
        f"the order book of {name} lists only {plain(filling.amount)} {unit} of the {plain(amount)} that are to be"
        " bought, so what they cost is not known; say the cost, or a price",
        code="unsupported",
    )


def _checked_ask(level: Level) -> Level:
    """Return a level of the asks. Raises ValueError when it is none."""
    if level[0] <= 0 or level[1] < 0:
        raise ValueError("an ask that is not above zero")
    return level
