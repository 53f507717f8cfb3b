"""openapi.yaml as data."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..encoding import encode

__all__ = ["SOURCE", "as_json", "document", "resolved"]

#: The document as it is written.
SOURCE = Path(__file__).parents[1] / "openapi.yaml"


@cache
def document() -> dict[str, Any]:
    """Return the document."""
    import yaml

    # libyaml reads it in a tenth of a second; where it is missing, it takes 0.6 s once.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content: dict[str, Any] = yaml.load(SOURCE.read_text(encoding="utf-8"), loader)  # noqa: S506 - a safe one
    return content


@cache
def as_json() -> bytes:
    """Return the document as JSON."""
    return encode(document())


def resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a node refers to, with what stands beside the reference; a node without one is returned itself."""
    if "$ref" not in node:
        return node
    found: Any = document()
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return {**resolved(found), **{name: value for name, value in node.items() if name != "$ref"}}
