"""`xwrap freeze` stops accounts on the data base, also while a server runs."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.client import PermissionDenied, XWrap
from bitmm.xwrap.server.db.store import Store
from tests.support.command import one_line, prepared, xwrap
from tests.support.threads import until


def environ(server):
    """What a command needs to find the data base of this server."""
    return {} if isinstance(server.database, type(server.data)) else {"XWRAP_DATABASE_URL": server.database}


def test_it_stops_a_running_server_and_has_it_cancel_the_orders(serving):
    with serving(exchanges=("paper",), reconcile_seconds=0.1) as server:
        (ann, password), bob = server.account(), server.account()
        xw = XWrap(server.url)
        backends = [xw.create_backend(*auth, "paper", "", "", "") for auth in ((ann, password), bob)]
        orders = [backend.buy("USD", "BTC", "0.01", price=1000) for backend in backends]
        result = xwrap("freeze", "--account", ann, "--cancel-orders", "--data", server.data, **environ(server))
        assert (result.returncode, result.stderr) == (0, "")
        first, last = result.stdout.splitlines()
        assert first.startswith(f"account '{ann}' is frozen since 2")
        assert first.endswith("; orders are being canceled at 1 registrations")
        assert "DELETE /freeze" in last
        with pytest.raises(PermissionDenied, match="frozen since"):
            backends[0].buy("USD", "BTC", "0.01")
        until(lambda: backends[0].order(orders[0]["id"])["status"] == "canceled")
        assert backends[1].order(orders[1]["id"])["status"] == "open"
        everybody = xwrap("freeze", "--data", server.data, **environ(server))
        assert everybody.stdout.count("is frozen since") == 2
        with pytest.raises(PermissionDenied):
            backends[1].buy("USD", "BTC", "0.01")
        xw.unfreeze(ann, password)
        backends[0].buy("USD", "BTC", "0.01")
        rows = server.sql("SELECT who, what FROM audit_log WHERE what LIKE '%freeze' ORDER BY id")
        assert [tuple(row) for row in rows] == [
            ("administrator", "freeze"),
            ("administrator", "freeze"),
            (ann, "unfreeze"),
        ]


def test_an_account_that_is_not_there_is_one_line(tmp_path):
    one_line(xwrap("freeze", "--data", tmp_path / "none"), "there is no data base")
    prepared(tmp_path)
    one_line(xwrap("freeze", "--data", tmp_path), "there is no account yet")
    one_line(xwrap("freeze", "--account", "eve", "--data", tmp_path), "there is no account 'eve'")


def test_the_client_freezes_and_says_since_when(serving):
    with serving() as server:
        auth, xw = server.account(), XWrap(server.url)
        backend = xw.create_backend(*auth, "paper", "", "", "")
        backend.buy("USD", "BTC", "0.01", price=1000)
        first = xw.freeze(*auth)
        again = xw.freeze(*auth, cancel_orders=True)
        assert first == {"frozen": again["frozen"], "canceled": []}
        assert again["canceled"] == [{"id": backend.id, "exchange": "paper", "canceled": 1}]
        assert xw.unfreeze(*auth) is None
        assert xw.unfreeze(*auth) is None
        store = Store(server.database)
        assert store.accounts.find(auth[0]).frozen is None
        store.close()
