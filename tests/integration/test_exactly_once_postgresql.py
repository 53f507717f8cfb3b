"""The short forms of commands in tests/stress on PostgreSQL: one of two servers stands still, a connection breaks."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")


def test_a_server_that_stands_still_holds_up_no_order_of_another_one(postgres):
    from tests.stress import process_faults

    figures = process_faults.pause_of_two(postgres, 0.0, ["before-sending"], ["kraken"])
    assert figures.good, str(figures)
    assert figures.cases == 6


def test_an_order_whose_commit_postgresql_does_not_answer_is_executed_once_at_most(postgres):
    from tests.stress import database_faults

    figures = database_faults.on_postgres(postgres, ["kraken"], up_to=2)
    assert figures.good, str(figures)
    assert figures.cases == 12
