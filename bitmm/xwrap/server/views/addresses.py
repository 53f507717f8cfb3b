"""The allow-list of an account: where its sends may go."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ..._names import name_among
from ..allow_list import check_address
from ..context import RequestContext
from ..db.addresses import AllowedAddress
from ..db.records import now
from ..params import Params
from ..problems import Problem
from .shared import check_printable, record_to_json

_TEXTS = (("address", 200), ("tag", 200), ("network", 100), ("label", 100))


def index(context: RequestContext) -> list[dict[str, Any]]:
    """GET /addresses"""
    context.params.finish()
    return [_to_json(entry) for entry in context.services.store.addresses.of_account(context.account.id)]


def create(context: RequestContext) -> dict[str, Any]:
    """POST /addresses

    An address that is there stays as it is: neither does its waiting time begin anew nor is it shortened. Its limits
    are changed by taking it from the list and adding it again, so that whoever may raise them has to wait.
    """
    params, store = context.params, context.services.store
    asset = name_among(params.pop_name("asset"), ())
    texts = {name: _pop_text(params, name, limit) for name, limit in _TEXTS}
    limits = {name: params.pop_amount(name) if params.has(name) else None for name in ("per_send", "per_day")}
    params.finish()
    address, network = texts["address"] or "", texts["network"]
    check_address(asset, address, network)
    usable_from = now(ago=-context.services.settings.address_wait_seconds)

    def work() -> AllowedAddress:
        entry, is_new = store.addresses.add(
            context.account.id,
            asset,
            address,
            network=network,
            tag=texts["tag"],
            label=texts["label"] or "",
            usable_from=usable_from,
            **limits,
        )
        if is_new:
            context.services.quotas.check_addresses(context.account.id)
            store.audit.add(context.caller, "address.add", f"address {entry.id}", _details(entry))
        else:
            _check_same_limits(entry, limits)
        return entry

    return _to_json(context.write(work))


def remove(context: RequestContext) -> dict[str, Any]:
    """DELETE /addresses/ID"""
    context.params.finish()
    id, store = context.path_id("address_id"), context.services.store

    def work() -> AllowedAddress:
        is_removed = store.addresses.remove(context.account.id, id)
        entry = store.addresses.get(context.account.id, id)
        if entry is None:
            raise Problem(404, "not_found", "this account has no such address; GET /addresses has its own")
        if is_removed:
            store.audit.add(context.caller, "address.remove", f"address {id}", _details(entry))
        return entry

    return _to_json(context.write(work))


def _pop_text(params: Params, name: str, limit: int) -> str | None:
    if name != "address" and not params.has(name):
        return None
    text = params.pop_text(name, limit=limit)
    check_printable(name, text)
    return text


def _check_same_limits(entry: AllowedAddress, limits: dict[str, Decimal | None]) -> None:
    for name, limit in limits.items():
        if getattr(entry, name) != limit:
            raise Problem(
                422,
                "invalid_request",
                f"this address is on the list already, as number {entry.id}, with another '{name}'; remove it and add"
                " it again, which begins its waiting time anew",
                field=name,
            )


def _details(entry: AllowedAddress) -> dict[str, str]:
    shown = _to_json(entry)
    names = ("asset", "address", "network", "tag", "per_send", "per_day", "usable_from")
    return {name: shown[name] for name in names if shown[name] is not None}


def _to_json(entry: AllowedAddress) -> dict[str, Any]:
    return {name: value for name, value in record_to_json(entry).items() if name != "account_id"}
