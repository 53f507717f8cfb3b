"""What callers pass: checked, and encoded for the wire. Each function raises InvalidRequest for what cannot be sent."""

from __future__ import annotations

import base64
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from .errors import InvalidRequest
from .money import above_zero

if TYPE_CHECKING:
    from .types import Amount

__all__ = [
    "address_form",
    "asked_for",
    "audit_query",
    "basic_auth",
    "check_id",
    "check_key",
    "check_text",
    "check_timeout",
    "conditions_form",
    "credential_form",
    "credential_name",
    "encode",
    "idempotency_key",
    "key_form",
    "market_query",
    "only_key",
    "order_form",
    "order_id",
    "page_query",
    "pair_query",
    "registration_form",
    "registrations_query",
    "size_query",
    "time_query",
    "transfer_form",
    "withdrawal_form",
    "without_none",
]

_DAY = 86400


def check_text(value: object, name: str) -> str:
    """Return `value`, which must be text that can be encoded in UTF-8; `name` is what the error calls it."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be text, and is {_kind(value)}", code="invalid_argument")
    try:
        value.encode()
    except UnicodeEncodeError:
        words = f"{name} holds half a surrogate pair, so it is no text that can be sent"
        raise InvalidRequest(words, code="invalid_argument") from None
    return value


def _kind(value: object) -> str:
    """Return what an error says of a value that it may not show: the name of its type."""
    return "None" if value is None else f"of type {type(value).__name__}"


def check_id(value: object) -> int:
    """Return `value` as an int; it may be given as ASCII digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    way = "pass its 'id'" if isinstance(value, Mapping) else "an id is a whole number, like 41"
    raise InvalidRequest(f"the id is {_shown(value)}; {way}", code="invalid_argument")


def order_id(order: object) -> int:
    """Return the id of an order that is given as its record, or by this id."""
    return check_id(order["id"] if isinstance(order, Mapping) and "id" in order else order)


def check_timeout(seconds: object) -> float:
    """Return `seconds`, a number above zero and at most a day."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= _DAY:
        words = f"timeout is {_shown(seconds)}; it must be a number of seconds, above 0 and at most a day ({_DAY})"
        raise InvalidRequest(words, code="invalid_argument")
    return seconds


def _shown(value: object) -> str:
    """Return what an error shows of a value that is no secret: at most 40 characters."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def idempotency_key(key: object) -> str:
    """Return the caller's `key`, or a random one for None."""
    return os.urandom(16).hex() if key is None else check_key(key)


def check_key(key: object) -> str:
    """Return `key`, which must be able to be an idempotency key."""
    if not isinstance(key, str) or not re.fullmatch(r"[!-~]([ -~]{0,253}[!-~])?", key):
        words = f"key is {_shown(key)}; it must be 1 to 255 printable ASCII characters, and no space at its ends"
        raise InvalidRequest(words, code="invalid_key")
    return key


def only_key(key: str, id: object) -> str:
    """Return the `key` that an order is asked for by; an `id` beside it might be another order's."""
    if id is not None:
        words = "an order is asked for by its id or by its key, not by both; leave one out"
        raise InvalidRequest(words, code="invalid_argument")
    return key


def basic_auth(username: str, password: str) -> Mapping[str, str]:
    """Return the header of HTTP Basic (RFC 7617), in UTF-8; a colon ends the user name, so it cannot hold one."""
    if ":" in check_text(username, "username"):
        words = f"the user name {_shown(username)} holds a colon, which HTTP Basic cannot send"
        raise InvalidRequest(words, code="invalid_argument")
    pair = f"{username}:{check_text(password, 'password')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def registrations_query(exchange: str | None, *, active_only: bool) -> dict[str, str]:
    """Return the query of a list of registrations: at one exchange or, for None, at all."""
    if exchange is not None and not check_text(exchange, "exchange"):
        raise InvalidRequest(
            "exchange is empty; write it like kraken, or leave it out for all", code="invalid_argument"
        )
    return {**without_none(exchange=exchange), "active_only": "true" if active_only else "false"}


def registration_form(
    exchange: str, uname: str, key: str, secret: str, label: str, fields: Mapping[str, str], *, allow_send: bool
) -> dict[str, str]:
    """Return the form of a new registration, under the names of the wire; `fields` are what an exchange wants more."""
    for name in fields.keys() & {"account", "apikey", "apisecret"}:
        words = f"'{name}' is no further field: key and secret come before, and the account is the one that logs in"
        raise InvalidRequest(words, code="invalid_argument")
    # Checked here, so that an error calls them as the caller does.
    form = {
        "exchange": check_text(exchange, "exchange"),
        "username": check_text(uname, "uname"),
        "apikey": check_text(key, "key"),
        "apisecret": check_text(secret, "secret"),
        "label": check_text(label, "label"),
        **{name: check_text(value, name) for name, value in fields.items()},
    }
    # Not sent when empty or false: a server of 2013 knows neither.
    if not label:
        del form["label"]
    return {**form, "allow_send": "true"} if allow_send else form


def key_form(key: str, secret: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Return the form of a key that replaces another; `fields` are what its exchange wants more."""
    for name in fields.keys() & {"apikey", "apisecret", "label", "enabled", "allow_send"}:
        words = f"'{name}' is no further field of a key; key and secret come before"
        raise InvalidRequest(words, code="invalid_argument")
    standard = {"apikey": check_text(key, "key"), "apisecret": check_text(secret, "secret")}
    return {**standard, **{name: check_text(value, name) for name, value in fields.items()}}


def pair_query(currency: str, asset: str) -> dict[str, str]:
    """Return the query of a rate, under the names of the wire; an error calls them as the caller does."""
    for name, text in (("currency", currency), ("asset", asset)):
        if not check_text(text, name):
            raise InvalidRequest(f"{name} is empty; write it like USD or BTC", code="invalid_argument")
    return {"from": currency, "to": asset}


def market_query(currency: str, asset: str, **counts: int | None) -> dict[str, str]:
    """Return the query of what is asked about a market; `counts` are how much of it, at most, where that is said."""
    pair = pair_query(currency, asset)
    numbers = {name: str(check_id(count)) for name, count in counts.items() if count is not None}
    return {"currency": pair["from"], "asset": pair["to"], **numbers}


def size_query(side: str, *, amount: Amount | None = None, cost: Amount | None = None) -> dict[str, str]:
    """Return the query of what an order would cost: of an `amount` of the asset, or of a `cost` in the currency."""
    given = {"amount": amount, "cost": cost}
    sizes = {name: above_zero(size, name) for name, size in given.items() if size is not None}
    if len(sizes) != 1:
        words = f"an order has either an amount or a cost; {'both are' if sizes else 'neither is'} given"
        raise InvalidRequest(words, code="invalid_amount")
    return {"side": check_text(side, "side"), **sizes}


def time_query(since: object) -> dict[str, str]:
    """Return the query for what there is since a time: a datetime, its text in ISO 8601, or None for no such time.

    A datetime has its zone: one without would be taken for another time than it means to most of Python.
    """
    if isinstance(since, datetime):
        if since.tzinfo is None:
            words = "since is a datetime without a zone; write it like datetime.now(timezone.utc)"
            raise InvalidRequest(words, code="invalid_argument")
        since = since.isoformat()
    return {} if since is None else {"since": check_text(since, "since")}


def order_form(currency: str, asset: str, **amounts: Amount | None) -> dict[str, str]:
    """Return the form of an order: `amount` or `cost`, one of them, and `price` where given, in plain digits."""
    given = {name: above_zero(amount, name) for name, amount in amounts.items() if amount is not None}
    if ("amount" in given) == ("cost" in given):
        found = "both are" if "amount" in given else "neither is"
        raise InvalidRequest(f"an order has either an amount or a cost; {found} given", code="invalid_amount")
    return {"currency": currency, "asset": asset, **given}


def amounts_form(**amounts: Amount | None) -> dict[str, str]:
    """Return the form of amounts, one of which must be given, in plain digits."""
    form = {name: above_zero(amount, name) for name, amount in amounts.items() if amount is not None}
    if not form:
        raise InvalidRequest(f"nothing to change: give {' or '.join(amounts)}", code="invalid_argument")
    return form


def conditions_form(*, post_only: bool, time_in_force: str | None, expires: object) -> dict[str, str]:
    """Return the fields for the conditions of a limit order that are given; a time in ISO 8601."""
    if not isinstance(post_only, bool):
        raise InvalidRequest(f"post_only is {_shown(post_only)}; it must be True or False", code="invalid_argument")
    if isinstance(expires, datetime):
        if expires.tzinfo is None:
            raise InvalidRequest(
                "expires is a time without a zone, which could be any; write datetime(..., tzinfo=UTC)",
                code="invalid_argument",
            )
        expires = expires.isoformat()
    form = {"post_only": "true"} if post_only else {}
    if time_in_force is not None:
        form["time_in_force"] = check_text(time_in_force, "time_in_force")
    return form if expires is None else {**form, "expires": check_text(expires, "expires")}


def withdrawal_form(
    asset: str, amount: Amount, address: str, *, tag: str | None, network: str | None
) -> dict[str, str]:
    """Return the form of a send, its amount in plain digits."""
    return {
        "asset": asset,
        "amount": above_zero(amount, "amount"),
        "address": address,
        **without_none(tag=tag, network=network),
    }


def transfer_form(to: int, amount: Amount, asset: str) -> dict[str, str]:
    """Return the form of a transfer to the registration `to`, its amount in plain digits."""
    return {"to": str(check_id(to)), "amount": above_zero(amount, "amount"), "asset": asset}


def address_form(asset: str, address: str, texts: Mapping[str, str | None], **limits: Amount | None) -> dict[str, str]:
    """Return the form of an address for the allow-list, its limits in plain digits; what is None is left out."""
    given = {name: above_zero(limit, name) for name, limit in limits.items() if limit is not None}
    return {"asset": asset, "address": address, **without_none(**texts), **given}


def credential_name(name: str) -> str:
    """Return the name of a credential as a server keeps it, in the normal form C of Unicode."""
    return unicodedata.normalize("NFC", check_text(name, "name"))


def credential_form(
    name: str,
    scope: str,
    exchanges: Iterable[int] | None,
    pairs: Iterable[str] | None,
    texts: Mapping[str, str | None],
    **limits: Amount | None,
) -> dict[str, str]:
    """Return the form of a credential, its limits in plain digits; what is None is left out."""
    form = {"name": credential_name(name), "scope": scope, **without_none(**texts)}
    if exchanges is not None:
        form["exchanges"] = ",".join(str(check_id(id)) for id in exchanges)
    if pairs is not None:
        if isinstance(pairs, str):
            raise InvalidRequest("pairs is one text; pass a list, like ['BTC/USD']", code="invalid_argument")
        form["pairs"] = ",".join(pairs)
    return form | {name: above_zero(limit, name) for name, limit in limits.items() if limit is not None}


def page_query(limit: int, before: int | None) -> dict[str, str]:
    """Return the query of one page of records: at most `limit` of them, those with ids below `before`."""
    query = {"limit": str(check_id(limit))}
    if before is not None:
        query["before"] = str(check_id(before))
    return query


def history_status(status: str) -> str:
    """Return which orders of a history are asked for."""
    if check_text(status, "status") not in ("all", "closed"):
        words = f"status is {_shown(status)}; it must be all or closed here, and orders() has the open ones"
        raise InvalidRequest(words, code="invalid_argument")
    return status


def audit_query(since: object, limit: int, before: int | None) -> dict[str, str]:
    """Return the query for a page of the audit. `since`: a datetime, or its text in ISO 8601."""
    return {**time_query(since), **page_query(limit, before)}


def asked_for(query: Mapping[str, str] | None) -> dict[str, str]:
    """Return those fields of a query that a record of the answer has as they are here, where it has them."""
    return {name: value for name, value in (query or {}).items() if name in ("currency", "asset")}


def without_none(**fields: str | None) -> dict[str, str]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def encode(fields: Mapping[str, str]) -> str:
    """Return `fields`, which must be text, percent-encoded in UTF-8 as a query or a form."""
    # As bytes: urlencode takes str() of anything else, which is the name of an enum's member and not its text.
    return urlencode({name: check_text(value, name).encode() for name, value in fields.items()})
