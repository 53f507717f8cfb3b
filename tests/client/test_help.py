"""What a person finds at the prompt: help, completion and the README have the same calls, and nothing private."""

from __future__ import annotations

import inspect
import pydoc
import re
from pathlib import Path

import pytest

from bitmm.xwrap import client
from bitmm.xwrap.client import Backend, XWrap

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
CLASSES = pytest.mark.parametrize("kind", [XWrap, Backend])


def public(kind):
    return [name for name in dir(kind) if not name.startswith("_")]


def calls(kind):
    return [(name, value) for name in public(kind) if callable(value := getattr(kind, name))]


@CLASSES
def test_every_public_name_is_in_the_api_reference(kind):
    reference = README.partition("## API reference")[2].partition("## Developing")[0]
    assert [name for name in public(kind) if not re.search(rf"`{name}\b", reference)] == []


@CLASSES
def test_every_call_says_what_it_returns_or_does(kind):
    documented = {name: inspect.getdoc(value) or "" for name, value in calls(kind)}
    assert len(documented) > 20
    assert [name for name, text in documented.items() if not re.match(r"[A-Z][^\n]*", text)] == []


@pytest.mark.parametrize(("kind", "lines"), [(XWrap, 100), (Backend, 200)])
def test_help_can_be_read_at_a_sitting(kind, lines):
    texts = [inspect.getdoc(kind), *(inspect.getdoc(value) for _, value in calls(kind))]
    assert sum(len(text.splitlines()) for text in texts) < lines


@CLASSES
def test_help_shows_nothing_private(kind):
    text = pydoc.plain(pydoc.render_doc(kind))
    assert re.findall(r"^ \|  (_[a-z]\w*)\(", text, re.MULTILINE) == []


def test_the_module_completes_what_it_exports():
    assert sorted(dir(client)) == sorted(client.__all__)
