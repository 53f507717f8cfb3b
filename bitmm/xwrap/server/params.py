"""What a caller sent, read strictly: every field once, none unknown, none unbounded."""

from __future__ import annotations

import re
from decimal import Decimal
from urllib.parse import parse_qsl

from starlette.requests import Request

from ..money import exact
from .problems import Problem

__all__ = ["Fields", "read_fields"]

MAX_BODY = 64 * 1024
_MAX_FIELDS = 50
_AMOUNT = re.compile(r"\d{1,40}(\.\d{1,40})?", re.ASCII)
_MAX_AMOUNT = 40
_NAME = re.compile(r"[A-Za-z0-9.:_-]{1,40}", re.ASCII)
_NO, _YES = ("false", "0"), ("true", "1")


class Fields:
    """The fields of one call; a view takes those it knows, and what is left over is an error."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._left: dict[str, str] = {}
        for name, value in pairs:
            if name in self._left:
                raise _bad(name, "stands twice")
            self._left[name] = value

    def take(self, name: str, *, limit: int = 255, default: str | None = None) -> str:
        """A text of at most `limit` characters; without a `default` it must be there and not be empty."""
        value = self._left.pop(name, None)
        if value is None and default is not None:
            return default
        if value is None:
            raise _bad(name, "is missing")
        if not value and default is None:
            raise _bad(name, "is empty")
        if len(value) > limit:
            raise _bad(name, f"has more than {limit} characters")
        return value

    def has(self, name: str) -> bool:
        """Whether a field is there and was not taken."""
        return name in self._left

    def take_number(self, name: str, *, default: int) -> int:
        """A whole number that is not negative."""
        value = self.take(name, limit=18, default=str(default))
        if not (value.isascii() and value.isdigit()):
            raise _bad(name, "must be a whole number")
        return int(value)

    def take_name(self, name: str, *, default: str | None = None) -> str:
        """The id of an exchange, a currency or an asset."""
        value = self.take(name, default=default)
        if not _NAME.fullmatch(value):
            raise _bad(name, "is not the name of anything here")
        return value

    def take_amount(self, name: str = "amount") -> Decimal:
        """An amount: plain digits with at most one point, more than zero."""
        value = self.take(name, limit=1000)
        if not _AMOUNT.fullmatch(value) or len(value) > _MAX_AMOUNT:
            raise _bad(name, f"must be plain digits like 0.1, {_MAX_AMOUNT} at most", code="invalid_amount")
        amount = exact(value)
        if amount <= 0:
            raise _bad(name, "must be more than zero", code="invalid_amount")
        return amount

    def take_flag(self, name: str, *, default: bool) -> bool:
        """true or false."""
        value = self.take(name, default=str(default)).lower()
        if value not in _YES + _NO:
            raise _bad(name, "must be true or false")
        return value in _YES

    def rest(self, names: set[str]) -> dict[str, str]:
        """The optional fields called `names`, as far as they are there."""
        return {name: self.take(name, limit=8192) for name in sorted(names & self._left.keys())}

    def end(self) -> None:
        """Nothing may be left over."""
        for name in self._left:
            raise _bad(name[:40], "is not a field of this call")


async def read_fields(request: Request) -> Fields:
    """The query of a GET or DELETE, the form of a POST. Raises Problem 413, 415 or 422."""
    query = request.scope["query_string"].decode("latin-1")
    if request.method != "POST":
        return Fields(_pairs(query))
    if query:
        raise Problem(422, "invalid_request", "a POST takes its fields in the body, none in the address", field="query")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded":
        raise Problem(415, "unsupported_media_type", "send the fields form-encoded (application/x-www-form-urlencoded)")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise Problem(413, "too_large", f"the body has more than {MAX_BODY // 1024} KiB")
    try:
        return Fields(_pairs(body.decode("ascii")))
    except UnicodeDecodeError:
        raise Problem(422, "invalid_request", "the body is not form-encoded text") from None


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=_MAX_FIELDS
        )
    except ValueError:
        raise Problem(422, "invalid_request", "the fields are not form-encoded UTF-8, or too many") from None


def _bad(name: str, why: str, *, code: str = "invalid_request") -> Problem:
    return Problem(422, code, f"'{name}' {why}", field=name)
