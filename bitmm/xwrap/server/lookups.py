"""Whether an exchange has the order or the send of a row: by our own client id, or by its details."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from .._addresses import same_address
from ..exchanges.base import Exchange
from ..exchanges.batches import Found
from ..exchanges.conditions import with_reason
from ..exchanges.errors import Unsupported
from ..exchanges.models import OrderRef, OrderState, Withdrawal
from ..money import EXACT, exact
from .db.records import is_in_place
from .order_views import order_columns, order_ref, withdrawal_columns

__all__ = [
    "CLOCK_SKEW",
    "LISTING_SECONDS",
    "LONGEST_ARRIVAL",
    "find_amendment",
    "find_executed",
    "find_many_executed",
    "find_order",
    "find_orders",
    "finds_orders",
    "may_be_that_send",
    "same_details",
]

#: How far the clock of an exchange may be from ours when it reports the time of an order or a send.
CLOCK_SKEW = timedelta(seconds=60)
#: Longer than it may take from the creation of a send until it arrives at its exchange.
LONGEST_ARRIVAL = timedelta(seconds=120)
#: Seconds that an exchange may take to list what has arrived.
LISTING_SECONDS = 1.0

Row = dict[str, Any]


def find_order(exchange: Exchange, ref: OrderRef) -> Row | None:
    """Return the columns of the order that the exchange has, None when it has none. Raises Unsupported.

    Raises NotListedYet, too, and what else a read raises.
    """
    state = exchange.find(ref)
    if state is None and exchange.order_lookup != "all":
        raise Unsupported(f"{exchange.name} shows open orders only")
    return None if state is None else order_columns(with_reason(state, ref.time_in_force))


def finds_orders(kind: type[Exchange]) -> bool:
    """Return whether an exchange may answer a question about many orders with few calls."""
    return kind.find_many is not Exchange.find_many or kind.orders_since is not Exchange.orders_since


def find_orders(exchange: Exchange, refs: Sequence[OrderRef], *, wanted: int) -> list[Row | Exception | None]:
    """Return for each order what `find_order` returns, or raises, of it; with fewer calls than so many questions.

    Each has the time when it was `created`. Raises what a call raises that serves all of them, and Unsupported where
    there is no such call, or it is not worth it for as many as are `wanted`.
    """
    found: Sequence[Found]
    if type(exchange).find_many is not Exchange.find_many:
        found = exchange.find_many(refs)
    else:
        since = min(ref.created for ref in refs if ref.created is not None) - CLOCK_SKEW
        states = {state.client_id: state for state in exchange.orders_since(since, wanted=wanted)}
        found = [states.get(ref.client_id) for ref in refs]
    return [
        order_columns(with_reason(one, ref.time_in_force)) if isinstance(one, OrderState) else one
        for one, ref in zip(found, refs, strict=True)
    ]


def find_amendment(exchange: Exchange, row: Row) -> Row | None:
    """Return the columns of the order that the exchange amended as a row says, None when it did not, so far."""
    state = exchange.find_amendment(order_ref(row))
    return None if state is None else order_columns(with_reason(state, row["time_in_force"]))


def find_executed(exchange: Exchange, row: Row) -> Row | None:
    """Return what the exchange reports of the order or send of a row that was submitted just now; None: it has none.

    It has none when it does not list it a second later either. No exchange documents how long that may take; what takes
    longer is called refused although it stands (see the README of the exchanges). Raises as `find_order`.
    """
    found = _find(exchange, row)
    if found is None:
        time.sleep(LISTING_SECONDS)
        found = _find(exchange, row)
    return found


def find_many_executed(exchange: Exchange, rows: Sequence[Row]) -> list[Row | Exception | None]:
    """Return for each row of an order that was submitted just now what `find_executed` returns, or raises."""
    found = _find_many(exchange, rows)
    missing = [number for number, one in enumerate(found) if one is None]
    if missing:
        time.sleep(LISTING_SECONDS)
        for number, one in zip(missing, _find_many(exchange, [rows[number] for number in missing]), strict=True):
            found[number] = one
    return found


def _find_many(exchange: Exchange, rows: Sequence[Row]) -> list[Row | Exception | None]:
    """Return what each row's order is, or why it cannot be said; with one question where the exchange lists them."""
    if len(rows) > 1:
        try:
            return find_orders(exchange, [order_ref(row) for row in rows], wanted=len(rows))
        except Unsupported:
            pass
        except Exception as error:
            return [error] * len(rows)
    found: list[Row | Exception | None] = []
    for row in rows:
        try:
            found.append(_find(exchange, row))
        except Exception as error:
            found.append(error)
    return found


def _find(exchange: Exchange, row: Row) -> Row | None:
    if is_in_place(row):
        return find_amendment(exchange, row)
    if "side" in row:
        return find_order(exchange, order_ref(row))
    since = datetime.fromisoformat(row["created"])
    found = exchange.find_withdrawal(row["client_id"], since, datetime.now(UTC))
    return None if found is None else withdrawal_columns(found)


def may_be_that_send(send: Withdrawal, row: Row) -> bool:
    """Return whether a send may be that of the row: a detail that its exchange does not tell may be any."""
    amount = exact(row["amount"])
    return (
        send.asset in ("", row["asset"])
        and (send.address is None or same_address(send.address, row["address"]))
        and send.tag in (None, row["tag"])
        # Some exchanges report what leaves, and some what arrives.
        and (send.amount is None or amount in (send.amount, EXACT.add(send.amount, send.fee or Decimal(0))))
    )


def same_details(send: Withdrawal, row: Row) -> bool:
    """Return whether a send has the asset, the amount, the address and the tag of the row."""
    return may_be_that_send(send, row) and "" not in (send.id, send.asset) and None not in (send.amount, send.address)
