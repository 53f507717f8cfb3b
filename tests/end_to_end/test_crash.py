"""The server is killed while it trades and sends, and everything is executed once all the same: the short form of
`python -m tests.long.crash`.
"""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")


def test_50_kills_lose_no_order_and_double_none():
    from tests.long import crash

    figures = crash.run(kills=50, orders=150)
    assert figures.good, str(figures)
    assert figures.kills.total() == figures.sound == 50
    assert len(figures.kills) == 6
    assert figures.orders.count >= 150


def test_21_kills_lose_no_send_and_double_none_though_kraken_cannot_tell_of_them():
    from tests.long import crash

    figures = crash.run(kills=21, orders=90, sends=True)
    assert figures.good, str(figures)
    assert figures.kills.total() == figures.sound == 21
    assert len(figures.kills) == 11
    assert figures.sends.count >= 30
    assert figures.sends.resent == 0
    assert figures.sends.listed == figures.sends.blocked
