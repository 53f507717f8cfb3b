"""The short form of `python -m tests.stress.grid_bot`."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")


def test_the_readmes_bot_orders_the_same_when_it_is_killed_and_one_with_random_keys_is_found():
    from tests.stress import grid_bot

    bot = grid_bot.readme_bot()
    assert len(bot.splitlines()) <= 60
    with grid_bot.serving() as harness:
        killed = grid_bot.run(harness, bot, kills=3, steps=3)
        undisturbed = grid_bot.run(harness, bot, steps=3)
        # By its seed this kill comes after all that was due in the first step has been placed.
        broken = grid_bot.run(harness, grid_bot.broken_bot(), kills=1, steps=2, seed=0)
    figures = grid_bot.Comparison(undisturbed, killed)
    assert figures.good, str(figures)
    assert (killed.kills, killed.server_kills) == (3, 1)
    assert undisturbed.orders.total() > 30  # so some levels are at their second one
    # Whatever their keys are, what the first life had placed was placed once more.
    doubled = grid_bot.Comparison(undisturbed, broken).too_many.total()
    assert doubled >= 30
