"""The head of a request, checked in raw bytes: its bounds, and that nobody on the way can have read it otherwise."""

from __future__ import annotations

import re

from .params import MAX_BODY

__all__ = ["RefusedError", "check_head", "take_head"]

MAX_HEAD = 64 * 1024
MAX_HEADERS = 100
MAX_URL = 8 * 1024
#: The longest method, two spaces and the version, with which the URL makes a request line.
_AROUND_URL = 32

#: Only the origin form of a target (RFC 9112, 3.2.1), which names no other host than the Host header does.
_REQUEST_LINE = re.compile(rb"(?!CONNECT )[A-Z]{1,20} (/[!\"$-~]*) HTTP/1\.[01]")
#: A length that is written in any other way is refused.
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n")
#: RFC 9110, 7.8: a server may ignore an Upgrade. The parser would take the body for the new protocol's.
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r]*", re.IGNORECASE)
#: Of the control characters only the tab may stand in a line.
_CONTROLS = bytes({*range(32), 127} - {9})
#: Two of these could mean one thing to a proxy and another one to us.
_ONCE = (b"\r\nhost:", b"\r\ncontent-length:", b"\r\nauthorization:", b"\r\nidempotency-key:")


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


def check_head(head: bytes) -> tuple[bytes, int]:
    """Return the head without an Upgrade, and the length of the body that follows. Raises RefusedError."""
    request_line = head[: head.index(b"\r\n")]
    match = _REQUEST_LINE.fullmatch(request_line)
    if len(match[1] if match else request_line) > MAX_URL:
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
    if b"\r\nupgrade:" in fields:
        head = _UPGRADE.sub(b"", head)
    return head, _body_length(fields)


def _body_length(fields: bytes) -> int:
    if b"\r\ntransfer-encoding:" in fields:
        raise RefusedError("no_length")
    if b"\r\ncontent-length:" not in fields:
        return 0
    length = _LENGTH.search(fields)
    if not length:
        raise RefusedError("malformed")
    if int(length[1]) > MAX_BODY:
        raise RefusedError("body_too_large")
    return int(length[1])
