"""Reads and writes, on either engine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.threads import in_threads


def test_a_value_never_stands_in_the_text_of_an_error(store):
    with pytest.raises(Exception, match=r"NOT NULL|not-null") as caught:
        store.registrations.add({"account_id": 1, "exchange": "paper", "username": "canary"}, lambda _id: {})
    assert "INSERT INTO registrations" in str(caught.value)
    if isinstance(store.where, Path):
        assert "canary" not in str(caught.value)


def test_writers_of_many_threads_wait_for_each_other_and_lose_nothing(store):
    in_threads(8, lambda number: [store.accounts.add(f"{number}-{turn}", "x") for turn in range(25)])
    assert len(store.accounts.all()) == 200


def test_a_write_within_a_write_is_kept_with_it_or_undone_alone(store):
    def work():
        store.accounts.add("ann", "x")
        assert [row["name"] for row in store.accounts.all()] == ["ann"], "a read within sees it already"
        with suppress(ValueError):
            store.atomic(lambda: (store.accounts.add("bob", "x"), store.accounts.add("ann", "x")))
        return store.accounts.add("cy", "x")

    last = store.atomic(work)
    assert [row["name"] for row in store.accounts.all()] == ["ann", "cy"]
    assert store.accounts.all()[-1]["id"] == last


def test_a_write_that_fails_takes_along_those_within_it(store):
    with pytest.raises(ValueError, match="already"):
        store.atomic(lambda: [store.accounts.add("ann", "x") for _ in range(2)])
    assert store.accounts.all() == []
    assert store.accounts.add("ann", "x")


def test_a_write_that_is_a_block_is_kept_whole_or_not_at_all(store):
    def add(*names):
        with store._database.writing():
            for name in names:
                store.accounts.add(name, "x")

    with pytest.raises(ValueError, match="already"):
        add("ann", "ann")
    assert store.accounts.all() == []
    add("ann", "bob")
    assert [row["name"] for row in store.accounts.all()] == ["ann", "bob"]


def test_a_block_within_a_write_is_undone_alone(store):
    def work():
        store.accounts.add("ann", "x")
        with suppress(ValueError), store._database.writing():
            store.accounts.add("bob", "x")
            store.accounts.add("ann", "x")

    store.atomic(work)
    assert [row["name"] for row in store.accounts.all()] == ["ann"]


def test_blocks_and_functions_of_many_threads_wait_for_each_other_and_lose_nothing(store):
    def add(number):
        for turn in range(25):
            if number % 2:
                store.accounts.add(f"{number}-{turn}", "x")
            else:
                with store._database.writing():
                    store.accounts.add(f"{number}-{turn}", "x")

    assert in_threads(8, add) == [None] * 8
    assert len(store.accounts.all()) == 200
