"""openapi.yaml is the contract: the server has exactly its routes, and answers in its shapes."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
import yaml
from jsonschema import Draft202012Validator

import bitmm.xwrap.server

DOCUMENT = yaml.safe_load((Path(bitmm.xwrap.server.__path__[0]) / "openapi.yaml").read_text(encoding="utf-8"))
METHODS = {"get", "post", "delete", "patch", "put"}


def promised(path, method, status):
    """The schema that the contract promises for an answer, with everything that it refers to."""
    responses = DOCUMENT["paths"][path][method]["responses"]
    response = responses.get(str(status)) or responses["default"]
    while "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return {**response["content"]["application/json"]["schema"], "components": DOCUMENT["components"]}


def test_the_server_has_exactly_the_routes_of_the_contract():
    from bitmm.xwrap.server.app import ROUTES

    told = {(path, method) for path, item in DOCUMENT["paths"].items() for method in item if method in METHODS}
    assert {(route.path, method.lower()) for route in ROUTES for method in route.methods - {"HEAD"}} == told


def test_every_path_says_which_methods_it_takes(serving):
    with serving(exchanges=("paper",)) as server:
        for path, item in DOCUMENT["paths"].items():
            answer = requests.request("PROPFIND", server.url + path.replace("{id}", "1"), timeout=30)
            assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
            told = set(answer.headers["Allow"].lower().split(", "))
            assert told - {"head"} == METHODS & set(item)
            assert ("head" in told) == ("get" in item)


def test_every_reference_in_the_contract_leads_somewhere():
    def references(node):
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in set(references(DOCUMENT)):
        node = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


@pytest.fixture(scope="module")
def owner(server):
    auth = server.account()
    return auth, server.registration(auth)


ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.01"}
CALLS = [
    ("get", "/list_exchanges", None, 200),
    ("get", "/exchange_rates?from=USD&to=BTC", None, 200),
    ("get", "/exchange_rates?from=USD", None, 422),
    ("get", "/balance", None, 200),
    ("get", "/value?currency=EUR", None, 200),
    ("get", "/value", None, 422),
    ("get", "/exchanges", None, 200),
    ("get", "/exchanges?exchange=", None, 200),
    ("post", "/exchanges", {"exchange": "paper"}, 201),
    ("post", "/exchanges", {"exchange": "nowhere"}, 422),
    ("get", "/exchanges/{id}", None, 200),
    ("get", "/exchanges/{id}/balance", None, 200),
    ("get", "/exchanges/{id}/funds", None, 200),
    ("get", "/exchanges/{id}/exchange_rate?from=USD&to=BTC", None, 200),
    ("get", "/exchanges/{id}/markets", None, 200),
    ("post", "/exchanges/{id}/buy", ORDER, 200),
    ("post", "/exchanges/{id}/buy", ORDER | {"price": "1000"}, 200),
    ("post", "/exchanges/{id}/buy", ORDER | {"dry_run": "true"}, 200),
    ("post", "/exchanges/{id}/buy", ORDER | {"amount": "1000"}, 422),
    ("post", "/exchanges/{id}/buy", ORDER | {"price": "0.001"}, 422),
    ("post", "/exchanges/{id}/sell", ORDER, 200),
    ("get", "/exchanges/{id}/orders", None, 200),
    ("get", "/exchanges/{id}/orders?status=open", None, 200),
    ("get", "/exchanges/{id}/orders?key=never", None, 404),
    ("delete", "/exchanges/{id}/orders", None, 200),
    ("put", "/exchanges/{id}/deadman", {"seconds": "60"}, 200),
    ("put", "/exchanges/{id}/deadman", {"seconds": "1"}, 422),
    ("put", "/exchanges/{id}/deadman", {"seconds": "60", "at": "once"}, 422),
    ("put", "/deadman", {"seconds": "0"}, 200),
    ("post", "/freeze", {"cancel_orders": "true"}, 200),
    ("post", "/freeze", {"cancel": "true"}, 422),
    ("delete", "/freeze", None, 200),
    ("get", "/audit", None, 200),
    ("get", "/audit?since=2026-11-27T10:00:00Z&limit=5", None, 200),
    ("get", "/audit?since=yesterday", None, 422),
    ("get", "/audit?account=1", None, 422),
    ("get", "/exchanges/{id}/fills?currency=USD&asset=BTC", None, 200),
    ("get", "/exchanges/{id}/fills?currency=USD&asset=BTC&paged=true", None, 200),
    ("get", "/exchanges/{id}/fills?currency=USD&asset=BTC&cursor=x", None, 422),
    (
        "post",
        "/exchanges/{id}/send_to_address",
        {"asset": "BTC", "amount": "0.01", "address": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"},
        200,
    ),
    ("get", "/exchanges/{id}/withdrawals", None, 200),
    ("get", "/exchanges/{id}/deposits", None, 422),
    ("get", "/exchanges/{id}/deposits?paged=true", None, 422),
    ("get", "/exchanges/{id}/ledger", None, 200),
    ("get", "/exchanges/{id}/ledger?since=2026-01-01T00:00:00Z", None, 200),
    ("get", "/exchanges/{id}/ledger?since=2999-01-01T00:00:00Z", None, 422),
    ("get", "/exchanges/{id}/ledger?cursor=x", None, 422),
    ("get", "/exchanges/{id}/ledger?paged=true", None, 422),
    ("get", "/exchanges/{id}/get_address", None, 200),
    ("get", "/exchanges/{id}/deposit_address", None, 200),
    ("get", "/health", None, 200),
    ("get", "/ready", None, 200),
]


@pytest.mark.parametrize(("method", "path", "form", "status"), CALLS, ids=[f"{c[0]} {c[1]} {c[3]}" for c in CALLS])
def test_every_answer_has_the_shape_of_the_contract(server, owner, method, path, form, status):
    auth, id = owner
    answer = requests.request(method, server.url + path.replace("{id}", str(id)), data=form, auth=auth, timeout=30)
    assert answer.status_code == status, answer.text
    schema = promised(path.partition("?")[0], method, status)
    assert sorted(error.message for error in Draft202012Validator(schema).iter_errors(answer.json())) == []


MANY = [
    ([{"side": "sell", **ORDER, "key": "1"}, {"side": "buy", **ORDER, "amount": "1000", "key": "2"}], 200),
    ([{"side": "buy", "currency": "USD", "asset": "BTC", "cost": "100", "key": "3"}], 200),
    ([{"side": "buy", **ORDER, "price": "1000", "post_only": each, "key": f"4 {each}"} for each in (True, "1")], 200),
    ([{"side": "sell", **ORDER, "key": str(number)} for number in range(10, 25)], 200),
    ([{"side": "sell", **ORDER, "key": str(number)} for number in range(30, 46)], 422),
    *(
        ([{"side": "sell", **ORDER, "key": "5", **odd}], 422)
        for odd in ({"key": ""}, {"amount": 0.1}, {"dry_run": "1"})
    ),
    *(([{"side": "sell", **ORDER, "key": "5", **odd}], 422) for odd in ({"side": "hold"}, {"post_only": None})),
    ([{"side": "sell", **ORDER}], 422),
    ([], 422),
    (["order"], 422),
]


@pytest.mark.parametrize(("orders", "status"), MANY)
def test_the_contract_allows_the_many_orders_that_the_server_takes(server, owner, orders, status):
    auth, id = owner
    url, body = f"{server.url}/exchanges/{id}/orders", {"orders": orders}
    answer = requests.post(url, json=body, auth=auth, timeout=30)
    assert answer.status_code == status, answer.text
    promise = DOCUMENT["components"]["requestBodies"]["ManyOrders"]["content"]["application/json"]["schema"]
    validator = Draft202012Validator({**promise, "components": DOCUMENT["components"]})
    assert validator.is_valid(body) == (status == 200)
    schema = promised("/exchanges/{id}/orders", "post", status)
    assert sorted(error.message for error in Draft202012Validator(schema).iter_errors(answer.json())) == []


COST = {"currency": "USD", "asset": "BTC", "cost": "100"}
ADDRESS = {"asset": "BTC", "address": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"}
FORMS = [
    ("post", "/exchanges/{id}/buy", ORDER, True),
    ("post", "/exchanges/{id}/buy", COST, True),
    ("post", "/exchanges/{id}/buy", ORDER | COST, False),
    ("post", "/exchanges/{id}/buy", COST | {"price": "100"}, False),
    ("post", "/exchanges/{id}/buy", {"currency": "USD", "asset": "BTC"}, False),
    ("post", "/exchanges/{id}/sell", ORDER, True),
    ("post", "/exchanges/{id}/sell", COST, True),
    ("post", "/exchanges/{id}/sell", ORDER | COST, False),
    *(("put", "/exchanges/{id}/deadman", {"seconds": each}, True) for each in ("0", "5", "0060", "999", "86400")),
    *(
        ("put", "/exchanges/{id}/deadman", {"seconds": each}, False)
        for each in ("", "4", "86401", "100000", "-5", "6.0")
    ),
    ("post", "/addresses", ADDRESS, True),
    *(("post", "/addresses", ADDRESS | {each: ""}, False) for each in ("asset", "address", "network", "tag", "label")),
    ("post", "/credentials", {"name": "bot 1", "scope": "read"}, True),
    *(("post", "/credentials", {"name": each, "scope": "read"}, False) for each in ("", "a/b", "a:b", "b" * 65)),
    ("post", "/credentials", {"name": "bot2", "scope": "read", "pairs": ""}, False),
]


@pytest.mark.parametrize(("method", "path", "form", "is_allowed"), FORMS, ids=[f"{c[1]} {c[2]}" for c in FORMS])
def test_the_contract_allows_the_forms_that_the_server_takes(server, owner, method, path, form, is_allowed):
    auth, id = owner
    answer = requests.request(method, server.url + path.replace("{id}", str(id)), data=form, auth=auth, timeout=30)
    assert answer.ok == is_allowed, answer.text
    body = DOCUMENT["paths"][path][method]["requestBody"]
    if "$ref" in body:
        body = DOCUMENT["components"]["requestBodies"][body["$ref"].rpartition("/")[2]]
    promise = body["content"]["application/x-www-form-urlencoded"]["schema"]
    assert Draft202012Validator({**promise, "components": DOCUMENT["components"]}).is_valid(form) == is_allowed


def test_one_order_has_the_shape_of_the_contract(server, owner):
    auth, id = owner
    url = f"{server.url}/exchanges/{id}"
    order = requests.post(f"{url}/buy", data=ORDER | {"price": "1000"}, auth=auth, timeout=30).json()
    for method in ("get", "delete"):
        answer = requests.request(method, f"{url}/orders/{order['id']}", auth=auth, timeout=30)
        schema = promised("/exchanges/{id}/orders/{order_id}", method, 200)
        assert list(Draft202012Validator(schema).iter_errors(answer.json())) == []


def test_the_contract_is_served(server):
    answer = requests.get(f"{server.url}/openapi.yaml", timeout=30)
    assert yaml.safe_load(answer.text) == DOCUMENT


def test_metrics_count_calls_and_what_is_unknown(server):
    requests.get(f"{server.url}/list_exchanges/", timeout=30)
    lines = requests.get(f"{server.url}/metrics", timeout=30).text.splitlines()
    assert any(line.startswith('xwrap_calls_total{method="GET",path="/list_exchanges",status="200"}') for line in lines)
    assert 'xwrap_unknown{exchange="paper",journal="orders"} 0.0' in lines


def test_ready_tells_what_is_unknown(server):
    assert requests.get(f"{server.url}/ready", timeout=30).json()["unknown"] == {"orders": {}, "withdrawals": {}}
