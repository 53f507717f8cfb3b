"""The local exchanges as a user gets them: what they import, what the wheel holds, how they are started."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from bitmm.xwrap.testing import exchanges
from bitmm.xwrap.testing.exchanges.kraken import KrakenVenue
from bitmm.xwrap.testing.exchanges.venue import FAULTS

REPOSITORY = Path(__file__).parents[2]
FOLDER = Path(exchanges.__file__).parent
MODULES = sorted(FOLDER.rglob("*.py"))
EXCHANGES = ["backpack", "bitstamp", "hub", "kraken", "mtgox"]


@contextmanager
def started(module, *arguments, folder=REPOSITORY, environ=None):
    """Start an exchange with `python -m`; give its process, its URL, key and secret, and stop it."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        url, key, secret = (process.stdout.readline().strip() for _ in range(3))
        yield process, url, key.removeprefix("key "), secret.removeprefix("secret ")
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


def fetch(url, body=None):
    """The JSON answer of a GET, or of a POST with a body."""
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data), timeout=10) as answer:
        return json.load(answer)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_they_import_the_standard_library_and_cryptography_only(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1, f"{path.name}, line {node.lineno}: an import from outside the local exchanges"
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.partition(".")[0])
    assert names - sys.stdlib_module_names <= {"cryptography"}


def test_each_is_started_by_its_name():
    run = subprocess.run(
        [sys.executable, "-m", "bitmm.xwrap.testing.exchanges", "--help"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert "{" + ",".join(EXCHANGES) + "}" in run.stdout


def test_a_key_and_a_secret_are_taken_from_the_command_line():
    secret = KrakenVenue.default_secret
    with started("bitmm.xwrap.testing.exchanges", "kraken", "--key", "mine", "--secret", secret) as (_, url, *keys):
        assert keys == ["mine", secret]
        assert fetch(f"{url}/_venue/ledger") == []


def test_a_fault_is_switched_on_over_http():
    with started("bitmm.xwrap.testing.exchanges", "kraken") as (_, url, *_keys):
        assert fetch(f"{url}/_venue/fault", {"kind": "maintenance", "path": "Time"}) == {}
        assert fetch(f"{url}/0/public/Time") == {"error": ["EService:Unavailable"]}
        assert fetch(f"{url}/0/public/Time")["error"] == []
        assert [row["target"] for row in fetch(f"{url}/_venue/requests")] == ["/0/public/Time"] * 2


def test_the_former_command_works_and_says_where_it_went():
    with started("tests.venues", "hub") as (process, url, *_):
        assert fetch(f"{url}/_venue/ledger") == []
        process.terminate()
        assert "python -m bitmm.xwrap.testing.exchanges" in process.stderr.read()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this repository, built without network from a copy (a build writes beside its sources)."""
    pytest.importorskip("pip")
    # Not imported: setuptools puts itself in the place of distutils, which another test may have imported.
    if int(version("setuptools").partition(".")[0]) < 77:
        pytest.skip("setuptools reads this setup.py since version 77")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(REPOSITORY / "bitmm", source / "bitmm", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    run = subprocess.run([*build, "-w", target, source], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    (path,) = target.glob("*.whl")
    return path


def test_the_wheel_holds_all_that_they_read(wheel):
    files = set(zipfile.ZipFile(wheel).namelist())
    ours = [path for path in FOLDER.rglob("*") if path.suffix in {".py", ".json"}]
    assert len([path for path in ours if path.suffix == ".json"]) >= 2
    assert {path.relative_to(REPOSITORY).as_posix() for path in ours} <= files


@pytest.mark.parametrize("name", EXCHANGES)
def test_each_runs_from_the_wheel_alone(wheel, tmp_path, name):
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    with started("bitmm.xwrap.testing.exchanges", name, folder=tmp_path, environ=environ) as (_, url, key, secret):
        assert key
        assert secret
        assert fetch(f"{url}/_venue/ledger") == []


def test_the_examples_of_the_readme_of_the_tests_run(capsys):
    readme = (REPOSITORY / "tests" / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) == readme.count("```") // 2 == 1
    for block in blocks:
        exec(compile(block, "tests/README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        "refused, 0 orders executed",
        "100.0000000000 BTC",
        "unknown, 1 order executed",
    ]


def test_the_readme_of_the_tests_names_every_fault_and_every_folder():
    readme = (REPOSITORY / "tests" / "README.md").read_text(encoding="utf-8")
    assert {kind for kind in FAULTS if f"`{kind}`" not in readme} == set()
    folders = {
        path.name for path in (REPOSITORY / "tests").iterdir() if any(path.glob("*.py")) or any(path.glob("*.json"))
    }
    assert {name for name in folders - {"venues"} if f"`{name}/`" not in readme} == set()


def test_the_readme_of_the_tests_names_commands_that_exist():
    readme = (REPOSITORY / "tests" / "README.md").read_text(encoding="utf-8")
    modules = set(re.findall(r"python -m ((?:tests|bitmm)[\w.]+)", readme))
    assert len(modules) >= 7
    for module in modules:
        path = REPOSITORY / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    assert set(re.findall(r"(?<=`)test_\w+\.py(?=`)", readme)) <= {
        path.name for path in (REPOSITORY / "tests").rglob("*.py")
    }
