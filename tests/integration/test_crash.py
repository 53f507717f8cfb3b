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


def test_30_kills_leave_no_paper_order_half_done():
    """Its ledger is in the server's own data base: what is there without its order, or the other way round, is lost."""
    from tests.stress import crash
    from tests.stress.harness import PASSWORD, Line, rig
    from tests.support.databases import sql

    paper = Line("paper", "", "USD", Decimal("0.001"), Decimal("0.00000001"), "", {})
    work, chance = crash.Work(paper, ("buy", "sell"), 100, pause=0.1), random.Random(0)
    with rig(exchanges=["paper"], settle_seconds=0.2, settle_grace_seconds=0.5) as built:
        built.keeper.start()
        form, who = {"exchange": "paper"}, (built.user, PASSWORD)
        id = requests.post(f"{built.keeper.url}/exchanges/", data=form, auth=who, timeout=60).json()["id"]
        built.keeper.end(signal.SIGTERM)
        threads = [
            threading.Thread(target=crash.trade, args=(paper, built.backend(id, timeout=6.0), work), daemon=True)
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for _ in range(30):
            crash.kill(built, work, crash.RANDOM, "orders", chance, per_life=4)
        built.keeper.start()
        work.stop_killing()
        for thread in threads:
            thread.join(120)
        assert built.keeper.end(signal.SIGTERM) == 0
        assert [move.failure for move in work.mutates if move.failure or move.known_at is None] == []
        rows = sql(built.database, "SELECT key, client_id, exchange_order_id, amount, status FROM orders")
        booked = sql(built.database, "SELECT client_id, id, amount, status FROM paper_orders")
        entries = sql(built.database, "SELECT reference FROM paper_entries WHERE kind <> 'opening'")
    assert {(row.key, row.amount) for row in rows} == {
        (move.key, str(paper.amount_of(move.number))) for move in work.mutates
    }
    assert {(row.client_id, int(row.exchange_order_id), row.amount, row.status) for row in rows} == set(booked)
    assert len(booked) == len(rows) == len(work.mutates) >= 100
    assert Counter(entry.reference for entry in entries) == {f"order {order.id}": 3 for order in booked}
