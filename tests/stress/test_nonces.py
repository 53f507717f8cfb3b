"""The short form of `python -m tests.stress.nonces`."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from tests.stress.nonces import run


def test_no_nonce_is_refused_through_a_restart_that_sets_the_clock_back(request):
    url = request.getfixturevalue("postgres") if request.config.getoption("postgres") else None
    counts = run(url, calls=300, processes=2, threads=4)
    assert counts["venue: signed"] >= 300
    assert counts["venue: nonce refused"] == 0
    assert counts["venue: orders executed"] == counts["venue: AddOrder"] > 20
    assert {name for name in counts if name.startswith("bots: ")} <= {"bots: 200", "bots: 429 rate_limited"}
