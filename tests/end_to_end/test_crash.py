"""The server is killed while it trades, and every order is executed once all the same: the short form of
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
    assert figures.orders >= 150
