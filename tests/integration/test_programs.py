"""The programs for measuring and for long tests are run seldom; that a name was changed shows here at once."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PROGRAMS = sorted([*TESTS.glob("benchmarks/*.py"), *TESTS.glob("stress/*.py")])

pytest.importorskip("starlette", reason="the server is not installed")


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_every_name_that_a_program_imports_exists(path):
    assert import_module(f"tests.{path.parent.name}.{path.stem}")
