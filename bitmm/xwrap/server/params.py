"""Parameters of a request, read strictly: each at most once, none unknown, each of bounded size."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import parse_qsl

from starlette.requests import Request

from ..money import advice, exact, not_above_zero
from .problems import Problem

__all__ = ["BODY", "FORM", "JSON", "MAX_BODY", "Params", "bad_field", "read_params"]

MAX_BODY = 64 * 1024
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
#: The name under which a body in JSON is popped.
BODY = "body"
_MAX_PARAMS = 50
#: Plain digits, or what `str(Decimal)` makes of some amounts: 1E-8, 1E+2.
_AMOUNT = re.compile(r"\d{1,40}(\.\d{1,40})?(E[+-]?\d{1,2})?", re.ASCII)
#: The most characters of an amount in plain digits.
_MAX_AMOUNT = 40
_NAME = re.compile(r"[A-Za-z0-9.:_-]{1,40}", re.ASCII)
_WITH_BODY = {"POST", "PUT", "PATCH"}
_NO, _YES = ("false", "0"), ("true", "1")
#: Control characters, format characters (those that turn the direction of writing are among them), ends of lines.
_NOT_IN_LABELS = {"Cc", "Cf", "Zl", "Zp"}
#: Format characters that words of some scripts, and some emoji, are written with: zero width (non-)joiner.
_JOINERS = "\u200c\u200d"


class Params:
    """The parameters of one request. A view pops those it knows; `finish` refuses what remains.

    Every `pop_` method raises Problem 422, which names the parameter.
    """

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._remaining: dict[str, str] = {}
        for name, value in pairs:
            if name in self._remaining:
                raise bad_field(name, "stands twice")
            self._remaining[name] = value

    def pop_text(self, name: str, *, limit: int = 255, default: str | None = None) -> str:
        """Return a text of at most `limit` characters; without a `default` it must be there and not be empty."""
        value = self._remaining.pop(name, None)
        if value is None and default is not None:
            return default
        if value is None:
            raise bad_field(name, "is missing")
        if not value and default is None:
            raise bad_field(name, "is empty")
        if "\0" in value:
            # PostgreSQL has no such text.
            raise bad_field(name, "has a character that is no text (NUL)")
        if len(value) > limit:
            raise bad_field(name, f"has more than {limit} characters")
        return value

    def pop_label(self, name: str, *, limit: int = 100, default: str | None = "") -> str:
        """Return a name of the caller's own for something, as `pop_text` does.

        It is shown to people, also on terminals, so it has no character that is not seen and changes what is.
        """
        value = self.pop_text(name, limit=limit, default=default)
        for char in value:
            if unicodedata.category(char) in _NOT_IN_LABELS and char not in _JOINERS:
                raise bad_field(name, f"has a control or direction character (U+{ord(char):04X}); write it without")
        return value

    def has(self, name: str) -> bool:
        """Return whether a parameter is there and was not popped yet."""
        return name in self._remaining

    def pop_int(self, name: str, *, default: int | None = None) -> int:
        """Return a whole number that is not negative; without a `default` it must be there."""
        value = self.pop_text(name, limit=18, default=None if default is None else str(default))
        if not (value.isascii() and value.isdigit()):
            raise bad_field(name, f"is '{value[:40]}'; it must be a whole number")
        return int(value)

    def pop_time(self, name: str) -> datetime | None:
        """Return a time in UTC, None where none is given; one that is written without a zone is in UTC."""
        if not self.has(name):
            return None
        text = self.pop_text(name, limit=100)
        try:
            time = datetime.fromisoformat(text)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise bad_field(name, f"is '{text[:40]}'; it must be a time like 2026-11-27T10:00:00Z") from None

    def pop_count(self, name: str, *, default: int, most: int) -> int:
        """Return how many are asked for: a whole number from 1 on."""
        count = self.pop_int(name, default=default)
        if not 1 <= count <= most:
            raise bad_field(name, f"is {count}; it must be 1 to {most}")
        return count

    def pop_name(self, name: str, *, default: str | None = None) -> str:
        """Return the name of a currency or an asset, as the caller wrote it."""
        value = self.pop_text(name, default=default)
        if not _NAME.fullmatch(value):
            raise bad_field(name, f"is '{value[:40]}', which is not the name of anything here; write it like BTC")
        return value

    def pop_amount(self, name: str = "amount") -> Decimal:
        """Return an amount: plain digits with at most one point, or as `str(Decimal)` writes it; more than zero."""
        value = self.pop_text(name, limit=1000, default="" if self.has(name) else None)
        try:
            amount = exact(value)
        except ValueError:
            raise bad_field(name, advice(value), code="invalid_amount") from None
        digits = format(amount, "f")
        if len(digits) > _MAX_AMOUNT:
            way = "; made of a float it has so many, as text it has those that are written" if "." in digits else ""
            raise bad_field(name, f"has more than {_MAX_AMOUNT} digits{way}", code="invalid_amount")
        if amount <= 0:
            raise bad_field(name, not_above_zero(amount, name), code="invalid_amount")
        if not _AMOUNT.fullmatch(value):
            raise bad_field(name, f'is "{value[:_MAX_AMOUNT]}"; write "{digits.lstrip("+")}"', code="invalid_amount")
        return exact(digits)

    def pop_bool(self, name: str, *, default: bool) -> bool:
        """Return a flag, sent as true, false, 1 or 0."""
        value = self.pop_text(name, default=str(default)).lower()
        if value not in _YES + _NO:
            raise bad_field(name, f"is '{value[:40]}'; it must be true or false")
        return value in _YES

    def pop_optional(self, names: set[str]) -> dict[str, str]:
        """Return those of `names` that are there, each of at most 8,192 characters."""
        return {name: self.pop_text(name, limit=8192) for name in sorted(names & self._remaining.keys())}

    def pop_all(self) -> dict[str, str]:
        """Return all that is left, each of at most 8,192 characters and perhaps empty, for another `Params`."""
        return {name: self.pop_text(name, limit=8192, default="") for name in self.remaining()}

    def has_any(self, names: set[str]) -> bool:
        """Return whether a parameter of these is there and was not popped yet."""
        return not names.isdisjoint(self._remaining)

    def remaining(self) -> list[str]:
        """Return the names of the parameters that were not popped."""
        return list(self._remaining)

    def finish(self) -> None:
        """Raise Problem 422 when a parameter was not popped: this call does not know it."""
        for name in self._remaining:
            raise bad_field(name[:40], "is not a field of this call")


async def read_params(request: Request, media_type: str = FORM) -> Params:
    """Return the query of a GET or DELETE, or the form of a POST, PUT or PATCH. Raises Problem 413, 415 or 422.

    Of a call whose body is JSON it is one parameter with the whole text, called `BODY`.
    """
    query = request.scope["query_string"].decode("latin-1")
    if request.method not in _WITH_BODY:
        return Params(_parse_form(query))
    if query:
        raise Problem(
            422,
            "invalid_request",
            f"a {request.method} takes its fields in the body, none in the address",
            field="query",
        )
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # A POST without fields has neither a body nor a type, as curl and requests send it.
    has_body = (
        content_type or request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    )
    if has_body and content_type != media_type:
        wanted = f"send the fields form-encoded ({FORM})" if media_type == FORM else f"send {media_type}"
        raise Problem(415, "unsupported_media_type", f"the body is '{content_type[:60]}'; {wanted}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise Problem(
                413,
                "too_large",
                f"the body has more than {MAX_BODY // 1024} KiB, which is the most that a call may have",
            )
    try:
        if media_type != FORM:
            return Params([(BODY, body.decode())])
        return Params(_parse_form(body.decode("ascii")))
    except UnicodeDecodeError:
        raise Problem(422, "invalid_request", f"the body is not text as {media_type} has it") from None


def _parse_form(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=_MAX_PARAMS
        )
    except ValueError:
        raise Problem(
            422, "invalid_request", f"the fields are not form-encoded UTF-8, or more than {_MAX_PARAMS}"
        ) from None


def bad_field(name: str, why: str, *, code: str = "invalid_request") -> Problem:
    """Return the problem of a field; `why` goes on after its name."""
    return Problem(422, code, f"'{name}' {why}", field=name)
