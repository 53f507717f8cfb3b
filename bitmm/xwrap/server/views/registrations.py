"""An account's keys at the exchanges."""

from __future__ import annotations

import json
from typing import Any

from ..context import RequestContext
from ..db.records import Registration
from ..db.registrations import AlreadyRegisteredError
from ..deadman import switch_to_json
from ..key_checks import check_permissions, key_hint, pop_credentials, read_permissions
from ..policy import may_use
from ..problems import Problem
from ..registry import ExchangeRegistry


def index(context: RequestContext) -> list[dict[str, Any]]:
    """GET /exchanges/"""
    name = context.params.pop_text("exchange", default="")
    active_only = context.params.pop_bool("active_only", default=False)
    context.params.finish()
    exchange = context.services.registry.find(name) if name else None
    rows = context.services.store.registrations.of_account(
        context.account.id, exchange=exchange, active_only=active_only
    )
    return [_registration_to_json(row, context.services.registry) for row in rows if may_use(context.caller, row)]


def show(context: RequestContext) -> dict[str, Any]:
    """GET /exchanges/ID"""
    context.params.finish()
    return _registration_to_json(context.registration(), context.services.registry)


def create(context: RequestContext) -> dict[str, Any]:
    """POST /exchanges/

    `account` was a field of the 2013 protocol; the account is the one that logs in. A key that the exchange has no use
    for is not kept, one that may withdraw needs `allow_send`, and one that the account has registered before is
    refused: each registration has idempotency keys of its own, so that the same one would be executed twice.
    """
    registry, params = context.services.registry, context.params
    id = registry.find(params.pop_text("exchange"))
    kind = registry.kind(id)
    params.pop_text("account", default="")
    label = params.pop_label("label")
    allow_send = params.pop_bool("allow_send", default=False)
    credentials = pop_credentials(kind, params)
    permissions = read_permissions(registry, id, credentials, context.account.id)
    check_permissions(kind, permissions, allow_send=allow_send)
    values = {
        "account_id": context.account.id,
        "exchange": id,
        "username": credentials.username,
        "label": label,
        "apikey_hint": key_hint(credentials.apikey),
        "permissions": None if permissions is None else json.dumps(permissions),
        "allow_send": allow_send,
        "proven": registry.is_proven(id, credentials),
    }
    try:
        row = context.services.store.registrations.add(
            values,
            lambda registration_id: registry.seal(context.account.id, registration_id, credentials),
            lambda other: registry.is_same_key(other, id, credentials),
        )
    except AlreadyRegisteredError as error:
        raise _already_registered(error.registration) from None
    return _registration_to_json(row, registry)


def _already_registered(first: Registration) -> Problem:
    """Return the problem of a key that the account has registered before: under two ids it could be used twice."""
    facts = [repr(first.label)] if first.label else []
    facts += [] if first.enabled else ["switched off"]
    shown = f" ({', '.join(facts)})" if facts else ""
    which = f"number {first.id} at {first.exchange}{shown}"
    detail = f"your account has registered this key already: it is {which}; use that one"
    return Problem(409, "already_registered", detail, field="apikey", registration=first.id)


def _registration_to_json(row: Registration, registry: ExchangeRegistry) -> dict[str, Any]:
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
        "allow_send": row.allow_send,
        **switch_to_json(row),
        "url": f"/exchanges/{row.id}",
    }
