"""The short form of `python -m tests.stress.freeze --postgres`: two servers that are killed, one data base."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")


def test_a_switch_outlives_the_servers_and_fires_once_on_two(postgres):
    from tests.stress import freeze
    from tests.support.databases import new_database

    figures = freeze.run(1, 8, new_database(postgres))
    assert figures.good, str(figures)
