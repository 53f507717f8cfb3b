"""Every error code stands in codes.py once, with its status and its meaning; everything that lists codes agrees."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from bitmm.xwrap.codes import CODES, ErrorCode

ROOT = Path(__file__).parents[1]
XWRAP = ROOT / "bitmm" / "xwrap"
#: The local exchanges have the codes of the exchanges that they stand for.
MODULES = [path for path in sorted(XWRAP.rglob("*.py")) if "testing/exchanges" not in path.as_posix()]
SENT = [name for name, code in CODES.items() if code.status is not None]


def texts(node: ast.AST | None) -> Iterator[str]:
    """The text that an expression is, or may be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp | ast.BoolOp):
        for part in [node.body, node.orelse] if isinstance(node, ast.IfExp) else node.values:
            yield from texts(part)
    elif isinstance(node, ast.Tuple | ast.Set | ast.List):
        for part in node.elts:
            yield from texts(part)


def table(node: ast.AST) -> set[str]:
    """The codes in a table from an exchange's words to ours, known by the first code in it that is one of ours."""
    if isinstance(node, ast.Dict):
        values = {text for value in node.values for text in texts(value)}
    elif isinstance(node, ast.Set):
        values = set(texts(node))
    elif isinstance(node, ast.Call) and ast.unparse(node.func) == "dict.fromkeys":
        values = {text for value in node.args[1:] for text in texts(value)}
    else:
        return set()
    names = {value for value in values if re.fullmatch(r"[a-z]+(_[a-z]+)+", value)}
    return names if names & set(CODES) else set()


def codes_in(tree: ast.Module) -> Iterator[str]:
    """Every code that stands in a module as a literal: passed, compared with, or in a table."""
    for node in ast.walk(tree):
        yield from table(node)
        if isinstance(node, ast.Call):
            yield from (text for word in node.keywords if word.arg == "code" for text in texts(word.value))
            if ast.unparse(node.func) == "Problem":
                yield from texts(node.args[1])
        elif isinstance(node, ast.Compare) and ast.unparse(node.left).split(".")[-1] == "code":
            # In capitals it is an exchange's own.
            yield from (text for right in node.comparators for text in texts(right) if text.islower())
        elif isinstance(node, ast.arguments):
            named = [*zip(node.kwonlyargs, node.kw_defaults, strict=True)]
            yield from (text for argument, default in named if argument.arg == "code" for text in texts(default))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(XWRAP).as_posix())
def test_every_code_in_the_package_is_a_stable_one(path):
    assert set(codes_in(ast.parse(path.read_text(encoding="utf-8")))) <= set(CODES)


def test_every_stable_code_is_used():
    used = set()
    for path in MODULES:
        if path.name != "codes.py":
            used |= {text for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for text in texts(node)}
    assert set(CODES) - used == set()


def test_the_type_of_a_code_has_the_codes_of_the_table():
    assert get_args(ErrorCode) == tuple(sorted(CODES))


def test_a_meaning_is_one_sentence():
    for code in CODES.values():
        assert re.fullmatch(r"[A-Z`][^.]*(\.[^. ]+[^.]*)*\.", code.meaning), code.meaning


def test_the_contract_lists_the_codes_that_a_server_sends():
    yaml = pytest.importorskip("yaml", reason="openapi.yaml is read with PyYAML, from the test extra")
    document = yaml.safe_load((XWRAP / "server" / "openapi.yaml").read_text(encoding="utf-8"))
    assert document["components"]["schemas"]["Error"]["properties"]["code"]["enum"] == sorted(SENT)


def test_the_table_in_the_readme_is_made_from_the_codes():
    start = "<!-- codes: made from bitmm/xwrap/codes.py; a test holds it here -->\n"
    shown = (XWRAP / "README.md").read_text(encoding="utf-8").partition(start)[2].partition("\n<!-- end -->")[0]
    rows = [f"| `{name}` | {code.status or 'none'} | {code.meaning} |" for name, code in CODES.items()]
    assert shown.splitlines() == ["| code | HTTP status | meaning |", "| --- | --- | --- |", *rows]
