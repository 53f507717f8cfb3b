"""Commands of curl that make the calls of the document."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from .document import document, resolved

__all__ = ["example"]

_JSON = "application/json"
#: What stands for a field or a part of a path; others get what their schema allows.
_SAMPLES: Mapping[str, Any] = {
    "id": 1,
    "order_id": 17,
    "address_id": 4,
    "from": "USD",
    "to": "BTC",
    "currency": "USD",
    "asset": "BTC",
    "amount": "0.01",
    "price": "90000",
    "side": "buy",
    "exchange": "paper",
    "address": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
    "seconds": 60,
    "scope": "trade",
    "name": "bot1",
    "label": "main",
    "password": "a long sentence of your own",
    "key": "bot-17",
    "cancel_orders": "true",
}
#: In a body, the registration that a transfer goes to.
_TO_REGISTRATION = 2
#: What a question about a market or an address is most often asked with.
_ASKED = {"amount", "asset"}


def example(
    path: str,
    method: str,
    node: Mapping[str, Any],
    parameters: Sequence[Mapping[str, Any]],
    media_type: str,
    body: Mapping[str, Any] | None,
) -> str:
    """Return the command for the operation of a `node` with what it needs, and with a key where it takes one."""
    words = ["curl"]
    if {"basic": []} in node.get("security", ()):
        words += ["-u", "ann"]
    if method not in {"GET", "POST"}:
        words += ["-X", method]
    if any(one["in"] == "header" for one in parameters):
        words += ["-H", f"Idempotency-Key: {node['operationId']}-1"]
    if media_type == _JSON and body is not None:
        words += ["-H", f"Content-Type: {_JSON}", "-d", json.dumps(_object(body))]
    elif body is not None:
        words += [part for name, value in _object(body).items() for part in ("--data-urlencode", f"{name}={value}")]
    return shlex.join([*words, _url(path, parameters)])


def _url(path: str, parameters: Sequence[Mapping[str, Any]]) -> str:
    def chosen(place: str) -> dict[str, Any]:
        found = (one for one in parameters if one["in"] == place and (one.get("required") or one["name"] in _ASKED))
        return {one["name"]: _sample(one["name"], one["schema"]) for one in found}

    query = chosen("query")
    base: str = document()["servers"][0]["url"]
    return base + path.format_map(chosen("path")) + (f"?{urlencode(query)}" if query else "")


def _object(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with what a schema requires; with its first property where it requires none."""
    if "oneOf" in schema:
        return _object(schema["oneOf"][0])
    properties = schema["properties"]
    required = schema.get("required") or list(properties)[:1]
    values = {name: _sample(name, properties[name]) for name in required}
    return values | ({"to": _TO_REGISTRATION} if "to" in values else {})


def _sample(name: str, schema: Mapping[str, Any]) -> Any:
    if name in _SAMPLES:
        return _SAMPLES[name]
    schema = resolved(schema)
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "array":
        return [_object(schema["items"])]
    return schema.get("default", "text")
