"""The rows of the audit about orders and sends."""

from __future__ import annotations

import json
import sqlite3

import pytest
import requests
from sqlalchemy.exc import OperationalError

from bitmm.xwrap.server.db.audit import AuditStore

ORDER = {"currency": "USD", "asset": "BTC", "amount": "0.1"}
ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"


@pytest.fixture
def paper(server, auth):
    return server.registration(auth)


def post(server, auth, id, call, form, key="k1"):
    return requests.post(
        f"{server.url}/exchanges/{id}/{call}", data=form, headers={"Idempotency-Key": key}, auth=auth, timeout=30
    )


def delete(server, auth, id, path):
    return requests.delete(f"{server.url}/exchanges/{id}/orders/{path}", auth=auth, timeout=30)


def rows(server, auth, *kinds):
    found = server.sql(
        "SELECT what, subject, details, address FROM audit_log WHERE who = :who ORDER BY id", who=auth[0]
    )
    return [(what, subject, json.loads(details), address) for what, subject, details, address in found if what in kinds]


def test_an_order_and_a_send_are_in_the_audit_with_what_was_asked_for(server, auth, paper):
    order = post(server, auth, paper, "buy", ORDER | {"price": "20000"}, "k1").json()
    cost = post(server, auth, paper, "buy", {"currency": "USD", "asset": "BTC", "cost": "20"}, "k2").json()
    sent = post(
        server, auth, paper, "send_to_address", {"asset": "BTC", "amount": "0.01", "address": ADDRESS}, "k3"
    ).json()
    pair = {"registration": str(paper), "pair": "BTC/USD"}
    assert rows(server, auth, "order.buy", "send") == [
        ("order.buy", f"order {order['id']}", pair | {"key": "k1", "amount": "0.1", "price": "20000"}, "127.0.0.1"),
        ("order.buy", f"order {cost['id']}", pair | {"key": "k2", "cost": "20"}, "127.0.0.1"),
        (
            "send",
            f"send {sent['id']}",
            {"registration": str(paper), "asset": "BTC", "amount": "0.01", "address": ADDRESS, "key": "k3"},
            "127.0.0.1",
        ),
    ]


def test_a_repeat_is_no_new_row(server, auth, paper):
    for _ in range(3):
        post(server, auth, paper, "sell", ORDER)
    assert len(rows(server, auth, "order.sell")) == 1


def test_an_order_whose_row_cannot_be_written_is_not_placed(server, auth, paper, monkeypatch):
    def fail(*_args, **_named):
        raise OperationalError("", None, sqlite3.OperationalError("disk full"))

    monkeypatch.setattr(AuditStore, "add", fail)
    answer = post(server, auth, paper, "sell", ORDER)
    assert answer.status_code == 503
    assert not answer.json()["may_have_executed"]
    monkeypatch.undo()
    assert requests.get(f"{server.url}/exchanges/{paper}/orders/", auth=auth, timeout=30).json() == []


def test_cancels_are_in_the_audit_and_pass_when_it_cannot_be_written(server, auth, paper, monkeypatch):
    ids = [post(server, auth, paper, "buy", ORDER | {"price": "1"}, key).json()["id"] for key in ("a", "b", "c")]
    assert delete(server, auth, paper, ids[0]).json()["status"] == "canceled"
    assert delete(server, auth, paper, ids[0]).json()["status"] == "canceled"  # nothing was done

    def fail(*_args, **_named):
        raise OperationalError("", None, sqlite3.OperationalError("disk full"))

    with monkeypatch.context() as patch:
        patch.setattr(AuditStore, "add", fail)
        assert delete(server, auth, paper, ids[1]).json()["status"] == "canceled"
    assert delete(server, auth, paper, "").json() == {"canceled": 1}
    assert rows(server, auth, "order.cancel", "order.cancel_all") == [
        ("order.cancel", f"order {ids[0]}", {"registration": str(paper)}, "127.0.0.1"),
        ("order.cancel_all", f"registration {paper}", {}, "127.0.0.1"),
    ]
