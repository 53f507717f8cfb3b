"""What leaves an exchange for an address, what comes in, and all that moved its money."""

from __future__ import annotations

from typing import Any

from ...exchanges.models import Deposit, DepositAddress, NewTransfer, NewWithdrawal
from ..context import RequestContext
from ..order_views import StoredAnswer
from ..problems import Problem
from .shared import check_printable, page_to_json, pop_cursor, pop_key, pop_page, pop_past, pop_place


def send_to_address(context: RequestContext) -> StoredAnswer:
    """POST /exchanges/ID/send_to_address"""
    params = context.params
    asset = params.pop_name("asset")
    amount = params.pop_amount()
    address = params.pop_text("address", limit=200)
    tag = params.pop_text("tag", limit=200) if params.has("tag") else None
    network = params.pop_text("network", limit=100) if params.has("network") else None
    params.finish()
    for name, value in (("address", address), ("tag", tag), ("network", network)):
        if value is not None:
            check_printable(name, value)
    withdrawal = NewWithdrawal(asset, amount, address, "", tag, network)
    return context.services.execution.send(
        context.caller, context.registration(), withdrawal, context.idempotency_key()
    )


def transfer(context: RequestContext) -> StoredAnswer:
    """POST /exchanges/ID/transfer"""
    asset = context.params.pop_name("asset")
    amount = context.params.pop_amount()
    to = context.params.pop_int("to")
    context.params.finish()
    asked = NewTransfer(asset, amount, "", "", to_registration=to)
    return context.services.execution.send(context.caller, context.registration(), asked, context.idempotency_key())


def withdrawals(context: RequestContext) -> StoredAnswer | list[dict[str, Any]]:
    """GET /exchanges/ID/withdrawals, or /withdrawals/?key=KEY"""
    if context.params.has("key"):
        return context.services.execution.withdrawal_by_key(context.registration(), pop_key(context.params))
    limit, before = pop_page(context.params)
    return context.services.execution.withdrawals(context.registration(), limit, before)


def deposits(context: RequestContext) -> list[Deposit] | dict[str, Any]:
    """GET /exchanges/ID/deposits, also ?paged=true and ?cursor=CURSOR"""
    asset = context.params.pop_name("asset") if context.params.has("asset") else None
    is_paged, cursor = pop_cursor(context.params)
    with context.services.registry.open(context.registration()) as exchange:
        name = None if asset is None else exchange.common_asset(asset)
        if is_paged:
            return page_to_json("deposits", exchange.deposits_page(name, cursor))
        return exchange.deposits(name)


def ledger(context: RequestContext) -> dict[str, Any]:
    """GET /exchanges/ID/ledger?since=TIME&cursor=CURSOR"""
    since = pop_past(context.params, "since", "entries")
    cursor = pop_place(context.params)
    with context.services.registry.open(context.registration()) as exchange:
        return page_to_json("ledger", exchange.ledger_page(since, cursor))


def get_address(context: RequestContext) -> str:
    """GET /exchanges/ID/get_address?asset=BTC

    The answer is a bare text, so an address that needs a tag is refused: sent without it, the money is lost.
    """
    asset = context.params.pop_name("asset", default="BTC")
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        found = exchange.deposit_address(exchange.common_asset(asset))
    if found.tag is not None:
        detail = f"an address for {found.asset} at {exchange.name} needs a tag; ask for deposit_address, which has both"
        raise Problem(422, "tag_required", detail, field="asset")
    return found.address


def deposit_address(context: RequestContext) -> DepositAddress:
    """GET /exchanges/ID/deposit_address?asset=XRP"""
    asset = context.params.pop_name("asset", default="BTC")
    network = context.params.pop_text("network", limit=100) if context.params.has("network") else None
    context.params.finish()
    with context.services.registry.open(context.registration()) as exchange:
        return exchange.deposit_address(exchange.common_asset(asset), network)
