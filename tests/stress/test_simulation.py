"""The short form of `simulation`: some seeds, and seeds that find code which is broken on purpose."""

from __future__ import annotations

import pytest

from tests.stress.simulation.__main__ import find, run

#: What `--break` breaks, and a seed that finds it.
FOUND_BY = {"blind-resend": 0, "no-grace": 30, "refusals-are-proof": 163}


def test_what_clients_are_told_is_true_whatever_the_seed_lets_go_wrong():
    results = run(0, 20, 1)
    assert [problem for result in results for problem in result["problems"]] == []
    assert sum(result["faults"].get("kill", 0) for result in results) > 0
    assert sum(result["counts"]["orders"] for result in results) > 50


def test_a_seed_has_the_same_history_whatever_ran_before_it():
    one, other = run(0, 6, 1), run(3, 3, 1)
    assert [result["digest"] for result in one[3:]] == [result["digest"] for result in other]


@pytest.mark.parametrize("breakage", FOUND_BY)
def test_a_seed_finds_code_that_is_broken(breakage):
    assert find(breakage, FOUND_BY[breakage], 1) is not None
