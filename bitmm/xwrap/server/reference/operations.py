"""The operations of the document, each with all that a reader needs to make it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .document import document, resolved
from .examples import example

__all__ = ["Group", "Operation", "groups"]

_METHODS = ("get", "post", "put", "patch", "delete")
_Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One call: its node in the document, its parameters and answers without references, a command that makes it."""

    method: str
    path: str
    node: _Node
    parameters: list[_Node]
    #: Of the body, with its schema.
    media_type: str
    body: _Node | None
    answers: dict[str, _Node]
    example: str


@dataclass(frozen=True, slots=True)
class Group:
    """The operations that have one tag."""

    name: str
    description: str
    operations: list[Operation]


def groups() -> list[Group]:
    """Return all operations, grouped by their first tag, in the order of the document."""
    found = [
        _operation(path, method, item)
        for path, item in document()["paths"].items()
        for method in _METHODS
        if method in item
    ]
    return [
        Group(tag["name"], tag.get("description", ""), [one for one in found if one.node["tags"][0] == tag["name"]])
        for tag in document()["tags"]
    ]


def _operation(path: str, method: str, item: _Node) -> Operation:
    node = item[method]
    parameters = [resolved(one) for one in (*item.get("parameters", ()), *node.get("parameters", ()))]
    content = resolved(node.get("requestBody", {})).get("content", {})
    media_type, body = next(((name, kind["schema"]) for name, kind in content.items()), ("", None))
    return Operation(
        method=method.upper(),
        path=path,
        node=node,
        parameters=parameters,
        media_type=media_type,
        body=body,
        answers={status: resolved(answer) for status, answer in node["responses"].items()},
        example=example(path, method.upper(), node, parameters, media_type, body),
    )
