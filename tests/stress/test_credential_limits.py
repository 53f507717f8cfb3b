"""The short form of `python -m tests.stress.credential_limits`."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from tests.stress.credential_limits import good, run


def test_a_limit_of_a_day_holds_to_the_last_digit_in_each_process_and_through_a_restart(request):
    url = request.getfixturevalue("postgres") if request.config.getoption("postgres") else None
    counts = run(url, orders=60)
    assert good(counts), counts
