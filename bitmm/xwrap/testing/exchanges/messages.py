"""What travels between a client and a local exchange: requests, replies, and JSON with exact numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from email.message import Message
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

__all__ = ["BAD_GATEWAY", "Reply", "Request", "dumps"]


class Request(NamedTuple):
    """A request as it arrived: `target` is the raw path with the raw query, `body` the exact bytes; for signatures."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str] | Message[str, str]
    body: bytes

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def args(self) -> dict[str, str]:
        """The parameters of the query."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        """The parameters of a form body."""
        return dict(parse_qsl(self.body.decode("utf-8"), keep_blank_values=True))

    def json(self) -> Any:
        return json.loads(self.body, parse_float=Decimal)


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]

    @classmethod
    def json(cls, data: Any, status: int = 200, **headers: str) -> Reply:
        """`data` as JSON; a Decimal becomes a JSON number with all its digits (send text for amounts in quotes)."""
        return cls.text(dumps(data), status, "application/json", **headers)

    @classmethod
    def text(cls, text: str, status: int = 200, kind: str = "text/plain; charset=utf-8", **headers: str) -> Reply:
        """Text; a header `Retry_After=` is sent as Retry-After."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, text.encode(), {"Content-Type": kind, **named})


#: What a broken proxy answers.
BAD_GATEWAY = Reply.text("<html><body><h1>502 Bad Gateway</h1></body></html>\n", 502, "text/html")

_DECIMAL = re.compile(r'"\\u0000(-?[0-9.]+)"')


def dumps(data: Any) -> str:
    """JSON in which Decimals are numbers with exactly their digits, never exponents."""
    return _DECIMAL.sub(r"\1", json.dumps(data, default=lambda value: f"\0{value:f}"))
