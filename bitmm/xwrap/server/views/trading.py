"""What is done with one registration: look, buy, sell, send, receive."""

from __future__ import annotations

from dataclasses import fields as dataclass_fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from ...exchanges.models import NewOrder, NewWithdrawal, Side
from ...money import plain
from ..context import RequestContext, check_key
from ..db.records import Registration
from ..order_views import StoredAnswer
from ..problems import Problem
from ..rates import rate_to_json

_LISTED, _MOST = 50, 500


# --- what there is ----------------------------------------------------------------------------------------------------


def balance(context: RequestContext) -> dict[str, str]:
    """GET /exchanges/ID/balance"""
    context.params.finish()
    return balance_of(context, context.registration())


def balance_of(context: RequestContext, registration: Registration) -> dict[str, str]:
    """What the account owns there, open orders included, by currency."""
    with context.services.registry.open(registration) as exchange:
        return {name: plain(total) for name, total in exchange.balance().items()}


def funds(context: RequestContext) -> dict[str, Any]:
    """GET /exchanges/ID/funds"""
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return {name: _to_json(funds) for name, funds in exchange.funds().items()}


def exchange_rate(context: RequestContext) -> dict[str, str]:
    """GET /exchanges/ID/exchange_rate?from=USD&to=BTC"""
    currency, asset = context.params.pop_name("from"), context.params.pop_name("to")
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return rate_to_json(exchange.rate(currency, asset))


def markets(context: RequestContext) -> list[dict[str, Any]]:
    """GET /exchanges/ID/markets"""
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return [_to_json(market) for market in exchange.markets()]


def fills(context: RequestContext) -> list[dict[str, Any]]:
    """GET /exchanges/ID/fills?currency=USD&asset=BTC"""
    currency, asset = context.params.pop_name("currency"), context.params.pop_name("asset")
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return [_to_json(fill) for fill in exchange.fills(currency, asset)]


def deposits(context: RequestContext) -> list[dict[str, Any]]:
    """GET /exchanges/ID/deposits"""
    asset = context.params.pop_name("asset") if context.params.has("asset") else None
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return [_to_json(deposit) for deposit in exchange.deposits(asset)]


# --- orders -----------------------------------------------------------------------------------------------------------


def buy(context: RequestContext) -> StoredAnswer | dict[str, Any]:
    """POST /exchanges/ID/buy"""
    return _order(context, "buy")


def sell(context: RequestContext) -> StoredAnswer | dict[str, Any]:
    """POST /exchanges/ID/sell"""
    return _order(context, "sell")


def _order(context: RequestContext, side: Side) -> StoredAnswer | dict[str, Any]:
    params = context.params
    currency, asset = params.pop_name("currency"), params.pop_name("asset")
    cost = params.pop_amount("cost") if side == "buy" and params.has("cost") else None
    amount = params.pop_amount() if cost is None or params.has("amount") else None
    price = params.pop_amount("price") if params.has("price") else None
    dry_run = params.pop_bool("dry_run", default=False)
    params.finish()
    if cost is not None and (amount is not None or price is not None):
        other = "amount" if amount is not None else "price"
        raise Problem(422, "invalid_request", f"'cost' and '{other}' cannot both be given", field=other)
    order = NewOrder(side, currency, asset, "", amount=amount, price=price, cost=cost)
    if dry_run:
        return context.services.execution.try_out(context.registration(), order)
    return context.services.execution.place(context.registration(), order, context.idempotency_key())


def orders(context: RequestContext) -> StoredAnswer | list[dict[str, Any]]:
    """GET /exchanges/ID/orders/?status=open, or ?key=KEY"""
    if context.params.has("key"):
        return context.services.execution.order_by_key(context.registration(), _asked_key(context))
    which = context.params.pop_text("status", default="all")
    if which not in {"open", "closed", "all"}:
        raise Problem(422, "invalid_request", "'status' must be open, closed or all", field="status")
    limit, before = _page(context)
    return context.services.execution.orders(context.registration(), which, limit, before)


def order(context: RequestContext) -> dict[str, Any]:
    """GET /exchanges/ID/orders/OID"""
    context.params.finish()
    return context.services.execution.order(context.registration(), context.path_id("order_id"))


def cancel(context: RequestContext) -> dict[str, Any]:
    """DELETE /exchanges/ID/orders/OID"""
    context.params.finish()
    return context.services.execution.cancel(context.registration(), context.path_id("order_id"))


def cancel_all(context: RequestContext) -> dict[str, Any]:
    """DELETE /exchanges/ID/orders/"""
    context.params.finish()
    return context.services.execution.cancel_all(context.registration())


# --- sending and receiving --------------------------------------------------------------------------------------------


def send_to_address(context: RequestContext) -> StoredAnswer:
    """POST /exchanges/ID/send_to_address"""
    asset = context.params.pop_name("asset")
    amount = context.params.pop_amount()
    address = context.params.pop_text("address", limit=200)
    tag = context.params.pop_text("tag", limit=200) if context.params.has("tag") else None
    network = context.params.pop_text("network", limit=100) if context.params.has("network") else None
    context.params.finish()
    for name, value in (("address", address), ("tag", tag), ("network", network)):
        if value is not None and not (value.isprintable() and value == value.strip()):
            raise Problem(422, "invalid_request", f"'{name}' is not printable text", field=name)
    withdrawal = NewWithdrawal(asset, amount, address, "", tag, network)
    return context.services.execution.send(context.registration(), withdrawal, context.idempotency_key())


def withdrawals(context: RequestContext) -> StoredAnswer | list[dict[str, Any]]:
    """GET /exchanges/ID/withdrawals, or /withdrawals/?key=KEY"""
    if context.params.has("key"):
        return context.services.execution.withdrawal_by_key(context.registration(), _asked_key(context))
    limit, before = _page(context)
    return context.services.execution.withdrawals(context.registration(), limit, before)


def get_address(context: RequestContext) -> str:
    """GET /exchanges/ID/get_address?asset=BTC

    The answer is a bare text, so an address that needs a tag is refused: sent without it, the money is lost.
    """
    asset = context.params.pop_name("asset", default="BTC")
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        found = exchange.deposit_address(asset)
    if found.tag is not None:
        words = f"an address for {asset} at {exchange.name} needs a tag; ask for the deposit_address"
        raise Problem(422, "tag_required", words, field="asset")
    return found.address


def deposit_address(context: RequestContext) -> dict[str, Any]:
    """GET /exchanges/ID/deposit_address?asset=XRP"""
    asset = context.params.pop_name("asset", default="BTC")
    network = context.params.pop_text("network", limit=100) if context.params.has("network") else None
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return _to_json(exchange.deposit_address(asset, network))


def _asked_key(context: RequestContext) -> str:
    key = context.params.pop_text("key")
    context.params.finish()
    check_key(key, "key")
    return key


def _page(context: RequestContext) -> tuple[int, int | None]:
    limit = context.params.pop_int("limit", default=_LISTED)
    before = context.params.pop_int("before", default=0)
    context.params.finish()
    if not 1 <= limit <= _MOST:
        raise Problem(422, "invalid_request", f"'limit' must be 1 to {_MOST}", field="limit")
    return limit, before or None


def _to_json(record: Any) -> dict[str, Any]:
    """An exchange's record as it is told: amounts as text in plain digits, times in ISO 8601, None where nothing is
    known.
    """
    return {field.name: _text(getattr(record, field.name)) for field in dataclass_fields(record)}


def _text(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value
