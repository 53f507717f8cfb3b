"""Threads in which a server does something again and again, as long as it runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from .db.errors import UNUSABLE, driver_message
from .settings import SetupError
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
    seconds between two rounds. `occasional`: what has something to do now and then; one of the pieces of `work` looks
    for that, and calls `begin`.
    """

    def __init__(
        self,
        name: str,
        work: Mapping[str, Callable[[], None]],
        pause: Callable[[], float],
        occasional: Mapping[str, Callable[[], None]] | None = None,
    ) -> None:
        self.name = name
        self._pause = pause
        self._occasional = occasional or {}
        #: The occasional pieces that `begin` was called with last.
        self._begun: set[str] = set()
        #: Their threads, of which each does one round.
        self._threads_of_rounds: dict[str, threading.Thread] = {}
        #: By the piece of work; of an occasional one those rounds count in which it had something to do.
        self.counts = {part: RoundCounts() for part in (*work, *self._occasional)}
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
        threads = [*self._threads, *list(self._threads_of_rounds.values())]
        for thread in filter(threading.Thread.is_alive, threads):  # Not each one was started, if that failed.
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def begin(self, parts: Collection[str]) -> None:
        """Do a round of these occasional pieces, each in a thread of its own unless its last round goes on; others are
        left out. Those of the last time have one more round, in which they see that nothing is left.

        What gets no thread from the system is done here, before this returns.
        """
        found = self._occasional.keys() & set(parts)
        for part in sorted(found | self._begun):
            last = self._threads_of_rounds.get(part)
            if (last is None or not last.is_alive()) and not self.stopping.is_set():
                self._begin(part)
        self._begun = found

    def _begin(self, part: str) -> None:
        given = (part, self._occasional[part])
        thread = threading.Thread(target=self._round, args=given, name=f"xwrap-{self.name}-{part}", daemon=True)
        try:
            start_thread(thread)
        except SetupError as error:
            # It delays the others, and it would be worse not to be done at all.
            _log.warning("a round of the %s has no thread of its own: %s", self.name, error)
            self._round(*given)
        else:
            self._threads_of_rounds[part] = thread

    def _run(self, part: str, work: Callable[[], None]) -> None:
        while not self.stopping.is_set():
            self._round(part, work)
            self.stopping.wait(self._pause())

    def _round(self, part: str, work: Callable[[], None]) -> None:
        counts, began = self.counts[part], time.monotonic()
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
