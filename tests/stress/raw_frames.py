"""Raw bytes at the running server: valid requests, ambiguous ones, and both with random changes.

    python -m tests.stress.raw_frames [--frames 10000] [--seed 1]

The server is a process of its own with the shipped settings. Most frames hide a second request, in a body or after an
ambiguous length. A strict reading of RFC 9112 says how many requests a frame is at most; an answer more than that is a
second request that the server took although somebody on the way could have read the bytes otherwise.
"""

from __future__ import annotations

import argparse
import base64
import random
import re
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.stress.door import PASSWORD, start_server

#: Bytes like these stand for the header value of a right login, so that changes do not make a wrong password of it.
LOGIN = b"@LOGIN@"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_HOST = b"Host: 127.0.0.1"
_FORM = b"Content-Type: application/x-www-form-urlencoded"
_AUTH = b"Authorization: " + LOGIN

#: Seconds without an answer after which the sending side is closed, and after which a frame counts as hanging. The
#: server's own limit for a head is 10 seconds.
QUIET_SECONDS, HANG_SECONDS = 2.0, 20.0

_REQUEST_LINE = re.compile(rb"[A-Z]+ [!-~]+ HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})([ \t]*;[^\r\n]*)?\r\n")


def _frame(request_line: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((request_line, *lines, b"", body))


def _post(*lines: bytes, body: bytes) -> bytes:
    return _frame(b"POST /exchanges/ HTTP/1.1", _HOST, _AUTH, _FORM, *lines, body=body)


def _length(size: object) -> bytes:
    return b"Content-Length: " + str(size).encode()


def _chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def _valid(rng: random.Random) -> bytes:
    get = _frame(b"GET /exchange_rates/?from=USD&to=BTC HTTP/1.1", _HOST)
    body = rng.choice((b"exchange=nowhere", b"a=b", HIDDEN))
    post = _post(_length(len(body)), body=body)
    orders = _frame(b"GET /exchanges/ HTTP/1.1", _HOST, _AUTH)
    return rng.choice((get, post, orders)) + rng.choice((b"", HIDDEN))


def _valid_chunks(rng: random.Random) -> bytes:
    body = rng.choice((b"exchange=nowhere", b"a=b", HIDDEN, b""))
    size = rng.choice((1, 5, 100))
    extension = rng.choice((b"", b"", b";a", b' ; a="b;c"'))
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)
    trailers = rng.choice((b"", b"", b"X: y\r\n", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"))
    frame = _post(b"Transfer-Encoding: chunked", body=chunks + b"0" + extension + b"\r\n" + trailers + b"\r\n")
    return frame + rng.choice((b"", HIDDEN))


def _absolute(rng: random.Random) -> bytes:
    origin = rng.choice(
        (b"http://127.0.0.1", b"HTTP://127.0.0.1", b"https://127.0.0.1", b"http://elsewhere", b"http://")
    )
    return _frame(b"GET " + origin + b"/exchange_rates/?from=USD&to=BTC HTTP/1.1", _HOST) + rng.choice((b"", HIDDEN))


def _two_lengths(rng: random.Random) -> bytes:
    sizes = [0, len(HIDDEN)] if rng.random() < 0.7 else [len(HIDDEN)] * 2
    rng.shuffle(sizes)
    lines = [_length(size) for size in sizes]
    if rng.random() < 0.3:
        lines = [_length(f"{sizes[0]}, {sizes[1]}")]
    return _post(*lines, body=HIDDEN)


def _length_and_chunked(rng: random.Random) -> bytes:
    body = rng.choice((HIDDEN, b"0\r\n\r\n" + HIDDEN, _chunked(b"a=b") + HIDDEN))
    coding = rng.choice((b"chunked", b"Chunked", b"identity", b"xchunked", b"gzip, chunked", b"chunked, identity"))
    lines = [_length(rng.choice((0, 3, len(body)))), b"Transfer-Encoding: " + coding]
    rng.shuffle(lines)
    return _post(*lines, body=body)


def _chunk_tricks(rng: random.Random) -> bytes:
    name = rng.choice(
        (b"Transfer-Encoding:", b"Transfer-Encoding :", b"transfer-encoding:\t", b"Transfer-Encoding:\x0b")
    )
    size = rng.choice(
        (b"0x0", b"-0", b"+0", b" 0", b"0 ", b"00000000000000000", b"0;a\nb", b"FFFFFFFFFFFFFFFFF", b"", b"0_0")
    )
    end = rng.choice((b"\r\n\r\n", b"\n\n", b"\r\r", b"\r\nX: y\r\n\r\n"))
    return _post(name + b" chunked", body=size + end + HIDDEN)


def _odd_length(rng: random.Random) -> bytes:
    size = len(HIDDEN)
    odd = (
        f"+{size}",
        f"-{size}",
        "-1",
        f"0x{size:x}",
        f"{size}.0",
        "1e1",
        "9" * 30,
        2**64,
        "",
        f"{size} 0",
        f"{size};",
    )
    line = _length(rng.choice(odd))
    if rng.random() < 0.3:
        line = rng.choice((b"Content-Length : 0", b"Content-Length\t: 0", b" Content-Length: 0", b"Content_Length: 0"))
    return _post(line, body=HIDDEN)


def _bare_line_feed(rng: random.Random) -> bytes:
    lines = (b"GET /exchange_rates/?from=USD&to=BTC HTTP/1.1", _HOST, b"X: y", b"", b"")
    ends = [rng.choice((b"\n", b"\r", b"\r\n", b"\r\r\n", b"\n\r")) for _ in lines[1:]] + [b""]
    return b"".join(line + end for line, end in zip(lines, ends, strict=True)) + HIDDEN


def _nul(rng: random.Random) -> bytes:
    frame = bytearray(_valid(rng))
    frame[rng.randrange(frame.index(b"\r\n\r\n"))] = 0
    return bytes(frame)


def _bad_basic(rng: random.Random) -> bytes:
    values = (
        b"",
        b"\xff\xfe",
        b"====",
        b"YQ",
        b"YQ==",
        b"Og",
        base64.b64encode(b"\xff:\xff"),
        b"YTpi YTpi",
        b"A" * 9000,
    )
    schemes = (b"Basic ", b"basic  ", b"Bearer ", b"Basic", b"Digest ", b"\t", b"Basic\t")
    line = b"Authorization: " + rng.choice(schemes) + rng.choice(values)
    return _frame(b"GET /exchanges/ HTTP/1.1", _HOST, line) + HIDDEN


def _long_name(rng: random.Random) -> bytes:
    long = rng.choice((b"a", b"%00", b"\xc3\xa9", b"/")) * 100_000
    lines = rng.choice(
        (
            (b"GET /exchange_rates/?from=USD&to=BTC HTTP/1.1", _HOST, long[:100_000] + b": x"),
            (b"GET /exchange_rates/?from=USD&to=BTC HTTP/1.1", _HOST, b"X: " + long[:100_000]),
            (b"GET /" + long[:100_000] + b" HTTP/1.1", _HOST),
            (b"GET /exchanges/ HTTP/1.1", _HOST, b"Authorization: Basic " + base64.b64encode(long[:100_000] + b":x")),
            (long[:100_000] + b" / HTTP/1.1", _HOST),
        )
    )
    return _frame(*lines) + HIDDEN


def _folded(rng: random.Random) -> bytes:
    line = rng.choice((b"Content-Length:\r\n 0", b"X: y\r\n Content-Length: 0", b"Transfer-Encoding:\r\n\tchunked"))
    return _post(line, body=HIDDEN)


def _mutated(rng: random.Random) -> bytes:
    makers = (
        _valid,
        _valid_chunks,
        _absolute,
        _two_lengths,
        _length_and_chunked,
        _chunk_tricks,
        _odd_length,
        _folded,
    )
    frame = rng.choice(makers)(rng)
    for _ in range(rng.randint(1, 4)):
        frame = rng.choice((_flip, _cut, _repeat_line, _change_case, _insert, _change_number))(frame, rng)
    return frame


def _flip(frame: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(frame) + 1)
    return frame[:place] + bytes([rng.randrange(256)]) + frame[place + 1 :]


def _cut(frame: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(frame) + 1)
    return frame[:start] + frame[start + rng.choice((1, 2, 10, len(frame))) :]


def _repeat_line(frame: bytes, rng: random.Random) -> bytes:
    lines = frame.split(b"\r\n")
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return b"\r\n".join(lines)


def _change_case(frame: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(frame) + 1)
    return frame[:start] + frame[start : start + 20].swapcase() + frame[start + 20 :]


def _insert(frame: bytes, rng: random.Random) -> bytes:
    place = rng.choice([match.start() for match in re.finditer(rb"[:\r\n ]", frame)] or [0])
    part = rng.choice((b" ", b"\t", b"\r", b"\n", b"\r\n", b"\0", b"\x0b", b"\x85", b":", b",", b";", b"\r\n\r\n"))
    return frame[:place] + part + frame[place:]


def _change_number(frame: bytes, rng: random.Random) -> bytes:
    numbers = list(re.finditer(rb"\d+", frame))
    if not numbers:
        return frame
    number = rng.choice(numbers)
    value = rng.choice((b"0", b"-1", b"+5", b"007", b"18446744073709551616", b"1", b"65537"))
    return frame[: number.start()] + value + frame[number.end() :]


KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "valid": _valid,
    "valid chunks": _valid_chunks,
    "absolute URI": _absolute,
    "two lengths": _two_lengths,
    "length + chunked": _length_and_chunked,
    "chunk tricks": _chunk_tricks,
    "odd length": _odd_length,
    "bare line feed": _bare_line_feed,
    "NUL": _nul,
    "bad Basic": _bad_basic,
    "100 kB name": _long_name,
    "folded": _folded,
    "mutated": _mutated,
}


def most_answers(frame: bytes) -> tuple[int, bool]:
    """Return how many requests the frame is at most, and whether the first one is there to its end.

    What cannot be read in one way only is one request, the last one.
    """
    count, rest, is_complete = 0, frame, False
    while rest:
        while rest.startswith(b"\r\n"):
            rest = rest[2:]
        head, end, after = rest.partition(b"\r\n\r\n")
        if not rest:
            break
        count += 1
        # With other ends of lines it may never be complete: refused at once.
        is_whole = bool(end) or re.search(rb"(?<!\r)\n", rest) is not None or len(rest) > 64 * 1024
        left = _after_body(head, after) if end else None
        if count == 1:
            is_complete = is_whole and left != b"incomplete"
        if left is None or left == b"incomplete":
            break
        rest = left
    return max(count, 1), is_complete


def _after_body(head: bytes, after: bytes) -> bytes | None:
    """Return what follows the body; None where its length is not certain, b"incomplete" where a part is missing."""
    request_line, *lines = head.split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(request_line)
    fields = [_FIELD.fullmatch(text) for text in lines]
    if line is None or None in fields:
        return None
    pairs = [(match[1].lower(), match[2].strip(b" \t")) for match in fields if match]
    lengths = [value for name, value in pairs if name == b"content-length"]
    codings = [value for name, value in pairs if name == b"transfer-encoding"]
    if codings:
        is_certain = not lengths and line[1] == b"1" and [value.lower() for value in codings] == [b"chunked"]
        return _after_chunks(after) if is_certain else None
    if not lengths:
        return after
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        return None
    size = int(lengths[0])
    return after[size:] if len(after) >= size else b"incomplete"


def _after_chunks(after: bytes) -> bytes | None:
    while chunk := _CHUNK.match(after):
        size, after = int(chunk[1], 16), after[chunk.end() :]
        if not size:
            _, end, rest = (b"\r\n" + after).partition(b"\r\n\r\n")
            return rest if end else b"incomplete"
        if after[size : size + 2] != b"\r\n":
            return None if len(after) >= size + 2 else b"incomplete"
        after = after[size + 2 :]
    return None if b"\r\n" in after or len(after) > 100 else b"incomplete"


@dataclass
class Seen:
    """What the server did with the frames: their counts by kind and status, and those that it must not have done."""

    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[tuple[bytes, list[int]]] = field(default_factory=list)
    hangs: list[bytes] = field(default_factory=list)
    seconds: list[bytes] = field(default_factory=list)
    #: Refused because of the number of connections (503), which is no failure.
    full: int = 0

    def faults(self) -> int:
        return len(self.failures) + len(self.hangs) + len(self.seconds)


def send_frames(address: tuple[str, int], user: str, password: str, *, frames: int, seed: int) -> Seen:
    """Send so many frames, each on a connection of its own; the same ones for the same seed."""
    rng, seen = random.Random(seed), Seen()
    login = b"Basic " + base64.b64encode(f"{user}:{password}".encode())
    for number in range(frames):
        kind = list(KINDS)[number % len(KINDS)] if number % 2 else "mutated"
        frame = KINDS[kind](rng).replace(LOGIN, login)
        most, is_complete = most_answers(frame)
        statuses, is_closed = _exchange(address, frame, wait=is_complete)
        seen.statuses[kind, "+".join(map(str, statuses)) or "closed"] += 1
        seen.full += statuses == [503]
        if any(status >= 500 for status in statuses) and statuses != [503]:
            seen.failures.append((frame, statuses))
        if not is_closed:
            seen.hangs.append(frame)
        if len(statuses) > most:
            seen.seconds.append(frame)
    return seen


def _exchange(address: tuple[str, int], frame: bytes, *, wait: bool) -> tuple[list[int], bool]:
    """Send a frame; return the statuses of the answers, and whether the server closed the connection in the end.

    The sending side is closed when the first answer is there, since before it could end the wish for a second one.
    """
    received, is_open = b"", True
    with socket.create_connection(address, timeout=QUIET_SECONDS) as connection:
        try:
            connection.sendall(frame)
            if not wait:
                connection.shutdown(socket.SHUT_WR)
                is_open = False
            while True:
                if is_open and _statuses(received):
                    connection.shutdown(socket.SHUT_WR)
                    is_open = False
                connection.settimeout(QUIET_SECONDS if is_open else HANG_SECONDS)
                try:
                    part = connection.recv(65536)
                except TimeoutError:
                    if not is_open:
                        return _statuses(received), False
                    connection.shutdown(socket.SHUT_WR)
                    is_open = False
                    continue
                if not part:
                    break
                received += part
        except OSError:  # reset: closed as well
            pass
    return _statuses(received), True


def _statuses(received: bytes) -> list[int]:
    """Return the statuses of the complete answers, without interim ones."""
    found = []
    while b"\r\n\r\n" in received:
        head, _, received = received.partition(b"\r\n\r\n")
        status = int(head[9:12])
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        size = int(length[1]) if length and status >= 200 else 0
        if len(received) < size:
            break
        received = received[size:]
        if status >= 200:
            found.append(status)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with start_server({}, ("alice",)) as server:
        address = ("127.0.0.1", server.port)
        seen = send_frames(address, "alice", PASSWORD, frames=options.frames, seed=options.seed)
        ordinary, _ = _exchange(address, _frame(b"GET /exchange_rates/?from=USD&to=BTC HTTP/1.1", _HOST), wait=True)
    for (kind, status), count in sorted(seen.statuses.items()):
        print(f"{kind:18} {status:12} {count:6}")
    for frame in [frame for frame, _ in seen.failures] + seen.hangs + seen.seconds:
        print(frame[:600].replace(PASSWORD.encode(), b"..."))
    print(
        f"{options.frames} frames, seed {options.seed}: 5xx {len(seen.failures)}, hangs {len(seen.hangs)}, "
        f"second requests {len(seen.seconds)}; too many connections {seen.full}; an ordinary request after: {ordinary}"
    )
    if seen.faults() or ordinary != [200]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
