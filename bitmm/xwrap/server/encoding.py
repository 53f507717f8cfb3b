"""Documents as the bytes of an answer: JSON in UTF-8, without spaces.

orjson encodes: a page of 500 orders takes 0.1 us a row with it and 1.7 with the standard library (2026-11-28). It takes
the records of an exchange as they are, too.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
from starlette.responses import JSONResponse

from ..money import plain

__all__ = ["JSONAnswer", "encode"]


def encode(document: Any) -> bytes:
    """Return a document as JSON: a record as its fields, an amount as text in plain digits, a time in ISO 8601."""
    return orjson.dumps(document, _encode_amount, orjson.OPT_UTC_Z)


def _encode_amount(value: object) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    raise TypeError(f"a {type(value).__name__} is nothing that is answered")


class JSONAnswer(JSONResponse):
    """An answer whose document `encode` encodes."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return encode(content)
