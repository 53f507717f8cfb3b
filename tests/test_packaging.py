"""What is installed is what is written."""

from __future__ import annotations

import sysconfig
from importlib.metadata import Distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_a_wheel_holds_every_file_of_the_package_and_no_other():
    installed = Distribution.discover(name="bitmm", path=[sysconfig.get_path("purelib")])
    held = {Path(file) for distribution in installed for file in distribution.files or []}
    if Path("bitmm/xwrap/client.py") not in held:
        pytest.skip("no wheel of it is installed here; tox installs one")
    files = {file.relative_to(ROOT) for file in (ROOT / "bitmm").rglob("*") if file.is_file()}
    assert {file for file in files if "__pycache__" not in file.parts} == {
        file for file in held if file.parts[0] == "bitmm" and "__pycache__" not in file.parts
    }
