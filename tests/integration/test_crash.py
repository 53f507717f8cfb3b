"""The server is killed while it trades and sends, and everything is executed once all the same: the short form of
`python -m tests.stress.crash`.
"""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from decimal import Decimal

import pytest
import requests

pytest.importorskip("starlette", reason="the server is not installed")


def test_50_kills_lose_no_order_and_double_none():
    from tests.stress import crash

    figures = crash.run(kills=50, orders=150)
    assert figures.good, str(figures)
    assert figures.kills.total() == figures.sound == 50
    assert len(figures.kills) == 6
    assert figures.orders.count >= 150


def test_21_kills_lose_no_send_and_double_none_though_kraken_cannot_tell_of_them():
    from tests.stress import crash

    figures = crash.run(kills=21, orders=90, sends=True)
    assert figures.good, str(figures)
    assert figures.kills.total() == figures.sound == 21
    assert len(figures.kills) == 11
    assert figures.sends.count >= 30
    assert figures.sends.resent == 0
    assert figures.sends.listed == figures.sends.blocked


def test_a_kill_with_the_shipped_settings_and_twenty_orders_in_flight_leaves_none_of_them_unknown():
    """Also the counter of Kraken's key is the real one, and nothing may be refused for it."""
    from tests.stress import crash_shipped

    figures = crash_shipped.run(kills=1, in_flight=20)
    assert figures.is_safe, str(figures)
    assert figures.seconds, "the kill cut off nothing"


def test_30_kills_leave_no_paper_order_half_done():
    """Its ledger is in the server's own data base: what is there without its order, or the other way round, is lost."""
    from tests.stress import crash
    from tests.stress.harness import PASSWORD, ExchangeCase, open_harness
    from tests.support.databases import sql

    paper = ExchangeCase("paper", "", "USD", Decimal("0.001"), Decimal("0.00000001"), "", {})
    workload, chance = crash.Workload(paper, ("buy", "sell"), 100, pause=0.1), random.Random(0)
    with open_harness(exchanges=["paper"], reconcile_seconds=0.2, reconcile_grace_seconds=0.5) as harness:
        harness.server.start()
        form, who = {"exchange": "paper"}, (harness.user, PASSWORD)
        id = requests.post(f"{harness.server.url}/exchanges/", data=form, auth=who, timeout=60).json()["id"]
        harness.server.stop(signal.SIGTERM)
        threads = [
            threading.Thread(target=crash.trade, args=(paper, harness.backend(id, timeout=6.0), workload), daemon=True)
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for _ in range(30):
            crash.kill(harness, workload, crash.RANDOM, "orders", chance, per_life=4)
        harness.server.start()
        workload.stop_killing()
        for thread in threads:
            thread.join(120)
        assert harness.server.stop(signal.SIGTERM) == 0
        assert [each.failure for each in workload.submissions if each.failure or each.known_at is None] == []
        rows = sql(harness.database, "SELECT key, client_id, exchange_order_id, amount, status FROM orders")
        booked = sql(harness.database, "SELECT client_id, id, amount, status FROM paper_orders")
        entries = sql(harness.database, "SELECT reference FROM paper_entries WHERE kind <> 'opening'")
    assert {(row.key, row.amount) for row in rows} == {
        (each.key, str(paper.amount_of(each.number))) for each in workload.submissions
    }
    assert {(row.client_id, int(row.exchange_order_id), row.amount, row.status) for row in rows} == set(booked)
    assert len(booked) == len(rows) == len(workload.submissions) >= 100
    assert Counter(entry.reference for entry in entries) == {f"order {order.id}": 3 for order in booked}


def test_a_kill_loses_no_transfer_and_doubles_none():
    from tests.stress import transfers

    figures = transfers.run(kills=1, seed=1, patience=0)
    assert all(found.good and found.made for found in figures.values()), figures
