"""The rules of the house that a reader relies on."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bitmm"
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path):
    """The absolute names that a module imports, wherever in it."""
    package = ["bitmm", *path.relative_to(PACKAGE).parts[:-1]]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1] if node.level else [])
            module = ".".join(filter(None, [base, node.module]))
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def room(path):
    return path.relative_to(PACKAGE / "xwrap").as_posix()


def test_bitmm_is_a_namespace_that_others_may_share():
    assert not (PACKAGE / "__init__.py").exists()


def test_importing_the_client_draws_in_requests_and_the_standard_library_only():
    program = (
        "import sys, requests; before = set(sys.modules); import bitmm.xwrap.client; "
        "print(*sorted({n.split('.')[0] for n in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
        "; print(*sorted(n for n in sys.modules if n.startswith('bitmm')))"
    )
    environ = {"PYTHONPATH": ":".join([str(PACKAGE.parent), *sys.path])}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, check=True)
    foreign, ours = result.stdout.splitlines()
    assert foreign == "bitmm"
    assert not [name for name in ours.split() if "server" in name or "exchanges" in name]


@pytest.mark.parametrize("path", MODULES, ids=room)
def test_imports_point_one_way(path):
    ours = {name.removeprefix("bitmm.xwrap.") for name in imports(path) if name.startswith("bitmm.xwrap.")}
    inner = room(path)
    if inner.startswith("exchanges/"):
        assert not [name for name in ours if name.startswith(("server", "client", "cli", "demo"))]
    elif inner in {"client.py", "transport.py", "money.py", "errors.py"}:
        assert not [name for name in ours if name.startswith(("server", "exchanges", "cli", "demo"))]
    elif inner.startswith("server/"):
        assert not [name for name in ours if name.startswith(("client", "cli", "demo"))]


@pytest.mark.parametrize("path", MODULES, ids=room)
def test_what_is_dangerous_has_one_room(path):
    names, inner = imports(path), room(path)
    if inner not in {"transport.py", "client.py", "exchanges/ccxt/session.py"}:
        assert not [name for name in names if name.split(".")[0] in {"requests", "urllib3"}]
    if not inner.startswith(("server/db/", "server/migrations/")):
        sql = {name for name in names if name.split(".")[0] in {"sqlalchemy", "sqlite3", "alembic"}}
        assert sql <= {"sqlalchemy.exc", "sqlalchemy.exc.OperationalError"}
    if inner.startswith("server/") and inner not in {"server/settings.py", "server/runner.py"}:
        assert "environ" not in path.read_text()


@pytest.mark.parametrize("path", [path for path in MODULES if "testing/exchanges" not in path.as_posix()], ids=room)
def test_no_amount_passes_through_a_binary_fraction(path):
    """`float(` stands nowhere but where seconds to wait or a limiter's infinity are meant."""
    seconds = ('inf"', "retry_after", ".isdigit()", "calls a second")
    lines = [line.strip() for line in path.read_text().splitlines() if re.search(r"(?<!\w)float\(", line)]
    assert [line for line in lines if not any(word in line for word in seconds)] == []
