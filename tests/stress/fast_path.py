"""The fast path of the client against http.client: the same answers, read both ways.

An answer is made from a seed: a head of ordinary and odd lines, a body in one of several framings, random changes of
the bytes, a cut or an early end. Its pieces are received at random places, or byte by byte. It is read once by
`_fast_path` and once by urllib3 and http.client, through the same Transport. What must be true:

- status, headers (names in any case) and body are the same, and so is the error when there is one;
- a connection that http.client would not use again is not used again;
- the next call on the connection gets its own answer, or none, but no byte of the one before.

`--break NAME` breaks the fast path on purpose and prints the first answer that finds it.
"""

from __future__ import annotations

import argparse
import gzip
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from bitmm.xwrap import _fast_path
from bitmm.xwrap._http import _HTTPPool
from bitmm.xwrap.errors import APIError
from bitmm.xwrap.transport import Request, Transport

ORIGIN = "http://127.0.0.1:1"
HEADERS = {"Accept-Encoding": "gzip, deflate", "User-Agent": "bitmm", "Accept": "application/json"}
#: The answer to the second call on a connection.
SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"


class Answer(NamedTuple):
    """What arrives: pieces in the order of their arrival, and whether the other side closes after them."""

    method: str
    pieces: tuple[bytes, ...]
    closes: bool


class Socket:
    """A socket whose peer sends the pieces of an answer when it was asked, and SECOND when it was asked again."""

    def __init__(self, answer: Answer) -> None:
        self._answers = [answer.pieces, (SECOND,)]
        self._waiting: list[bytes] = []
        self._closes = answer.closes
        self.closed = False

    @property
    def has_bytes(self) -> bool:
        return bool(self._waiting) or self._closes

    def sendall(self, data: bytes) -> None:
        if self._answers and data.startswith((b"GET", b"HEAD", b"POST")):
            self._waiting += self._answers.pop(0)

    def recv(self, size: int) -> bytes:
        if not self._waiting:
            if self._closes or not self._answers:
                return b""
            raise TimeoutError  # The other side keeps the connection open and is silent.
        piece = self._waiting.pop(0)
        if len(piece) > size:
            self._waiting.insert(0, piece[size:])
        return piece[:size]

    def makefile(self, _mode: str, buffering: int) -> File:
        assert buffering == 0
        return File(self)

    def settimeout(self, _seconds: float) -> None:
        pass

    def setsockopt(self, *_: object) -> None:
        pass

    def shutdown(self, _how: int) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class File:
    """A file on the socket, as `makefile` makes it without a buffer."""

    def __init__(self, sock: Socket) -> None:
        self._sock = sock

    def readinto(self, buffer: memoryview) -> int:
        data = self._sock.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        pass


class Connection(_HTTPPool.ConnectionCls):  # type: ignore[misc]
    """A connection on such a socket; a new one cannot be made."""

    @property
    def is_connected(self) -> bool:
        return self.sock is not None and not self.sock.has_bytes

    def connect(self) -> None:
        raise ConnectionRefusedError


class Reader:
    """Reads answers one way, with one Transport."""

    def __init__(self, *, fast: bool) -> None:
        self._transport = Transport(timeout=1000)
        self._pool = _HTTPPool("127.0.0.1", 1)
        self._pool.ConnectionCls = Connection
        self._pool.is_plain = fast
        self._transport._connections._adapter._pools[ORIGIN] = self._pool

    def read(self, answer: Answer) -> tuple[object, bool, object]:
        """Return what a call makes of the answer, whether its connection is used again, and what the next call gets."""
        sock = Socket(answer)
        connection = Connection("127.0.0.1", 1)
        connection.sock = sock
        # The pool holds this connection and no other.
        while not self._pool.pool.empty():
            self._pool.pool.get_nowait()
        self._pool.pool.put(connection)
        first = self._call(answer.method)
        kept = connection.sock is sock and connection.is_connected
        return first, kept, self._call("GET") if kept else None

    def _call(self, method: str) -> object:
        request = Request(method, f"{ORIGIN}/balance", HEADERS if method != "POST" else {**HEADERS, "X": "y"}, None)
        if method == "POST":
            request = request._replace(body=b"a=b")
        try:
            response = self._transport.send(request)
        except APIError as error:
            return type(error).__name__, error.code, error.reason
        headers = {name.lower(): response.headers[name] for name in response.headers}
        return response.status, headers, response.body


STATUS_LINES = [
    *[b"HTTP/1.1 200 OK"] * 60,
    *(
        b"HTTP/1.1 %d Reason" % status
        for status in (201, 204, 304, 400, 404, 422, 429, 500, 503, 100, 101, 102, 999, 99)
    ),
    b"HTTP/1.1 200",
    b"HTTP/1.1 200 ",
    b"HTTP/1.1  200 OK",
    b"HTTP/1.1\t200 OK",
    b"HTTP/1.0 200 OK",
    b"HTTP/1.2 200 OK",
    b"HTTP/2 200 OK",
    b"http/1.1 200 OK",
    b"HTTP/1.1 2x0 OK",
    b"HTTP/1.1 +200 OK",
    b"HTTP/1.1 200 \xe9\x85",
    b"\r\nHTTP/1.1 200 OK",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK",
]
LINES = [
    *[b"Content-Type: application/json", b"Date: Fri, 20 Nov 2026 10:00:00 GMT", b"Server: stub"] * 4,
    b"Connection: keep-alive",
    b"Connection: close",
    b"Connection: Keep-Alive, Close",
    b"Connection: upgrade",
    b"Keep-Alive: timeout=5",
    b"Set-Cookie: a=b; Path=/",
    b"Set-Cookie: c=d",
    b"Retry-After: 3",
    b"Idempotent-Replayed: true",
    b"X-Empty:",
    b"X-Spaces:  \t two  ",
    b"X-Folded: one\r\n two",
    b"\tfolded: from the start",
    b" leading: space",
    b"no colon",
    b": no name",
    b"X Space: in the name",
    b"X-Latin: \xe9\xff",
    b"X-Next-Line: \x85Content-Length: 1",
    b"X-Control: \x0b\x0c\x1c\x1d\x1e\x00 \x7f",
    b"X-Bare: \rContent-Length: 3",
    b"X-Line-Feed: \nContent-Length: 3",
    b"X\xe9: latin name",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: gzip",
    b"Content-Encoding: identity",
    b"Content-Encoding: br",
    b"From nobody",
    b"Content-Location: /x",
    b"Upgrade: h2c",
    b"Trailer: X",
]
BODIES = [
    b"",
    b"{}",
    b'{"USD": "1.10"}',
    b"x" * 300,
    b"x" * 20_000,
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
]
LENGTHS = [
    b"+%d",
    b"-%d",
    b" %d",
    b"%d ",
    b"0%d",
    b"%d.0",
    b"%d,%d",
    b"%d, %d",
    b"0x%x",
    b"%d_0",
    b"\xb2%d",
    b"9%d" * 5,
]


def framed(random: random.Random, body: bytes) -> tuple[list[bytes], bytes]:
    """Return the lines that say how long a body is, and the body as it is sent."""
    length = b"Content-Length: %d" % len(body)
    match random.randrange(20):
        case 0:
            size = random.choice([1, 5, len(body) or 1])
            chunks = [body[start : start + size] for start in range(0, min(len(body), 40 * size), size)]
            return [b"Transfer-Encoding: chunked"], b"".join(
                b"%x\r\n%s\r\n" % (len(c), c) for c in chunks
            ) + b"0\r\n\r\n"
        case 1:
            return [length, b"Transfer-Encoding: chunked"], b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        case 2:
            packed = gzip.compress(body, mtime=0)
            return [b"Content-Length: %d" % len(packed), b"Content-Encoding: gzip"], packed
        case 3:
            return [], body
        case 4:
            return [length, b"content-length: %d" % random.choice([len(body), len(body) + 1, 0])], body
        case 5:
            form = random.choice(LENGTHS)
            return [b"Content-Length: " + form % ((len(body),) * form.count(b"%"))], body
        case 6:
            return [b"Content-Length: %d" % (len(body) + random.choice([-1, 1, 7, 10**9]))], body
        case _:
            return [length], body


def changed(random: random.Random, data: bytes) -> bytes:
    """Return the bytes with a few changed, removed, put in or doubled."""
    for _ in range(random.choice([1, 1, 2, 5])):
        where = random.randrange(len(data) + 1)
        match random.randrange(4):
            case 0:
                data = data[:where] + bytes([random.randrange(256)]) + data[where + 1 :]
            case 1:
                data = data[:where] + data[where + random.choice([1, 2, 9]) :]
            case 2:
                data = (
                    data[:where]
                    + random.choice([b"\r", b"\n", b"\r\n", b" ", b":", b"\x00", b"0", b"\x85"])
                    + data[where:]
                )
            case _:
                data = data[:where] + data[max(0, where - 20) :]
    return data


def cut(random: random.Random, data: bytes) -> tuple[bytes, ...]:
    """Return the pieces in which the bytes arrive."""
    match random.randrange(5):
        case 0 if len(data) < 600:
            return tuple(bytes([byte]) for byte in data)
        case 1 | 2:
            places = sorted(random.randrange(len(data) + 1) for _ in range(random.choice([1, 1, 2, 5])))
            ends = [*places, len(data)]
            return tuple(p for p in (data[a:b] for a, b in zip([0, *places], ends, strict=True)) if p)
        case _:
            return (data,) if data else ()


def make(seed: int) -> Answer:
    """Return the answer of a seed."""
    drawn = random.Random(seed)
    framing, body = framed(drawn, drawn.choice(BODIES))
    known = LINES[:13] if drawn.random() < 0.6 else LINES
    lines = framing + [drawn.choice(known) for _ in range(drawn.choice([0, 2, 2, 4, 4, 6, 6, 98, 110]))]
    drawn.shuffle(lines)
    end = drawn.choice([b"\r\n"] * 20 + [b"\n", b"\r"])
    data = end.join([drawn.choice(STATUS_LINES), *lines, b"", b""]) + body
    match drawn.randrange(8):
        case 0 | 1:
            data = changed(drawn, data)
        case 2:
            data = data[: drawn.randrange(len(data) + 1)]
        case 3:
            data += drawn.choice([b"\r\n", b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"])
    return Answer(drawn.choice(["GET"] * 8 + ["POST", "HEAD"]), cut(drawn, data), drawn.random() < 0.5)


def difference(slow: tuple[object, bool, object], fast: tuple[object, bool, object]) -> str | None:
    """Return what is not as it must be; None: nothing."""
    if slow[0] != fast[0]:
        return "another answer"
    if fast[1] and not slow[1]:
        return "a connection is used again that http.client would close"
    if fast[1] and isinstance(fast[2], tuple) and fast[2][-1] != b"second" and fast[2] != slow[2]:
        return "a byte was left for the next call"
    return None


@contextmanager
def broken(name: str | None) -> Iterator[None]:
    """Break the fast path in one way."""
    before: dict[str, Any] = {each: getattr(_fast_path, each) for each in ("_ANSWER_HEAD", "_LENGTH", "CompleteAnswer")}
    if name == "lines":
        lines = before["_ANSWER_HEAD"].replace(rb"[\t -~\xa0-\xff]*", rb"[^\n]*")
        _fast_path._ANSWER_HEAD = lines
    elif name == "lengths":
        _fast_path._LENGTH = "[0-9]{1,7}(, [0-9]+)?"
        _fast_path.int = lambda text: int(text[:3] if isinstance(text, bytes) else text.partition(",")[0])  # type: ignore[attr-defined]
    elif name == "last":

        class Kept(_fast_path.CompleteAnswer):
            def __init__(self, *args: Any, is_last: bool) -> None:
                super().__init__(*args, is_last=False)

        _fast_path.CompleteAnswer = Kept  # type: ignore[misc]
    try:
        yield
    finally:
        vars(_fast_path).pop("int", None)
        vars(_fast_path).update(before)


class Found(NamedTuple):
    """How many answers were read, how many of them by the fast path alone, and the first seeds with a difference."""

    answers: int
    plain: int
    differences: list[tuple[int, str]]


def compare(first: int, count: int) -> Found:
    """Read the answers of these seeds both ways."""
    slow, fast = Reader(fast=False), Reader(fast=True)
    plain = 0
    complete = _fast_path.CompleteAnswer.__init__

    def counted(self: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal plain
        plain += 1
        complete(self, *args, **kwargs)

    differences = []
    _fast_path.CompleteAnswer.__init__ = counted  # type: ignore[method-assign]
    try:
        for seed in range(first, first + count):
            answer = make(seed)
            if what := difference(slow.read(answer), fast.read(answer)):
                differences.append((seed, what))
    finally:
        _fast_path.CompleteAnswer.__init__ = complete  # type: ignore[method-assign]
    return Found(count, plain, differences)


def main() -> int:
    """Compare, print the figures, and return 1 when there is a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed; the others follow it")
    parser.add_argument("--break", dest="breakage", choices=["lines", "lengths", "last"])
    options = parser.parse_args()
    start = time.monotonic()
    with broken(options.breakage):
        found = compare(options.seed, options.answers)
    print(
        f"{found.answers} answers, {found.plain} read by the fast path alone, {time.monotonic() - start:.0f} s: "
        f"{len(found.differences)} differences"
    )
    for seed, what in found.differences[:5]:
        print(f"seed {seed}: {what}\n  {make(seed)}")
    return int(bool(found.differences))


if __name__ == "__main__":
    sys.exit(main())
