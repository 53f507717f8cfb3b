"""What is installed is what is written."""

from __future__ import annotations

import ast
import re
import sysconfig
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.advisories import LOCK_FILE, report

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


def locked():
    """The requirements of the lock file, by name, and the hashes of each."""
    text = LOCK_FILE.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    found = {}
    for line in lines:
        requirement, *hashes = re.split(r"\s+--hash=", line)
        found[Requirement(requirement).name] = Requirement(requirement), hashes
    return found


def test_the_lock_file_has_what_the_server_needs_in_a_version_that_it_takes():
    names = {
        node.targets[0].id: node.value
        for node in ast.parse((ROOT / "setup.py").read_text()).body
        if isinstance(node, ast.Assign)
    }
    wanted = [
        ast.literal_eval(item)
        for name in ("CLI", "SERVER", "POSTGRES")
        for item in names[name].elts
        if isinstance(item, ast.Constant)
    ]
    assert len(wanted) > 10
    for requirement in map(Requirement, [*wanted, "requests>=2.32"]):
        [pinned] = locked()[requirement.name][0].specifier
        assert pinned.operator == "==", requirement
        assert requirement.specifier.contains(pinned.version), requirement


def test_every_version_in_the_lock_file_has_hashes():
    assert all(
        hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", hash) for hash in hashes) for _, hashes in locked().values()
    )


def test_the_lock_file_names_no_place_to_install_from():
    assert "://" not in LOCK_FILE.read_text()


SAFE, UNKNOWN = {"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}
BAD = {"name": "c", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    ("packages", "status", "words"),
    [
        ([SAFE], 0, "1 of 1 packages were looked up"),
        ([SAFE, BAD], 1, "c 2: CVE-1, mended in 3"),
        ([SAFE, UNKNOWN], 1, "b: nothing could be found out"),
        ([UNKNOWN], 0, "skipped: the advisories cannot be reached"),
        ([], 0, "skipped: the advisories cannot be reached"),
    ],
)
def test_what_could_not_be_looked_up_is_not_called_safe(packages, status, words):
    lines, found = report(packages)
    assert (found, words in "\n".join(lines)) == (status, True)
