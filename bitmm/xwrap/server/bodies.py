"""The body of a request as it comes in: where it ends, and that it is not too large."""

from __future__ import annotations

import re
from typing import Literal

from .heads import RefusedError
from .params import MAX_BODY

__all__ = ["Chunks", "Sized"]

#: The most bytes of chunk extensions and trailers of one body.
MAX_EXTRA = 4 * 1024
#: The longest size and the end of its line.
_AROUND_EXTENSION = 18

#: The size of a chunk, and its extensions, which are ignored (RFC 9112, 7.1.1).
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:[ \t]*;[\t -~\x80-\xff]*)?)\r\n")
#: A trailer is dropped (RFC 9112, 7.1.2): as a header it could change what was checked in the head. An order whose
#: key was dropped could be executed twice, so a key there is refused; it may not stand there (RFC 9110, 6.5.1).
_TRAILER = re.compile(rb"(?!(?i:idempotency-key):)[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n")


class Sized:
    """A body of the length that its head names."""

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def is_complete(self) -> bool:
        """Return whether all of it was taken."""
        return not self._left

    def pop(self, received: bytearray) -> bytes:
        """Take what belongs to the body from the front of `received`, and return it."""
        part = bytes(received[: self._left])
        del received[: len(part)]
        self._left -= len(part)
        return part


class Chunks:
    """A body that comes in chunks (RFC 9112, 7.1)."""

    def __init__(self) -> None:
        self.is_complete = False
        #: The sizes of all chunks so far, and how much is still to come of the last one.
        self._size = self._left = 0
        self._extra = 0
        #: Which line comes when nothing is left: the next size, the end behind the data of a chunk, a trailer.
        self._next: Literal["size", "end", "trailer"] = "size"

    def pop(self, received: bytearray) -> bytes:
        """Take what belongs to the body from the front of `received`; return its data as one chunk, b"" without data.

        A complete body ends with the last chunk. So the parser never sees an extension or a trailer. Raises
        RefusedError for what is malformed or too large.
        """
        data = bytearray()
        while not self.is_complete:
            if self._left:
                part = received[: self._left]
                del received[: len(part)]
                data += part
                self._left -= len(part)
                if self._left:
                    break
            line = _take_line(received)
            if line is None:
                break
            self._read(line)
        chunk = b"%x\r\n%b\r\n" % (len(data), bytes(data)) if data else b""
        return chunk + b"0\r\n\r\n" if self.is_complete else chunk

    def _read(self, line: bytes) -> None:
        if self._next == "size":
            self._read_size(line)
        elif line == b"\r\n":
            self.is_complete = self._next == "trailer"
            self._next = "size"
        elif self._next == "trailer" and _TRAILER.fullmatch(line):
            self._count_extra(len(line))
        else:
            raise RefusedError("malformed")

    def _read_size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise RefusedError("malformed")
        self._count_extra(len(match[2]))
        self._left = int(match[1], 16)
        self._size += self._left
        if self._size > MAX_BODY:
            raise RefusedError("body_too_large")
        self._next = "end" if self._left else "trailer"

    def _count_extra(self, size: int) -> None:
        self._extra += size
        if self._extra > MAX_EXTRA:
            raise RefusedError("body_too_large")


def _take_line(received: bytearray) -> bytes | None:
    """Take a line with its end; return None when it is not complete. Raises RefusedError when it is too long."""
    end = received.find(b"\n") + 1
    if (end or len(received)) > MAX_EXTRA + _AROUND_EXTENSION:
        raise RefusedError("body_too_large")
    if not end:
        return None
    line = bytes(received[:end])
    del received[:end]
    return line
