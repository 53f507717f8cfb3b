"""Answers are compared without the id of their call, which is another one each time."""

from __future__ import annotations

from typing import Any

import requests

__all__ = ["body_of", "text_of"]


def text_of(answer: requests.Response) -> str:
    """The body of an answer, with one and the same text in the place of the id of its call."""
    return answer.text.replace(answer.headers["X-Request-ID"], "REQUEST")


def body_of(answer: requests.Response) -> Any:
    """The document of an error answer without the id of its call, which is that of the header."""
    body = answer.json()
    assert body.pop("request_id") == answer.headers["X-Request-ID"]
    return body
