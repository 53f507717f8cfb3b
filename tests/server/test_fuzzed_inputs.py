"""The short form of `python -m tests.stress.guided_fuzz`: changed inputs without guidance."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from tests.stress.guided_fuzz import READERS, beginnings, read, read_changed


@pytest.mark.parametrize("data", beginnings())
def test_every_reader_takes_what_fuzzing_begins_with(data):
    read(data)


def test_what_reads_a_caller_s_bytes_raises_only_what_it_names():
    counts = read_changed(count=3000, seed=1)
    assert set(counts) == {reader.__name__ for reader, _ in READERS}
