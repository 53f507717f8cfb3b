"""The short forms of commands in tests/stress on PostgreSQL: a server stands still, a connection breaks, it crashes."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")


def test_a_server_that_stands_still_holds_up_no_order_of_another_one(postgres):
    from tests.stress import process_faults

    figures = process_faults.pause_of_two(postgres, 0.0, ["before-sending"], ["kraken"])
    assert figures.good, str(figures)
    assert figures.cases == 6


def test_what_a_server_that_stands_still_has_of_an_account_is_free_again_at_once_and_not_row_by_row(postgres):
    """Its account is locked by one of six transactions, for which the others wait: 10 seconds, and not 60."""
    from tests.stress import process_faults

    figures = process_faults.pause_of_two(postgres, 0.0, ["before-intent"], ["kraken", "mtgox"])
    assert figures.good, str(figures)
    assert figures.cases == 12


def test_an_order_whose_commit_postgresql_does_not_answer_is_executed_once_at_most(postgres):
    from tests.stress import database_faults

    figures = database_faults.on_postgres(postgres, ["kraken"], up_to=2)
    assert figures.good, str(figures)
    assert figures.cases == 12


@pytest.mark.usefixtures("postgres")
def test_no_order_is_executed_twice_when_postgresql_crashes_and_its_administrator_lets_commits_be_lost():
    from tests.stress import workers
    from tests.support.databases import NoPostgres, own_server

    try:
        with own_server(**workers.CARELESS) as own:
            figures = workers.run(own.url, kills=1, seconds=1.0, bots=4, victim=own)
    except NoPostgres as reason:
        pytest.skip(str(reason))
    assert figures.good, str(figures)
    assert len(figures.calls) > 10
