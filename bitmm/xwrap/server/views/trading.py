"""What is done with one registration: look, buy, sell, send, receive."""

from __future__ import annotations

from dataclasses import fields as dataclass_fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from ...exchanges.models import NewOrder, NewWithdrawal, Side
from ...money import plain
from ..db.records import Registration
from ..execution import StoredAnswer
from ..problems import Problem
from ..rates import rate_answer
from ..services import Call, check_key

_LISTED, _MOST = 50, 500


# --- what there is ----------------------------------------------------------------------------------------------------


def balance(call: Call) -> dict[str, str]:
    """GET /exchanges/ID/balance"""
    call.params.finish()
    return balance_of(call, call.registration())


def balance_of(call: Call, registration: Registration) -> dict[str, str]:
    """What the account owns there, open orders included, by currency."""
    with call.services.registry.open(registration) as exchange:
        return {name: plain(total) for name, total in exchange.balance().items()}


def funds(call: Call) -> dict[str, Any]:
    """GET /exchanges/ID/funds"""
    call.params.finish()
    with call.services.registry.open(call.registration()) as exchange:
        return {name: _told(funds) for name, funds in exchange.funds().items()}


def exchange_rate(call: Call) -> dict[str, str]:
    """GET /exchanges/ID/exchange_rate?from=USD&to=BTC"""
    currency, asset = call.params.pop_name("from"), call.params.pop_name("to")
    call.params.finish()
    with call.services.registry.open(call.registration()) as exchange:
        return rate_answer(exchange.rate(currency, asset))


def markets(call: Call) -> list[dict[str, Any]]:
    """GET /exchanges/ID/markets"""
    call.params.finish()
    with call.services.registry.open(call.registration()) as exchange:
        return [_told(market) for market in exchange.markets()]


def fills(call: Call) -> list[dict[str, Any]]:
    """GET /exchanges/ID/fills?currency=USD&asset=BTC"""
    currency, asset = call.params.pop_name("currency"), call.params.pop_name("asset")
    call.params.finish()
    with call.services.registry.open(call.registration()) as exchange:
        return [_told(fill) for fill in exchange.fills(currency, asset)]


def deposits(call: Call) -> list[dict[str, Any]]:
    """GET /exchanges/ID/deposits"""
    asset = call.params.pop_name("asset") if call.params.has("asset") else None
    call.params.finish()
    with call.services.registry.open(call.registration()) as exchange:
        return [_told(deposit) for deposit in exchange.deposits(asset)]


# --- orders -----------------------------------------------------------------------------------------------------------


def buy(call: Call) -> StoredAnswer | dict[str, Any]:
    """POST /exchanges/ID/buy"""
    return _order(call, "buy")


def sell(call: Call) -> StoredAnswer | dict[str, Any]:
    """POST /exchanges/ID/sell"""
    return _order(call, "sell")


def _order(call: Call, side: Side) -> StoredAnswer | dict[str, Any]:
    params = call.params
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
        return call.services.execution.try_out(call.registration(), order)
    return call.services.execution.place(call.registration(), order, call.key())


def orders(call: Call) -> StoredAnswer | list[dict[str, Any]]:
    """GET /exchanges/ID/orders/?status=open, or ?key=KEY"""
    if call.params.has("key"):
        return call.services.execution.order_by_key(call.registration(), _asked_key(call))
    which = call.params.pop_text("status", default="all")
    if which not in {"open", "closed", "all"}:
        raise Problem(422, "invalid_request", "'status' must be open, closed or all", field="status")
    limit, before = _page(call)
    return call.services.execution.orders(call.registration(), which, limit, before)


def order(call: Call) -> dict[str, Any]:
    """GET /exchanges/ID/orders/OID"""
    call.params.finish()
    return call.services.execution.order(call.registration(), call.number("order_id"))


def cancel(call: Call) -> dict[str, Any]:
    """DELETE /exchanges/ID/orders/OID"""
    call.params.finish()
    return call.services.execution.cancel(call.registration(), call.number("order_id"))


def cancel_all(call: Call) -> dict[str, Any]:
    """DELETE /exchanges/ID/orders/"""
    call.params.finish()
    return call.services.execution.cancel_all(call.registration())


# --- sending and receiving --------------------------------------------------------------------------------------------


def send_to_address(call: Call) -> StoredAnswer:
    """POST /exchanges/ID/send_to_address"""
    asset = call.params.pop_name("asset")
    amount = call.params.pop_amount()
    address = call.params.pop_text("address", limit=200)
    tag = call.params.pop_text("tag", limit=200) if call.params.has("tag") else None
    network = call.params.pop_text("network", limit=100) if call.params.has("network") else None
    call.params.finish()
    for name, value in (("address", address), ("tag", tag), ("network", network)):
        if value is not None and not (value.isprintable() and value == value.strip()):
            raise Problem(422, "invalid_request", f"'{name}' is not printable text", field=name)
    withdrawal = NewWithdrawal(asset, amount, address, "", tag, network)
    return call.services.execution.send(call.registration(), withdrawal, call.key())


def withdrawals(call: Call) -> StoredAnswer | list[dict[str, Any]]:
    """GET /exchanges/ID/withdrawals, or /withdrawals/?key=KEY"""
    if call.params.has("key"):
        return call.services.execution.withdrawal_by_key(call.registration(), _asked_key(call))
    limit, before = _page(call)
    return call.services.execution.withdrawals(call.registration(), limit, before)


def get_address(call: Call) -> str:
    """GET /exchanges/ID/get_address?asset=BTC

    The answer is a bare text, so an address that needs a tag is refused: sent without it, the money is lost.
    """
    asset = call.params.pop_name("asset", default="BTC")
    call.params.finish()
    with call.services.registry.open(call.registration()) as exchange:
        found = exchange.deposit_address(asset)
    if found.tag is not None:
        words = f"an address for {asset} at {exchange.name} needs a tag; ask for the deposit_address"
        raise Problem(422, "tag_required", words, field="asset")
    return found.address


def deposit_address(call: Call) -> dict[str, Any]:
    """GET /exchanges/ID/deposit_address?asset=XRP"""
    asset = call.params.pop_name("asset", default="BTC")
    network = call.params.pop_text("network", limit=100) if call.params.has("network") else None
    call.params.finish()
    with call.services.registry.open(call.registration()) as exchange:
        return _told(exchange.deposit_address(asset, network))


def _asked_key(call: Call) -> str:
    key = call.params.pop_text("key")
    call.params.finish()
    check_key(key, "key")
    return key


def _page(call: Call) -> tuple[int, int | None]:
    limit = call.params.pop_int("limit", default=_LISTED)
    before = call.params.pop_int("before", default=0)
    call.params.finish()
    if not 1 <= limit <= _MOST:
        raise Problem(422, "invalid_request", f"'limit' must be 1 to {_MOST}", field="limit")
    return limit, before or None


def _told(record: Any) -> dict[str, Any]:
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
