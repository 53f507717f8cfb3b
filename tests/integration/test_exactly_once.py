"""The short forms of `python -m tests.stress.same_key`, `.line_faults` and `.fsync`."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")


def test_many_threads_under_one_key_place_one_order():
    from tests.stress import same_key

    figures = same_key.run(threads=16, rounds=8)
    assert figures.good, str(figures)


def test_whatever_breaks_on_the_line_the_client_is_told_the_truth():
    from tests.stress import line_faults
    from tests.stress.harness import EXCHANGE_CASES

    sample = {"buy": ["reset_after", "nonce"], "sell": ["refused", "executed_but_timeout"], "send": ["cut"]}
    cases = [
        line_faults.Case(exchange, verb, fault)
        for exchange in EXCHANGE_CASES
        for verb, faults in sample.items()
        for fault in faults
    ]
    figures = line_faults.run(cases)
    assert figures.good, str(figures)
    assert figures.cases == len(cases)


def test_an_intent_is_on_the_disk_before_the_exchange_hears_of_it():
    from tests.stress import fsync

    if reason := fsync.reason_to_skip():
        pytest.skip(reason)
    figures = fsync.run(orders=20, threads=4)
    assert figures.good, str(figures)


def test_a_server_that_stood_still_tells_the_truth_and_executes_once():
    from tests.stress import process_faults

    figures = process_faults.pause(1.0, ["before-sending"], ["kraken", "backpack"])
    assert figures.good, str(figures)
    assert figures.cases == 6


def test_a_server_that_gets_no_more_threads_tells_the_truth():
    from tests.stress import process_faults
    from tests.stress.limits import Limit

    limits = [Limit(since="start", kind="threads", more=2), Limit(since="serves", kind="threads", more=0)]
    if reason := process_faults.reason_to_skip_threads():
        pytest.skip(reason)
    figures = process_faults.few_threads(limits, ["kraken", "backpack"])
    assert figures.good, str(figures)
