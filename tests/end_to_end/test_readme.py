"""Every Python example of the README runs, in its order, against a real server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_examples_of_the_readme_run(serving, capsys):
    assert len(BLOCKS) >= 4
    names = {}
    with serving() as server:
        server.account("ann", "her password")
        for block in BLOCKS:
            exec(compile(block.replace("http://localhost:8000", server.url), "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "0.1 BTC for" in printed
    assert "too much: not enough USD" in printed


def test_the_readme_names_every_setting_that_the_server_reads():
    from bitmm.xwrap.server import settings

    source = Path(settings.__file__).read_text()
    names = set(re.findall(r"XWRAP_[A-Z_]*[A-Z]", source)) | {"XWRAP_URL"}
    assert {name for name in names if name not in README} == set()
