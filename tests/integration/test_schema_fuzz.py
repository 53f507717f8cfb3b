"""The short form of `python -m tests.stress.schema_fuzz`: the server keeps to openapi.yaml."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")
pytest.importorskip("schemathesis", reason="requests are made from openapi.yaml with schemathesis, from the test extra")

from tests.stress.schema_fuzz import fuzz

#: The phases that are run with each scope, and how many requests they make at least: 2,100 together.
SHORT = [
    ("read", "fuzzing,stateful", 60),
    ("trade", "coverage", 670),
    ("send", "coverage", 670),
    ("owner", "coverage,stateful", 700),
]


@pytest.mark.parametrize(("scope", "phases", "least"), SHORT, ids=[scope for scope, _, _ in SHORT])
def test_the_server_answers_as_the_document_says(scope, phases, least):
    found = fuzz(scope, at_least=1, examples=2, seed=1, phases=phases)
    assert found.failures == found.server_errors == 0, "\n".join(found.reports)
    assert found.requests >= least
