"""Histories that are longer than a page, while new rows come: nothing twice, nothing left out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import islice

import pytest
import requests

from bitmm.xwrap.client import APIError, Backend, InvalidRequest
from tests.support.raw_server import JSON, raw_server
from tests.support.two_accounts import ADDRESS

ROWS = 2500
_NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :rows) "
_ORDERS = (
    _NUMBERS + "INSERT INTO orders (registration_id, key, fingerprint, client_id, side, type, currency, asset, amount,"
    " status, created, updated, released, attempt) SELECT :id, 'order-' || n, '', 'order-' || n, 'buy', 'limit', 'USD',"
    " 'BTC', '0.1', CASE n % 2 WHEN 0 THEN 'filled' ELSE 'open' END, :time, :time, :no, 0 FROM numbers"
)
_PAPER_FILLS = (
    _NUMBERS + "INSERT INTO paper_fills (registration_id, order_id, price, amount, fee, created)"
    " SELECT :id, (SELECT id FROM paper_orders WHERE registration_id = :id), '100', '0.1', '0.01', :time FROM numbers"
)
_PAPER_ENTRIES = (
    _NUMBERS + "INSERT INTO paper_entries (registration_id, kind, reference, currency, amount, created)"
    " SELECT :id, CASE n % 2 WHEN 0 THEN 'buy' ELSE 'sell' END, 'order ' || n, 'USD',"
    " CASE n % 2 WHEN 0 THEN '-0.1' ELSE '0.1' END, :time FROM numbers"
)
_SENDS = (
    _NUMBERS + "INSERT INTO withdrawals (registration_id, key, fingerprint, client_id, asset, amount, address, status,"
    " created, updated, released, attempt) SELECT :id, 'send-' || n, '', 'send-' || n, 'BTC', '0.1', :address, 'done',"
    " :time, :time, :no, 0 FROM numbers"
)


@pytest.fixture
def backend(server):
    auth = server.account()
    backend = Backend(server.registration(auth), *auth, server.url)
    backend.server = server
    return backend


def add(backend, statement, **values):
    common = {"rows": ROWS, "id": backend.id, "time": "2026-11-27T10:00:00Z", "no": False}
    backend.server.sql(statement, **common | values)


def read_while_new_ones_come(rows, make):
    """The keys that are read, while `make` makes another row after every 200 of them."""
    keys = []
    while batch := list(islice(rows, 200)):
        keys += [row["key"] for row in batch]
        make()
    return keys


def test_orders_beyond_a_page_come_once_each_while_new_ones_are_placed(backend):
    add(backend, _ORDERS)
    keys = read_while_new_ones_come(backend.all_orders(), lambda: backend.buy("USD", "BTC", "0.01"))
    assert keys == [f"order-{number}" for number in range(ROWS, 0, -1)]


def test_closed_orders_alone(backend):
    add(backend, _ORDERS)
    orders = list(backend.all_orders("closed"))
    assert [order["key"] for order in orders] == [f"order-{number}" for number in range(ROWS, 0, -2)]
    assert {order["status"] for order in orders} == {"filled"}


def test_sends_beyond_a_page_come_once_each_while_new_ones_leave(backend):
    add(backend, _SENDS, address=ADDRESS)
    keys = read_while_new_ones_come(backend.all_withdrawals(), lambda: backend.send_to_address("BTC", "0.001", ADDRESS))
    assert keys == [f"send-{number}" for number in range(ROWS, 0, -1)]


def test_fills_beyond_a_page_come_once_each_while_new_ones_come(backend):
    backend.buy("USD", "BTC", "0.01")
    ids = [row["id"] for row in _fills(backend)]
    add(backend, _PAPER_FILLS, rows=ROWS)
    read = []
    fills = backend.all_fills("usd", "btc")
    while batch := list(islice(fills, 200)):
        read += [row["id"] for row in batch]
        backend.buy("USD", "BTC", "0.01")
    assert read[-1:] == ids
    assert len(set(read)) == len(read) == ROWS + 1
    assert read == sorted(read, key=int, reverse=True)


def test_without_a_page_asked_for_the_answer_is_a_list_as_ever(backend):
    backend.buy("USD", "BTC", "0.01")
    assert _fills(backend) == _fills(backend, paged="true")["fills"] == _fills(backend, paged="false")
    assert _fills(backend, paged="true")["next"] is None


def test_a_cursor_alone_asks_for_a_page(backend):
    backend.buy("USD", "BTC", "0.01")
    assert _fills(backend, cursor="1") == _fills(backend, cursor="1", paged="false") == {"fills": [], "next": None}


@pytest.mark.parametrize("query", [{"cursor": ""}, {"cursor": "x"}, {"cursor": "1" * 501}])
def test_a_bad_cursor_is_422_and_names_its_field(backend, query):
    answer = _ask_for_fills(backend, **query)
    assert (answer.status_code, answer.json()["field"]) == (422, "cursor")


def _fills(backend, **query):
    return _ask_for_fills(backend, **query).json()


def _ask_for_fills(backend, **query):
    url = f"{backend.server.url}/exchanges/{backend.id}/fills"
    auth = (backend.username, backend.password)
    return requests.get(url, {"currency": "USD", "asset": "BTC", **query}, auth=auth, timeout=30)


def test_a_ledger_beyond_a_page_comes_whole_and_adds_up_while_its_account_trades(backend):
    backend.buy("USD", "BTC", "0.01")
    backend.send_to_address("BTC", "0.001", ADDRESS)
    add(backend, _PAPER_ENTRIES, time="2026-11-27T10:00:00.000000Z")
    entries, ledger = [], backend.ledger()
    while batch := list(islice(ledger, 400)):
        entries += batch
        backend.buy("USD", "BTC", "0.01")
        backend.sell("USD", "BTC", "0.003")
    last = backend.ledger(since=entries[-1]["time"])
    entries = list({entry["id"]: entry for entry in [*entries, *last]}.values())
    ids = [int(entry["id"]) for entry in entries]
    assert len(ids) > ROWS
    assert ids == sorted(set(ids))
    assert sums(entries) == backend.balance()
    assert {entry["kind"] for entry in entries} == {"deposit", "fill", "fee", "withdrawal"}


def sums(entries):
    """What the entries add up to, by asset."""
    added = {}
    for entry in entries:
        added[entry["asset"]] = added.get(entry["asset"], 0) + entry["amount"] - entry["fee"]
    return added


def test_a_ledger_begins_at_a_time(backend):
    backend.buy("USD", "BTC", "0.01")
    add(backend, _PAPER_ENTRIES, rows=700, time="2025-03-01T10:00:00.000000Z")
    since = datetime(2026, 1, 1, tzinfo=UTC)
    entries = list(backend.ledger(since))
    assert entries == [entry for entry in backend.ledger() if entry["time"] >= "2026"]
    assert 0 < len(entries) < 10


def test_the_ledger_of_a_new_registration_has_what_it_begins_with(backend):
    assert [(entry["kind"], entry["asset"]) for entry in backend.ledger()] == [("deposit", "USD"), ("deposit", "BTC")]
    assert sums(backend.ledger()) == backend.balance()


@pytest.mark.parametrize("since", ["2999-01-01", "yesterday", ""])
def test_a_ledger_since_no_time_of_the_past_is_refused(backend, since):
    with pytest.raises(InvalidRequest, match="'since'") as caught:
        list(backend.ledger(since))
    assert caught.value.code == "invalid_request"


def test_a_registration_without_any_has_none(backend):
    assert list(backend.all_orders()) == list(backend.all_withdrawals()) == []
    assert list(backend.all_fills("USD", "BTC")) == []


def test_open_orders_are_no_history(backend):
    with pytest.raises(InvalidRequest, match=r"all or closed here, and orders\(\) has the open ones"):
        backend.all_orders("open")


def test_a_page_that_comes_again_ends_the_history_as_a_wrong_answer():
    row = {"status": "filled", "currency": "USD", "asset": "BTC", "side": "buy", "amount": "1"}
    page = [{**row, "id": number} for number in range(500, 0, -1)]
    with raw_server(lambda connection: connection.answer(json.dumps(page), "200 OK", JSON)) as server:
        orders = Backend(1, "ann", "password", server.url).all_orders()
        assert len(list(islice(orders, 500))) == 500
        with pytest.raises(APIError, match="ids do not fall"):
            next(orders)


def test_a_page_that_leads_to_itself_ends_the_history_as_a_wrong_answer():
    row = {"id": "F1", "currency": "USD", "asset": "BTC", "side": "buy", "amount": "1", "price": "100"}
    page = {"fills": [row], "next": "50"}
    with raw_server(lambda connection: connection.answer(json.dumps(page), "200 OK", JSON)) as server:
        fills = Backend(1, "ann", "password", server.url).all_fills("USD", "BTC")
        assert next(fills)["id"] == "F1"
        with pytest.raises(APIError, match="next page is itself"):
            next(fills)
