"""The short form of `python -m tests.stress.rate_limits`."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from tests.stress.rate_limits import run


def test_fifty_bots_of_one_key_are_never_refused_by_the_exchange_and_cancels_do_not_wait_for_reads(request):
    url = request.getfixturevalue("postgres") if request.config.getoption("postgres") else None
    figures = run(url, seconds=3, bots=50, reads=300, cancels=2, processes=2, every=0.5)
    assert figures.venue["limit refused"] == 0
    assert figures.bots["orders placed and canceled"] > 0
    # Which calls got in is chance. But none was turned away before those that count had filled what reads may use:
    # 14 less a quarter. The two calls of the registration are of them.
    assert sum(figures.venue[call] for call in ("GetApiKeyInfo", "BalanceEx", "QueryOrders")) >= 10
    assert figures.bots["turned away"] > 0
    assert set(figures.readers) <= {"200", "429"}
    assert figures.readers["429"] > 250
    assert max(there for there, _ in figures.cancels) < 1
