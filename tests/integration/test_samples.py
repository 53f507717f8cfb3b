"""Every Python block of every document passes mypy --strict, as a reader may have it in a program of one's own."""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="the samples are checked with mypy, from the test extra")

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob(".github/*.md"), *ROOT.glob("bitmm/**/*.md"), *ROOT.glob("tests/**/*.md")]


def blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def is_complete(block: str) -> bool:
    """Whether a block binds every name that it uses: a document's others go on from what stands before them."""
    bound, used = set(dir(builtins)), set()
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return used <= bound


def programs(path: Path) -> list[str]:
    """The blocks of a document, each after the ones that it needs."""
    found: list[str] = []
    for block in blocks(path):
        if is_complete(block) or not found:
            found.append(block)
        else:
            found[-1] += f"\n\n{block}"
    return found


def test_every_sample_passes_mypy_strict(tmp_path):
    files = []
    for path in sorted(DOCUMENTS):
        for number, program in enumerate(programs(path)):
            name = re.sub(r"\W", "_", path.relative_to(ROOT).with_suffix("").as_posix())
            files.append(tmp_path / f"{name}_{number}.py")
            files[-1].write_text(program, encoding="utf-8")
    assert len(files) >= 8
    # One run for all, with the cache of the package's own.
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", *map(str, files)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
