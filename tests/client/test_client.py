"""The API of 2013: names, argument order, what goes on the wire, what comes back."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
import responses
from responses.matchers import header_matcher, query_param_matcher, urlencoded_params_matcher

from bitmm.xwrap import client, errors, types
from bitmm.xwrap.client import Backend, XWrap
from bitmm.xwrap.errors import APIError, InvalidRequest
from tests.support.marked_secrets import BASIC, KEY, PASSWORD, SECRET, USER

ROOT = Path(__file__).parents[2]
BASE = "http://localhost:8000"
REGISTRATION = {
    "id": 7,
    "account": 1,
    "exchange": "kraken",
    "username": "",
    "apikey": "abc…",
    "apisecret": "<hidden>",
    "label": "main",
    "enabled": True,
    "available": False,
    "url": "/exchanges/7",
}
ORDER = {
    "id": 41,
    "exchange_order_id": "OQCLML",
    "side": "buy",
    "type": "market",
    "amount": "0.10",
    "price": None,
    "cost": None,
    "status": "filled",
    "filled": "0.1",
    "average": "64251.10000000",
    "spent": "6425.11000000",
    "fee": "16.70528600",
    "fee_currency": "USD",
    "created": "2026-11-20T10:00:00Z",
}
SIGNED = header_matcher({"Authorization": BASIC})


@pytest.fixture
def server():
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def backend():
    return Backend(7, USER, PASSWORD)


def test_the_exchanges_are_listed_without_credentials(server):
    rows = [{"id": "kraken", "name": "Kraken", "description": "Kraken spot", "status": "open"}]
    server.get(f"{BASE}/list_exchanges/", json=rows)
    assert XWrap().list_exchanges() == rows
    assert "Authorization" not in server.calls[0].request.headers


def test_rates_of_all_exchanges_come_as_decimals_with_every_digit(server):
    body = '[{"exchange": "paper", "buy": "64251.10000000", "sell": 64251.000000000000000001, "time": "2026-11-20"}]'
    server.get(f"{BASE}/exchange_rates/", body=body, match=[query_param_matcher({"from": "USD", "to": "BTC"})])
    [row] = XWrap().exchange_rates("USD", "BTC")
    assert row == {
        "exchange": "paper",
        "buy": Decimal("64251.10000000"),
        "sell": Decimal("64251.000000000000000001"),
        "time": "2026-11-20",
    }
    assert str(row["buy"]) == "64251.10000000"


def test_the_balance_of_an_account_keeps_the_row_that_failed(server):
    rows = [
        {"id": 1, "exchange": "kraken", "balance": {"EUR": "1024.5531", "BTC": "0.123456789012345678"}},
        {"id": 2, "exchange": "mtgox", "balance": {}, "error": "Mt.Gox is closed"},
    ]
    server.get(f"{BASE}/balance", json=rows, match=[SIGNED])
    assert XWrap().balance(USER, PASSWORD) == [
        {
            "id": 1,
            "exchange": "kraken",
            "balance": {"EUR": Decimal("1024.5531"), "BTC": Decimal("0.123456789012345678")},
        },
        rows[1],
    ]


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ((), {"active_only": "true"}),
        (("kraken",), {"exchange": "kraken", "active_only": "true"}),
        (("paper", False), {"exchange": "paper", "active_only": "false"}),
    ],
)
def test_backends_are_listed_by_exchange_and_activity(server, arguments, query):
    server.get(f"{BASE}/exchanges/", json=[REGISTRATION], match=[SIGNED, query_param_matcher(query)])
    [backend] = XWrap().list_backends(USER, PASSWORD, *arguments)
    assert isinstance(backend, Backend)
    assert (backend.id, backend.username, backend.password) == (7, USER, PASSWORD)
    assert (backend.exchange, backend.enabled, backend.available, backend.label) == ("kraken", True, False, "main")
    assert backend.info == REGISTRATION


def test_a_backend_is_created_from_exchange_keys(server):
    form = {"exchange": "kraken", "username": "42", "apikey": KEY, "apisecret": SECRET}
    server.post(f"{BASE}/exchanges/", status=201, json=REGISTRATION, match=[SIGNED, urlencoded_params_matcher(form)])
    assert XWrap().create_backend(USER, PASSWORD, "kraken", "42", KEY, SECRET).id == 7


def test_a_backend_is_found_by_its_id(server):
    server.get(f"{BASE}/exchanges/7", json=REGISTRATION, match=[SIGNED])
    server.get(f"{BASE}/exchanges/7/balance", json={"EUR": "1.10", "BTC": "0"}, match=[SIGNED])
    backend = XWrap().backend(7, USER, PASSWORD)
    assert backend.info == REGISTRATION
    assert backend.balance() == {"EUR": Decimal("1.10"), "BTC": Decimal(0)}


def test_a_backend_made_by_hand_knows_nothing_and_asks_nobody(server):
    backend = Backend(7, USER, PASSWORD, "https://xwrap.test/")
    assert (backend.exchange, backend.enabled, backend.available, backend.label) == (None, None, None, None)
    assert backend.info == {}
    assert len(server.calls) == 0
    server.get("https://xwrap.test/exchanges/7/exchange_rate?from=USD&to=BTC", json={"buy": "2.5", "sell": "2"})
    assert backend.exchange_rate("USD", "BTC") == {"buy": Decimal("2.5"), "sell": Decimal(2)}


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_an_order_goes_out_in_plain_digits_and_comes_back_as_decimals(server, backend, side):
    server.post(
        f"{BASE}/exchanges/7/{side}",
        json={**ORDER, "side": side},
        match=[SIGNED, urlencoded_params_matcher({"currency": "USD", "asset": "BTC", "amount": "0.1"})],
    )
    order = getattr(backend, side)("USD", "BTC", Decimal("1E-1"))
    assert order == {
        **ORDER,
        "side": side,
        "amount": Decimal("0.10"),
        "filled": Decimal("0.1"),
        "average": Decimal("64251.10000000"),
        "spent": Decimal("6425.11000000"),
        "fee": Decimal("16.70528600"),
    }
    assert order["id"] == 41
    assert order["price"] is None


def test_every_order_has_a_key_of_its_own_or_the_callers(server, backend):
    server.post(f"{BASE}/exchanges/7/buy", json=ORDER)
    server.post(f"{BASE}/exchanges/7/sell", json=ORDER | {"side": "sell"})
    for _ in range(2):
        backend.buy("USD", "BTC", "0.1")
    backend.sell("USD", "BTC", "0.1", key="my-key")
    first, second, third = (call.request.headers["Idempotency-Key"] for call in server.calls)
    assert len(first) == len(second) == 32
    assert first != second
    assert third == "my-key"


def test_a_send_is_true(server, backend):
    form = {"asset": "BTC", "amount": "0.00000001", "address": "tb1q"}
    server.post(
        f"{BASE}/exchanges/7/send_to_address",
        json={"id": 9, "asset": "BTC", "amount": "1E-8", "status": "pending"},
        match=[SIGNED, urlencoded_params_matcher(form)],
    )
    assert backend.send_to_address("BTC", Decimal("0.00000001"), "tb1q") is True


@pytest.mark.parametrize(("arguments", "asset"), [({}, "BTC"), ({"asset": "ETH"}, "ETH")])
def test_an_address_is_text(server, backend, arguments, asset):
    server.get(f"{BASE}/exchanges/7/get_address", json="tb1qxyz", match=[SIGNED, query_param_matcher({"asset": asset})])
    assert backend.get_address(**arguments) == "tb1qxyz"


def test_the_address_of_the_server_comes_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("XWRAP_URL", "https://xwrap.test/base/")
    server.get("https://xwrap.test/base/list_exchanges/", json=[])
    assert XWrap().list_exchanges() == []


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "30", None, True])
def test_a_timeout_that_is_none_is_refused(timeout):
    with pytest.raises(InvalidRequest, match="timeout"):
        XWrap(timeout=timeout)


def test_a_failure_is_told_in_the_words_of_the_server(server, backend):
    server.get(f"{BASE}/exchanges/7/balance", status=422, json={"detail": "Kraken says: EAPI:Invalid key"})
    with pytest.raises(APIError) as caught:
        backend.balance()
    assert str(caught.value) == caught.value.reason == "Kraken says: EAPI:Invalid key"


def test_a_failure_without_words_is_a_server_error(server, backend):
    server.get(f"{BASE}/exchanges/7/balance", status=500, body="<html>oops</html>")
    with pytest.raises(APIError, match=r"^server error$"):
        backend.balance()


@pytest.mark.parametrize(
    "amount", [0.1, float("nan"), "NaN", "Infinity", "1,5", "", "1_0", "٣", "1" * 101, True, None, b"1"]
)
def test_an_amount_that_is_no_exact_number_is_refused_before_anything_is_sent(server, backend, amount):
    with pytest.raises(InvalidRequest) as caught:
        backend.buy("USD", "BTC", amount)
    assert caught.value.may_have_executed is False
    assert len(server.calls) == 0


def test_a_float_is_refused_with_the_fix(server, backend):
    with pytest.raises(InvalidRequest, match=r"Decimal\('0\.1'\)"):
        backend.sell("USD", "BTC", 0.1)


def test_the_public_names_are_the_ones_that_are_promised():
    assert client.__all__ == sorted(client.__all__)
    ours = {client.__name__, errors.__name__, types.__name__}
    public = {name for name, thing in vars(client).items() if getattr(thing, "__module__", None) in ours}
    aliases = {"Amount", "OrderStatus", "OrderType", "Side", "WithdrawalStatus"}
    assert {name for name in public if not name.startswith("_")} | aliases == set(client.__all__)
    assert set(client.__all__) == {"Backend", "XWrap", *errors.__all__, *types.__all__}


def test_importing_the_client_brings_in_requests_and_nothing_else():
    command = "import sys, requests; had = set(sys.modules); import bitmm.xwrap.client; print(*set(sys.modules) - had)"
    run = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    brought = {name.partition(".")[0] for name in run.stdout.split()}
    assert "bitmm" in brought
    assert brought <= {"bitmm", *sys.stdlib_module_names}
    assert not {name for name in run.stdout.split() if name.startswith(("bitmm.xwrap.server", "bitmm.xwrap.exchanges"))}
