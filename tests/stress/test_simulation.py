"""The short form of `simulation`: some seeds, and seeds that find code which is broken on purpose."""

from __future__ import annotations

import random
import secrets

import pytest

from tests.stress.simulation.__main__ import find, run
from tests.stress.simulation.substitutes import _REPLACED

#: What `--break` breaks, and seeds that find it: the first does, and the next when the code's timing has changed.
FOUND_BY = {"blind-resend": [1, 9], "no-grace": [300, 645], "refusals-are-proof": [103, 173]}
SEEDS = [*range(10), *(seeds[0] for seeds in FOUND_BY.values())]


@pytest.fixture(scope="module")
def results():
    return {result["seed"]: result for result in run([*dict.fromkeys(SEEDS)])}


def test_what_clients_are_told_is_true_whatever_the_seed_lets_go_wrong(results):
    assert [problem for result in results.values() for problem in result["problems"]] == []
    assert sum(result["faults"].get("kill", 0) for result in results.values()) > 0
    assert sum(result["counts"]["orders"] for result in results.values()) > 50


def test_a_seed_has_the_same_history_whatever_ran_before_it(results):
    assert [result["digest"] for result in run([5, 3])] == [results[5]["digest"], results[3]["digest"]]


@pytest.mark.parametrize("breakage", FOUND_BY)
def test_a_seed_finds_code_that_is_broken(breakage):
    assert find(breakage, FOUND_BY[breakage]) is not None


def test_two_servers_on_one_data_base_tell_the_truth_and_are_as_reproducible(postgres):
    options = "--servers", "2", "--postgres", postgres
    first, again = run([0, 11], 1, *options), run([11], 1, *options)
    assert [problem for result in first for problem in result["problems"]] == []
    assert again[0]["digest"] == first[1]["digest"]


def test_all_that_is_random_is_drawn_from_the_seed():
    assert set(_REPLACED[random]) == set(random.__all__)
    assert set(_REPLACED[secrets]) == set(secrets.__all__) - {"compare_digest"}
