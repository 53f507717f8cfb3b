"""The short forms of commands in tests/stress: the same key, faults of the line, the processes and the data base."""

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
        # Its history is complete after 30 s, and before that nothing proves that the order is not there.
        if (exchange, fault) != ("backpack", "nonce")
    ]
    # The versions of Mt.Gox's API differ in what they say, and not in what they check.
    exchanges = [exchange for exchange in EXCHANGE_CASES if not exchange.startswith("mtgox-")]
    cases += [line_faults.Case(exchange, verb, "delivered_twice") for exchange in exchanges for verb in ("buy", "send")]
    cases += [line_faults.Case(exchange, "sell", "swapped") for exchange in exchanges]
    figures = line_faults.run(cases)
    assert figures.good, str(figures)
    assert figures.cases == len(cases) + len(exchanges), "two orders are swapped"


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
    figures = process_faults.few_threads(limits, ["kraken"])
    assert figures.good, str(figures)


def test_an_order_whose_intent_or_outcome_the_disk_does_not_take_is_executed_once_at_most():
    from tests.stress import database_faults

    if reason := database_faults.reason_to_skip_disk():
        pytest.skip(reason)
    figures = database_faults.on_sqlite(["kraken"], up_to=3, names=["fsync"])
    assert figures.good, str(figures)
    assert figures.cases == 9
