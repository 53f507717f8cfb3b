"""The short form of `python -m tests.stress.raw_frames`."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import requests

pytest.importorskip("starlette", reason="the server is not installed")

from tests.stress.raw_frames import HIDDEN, most_answers, send_frames


def test_no_frame_makes_the_server_fail_hang_or_take_a_second_request(server, auth):
    address = urlsplit(server.url)
    seen = send_frames((address.hostname, address.port), *auth, frames=300, seed=1)
    assert (seen.failures, seen.hangs, seen.seconds, seen.full) == ([], [], [], 0)
    assert seen.statuses["valid", "200+404"]  # honest pipelining is answered, so a second request would be seen
    assert requests.get(f"{server.url}/exchange_rates/?from=USD&to=BTC", timeout=30).ok


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("frame", "most"),
    [
        (HIDDEN + HIDDEN, 2),
        (HEAD + b"Content-Length: 3\r\n\r\na=b" + HIDDEN, 2),
        (HEAD + b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN, 1),
        (HEAD + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + HIDDEN, 1),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN, 1),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n" + HIDDEN, 2),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + HIDDEN, 1),
        (HEAD + b"X: y\r\n Content-Length: 0\r\n\r\n" + HIDDEN, 1),
    ],
)
def test_a_frame_is_as_many_requests_as_can_be_read_in_one_way_only(frame, most):
    assert most_answers(frame)[0] == most
