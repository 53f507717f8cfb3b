"""Lists in answers are read the quick way as they are the strict way, which looks at one value after the other."""

from __future__ import annotations

import pytest

from tests.stress.big_answers import broken, compare


def test_random_lists_are_read_the_quick_way_as_the_strict_way():
    found = compare(0, 5_000)
    assert found.differences == []
    assert found.quick > 1_500


@pytest.mark.parametrize(
    ("name", "first"), [("pairs", 0), ("escapes", 100), ("digits", 1900), ("numbers", 0), ("statuses", 0)]
)
def test_a_broken_quick_way_is_found(name, first):
    with broken(name):
        assert compare(first, 100).differences
