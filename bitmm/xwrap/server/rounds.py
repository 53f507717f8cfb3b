"""Threads in which a server does something again and again, as long as it runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .db.errors import UNUSABLE, driver_message
from .threads import start_thread

__all__ = ["RoundCounts", "Rounds"]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RoundCounts:
    """How often a piece of work was done, how often it failed, and how many seconds it took last."""

    rounds: int = 0
    failures: int = 0
    seconds: float = 0.0


class Rounds:
    """Does each piece of `work` again and again, in a thread of its own, until it is stopped.

    One piece that takes long, or fails, delays no other. `name` begins the names of the threads. `pause` returns the
    seconds between two rounds.
    """

    def __init__(self, name: str, work: Mapping[str, Callable[[], None]], pause: Callable[[], float]) -> None:
        self.name = name
        self._pause = pause
        #: By the piece of work.
        self.counts = {part: RoundCounts() for part in work}
        #: Set when the rounds are to end; a piece of work with many steps looks at it.
        self.stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(part, one), name=f"xwrap-{name}-{part}", daemon=True)
            for part, one in work.items()
        ]

    def start(self) -> None:
        """Start the threads. Raises SetupError when the system gives too few."""
        for thread in self._threads:
            start_thread(thread)

    def stop(self) -> None:
        """Stop the threads; what one of them is doing is not waited for longer than a second."""
        self.stopping.set()
        deadline = time.monotonic() + 1.0
        for thread in filter(threading.Thread.is_alive, self._threads):  # Not each one was started, if that failed.
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def _run(self, part: str, work: Callable[[], None]) -> None:
        counts = self.counts[part]
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                work()
            except UNUSABLE as error:
                counts.failures += 1
                _log.error("a round of the %s failed: %s; the next one follows", self.name, driver_message(error))
            except Exception:
                counts.failures += 1
                _log.exception("a round of the %s failed; the next one follows", self.name)
            counts.rounds += 1
            counts.seconds = time.monotonic() - began
            self.stopping.wait(self._pause())
