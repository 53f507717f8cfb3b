"""The conditions of an order: that it only rests (post-only), how long it is in force, and when it begins (stop).

GTC: until it is canceled. IOC: what is not filled at once is canceled. FOK: it is filled whole at once, or canceled.
GTD: it is canceled at a given time.

The exchange holds an order with a stop itself. One that this server held would not begin while the server is down, so
there is none.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

from .errors import Refused, Unknown
from .models import NewOrder, OrderState, TimeInForce

__all__ = [
    "check_conditions",
    "check_offered",
    "check_placed",
    "ends_at_once",
    "is_short",
    "offered_in_words",
    "with_reason",
    "would_take",
]

_REASONS = {
    "IOC": "IOC: what was not filled at once was canceled",
    "FOK": "FOK: it could not be filled whole at once, so it was canceled",
    "GTD": "GTD: its time was over, or it was canceled before",
}


def check_conditions(order: NewOrder) -> None:
    """Raise Refused `invalid_request` for conditions that do not fit the order, or each other."""
    if order.stop is not None:
        _check_stop(order)
    given = order.time_in_force
    field = "post_only" if order.post_only else "time_in_force" if given is not None else "expires"
    if order.price is None and (order.post_only or given is not None or order.expires is not None):
        raise _invalid(f"'{field}' is for orders with a price; give a price, or leave it out", field)
    if order.post_only and ends_at_once(order):
        raise _invalid(f"a post_only order cannot be {given}, which ends at once; leave one out", "post_only")
    if given == "GTD" and order.expires is None:
        raise _invalid("a GTD order needs 'expires', the time at which it is canceled", "expires")
    if given != "GTD" and order.expires is not None:
        raise _invalid("'expires' is for GTD orders alone; say time_in_force GTD, or leave it out", "expires")
    if order.expires is not None and order.expires.microsecond:
        raise _invalid("'expires' has a fraction of a second, and exchanges take whole seconds", "expires")


def check_offered(name: str, order: NewOrder, offered: Collection[str], *, now: datetime | None = None) -> None:
    """Raise Refused `unsupported` for a condition that the exchange called `name` does not offer; nothing was sent.

    Raises Refused `invalid_request` as `check_conditions` does, and for a time that is over `now` (None: by our clock).
    """
    check_conditions(order)
    if order.stop is not None and "stop" not in offered:
        raise Refused(
            f"{name} holds no stop orders that could be placed here, and this server holds none itself, since it would"
            " fail to act while it is down; nothing was sent",
            code="unsupported",
            details={"field": "stop"},
        )
    if order.post_only and "post_only" not in offered:
        raise _lacking(name, "post-only orders", offered, "post_only")
    if order.time_in_force is not None and order.time_in_force not in offered:
        raise _lacking(name, f"{order.time_in_force} orders", offered, "time_in_force")
    if order.expires is not None and order.expires <= (now or datetime.now(UTC)):
        raise _invalid("'expires' is not ahead: the order would be over before it is placed", "expires")


def offered_in_words(offered: Collection[str]) -> str:
    """Return the conditions of limit orders that an exchange offers, in the order of the documents; "" for none."""
    return ", ".join(word for word in (*get_args(TimeInForce), "post_only") if word in offered).replace("_", "-")


def ends_at_once(order: NewOrder) -> bool:
    """Return whether an order never rests, although it has a price."""
    return order.time_in_force in {"IOC", "FOK"}


def is_short(order: NewOrder) -> bool:
    """Return whether an order is over as soon as its exchange has it: it neither rests nor waits for its stop."""
    return order.stop is None and (order.price is None or ends_at_once(order))


def would_take(name: str) -> Refused:
    """Return the refusal of a post-only order that would be executed at once, at the exchange called `name`."""
    return Refused(
        f"the post-only order would take what is offered at {name} now, so nothing was executed; give a price that"
        " rests, or leave out post_only",
        code="would_take",
        details={"field": "post_only"},
    )


def check_placed(name: str, order: NewOrder, state: OrderState) -> OrderState:
    """Return the `state` that an order has after it was placed at the exchange called `name`, with a reason.

    Raises Refused `would_take` for a post-only order that the exchange took, and canceled with nothing filled, and
    Unknown when it does not have the stop that was asked for.
    """
    if state.stop != order.stop:
        raise Unknown(f"{name} took the order, and shows it with another stop than the one that was asked for")
    if order.post_only and state.status == "canceled" and state.filled == 0:
        raise would_take(name)
    return with_reason(state, order.time_in_force)


def with_reason(state: OrderState, time_in_force: str | None) -> OrderState:
    """Return the state with why it was canceled, where its exchange does not say and its conditions do."""
    if state.status not in {"canceled", "partly_filled"} or state.reason is not None:
        return state
    return replace(state, reason=_REASONS.get(time_in_force or ""))


def _check_stop(order: NewOrder) -> None:
    """Raise Refused for an order with a stop that has what goes with none at any exchange, or is not asked for here."""
    if order.cost is not None:
        raise _invalid("an order with a 'stop' is for an amount, and this has a cost; give the amount", "cost")
    if order.post_only:
        # Kraken's support pages say so of its own ("Other order options").
        raise _invalid("an order with a 'stop' cannot be post_only; leave one out", "post_only")
    if order.time_in_force not in {None, "GTC"}:
        raise _invalid(f"an order with a 'stop' cannot be {order.time_in_force}; leave one out", "time_in_force")


def _invalid(reason: str, field: str) -> Refused:
    return Refused(reason, code="invalid_request", details={"field": field})


def _lacking(name: str, what: str, offered: Collection[str], field: str) -> Refused:
    has = offered_in_words(offered)
    instead = f"of such conditions it has {has}" if has else "it has plain limit orders alone"
    return Refused(
        f"{name} has no {what} here; {instead}; nothing was sent", code="unsupported", details={"field": field}
    )
