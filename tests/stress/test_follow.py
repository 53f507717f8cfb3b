"""The short form of `python -m tests.stress.follow`: bots miss no change over a kill of the server."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from tests.stress.follow import follow


def test_bots_are_told_every_change_in_order_over_a_kill_of_the_server():
    figures = follow(bots=8, changes=40, idle=0.0)
    assert (figures.changes, figures.lost, figures.out_of_order) == (40, 0, 0), str(figures)
