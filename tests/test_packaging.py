"""What is installed is what is written."""

from __future__ import annotations

import sysconfig
from importlib.metadata import Distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_a_wheel_holds_every_file_of_the_package():
    installed = list(Distribution.discover(name="bitmm", path=[sysconfig.get_path("purelib")]))
    held = {str(file) for distribution in installed for file in distribution.files or []}
    if "bitmm/xwrap/client.py" not in held:
        pytest.skip("no wheel of it is installed here; tox installs one")
    files = {file for file in (ROOT / "bitmm").rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    assert {file.relative_to(ROOT).as_posix() for file in files} - held == set()
