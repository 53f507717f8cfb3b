"""Attacks on a running server, a module each; `python -m tests.stress.door` carries them out and measures."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

__all__ = ["Attack", "Target", "in_threads", "open_connection", "status_of"]


@dataclass(frozen=True)
class Target:
    """What an attacker knows: where the server listens, and an account of its own with a registration on paper."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    registration: int = 0
    #: The user name of the honest client.
    honest_user: str = ""
    #: What `Attack.environment` gave to the server.
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True)
class Attack:
    """An attack, by the `name` under which the command knows it.

    `start(target, size)` returns a context manager: within its block the attack is at its full strength, and it gives
    the counter of what the attacker saw ("401", "closed" ...), which is printed. It runs in a process of its own.
    `size`: how many connections, guessers and so on there are, unless the command says otherwise.
    `environment`: a context manager that gives further settings of the server, and may run an exchange beside it.
    """

    name: str
    description: str
    start: Callable[[Target, int], AbstractContextManager[Counter[str]]]
    size: int
    environment: Callable[[], AbstractContextManager[Mapping[str, str]]] = lambda: nullcontext({})


def open_connection(target: Target, number: int = 0, *, timeout: float = 30.0) -> socket.socket:
    """Return a connection to the server from the attacker's address of this number.

    All of 127.0.0.0/8 is this machine (on Linux), so that an attacker has many addresses, and others than the honest
    client, which calls from 127.0.0.1.
    """
    number += 2
    source = f"127.0.{number >> 8}.{number & 255}"
    return socket.create_connection((target.host, target.port), timeout, (source, 0))


@contextmanager
def in_threads(count: int, attack: Callable[[int, threading.Event], object]) -> Iterator[None]:
    """Run `attack` with the number of its thread, in so many of them, until the block ends and its event is set."""
    stop = threading.Event()
    threads = [threading.Thread(target=attack, args=(number, stop)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def status_of(answer: bytes) -> str:
    """Return the status at the beginning of an answer, or "closed" where there is none."""
    return answer.split()[1].decode() if answer.startswith(b"HTTP/") else "closed"
