"""The head of a request, checked in raw bytes: its bounds, and that nobody on the way can have read it otherwise."""

from __future__ import annotations

import re
from typing import NamedTuple

from .params import MAX_BODY

__all__ = ["Head", "RefusedError", "check_head", "take_head"]

MAX_HEAD = 64 * 1024
MAX_HEADERS = 100
MAX_URL = 8 * 1024
#: The longest method, two spaces and the version, with which the URL makes a request line.
_AROUND_URL = 32

#: The origin form of a target and the absolute one (RFC 9112, 3.2.1 and 3.2.2).
_REQUEST_LINE = re.compile(
    rb"(?!CONNECT )[A-Z]{1,20} (?P<url>(?P<origin>(?i:https?)://(?P<host>[A-Za-z0-9.:\[\]-]+))?/[!\"$-~]*) HTTP/1\.[01]"
)
_HOST = re.compile(rb"\r\nhost:[ \t]*([^\r]*?)[ \t]*\r\n")
#: The one transfer coding that is known; one that is written in any other way is refused.
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: ?chunked\r\n")
#: A length that is written in any other way is refused.
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n")
#: RFC 9110, 7.8: a server may ignore an Upgrade. The parser would take the body for the new protocol's.
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r]*", re.IGNORECASE)
#: Of the control characters only the tab may stand in a line.
_CONTROLS = bytes({*range(32), 127} - {9})
#: Two of these could mean one thing to a proxy and another one to us.
_ONCE = (
    b"\r\nhost:",
    b"\r\ncontent-length:",
    b"\r\ntransfer-encoding:",
    b"\r\nauthorization:",
    b"\r\nidempotency-key:",
)


class Head(NamedTuple):
    """A head that may be handed on, without an Upgrade and with a target in origin form.

    `length`: how many bytes of a body follow it; None: it comes in chunks.
    """

    text: bytes
    length: int | None


class RefusedError(Exception):
    """Why a request is refused; its text is a name of `connections.REASONS`."""


def take_head(received: bytearray) -> bytes | None:
    """Take the head out of what was received, with its empty line; return None when it is not complete.

    Raises RefusedError when it is too large, or its lines end otherwise than with CRLF.
    """
    while received.startswith(b"\r\n"):  # RFC 9112, 2.2: some clients end a body so
        del received[:2]
    end = received.find(b"\r\n\r\n") + 4
    if end < 4 and len(received) <= MAX_HEAD:
        if received.count(b"\n") != received.count(b"\r\n"):
            raise RefusedError("malformed")  # with other ends of lines it may never be complete
        return None
    if not 4 <= end <= MAX_HEAD:
        is_url = b"\r\n" not in received[: MAX_URL + _AROUND_URL]
        raise RefusedError("url_too_long" if is_url else "head_too_large")
    head = bytes(received[:end])
    del received[:end]
    return head


def check_head(head: bytes) -> Head:
    """Return the head as it may be handed on. Raises RefusedError."""
    request_line = head[: head.index(b"\r\n")]
    match = _REQUEST_LINE.fullmatch(request_line)
    if len(match["url"] if match else request_line) > MAX_URL:
        raise RefusedError("url_too_long")
    if head.count(b"\r\n") - 2 > MAX_HEADERS:
        raise RefusedError("head_too_large")
    text = head.replace(b"\r\n", b"")
    is_folded = b"\r\n " in head or b"\r\n\t" in head
    if not match or is_folded or len(text.translate(None, _CONTROLS)) != len(text):
        raise RefusedError("malformed")
    fields = head.lower()
    if any(fields.count(name) > 1 for name in _ONCE):
        raise RefusedError("malformed")
    if match["origin"]:
        # RFC 9112, 3.2.2: its host counts, and the Host header must be the same. One that differs is refused.
        host = _HOST.search(fields)
        if host is None or host[1] != match["host"].lower():
            raise RefusedError("malformed")
        head = head.replace(match["origin"], b"", 1)
    if b"\r\nupgrade:" in fields:
        head = _UPGRADE.sub(b"", head)
    return Head(head, _body_length(fields, is_old=request_line.endswith(b"/1.0")))


def _body_length(fields: bytes, *, is_old: bool) -> int | None:
    if b"\r\ntransfer-encoding:" in fields:
        # RFC 9112, 6.1: with a length as well, or in HTTP/1.0, somebody on the way may have read it otherwise.
        if is_old or b"\r\ncontent-length:" in fields or not _CHUNKED.search(fields):
            raise RefusedError("malformed")
        return None
    if b"\r\ncontent-length:" not in fields:
        return 0
    length = _LENGTH.search(fields)
    if not length:
        raise RefusedError("malformed")
    if int(length[1]) > MAX_BODY:
        raise RefusedError("body_too_large")
    return int(length[1])
