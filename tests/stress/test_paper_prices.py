"""The short form of `python -m tests.stress.paper_prices`."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from bitmm.xwrap.exchanges.base import RateLimit
from bitmm.xwrap.exchanges.kraken import Kraken
from tests.stress.paper_prices import run


def test_orders_on_paper_are_filled_at_what_was_shown_while_prices_move_stop_lie_and_jump(monkeypatch):
    """With a limit that allows four looks a second."""
    monkeypatch.setattr(Kraken, "per_address", RateLimit(200, 100))
    figures = run(orders=60, look=0.25)
    assert figures.wrong == []
    assert figures.fills > 15
    assert figures.orders["refused: pauses"] >= 12
