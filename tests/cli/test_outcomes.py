"""`xwrap orders` and `xwrap sends`: what an exchange cannot tell, its owner decides."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from bitmm.xwrap.server.db.store import Store
from tests.support.command import one_line, xwrap
from tests.support.databases import CLIENT_IDS, sql


@pytest.fixture
def folder(tmp_path):
    """Data with one order, number 1, whose outcome nobody knows."""
    store = Store(tmp_path / "xwrap.sqlite3")
    store.prepare()
    store.accounts.add("ann", "x")
    values = {"account_id": 1, "exchange": "mtgox", "username": "", "label": "", "apikey_hint": ""}
    registration = store.registrations.add(values, lambda _id: {"sealed_more": b""}).id
    intent = {"side": "buy", "type": "market", "currency": "USD", "asset": "BTC", "amount": "0.1"}
    store.orders.begin(registration, "my-key", "fingerprint", intent, CLIENT_IDS)
    sql(store.where, "UPDATE orders SET status = 'unknown' WHERE id = 1")
    store.close()
    return tmp_path


def rows(folder, query):
    with closing(sqlite3.connect(folder / "xwrap.sqlite3")) as connection:
        return connection.execute(query).fetchall()


def test_unknown_orders_are_listed_with_what_one_needs_to_look_for_them(folder):
    listed = xwrap("orders", "unknown", "--data", folder).stdout
    for part in ("1", "mtgox", "buy 0.1 BTC for USD", "my-key"):
        assert part in listed


@pytest.mark.parametrize(
    ("intent", "told"),
    [
        ({"type": "limit", "amount": "0.1", "price": "99000.5"}, "  buy 0.1 BTC for USD at 99000.5  "),
        ({"type": "market", "cost": "250"}, "  buy BTC for 250 USD  "),
        ({"type": "market", "amount": "0.1", "stop": "99000"}, "  buy 0.1 BTC for USD stop 99000  "),
        ({"type": "limit", "amount": "0.1", "price": "98", "stop": "99"}, "  buy 0.1 BTC for USD at 98 stop 99  "),
    ],
)
def test_an_unknown_order_is_listed_with_the_price_or_the_cost_that_it_has(folder, intent, told):
    store = Store(folder / "xwrap.sqlite3")
    store.orders.begin(1, "k2", "fingerprint", {"side": "buy", "currency": "USD", "asset": "BTC", **intent}, CLIENT_IDS)
    sql(store.where, "UPDATE orders SET status = 'unknown' WHERE id = 2")
    store.close()
    assert told in xwrap("orders", "unknown", "--data", folder).stdout


@pytest.mark.parametrize(
    ("decision", "status", "filled", "released"), [("filled", "filled", "0.1", 0), ("not-placed", "rejected", None, 1)]
)
def test_the_owner_decides_and_it_is_kept_who_said_so(folder, decision, status, filled, released):
    result = xwrap("orders", "settle", 1, "--as", decision, "--data", folder)
    assert (result.returncode, result.stdout) == (0, f"order 1 is settled: {decision}\n")
    assert rows(folder, "SELECT status, filled, released FROM orders") == [(status, filled, released)]
    entry = (1, "settle", "order 1 of registration 1", f'{{"as": "{decision}"}}')
    assert rows(folder, "SELECT account_id, what, subject, details FROM audit_log") == [entry]
    assert xwrap("orders", "unknown", "--data", folder).stdout == ""
    one_line(xwrap("orders", "settle", 1, "--as", decision, "--data", folder), "not among the unknown ones")


def test_a_decision_that_is_none_changes_nothing(folder):
    one_line(xwrap("orders", "settle", 1, "--as", "perhaps", "--data", folder), "filled or not-placed")
    one_line(xwrap("orders", "settle", 2, "--as", "filled", "--data", folder), "xwrap orders unknown")
    assert rows(folder, "SELECT status FROM orders") == [("unknown",)]


@pytest.fixture
def lost_send(folder):
    """The same data with one send, number 1, whose outcome nobody knows."""
    store = Store(folder / "xwrap.sqlite3")
    intent = {"asset": "BTC", "amount": "0.1", "address": "1KxSo9bGBfPVFEtWNLpnUK1bfLNNT4q31L"}
    store.withdrawals.begin(1, "my-send", "fingerprint", intent, CLIENT_IDS)
    sql(store.where, "UPDATE withdrawals SET status = 'unknown' WHERE id = 1")
    store.close()
    return folder


def test_unknown_sends_are_listed_with_what_one_needs_to_look_for_them(lost_send):
    listed = xwrap("sends", "unknown", "--data", lost_send).stdout
    for part in ("1", "mtgox", "0.1 BTC to 1KxSo9bGBfPVFEtWNLpnUK1bfLNNT4q31L  ", "my-send"):
        assert part in listed


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"tag": "104729"}, " to rAddress tag 104729  "),
        ({"network": "TRC20"}, " to rAddress network TRC20  "),
        ({"tag": "104729", "network": "TRC20"}, " to rAddress tag 104729 network TRC20  "),
    ],
)
def test_an_unknown_send_is_listed_with_its_tag_and_network(lost_send, more, told):
    store = Store(lost_send / "xwrap.sqlite3")
    store.withdrawals.begin(
        1, "k2", "fingerprint", {"asset": "XRP", "amount": "5", "address": "rAddress", **more}, CLIENT_IDS
    )
    sql(store.where, "UPDATE withdrawals SET status = 'unknown' WHERE id = 2")
    store.close()
    assert told in xwrap("sends", "unknown", "--data", lost_send).stdout


@pytest.mark.parametrize(("decision", "status", "released"), [("done", "done", 0), ("not-sent", "rejected", 1)])
def test_the_owner_decides_about_a_send_and_it_is_kept_who_said_so(lost_send, decision, status, released):
    result = xwrap("sends", "settle", 1, "--as", decision, "--data", lost_send)
    assert (result.returncode, result.stdout) == (0, f"send 1 is settled: {decision}\n")
    assert rows(lost_send, "SELECT status, released FROM withdrawals") == [(status, released)]
    assert rows(lost_send, "SELECT status FROM orders") == [("unknown",)]
    entry = (1, "settle", "send 1 of registration 1", f'{{"as": "{decision}"}}')
    assert rows(lost_send, "SELECT account_id, what, subject, details FROM audit_log") == [entry]
    assert xwrap("sends", "unknown", "--data", lost_send).stdout == ""
    one_line(xwrap("sends", "settle", 1, "--as", decision, "--data", lost_send), "xwrap sends unknown")


def test_a_decision_about_a_send_that_is_none_changes_nothing(lost_send):
    one_line(xwrap("sends", "settle", 1, "--as", "filled", "--data", lost_send), "done or not-sent")
    assert rows(lost_send, "SELECT status FROM withdrawals") == [("unknown",)]
