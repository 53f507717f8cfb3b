"""The wire protocol of 2013, row by row, with plain requests and no client of ours."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
import requests

from tests.support.answers import text_of

PLAIN = re.compile(r"\d+(\.\d+)?")


@pytest.fixture
def paper(server, auth):
    return server.registration(auth)


def is_registration(body: Any, id: int) -> None:
    assert body["id"] == id
    assert isinstance(body["account"], int)
    assert body["exchange"] == "paper"
    assert body["apisecret"] == "<hidden>"
    assert body["enabled"] is True
    assert body["available"] is True
    assert body["permissions"] == ["read", "send", "trade"]
    assert body["url"] == f"/exchanges/{id}"
    assert {"username", "apikey", "label"} <= body.keys()


def is_exchange_list(body: Any, _id: int) -> None:
    paper = next(row for row in body if row["id"] == "paper")
    assert paper["name"] == "Paper"
    assert "without real money" in paper["description"]


def is_rate_list(body: Any, _id: int) -> None:
    row = next(row for row in body if row["exchange"] == "paper")
    is_rate(row, _id)
    assert row["id"] == "paper"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["time"])


def is_rate(body: Any, _id: int) -> None:
    assert Decimal(body["buy"]) > Decimal(body["sell"]) > 0
    assert PLAIN.fullmatch(body["buy"])
    assert PLAIN.fullmatch(body["sell"])


def is_all_balances(body: Any, id: int) -> None:
    assert body == [{"id": id, "exchange": "paper", "balance": {"USD": "200000", "BTC": "1"}}]


def is_balance(body: Any, _id: int) -> None:
    assert body == {"USD": "200000", "BTC": "1"}


def is_order(side: str) -> Any:
    def check(body: Any, _id: int) -> None:
        assert isinstance(body["id"], int)
        assert body["side"] == side
        assert body["type"] == "market"
        assert body["status"] == "filled"
        assert (body["currency"], body["asset"]) == ("USD", "BTC")
        assert body["amount"] == body["filled"] == "0.00000001"
        assert body["price"] is None
        assert body["cost"] is None
        assert body["fee_currency"] == "USD"
        for name in ("average", "spent", "fee"):
            assert PLAIN.fullmatch(body[name])

    return check


def is_withdrawal(body: Any, _id: int) -> None:
    assert body["status"] == "done"
    assert (body["asset"], body["amount"], body["address"]) == (
        "BTC",
        "0.5",
        "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
    )


def is_address(body: Any, _id: int) -> None:
    assert re.fullmatch(r"tb1q[02-9ac-hj-np-z]{38}", body)


NEW = {"exchange": "paper", "username": "", "apikey": "abc", "apisecret": "def", "account": "1"}
ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.00000001"}
SEND = {"asset": "BTC", "amount": "0.5", "address": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"}
ROWS = [
    ("GET", "/list_exchanges/", False, None, 200, is_exchange_list),
    ("GET", "/exchange_rates/?from=USD&to=BTC", False, None, 200, is_rate_list),
    ("GET", "/balance", True, None, 200, is_all_balances),
    ("GET", "/exchanges/", True, None, 200, lambda body, id: is_registration(body[0], id)),
    (
        "GET",
        "/exchanges/?exchange=paper&active_only=true",
        True,
        None,
        200,
        lambda body, id: is_registration(body[0], id),
    ),
    ("POST", "/exchanges/", True, NEW, 201, lambda body, id: is_registration(body, body["id"])),
    ("GET", "/exchanges/ID", True, None, 200, is_registration),
    ("GET", "/exchanges/ID/balance", True, None, 200, is_balance),
    ("GET", "/exchanges/ID/exchange_rate?from=USD&to=BTC", True, None, 200, is_rate),
    ("POST", "/exchanges/ID/buy", True, ORDER, 200, is_order("buy")),
    ("POST", "/exchanges/ID/sell", True, ORDER, 200, is_order("sell")),
    ("POST", "/exchanges/ID/send_to_address", True, SEND, 200, is_withdrawal),
    ("GET", "/exchanges/ID/get_address", True, None, 200, is_address),
    ("GET", "/exchanges/ID/get_address?asset=BTC", True, None, 200, is_address),
]


@pytest.mark.parametrize("slash", [False, True], ids=["without a slash", "with a slash"])
@pytest.mark.parametrize(
    ("method", "path", "needs_auth", "form", "status", "check"), ROWS, ids=[f"{r[0]} {r[1]}" for r in ROWS]
)
def test_every_row_of_the_2013_protocol_is_served(
    server, auth, paper, method, path, needs_auth, form, status, check, slash
):
    address, question, query = path.replace("ID", str(paper)).partition("?")
    url = server.url + address.rstrip("/") + "/" * slash + question + query
    answer = requests.request(method, url, data=form, auth=auth if needs_auth else None, timeout=30)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    check(answer.json(), paper)


@pytest.mark.parametrize(
    ("method", "path", "form"),
    [(row[0], row[1], row[3]) for row in ROWS if row[2]],
    ids=[f"{row[0]} {row[1]}" for row in ROWS if row[2]],
)
def test_what_belongs_to_an_account_needs_its_password(server, paper, method, path, form):
    answer = requests.request(method, server.url + path.replace("ID", str(paper)), data=form, timeout=30)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert answer.json()["code"] == "not_authenticated"


@pytest.mark.parametrize(
    ("method", "path", "form"),
    [(row[0], row[1], row[3]) for row in ROWS if "ID" in row[1]],
    ids=[f"{row[0]} {row[1]}" for row in ROWS if "ID" in row[1]],
)
def test_a_foreign_registration_and_none_look_exactly_the_same(server, paper, method, path, form):
    stranger = server.account()
    foreign = requests.request(
        method, server.url + path.replace("ID", str(paper)), data=form, auth=stranger, timeout=30
    )
    absent = requests.request(method, server.url + path.replace("ID", "99999"), data=form, auth=stranger, timeout=30)
    assert foreign.status_code == absent.status_code == 404
    assert text_of(foreign) == text_of(absent)
    assert foreign.headers.keys() == absent.headers.keys()


@pytest.mark.parametrize("id", ["0", "-1", "1.0", "01", "9223372036854775808", "٣", "1e0", "%20", "abc"])
def test_a_registration_id_has_one_spelling(server, auth, paper, id):
    assert requests.get(f"{server.url}/exchanges/{id}/balance", auth=auth, timeout=30).status_code == 404


def test_amounts_are_never_json_numbers(server, auth, paper):
    order = requests.post(f"{server.url}/exchanges/{paper}/buy", data=ORDER, auth=auth, timeout=30)
    assert '"amount":"0.00000001"' in order.text
    assert "E-" not in order.text


def test_head_is_answered_like_get(server):
    assert requests.head(f"{server.url}/list_exchanges/", timeout=30).status_code == 200


def test_a_wrong_method_is_405_with_what_is_allowed(server, auth):
    answer = requests.put(f"{server.url}/exchanges/", auth=auth, timeout=30)
    assert answer.status_code == 405
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))
    assert answer.json()["code"] == "method_not_allowed"
    assert answer.json()["detail"] == "this path does not take PUT; it takes GET, HEAD, POST"


def test_an_unknown_path_is_404_in_json(server):
    answer = requests.get(f"{server.url}/nothing/here", timeout=30)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
    assert answer.json()["detail"] == "this server has no path /nothing/here; /openapi.yaml lists all"


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/exchanges/7/by", "near it are /exchanges/ID/buy"),
        ("/exchanges/7/withdrawal/", "near it are /exchanges/ID/withdrawals"),
        ("/exchange/7/sell", "near it are /exchanges/ID/sell, /exchanges/ID/fills"),
        ("/exchangs", "near it are /exchanges, /list_exchanges, /exchange_rates"),
        ("/exchanges/7/orders/3/cancel", "near it are /exchanges/ID/orders/ID, /exchanges/ID/orders"),
        ("/helth", "near it are /health"),
    ],
)
def test_a_mistyped_path_is_404_with_the_paths_that_are_near(server, path, near):
    answer = requests.get(server.url + path, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["detail"] == f"this server has no path {path.rstrip('/')}; {near}; /openapi.yaml lists all"


def test_an_unknown_path_below_a_known_one_is_404_with_all_that_is_there(server):
    detail = requests.get(f"{server.url}/exchanges/7/zzz", timeout=30).json()["detail"]
    assert detail.startswith("this server has no path /exchanges/7/zzz; near it are /exchanges/ID/ and one of balance ")
    assert " orders " in detail
    assert "/exchanges/ID/orders/ID" not in detail


@pytest.mark.parametrize("path", ["/" + "x" * 101, "/%1b%5b31m", "/a%0d%0ab", "//", "/exchanges/1//"])
def test_a_path_that_is_long_or_not_printable_is_not_repeated(server, path):
    answer = requests.get(server.url + path, timeout=30, allow_redirects=False)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["detail"].isprintable()
    assert len(answer.json()["detail"]) < 500
