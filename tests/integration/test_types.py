"""The types that the client promises: the contract in openapi.yaml has the same fields, and the server sends them."""

from __future__ import annotations

import types as builtin_types
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

import yaml

import bitmm.xwrap.server
from bitmm.xwrap import types
from bitmm.xwrap.client import InvalidRequest, XWrap
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue

CONTRACT = yaml.safe_load((Path(bitmm.xwrap.server.__path__[0]) / "openapi.yaml").read_text(encoding="utf-8"))
SCHEMAS = CONTRACT["components"]["schemas"]

#: What the contract calls a type of the client otherwise.
SCHEMA_OF = {"Balance": "RegistrationBalance", "Refusal": "Error"}
RECORDS = [kind for name in types.__all__ if is_typeddict(kind := getattr(types, name))]

#: Fields of an order that are null in those placed elsewhere and in dry runs only, as the type says in words: a program
#: that places orders need not look for None in each of them.
NULL_ELSEWHERE = {"id", "key", "side", "currency", "asset", "status", "created", "updated"}


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the properties that the contract gives a type, with those that are merged into it."""
    schema = SCHEMAS[SCHEMA_OF.get(kind.__name__, kind.__name__)]
    properties = dict(schema.get("properties", {}))
    for part in schema.get("allOf", ()):
        properties |= resolved(part).get("properties", {})
    return properties


def resolved(schema: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return SCHEMAS[schema["$ref"].rpartition("/")[2]] | {key: schema[key] for key in schema.keys() - {"$ref"}}
    return dict(schema)


def json_kinds(schema: Mapping[str, Any]) -> set[str]:
    """Return the JSON types that a schema takes; an amount is one of its own."""
    schema = resolved(schema)
    if "pattern" in schema and "0-9" in schema["pattern"]:
        return {"amount"} | ({"null"} if "null" in schema["type"] else set())
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return {{str: "string", bool: "boolean", type(None): "null"}[type(value)] for value in values}
    return {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])


def hinted_kinds(hint: Any) -> set[str]:
    """Return the same of an annotation."""
    origin = get_origin(hint)
    if origin in (Union, builtin_types.UnionType):
        return set().union(*(hinted_kinds(one) for one in get_args(hint)))
    if origin is NotRequired:
        return hinted_kinds(get_args(hint)[0])
    if origin is Literal:
        return {"boolean" if isinstance(value, bool) else "string" for value in get_args(hint)}
    if origin in (list, dict) or is_typeddict(hint):
        return {"array" if origin is list else "object"}
    names = {Decimal: "amount", str: "string", int: "integer", bool: "boolean", type(None): "null"}
    return {names[hint]}


def fields_of(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def misfit(value: object, hint: Any, name: str) -> list[str]:
    """Return what in a value is not as its annotation says, a field among it that the type does not name."""
    origin = get_origin(hint)
    if is_typeddict(hint):
        assert isinstance(value, dict), name
        fields = fields_of(hint)
        wrong = [f"{name}.{field} is not in the type" for field in value.keys() - fields.keys()]
        for field in value.keys() & fields.keys():
            wrong += misfit(value[field], fields[field], f"{name}.{field}")
        return wrong
    if origin is list:
        if not isinstance(value, list):
            return [f"{name} is {value!r}"]
        return [one for item in value for one in misfit(item, get_args(hint)[0], name)]
    if origin is dict:
        return [one for key, item in value.items() for one in misfit(item, get_args(hint)[1], f"{name}.{key}")]
    if origin in (Union, builtin_types.UnionType):
        return [] if any(not misfit(value, one, name) for one in get_args(hint)) else [f"{name} is {value!r}"]
    fits = value in get_args(hint) if origin is Literal else type(value) is hint
    return [] if fits else [f"{name} is {value!r}"]


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_a_type_has_the_fields_of_the_contract_and_their_kinds(kind):
    properties, fields = schema_of(kind), fields_of(kind)
    if kind is types.Refusal:
        # Of what is refused to be registered, before a send is in the journal, and of a call: none is a record.
        del properties["registration"], properties["usable_from"], properties["request_id"]
    assert fields.keys() == properties.keys()
    for name, hint in fields.items():
        null_elsewhere = {"null"} if kind is types.Order and name in NULL_ELSEWHERE else set()
        assert hinted_kinds(hint) | null_elsewhere == json_kinds(properties[name]), name


@pytest.mark.parametrize("kind", [types.Order, types.Withdrawal, types.Deposit, types.Fill])
def test_type_checkers_let_pass_what_the_contract_says_is_always_there(kind):
    """Of a field that is not required pyright says, at each access, that it may not be there."""
    assert kind.__required_keys__ == set(SCHEMAS[kind.__name__]["required"])


def test_every_record_of_the_contract_has_a_type():
    named = {SCHEMA_OF.get(kind.__name__, kind.__name__) for kind in RECORDS}
    objects = {name for name, schema in SCHEMAS.items() if "properties" in schema or "allOf" in schema}
    # A registration is the `info` of a Backend, as the server sent it; of a page the client returns the rows, and of
    # the answer to an order the order or the error in it.
    pages = {"FillsPage", "LedgerPage", "DepositsPage", "OrderChanges", "RateChanges", "OrderAnswer"}
    assert objects - {"Registration", *pages} == named


@pytest.fixture(scope="module")
def answers(serving) -> dict[str, tuple[Any, Any]]:
    """Everything that the client returns, and its type: of the paper exchange, and of a local Kraken."""
    with (
        KrakenVenue() as venue,
        serving(
            exchanges=("paper", "kraken"),
            exchange_urls={"kraken": venue.url},
            exchange_limits={"kraken": None},
        ) as server,
    ):
        xw, account = XWrap(server.url), server.account()
        paper = xw.create_backend(*account, "paper", "", "", "")
        kraken = xw.create_backend(*account, "kraken", "", venue.key, venue.secret, allow_send=True)
        venue.deposit("BTC", Decimal("0.5"), network="Bitcoin")
        limit = kraken.buy("EUR", "BTC", "0.01", price="1000")
        with pytest.raises(InvalidRequest):
            paper.buy("USD", "BTC", 10**6, key="refused")
        with pytest.raises(InvalidRequest):
            paper.send_to_address("BTC", 10**6, paper.get_address(), key="refused")
        assert paper.send_to_address("BTC", "0.1", paper.get_address(), key="sent")
        address = xw.add_address(*account, "BTC", paper.get_address(), per_day="0.5")
        credential = xw.add_credential(*account, "bot1", "trade", pairs=["BTC/USD"], per_day=9, currency="USD")
        found = {
            "added credential": (credential, types.NewCredential),
            "credentials": (xw.credentials(*account), list[types.Credential]),
            "revoked credential": (xw.revoke_credential(*account, "bot1"), types.Credential),
            "addresses": (xw.addresses(*account), list[types.AllowedAddress]),
            "added address": (address, types.AllowedAddress),
            "removed address": (xw.remove_address(*account, address["id"]), types.AllowedAddress),
            "list_exchanges": (xw.list_exchanges(), list[types.Exchange]),
            "exchange_rates": (xw.exchange_rates("USD", "BTC"), list[types.ExchangeRate]),
            "follow_rates": ([next(xw.follow_rates("USD", "BTC"))], list[types.ExchangeRate]),
            "follow_rate": ([next(kraken.follow_rate("EUR", "BTC"))], list[types.ExchangeRate]),
            "balance": (xw.balance(*account), list[types.Balance]),
            "exchange_rate": (paper.exchange_rate("USD", "BTC"), types.Rate),
            "markets": (paper.markets() + kraken.markets(), list[types.Market]),
            "funds": ({**paper.funds(), **kraken.funds()}, dict[str, types.Funds]),
            "market order": (paper.buy("USD", "BTC", "0.1"), types.Order),
            "order by cost": (kraken.buy("EUR", "BTC", cost=100), types.Order),
            "limit order": (limit, types.Order),
            "dry run": (paper.buy("USD", "BTC", "0.1", dry_run=True), types.Order),
            "refused order by its key": (paper.order(key="refused"), types.Order),
            "refused order by its id": (paper.order(paper.order(key="refused")["id"]), types.Order),
            "orders": (paper.orders() + kraken.orders(), list[types.Order]),
            "open orders": (kraken.orders("open"), list[types.Order]),
            "canceled order": (kraken.cancel(limit["id"]), types.Order),
            "fills": (paper.fills("USD", "BTC") + kraken.fills("EUR", "BTC"), list[types.Fill]),
            "ledger": ([*paper.ledger(), *kraken.ledger()], list[types.LedgerEntry]),
            "all deposits": (list(kraken.all_deposits()), list[types.Deposit]),
            "deposits": (kraken.deposits(), list[types.Deposit]),
            "deposit_address": (kraken.deposit_address("BTC"), types.DepositAddress),
            "withdrawals": (paper.withdrawals(), list[types.Withdrawal]),
            "withdrawal by its key": (paper.withdrawal(key="sent"), types.Withdrawal),
            "refused withdrawal by its key": (paper.withdrawal(key="refused"), types.Withdrawal),
        }
        # The same order through a registration that did not place it: an account of its own, with the same key.
        other = xw.create_backend(*server.account(), "kraken", "", venue.key, venue.secret, allow_send=True)
        kraken.buy("EUR", "BTC", "0.01", price="1000")
        found["orders placed elsewhere"] = (other.orders("open"), list[types.Order])
        return found


def test_every_answer_of_a_real_server_has_the_fields_of_its_type_and_no_other(answers):
    wrong = {}
    for call, (answer, hint) in answers.items():
        assert answer, call
        found = misfit(answer, hint, "")
        if call in {"dry run", "orders placed elsewhere"}:
            found = [one for one in found if not one.endswith("None") or one.split()[0][1:] not in NULL_ELSEWHERE]
        if found:
            wrong[call] = found
    assert wrong == {}


def test_a_refused_order_has_its_reason_in_every_record_of_it(answers):
    refused, _ = answers["refused order by its key"]
    assert refused["status"] == "rejected"
    assert refused["reason"] == refused["error"]["detail"]
    assert refused["reason"].startswith("not enough USD")
    assert answers["refused order by its id"][0]["reason"] == refused["reason"]
    listed = [order for order in answers["orders"][0] if order["key"] == "refused"]
    assert [order["reason"] for order in listed] == [refused["reason"]]
