"""Guessers of passwords: with a thousand forged addresses, and behind the address of the honest client itself."""

from __future__ import annotations

import base64
import http.client
import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.stress.attacks import Attack, Target, in_threads

__all__ = ["FORGED", "SHARED"]

_FORGED_ADDRESSES = 1000


@contextmanager
def _guess(target: Target, size: int, *, forged: bool) -> Iterator[Counter[str]]:
    """Let `size` guessers try one password after the other, half of them for the honest client's own user name."""
    seen: Counter[str] = Counter()
    lock, numbers = threading.Lock(), itertools.count()

    def guess(guesser: int, stop: threading.Event) -> None:
        mine: Counter[str] = Counter()
        source = f"127.0.{2 + guesser // 250}.{1 + guesser % 250}" if forged else "127.0.0.1"
        connection = http.client.HTTPConnection(target.host, target.port, timeout=30, source_address=(source, 0))
        while not stop.is_set():
            number = next(numbers)
            name = target.honest_user if guesser % 2 else f"user-{number % 50}"
            token = base64.b64encode(f"{name}:guess {number}".encode()).decode()
            headers = {"Authorization": f"Basic {token}"}
            if forged:
                address = number % _FORGED_ADDRESSES
                headers["X-Forwarded-For"] = f"203.0.{address // 250}.{1 + address % 250}"
            try:
                connection.request("GET", "/account", headers=headers)
                answer = connection.getresponse()
                answer.read()
                mine[str(answer.status)] += 1
            except (OSError, http.client.HTTPException):
                connection.close()
                mine["closed"] += 1
                stop.wait(0.1)
        connection.close()
        with lock:
            seen.update(mine)

    with in_threads(size, guess):
        yield seen


@contextmanager
def _behind_a_proxy() -> Iterator[Mapping[str, str]]:
    """Let the server believe what its callers say of their addresses."""
    yield {"XWRAP_PROXIES": "127.0.0.0/8"}


FORGED = Attack(
    "guessers",
    "guessers of passwords, with 1,000 addresses in all",
    lambda target, size: _guess(target, size, forged=True),
    200,
    _behind_a_proxy,
)
SHARED = Attack(
    "guessers-behind-one-address",
    "guessers of passwords, at the address of the honest client",
    lambda target, size: _guess(target, size, forged=False),
    200,
)
