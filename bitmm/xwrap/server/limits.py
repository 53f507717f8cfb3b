"""What a credential may place: its pairs, its end, and its limits for each order and for any 24 hours.

A limit counts values in one currency, without fees. What an order counts is known before it is sent: a limit buy its
amount at its price, a market buy what the order book says that it costs, or its stop where that is more, a sell its
amount at its price or at the best bid where that is higher (for a cost: as much as the order book says that is sold for
it), and an order of a pair whose asset is the limit's currency its amount. A send counts its amount, at the best ask
where the asset is another one. What cannot be counted is refused.

What was placed counts for 24 hours, and not for a day of the calendar: at midnight nothing begins anew. An order that
is over counts what was traded; one that is not, or of which that is not known, counts all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ..exchanges.base import Exchange
from ..exchanges.errors import Refused
from ..exchanges.fillings import fill_cost
from ..exchanges.models import NewOrder, NewWithdrawal
from ..money import EXACT, plain, total
from .db.records import DAY_SECONDS, Caller, Credential, now
from .db.store import Store
from .market_reads import MOST_LEVELS
from .problems import Problem

__all__ = ["check_limits", "check_live", "limit_value", "used_value"]

_ZERO = Decimal(0)
#: Statuses of orders that are over, whose row says what was traded, if the exchange said it.
_OVER = {"filled", "partly_filled", "canceled"}

Row = Mapping[str, Any]


def limit_value(caller: Caller, exchange: Exchange, request: NewOrder | NewWithdrawal) -> Decimal | None:
    """Return what a request counts against the limits of the credential of the caller; None: it has none.

    The exchange is asked for a price where the request has none. Raises Problem 403 for what the credential may not
    trade, or not at this value, and an ExchangeError when the price cannot be read now.
    """
    credential = caller.credential
    if credential is None:
        return None
    _check_pair(caller.name, credential, request)
    if credential.currency is None:
        return None
    if isinstance(request, NewOrder):
        value = _order_value(exchange, request, credential.currency)
    else:
        value = _send_value(exchange, request, credential.currency)
    if credential.per_order is not None and value > credential.per_order:
        raise _too_much(
            f"'{caller.name}' may place at most {_shown(credential.per_order, credential)} at once, and this counts"
            f" {_shown(value, credential)}",
            credential.per_order,
            value,
        )
    return value


def check_live(credential: Credential | None) -> Credential:
    """Return a credential as it is now. Raises Problem 401 when it was revoked (None) or is over."""
    if credential is None:
        raise Problem(401, "not_authenticated", "this credential was revoked; nothing was sent")
    if credential.expires is not None and credential.expires <= now():
        raise Problem(401, "not_authenticated", "this credential is over since its end date; nothing was sent")
    return credential


def check_limits(store: Store, name: str, credential: Credential, value: Decimal | None) -> None:
    """Raise Problem 403 when `value` is more than what is left of a credential's limit of a day; `name` is its own.

    Within the write that adds what has this value, the credential must be locked before.
    """
    if value is None or credential.per_day is None:
        return
    used = used_value(store, credential)
    if EXACT.add(used, value) > credential.per_day:
        raise _too_much(
            f"'{name}' may place {_shown(credential.per_day, credential)} in 24 hours, of which"
            f" {plain(used)} are used, and this counts {_shown(value, credential)}",
            credential.per_day,
            value,
        )


def used_value(store: Store, credential: Credential) -> Decimal:
    """Return what was placed with a credential in the last 24 hours, in units of the currency of its limits."""
    since = now(DAY_SECONDS)
    orders = store.orders.limited(credential.id, since)
    sends = store.withdrawals.limited(credential.id, since)
    values = [_traded_value(row, credential.currency) for row in orders]
    return total(values + [_ZERO if row["status"] == "failed" else Decimal(row["limit_value"]) for row in sends])


def _traded_value(row: Row, currency: str | None) -> Decimal:
    """Return what the order of a row counts now."""
    value = Decimal(row["limit_value"])
    filled, spent = (None if row[name] is None else Decimal(row[name]) for name in ("filled", "spent"))
    if row["asset"] == currency:
        traded = filled
    elif row["side"] == "buy":
        traded = _ZERO if spent is None and filled == 0 else spent
    elif filled is None:
        traded = None
    elif row["amount"] is None:
        # A sell for a cost: how much was counted for what price is not kept, so whatever was sold counts all of it.
        traded = max(value, spent or _ZERO) if filled else _ZERO
    else:
        # What it brought may be little: it may have been sold far below the price that it was counted at.
        price = EXACT.divide(value, Decimal(row["amount"]))
        traded = max(spent or _ZERO, EXACT.multiply(price, filled))
    if traded is None:
        return value
    return traded if row["status"] in _OVER else max(traded, value)


def _check_pair(name: str, credential: Credential, request: NewOrder | NewWithdrawal) -> None:
    """Raise Problem 403 for a pair that the credential was not given, or for an asset that is in none of its pairs."""
    if credential.pairs is None:
        return
    if isinstance(request, NewOrder):
        asked, given = f"{request.asset}/{request.currency}", set(credential.pairs)
    else:
        asked, given = request.asset, {one for pair in credential.pairs for one in pair.split("/")}
    if asked not in given:
        raise Problem(
            403,
            "out_of_scope",
            f"'{name}' was given {', '.join(credential.pairs)}, and not {asked}; nothing was sent",
        )


def _order_value(exchange: Exchange, order: NewOrder, currency: str) -> Decimal:
    if order.asset == currency:
        if order.amount is None:
            raise _not_counted(currency, f"; give the amount of {currency} instead of a cost")
        return order.amount
    if order.currency != currency:
        raise _not_counted(currency, f"; this pair is in {order.currency}")
    if order.cost is not None and order.side == "buy":
        return order.cost
    amount = order.amount or _ZERO
    try:
        if order.cost is not None:
            return _value_of_what_brings(exchange, order, order.cost)
        if order.side == "sell":
            bid = exchange.rate(order.currency, order.asset).sell
            return EXACT.multiply(amount, bid if order.price is None else max(order.price, bid))
        if order.price is None:
            cost = exchange.market_cost(order.currency, order.asset, amount)
            return cost if order.stop is None else max(cost, EXACT.multiply(amount, order.stop))
    except Refused as error:
        if error.retryable or error.code == "unknown_market":
            raise
        raise _not_counted(currency, f", and what this counts is not known: {error}") from error
    return EXACT.multiply(amount, order.price)


def _value_of_what_brings(exchange: Exchange, order: NewOrder, cost: Decimal) -> Decimal:
    """Return what is sold, at the best bid, to get so much of the currency: in a thin book that is more than it brings.

    Raises Refused when the order book lists less.
    """
    bids = exchange.order_book(order.currency, order.asset, MOST_LEVELS).bids
    listed = total(EXACT.multiply(*level) for level in bids)
    if listed < cost:
        raise Refused(f"the order book of {exchange.name} lists bids for only {plain(listed)} {order.currency}")
    return max(cost, EXACT.multiply(fill_cost(bids, cost).amount, bids[0][0]))


def _send_value(exchange: Exchange, send: NewWithdrawal, currency: str) -> Decimal:
    if send.asset == currency:
        return send.amount
    try:
        return EXACT.multiply(send.amount, exchange.rate(currency, send.asset).buy)
    except Refused as error:
        if error.retryable:
            raise
        raise _not_counted(currency, f", and {exchange.name} has no price of {send.asset} in it") from error


def _shown(value: Decimal, credential: Credential) -> str:
    return f"{plain(value)} {credential.currency}"


def _too_much(detail: str, limit: Decimal, value: Decimal) -> Problem:
    words = f"{detail}; nothing was sent"
    return Problem(403, "limit_exceeded", words, limit=plain(limit), value=plain(value))


def _not_counted(currency: str, why: str) -> Problem:
    """Return the problem of a request that cannot be counted in the currency of the limits."""
    return Problem(403, "limit_exceeded", f"limits are counted in {currency}{why}; nothing was sent"[:500])
