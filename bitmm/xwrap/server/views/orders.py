"""Orders: place, list, cancel."""

from __future__ import annotations

from typing import Any, cast, get_args

from ...exchanges.conditions import check_conditions
from ...exchanges.models import NewOrder, Side, TimeInForce
from ..amendments import Amendment
from ..context import RequestContext
from ..order_views import StoredAnswer
from ..params import Params, bad_field
from ..problems import Problem
from .shared import pop_key, pop_page


def buy(context: RequestContext) -> StoredAnswer | dict[str, Any]:
    """POST /exchanges/ID/buy"""
    return _place(context, "buy")


def sell(context: RequestContext) -> StoredAnswer | dict[str, Any]:
    """POST /exchanges/ID/sell"""
    return _place(context, "sell")


def _place(context: RequestContext, side: Side) -> StoredAnswer | dict[str, Any]:
    order = pop_order(context.params, side)
    dry_run = context.params.pop_bool("dry_run", default=False)
    context.params.finish()
    check_conditions(order)
    if dry_run:
        return context.services.execution.try_out(context.caller, context.registration(), order)
    return context.services.execution.place(context.caller, context.registration(), order, context.idempotency_key())


def pop_order(params: Params, side: Side) -> NewOrder:
    """Return the order that the parameters describe; whether its conditions fit it is not checked."""
    currency, asset = params.pop_name("currency"), params.pop_name("asset")
    cost = params.pop_amount("cost") if params.has("cost") else None
    amount = params.pop_amount() if cost is None or params.has("amount") else None
    price = params.pop_amount("price") if params.has("price") else None
    stop = params.pop_amount("stop") if params.has("stop") else None
    post_only = params.pop_bool("post_only", default=False)
    time_in_force = _pop_time_in_force(params)
    expires = params.pop_time("expires")
    if cost is not None and (amount is not None or price is not None):
        other = "amount" if amount is not None else "price"
        raise Problem(422, "invalid_request", f"'cost' and '{other}' cannot both be given; leave one out", field=other)
    return NewOrder(
        *(side, currency, asset, ""),
        amount=amount,
        price=price,
        cost=cost,
        post_only=post_only,
        time_in_force=time_in_force,
        expires=expires,
        stop=stop,
    )


def _pop_time_in_force(params: Params) -> TimeInForce | None:
    if not params.has("time_in_force"):
        return None
    text = params.pop_text("time_in_force")
    for known in get_args(TimeInForce):
        if text == known:
            return cast("TimeInForce", known)
    raise bad_field("time_in_force", f"is '{text[:40]}'; it must be {', '.join(get_args(TimeInForce))}")


def index(context: RequestContext) -> StoredAnswer | list[dict[str, Any]]:
    """GET /exchanges/ID/orders/?status=open, or ?key=KEY"""
    if context.params.has("key"):
        return context.services.execution.order_by_key(context.registration(), pop_key(context.params))
    which = context.params.pop_text("status", default="all")
    if which not in {"open", "closed", "all"}:
        raise Problem(
            422, "invalid_request", f"'status' is '{which[:40]}'; it must be open, closed or all", field="status"
        )
    limit, before = pop_page(context.params)
    return context.services.execution.orders(context.registration(), which, limit, before)


def show(context: RequestContext) -> dict[str, Any]:
    """GET /exchanges/ID/orders/OID"""
    context.params.finish()
    return context.services.execution.order(context.registration(), context.path_id("order_id"))


def amend(context: RequestContext) -> StoredAnswer:
    """POST /exchanges/ID/orders/OID"""
    params = context.params
    price, amount = (params.pop_amount(name) if params.has(name) else None for name in ("price", "amount"))
    params.finish()
    change = Amendment(context.path_id("order_id"), price, amount)
    return context.services.amendments.amend(context.caller, context.registration(), change, context.idempotency_key())


def cancel(context: RequestContext) -> dict[str, Any]:
    """DELETE /exchanges/ID/orders/OID"""
    context.params.finish()
    return context.services.execution.cancel(context.caller, context.registration(), context.path_id("order_id"))


def cancel_all(context: RequestContext) -> dict[str, Any]:
    """DELETE /exchanges/ID/orders/"""
    context.params.finish()
    return context.services.execution.cancel_all(context.caller, context.registration())
