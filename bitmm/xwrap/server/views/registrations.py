"""An account's keys at the exchanges."""

from __future__ import annotations

import json
from typing import Any

from ...exchanges.base import Credentials, Exchange
from ...exchanges.capabilities import supports
from ...exchanges.errors import ExchangeError, Refused
from ..context import RequestContext
from ..db.records import Registration
from ..db.registrations import AlreadyRegisteredError
from ..deadman import switch_to_json
from ..params import Params
from ..policy import may_use
from ..problems import Problem, from_exchange
from ..registry import ExchangeRegistry

_STANDARD = ("username", "apikey", "apisecret")
#: The codes of an exchange that cannot be asked about a key, and of a key that was accepted and may not ask.
_CANNOT_BE_ASKED = {"unsupported", "permission_denied", "exchange_url_missing"}
#: After so many seconds a registration may be tried again whose exchange did not say when.
_TRY_AGAIN_SECONDS = 10


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
    for is not kept, and one that the account has registered before is refused: each registration has idempotency keys
    of its own, so that the same one would be executed twice.
    """
    registry, params = context.services.registry, context.params
    id = registry.find(params.pop_text("exchange"))
    kind = registry.kind(id)
    params.pop_text("account", default="")
    label = params.pop_text("label", limit=100, default="")
    allow_send = params.pop_bool("allow_send", default=False)
    credentials = _credentials(kind, params)
    permissions = _permissions(registry, id, credentials, context.account.id)
    values = {
        "account_id": context.account.id,
        "exchange": id,
        "username": credentials.username,
        "label": label,
        "apikey_hint": _hint(credentials.apikey),
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


def _credentials(kind: type[Exchange], params: Params) -> Credentials:
    """Return what the exchange's form asks for, and leave nothing. Raises Problem for what is missing or not asked for.

    The fields of 2013 may always be there; one that the exchange has no use for is not kept.
    """
    standard = {name: params.pop_text(name, limit=8192, default="") for name in _STANDARD}
    given: dict[str, str] = {}
    for field in kind.form:
        texts = params.pop_optional({field.name, *field.also})
        given[field.name] = standard.get(field.name) or next((text for text in texts.values() if text), "")
        if field.required and not given[field.name]:
            problem = f"{kind.name} needs '{field.name}': {field.help}; its form is {_form_in_words(kind)}"
            raise Problem(422, "invalid_request", problem, field=field.name)
    unknown = params.remaining()
    if unknown:
        problem = f"{kind.name} has no field '{unknown[0][:40]}'; its form is {_form_in_words(kind)}"
        raise Problem(422, "invalid_request", problem, field=unknown[0][:40])
    return Credentials(
        username=standard["username"][:255],
        apikey=given.pop("apikey", ""),
        apisecret=given.pop("apisecret", ""),
        more={name: value for name, value in given.items() if value and name != "username"},
    )


def _form_in_words(kind: type[Exchange]) -> str:
    names = [field.name if field.required else f"{field.name} (if you like)" for field in kind.form]
    return ", ".join(names) or "empty"


def _permissions(registry: ExchangeRegistry, id: str, credentials: Credentials, account: int) -> list[str] | None:
    """Return what the exchange says that the key may do; None when it has no call that says it.

    Raises Problem for what it refuses for good, a wrong key or a wrong form, and for a key that could not be tried now.
    """
    try:
        with registry.exchange(id, credentials, account=account) as exchange:
            if "permissions" in supports(type(exchange)):
                return sorted(exchange.permissions())
            _check_key(exchange)
    except ExchangeError as error:
        if error.code in _CANNOT_BE_ASKED:
            return None
        raise _not_tried(error) if error.retryable else from_exchange(error) from error
    return None


def _check_key(exchange: Exchange) -> None:
    """Raise Refused when the exchange does not accept the key, when the key cannot be one, or when it cannot say so
    now: a read shows it.

    A mistyped secret could not be corrected later, because a key is registered once. A read that is refused for good
    for another reason shows that the key was accepted, or says nothing about it.
    """
    try:
        exchange.funds()
    except Refused as error:
        if error.retryable or error.code == "exchange_key_refused" or "field" in error.details:
            raise


def _not_tried(error: ExchangeError) -> Problem:
    """Return the problem of a key that the exchange could not be asked about: with a wrong secret it would be kept."""
    problem = from_exchange(error, "the key could not be tried, so it was not registered")
    problem.headers.setdefault("Retry-After", str(_TRY_AGAIN_SECONDS))
    return problem


def _hint(apikey: str) -> str:
    """Return the beginning of a key, by which its owner recognises it; of a short key not even that."""
    if not apikey:
        return ""
    return f"{apikey[:3]}…" if len(apikey) >= 8 else "…"


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
