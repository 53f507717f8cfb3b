"""The credentials of an account: named passwords that may do less than the account's own."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime
from typing import Any

from ..._names import common_name
from ...money import plain
from ..context import RequestContext
from ..credential_passwords import is_password, make_password
from ..db.credentials import NameTakenError, credential_from_row
from ..db.records import now, time_text
from ..limits import used_value
from ..params import Params, bad_field
from ..problems import Problem

_SCOPES = ("read", "trade", "send")
_MOST_CHARACTERS, _MOST_LISTED = 64, 100
_PAIR = re.compile(r"[A-Za-z0-9.:_-]{1,40}/[A-Za-z0-9.:_-]{1,40}", re.ASCII)
_LISTS = ("exchanges", "pairs")
_IN_AUDIT = ("scope", "exchanges", "pairs", "per_order", "per_day", "currency", "expires")


def index(context: RequestContext) -> list[dict[str, Any]]:
    """GET /credentials/"""
    context.params.finish()
    return [_to_json(context, row) for row in context.services.store.credentials.of_account(context.account.id)]


def create(context: RequestContext) -> dict[str, Any]:
    """POST /credentials/: the password is told once, and its digest is kept."""
    params, store = context.params, context.services.store
    name = _pop_credential_name(params)
    values: dict[str, Any] = {"name": name, "scope": _pop_scope(params)}
    if params.has("exchanges"):
        values["exchanges"] = json.dumps(_pop_exchanges(context))
    if params.has("pairs"):
        values["pairs"] = json.dumps(_pop_pairs(params))
    values |= _pop_limits(params)
    if params.has("expires"):
        values["expires"] = _pop_expires(params)
    params.finish()
    username, password = f"{context.account.name}/{name}", make_password()

    def work() -> dict[str, Any]:
        row = store.credentials.add({"account_id": context.account.id, **values}, password, username)
        context.services.quotas.check_credentials(context.account.id)
        details = {column: str(row[column]) for column in _IN_AUDIT if row[column] is not None}
        store.audit.add(context.caller, "credential.add", f"credential {name}", details)
        return row

    try:
        row = context.write(work)
    except NameTakenError:
        detail = f"there is a credential or an account '{username}' already; revoke it, or choose another name"
        raise Problem(409, "name_taken", detail, field="name") from None
    return _to_json(context, row) | {"username": username, "password": password}


def revoke(context: RequestContext) -> dict[str, Any]:
    """DELETE /credentials/NAME: a second time is no error."""
    context.params.finish()
    store, name = context.services.store, unicodedata.normalize("NFC", context.request.path_params["name"])

    def work() -> dict[str, Any]:
        is_revoked, row = store.credentials.revoke(context.account.id, name)
        if row is None:
            raise Problem(
                404, "not_found", "this account has no credential of this name; GET /credentials/ has its own"
            )
        if is_revoked:
            store.audit.add(context.caller, "credential.revoke", f"credential {name}")
        return row

    return _to_json(context, context.write(work))


def _pop_credential_name(params: Params) -> str:
    """Return the name of a credential: printable, without what a user name or a path has a meaning for."""
    name = unicodedata.normalize("NFC", params.pop_text("name"))
    is_good = name.isprintable() and name == name.strip() and not set(name) & set("/:") and name not in {".", ".."}
    if not is_good or len(name) > _MOST_CHARACTERS:
        words = f"is no name of a credential; it has at most {_MOST_CHARACTERS} printable characters, without / and :"
        raise bad_field("name", words)
    if is_password(name):
        raise bad_field("name", "is a password; choose a name that is no secret, like bot1")
    return name


def _pop_scope(params: Params) -> str:
    scope = params.pop_text("scope")
    if scope not in _SCOPES:
        raise bad_field("scope", f"is '{scope[:40]}'; it must be read, trade or send")
    return scope


def _pop_exchanges(context: RequestContext) -> list[int]:
    """Return the ids of registrations of the account. Another account's is refused as if it were absent."""
    own = {str(row.id): row.id for row in context.services.store.registrations.of_account(context.account.id)}
    given = _pop_list(context.params, "exchanges")
    for text in given:
        if text not in own:
            raise bad_field("exchanges", f"names '{text[:40]}', and this account has no such registration")
    return sorted({own[text] for text in given})


def _pop_pairs(params: Params) -> list[str]:
    given = _pop_list(params, "pairs")
    for text in given:
        if not _PAIR.fullmatch(text):
            raise bad_field("pairs", f"names '{text[:40]}', which is no pair; write the asset first, like BTC/USD")
    return sorted({"/".join(map(_common_name, text.split("/"))) for text in given})


def _pop_list(params: Params, name: str) -> list[str]:
    texts = [text.strip() for text in params.pop_text(name, limit=8192).split(",")]
    if len(texts) > _MOST_LISTED or not all(texts):
        raise bad_field(name, f"is a list with commas between, of at most {_MOST_LISTED}, none of them empty")
    return texts


def _pop_limits(params: Params) -> dict[str, str]:
    """Return the limits and their currency; there are both or neither."""
    limits = {name: plain(params.pop_amount(name)) for name in ("per_order", "per_day") if params.has(name)}
    if params.has("currency"):
        currency = _common_name(params.pop_name("currency"))
        if not limits:
            raise bad_field("currency", "is that of the limits; give per_order or per_day, too")
        return {**limits, "currency": currency}
    if limits:
        raise bad_field("currency", f"is missing: {next(iter(limits))} is counted in it")
    return {}


def _pop_expires(params: Params) -> str:
    text = params.pop_text("expires", limit=40)
    example = "write a time with its zone in the future, like 2030-01-31T12:00:00Z"
    try:
        time = datetime.fromisoformat(text)
        expires = None if time.tzinfo is None else time_text(time.astimezone(UTC))
    except (ValueError, OverflowError):
        expires = None
    if expires is None:
        raise bad_field("expires", f"is '{text}'; {example}")
    if expires <= now():
        raise bad_field("expires", f"is '{text}', which is over; {example}")
    return expires


def _common_name(name: str) -> str:
    """Return the common name of a currency or an asset; one of both cases (kPEPE) stays as it is."""
    return common_name(name) if name in {name.upper(), name.lower()} else name


def _to_json(context: RequestContext, row: dict[str, Any]) -> dict[str, Any]:
    """Return a credential as its owner sees it. `used`: of its limit of a day, None where it has none."""
    shown = {name: value for name, value in row.items() if name != "id"}
    shown |= {name: json.loads(row[name]) for name in _LISTS if row[name] is not None}
    credential = credential_from_row(row)
    used = None if credential.per_day is None else plain(used_value(context.services.store, credential))
    return shown | {"used": used}
