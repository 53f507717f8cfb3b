"""Where a body ends, and what it may be like."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the server is not installed")

from hypothesis import given
from hypothesis import strategies as st

from bitmm.xwrap.server.bodies import MAX_EXTRA, Chunks, Sized
from bitmm.xwrap.server.heads import RefusedError

MOST = 64 * 1024
LAST = b"0\r\n\r\n"


def in_chunks(*parts, extension=b"", trailers=b""):
    chunks = [b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts]
    return b"".join([*chunks, b"0", extension, b"\r\n", trailers, b"\r\n"])


def take(body, sent):
    """Let a body take these bytes one by one; return what it took and what it left."""
    received, taken = bytearray(), b""
    for byte in sent:
        received.append(byte)
        if not body.is_complete:
            taken += body.pop(received)
    return taken, bytes(received)


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.sampled_from([b"", b";a", b' ; a="b;c"\t;d=\xe4']),
    st.sampled_from([b"", b"X: y\r\nTransfer-Encoding: gzip\r\n", b"Idempotency-Keys:\r\n"]),
    st.binary(max_size=20),
    st.data(),
)
def test_the_data_and_their_end_are_found_however_the_bytes_come(parts, extension, trailers, rest, data):
    """As one chunk for each part that came, without extensions and trailers, which nobody asked for."""
    sent = in_chunks(*parts, extension=extension, trailers=trailers) + rest
    body, received, expected, whole = Chunks(), bytearray(), b"", b"".join(parts)
    while not body.is_complete:
        assert sent, "it did not end"
        size = data.draw(st.integers(1, len(sent)))
        received += sent[:size]
        sent = sent[size:]
        taken = body.pop(received).removesuffix(LAST if body.is_complete else b"")
        if taken:
            length, _, chunk = taken.partition(b"\r\n")
            assert len(chunk) == int(length, 16) + 2
            assert chunk.endswith(b"\r\n")
            expected += chunk[:-2]
    assert expected == whole
    assert received + sent == rest


def test_a_complete_body_is_handed_on_with_the_last_chunk():
    assert Chunks().pop(bytearray(b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nX: y\r\n\r\nGET")) == b"5\r\nabcde\r\n" + LAST
    assert Chunks().pop(bytearray(LAST)) == LAST
    assert Chunks().pop(bytearray(b"0000000000000000\r\n\r\n")) == LAST
    assert take(Chunks(), b"1\r\na\r\n" + LAST + b"GET") == (b"1\r\na\r\n" + LAST, b"GET")


def test_of_a_body_with_a_length_no_more_is_taken():
    received, body = bytearray(b"abcdef"), Sized(5)
    assert (body.pop(received), body.is_complete, received) == (b"abcde", True, b"f")
    assert take(Sized(2), b"abc") == (b"ab", b"c")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b" 1\r\nx\r\n0\r\n\r\n", "malformed"),
        (b"1 \r\nx\r\n0\r\n\r\n", "malformed"),
        (b"1 a\r\nx\r\n0\r\n\r\n", "malformed"),
        (b"0x1\r\nx\r\n0\r\n\r\n", "malformed"),
        (b"+1\r\nx\r\n0\r\n\r\n", "malformed"),
        (b"-1\r\n", "malformed"),
        (b"1_0\r\n", "malformed"),
        (b";a\r\n", "malformed"),
        (b"\r\n", "malformed"),
        (b"1\nx\r\n", "malformed"),
        (b"1;a\nx\r\n", "malformed"),
        (b"1;a\rb\r\n", "malformed"),
        (b"1;a\0\r\n", "malformed"),
        (b"1\r\r\n", "malformed"),
        (b"1\r\nxy\r\n0\r\n\r\n", "malformed"),
        (b"1\r\nx\n0\r\n\r\n", "malformed"),
        (b"1\r\nx0\r\n\r\n", "malformed"),
        (b"1\r\nxX: y\r\n", "malformed"),
        (b"0\r\n\n", "malformed"),
        (b"0\r\nX\r\n\r\n", "malformed"),
        (b"0\r\nX : y\r\n\r\n", "malformed"),
        (b"0\r\nX: y\r\n z\r\n\r\n", "malformed"),
        (b"0\r\nX: y\nZ: z\r\n\r\n", "malformed"),
        (b"0\r\nX: y\rZ: z\r\n\r\n", "malformed"),
        (b"0\r\nX: y\r\nidempotency-Key: 1\r\n\r\n", "malformed"),
        (b"00000000000000000\r\n\r\n", "malformed"),
        (b"FFFFFFFFFFFFFFFF1\r\n", "malformed"),
        (b"FFFFFFFFFFFFFFFF\r\n", "body_too_large"),
        (b"10001\r\n", "body_too_large"),
        (b"10000\r\n" + b"x" * MOST + b"\r\n1\r\n", "body_too_large"),
        (b"1\r\nx\r\n" * MOST + b"1\r\n", "body_too_large"),
        (b"1;" + b"x" * 2 * MAX_EXTRA, "body_too_large"),
        (b"1" * 2 * MAX_EXTRA, "body_too_large"),
        (b"1\r\nx" + b"x" * 2 * MAX_EXTRA, "body_too_large"),
        (b"1;" + b"x" * MAX_EXTRA + b"\r\n", "body_too_large"),
        (b"1;x\r\nx\r\n" * (MAX_EXTRA // 2 + 1), "body_too_large"),
        (b"0\r\n" + b"X: y\r\n" * (MAX_EXTRA // 6 + 1), "body_too_large"),
        (b"0;" + b"x" * (MAX_EXTRA - 1) + b"\r\nX: y\r\n", "body_too_large"),
    ],
)
def test_what_is_malformed_or_too_large_is_refused(bad, reason):
    with pytest.raises(RefusedError, match=f"^{reason}$"):
        Chunks().pop(bytearray(bad))
    with pytest.raises(RefusedError, match=f"^{reason}$"):
        take(Chunks(), bad)


@pytest.mark.parametrize(
    "most",
    [
        in_chunks(b"x" * MOST),
        in_chunks(b"x" * (MOST - 1), b"x"),
        b"000000000000001\r\nx\r\n" * MOST + LAST,
        b"0;" + b"x" * (MAX_EXTRA - 1) + b"\r\n\r\n",
        b"0\r\nX:" + b"x" * (MAX_EXTRA - 4) + b"\r\n\r\n",
    ],
)
def test_the_most_that_a_body_may_have_is_taken(most):
    body, received = Chunks(), bytearray(most)
    body.pop(received)
    assert (body.is_complete, received) == (True, b"")
