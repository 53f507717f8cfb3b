"""An account's keys at the exchanges."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...exchanges.base import Credentials
from ..context import RequestContext
from ..db.records import Registration
from ..db.registrations import AlreadyRegisteredError
from ..deadman import switch_to_json
from ..key_checks import check_permissions, key_hint, pop_credentials, try_key
from ..key_replacement import NewKey, check_finished, prepare_key, replacement_columns, unfinished
from ..params import Params
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
    _check_quota(context, id, credentials)
    facts = try_key(registry, id, credentials, context.account.id)
    check_permissions(kind, facts.permissions, allow_send=allow_send)
    values = {
        "account_id": context.account.id,
        "exchange": id,
        "username": credentials.username,
        "label": label,
        "apikey_hint": key_hint(credentials.apikey),
        "permissions": None if facts.permissions is None else json.dumps(facts.permissions),
        "exchange_account": facts.account_id,
        "allow_send": allow_send,
        "proven": registry.is_proven(id, credentials),
    }
    store = context.services.store

    def add() -> Registration:
        row = store.registrations.add(
            values,
            lambda registration_id: registry.seal(context.account.id, registration_id, credentials),
            lambda other: registry.is_same_key(other, id, credentials),
            lambda: context.services.quotas.check_registration(context.account.id),
        )
        details = {"exchange": id, "label": label, "allow_send": _text(allow_send)}
        store.audit.add(context.caller, "key.add", f"registration {row.id}", details)
        return row

    try:
        return _registration_to_json(context.write(add), registry)
    except AlreadyRegisteredError as error:
        raise _already_registered(error.registration) from None


def change(context: RequestContext) -> dict[str, Any]:
    """PATCH /exchanges/ID

    A label, `enabled` and `allow_send` are changed without a question to the exchange. A new key is checked as that of
    a registration is, and must be of the same account; see `key_replacement`.
    """
    registry, store, params = context.services.registry, context.services.store, context.params
    seen = context.registration()
    columns = _pop_columns(params)
    key, flags = None, {}
    if params.has_any(_key_fields(registry, seen)):
        flags = {name: params.pop_bool(name, default=False) for name in ("other_account", "force")}
        credentials = pop_credentials(registry.kind(seen.exchange), params, username=seen.username)
        allow_send = columns.get("allow_send", seen.allow_send)
        key = prepare_key(store, registry, seen, credentials, allow_send=allow_send)
    params.finish()
    if not columns and key is None:
        raise Problem(422, "invalid_request", "nothing to change: give label, enabled, allow_send or a new key")

    def write() -> Registration:
        row = _locked(context, seen)
        new = dict(columns)
        if key is not None:
            new |= replacement_columns(store, registry, row, seen, key, **flags)
        changed = store.registrations.change(
            row, new, lambda other: key is not None and registry.is_same_key(other, seen.exchange, key.credentials)
        )
        _record_change(context, row, changed, key, flags)
        return changed

    try:
        return _registration_to_json(context.write(write), registry)
    except AlreadyRegisteredError as error:
        raise _already_registered(error.registration) from None


def delete(context: RequestContext) -> dict[str, Any]:
    """DELETE /exchanges/ID: the key is gone, and the journal stays. Twice is no error."""
    force = context.params.pop_bool("force", default=False)
    context.params.finish()
    store, id = context.services.store, context.path_id("id")
    if context.account.registration is None and store.registrations.is_deleted(context.account.id, id):
        return {"id": id, "deleted": True}
    seen = context.registration()

    def write() -> None:
        row = store.registrations.locked(seen.account_id, seen.id)
        if row is None:
            return
        left = unfinished(store, row)
        check_finished(left, f"registration {row.id} was not deleted", force=force)
        store.registrations.delete(row)
        details = {"exchange": row.exchange, "label": row.label, "open": str(left.open), "unknown": str(left.unknown)}
        store.audit.add(context.caller, "key.remove", f"registration {row.id}", details)

    context.write(write)
    return {"id": seen.id, "deleted": True}


def permissions(context: RequestContext) -> list[str]:
    """GET /exchanges/ID/permissions: what the exchange says now that the key may do; the registration shows it, too."""
    context.params.finish()
    registration = context.registration()
    with context.services.registry.open(registration) as exchange:
        found = sorted(exchange.permissions())
    context.services.store.registrations.set_permissions(registration, json.dumps(found))
    return found


def _pop_columns(params: Params) -> dict[str, Any]:
    """Return what is to be changed that is no part of a key."""
    columns: dict[str, Any] = {}
    if params.has("label"):
        columns["label"] = params.pop_label("label")
    for name in ("enabled", "allow_send"):
        if params.has(name):
            columns[name] = params.pop_bool(name, default=False)
    return columns


def _key_fields(registry: ExchangeRegistry, registration: Registration) -> set[str]:
    """Return the names of the fields that the key of a registration has; none where its exchange is not offered now."""
    if registration.exchange not in registry.ids():
        return set()
    return {name for field in registry.kind(registration.exchange).form for name in (field.name, *field.also)}


def _locked(context: RequestContext, seen: Registration) -> Registration:
    """Return a registration as it is now, within a write. Raises Problem 404 when it was deleted meanwhile."""
    row = context.services.store.registrations.locked(seen.account_id, seen.id)
    if row is None:
        raise Problem(404, "not_found", "this registration was deleted meanwhile")
    return row


def _record_change(
    context: RequestContext, before: Registration, after: Registration, key: NewKey | None, flags: Mapping[str, bool]
) -> None:
    """Write into the audit what was changed; last in the write."""
    rows: list[tuple[str, dict[str, str]]] = []
    if before.label != after.label:
        rows.append(("key.rename", {"from": before.label, "to": after.label}))
    if before.enabled != after.enabled:
        rows.append(("key.enable" if after.enabled else "key.disable", {}))
    if before.allow_send != after.allow_send:
        rows.append(("key.allow_send", {"to": _text(after.allow_send)}))
    if key is not None:
        is_same = "not known" if key.is_same_account is None else _text(key.is_same_account)
        rows.append(("key.replace", {"same_account": is_same, **{name: _text(flag) for name, flag in flags.items()}}))
    for what, details in rows:
        context.services.store.audit.add(context.caller, what, f"registration {after.id}", details)


def _check_quota(context: RequestContext, exchange: str, credentials: Credentials) -> None:
    """Raise Problem 429 before the exchange is asked, or 409 for an API key that is registered there already."""
    services = context.services
    try:
        services.quotas.check_registration(context.account.id)
    except Problem:
        hint = key_hint(credentials.apikey)
        # Of the others no sealed key is opened: a refusal costs little, however many registrations there are.
        rows = services.store.registrations.of_account(context.account.id, exchange=exchange) if hint else []
        for row in rows:
            if row.apikey_hint == hint and services.registry.is_same_key(row, exchange, credentials):
                raise _already_registered(row) from None
        raise


def _text(flag: bool) -> str:
    return str(flag).lower()


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
