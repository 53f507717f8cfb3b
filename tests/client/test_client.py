"""The API of 2013: names, argument order, what goes on the wire, what comes back."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from responses.matchers import header_matcher, query_param_matcher, urlencoded_params_matcher

from bitmm.xwrap import client, errors, types
from bitmm.xwrap.client import Backend, OutcomeUnknown, XWrap
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


def answer_with(record):
    """A callback that answers with the record of an order or a send, and names the key that was sent."""
    return lambda request: (200, {}, json.dumps({**record, "key": request.headers["Idempotency-Key"]}))


def test_the_exchanges_are_listed_without_credentials(mock):
    rows = [{"id": "kraken", "name": "Kraken", "description": "Kraken spot", "status": "open"}]
    mock.get(f"{BASE}/list_exchanges/", json=rows)
    assert XWrap().list_exchanges() == rows
    assert "Authorization" not in mock.calls[0].request.headers


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ((), {"active_only": "true"}),
        (("kraken",), {"exchange": "kraken", "active_only": "true"}),
        (("kraken", False), {"exchange": "kraken", "active_only": "false"}),
    ],
)
def test_backends_are_listed_by_exchange_and_activity(mock, arguments, query):
    mock.get(f"{BASE}/exchanges/", json=[REGISTRATION], match=[SIGNED, query_param_matcher(query)])
    [backend] = XWrap().list_backends(USER, PASSWORD, *arguments)
    assert isinstance(backend, Backend)
    assert (backend.id, backend.username, backend.password) == (7, USER, PASSWORD)
    assert (backend.exchange, backend.enabled, backend.available, backend.label) == ("kraken", True, False, "main")
    assert backend.info == REGISTRATION


def test_the_registrations_of_another_exchange_are_left_out_where_the_server_lists_all(mock):
    rows = [REGISTRATION, {**REGISTRATION, "id": 8, "exchange": "paper"}]
    mock.get(f"{BASE}/exchanges/", json=rows)
    for name in ("paper", "Paper", " PAPER"):
        assert [backend.id for backend in XWrap().list_backends(USER, PASSWORD, name)] == [8]
    assert [backend.id for backend in XWrap().list_backends(USER, PASSWORD)] == [7, 8]


def test_disabled_registrations_are_left_out_where_the_server_lists_all(mock):
    rows = [{**REGISTRATION, "enabled": False}, {**REGISTRATION, "id": 8}, {"id": 9, "exchange": "kraken"}]
    mock.get(f"{BASE}/exchanges/", json=rows)
    assert [backend.id for backend in XWrap().list_backends(USER, PASSWORD)] == [8, 9]
    assert [backend.id for backend in XWrap().list_backends(USER, PASSWORD, "kraken", False)] == [7, 8, 9]


def test_an_exchange_may_be_called_by_its_name_instead_of_its_id(mock):
    mock.post(f"{BASE}/exchanges/", status=201, json={**REGISTRATION, "exchange": "mtgox"})
    assert XWrap().create_backend(USER, PASSWORD, "Mt.Gox", "", KEY, SECRET).exchange == "mtgox"
    with pytest.raises(OutcomeUnknown, match="'exchange' is not what was asked for"):
        XWrap().create_backend(USER, PASSWORD, "Kraken", "", KEY, SECRET)


def test_a_backend_is_created_from_exchange_keys(mock):
    form = {"exchange": "kraken", "username": "42", "apikey": KEY, "apisecret": SECRET}
    mock.post(f"{BASE}/exchanges/", status=201, json=REGISTRATION, match=[SIGNED, urlencoded_params_matcher(form)])
    assert XWrap().create_backend(USER, PASSWORD, "kraken", "42", KEY, SECRET).id == 7


def test_a_backend_is_found_by_its_id(mock):
    mock.get(f"{BASE}/exchanges/7", json=REGISTRATION, match=[SIGNED])
    mock.get(f"{BASE}/exchanges/7/balance", json={"EUR": "1.10", "BTC": "0"}, match=[SIGNED])
    backend = XWrap().backend(7, USER, PASSWORD)
    assert backend.info == REGISTRATION
    assert backend.balance() == {"EUR": Decimal("1.10"), "BTC": Decimal(0)}


def test_an_address_is_added_with_its_limits_in_plain_digits(mock):
    row = {"id": 5, "asset": "BTC", "address": "tb1q", "network": None, "tag": "7", "usable_from": "2026-11-28"}
    form = {"asset": "BTC", "address": "tb1q", "tag": "7", "per_day": "0.00000001"}
    mock.post(
        f"{BASE}/addresses/",
        status=201,
        json={**row, "per_send": None, "per_day": "0.00000001"},
        match=[SIGNED, urlencoded_params_matcher(form)],
    )
    added = XWrap().add_address(USER, PASSWORD, "BTC", "tb1q", tag="7", per_day=Decimal("1E-8"))
    assert added == {**row, "per_send": None, "per_day": Decimal("0.00000001")}


def test_a_backend_made_by_hand_knows_nothing_and_asks_nobody(mock):
    backend = Backend(7, USER, PASSWORD, "https://xwrap.test/")
    assert (backend.exchange, backend.enabled, backend.available, backend.label) == (None, None, None, None)
    assert backend.info == {}
    assert len(mock.calls) == 0
    mock.get("https://xwrap.test/exchanges/7/exchange_rate?from=USD&to=BTC", json={"buy": "2.5", "sell": "2"})
    assert backend.exchange_rate("USD", "BTC") == {"buy": Decimal("2.5"), "sell": Decimal(2)}


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_an_order_goes_out_in_plain_digits_and_comes_back_as_decimals(mock, backend, side):
    mock.add_callback(
        "POST",
        f"{BASE}/exchanges/7/{side}",
        answer_with({**ORDER, "side": side}),
        match=[SIGNED, urlencoded_params_matcher({"currency": "USD", "asset": "BTC", "amount": "0.1"})],
    )
    order = getattr(backend, side)("USD", "BTC", Decimal("1E-1"), key="k1")
    assert order == {
        **ORDER,
        "key": "k1",
        "side": side,
        "amount": Decimal("0.10"),
        "filled": Decimal("0.1"),
        "average": Decimal("64251.10000000"),
        "spent": Decimal("6425.11000000"),
        "fee": Decimal("16.70528600"),
    }
    assert order["id"] == 41
    assert order["price"] is None


def test_every_order_has_a_key_of_its_own_or_the_callers(mock, backend):
    mock.add_callback("POST", f"{BASE}/exchanges/7/buy", answer_with(ORDER))
    mock.add_callback("POST", f"{BASE}/exchanges/7/sell", answer_with(ORDER | {"side": "sell"}))
    for _ in range(2):
        backend.buy("USD", "BTC", "0.1")
    backend.sell("USD", "BTC", "0.1", key="my-key")
    first, second, third = (call.request.headers["Idempotency-Key"] for call in mock.calls)
    assert len(first) == len(second) == 32
    assert first != second
    assert third == "my-key"


def test_a_send_is_true(mock, backend):
    form = {"asset": "BTC", "amount": "0.00000001", "address": "tb1q"}
    mock.add_callback(
        "POST",
        f"{BASE}/exchanges/7/send_to_address",
        answer_with({"id": 9, "asset": "BTC", "amount": "1E-8", "address": "tb1q", "status": "pending"}),
        match=[SIGNED, urlencoded_params_matcher(form)],
    )
    assert backend.send_to_address("BTC", Decimal("0.00000001"), "tb1q") is True


def test_the_address_of_the_server_comes_from_the_environment(mock, monkeypatch):
    monkeypatch.setenv("XWRAP_URL", "https://xwrap.test/base/")
    mock.get("https://xwrap.test/base/list_exchanges/", json=[])
    assert XWrap().list_exchanges() == []


def test_the_public_names_are_the_ones_that_are_promised():
    assert client.__all__ == sorted(client.__all__)
    ours = {client.__name__, errors.__name__}
    public = {name for name, thing in vars(client).items() if getattr(thing, "__module__", None) in ours}
    assert {name for name in public if not name.startswith("_")} == {"Backend", "XWrap", *errors.__all__}
    assert set(client.__all__) == {"Backend", "XWrap", *errors.__all__, *types.__all__}


def test_the_types_are_names_of_the_client():
    names = {}
    exec("from bitmm.xwrap.client import *", names)
    assert [name for name in types.__all__ if names[name] is not getattr(types, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'Bakend'"):
        client.Bakend  # noqa: B018 - asking is what is tested


def test_types_and_codes_are_loaded_when_a_server_is_named_and_neither_at_the_import_nor_in_a_call():
    command = (
        "import sys, bitmm.xwrap.client as client; loaded = lambda: {'types', 'codes'} & {"
        "name.rpartition('.')[2] for name in sys.modules if name.startswith('bitmm.')}; "
        "print(len(loaded())); client.Backend(1, 'user', 'secret'); print(len(loaded()))"
    )
    run = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0", "2"]


def test_importing_the_client_brings_in_requests_and_nothing_else():
    command = "import sys, requests; had = set(sys.modules); import bitmm.xwrap.client; print(*set(sys.modules) - had)"
    run = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    brought = {name.partition(".")[0] for name in run.stdout.split()}
    assert "bitmm" in brought
    assert brought <= {"bitmm", *sys.stdlib_module_names}
    assert not {name for name in run.stdout.split() if name.startswith(("bitmm.xwrap.server", "bitmm.xwrap.exchanges"))}
