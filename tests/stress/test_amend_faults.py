"""The short form of `python -m tests.stress.amend_faults`: the server is killed while an order is amended."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from tests.stress.amend_faults import KILLED, run


def test_an_amendment_that_is_killed_anywhere_leaves_one_order_and_its_caller_is_told_the_truth():
    figures = run(("kraken", "bitstamp"), (KILLED,))
    assert figures.good, str(figures)
    assert figures.cases == 5 + 7
