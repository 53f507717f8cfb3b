"""An account's keys at the exchanges."""

from __future__ import annotations

import json
from typing import Any

from ...exchanges.base import Credentials, Exchange
from ...exchanges.errors import ExchangeError
from ..db.records import Registration
from ..params import Params
from ..problems import Problem, from_exchange
from ..registry import ExchangeRegistry
from ..services import Call

_STANDARD = ("username", "apikey", "apisecret")


def index(call: Call) -> list[dict[str, Any]]:
    """GET /exchanges/"""
    exchange = call.params.pop_text("exchange", default="")
    active_only = call.params.pop_bool("active_only", default=False)
    call.params.finish()
    if exchange:
        call.services.registry.kind(exchange)
    rows = call.services.store.registrations.of_account(
        call.account.id, exchange=exchange or None, active_only=active_only
    )
    return [_told(row, call.services.registry) for row in rows]


def show(call: Call) -> dict[str, Any]:
    """GET /exchanges/ID"""
    call.params.finish()
    return _told(call.registration(), call.services.registry)


def create(call: Call) -> dict[str, Any]:
    """POST /exchanges/

    `account` was a field of the 2013 protocol; the account is the one that logs in. A key that the exchange has no use
    for is not kept.
    """
    registry, params = call.services.registry, call.params
    id = params.pop_name("exchange")
    kind = registry.kind(id)
    params.pop_text("account", default="")
    label = params.pop_text("label", limit=100, default="")
    credentials = _credentials(kind, params)
    params.finish()
    permissions = _permissions(registry, id, credentials)
    values = {
        "account_id": call.account.id,
        "exchange": id,
        "username": credentials.username,
        "label": label,
        "apikey_hint": _hint(credentials.apikey),
        "permissions": None if permissions is None else json.dumps(permissions),
    }
    row = call.services.store.registrations.add(
        values, lambda number: registry.seal(call.account.id, number, credentials)
    )
    return _told(row, registry)


def _credentials(kind: type[Exchange], params: Params) -> Credentials:
    form = {field.name: field for field in kind.form}
    given = {name: params.pop_text(name, limit=8192, default="") for name in _STANDARD}
    given |= params.pop_optional(set(form) - set(_STANDARD))
    for name, field in form.items():
        if field.required and not given.get(name):
            raise Problem(422, "invalid_request", f"{kind.name} needs '{name}': {field.help}", field=name)
    kept = {name: value for name, value in given.items() if name in form}
    return Credentials(
        username=given["username"][:255],
        apikey=kept.pop("apikey", ""),
        apisecret=kept.pop("apisecret", ""),
        more={name: value for name, value in kept.items() if name != "username"},
    )


def _permissions(registry: ExchangeRegistry, id: str, credentials: Credentials) -> list[str] | None:
    """What the exchange says that the key may do; None when it cannot tell, or not now.

    Raises Problem for what it refuses for good: a wrong key, a wrong form.
    """
    try:
        with registry.exchange(id, credentials) as exchange:
            return sorted(exchange.permissions())
    except ExchangeError as error:
        if error.retryable or error.code in {"unsupported", "permission_denied"}:
            return None
        raise from_exchange(error) from error


def _hint(apikey: str) -> str:
    return apikey[:3] + "…" if len(apikey) >= 8 else "…" if apikey else ""


def _told(row: Registration, registry: ExchangeRegistry) -> dict[str, Any]:
    return {
        "id": row.id,
        "account": row.account_id,
        "exchange": row.exchange,
        "username": row.username,
        "apikey": row.apikey_hint,
        "apisecret": "<hidden>",
        "label": row.label,
        "enabled": row.enabled,
        "available": registry.available(row.exchange),
        "permissions": row.permissions and json.loads(row.permissions),
        "url": f"/exchanges/{row.id}",
    }
