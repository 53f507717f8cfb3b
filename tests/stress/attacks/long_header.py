"""One header of 150 MB: a parser that gathers it piece by piece stands still for a minute."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.stress.attacks import Attack, Target, in_threads, open_connection, status_of

__all__ = ["ATTACK", "send_long_header"]


@contextmanager
def start(target: Target, size: int) -> Iterator[Counter[str]]:
    """Send one header after the other, each of `size` MB."""
    seen: Counter[str] = Counter()

    def attack(_number: int, stop: threading.Event) -> None:
        while not stop.is_set():
            seen[send_long_header(target, size)] += 1

    with in_threads(1, attack):
        yield seen


def send_long_header(target: Target, size: int) -> str:
    """Send a header of `size` MB as far as the server takes it, and return the status of its answer, or "closed"."""
    with open_connection(target) as connection:
        try:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {target.host}\r\nX: ".encode())
            for _ in range(size):
                connection.sendall(b"x" * 1_000_000)
            connection.sendall(b"\r\n\r\n")
        except OSError:
            pass  # It does not take more; an answer may lie here all the same.
        try:
            answer = connection.recv(100)
        except OSError:
            answer = b""
    return status_of(answer)


ATTACK = Attack("long-header", "one header of 150 MB, again and again", start, 150)
